/** `tupper-runtime delete`. */
import { Command } from "commander";
import { deleteContainer } from "../../runtime/delete.ts";
import { forMatching } from "../../runtime/matching.ts";
import { runtimeContext } from "./global-options.ts";

export const deleteCommand = new Command("delete")
  .summary("remove what is left of a container")
  .description("Removes what is left of a container that has stopped, or was never started.")
  .argument("<ID>", "a container")
  .option("-r, --regex", "ID is a regular expression: all containers in whose ID it is found")
  .option("-f, --force", "also a running one, which is killed; one that there is not is no error")
  .action((id: string, { force = false, regex }: { force?: boolean; regex?: boolean }, command: Command) => {
    const { root, warn } = runtimeContext(command);
    if (regex) forMatching(root, id, warn, (matching) => deleteContainer(root, matching, force, warn));
    else deleteContainer(root, id, force, warn);
  });
