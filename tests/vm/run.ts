/**
 * Runs the black-box suites in virtual machines, or a shell command.
 *
 *   tests/vm/run.ts                                          all suites in all places (npm run test:vm)
 *   tests/vm/run.ts --place v2-root --only runtime-cgroups   one suite in one place; both flags may be repeated
 *   tests/vm/run.ts --place systemd-root --exec 'CMD'        a shell command; its output and exit code are ours
 *     --gate            what the gate runs; a suite with failed cases once more at the end, and then the second result counts
 *     --missing         only what is not on record, failed, or has another text now
 *     --jobs N          so many places at a time; a machine keeps one processor busy (default 1)
 *     --test PATTERN    only cases whose name matches
 *     --file PATH       lays a file or directory of this machine at /tupper/files/NAME; may be repeated
 *     --limit SECONDS   for each suite, or the command (default 600)
 *   tests/vm/run.ts --table                                  docs/places.md anew from the last results of each place
 *     --tap FILE        the results once more, as TAP
 */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Outcome, progress, runJob } from "./machine.ts";
import { makePayload, repository } from "./payload.ts";
import { PLACES, type Place, placeNamed } from "./places.ts";
import { countCases, type Results, readResults, renderCases, renderTap, unsteadyCases } from "./results.ts";
import { findSuites, lacking, type Suite } from "./suites.ts";
import { currentCommit, isDone, record, renderTable } from "./table.ts";

const { values: flags } = parseArgs({
  options: {
    place: { type: "string", multiple: true },
    test: { type: "string" },
    gate: { type: "boolean", default: false },
    missing: { type: "boolean", default: false },
    jobs: { type: "string", default: "1" },
    table: { type: "boolean", default: false },
    only: { type: "string", multiple: true },
    exec: { type: "string" },
    file: { type: "string", multiple: true, default: [] },
    limit: { type: "string", default: "600" },
    tap: { type: "string" },
  },
});
const timeoutMs = Number(flags.limit) * 1000;
const places = flags.place === undefined ? PLACES : flags.place.map(placeNamed);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130)); // ends qemu

const GATE_ALSO: Readonly<Record<string, readonly string[]>> = {
  "v2-root": ["limits", "runtime-start"],
  "kernel-5.10": ["runtime-start"],
};

/** Takes as long as all others of its place, so it has a machine of its own, which is the first to begin. */
const LONG = "engines-systemd";

