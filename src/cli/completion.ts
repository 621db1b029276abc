/** `tupper completion`: a script that teaches a shell tupper's commands and flags, generated from the program itself. */
import { Argument, Command } from "commander";
import { bashCompletion } from "./completion/bash.ts";
import { fishCompletion } from "./completion/fish.ts";
import { describeProgram } from "./completion/program-tree.ts";
import { zshCompletion } from "./completion/zsh.ts";
import { writeOut } from "./terminal.ts";

const WRITERS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** A command for either program: it describes the one that it is part of. */
export const completionCommand = (program: string): Command =>
  new Command("completion")
    .summary("print the completion script of a shell")
    .description(
      "Prints a script that completes this program's commands, flags and containers, for example\n" +
        `  bash: source <(${program} completion bash)\n` +
        `  zsh:  ${program} completion zsh > ~/.zfunc/_${program}   (a directory of $fpath)\n` +
        `  fish: ${program} completion fish > ~/.config/fish/completions/${program}.fish`,
    )
    .addArgument(new Argument("<SHELL>", "which shell").choices(Object.keys(WRITERS)))
    .action((shell: keyof typeof WRITERS, _options: unknown, { parent }: Command) => {
      if (parent !== null) writeOut(WRITERS[shell](describeProgram(parent)));
    });
