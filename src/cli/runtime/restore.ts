/** `tupper-runtime restore`. */
import { Command, Option } from "commander";
import type { CriuFlags } from "../../plan/criu-options.ts";
import { restoreContainer } from "../../runtime/restore.ts";
import { exitsWith } from "../exit-code.ts";
import { addCriuOptions, criuFlags } from "./criu-options.ts";
import { criuContext } from "./global-options.ts";

interface RestoreOptions extends CriuFlags {
  bundle: string;
  detach?: boolean;
  pidFile?: string;
  consoleSocket?: string;
  subreaper?: boolean;
  tcpClose?: boolean;
  lsmProfile?: string;
  lsmMountContext?: string;
}

export const restoreCommand = addCriuOptions(new Command("restore"))
  .summary("make a container of a checkpoint")
  .description("Makes a container of a bundle and of what `checkpoint` has written, by CRIU. It runs on where it was.")
  .argument("<ID>", "its name, unique on this machine")
  .option("-b, --bundle <DIRECTORY>", "the bundle", ".")
  .option("-d, --detach", "do not wait for its end")
  .option("--pid-file <FILE>", "a file that gets the pid of the container's first process")
  .option("--console-socket <PATH>", "the unix socket that receives the terminal's master")
  .option("--tcp-close", "TCP connections come back closed")
  .option("--lsm-profile <TYPE:NAME>", "another profile of AppArmor or SELinux")
  .option("--lsm-mount-context <CONTEXT>", "another SELinux context of mounts")
  .addOption(new Option("--no-subreaper", "orphans of the container do not become our children"))
  .addOption(new Option("--no-pivot", "accepted: CRIU enters the root").hideHelp())
  .action(
    exitsWith((id: string, options: RestoreOptions, command: Command): number => {
      const {
        bundle,
        detach = false,
        pidFile,
        consoleSocket,
        subreaper,
        tcpClose,
        lsmProfile,
        lsmMountContext,
      } = options;
      return restoreContainer({
        ...criuContext(command),
        id,
        bundle,
        detach,
        subreaper: subreaper !== false,
        ...(pidFile ? { pidFile } : {}),
        ...(consoleSocket ? { consoleSocket } : {}),
        flags: {
          ...criuFlags(options),
          ...(tcpClose === undefined ? {} : { tcpClose }),
          ...(lsmProfile === undefined ? {} : { lsmProfile }),
          ...(lsmMountContext === undefined ? {} : { lsmMountContext }),
        },
      });
    }),
  );
