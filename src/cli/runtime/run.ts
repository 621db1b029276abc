/** `tupper-runtime run`. */
import { Command } from "commander";
import { runContainer } from "../../runtime/run.ts";
import { exitsWith } from "../exit-code.ts";
import { addLaunchOptions, launchRequest } from "./launch-options.ts";

interface RunOptions {
  detach?: boolean;
  keep?: boolean;
  /** False with --no-subreaper. */
  subreaper?: boolean;
}

export const runCommand = addLaunchOptions(new Command("run"))
  .summary("create and start a container")
  .description("Creates and starts a container. The exit code is its command's, 128 + n when signal n ended it.")
  .option("-d, --detach", "do not wait for its end")
  .option("--keep", "keep it on record when it has ended")
  .action(
    exitsWith((id: string, { detach = false, keep = false, subreaper = true }: RunOptions, command: Command): number =>
      runContainer({ ...launchRequest(id, command), detach, keep, subreaper }),
    ),
  );
