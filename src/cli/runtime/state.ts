/** `tupper-runtime state`. */
import { Command } from "commander";
import { printableJson } from "../../printable.ts";
import { stateOfContainer } from "../../runtime/state.ts";
import { writeOut } from "../terminal.ts";
import { runtimeContext } from "./global-options.ts";

export const stateCommand = new Command("state")
  .summary("show the state of a container")
  .description("Prints the state of a container as JSON.")
  .argument("<ID>", "a container")
  .action((id: string, _options: unknown, command: Command) =>
    writeOut(`${printableJson(JSON.stringify(stateOfContainer(runtimeContext(command).root, id), null, 2))}\n`),
  );
