/** The program as plain data, for the writers of completion scripts: commands, flags, and what follows each. */
import type { Argument, Command, Option } from "commander";
import { CAPABILITIES } from "../../spec/capabilities.ts";
import { SIGNALS } from "../../sys/constants.ts";

/** What a shell offers for a value: given words, files, directories, containers, or nothing that it knows. */
export type Values =
  | { kind: "words"; words: readonly string[] }
  | { kind: "files" }
  | { kind: "directories" }
  | { kind: "root" }
  | { kind: "containers" }
  /** Those that have ended too. */
  | { kind: "known" }
  | { kind: "command" }
  | { kind: "nothing" };

export interface CompletionFlag {
  /** `-m`, `--memory`. */
  names: string[];
  description: string;
  /** What its value is called; undefined for a switch. */
  metavar: string | undefined;
  values: Values;
  repeatable: boolean;
}

export interface CompletionCommand {
  name: string;
  aliases: readonly string[];
  /** Names from the program down to this one. */
  path: readonly string[];
  description: string;
  /** Of a program: its command that lists containers. */
  listCommand: string;
  flags: CompletionFlag[];
  commands: CompletionCommand[];
  arguments: { name: string; values: Values; repeated: boolean }[];
  /** Flags end at the first argument: the rest is another command's. */
  stopsAtArgument: boolean;
}

export function describeProgram(command: Command, above: readonly string[] = []): CompletionCommand {
  const path = [...above, command.name()];
  const help = command.createHelp();
  const children = help
    .visibleCommands(command)
    .filter(({ _hidden }: Command & { _hidden?: boolean }) => _hidden !== true);
  const commands = children.map((child) => describeProgram(child, path));
  const words = commands.map(({ name }) => name).filter((name) => name !== HELP);
  return {
    name: command.name(),
    aliases: command.aliases(),
    path,
    description: command.summary() || command.description(),
    listCommand: command.commands.some((child) => child.name() === "list") ? "list" : "ps",
    flags: help.visibleOptions(command).map(describeFlag),
    commands: commands.map((child) => (child.name === HELP ? withArgument(child, { kind: "words", words }) : child)),
    arguments: command.registeredArguments.map((argument) => describeArgument(argument, command.name())),
    stopsAtArgument:
      command.registeredArguments.some(({ variadic }) => variadic) && /\[COMMAND|COMMAND \[/.test(command.usage()),
  };
}

/** The argument of `help` is another command of the same program. */
const HELP = "help";

const withArgument = (command: CompletionCommand, values: Values): CompletionCommand => ({
  ...command,
  arguments: command.arguments.map((argument) => ({ ...argument, values })),
});

function describeFlag(option: Option): CompletionFlag {
  const metavar = /<(.+)>/.exec(option.flags)?.[1];
  return {
    names: [option.short, option.long].filter((name) => name !== undefined),
    description: option.description,
    metavar,
    values: option.argChoices === undefined ? valuesOf(metavar) : { kind: "words", words: option.argChoices },
    repeatable: option.parseArg !== undefined,
  };
}

/** Commands of tupper-runtime whose ID is to be a new one. */
const NEW_ID = /^(create|run|restore)$/;

/** Commands of tupper that also tell of what has ended. */
const OF_ENDED = /^(wait|inspect)$/;

function describeArgument(argument: Argument, command: string): CompletionCommand["arguments"][number] {
  const name = argument.name().replace(/\.\.\.$/, "");
  const values: Values =
    argument.argChoices === undefined
      ? name === "NAME" || (name === "ID" && !NEW_ID.test(command))
        ? { kind: OF_ENDED.test(command) ? "known" : "containers" }
        : valuesOf(name)
      : { kind: "words", words: argument.argChoices };
  return { name, values, repeated: argument.variadic };
}

const WORDS: Readonly<Record<string, readonly string[]>> = {
  KIND: ["overlay", "bind", "copy"],
  NAMESPACE: ["private", "host", "container:", "/proc/"],
  CAPABILITY: ["ALL", ...CAPABILITIES.map((name) => name.slice("CAP_".length))],
  SIGNAL: Object.keys(SIGNALS),
  OPTION: ["seccomp=", "seccomp=unconfined", "no-new-privileges", "apparmor=", "label=", "systempaths=unconfined"],
  "CLOCK=SECONDS": ["monotonic=", "boottime="],
};

function valuesOf(metavar: string | undefined): Values {
  const words = WORDS[metavar ?? ""];
  if (words !== undefined) return { kind: "words", words };
  if (metavar === "ROOT") return { kind: "root" };
  if (metavar === "COMMAND") return { kind: "command" };
  if (metavar === "FILE" || /^(SRC|DEVICE)\b/.test(metavar ?? "")) return { kind: "files" };
  return { kind: "nothing" };
}

/** Whether a command of the program takes names of what has ended. */
export const offersKnown = (program: CompletionCommand): boolean =>
  allCommands(program).some((command) => command.arguments.some(({ values }) => values.kind === "known"));

/** A command and all below it, from the top. */
export function allCommands(command: CompletionCommand): CompletionCommand[] {
  return [command, ...command.commands.flatMap(allCommands)];
}
