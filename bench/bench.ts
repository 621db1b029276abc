/**
 * tupper beside crun, runc, other sandboxes, engines, and the kernel's floor on this machine: time, processor time, system
 * calls, memory. docs/performance.md says what is compared.
 *
 *     npm run bench -- [--n RUNS] [--only TEXT] [--quick] [--write] [--from FILE]
 *
 * --n RUNS     measured runs of each command (default 40), after 5 for warming up; what takes long has fewer, and says so
 * --only TEXT  scenarios with this text in their title
 * --quick      5 runs, 20 containers where there are 1,000, no pauses: two minutes, to see that everything works
 * --write      also puts tables and plot into docs/ and README.md; not with --only
 * --from FILE  measures nothing: tables (with --write also files) from a file of bench/results/
 *
 * The commands of a scenario run in turn, so that what disturbs the machine disturbs all of them, and each round in another order,
 * so that within the rounds each comes equally often after each other one. Back to back, and where it makes a difference also with a pause of
 * 100 ms before each, as commands are run by people. Peers that are missing are installed. Prints tables, and writes bench/results/.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { withEngines } from "./engines.ts";
import { describeMachine, enterOwnMountNamespace, isRoot, repository } from "./machine.ts";
import { interrupt, type Measuring, measureScenario, type Scenario } from "./measuring.ts";
import { buildProgram, installPeers, runtimes } from "./peers.ts";
import { plot } from "./plot.ts";
import { fullText, type Report, type Resident, type Result, replaceSection, summaryText } from "./report.ts";
import { measureResident } from "./resident.ts";
import { withRunning, withTupperRunning } from "./running.ts";
import { clearWork, makeSetting, runtimeScenarios, startUp, tupperScenarios } from "./scenarios.ts";

const { values: options } = parseArgs({
  options: {
    n: { type: "string" },
    only: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    from: { type: "string" },
  },
});
const runs = Number(options.n ?? (options.quick ? 5 : 40));
if (!Number.isInteger(runs) || runs < 1) throw new Error(`--n ${options.n}: a number of runs is wanted`);
if (options.write && options.only !== "") throw new Error("--write is for all scenarios: leave --only away");

const isWanted = ({ title }: { title: string }) => title.includes(options.only);

async function measureAll(work: string): Promise<Pick<Report, "results" | "resident">> {
  const programs = runtimes();
  const setting = makeSetting(work, programs, buildProgram("floor", work));
  const measuring: Measuring = {
    program: buildProgram("measure", work),
    work,
    runs,
    warmUp: options.quick ? 1 : 5,
    gapsMs: options.quick ? [0] : [0, 100],
  };
  const results: Result[] = [];
  const measure = async (scenario: Scenario): Promise<void> => {
    if (isWanted(scenario)) results.push(await measureScenario(measuring, scenario));
  };
  await measure(startUp(setting));
  if (!isRoot) return { results, resident: [] };
  for (const scenario of [...runtimeScenarios(setting), ...tupperScenarios(setting)]) await measure(scenario);
  let resident: Resident[] = [];
  const part = async (name: string, titles: RegExp, body: () => Promise<void>): Promise<void> => {
    if (options.only !== "" && !titles.test(options.only)) return;
    const begin = Date.now();
    try {
      await body();
    } catch (error) {
      if (String(error).includes("interrupted")) throw error;
      // The rest of the measurement is not lost.
      console.error(`bench: ${name}: ${error instanceof Error ? error.message : error}`);
    }
    console.error(`bench: ${name}: ${((Date.now() - begin) / 1000).toFixed(0)} s in all`);
  };
  await part("memory that stays", /memory|stay|resident/, async () => {
    resident = await measureResident(setting);
  });
  const counts = options.quick ? [1, 20] : [1, 100, 1000];
  await part("containers that are there", /exec|state|list|ps|beside/, () =>
    withRunning(setting, measuring.program, counts, measure),
  );
  await part("tupper's own", /tupper|exec|ps/, () => withTupperRunning(setting, options.quick ? 10 : 100, measure));
  await part("engines", /podman|docker|each/, () => withEngines(setting, measure));
  return { results, resident };
}

function publish(report: Report): void {
  const text = fullText(report);
  console.log(text);
  if (!options.write) return;
  replaceSection(`${repository}/docs/performance.md`, "tables", text);
  replaceSection(`${repository}/README.md`, "summary", summaryText(report));
  writeFileSync(`${repository}/docs/performance.svg`, plot(report));
}

/** On every real machine /run is in memory: a runtime's state is not to wait for a disk. */
function coverRun(): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]);
  mkdirSync("/run/lock");
}

async function main(): Promise<void> {
  if (options.from !== undefined) return publish(JSON.parse(readFileSync(options.from, "utf8")) as Report);
  if (isRoot) {
    await enterOwnMountNamespace();
    installPeers();
    coverRun();
  } else console.error("bench: not root, so only the start-up is measured");
  const work = mkdtempSync(`${tmpdir()}/tupper-bench-`);
  chmodSync(work, 0o755);
  // The measuring program ends, and then everything else is undone by `finally`.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
  try {
    const machine = describeMachine(runtimes());
    const words = ["npm run bench --", `--n ${runs}`, options.quick ? "--quick" : ""];
    const command = `${words.join(" ").trim()}${options.only === "" ? "" : ` --only "${options.only}"`}`;
    const report: Report = { date: new Date().toISOString(), command, runs, machine, ...(await measureAll(work)) };
    mkdirSync(`${repository}/bench/results`, { recursive: true });
    const name = `${report.date.slice(0, 10)}-${machine.host}${options.quick || options.only !== "" ? "-part" : ""}`;
    writeFileSync(`${repository}/bench/results/${name}.json`, `${JSON.stringify(report, undefined, 2)}\n`);
    console.error(`bench: bench/results/${name}.json`);
    publish(report);
  } finally {
    clearWork(work);
  }
}

await main();
