/** `tupper-runtime mounts`. */
import { Command } from "commander";
import { addMounts, type MountsRequest, removeMounts } from "../../runtime/mounts.ts";
import { parseMounts } from "../../spec/parse-config.ts";
import { runtimeContext } from "./global-options.ts";
import { readInput } from "./read-input.ts";

const FILE = { field: "FILE", code: "MOUNTS_UNREADABLE", what: "mounts" } as const;

function request(id: string, file: string, command: Command): MountsRequest {
  const { root, warn } = runtimeContext(command);
  const { value: mounts, warnings } = parseMounts(readInput(file, FILE));
  for (const text of warnings) warn(text);
  return { root, id, mounts, warn };
}

const addCommand = new Command("add")
  .summary("mount more into a running container")
  .description("Mounts more into a running container: all of it or nothing.")
  .argument("<ID>", "a created or running container")
  .argument("<FILE>", "JSON: a list of mounts as in a config.json, - is stdin")
  .action((id: string, file: string, _options: unknown, command: Command) => addMounts(request(id, file, command)));

const removeCommand = new Command("remove")
  .summary("take away what was added")
  .description("Takes away mounts that were added to a running container.")
  .argument("<ID>", "a created or running container")
  .argument("<FILE>", "JSON: a list of mounts, of which only the destinations count, - is stdin")
  .action((id: string, file: string, _options: unknown, command: Command) => removeMounts(request(id, file, command)));

export const mountsCommand = new Command("mounts")
  .summary("change the mounts of a running container")
  .description("Changes the mounts of a running container.")
  .addCommand(addCommand)
  .addCommand(removeCommand)
  .helpCommand("help [COMMAND]", "show the help of a command");
