/** `tupper-runtime create`. */
import { Command } from "commander";
import { createContainer } from "../../runtime/create.ts";
import { exitsWith } from "../exit-code.ts";
import { addLaunchOptions, launchRequest } from "./launch-options.ts";

export const createCommand = addLaunchOptions(new Command("create"))
  .summary("create a container")
  .description("Makes a container of a bundle: everything but its command, which waits for `start`.")
  .action(
    exitsWith((id: string, _options: unknown, command: Command): number => {
      createContainer(launchRequest(id, command));
      return 0;
    }),
  );
