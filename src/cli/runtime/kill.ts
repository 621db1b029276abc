/** `tupper-runtime kill`. */
import { Command } from "commander";
import { killContainer } from "../../runtime/kill.ts";
import { parseSignal } from "../signal.ts";
import { runtimeContext } from "./global-options.ts";

export const killCommand = new Command("kill")
  .summary("send a signal to a container")
  .description("Sends a signal to the first process of a container.")
  .argument("<ID>", "a created or running container")
  .argument("[SIGNAL]", "a name or number", "TERM")
  .option("-a, --all", "to all processes of the container")
  .action((id: string, signal: string, { all = false }: { all?: boolean }, command: Command) =>
    killContainer(runtimeContext(command).root, id, parseSignal(signal), { all }),
  );
