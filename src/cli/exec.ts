/** `tupper exec`: another command in a running container. */
import { Command } from "commander";
import { parseCapabilityNames } from "../engine/containers/config/capabilities.ts";
import { namedVariables } from "../engine/containers/config/environment.ts";
import { parseContainerPath } from "../engine/containers/config/flag-value.ts";
import { execInContainer } from "../engine/containers/exec.ts";
import { readNamedFile } from "../engine/containers/root-facts.ts";
import { sys } from "../sys/sys.ts";
import { exitsWith } from "./exit-code.ts";
import { addSwitch, repeatable } from "./flags.ts";
import { isTerminal } from "./terminal.ts";

interface ExecOptions {
  env?: string[];
  envFile?: string[];
  workdir?: string;
  user?: string;
  groupAdd?: string[];
  tty?: boolean;
  privileged?: boolean;
  capAdd?: string[];
  capDrop?: string[];
  /** commander reads --no-new-privileges as the negative of a flag that there is not. */
  newPrivileges?: boolean;
}

export const execCommand = new Command("exec")
  .usage("[OPTIONS] NAME COMMAND [ARG…]")
  .summary("run another command in a running container")
  .description(
    "Runs another command in a running container, with its namespaces, control groups and limits. The exit code is the command's.",
  )
  .argument("<NAME>", "a running container")
  .argument("<COMMAND...>", "what to run, with its arguments")
  .passThroughOptions()
  .addOption(repeatable("-e, --env <NAME[=VALUE]>", "an environment variable; without a value, the caller's"))
  .addOption(repeatable("--env-file <FILE>", "environment variables, one a line"))
  .option("-w, --workdir <DIRECTORY>", "where the command starts; default where the container's did")
  .option("-u, --user <USER[:GROUP]>", "names or numbers, by the container's own /etc/passwd and /etc/group")
  .addOption(repeatable("--group-add <GROUP>", "a further group"))
  .addOption(repeatable("--cap-add <CAPABILITY>", "a capability more"))
  .addOption(repeatable("--cap-drop <CAPABILITY>", "a capability less"));
addSwitch(execCommand, "-t, --tty", "a terminal; default where stdin and stdout are one");
addSwitch(execCommand, "--no-tty", "no terminal");
addSwitch(execCommand, "-i, --interactive", "accepted: stdin is always passed on");
addSwitch(execCommand, "--privileged", "all capabilities");
addSwitch(execCommand, "--no-new-privileges", "set-user-id programs give nothing");
execCommand.action(
  exitsWith((id: string, args: string[], options: ExecOptions): number => {
    const env = namedVariables(options, { env: sys.environment() as string[], readFile: readNamedFile });
    return execInContainer({
      id,
      args,
      env: env.map(([name, value]) => `${name}=${value}`),
      ...(options.workdir === undefined ? {} : { cwd: parseContainerPath("--workdir", options.workdir) }),
      ...(options.user === undefined ? {} : { user: options.user }),
      ...(options.groupAdd === undefined ? {} : { groups: options.groupAdd }),
      terminal: options.tty ?? (isTerminal(0) && isTerminal(1)),
      privileged: options.privileged ?? false,
      ...(options.capAdd === undefined && options.capDrop === undefined
        ? {}
        : { capabilities: capabilityChange(options) }),
      ...(options.newPrivileges === false ? { noNewPrivileges: true } : {}),
    });
  }),
);

function capabilityChange({ capAdd = [], capDrop = [] }: ExecOptions): { add: string[]; drop: string[] } {
  return {
    add: capAdd.flatMap((value) => parseCapabilityNames("--cap-add", value)),
    drop: capDrop.flatMap((value) => parseCapabilityNames("--cap-drop", value)),
  };
}
