/** `tupper kill`: a signal to the first process of running containers. */
import { Command } from "commander";
import { killContainer } from "../engine/containers/kill.ts";
import { parseSignal } from "./signal.ts";
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
    for (const id of ids) {
      killContainer(id, number);
      writeOut(`${id}\n`);
    }
  });
