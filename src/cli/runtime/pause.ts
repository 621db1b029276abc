/** `tupper-runtime pause`. */
import { Command } from "commander";
import { pauseContainer } from "../../runtime/pause.ts";
import { runtimeContext } from "./global-options.ts";

export const pauseCommand = new Command("pause")
  .summary("stop all processes of a container for a while")
  .description("Stops all processes of a container, without a signal that they could see, until `resume`.")
  .argument("<ID>", "a created or running container")
  .action((id: string, _options: unknown, command: Command) => pauseContainer(runtimeContext(command).root, id));
