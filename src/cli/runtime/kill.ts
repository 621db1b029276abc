/** `tupper-runtime kill`. */
import { Command } from "commander";
import { killContainer } from "../../runtime/kill.ts";
import { forMatching } from "../../runtime/matching.ts";
import { parseSignal } from "../signal.ts";
import { runtimeContext } from "./global-options.ts";

export const killCommand = new Command("kill")
  .summary("send a signal to a container")
  .description("Sends a signal to the first process of a container.")
  .argument("<ID>", "a created or running container")
  .argument("[SIGNAL]", "a name or number; 0 only looks whether it is there", "TERM")
  .option("-a, --all", "to all processes of the container")
  .option("-r, --regex", "ID is a regular expression: to all containers in whose ID it is found")
  .action((id: string, name: string, { all = false, regex }: { all?: boolean; regex?: boolean }, command: Command) => {
    const { root, warn } = runtimeContext(command);
    const signal = name === "0" ? 0 : parseSignal(name);
    if (regex) forMatching(root, id, warn, (matching) => killContainer(root, matching, signal, { all }));
    else killContainer(root, id, signal, { all });
  });
