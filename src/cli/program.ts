/**
 * tupper's command line: all commands, and how commander behaves in each of them. It is assembled when the bundle is
 * evaluated, so it is part of the snapshot: at start only the arguments are left to parse.
 */
import { Command, type CommanderError, type Help } from "commander";
import { completionCommand } from "./completion.ts";
import { execCommand } from "./exec.ts";
import { explainCommand } from "./explain.ts";
import { inspectCommand } from "./inspect.ts";
import { killCommand } from "./kill.ts";
import { nsCommand } from "./ns.ts";
import { psCommand } from "./ps.ts";
import { runCommand } from "./run.ts";
import { scriptCommand } from "./script.ts";
import { statsCommand } from "./stats.ts";
import { columnsOf, wantsColor, writeErr, writeOut } from "./terminal.ts";
import { pathOf, usageError } from "./usage-error.ts";
import { versionText } from "./version.ts";

export const program = new Command("tupper")
  .usage("[OPTIONS] COMMAND [ARG…]")
  .description("Runs containers, and says what it does and why. Try: tupper run host sh -c 'hostname; ps; mount; id'")
  .version(versionText("tupper"), "-v, --version", "show the version")
  .helpOption("-h, --help", "show this help")
  .enablePositionalOptions()
  .commandsGroup("Containers:")
  .addCommand(runCommand)
  .addCommand(execCommand)
  .addCommand(psCommand)
  .addCommand(killCommand)
  .addCommand(inspectCommand)
  .addCommand(statsCommand)
  .commandsGroup("Looking inside:")
  .addCommand(explainCommand)
  .addCommand(scriptCommand)
  .addCommand(nsCommand)
  .commandsGroup("This program:")
  .addCommand(completionCommand)
  .helpCommand("help [COMMAND]", "show the help of a command");

/** commander throws instead of printing and leaving; our own error texts take the place of its. */
function configure(command: Command): void {
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
  if (command !== program && command.name() !== "run") command.helpOption("-h, --help", "show this help");
  prepare(command);
  for (const child of command.commands) configure(child);
}

/** `[options] <NAME...>` is `[OPTIONS] NAME…`. */
const inOurSpelling = (usage: string): string =>
  usage
    .replace("[options]", "[OPTIONS]")
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

configure(program);
rememberNames(program);
