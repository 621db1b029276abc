/** What is measured of containers that are there already: one, a hundred, a thousand of each runtime that sleep. */
import { makeBundle, withoutNetwork, withSeccomp } from "./bundles.ts";
import { output, pause, startInBackground } from "./machine.ts";
import { type Scenario, step } from "./measuring.ts";
import { each, type Setting, tupper, tupperRun } from "./scenarios.ts";

type Measure = (scenario: Scenario) => Promise<void>;

/** How many processes are started or ended at a time. */
const AT_ONCE = 8;

/**
 * Calls `measure` while they are there. `counts`: the numbers of containers, ascending. `measureProgram`: bench/measure.c, which
 * starts them without Node's milliseconds.
 */
export async function withRunning(
  setting: Setting,
  measureProgram: string,
  counts: readonly number[],
  measure: Measure,
): Promise<void> {
  const { work, rootfs, programs } = setting;
  const bundle = makeBundle(`${work}/bundle-running`, rootfs, ["sleep", "3600"], withSeccomp);
  // Without a network of their own: that is what most of the time of starting them would be.
  const other = makeBundle(`${work}/bundle-others`, rootfs, ["sleep", "3600"], withoutNetwork);
  const plain = makeBundle(`${work}/bundle-beside`, rootfs, ["true"]);
  const many = (...command: string[]) => [measureProgram, "1", "0", "0", "::", ...command];
  const of = (title: string, args: string[], extra: Partial<Scenario> = {}): Scenario => ({
    title,
    group: "runtime",
    candidates: each(setting, (program) => ({ steps: [step(program, ...args)] })),
    ...extra,
  });
  const failed: string[] = [];
  let there = 0;
  const grow = (count: number): void => {
    for (const [name, program] of Object.entries(programs)) {
      const words = [
        `times=${count - there}/${AT_ONCE}`,
        program,
        "run",
        "--detach",
        "--bundle",
        other,
        "bench-other-{}",
      ];
      // bench/measure.c ends with 0 whatever its commands do: `list` tells.
      output(many(...words));
      const listed = output([program, "list", "--quiet"]).stdout.trim().split("\n").length;
      if (listed !== count) failed.push(`${name}: ${listed} containers instead of ${count}`);
    }
    there = count;
    for (const text of failed.splice(0)) console.error(`bench: ${text}`);
  };
  try {
    for (const program of Object.values(programs))
      startDetached([program, "run", "--detach", "--bundle", bundle, "bench-one"]);
    for (const program of Object.values(programs)) await untilItRuns([program, "exec", "bench-one", "true"]);
    there = 1;
    await measure(of("exec `true`, default seccomp profile", ["exec", "bench-one", "true"], { spaced: true }));
    await measure(of("state", ["state", "bench-one"], { spaced: true }));
    await measure(of("ps of a container", ["ps", "bench-one"]));
    for (const count of counts) {
      if (count > there) grow(count);
      const title = `list of ${count}`;
      await measure(of(title, ["list"], count === 100 ? { spaced: true } : count > 100 ? { runs: 10 } : {}));
      if (count === 1) continue;
      const run = ["run", "--bundle", plain, "bench-{}"];
      await measure(of(`run \`true\` beside ${count} containers of each`, run, count > 100 ? { runs: 20 } : {}));
    }
  } finally {
    for (const program of Object.values(programs)) {
      const ids = output([program, "list", "--quiet"])
        .stdout.trim()
        .split("\n")
        .filter((id) => id !== "");
      for (let i = 0; i < ids.length; i += AT_ONCE)
        await Promise.all(
          ids.slice(i, i + AT_ONCE).map((id) => startInBackground([program, "delete", "--force", id]).ended),
        );
    }
  }
}

/** What a runtime leaves running has our stdout and stderr no more than our stdin. */
const startDetached = (command: readonly string[]) => startInBackground(command);

/** `tupper`'s own: exec into a container, ps beside one and many. */
export async function withTupperRunning(setting: Setting, count: number, measure: Measure): Promise<void> {
  const { rootfs } = setting;
  const names = Array.from({ length: count }, (_, i) => `bench-${process.pid}-${i}`);
  const start = (name: string) => startInBackground(tupperRun(rootfs, "bind", true, ["sleep", "3600"], name));
  const [first = "", ...others] = names;
  const runners = [start(first)];
  const own = (title: string, ...args: string[]): Scenario => ({
    title,
    group: "tupper",
    candidates: [{ name: "tupper", steps: [step(tupper, ...args)] }],
  });
  try {
    await untilItRuns([tupper, "exec", first, "true"]);
    await measure(own("tupper exec `true`", "exec", "--no-tty", first, "true"));
    await measure(own("tupper ps of 1", "ps"));
    runners.push(...others.map(start));
    for (const name of others) await untilItRuns([tupper, "exec", name, "true"]);
    await measure(own(`tupper ps of ${count}`, "ps"));
  } finally {
    for (const name of names) output([tupper, "kill", name]);
    await Promise.race([Promise.all(runners.map(({ ended }) => ended)), pause(20_000)]);
  }
}

export async function untilItRuns(command: readonly string[]): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const result = output(command);
    if (result.code === 0) return;
    if (attempt === 100) throw new Error(`${command.join(" ")}: exit ${result.code}\n${result.stderr}`);
    await pause(100);
  }
}
