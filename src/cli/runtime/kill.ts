/** `tupper-runtime kill`. */
import { Command } from "commander";
import { killContainer } from "../../runtime/kill.ts";
import { forMatching } from "../../runtime/matching.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";
import { isSignal, parseSignal } from "../signal.ts";
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
    const signal = name === "0" ? 0 : parseSignal(name, "SIGNAL", () => meant(root, id, name));
    if (regex) forMatching(root, id, warn, (matching) => killContainer(root, matching, signal, { all }));
    else killContainer(root, id, signal, { all });
  });

/** `kill -9 ID`, `kill KILL ID`, `kill ID -9`: as kill(1) has it. A container may well be called 12. */
function meant(root: string, id: string, name: string): string | undefined {
  const [first, second] = [id, name].map((word) => word.replace(/^-/, ""));
  const isOnRecord = raw.faccessat(AT_FDCWD, `${root}/${id}/state.json`, 0) >= 0;
  if (first !== undefined && isSignal(first) && !isOnRecord) return `the ID comes first: kill ${name} ${first}`;
  return second !== undefined && isSignal(second) ? `without the dash: ${second}` : undefined;
}
