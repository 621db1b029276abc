/** The way in: which program is meant, what it returns, and the one place where an error is reported. */

import type { Command } from "commander";
import { CommanderError } from "commander";
import { ContainerError, EXIT } from "../error.ts";
import { openStandardFiles } from "../sys/standard-files.ts";
import { errorLine } from "./error-json.ts";
import { lastExitCode } from "./exit-code.ts";
import { program } from "./program.ts";
import { renderError } from "./render-error.ts";
import { lineForEngines, runtimeFailure, runtimeMain } from "./runtime-main.ts";
import { colorsOf, writeErr } from "./terminal.ts";
import { isContainerCommand, UsageError } from "./usage-error.ts";

/** Engines that are told no path for a runtime look for one of the older names. */
const RUNTIME_NAME = /(^|\/)(tupper.*-runtime|runc|crun)$/;

const FAILED = 1;

const USAGE = 2;

/** Returns the exit code. `argv[0]` is the program's name, and says which of the two command lines is meant. */
export function main(argv: string[]): number {
  const [name = "tupper", ...args] = argv;
  if (RUNTIME_NAME.test(name)) return reported(() => runtimeMain(argv), runtimeFailure);
  return reported(
    () => {
      openStandardFiles();
      program.parse(args, { from: "user" });
      return lastExitCode();
    },
    () => (passesExitCodeOn(args) ? EXIT.failure : FAILED),
    () => wantsJson(args),
  );
}

/** Whether the exit code is a container's, so that failures of our own need codes that containers do not use. */
function passesExitCodeOn(args: readonly string[]): boolean {
  const command = commandOf(args);
  return command !== undefined && isContainerCommand(command);
}

const FLAG = "--error-format";

/** The first word that is neither the flag nor its value. */
function commandOf([first, ...rest]: readonly string[]): Command | undefined {
  if (first === FLAG) return commandOf(rest.slice(1));
  if (first?.startsWith(`${FLAG}=`)) return commandOf(rest);
  return program.commands.find((candidate: Command) => candidate.name() === first);
}

/** By the flag before the command, or by `--format json` of the command itself. */
function wantsJson(args: readonly string[]): boolean {
  const { errorFormat } = program.opts<{ errorFormat?: string }>();
  return (errorFormat ?? (commandOf(args)?.opts<{ format?: string }>().format === "json" ? "json" : "text")) === "json";
}

/** `failureCode` takes the place of the general code 125 where no container's exit code is passed on. */
function reported(act: () => number, failureCode: () => number, asJson: () => boolean = () => false): number {
  try {
    return act();
  } catch (error) {
    // Help was asked for, or is the answer to a command line without a command.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    const isRuntime = failureCode === runtimeFailure;
    const line = isRuntime ? lineForEngines(error) : undefined;
    const isJson = asJson();
    writeErr(isJson ? errorLine(error) : (line ?? renderError(error, colorsOf(2))));
    if (error instanceof UsageError && !isJson && line === undefined) writeErr(`${error.usage}\n`);
    if (isRuntime || !(error instanceof ContainerError) || error.exitCode === EXIT.failure) return failureCode();
    return error.exitCode;
  }
}
