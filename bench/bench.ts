/**
 * tupper beside crun and runc on this machine: time, system calls, memory.
 *
 *     npm run bench -- [--n RUNS] [--only TEXT] [--write]
 *
 * --n RUNS    measured runs of each command (default 40), after 5 for warming up
 * --only TEXT scenarios with this text in their title
 * --write     also puts the tables into docs/performance.md and README.md; not with --only
 *
 * The commands of a scenario run in turn, A B C A B C: what disturbs the machine disturbs all of them. Once back to back,
 * once with a pause of 100 ms before each, as commands are run by people. Prints tables, and writes bench/results/.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import {
  describeMachine,
  enterOwnMountNamespace,
  find,
  installPeers,
  isRoot,
  lendHugetlb,
  output,
  repository,
} from "./machine.ts";
import {
  costTable,
  type Figures,
  figuresOf,
  machineText,
  type Report,
  type Result,
  replaceSection,
  type Sample,
  timeTable,
} from "./report.ts";
import {
  type Candidate,
  runScenarios,
  runtimeScenarios,
  type Scenario,
  startUpScenario,
  withExecScenario,
  withRunningScenarios,
} from "./scenarios.ts";

const WARM_UP = 5;
const GAPS_MS = [0, 100];

const { values: options } = parseArgs({
  options: {
    n: { type: "string", default: "40" },
    only: { type: "string", default: "" },
    write: { type: "boolean", default: false },
  },
});
const runs = Number(options.n);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`--n ${options.n}: a number of runs is wanted`);
if (options.write && options.only !== "") throw new Error("--write is for all scenarios: leave --only away");

/** The measuring program: host/'s compiler makes it small and static. */
function buildMeasure(work: string): string {
  execFileSync("musl-gcc", [
    "-O2",
    "-Wall",
    "-Wextra",
    "-static",
    "-s",
    `${repository}/bench/measure.c`,
    "-o",
    `${work}/measure`,
  ]);
  return `${work}/measure`;
}

async function measureScenario(measure: string, scenario: Scenario): Promise<Result> {
  const timings: Result["timings"] = [];
  for (const gapMs of GAPS_MS) {
    console.error(`bench: ${scenario.title}, pause ${gapMs} ms`);
    timings.push({ gapMs, by: await timeCandidates(measure, scenario.candidates, gapMs) });
  }
  const syscalls = Object.fromEntries(scenario.candidates.map((one) => [one.name, countSyscalls(one)]));
  return { title: scenario.title, timings, syscalls };
}

async function timeCandidates(
  measure: string,
  candidates: readonly Candidate[],
  gapMs: number,
): Promise<Record<string, Figures>> {
  const words = candidates.flatMap(({ command, sequel = [], overlay }) => [
    "::",
    ...(overlay === undefined ? [] : [`overlay=${overlay.lower}:${overlay.stage}`]),
    ...command,
    ...sequel.flatMap((one) => [";;", ...one]),
  ]);
  const text = await collect([measure, String(runs), String(WARM_UP), String(gapMs), ...words]);
  const samples = candidates.map((): Sample[] => []);
  for (const line of text.trim().split("\n")) {
    const [number = -1, us = 0, peakKiB = 0, minor = 0, major = 0, user = 0, kernel = 0, status] = line
      .split(" ")
      .map(Number);
    if (status !== 0) throw new Error(`${candidates[number]?.command.join(" ")}: wait status ${status}`);
    samples[number]?.push({ us, peakKiB, pageFaults: minor + major, cpuUs: user + kernel });
  }
  return Object.fromEntries(candidates.map(({ name }, i) => [name, figuresOf(samples[i] ?? [])]));
}

/** Asynchronous, so that signals are heard meanwhile. */
function collect([file = "", ...args]: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    if (interrupted) throw new Error("interrupted");
    // detached: Ctrl-C is for this program, which lets the command under way end.
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], detached: true });
    running = child;
    let text = "";
    child.stdout.on("data", (data: Buffer) => {
      text += data;
    });
    child.on("close", (code, signal) =>
      code === 0 ? resolve(text) : reject(new Error(`${file}: ${signal ?? `exit ${code}`}`)),
    );
  });
}
let running: { kill: (signal: NodeJS.Signals) => boolean } | undefined;
let interrupted = false;

