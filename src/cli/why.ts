/** `tupper why COMMAND`: a program of the machine, with what is denied to it and to what it starts. */
import { Command } from "commander";
import { why } from "./diagnose.ts";
import { exitsWith } from "./exit-code.ts";

export const whyCommand = new Command("why")
  .usage("[--] COMMAND [ARG…]")
  .summary("run a command and tell each call that is denied to it, and by which layer")
  .description(
    "Runs a command of this machine and tells on stderr each system call that the kernel denies to it or to what it starts (EPERM, EACCES, " +
      "EROFS, ENOSYS): by which layer, on what evidence. In a container: tupper run --diagnose. The exit code is the command's.",
  )
  .argument("<COMMAND...>", "what to run, with its arguments")
  .passThroughOptions()
  .action(exitsWith((args: string[]): number => why(args)));
