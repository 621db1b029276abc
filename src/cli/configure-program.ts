/** How commander behaves in every command of tupper and tupper-runtime: texts, errors, and what is spared at start. */
import { type Command, CommanderError, type Help, type HelpContext } from "commander";
import { columnsOf, wantsColor, writeErr, writeOut } from "./terminal.ts";
import { pathOf, usageError } from "./usage-error.ts";

/**
 * commander sorts the nearest names by it, where several are as near. QuickJS has it with its tables of Unicode's normal forms alone,
 * which are not part of the binary.
 */
String.prototype.localeCompare ??= function (this: string, other: string): number {
  return this < other ? -1 : this > other ? 1 : 0;
};

/** To be called once for a whole program, when the bundle is evaluated. commander then throws instead of printing and leaving; our own error texts take the place of its. */
export function configureProgram(program: Command): void {
  configure(program, program);
  rememberNames(program);
}

function configure(command: Command, program: Command): void {
  command
    .exitOverride((error) => {
      throw isMistake(error) ? usageError(error, command) : error;
    })
    .configureOutput({
      writeOut,
      writeErr,
      outputError: () => {},
      getOutHelpWidth: () => columnsOf(1),
      getErrHelpWidth: () => columnsOf(2),
      getOutHasColors: () => wantsColor(1),
      getErrHasColors: () => wantsColor(2),
    })
    .configureHelp({
      commandUsage: (shown) => `${pathOf(shown)} ${shown.usage()}`,
      subcommandTerm: (shown) => shown.name(),
      padWidth: (shown, help) => Math.min(TERM_WIDTH, longestTerm(shown, help)),
      formatItem,
    });
  command.usage(inOurSpelling(command.usage()));
  // -h of `tupper run` is its --hostname.
  if (command !== program && !command.options.some(({ short }) => short === "-h"))
    command.helpOption("-h, --help", "show this help");
  if (command.commands.length > 0) refuseHelpOfUnknown(command);
  prepare(command);
  for (const child of command.commands) configure(child, program);
}

/** `creat --help` and `help creat`: commander would show the help of the program, with exit code 0 in the first case. */
function refuseHelpOfUnknown(command: Command): void {
  const show = command.outputHelp.bind(command);
  const showUnlessUnknown = (context?: HelpContext) => {
    const name = command.args[command.args[0] === "help" ? 1 : 0] ?? "help";
    if (context?.error === true && name.startsWith("-") && !/^(-h|--help)$/.test(name))
      command.error(`error: unknown option '${name}'`, { code: "commander.unknownOption" });
    if (name !== "help" && !name.startsWith("-") && !command.commands.some((child) => child.name() === name))
      command.error(`error: unknown command '${name}'`, { code: "commander.unknownCommand" });
    if (context?.error === true && name.startsWith("-")) {
      show();
      throw new CommanderError(0, "commander.help", "(outputHelp)"); // `help --help` is no mistake
    }
    show(context);
  };
  Object.assign(command, { outputHelp: showUnlessUnknown });
}

/** `[options] <NAME...>` is `[OPTIONS] NAME…`, and a command is never left out. */
const inOurSpelling = (usage: string): string =>
  usage
    .replace("[options]", "[OPTIONS]")
    .replace("[command]", "COMMAND")
    .replaceAll("...", "…")
    .replace(/<([A-Z]+…?)>/g, "$1");

/** Columns for flags in help texts; a longer one has its description on the next line. */
const TERM_WIDTH = 28;
const INDENT = 2;

const longestTerm = (command: Command, help: Help): number =>
  Math.max(
    help.longestOptionTermLength(command, help),
    help.longestSubcommandTermLength(command, help),
    help.longestArgumentTermLength(command, help),
  );

function formatItem(term: string, termWidth: number, description: string, help: Help): string {
  const margin = " ".repeat(INDENT);
  if (description === "") return margin + term;
  const width = Math.max(20, (help.helpWidth ?? 80) - termWidth - 2 * INDENT);
  const lines = help.boxWrap(description, width).split("\n");
  const first =
    help.displayWidth(term) > termWidth ? `${term}\n` : `${term.padEnd(termWidth)}${margin}${lines.shift() ?? ""}\n`;
  const below = lines.map((line) => `${" ".repeat(termWidth + 2 * INDENT)}${line}\n`);
  return (margin + first + below.join("")).trimEnd();
}

/**
 * commander walks all flags of a command seven times at each start, and `run` has a hundred of them, frozen on as many
 * pages. No flag of tupper's has an environment variable, implies or excludes another, so those walks are left out
 * (main.test.ts checks that this holds): 0.4 ms of the 5 that a whole `run` takes.
 */
export const NEEDLESS_WALKS = [
  "_parseOptionsEnv",
  "_parseOptionsImplied",
  "_checkForConflictingOptions",
  "_checkForMissingMandatoryOptions",
];

function prepare(command: Command): void {
  for (const walk of NEEDLESS_WALKS) Object.assign(command, { [walk]: () => {} });
  // A flag that is only there as --no-NAME is true without it. commander says so at the first parse, unless the state is saved.
  for (const option of command.options) {
    const positive = option.long?.replace(/^--no-/, "--");
    if (option.negate && !command.options.some(({ long }) => long === positive))
      command.setOptionValueWithSource(option.attributeName(), true, "default");
  }
  command.saveStateBeforeParse();
}

/** Help and version end the parse in the same way as mistakes do. */
const isMistake = ({ code }: CommanderError): boolean => !/^commander\.(help|helpDisplayed|version)$/.test(code);

/** commander derives an option's name from its flags at every look, several times per parse: once, in the build, will do. */
function rememberNames(command: Command): void {
  for (const option of command.options) {
    const name = option.attributeName();
    option.attributeName = () => name;
  }
  for (const child of command.commands) rememberNames(child);
}
