/** The way in: which program is meant, what it returns, and the one place where an error is reported. */

import type { Command } from "commander";
import { CommanderError } from "commander";
import { ContainerError, EXIT } from "../error.ts";
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
      program.parse(args, { from: "user" });
      return lastExitCode();
    },
    () => (passesExitCodeOn(args) ? EXIT.failure : FAILED),
  );
}

/** Whether the exit code is a container's, so that failures of our own need codes that containers do not use. */
function passesExitCodeOn([word]: readonly string[]): boolean {
  const command = program.commands.find((candidate: Command) => candidate.name() === word);
  return command !== undefined && isContainerCommand(command);
}

/** `failureCode` takes the place of the general code 125 where no container's exit code is passed on. */
function reported(act: () => number, failureCode: () => number): number {
  try {
    return act();
  } catch (error) {
    // Help was asked for, or is the answer to a command line without a command.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    const isRuntime = failureCode === runtimeFailure;
    const line = isRuntime ? lineForEngines(error) : undefined;
    writeErr(line ?? renderError(error, colorsOf(2)));
    if (error instanceof UsageError && line === undefined) writeErr(`${error.usage}\n`);
    if (isRuntime || !(error instanceof ContainerError) || error.exitCode === EXIT.failure) return failureCode();
    return error.exitCode;
  }
}
