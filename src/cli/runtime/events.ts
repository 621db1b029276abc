/** `tupper-runtime events`. */
import { Command } from "commander";
import { flagError } from "../../engine/containers/config/flag-value.ts";
import { statsEvent, watchEvents, watchedContainer } from "../../runtime/events.ts";
import { writeOut } from "../terminal.ts";
import { runtimeContext } from "./global-options.ts";

export const eventsCommand = new Command("events")
  .summary("show what a container uses, and when it runs out of memory")
  .description(
    "Prints one JSON object a line: what a container uses, every few seconds, and when it runs out of memory. Ends with the container.",
  )
  .argument("<ID>", "a created or running container")
  .option("--interval <DURATION>", "the time between two looks, such as 5s or 500ms", "5s")
  .option("--stats", "one look, then end")
  .action((id: string, { interval, stats }: { interval: string; stats?: boolean }, command: Command) => {
    const { root } = runtimeContext(command);
    const intervalMs = parseDuration("--interval", interval);
    const watched = watchedContainer(root, id);
    if (stats) writeOut(statsEvent(watched));
    else watchEvents(watched, intervalMs, writeOut);
  });

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `5s`, `1m30s`, `500ms`, `1.5s`, as Go writes durations; a number alone is seconds. In milliseconds, more than 0. */
export function parseDuration(flag: string, text: string): number {
  const isDuration = /^(\d+(\.\d+)?(ms|s|m|h))+$|^\d+(\.\d+)?$/.test(text);
  let ms = isDuration ? 0 : Number.NaN;
  for (const [, number, unit = "s"] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)?/g)) {
    ms += Number(number) * (UNITS_MS[unit] ?? 0);
  }
  if (ms > 0) return ms;
  throw flagError("BAD_DURATION", flag, `${flag} "${text}" is not a duration greater than 0`, "such as 5s or 500ms");
}
