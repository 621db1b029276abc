/** Figures of many runs as medians, and medians as tables. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Machine } from "./machine.ts";

export interface Sample {
  us: number;
  peakKiB: number;
  pageFaults: number;
  cpuUs: number;
}

/** Milliseconds to the hundredth, or counts. */
export interface Figures {
  medianMs: number;
  minimumMs: number;
  cpuMs: number;
  peakKiB: number;
  pageFaults: number;
}

export interface Timing {
  gapMs: number;
  by: Record<string, Figures>;
}

export interface Result {
  title: string;
  /** Back to back, and with a pause before each run. */
  timings: Timing[];
  /** System calls of one run with all its children, by strace -f -c. Undefined where strace is missing or failed. */
  syscalls: Record<string, number | undefined>;
}

export interface Report {
  date: string;
  command: string;
  runs: number;
  machine: Machine;
  results: Result[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

export function figuresOf(samples: readonly Sample[]): Figures {
  const ms = (us: number) => Math.round(us / 10) / 100;
  return {
    medianMs: ms(median(samples.map(({ us }) => us))),
    minimumMs: ms(Math.min(...samples.map(({ us }) => us))),
    cpuMs: ms(median(samples.map(({ cpuUs }) => cpuUs))),
    peakKiB: median(samples.map(({ peakKiB }) => peakKiB)),
    pageFaults: median(samples.map(({ pageFaults }) => pageFaults)),
  };
}

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const columnsOf = (results: readonly Result[]): string[] => [
  ...new Set(results.flatMap(({ timings }) => timings.flatMap(({ by }) => Object.keys(by)))),
];

/** Median and minimum of each candidate; how many times tupper's median fits into crun's. */
export function timeTable({ results }: Pick<Report, "results">): string {
  const columns = columnsOf(results);
  const rows = results.flatMap(({ title, timings }) =>
    timings.map(({ gapMs, by }) => [
      title,
      gapMs === 0 ? "none" : `${gapMs} ms`,
      ...columns.map((name) => {
        const figures = by[name];
        return figures === undefined ? "" : `${figures.medianMs.toFixed(2)} (${figures.minimumMs.toFixed(2)})`;
      }),
      ratio(by.tupper?.medianMs, by.crun?.medianMs),
    ]),
  );
  return table(["ms: median (minimum)", "pause", ...columns, "tupper / crun"], rows);
}

const ratio = (ours: number | undefined, theirs: number | undefined): string =>
  ours === undefined || theirs === undefined ? "" : (ours / theirs).toFixed(2);

/** System calls, peak memory, page faults, processor time: of the runs without a pause. */
export function costTable({ results }: Pick<Report, "results">): string {
  const columns = columnsOf(results);
  const rows = results.flatMap(({ title, timings, syscalls }) => {
    const by = timings[0]?.by ?? {};
    const row = (what: string, value: (name: string) => number | undefined) => [
      title,
      what,
      ...columns.map((name) => value(name)?.toString() ?? ""),
    ];
    return [
      row("system calls", (name) => syscalls[name]),
      row("peak memory, KiB", (name) => by[name]?.peakKiB),
      row("page faults", (name) => by[name]?.pageFaults),
      row("processor time, ms", (name) => by[name]?.cpuMs),
    ];
  });
  return table(["", "cost of one run", ...columns], rows);
}

export function machineText({ machine, runs, date, command }: Report): string {
  const peers = Object.values(machine.peers).join(", ");
  return [
    `Measured on ${date.slice(0, 10)} with \`${command}\`: ${runs} runs of each, in turn.`,
    `Machine: ${machine.host}, ${machine.processors} × ${machine.processor}, ${machine.memoryMiB} MiB, Linux ${machine.kernel}, ${machine.system}, cgroups ${machine.cgroups}, load before ${machine.loadBefore}.`,
    `tupper ${machine.tupper} (${machine.tupperBytes} bytes), ${peers || "no peers"}.`,
  ].join("\n");
}

/** Puts text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` of a Markdown file. */
export function replaceSection(path: string, name: string, text: string): void {
  const content = readFileSync(path, "utf8");
  const open = `<!-- bench:${name} -->`;
  const start = content.indexOf(open);
  const end = content.indexOf(`<!-- /bench:${name} -->`);
  if (start < 0 || end < start) throw new Error(`${path} has no section bench:${name}`);
  writeFileSync(path, `${content.slice(0, start + open.length)}\n${text}\n${content.slice(end)}`);
}
