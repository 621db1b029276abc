/** Runs a scenario's candidates in turn by bench/measure.c, and counts their system calls by strace. */
import { spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { find, output } from "./machine.ts";
import { type Figures, figuresOf, type Result, type Sample } from "./report.ts";

export interface Step {
  /** `{}` in an argument is a number that no other run has. `@orphans` waits until nothing is left of the candidate. */
  command: readonly string[];
  /** Whether it counts, or only prepares and clears away. */
  measured: boolean;
}

export interface Candidate {
  /** Head of its column. */
  name: string;
  steps: readonly Step[];
  /** The measuring program mounts this overlay before the first step and takes it away after the last, within the measured time. */
  overlay?: { lower: string; stage: string };
  uid?: number;
  /** Each measured step so many times, so many at a time. */
  times?: { count: number; parallel: number };
}

export interface Scenario {
  title: string;
  /** Which table it is in. */
  group: "runtime" | "tupper" | "engine";
  candidates: readonly Candidate[];
  /** Measured runs at most, of what takes long. */
  runs?: number;
  /** Also with a pause before each run. */
  spaced?: boolean;
  /** No counting of system calls: what works is a daemon, or it takes too long. */
  uncounted?: boolean;
}

export interface Measuring {
  /** The built bench/measure.c. */
  program: string;
  work: string;
  runs: number;
  warmUp: number;
  /** Pauses in milliseconds before each run of what is `spaced`. */
  gapsMs: readonly number[];
}

export const step = (...command: string[]): Step => ({ command, measured: true });
export const aside = (...command: string[]): Step => ({ command, measured: false });

const words = ({ steps, overlay, uid, times }: Candidate): string[] =>
  steps.flatMap(({ command, measured }, i) => [
    `${i === 0 ? ":" : ";"}${measured ? (i === 0 ? ":" : ";") : "-"}`,
    ...(i > 0 || overlay === undefined ? [] : [`overlay=${overlay.lower}:${overlay.stage}`]),
    ...(i > 0 || uid === undefined ? [] : [`uid=${uid}`]),
    ...(i > 0 || times === undefined ? [] : [`times=${times.count}/${times.parallel}`]),
    ...command,
  ]);

/** Candidates that fail are left out, with the reason in `skipped`. */
export async function measureScenario(measuring: Measuring, scenario: Scenario): Promise<Result> {
  const { title, group } = scenario;
  const runs = Math.min(measuring.runs, scenario.runs ?? measuring.runs);
  const skipped: Record<string, string> = {};
  const left: Candidate[] = [];
  for (const candidate of scenario.candidates) {
    const reason = await tryOnce(measuring, candidate);
    if (reason === undefined) left.push(candidate);
    else skipped[candidate.name] = reason;
  }
  const gaps = scenario.spaced === true ? measuring.gapsMs : measuring.gapsMs.slice(0, 1);
  const timings: Result["timings"] = [];
  for (const gapMs of gaps) {
    const begin = Date.now();
    const by = await timeCandidates(measuring, left, { runs, gapMs, skipped });
    timings.push({ gapMs, by });
    const pause = gapMs === 0 ? "" : `, pause ${gapMs} ms`;
    console.error(`bench: ${title}${pause}: n = ${runs}, ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  }
  for (const [name, reason] of Object.entries(skipped)) console.error(`bench: ${title}: ${name}: ${reason}`);
  const counted = scenario.uncounted === true || find("strace") === "" ? [] : left;
  const syscalls = Object.fromEntries(counted.map((one) => [one.name, countSyscalls(measuring, one)]));
  return { title, group, runs, timings, syscalls, skipped };
}

/** Why a candidate cannot do it; undefined if it can. */
async function tryOnce({ program }: Measuring, candidate: Candidate): Promise<string | undefined> {
  const { text, errors, failure } = await collect([program, "1", "0", "0", ...words(candidate)]);
  const status = parseSamples(text)[0]?.status;
  if (failure === undefined && status === 0) return undefined;
  const said = errors.trim().split("\n").at(-1) ?? "";
  return (said || failure || waitStatus(status)).slice(0, 160);
}

const waitStatus = (status: number | undefined): string =>
  status === undefined ? "no result" : status & 0x7f ? `signal ${status & 0x7f}` : `exit ${status >> 8}`;

async function timeCandidates(
  { program, warmUp }: Measuring,
  candidates: readonly Candidate[],
  { runs, gapMs, skipped }: { runs: number; gapMs: number; skipped: Record<string, string> },
): Promise<Record<string, Figures>> {
  if (candidates.length === 0) return {};
  const warm = Math.min(warmUp, Math.ceil(runs / 4));
  const command = [program, String(runs), String(warm), String(gapMs), ...candidates.flatMap(words)];
  const { text, errors, failure } = await collect(command);
  const samples = parseSamples(text);
  return Object.fromEntries(
    candidates.flatMap(({ name }, number) => {
      const own = samples.filter((sample) => sample.number === number);
      const bad = own.findIndex(({ status }) => status !== 0);
      if (bad < 0 && own.length > 0) return [[name, figuresOf(own)]];
      const why = own.length === 0 ? failure : `run ${bad + 1}: ${waitStatus(own[bad]?.status)}`;
      skipped[name] = `${why ?? "no result"} ${errors.trim().split("\n").at(-1) ?? ""}`.trim().slice(0, 160);
      return [];
    }),
  );
}

interface NumberedSample extends Sample {
  number: number;
  status: number;
}

const parseSamples = (text: string): NumberedSample[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [number = -1, us = 0, peakKiB = 0, minor = 0, major = 0, user = 0, kernel = 0, status = -1] = line
        .split(" ")
        .map(Number);
      return { number, us, peakKiB, pageFaults: minor + major, cpuUs: user + kernel, status };
    });

/** A hundred runs of the slowest take less. */
const TIME_LIMIT_MS = 180_000;

let running: { kill: (signal: NodeJS.Signals) => boolean } | undefined;
let interrupted = false;

/** The measuring program ends after the command under way; everything else is undone by who awaits it. */
export function interrupt(): void {
  interrupted = true;
  running?.kill("SIGTERM");
}

interface Collected {
  text: string;
  errors: string;
  /** Why the program itself did not end well. */
  failure: string | undefined;
}

/** Asynchronous, so that signals are heard meanwhile. Rejects only when the measurement is interrupted. */
function collect([file = "", ...args]: readonly string[]): Promise<Collected> {
  return new Promise((resolve, reject) => {
    if (interrupted) throw new Error("interrupted");
    // detached: Ctrl-C is for this program, which lets the command under way end.
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    running = child;
    const [parts, errors]: [string[], string[]] = [[], []];
    let late = false;
    const limit = setTimeout(() => {
      late = true;
      // Its commands are in its process group; what they left behind is not our child.
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, TIME_LIMIT_MS);
    child.stdout.on("data", (data: Buffer) => parts.push(data.toString()));
    child.stderr.on("data", (data: Buffer) => errors.push(data.toString()));
    // exit, not close: a container that stays may have stderr.
    child.on("exit", (code, signal) => {
      clearTimeout(limit);
      if (interrupted) return reject(new Error("interrupted"));
      const failure = late ? `longer than ${TIME_LIMIT_MS / 1000} s` : code === 0 ? undefined : `${signal ?? code}`;
      setTimeout(() => resolve({ text: parts.join(""), errors: errors.join(""), failure }), 5);
    });
  });
}

/**
 * System calls of the measured steps, each with all its children, the container's command included. What `start` makes the
 * init process of `create` do counts with `create`.
 */
function countSyscalls({ program, work }: Measuring, candidate: Candidate): number | undefined {
  if (candidate.times !== undefined) return undefined;
  const file = `${work}/strace`;
  const strace = ["timeout", "-k", "1", "50", find("strace"), "-f", "-o", file];
  const { code, stderr } = output([...strace, program, "1", "0", "0", ...words(candidate)]);
  try {
    if (code === 0) return callsOfSteps(readFileSync(file, "utf8"), candidate.steps);
    console.error(`bench: strace: ${candidate.name}: exit ${code} ${stderr.trim().slice(0, 200)}`);
    return undefined;
  } finally {
    rmSync(file, { force: true });
  }
}

const STARTS = /^(\d+) +(?:(?:vfork|fork|clone3?)\(.*|<\.\.\. (?:vfork|fork|clone3?) resumed>.*)\) += (\d+)/;

/** Exported for tests/guards.test.ts. `trace`: of strace -f, whose first process is the measuring program. */
export function callsOfSteps(trace: string, steps: readonly Step[]): number {
  const lines = trace.split("\n");
  const first = Number(/^(\d+)/.exec(trace)?.[1]);
  /** Which of the measuring program's children a process descends from. */
  const origin = new Map<number, number>();
  const started = steps.filter(({ command }) => command[0] !== "@orphans");
  let next = 0;
  let starting = false;
  let count = 0;
  for (const line of lines) {
    const pid = Number(/^(\d+)/.exec(line)?.[1]);
    const start = STARTS.exec(line);
    if (pid === first) {
      if (/ vfork\( <unfinished/.test(line)) starting = true;
      if (start === null) continue;
      origin.set(Number(start[2]), next++);
      starting = false;
      continue;
    }
    // A child may be seen before the call of its parent returns: then it is of the step under way.
    const step = origin.get(pid) ?? (starting ? next : next - 1);
    origin.set(pid, step);
    if (start !== null && !origin.has(Number(start[2]))) origin.set(Number(start[2]), step);
    if (/^\d+ +[a-z_0-9]+\(/.test(line) && started[step]?.measured === true) count++;
  }
  return count;
}
