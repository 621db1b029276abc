/** `tupper completion`: a script that teaches a shell tupper's commands and flags, generated from the program itself. */
import { Argument, Command } from "commander";
import { bashCompletion } from "./completion/bash.ts";
import { fishCompletion } from "./completion/fish.ts";
import { describeProgram } from "./completion/program-tree.ts";
import { zshCompletion } from "./completion/zsh.ts";
import { writeOut } from "./terminal.ts";

const WRITERS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

export const completionCommand = new Command("completion")
  .summary("print the completion script of a shell")
  .description(
    "Prints a script that completes tupper's commands, flags and containers.\n" +
      "  bash: source <(tupper completion bash)\n" +
      "  zsh:  tupper completion zsh > ~/.zfunc/_tupper   (a directory of $fpath)\n" +
      "  fish: tupper completion fish > ~/.config/fish/completions/tupper.fish",
  )
  .addArgument(new Argument("<SHELL>", "which shell").choices(Object.keys(WRITERS)))
  .action((shell: keyof typeof WRITERS, _options: unknown, command: Command) => {
    const program = command.parent;
    if (program !== null) writeOut(WRITERS[shell](describeProgram(program)));
  });
