/** `tupper-runtime resume`. */
import { Command } from "commander";
import { resumeContainer } from "../../runtime/pause.ts";
import { runtimeContext } from "./global-options.ts";

export const resumeCommand = new Command("resume")
  .summary("let the processes of a paused container go on")
  .description("Lets the processes of a paused container go on.")
  .argument("<ID>", "a paused container")
  .action((id: string, _options: unknown, command: Command) => resumeContainer(runtimeContext(command).root, id));
