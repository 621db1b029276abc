/** `tupper kill`: a signal to the first process of running containers. */
import { Command } from "commander";
import { killContainer } from "../engine/containers/kill.ts";
import { loadState } from "../engine/containers/state.ts";
import { ContainerError } from "../error.ts";
import { isSignal, parseSignal } from "./signal.ts";
import { writeOut } from "./terminal.ts";

export const killCommand = new Command("kill")
  .summary("send a signal to running containers")
  .description(
    "Sends a signal to the first process of running containers. A PID 1 that has no handler for a signal ignores all but KILL and STOP.",
  )
  .argument("<NAME...>", "running containers")
  .option("-s, --signal <SIGNAL>", "a name or number", "KILL")
  .action((ids: string[], { signal }: { signal: string }) => {
    const number = parseSignal(signal);
    ids.forEach(requireContainer);
    for (const id of ids) {
      killContainer(id, number);
      writeOut(`${id}\n`);
    }
  });

/** Before anything is sent: `tupper kill NAME TERM`, which runc would take, must not send SIGKILL to NAME. */
function requireContainer(id: string): void {
  try {
    loadState(id);
  } catch (error) {
    const signal = id.replace(/^-/, "");
    if (!(error instanceof ContainerError) || error.code !== "CONTAINER_UNKNOWN" || !isSignal(signal)) throw error;
    throw new ContainerError(error.code, error.message, { hint: `the signal is a flag: --signal ${signal}` });
  }
}
