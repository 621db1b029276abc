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
  group: "runtime" | "tupper" | "engine";
  runs: number;
  /** Back to back, and with a pause before each run. */
  timings: Timing[];
  /** System calls of one run with all its children, by strace. Undefined where it failed or was not asked for. */
  syscalls: Record<string, number | undefined>;
  /** Who could not do it, and why. */
  skipped: Record<string, string>;
}

/** Memory of a process that stays: in KiB, pages that others map too divided among them, and all pages. */
export interface Resident {
  title: string;
  by: Record<string, { proportionalKiB: number; residentKiB: number }>;
}

export interface Report {
  date: string;
  command: string;
  runs: number;
  machine: Machine;
  results: Result[];
  resident: Resident[];
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
  ...new Set(
    results.flatMap(({ timings, skipped }) => [
      ...timings.flatMap(({ by }) => Object.keys(by)),
      ...Object.keys(skipped),
    ]),
  ),
];

/** How many times the time of the fastest of these fits into tupper's: by medians (by minima). `family`: "crun", "runc", "floor". */
export function ratio(by: Timing["by"], family: string): string {
  const theirs = Object.entries(by).filter(([name]) => name.split(" ")[0] === family);
  const ours = by.tupper;
  if (ours === undefined || theirs.length === 0) return "";
  const least = (field: "medianMs" | "minimumMs") => Math.min(...theirs.map(([, figures]) => figures[field]));
  const [medians, minima] = [ours.medianMs / least("medianMs"), ours.minimumMs / least("minimumMs")];
  return `${medians.toFixed(2)} (${minima.toFixed(2)})`;
}

const FAMILIES = ["crun", "runc", "floor"];

/** Median and minimum of each candidate, and ratios; – where a candidate cannot do it. */
export function timeTable(results: readonly Result[], gapMs: number): string {
  const timed = results.filter(({ timings }) => timings.some((timing) => timing.gapMs === gapMs));
  const columns = columnsOf(timed);
  const families = FAMILIES.filter((family) => columns.some((name) => name.split(" ")[0] === family));
  const rows = timed.map(({ title, runs, timings, skipped }) => {
    const by = timings.find((timing) => timing.gapMs === gapMs)?.by ?? {};
    const cell = (name: string) => {
      const figures = by[name];
      if (figures === undefined) return name in skipped ? "–" : "";
      return `${figures.medianMs.toFixed(2)} (${figures.minimumMs.toFixed(2)})`;
    };
    return [title, String(runs), ...columns.map(cell), ...families.map((family) => ratio(by, family))];
  });
  const header = ["ms: median (minimum)", "n", ...columns, ...families.map((family) => `÷ ${family}`)];
  return table(header, rows);
}

/** System calls, peak memory, page faults, processor time: of the runs without a pause. */
export function costTable(results: readonly Result[]): string {
  const columns = columnsOf(results);
  const rows = results.map(({ title, timings, syscalls }) => {
    const by = timings[0]?.by ?? {};
    const cell = (name: string) => {
      const figures = by[name];
      if (figures === undefined) return "";
      const calls = syscalls[name]?.toString() ?? "?";
      return `${figures.cpuMs.toFixed(2)} ms, ${calls}, ${figures.peakKiB}, ${figures.pageFaults}`;
    };
    return [title, ...columns.map(cell)];
  });
  return table(["processor time, system calls, peak memory in KiB, page faults", ...columns], rows);
}

export function residentTable(resident: readonly Resident[]): string {
  const columns = [...new Set(resident.flatMap(({ by }) => Object.keys(by)))];
  const rows = resident.map(({ title, by }) => [
    title,
    ...columns.map((name) => {
      const memory = by[name];
      return memory === undefined ? "" : `${memory.proportionalKiB} (${memory.residentKiB})`;
    }),
  ]);
  return table(["KiB that stay, shared pages divided (all)", ...columns], rows);
}

/** Why there is a dash. */
export function skippedList(results: readonly Result[]): string {
  return results
    .flatMap(({ title, skipped }) =>
      Object.entries(skipped).map(([name, reason]) => `- ${title}: ${name}: \`${reason.replaceAll("`", "'")}\``),
    )
    .join("\n");
}

const GROUPS: Readonly<Record<Result["group"], string>> = {
  runtime: "The OCI runtime",
  tupper: "`tupper run`, the command line for people",
  engine: "Sandboxes and engines",
};

/** All tables with their headings. */
export function fullText(report: Report): string {
  const parts = [machineText(report)];
  for (const group of ["runtime", "tupper", "engine"] as const) {
    const results = report.results.filter((result) => result.group === group);
    if (results.length === 0) continue;
    parts.push(`**${GROUPS[group]}**, back to back:`, timeTable(results, 0));
    const spaced = results.flatMap(({ timings }) => timings.map(({ gapMs }) => gapMs)).find((gapMs) => gapMs > 0);
    if (spaced !== undefined)
      parts.push(`**${GROUPS[group]}**, ${spaced} ms of pause before each run:`, timeTable(results, spaced));
    parts.push(costTable(results));
  }
  if (report.resident.length > 0) parts.push(residentTable(report.resident));
  const skipped = skippedList(report.results);
  if (skipped !== "") parts.push(`– means that it cannot:\n\n${skipped}`);
  return parts.join("\n\n");
}

/** What README.md shows: the runtime's times without a pause. */
export const summaryText = (report: Report): string =>
  `${machineText(report)}\n\n${timeTable(
    report.results.filter(({ title }) => SUMMARY.includes(title)),
    0,
  )}`;

/** The scenarios of the summary and of the plot. */
export const SUMMARY: readonly string[] = [
  "start-up alone (`--version`)",
  "run `true`",
  "run `true`, default seccomp profile",
  "create, start, delete of `true`",
  "exec `true`, default seccomp profile",
  "state",
  "list of 100",
];

export function machineText({ machine, runs, date, command }: Report): string {
  const bytes = Object.entries(machine.programBytes).map(([name, size]) => `${name} ${size}`);
  return [
    `Measured on ${date.slice(0, 10)} with \`${command}\`: ${runs} runs of each where n says nothing else, in turn and in balanced order, after 5 for warming up.`,
    `Machine: ${machine.host}, ${machine.processors} × ${machine.processor}, ${machine.memoryMiB} MiB, Linux ${machine.kernel}, ${machine.system}, cgroups ${machine.cgroups}, load before ${machine.loadBefore}.`,
    `tupper ${machine.tupper}; ${Object.values(machine.peers).join(", ") || "no peers"}. Bytes of the programs: ${bytes.join(", ")}.`,
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
