/** What is measured of containers that are there already: one, a hundred, a thousand of each runtime that sleep. */
import { makeBundle, withoutNetwork, withSeccomp } from "./bundles.ts";
import { output, pause, startInBackground } from "./machine.ts";
import { type Scenario, step } from "./measuring.ts";
import { commands, each, floorRun, type Setting, tupper, tupperRun } from "./scenarios.ts";

type Measure = (scenario: Scenario) => Promise<void>;

/** Stands for the container that each runtime has: their groups have the name of the id, so they must not share it. */
const SLEEPER = "@sleeper";
const sleeperOf = (name: string): string => `bench-sleeper-${name.replace(" ", "-")}`;

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
  const { work, rootfs } = setting;
  const programs = commands(setting);
  const bundle = makeBundle(`${work}/bundle-running`, rootfs, ["sleep", "3600"], withSeccomp);
  // Without a network of their own: that is what most of the time of starting them would be.
  const other = makeBundle(`${work}/bundle-others`, rootfs, ["sleep", "3600"], withoutNetwork);
  const plain = makeBundle(`${work}/bundle-beside`, rootfs, ["true"]);
  const many = (...command: string[]) => [measureProgram, "1", "0", "0", "::", ...command];
  const of = (title: string, args: string[], extra: Partial<Scenario> = {}): Scenario => ({
    title,
    group: "runtime",
    candidates: each(setting, (program, name) => ({
      steps: [step(...program, ...args.map((word) => (word === SLEEPER ? sleeperOf(name) : word)))],
    })),
    ...extra,
  });
  const failed: string[] = [];
  let there = 0;
  const grow = async (count: number): Promise<void> => {
    for (const [name, program] of programs) {
      const words = [
        `times=${count - there}/${AT_ONCE}`,
        ...program,
        "run",
        "--detach",
        "--bundle",
        other,
        "bench-other-{}",
      ];
      // bench/measure.c ends with 0 whatever its commands do: `list` tells.
      await startInBackground(many(...words)).ended;
      const listed = output([...program, "list", "--quiet"])
        .stdout.trim()
        .split("\n").length;
      if (listed !== count) failed.push(`${name}: ${listed} containers instead of ${count}`);
    }
    there = count;
    for (const text of failed.splice(0)) console.error(`bench: ${text}`);
  };
  try {
    for (const [name, program] of programs) await startSleeper(program, bundle, sleeperOf(name));
    there = 1;
    await measure(of("exec `true`, default seccomp profile", ["exec", SLEEPER, "true"], { spaced: true }));
    await measure(of("state", ["state", SLEEPER], { spaced: true }));
    await measure(of("ps of a container, the numbers (`--format json`)", ["ps", "--format", "json", SLEEPER]));
    // Not the same work: runc prints all columns of ps(1), which it starts, tupper the same by itself, crun the numbers again.
    await measure(of("ps of a container, the table", ["ps", SLEEPER]));
    for (const count of counts) {
      if (count > there) await grow(count);
      const title = `list of ${count}`;
      await measure(of(title, ["list"], count === 100 ? { spaced: true } : count > 100 ? { runs: 10 } : {}));
      if (count === 1) continue;
      const beside = of(`run \`true\` beside ${count} containers of each`, ["run", "--bundle", plain, "bench-{}"]);
      // What grows with the number of containers grows in the kernel.
      const candidates = [...beside.candidates, floorRun(setting)];
      await measure({ ...beside, candidates, ...(count > 100 ? { runs: 20 } : {}) });
    }
  } finally {
    for (const [, program] of programs) {
      const ids = output([...program, "list", "--quiet"])
        .stdout.trim()
        .split("\n")
        .filter((id) => id !== "");
      for (let i = 0; i < ids.length; i += AT_ONCE)
        await Promise.all(
          ids.slice(i, i + AT_ONCE).map((id) => startInBackground([...program, "delete", "--force", id]).ended),
        );
    }
  }
}

/** Who has no container that runs is left out of what asks for it: as one that fails. */
async function startSleeper(program: readonly string[], bundle: string, id: string): Promise<void> {
  // Not by output(): what it leaves running would keep the pipes open.
  await startInBackground([...program, "run", "--detach", "--bundle", bundle, id], "inherit").ended;
  try {
    await untilItRuns([...program, "exec", id, "true"]);
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message.trim() : error}`);
  }
}

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
    if (attempt === 50) throw new Error(`${command.join(" ")}: exit ${result.code}\n${result.stderr}`);
    await pause(100);
  }
}
