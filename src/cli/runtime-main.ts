/** `tupper-runtime`: its command line, with `--version` ahead of it: that is what engines ask first, and it must cost nothing. */

import { printable } from "../printable.ts";
import { protectBinary } from "../runtime/protect-binary.ts";
import { openStandardFiles } from "../sys/standard-files.ts";
import { lastExitCode } from "./exit-code.ts";
import type { GlobalOptions } from "./runtime/global-options.ts";
import { hasLogFile, logError, oneLine } from "./runtime/log.ts";
import { runtimeProgram } from "./runtime/program.ts";
import { writeOut } from "./terminal.ts";
import { versionText } from "./version.ts";

/** Returns the exit code. What it throws is in the log file already. */
export function runtimeMain(argv: readonly string[]): number {
  const args = argv.slice(1);
  if (args[0] === "--version" || args[0] === "-v") {
    writeOut(`${versionText("tupper-runtime")}\n`);
    return 0;
  }
  try {
    // Before anything else is done, because it is done anew after it.
    starting = args.find((word) => STARTS_PROCESSES.has(word));
    if (starting !== undefined) {
      protectBinary(argv);
      openStandardFiles();
    }
    runtimeProgram.parse(args, { from: "user" });
    return lastExitCode();
  } catch (error) {
    logError(runtimeProgram.opts<GlobalOptions>(), error);
    throw error;
  }
}

/** Words that make this program a container's process for a moment. As an argument of another command they cost a little time. */
const STARTS_PROCESSES: ReadonlySet<string> = new Set(["create", "run", "exec", "restore", "mounts"]);

/** What is written to stderr in place of the usual lines. An engine, which has a log file, gets this too: conmon hands it on, and Podman shows one line of it. */
export function lineForEngines(error: unknown): string | undefined {
  const options = runtimeProgram.opts<GlobalOptions>();
  if (!hasLogFile(options)) return options.logFormat === "json" ? "" : undefined; // logError has written it
  return `error: ${printable(oneLine(error))}\n`;
}

/** Such a word of the command line, which is not parsed yet when the program is protected. */
let starting: string | undefined;

const FAILED = 1;
/** Of `exec` alone: its other codes are the command's. */
const EXEC_FAILED = 255;

/** The exit code of a failure of our own. */
export const runtimeFailure = (): number => ((runtimeProgram.args[0] ?? starting) === "exec" ? EXEC_FAILED : FAILED);
