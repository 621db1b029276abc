/**
 * Looks for inputs that break a promise: `npm run fuzz -- [--minutes N] [--target T]… [--seed N] [--keep]`.
 *
 * Inputs go to the sanitizer build (inside/), which says whether they took a branch that none before them took; such inputs
 * are changed on. Faults are in build/fuzz/faults, a file for each kind; what was found on the way in build/fuzz/found, from where
 * `--keep` takes the smallest that reach the most into tests/fuzz/corpus. `--input FILE --target T`: one input, and what it does.
 */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { root } from "../../scripts/link-host.ts";
import { readCorpus, writeCorpus } from "./corpus.ts";
import { Chance, mutate } from "./mutate.ts";
import { type Answer, buildProgram, Program } from "./program.ts";
import { bytesOf, SEEDS, type Seeds } from "./seeds.ts";

const FOUND = `${root}/build/fuzz/found`;
const FAULTS = `${root}/build/fuzz/faults`;
/** Inputs that are on their way at the same time. */
const WINDOW = 16;
const SLICE_MS = 3000;
/** Found inputs that are kept in memory for each target. */
const MOST = 3000;

export interface Tally {
  executions: number;
  edges: number;
  inputs: Uint8Array[];
  /** By the lines that say what broke. */
  faults: Map<string, Uint8Array>;
}

/** A run: the process, replaced when it breaks, and what each target has come to. */
export class Fuzzing {
  readonly tallies = new Map<string, Tally>();
  #program = new Program();
  #replacing: Promise<void> | undefined;
  readonly #report: (line: string) => void;

  constructor(report: (line: string) => void) {
    this.#report = report;
  }

  tallyOf(target: string): Tally {
    const known = this.tallies.get(target);
    if (known !== undefined) return known;
    const tally: Tally = { executions: 0, edges: 0, inputs: [], faults: new Map() };
    this.tallies.set(target, tally);
    return tally;
  }

  /** Feeds one input. One that does something new is kept if `keeps`. */
  async feed(target: string, bytes: Uint8Array, keeps: boolean): Promise<Answer> {
    if (!this.#program.lives) {
      // One new process, whoever is the first to find that the old one is gone.
      this.#replacing ??= this.#replace().finally(() => {
        this.#replacing = undefined;
      });
      await this.#replacing;
    }
    const answer = await this.#program.feed(
      SEEDS.findIndex((seeds) => seeds.target === target),
      bytes,
    );
    const tally = this.tallyOf(target);
    tally.executions++;
    tally.edges += answer.edges;
    if (answer.fault !== undefined) this.#note(target, tally, bytes, answer.fault);
    else if (keeps && (answer.edges > 0 || answer.counts > 0) && tally.inputs.length < MOST) tally.inputs.push(bytes);
    return answer;
  }

  #note(target: string, tally: Tally, bytes: Uint8Array, fault: string): void {
    const kind = kindOf(fault);
    const before = tally.faults.get(kind);
    if (before !== undefined && before.length <= bytes.length) return;
    tally.faults.set(kind, bytes);
    const name = `${target}-${createHash("sha256").update(kind).digest("hex").slice(0, 8)}`;
    mkdirSync(FAULTS, { recursive: true });
    writeFileSync(`${FAULTS}/${name}`, bytes);
    writeFileSync(`${FAULTS}/${name}.txt`, fault);
    if (before === undefined) this.#report(`fault ${name}: ${fault.split("\n").slice(0, 6).join("\n  ")}`);
  }

  /** A new process has seen nothing: it is shown what was found. */
  async #replace(): Promise<void> {
    await this.#program.ended;
    this.#program = new Program();
    for (const [number, { target }] of SEEDS.entries())
      for (const bytes of this.tallyOf(target).inputs) if (this.#program.lives) await this.#program.feed(number, bytes);
  }

  async end(): Promise<void> {
    await this.#program.end();
  }

  /** Makes and feeds inputs until `isOver`. */
  async mutate({ target, form }: Seeds, chance: Chance, isOver: () => boolean): Promise<void> {
    const { inputs } = this.tallyOf(target);
    let ahead: Promise<unknown>[] = [];
    while (!isOver()) {
      // The younger half has been tried less.
      const pick = () =>
        inputs[chance.below(2) === 0 ? chance.below(inputs.length) : inputs.length - 1 - chance.below(20)];
      const from = pick() ?? inputs[0] ?? new Uint8Array();
      ahead.push(this.feed(target, mutate(form, from, chance.of(inputs) ?? from, chance), true));
      if (ahead.length < WINDOW) continue;
      await Promise.all(ahead);
      ahead = [];
    }
    await Promise.all(ahead);
  }
}

