/** `tupper why COMMAND`: a program of the machine, with what is denied to it and to what it starts. */
import { Command } from "commander";
import { type DiagnosisFormat, diagnosisFormat, why } from "./diagnose.ts";
import { exitsWith } from "./exit-code.ts";

export const whyCommand = new Command("why")
  .usage("[OPTIONS] [--] COMMAND [ARG…]")
  .summary("run a command and tell each call that is denied to it, and by which layer")
  .description(
    "Runs a command of this machine and tells on stderr each system call that the kernel denies to it or to what it starts (EPERM, EACCES, " +
      "EROFS, ENOSYS): by which layer, on what evidence. In a container: tupper run --diagnose. The exit code is the command's.",
  )
  .argument("<COMMAND...>", "what to run, with its arguments")
  .addOption(diagnosisFormat("json: one object on the last line of stderr, when it has ended"))
  .passThroughOptions()
  .action(exitsWith((args: string[], { format }: { format: DiagnosisFormat }): number => why(args, format)));
