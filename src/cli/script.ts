/** `tupper script run …`: a shell script for sh, util-linux and coreutils that does what `tupper run` would. */
import { Command } from "commander";
import { scriptOf } from "../explain/script.ts";
import { planOfRun } from "./plan-of-run.ts";
import { addRunOptions } from "./run-flags.ts";
import { writeOut, writeWarning } from "./terminal.ts";

const scriptRun = addRunOptions(new Command("run"))
  .summary("print the script for a `tupper run` with the same words")
  .description(
    "Prints a POSIX shell script for util-linux and coreutils that ends in the same state as `tupper run` with the same words.",
  )
  .action((root: string, args: string[], _options: unknown, command: Command) => {
    const made = planOfRun(root, args, command);
    for (const text of made.warnings) writeWarning(text);
    writeOut(scriptOf(made));
  });

export const scriptCommand = new Command("script")
  .enablePositionalOptions()
  .usage("run [OPTIONS] ROOT [COMMAND [ARG…]]")
  .summary("print a shell script that does what `tupper run` would")
  .description("Prints a shell script, with a comment per step, that does what a command of tupper would.")
  .helpCommand(false)
  .addCommand(scriptRun);