/** With all its children and the container. The overlay that the measuring program mounts for others is not in it. */
function countSyscalls({ command, sequel, overlay }: Candidate): number | undefined {
  // A container between create and start would be followed for ever.
  if (find("strace") === "" || sequel !== undefined) return undefined;
  if (overlay !== undefined) mountOverlay(overlay);
  const file = `${tmpdir()}/bench-strace-${process.pid}`;
  const { code, stderr } = output(["timeout", "-k", "1", "60", "strace", "-f", "-c", "-o", file, ...command]);
  const total = existsSync(file)
    ? /^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)(?:\s+\d+)?\s+total$/m.exec(readFileSync(file, "utf8"))
    : null;
  rmSync(file, { force: true });
  if (overlay !== undefined) execFileSync("umount", ["-R", overlay.stage]);
  if (code !== 0 || total === null) console.error(`bench: strace ${command.join(" ")}: exit ${code} ${stderr.trim()}`);
  return total === null || code !== 0 ? undefined : Number(total[1]);
}

function mountOverlay({ lower, stage }: { lower: string; stage: string }): void {
  execFileSync("mount", ["-t", "tmpfs", "tmpfs", stage]);
  for (const name of ["upper", "work", "root"]) mkdirSync(`${stage}/${name}`);
  const layers = `lowerdir=${lower},upperdir=${stage}/upper,workdir=${stage}/work`;
  execFileSync("mount", ["-t", "overlay", "overlay", "-o", layers, `${stage}/root`]);
}

/** Every scenario that was asked for. */
async function measureAll(work: string, peers: readonly string[]): Promise<Result[]> {
  const measure = buildMeasure(work);
  const wanted = ({ title }: Pick<Scenario, "title">) => title.includes(options.only);
  const scenarios = [
    startUpScenario(peers),
    ...(isRoot ? [...runScenarios(peers, work), ...runtimeScenarios(peers, work)] : []),
  ].filter(wanted);
  const results: Result[] = [];
  for (const scenario of scenarios) results.push(await measureScenario(measure, scenario));
  const add = async (scenario: Scenario): Promise<void> => {
    if (wanted(scenario)) results.push(await measureScenario(measure, scenario));
  };
  const { only } = options;
  if (isRoot && (only === "" || only.startsWith("exec"))) await withExecScenario(peers, work, add);
  if (isRoot && (only === "" || only.startsWith("OCI"))) await withRunningScenarios(peers, work, add);
  return results;
}

function publish(report: Report): void {
  const times = timeTable(report);
  const costs = costTable(report);
  console.log(`${machineText(report)}\n\n${times}\n\n${costs}`);
  mkdirSync(`${repository}/bench/results`, { recursive: true });
  const file = `bench/results/${report.date.slice(0, 10)}-${report.machine.host}.json`;
  writeFileSync(`${repository}/${file}`, `${JSON.stringify(report, undefined, 2)}\n`);
  console.error(`bench: ${file}`);
  if (!options.write) return;
  replaceSection(`${repository}/docs/performance.md`, "tables", `${machineText(report)}\n\n${times}\n\n${costs}`);
  replaceSection(`${repository}/README.md`, "summary", `${machineText(report)}\n\n${times}`);
}

if (isRoot) {
  installPeers();
  await enterOwnMountNamespace();
} else console.error("bench: not root, so only the start-up is measured");

const peers = ["crun", "runc"].filter((name) => find(name) !== "");
const work = mkdtempSync(`${tmpdir()}/tupper-bench-`);
// The measuring program ends, and then everything else is undone by `finally`.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => {
    interrupted = true;
    running?.kill("SIGTERM");
  });
const giveBack = isRoot && peers.includes("crun") ? lendHugetlb() : async () => {};
try {
  const machine = describeMachine(peers);
  const command = `npm run bench -- --n ${runs}${options.only === "" ? "" : ` --only "${options.only}"`}`;
  const results = await measureAll(work, peers);
  publish({ date: new Date().toISOString(), command, runs, machine, results });
} finally {
  await giveBack();
  rmSync(work, { recursive: true, force: true });
}
