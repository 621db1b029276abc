/** `tupper-runtime start`. */
import { Command } from "commander";
import { startContainer } from "../../runtime/start.ts";
import { runtimeContext } from "./global-options.ts";

export const startCommand = new Command("start")
  .summary("start the command of a created container")
  .description("Starts the command of a container that `create` made.")
  .argument("<ID>", "a created container")
  .action((id: string, _options: unknown, command: Command) => {
    const { root, warn } = runtimeContext(command);
    startContainer(root, id, warn);
  });
