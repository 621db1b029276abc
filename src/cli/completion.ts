/** `tupper completion`: a script that teaches a shell tupper's commands and flags, generated from the program itself. */
import { Argument, Command } from "commander";
import { bashCompletion } from "./completion/bash.ts";
import { fishCompletion } from "./completion/fish.ts";
import { describeProgram } from "./completion/program-tree.ts";
import { zshCompletion } from "./completion/zsh.ts";
import { writeOut } from "./terminal.ts";

const WRITERS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** A command for either program: it describes the one that it is part of. */
export const completionCommand = (): Command =>
  new Command("completion")
    .summary("print the completion script of a shell")
    .description(
      "Prints a script that completes this program's commands, flags and containers, for example\n" +
        "  bash: source <(tupper completion bash)\n" +
        "  zsh:  tupper completion zsh > ~/.zfunc/_tupper   (a directory of $fpath)\n" +
        "  fish: tupper completion fish > ~/.config/fish/completions/tupper.fish",
    )
    .addArgument(new Argument("<SHELL>", "which shell").choices(Object.keys(WRITERS)))
    .action((shell: keyof typeof WRITERS, _options: unknown, command: Command) => {
      const program = command.parent;
      if (program !== null) writeOut(WRITERS[shell](describeProgram(program)));
    });
