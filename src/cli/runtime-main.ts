/**
 * `tupper-runtime`: the OCI runtime command line that containerd, Docker, Podman and CRI-O call. So far it can only say
 * what it is; its verbs come later. No parser: `--version` is what engines ask first, and it must cost nothing.
 */
import { ContainerError } from "../error.ts";
import { writeOut } from "./terminal.ts";
import { versionText } from "./version.ts";

const HELP = `usage: tupper-runtime --version | --help

The OCI runtime command line of tupper. Its commands (create, start, state, kill, delete …) are not there yet:
until then containers are run by tupper run.

  -v, --version  show the version
  -h, --help     show this help
`;

/** Returns the exit code. */
export function runtimeMain([word, ...rest]: readonly string[]): number {
  switch (word) {
    case "--version":
    case "-v":
      writeOut(`${versionText("tupper-runtime")}\n`);
      return 0;
    case "--help":
    case "-h":
      writeOut(HELP);
      return 0;
    default:
      throw new ContainerError(
        "RUNTIME_UNSUPPORTED",
        word === undefined
          ? "tupper-runtime needs a command"
          : `tupper-runtime ${[word, ...rest].join(" ")}: this is not there yet`,
        {
          hint: "tupper run starts a container without it",
          exitCode: 1,
        },
      );
  }
}