/** The guest's environment: what a login gives, and where things of the repository are. */
function jobOf(place: Place, command: string): string {
  const environment = {
    TUPPER_BINARY: "/tupper/build/tupper",
    TUPPER_TEST_PROGRAMS: "/tupper/programs",
    TUPPER_PLACE: place.name,
    TUPPER_SLOWNESS: "8",
    ...(flags.gate ? { TUPPER_GATE: "1" } : {}),
    PATH: "/tupper/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    LANG: "C.UTF-8",
  };
  const exported = Object.entries(environment).map(([name, value]) => `export ${name}=${value}\n`);
  const script = `${exported.join("")}cd /\n${command}\n`;
  if (place.machine.init === "plain") return script;
  // A session of its own, as for somebody who has logged in.
  return `exec su -l ${place.user} -c ${quote(script)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function runCommand(place: Place, command: string): Promise<void> {
  const payload = await makePayload({ suites: [], job: jobOf(place, command), files: flags.file });
  try {
    const outcome = await runJob(place.machine, {
      payload: payload.image,
      silenceMs: timeoutMs,
      onOutput: (text) => process.stdout.write(text),
      onErrorOutput: (text) => process.stderr.write(text),
    });
    if (outcome.code === undefined) process.stderr.write(`${outcome.log}\nvm: ${outcome.failure}\n`);
    process.exitCode = outcome.code ?? 70;
  } finally {
    payload.remove();
  }
}

async function runSuites(): Promise<void> {
  const known = findSuites(repository);
  for (const name of flags.only ?? [])
    if (!known.some((suite) => suite.name === name)) throw new Error(`there is no suite tests/${name}.test.ts`);
  const isWanted = (suite: Suite, place: Place) =>
    (flags.only?.includes(suite.name) ?? true) &&
    lacking(suite, place).length === 0 &&
    !(flags.missing && isDone(suite.name, place.name));
  const selected = flags.gate ? gateOf(known) : known.map((suite) => ({ suite, among: places }));
  const queue = [true, false].flatMap((isLong) =>
    places.map((place) => ({
      place,
      suites: selected
        .filter(({ suite, among }) => among.includes(place) && isWanted(suite, place))
        .flatMap(({ suite }) => ((suite.name === LONG) === isLong ? [suite] : [])),
    })),
  );
  const commit = currentCommit(repository);
  const all: Results[] = [];
  const report = (results: Results) => {
    all.push(results);
    process.stdout.write(renderCases(results));
    if (flags.test === undefined) record(results, commit);
    if (flags.tap !== undefined) appendFileSync(flags.tap, renderTap(results));
  };
  const failedOnce: { place: Place; suite: Suite; first: Results }[] = [];
  const reportFirst = (place: Place, suite: Suite, results: Results) => {
    if (!flags.gate || countCases([results]).failed === 0) return report(results);
    process.stdout.write(renderCases(results));
    failedOnce.push({ place, suite, first: results });
  };
  await inJobs(queue, async ({ place, suites }) => {
    // One machine for the suites of a place; another for those that are left when it hangs or dies.
    for (let left = suites; left.length > 0; )
      left = left.slice(await runInOneMachine(place, left, (suite, results) => reportFirst(place, suite, results)));
  });
  const unsteady: string[] = [];
  await inJobs(failedOnce, async ({ place, suite, first }) => {
    await runInOneMachine(place, [suite], (_, second) => {
      report(second);
      unsteady.push(...unsteadyCases(first, second));
    });
  });
  for (const name of unsteady) process.stdout.write(`⚠ unsteady, passed at the second try: ${name}\n`);
  const { passed, failed, skipped } = countCases(all);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  if (failed > 0 || passed === 0) process.exitCode = 1;
}

/** Does what is in the queue, as many at a time as `--jobs` says. */
async function inJobs<T>(queue: T[], work: (one: T) => Promise<void>): Promise<void> {
  const untilEmpty = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: Number(flags.jobs) }, untilEmpty));
}

/**
 * What the gate runs: the suites that ask for what the host does not have, each in the first place that has it, and a few
 * others on cgroup v2 and on the oldest kernel.
 */
function gateOf(suites: readonly Suite[]): { suite: Suite; among: readonly Place[] }[] {
  const beyondTheHost = ["cgroup2", "systemd", "apparmor", "user"];
  return suites.map((suite) => {
    const first = places.find((place) => lacking(suite, place).length === 0);
    const isForGuests = suite.needs.some((need) => beyondTheHost.includes(need));
    const others = places.filter(({ name }) => GATE_ALSO[name]?.includes(suite.name));
    return { suite, among: isForGuests && first !== undefined ? [first, ...others] : others };
  });
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Runs suites until the machine fails; how many have results, at least one. */
async function runInOneMachine(
  place: Place,
  suites: readonly Suite[],
  report: (suite: Suite, results: Results) => void,
): Promise<number> {
  progress(`${place.name}: ${suites.map(({ name }) => name).join(", ")}`);
  const reporter = "--test-reporter=/tupper/reporter.mjs --test-reporter-destination=stdout";
  const pattern = flags.test === undefined ? "" : `--test-name-pattern=${quote(flags.test)}`;
  const commands = suites.map(
    ({ name }) =>
      // The inner limit ends a suite; the outer one, a machine that cannot do even that.
      `timeout -k 5 ${timeoutMs / 1000} node ${reporter} ${pattern} /tupper/tests/${name}.test.mjs\nprintf '\\037ended %d\\n' $?\n`,
  );
  const payload = await makePayload({
    suites: suites.map(({ path }) => path),
    job: jobOf(place, commands.join("")),
  });
  let done = 0;
  let output = "";
  let errors = "";
  let suiteStartedAt = Date.now();
  const finish = (text: string, outcome: Outcome) => {
    const suite = suites[done++];
    if (suite === undefined) throw new Error(`a suite has ended that was not to be run: ${text}`);
    const durationMs = Date.now() - suiteStartedAt;
    report(suite, readResults({ place: place.name, suite: suite.name, durationMs, output: text, errors, outcome }));
    errors = "";
    suiteStartedAt = Date.now();
  };
  try {
    const outcome = await runJob(place.machine, {
      payload: payload.image,
      // Within this time there must be something new to read.
      silenceMs: timeoutMs + 60_000,
      onOutput: (text) => {
        output += text;
        for (;;) {
          // A line of its own, which no test prints.
          const [before, after] = splitOnce(output, "\u001fended ");
          const [digits, rest] = splitOnce(after ?? "", "\n");
          if (rest === undefined) break;
          const code = Number(digits);
          const failure = code === 124 || code === 137 ? { failure: `not done within ${flags.limit} s` } : {};
          finish(before, { code: "failure" in failure ? undefined : code, log: "", ...failure });
          output = rest;
        }
      },
      onErrorOutput: (text) => {
        errors += text;
      },
    });
    if (done < suites.length)
      finish(output, { ...outcome, code: undefined, failure: outcome.failure ?? "the job ended before the suite did" });
  } finally {
    payload.remove();
  }
  return done;
}

if (flags.table) writeFileSync(join(repository, "docs/places.md"), renderTable(findSuites(repository)));
else if (flags.exec !== undefined) await runCommand(places[0] ?? placeNamed("v2-root"), flags.exec);
else await runSuites();
