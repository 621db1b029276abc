/** A command line that says nothing that tupper understands: commander's complaint in the form of our errors. */

import type { Command, CommanderError } from "commander";
import { ContainerError } from "../error.ts";
import type { ErrorCode } from "../error-codes.ts";
import { didYouMean } from "../nearest.ts";
import { otherWord, templateHint } from "./other-words.ts";
import { isSignal } from "./signal.ts";

/** docker's code of its own failures, for the commands whose other codes are the container's; 2 for the rest. */
const USAGE_EXIT = { container: 125, other: 2 } as const;

export class UsageError extends ContainerError {
  /** `usage: tupper run [OPTIONS] ROOT …` */
  readonly usage: string;

  constructor(code: ErrorCode, message: string, hint: string | undefined, command: Command) {
    super(code, message, {
      ...(hint === undefined ? {} : { hint }),
      exitCode: isContainerCommand(command) ? USAGE_EXIT.container : USAGE_EXIT.other,
    });
    this.usage = `usage: ${pathOf(command)} ${command.usage()}`;
  }
}

/** Commands that pass a container's exit code on. */
export const isContainerCommand = (command: Command): boolean => /^tupper (run|exec|why|learn)$/.test(pathOf(command));

export function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  "commander.unknownOption": "UNKNOWN_FLAG",
  "commander.unknownCommand": "UNKNOWN_COMMAND",
  "commander.missingArgument": "MISSING_ARGUMENT",
  "commander.optionMissingArgument": "MISSING_VALUE",
  "commander.excessArguments": "TOO_MANY_ARGUMENTS",
  "commander.invalidArgument": "BAD_VALUE",
};

/** What commander threw while it parsed `command`. */
export function usageError(error: CommanderError, command: Command): UsageError {
  const code = CODES[error.code] ?? "USAGE";
  const [first = ""] = error.message.replace(/^error: /, "").split("\n");
  const quoted = /'([^']*)'/.exec(first)?.[1] ?? "";
  const help = `see ${pathOf(command)} --help`;
  switch (error.code) {
    case "commander.unknownOption":
      return unknownFlag(code, quoted, command);
    case "commander.unknownCommand": {
      const hint = otherWord(pathOf(command), quoted) ?? didYouMean(quoted, namesOf(command)) ?? help;
      return new UsageError(code, `unknown command '${quoted}'`, hint, command);
    }
    case "commander.missingArgument":
      return new UsageError(code, `${pathOf(command)} needs ${quoted}`, help, command);
    case "commander.optionMissingArgument":
      return new UsageError(code, `the flag ${quoted} needs a value`, help, command);
    case "commander.excessArguments": {
      const extra = command.args.slice(command.registeredArguments.length).join(" ");
      return new UsageError(code, `${pathOf(command)} takes no argument ${extra}`, help, command);
    }
    case "commander.invalidArgument":
      return invalidValue(code, first, command) ?? new UsageError(code, first, help, command);
    default:
      return new UsageError(code, first, help, command);
  }
}

/** `-dit` and `-p80:80` are the flags -d and -p, unless there is a flag --dit. `--trace=all` is a value that --trace does not take. */
function unknownFlag(code: ErrorCode, written: string, command: Command): UsageError {
  const path = pathOf(command);
  const flags = flagsOf(command);
  const [long = "", value] = [written.replace(/=.*$/s, ""), /=(.*)$/s.exec(written)?.[1]];
  const values = command.options.flatMap((option) => option.long?.split(`${long}=`).slice(1) ?? []);
  if (value !== undefined && flags.includes(long))
    return new UsageError(
      "BAD_VALUE",
      `${long} cannot be "${value}"`,
      values.length > 0 ? `one of ${values.join(", ")}` : `${long} takes no value`,
      command,
    );
  const signal = / kill$/.test(path) && isSignal(long.slice(1)) ? long.slice(1) : undefined;
  const isShort = /^-[^-]/.test(long) && !flags.includes(`-${long}`) && signal === undefined;
  const flag = isShort ? long.slice(0, 2) : long;
  const json = flag === "--json" && flags.includes("--format") ? "--format json" : undefined;
  const hint =
    (signal === undefined ? otherWord(path, flag) : dashedSignal(path, signal)) ??
    json ??
    elsewhere(flag, command) ??
    (flag.length > 2 ? didYouMean(flag, flags) : undefined);
  return new UsageError(code, `${path} has no flag ${flag}`, hint ?? `see ${path} --help`, command);
}

/** `kill -KILL`, as kill(1) has it. */
const dashedSignal = (path: string, signal: string): string =>
  path === "tupper kill"
    ? `the signal is a flag: --signal ${signal}`
    : `the signal follows the ID, without a dash: kill ID ${signal}`;

/** A flag of the program that stands behind the command's name, or one of its commands' before it. */
function elsewhere(flag: string, command: Command): string | undefined {
  const has = ({ options }: Command) => options.some(({ short, long }) => short === flag || long === flag);
  for (let above = command.parent; above !== null; above = above.parent)
    if (has(above)) return `it is a flag of ${pathOf(above)}, and stands before ${command.name()}`;
  const below = command.commands.filter(has).map((child) => child.name());
  if (below.length === 0) return undefined;
  return below.length > 3
    ? "flags of a command stand behind its name"
    : `it is a flag of ${below.join(", ")}, and stands behind that word`;
}

/** commander's sentence about a value, of a flag or of an argument: what it was, and what it says after that. */
function invalidValue(code: ErrorCode, sentence: string, command: Command): UsageError | undefined {
  const [, flags = "", flagValue = "", flagReason] =
    /^option '(.+?)' argument '(.*)' is invalid\. (.*)$/s.exec(sentence) ?? [];
  const [, value = flagValue, name = flags, reason = flagReason] =
    /^command-argument value '(.*)' is invalid for argument '(.+)'\. (.*)$/s.exec(sentence) ?? [];
  if (reason === undefined) return undefined;
  const choices = /^Allowed choices are (.*)\.$/.exec(reason)?.[1]?.split(", ");
  const what = /--[\w-]+/.exec(name)?.[0] ?? name;
  const hint =
    choices === undefined
      ? reason
      : (templateHint(value) ?? didYouMean(value, choices) ?? `one of ${choices.join(", ")}`);
  return new UsageError(code, `${what} cannot be "${value}"`, hint, command);
}

/** Long flags: one letter is near to every other. */
const flagsOf = (command: Command): string[] =>
  command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ short, long }) => [short, long])
    .filter((flag) => flag !== undefined && flag.length > 2) as string[];

const namesOf = (command: Command): string[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .flatMap((child) => [child.name(), ...child.aliases()]);
