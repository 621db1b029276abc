/** `tupper-runtime exec`. */
import { Command } from "commander";
import { parseCapabilityNames } from "../../engine/containers/config/capabilities.ts";
import { flagError, parseId } from "../../engine/containers/config/flag-value.ts";
import { ContainerError } from "../../error.ts";
import { execInContainer } from "../../runtime/exec.ts";
import type { Config, Process } from "../../spec/config.ts";
import { parseProcess } from "../../spec/parse-config.ts";
import { exitsWith } from "../exit-code.ts";
import { repeatable } from "../flags.ts";
import { execUser } from "./exec-user.ts";
import { runtimeContext } from "./global-options.ts";
import { parseCount } from "./launch-options.ts";
import { readInput } from "./read-input.ts";

interface ExecOptions {
  process?: string;
  detach?: boolean;
  consoleSocket?: string;
  pidfdSocket?: string;
  pidFile?: string;
  ignorePaused?: boolean;
  cwd?: string;
  env?: string[];
  tty?: boolean;
  user?: string;
  additionalGids?: string[];
  processLabel?: string;
  apparmor?: string;
  /** commander reads --no-new-privs as the negative of a flag that there is not: false, or undefined. */
  newPrivs?: boolean;
  cap?: string[];
  preserveFds: number;
  cgroup?: string[];
}

export const execCommand = new Command("exec")
  .usage("[OPTIONS] ID [COMMAND [ARG…]]")
  .summary("run another process in a container")
  .description(
    "Runs another process in a running container. The exit code is the command's, 255 when it was not started.",
  )
  .argument("<ID>", "a running container")
  .argument("[COMMAND...]", "what to run, with its arguments; or --process")
  .passThroughOptions()
  .option("-p, --process <FILE>", "a JSON file with the whole process, - is stdin")
  .option("-d, --detach", "do not wait for its end")
  .option("-t, --tty", "a terminal")
  .option("--console-socket <PATH>", "the unix socket that receives the terminal's master")
  .option("--pidfd-socket <PATH>", "the unix socket that receives a descriptor of the process")
  .option("--pid-file <FILE>", "a file that gets the pid of the process")
  .option("--cwd <DIRECTORY>", "where it starts; default where the container's process did")
  .addOption(repeatable("-e, --env <NAME=VALUE>", "an environment variable more"))
  .option("-u, --user <UID[:GID]>", "who it runs as; a name is looked up in the container's /etc/passwd")
  .addOption(repeatable("-g, --additional-gids <GID>", "a further group"))
  .addOption(repeatable("-c, --cap <CAPABILITY>", "a capability more"))
  .option("--no-new-privs", "set-user-id programs give nothing")
  .option("--process-label <LABEL>", "its SELinux label")
  .option("--apparmor <PROFILE>", "its AppArmor profile")
  .option("--preserve-fds <N>", "so many more descriptors, from 3 up, stay open for the command", parseCount, 0)
  .addOption(repeatable("--cgroup <[CONTROLLER,…:]PATH>", "a group below the container's to run in"))
  .option("--ignore-paused", "also in a paused container: it runs when that is resumed")
  .action(
    exitsWith((id: string, args: string[], options: ExecOptions, command: Command): number => {
      const { process: file = "", detach = false, consoleSocket, pidfdSocket, pidFile, ignorePaused = false } = options;
      const { root, warn, debug } = runtimeContext(command);
      if (file === "" && args.length === 0)
        throw new ContainerError("MISSING_ARGUMENT", "tupper-runtime exec needs a command", {
          hint: "or --process FILE",
        });
      const process = (config: Config, pid: number): Process => {
        if (file === "") return changedProcess(config.process, args, options, pid, warn);
        const parsed = parseProcess(readInput(file, PROCESS));
        for (const text of parsed.warnings) warn(text);
        return withOwn(parsed.value, config.process);
      };
      return execInContainer({
        root,
        id,
        process,
        detach,
        ignorePaused,
        preserveFds: options.preserveFds,
        subGroups: options.cgroup ?? [],
        warn,
        ...(debug === undefined ? {} : { debug }),
        ...(consoleSocket ? { consoleSocket } : {}),
        ...(pidfdSocket ? { pidfdSocket } : {}),
        ...(pidFile ? { pidFile } : {}),
      });
    }),
  );

const PROCESS = { field: "--process", code: "PROCESS_UNREADABLE", what: "process" } as const;

/** What a `--process` file leaves out or empty of who and what may is as the container has it, as under runc: nothing is given by that. */
function withOwn(process: Process, { consoleSize: _size, ...own }: Process): Process {
  const { umask } = own.user;
  const user = umask === undefined ? process.user : { umask, ...process.user };
  const given = { ...process };
  for (const field of ["apparmorProfile", "selinuxLabel", "rlimits"] as const)
    if (given[field]?.length === 0) delete given[field];
  return { ...own, terminal: false, env: [], noNewPrivileges: false, ...given, user };
}

/** The container's process with what the flags change. An empty value is none, as for runc. */
function changedProcess(
  own: Process,
  args: string[],
  options: ExecOptions,
  pid: number,
  warn: (text: string) => void,
): Process {
  const process: Process = { ...own, args, terminal: options.tty === true, env: [...(own.env ?? [])] };
  for (const variable of options.env ?? [])
    if (variable.indexOf("=") < 1)
      throw flagError("BAD_VARIABLE", "--env", `--env "${variable}" is not of the form NAME=VALUE`);
  if (options.cwd) {
    if (!options.cwd.startsWith("/"))
      throw flagError(
        "BAD_PATH",
        "--cwd",
        `--cwd "${options.cwd}" is not an absolute path`,
        "it is a path in the container",
      );
    process.cwd = options.cwd;
  }
  if (options.user) process.user = execUser(options.user, own.user, `/proc/${pid}/root`);
  if (options.additionalGids !== undefined)
    process.user = {
      ...process.user,
      additionalGids: [
        ...(process.user.additionalGids ?? []),
        ...options.additionalGids.map((gid) => parseId("--additional-gids", gid)),
      ],
    };
  if (options.processLabel) process.selinuxLabel = options.processLabel;
  if (options.apparmor) process.apparmorProfile = options.apparmor;
  if (options.newPrivs === false) process.noNewPrivileges = true;
  if (options.cap !== undefined) {
    const added = options.cap.flatMap((name) => parseCapabilityNames("--cap", name, warn));
    const { bounding, effective, permitted, inheritable, ambient } = own.capabilities ?? {};
    const withAdded = (set: readonly string[] = []) => [...new Set([...set, ...added])];
    process.capabilities = {
      bounding: withAdded(bounding),
      effective: withAdded(effective),
      permitted: withAdded(permitted),
      // What is not inheritable cannot be ambient. capabilities(7).
      ...(inheritable === undefined
        ? {}
        : {
            inheritable,
            ambient: withAdded(ambient).filter((name) => !added.includes(name) || inheritable.includes(name)),
          }),
    };
  }
  // The later one of a name counts.
  for (const entry of options.env ?? []) {
    const name = entry.slice(0, entry.indexOf("=") + 1);
    process.env = [...(process.env ?? []).filter((other) => name === "" || !other.startsWith(name)), entry];
  }
  return process;
}
