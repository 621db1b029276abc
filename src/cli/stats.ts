/** `tupper stats`: what running containers use, from the files of their control groups. */
import { Command } from "commander";
import { listContainers } from "../engine/containers/list.ts";
import { containerStats, type Stats } from "../engine/containers/stats.ts";
import { ContainerError } from "../error.ts";
import { sleepMs } from "../sys/sleep.ts";
import { raw } from "../sys/sys.ts";
import { addSwitch, formatOption } from "./flags.ts";
import { renderTable } from "./table.ts";
import { type Colors, colorsOf, isTerminal, writeOut, writeWarning } from "./terminal.ts";

interface StatsOptions {
  format: "table" | "json";
  stream?: boolean;
}

export interface Sample {
  stats: Stats;
  /** When it was taken, by a clock that only goes forward. */
  timeUs: number;
}

const INTERVAL_MS = 1000;
/** Long enough for a share of the processor that means something. */
const FIRST_INTERVAL_MS = 200;
const HOME_AND_CLEAR = "\u001b[H\u001b[J";

export const statsCommand = new Command("stats")
  .summary("show what running containers use")
  .description(
    "Shows processor time, memory, processes and disk access of running containers: each second on a terminal, once elsewhere. " +
      "`--format json`: once, an array; numbers are bytes, nanoseconds and counts, null is what the machine does not count, -1 no limit.",
  )
  .argument("[NAME...]", "running containers; default all")
  .addOption(formatOption());
addSwitch(statsCommand, "--stream", "each second, also where the output is no terminal");
addSwitch(statsCommand, "--no-stream", "once");
statsCommand.action((ids: string[], { format, stream }: StatsOptions) => {
  if (format === "json") {
    writeOut(
      `${JSON.stringify(
        takeSamples(ids, writeWarning).map(({ stats }) => stats),
        undefinedAsNull,
        2,
      )}\n`,
    );
    return;
  }
  const live = stream ?? isTerminal(1);
  const colors = colorsOf(1);
  let before = takeSamples(ids, writeWarning);
  sleepMs(FIRST_INTERVAL_MS);
  for (;;) {
    const now = takeSamples(ids);
    writeOut((live && isTerminal(1) ? HOME_AND_CLEAR : "") + renderStats(now, before, colors));
    if (!live) return;
    before = now;
    sleepMs(INTERVAL_MS);
  }
});

const undefinedAsNull = (_key: string, value: unknown): unknown => (value === undefined ? null : value);

/** A container that ends while all are looked at is left out; one that was named must be there. */
function takeSamples(ids: readonly string[], warn = (_text: string): void => {}): Sample[] {
  const named = ids.length > 0;
  const wanted = named ? ids : listContainers(warn).map(({ id }) => id);
  return wanted.flatMap((id) => {
    try {
      return [{ stats: containerStats(id), timeUs: (raw.monotonicUs as () => number)() }];
    } catch (error) {
      if (!named && error instanceof ContainerError && error.code === "CONTAINER_UNKNOWN") return [];
      throw error;
    }
  });
}

/** What people read. Pure. */
export function renderStats(now: readonly Sample[], before: readonly Sample[], colors: Colors): string {
  const rows = now.map(({ stats, timeUs }) => {
    const last = before.find((sample) => sample.stats.id === stats.id);
    const { cpu, memory, pids, io } = stats;
    return [
      stats.id,
      last === undefined ? "" : percent(cpu.usageNs, last.stats.cpu.usageNs, timeUs - last.timeUs),
      ofLimit(memory.usageBytes, memory.limitBytes, formatBytes),
      ofLimit(pids.current, pids.limit, String),
      `${formatBytes(io.readBytes)} / ${formatBytes(io.writeBytes)}`,
    ];
  });
  return renderTable(["NAME", "CPU", "MEMORY", "PROCESSES", "READ / WRITTEN"], rows, colors);
}

function percent(usageNs: number | undefined, beforeNs: number | undefined, elapsedUs: number): string {
  if (usageNs === undefined || beforeNs === undefined || elapsedUs <= 0) return "-";
  return `${Math.max(0, (usageNs - beforeNs) / (elapsedUs * 10)).toFixed(1)}%`;
}

const NO_LIMIT = -1;

function ofLimit(
  value: number | undefined,
  limit: number | undefined,
  format: (value: number | undefined) => string,
): string {
  if (value === undefined) return "-";
  return limit === undefined || limit === NO_LIMIT ? format(value) : `${format(value)} of ${format(limit)}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `1.5MiB`; `-` where nothing is counted. */
export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined) return "-";
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 || bytes % 1024 ** power === 0 ? 0 : 1)}${UNITS[power]}`;
}
