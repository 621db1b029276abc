/**
 * Runs the black-box suites in virtual machines, or a shell command.
 *
 *   tests/vm/run.ts                                          all suites in all places (npm run test:vm)
 *   tests/vm/run.ts --place v2-root --only runtime-cgroups   one suite in one place; both flags may be repeated
 *   tests/vm/run.ts --place systemd-root --exec 'CMD'        a shell command; its output and exit code are ours
 *     --file PATH       lays a file or directory of this machine at /tupper/files/NAME; may be repeated
 *     --limit SECONDS   for each suite, or the command (default 600)
 *     --tap FILE        the results once more, as TAP
 */
import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Outcome, progress, runJob } from "./machine.ts";
import { makePayload, repository } from "./payload.ts";
import { PLACES, type Place, placeNamed } from "./places.ts";
import { countCases, type Results, readResults, renderCases, renderTap } from "./results.ts";
import { findSuites, lacking, type Suite } from "./suites.ts";

const { values: flags } = parseArgs({
  options: {
    place: { type: "string", multiple: true },
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

if (flags.exec !== undefined) await runCommand(places[0] ?? placeNamed("v2-root"), flags.exec);
else await runSuites();

/** The guest's environment: what a login gives, and where things of the repository are. */
function jobOf(place: Place, command: string): string {
  const environment = {
    TUPPER_BINARY: "/tupper/build/tupper",
    TUPPER_TEST_PROGRAMS: "/tupper/programs",
    TUPPER_PLACE: place.name,
    TUPPER_SLOWNESS: "8",
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
      timeoutMs,
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
  const suites = findSuites(repository).filter(({ name }) => flags.only?.includes(name) ?? true);
  for (const name of flags.only ?? [])
    if (!suites.some((suite) => suite.name === name)) throw new Error(`there is no suite tests/${name}.test.ts`);
  const all: Results[] = [];
  for (const place of places) {
    for (const suite of suites.filter((candidate) => lacking(candidate, place).length === 0)) {
      const results = await runSuite(place, suite);
      all.push(results);
      process.stdout.write(renderCases(results));
      if (flags.tap !== undefined) appendFileSync(flags.tap, renderTap(results));
    }
  }
  const { passed, failed, skipped } = countCases(all);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  if (failed > 0 || passed === 0) process.exitCode = 1;
}

async function runSuite(place: Place, suite: Suite): Promise<Results> {
  progress(`${suite.name} in ${place.name}`);
  const bundle = `/tupper/tests/${suite.name}.test.mjs`;
  const command = `exec node --test-reporter=/tupper/reporter.mjs --test-reporter-destination=stdout ${bundle}`;
  const payload = await makePayload({ suites: [suite.path], job: jobOf(place, command) });
  let output = "";
  let errors = "";
  const startedAt = Date.now();
  let outcome: Outcome;
  try {
    outcome = await runJob(place.machine, {
      payload: payload.image,
      timeoutMs,
      onOutput: (text) => {
        output += text;
      },
      onErrorOutput: (text) => {
        errors += text;
      },
    });
  } finally {
    payload.remove();
  }
  return readResults({
    place: place.name,
    suite: suite.name,
    durationMs: Date.now() - startedAt,
    output,
    errors,
    outcome,
  });
}
