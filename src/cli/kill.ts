/** `tupper kill`: a signal to the first process of running containers. */
import { Command } from "commander";
import { killContainer } from "../engine/containers/kill.ts";
import { ContainerError } from "../error.ts";
import { didYouMean } from "../nearest.ts";
import { SIGNALS } from "../sys/constants.ts";
import { writeOut } from "./terminal.ts";

const SIGRTMIN = 34;
const SIGRTMAX = 64;

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

/** `TERM`, `SIGTERM`, `15`, `RTMIN+3`. signal(7). */
export function parseSignal(text: string): number {
  const word = text.toUpperCase().replace(/^SIG/, "");
  const realtime = /^RT(MIN|MAX)([+-]\d+)?$/.exec(word);
  const number = /^\d+$/.test(word)
    ? Number(word)
    : realtime
      ? (realtime[1] === "MIN" ? SIGRTMIN : SIGRTMAX) + Number(realtime[2] ?? 0)
      : SIGNALS[word];
  if (number !== undefined && number >= 1 && number <= SIGRTMAX) return number;
  throw new ContainerError("UNKNOWN_SIGNAL", `there is no signal "${text}"`, {
    field: "--signal",
    hint: didYouMean(word, Object.keys(SIGNALS)) ?? "a name such as TERM, or a number from 1 to 64; signal(7)",
  });
}
