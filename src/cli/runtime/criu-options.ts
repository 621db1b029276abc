/** The flags that checkpoint and restore share. */
import { type Command, Option } from "commander";
import { flagError } from "../../engine/containers/config/flag-value.ts";
import { CGROUP_MODES, type CriuFlags, NETWORK_LOCKS } from "../../plan/criu-options.ts";
import { absolute } from "../../runtime/bundle.ts";
import { repeatable } from "../flags.ts";

/** One for both commands: each costs bytes in the binary. */
const OPTIONS: readonly Option[] = [
  new Option("--image-path <DIRECTORY>", "where the images are").default("checkpoint"),
  new Option("--work-path <DIRECTORY>", "where logs go; default beside the images"),
  new Option("--tcp-established", "with open TCP connections"),
  new Option("--ext-unix-sk", "with unix sockets that lead out of the container"),
  new Option("--shell-job", "with the caller's terminal"),
  new Option("--file-locks", "with file locks"),
  new Option("--lazy-pages", "memory is brought over when it is used, by userfaultfd"),
  new Option("--auto-dedup", "what the images have twice is dropped"),
  repeatable("--empty-ns <NAMESPACE>", "a namespace that comes back empty: network"),
  new Option("--network-lock <METHOD>", "how connections wait").choices(Object.keys(NETWORK_LOCKS)),
  new Option("--manage-cgroups-mode <MODE>", "what of control groups comes back").choices(Object.keys(CGROUP_MODES)),
];

export function addCriuOptions(command: Command): Command {
  for (const option of OPTIONS) command.addOption(option);
  return command;
}

/** Throws for a namespace that cannot be empty. */
export function criuFlags({ imagePath, workPath, ...flags }: CriuFlags): CriuFlags {
  const strange = flags.emptyNs?.find((name) => name !== "network");
  if (strange !== undefined)
    throw flagError("BAD_NAMESPACE", "--empty-ns", `the namespace ${strange} cannot be empty`, "network can");
  return {
    imagePath: absolute(imagePath),
    ...(workPath === undefined ? {} : { workPath: absolute(workPath) }),
    ...flags,
  };
}