/** Two faults are one if they say the same but for what the input was, in the same place. */
function kindOf(fault: string): string {
  const [first = "", ...stack] = fault.split("\n");
  const asan = /SUMMARY: .*/.exec(fault)?.[0];
  const place = asan ?? stack.find((line) => /\bat \w/.test(line)) ?? "";
  return `${first.replace(/"(?:[^"\\]|\\.)*"|[:{[].*|\d+/g, "…").slice(0, 120)} ${place.replace(/\d+/g, "").trim()}`;
}

/** Seeds, the corpus of the repository, and what earlier runs found. */
export function beginningsOf({ target, inputs }: Seeds, withFound: boolean): Uint8Array[] {
  const found = `${FOUND}/${target}`;
  const earlier =
    withFound && existsSync(found) ? readdirSync(found).map((name) => readFileSync(`${found}/${name}`)) : [];
  return [...inputs.map(bytesOf), ...readCorpus(target), ...earlier];
}

/** The smallest inputs that take all edges, as far as they fit. */
async function keep(targets: readonly Seeds[]): Promise<void> {
  for (const seeds of targets) {
    const fuzzing = new Fuzzing(console.error);
    for (const bytes of seeds.inputs.map(bytesOf)) await fuzzing.feed(seeds.target, bytes, false);
    const kept: Uint8Array[] = [];
    for (const bytes of beginningsOf(seeds, true).sort((a, b) => a.length - b.length)) {
      const { edges, fault } = await fuzzing.feed(seeds.target, bytes, false);
      if (edges > 0 && fault === undefined) kept.push(bytes);
    }
    await fuzzing.end();
    console.log(`${seeds.target}: ${writeCorpus(seeds.target, kept)} of ${kept.length} inputs kept`);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      target: { type: "string", multiple: true },
      seed: { type: "string" },
      input: { type: "string" },
      keep: { type: "boolean", default: false },
    },
  });
  const targets = SEEDS.filter(({ target }) => values.target?.includes(target) ?? true);
  await buildProgram();
  if (values.keep) return keep(targets);
  const seed = Number(values.seed ?? Date.now() % 2 ** 32);
  const chance = new Chance(seed);
  const fuzzing = new Fuzzing((line) => console.log(line));
  if (values.input !== undefined) {
    const bytes = values.input.startsWith("text:") ? Buffer.from(values.input.slice(5)) : readFileSync(values.input);
    for (const { target } of targets) console.log(target, await fuzzing.feed(target, bytes, false));
    return fuzzing.end();
  }
  const began = Date.now();
  const deadline = began + Number(values.minutes) * 60_000;
  console.log(`seed ${seed}, targets ${targets.map(({ target }) => target).join(" ")}`);
  for (const seeds of targets)
    for (const bytes of beginningsOf(seeds, true)) await fuzzing.feed(seeds.target, bytes, true);
  for (let round = 0; Date.now() < deadline; round++) {
    for (const seeds of targets) {
      const { inputs } = fuzzing.tallyOf(seeds.target);
      const before = inputs.length;
      const end = Math.min(deadline, Date.now() + SLICE_MS);
      await fuzzing.mutate(seeds, chance, () => Date.now() >= end);
      save(seeds.target, inputs.slice(before));
    }
    if (round % 5 === 0) report(fuzzing, Date.now() - began);
  }
  await fuzzing.end();
  report(fuzzing, Date.now() - began);
  record(fuzzing, Date.now() - began);
  if ([...fuzzing.tallies.values()].some(({ faults }) => faults.size > 0)) process.exitCode = 1;
}

function save(target: string, inputs: readonly Uint8Array[]): void {
  mkdirSync(`${FOUND}/${target}`, { recursive: true });
  for (const bytes of inputs)
    writeFileSync(`${FOUND}/${target}/${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`, bytes);
}

function report({ tallies }: Fuzzing, ms: number): void {
  console.log(`after ${(ms / 60_000).toFixed(1)} minutes:`);
  for (const [target, { executions, edges, inputs, faults }] of tallies)
    console.log(
      `  ${target}: ${executions} executions, ${edges} edges, ${inputs.length} inputs, ${faults.size} faults`,
    );
}

/** A line for each run, for the numbers of docs/security.md. */
function record({ tallies }: Fuzzing, ms: number): void {
  const numbers = Object.fromEntries(
    [...tallies].map(([target, { executions, edges, faults }]) => [target, { executions, edges, faults: faults.size }]),
  );
  appendFileSync(
    `${root}/build/fuzz/runs.jsonl`,
    `${JSON.stringify({ seconds: Math.round(ms / 1000), ...numbers })}\n`,
  );
}

if (process.argv[1]?.endsWith("fuzz/run.ts")) await main();
