/**
 * SIGKILL before any system call of a command or of the process that it clones (tests/programs/inject_fault.c): to the command
 * itself, to the container's init process, to both. No other command hangs by it, what is left the next command removes, and
 * the ID can be used again. When init alone is killed the command says so, or the container was made and has ended.
 *
 * A sample is tried, with TUPPER_TORTURE everything (fault-trials.ts).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime, stateOf } from "./bundle.ts";
import { type Point, pointsOf, withKill } from "./fault-points.ts";
import {
  isAskedFor,
  leftSince,
  makeTrial,
  nextCommands,
  type Outcome,
  prepare,
  TORTURE,
  type Trial,
  tryAll,
  VERBS,
  type Verb,
} from "./fault-trials.ts";
import { isSanitizer, watchForLeftovers } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";

watchForLeftovers();
const needs = {
  skip:
    missing("root", "package:busybox-static", "programs", "arch:x64") ||
    (isSanitizer ? "what the sanitizer calls is not ours" : false),
};

/** `init` is the process that the command clones, or that of the container which is there already; `joining` that of exec. */
const WHOM = ["parent", "init", "both", "joining"] as const;
type Whom = (typeof WHOM)[number];

interface Kill {
  key: string;
  point: Point;
  whom: Whom;
}

/** Whom there is to kill before this call. */
function victimsAt(verb: Verb, points: readonly Point[], point: Point): readonly Whom[] {
  const firstOfChild = points.findIndex(({ process }) => process > 0);
  const isCloned = firstOfChild >= 0 && points.indexOf(point) >= firstOfChild;
  if (verb.makes) return isCloned ? ["parent", "init", "both"] : ["parent"];
  // A container that was killed before has no init process any more.
  if (verb.before?.includes("kill")) return ["parent"];
  return isCloned && verb.name === "exec" ? WHOM : ["parent", "init", "both"];
}

async function tryKill(trial: Trial, { point, whom }: Kill): Promise<Outcome> {
  const { verb, id, directory } = trial;
  const faults: string[] = [];
  const before = snapshot();
  await prepare(trial);
  const init = verb.makes || whom === "parent" ? "child" : (await stateOf(id)).pid;
  const victims = { parent: ["parent"], init: [init], both: ["parent", init], joining: ["child"] } as const;
  await verb.ready?.(trial);
  const { code, report, stderr } = await withKill(
    point,
    victims[whom],
    verb.command(trial),
    directory,
    verb.env?.(trial),
  );
  const reached = /^reached$/m.test(report);
  for (const line of report.split("\n")) if (/^(did not|process)/.test(line)) faults.push(line);
  const isKilled = reached && (whom === "parent" || whom === "both");
  let left: string[] = [];
  // Of a foreground command that was killed the exit code is 137.
  const succeeded = !isKilled && (code === (verb.code ?? 0) || (verb.code !== undefined && code === 137));
  if (isKilled) {
    if (code !== 137) faults.push(`exit code ${code} of a command that was killed`);
  } else if (!succeeded) {
    const errors = stderr.split("\n").filter((line) => line.startsWith("error: "));
    if (errors.length !== 1 || !/ \([A-Z][A-Z0-9_]*\)$/.test(errors[0] ?? "") || /\(INTERNAL\)$/.test(errors[0] ?? ""))
      faults.push("no error in the house's form");
    if (/^ {4}at |undefined|\[object /m.test(stderr)) faults.push("words of a program");
    if (code === null || (code >= 128 && code !== 255)) faults.push(`exit code ${code}`);
    if (verb.makes) left = await leftSince(before, id);
  }
  if (verb.name !== "tupper run") {
    const state = await runtime(["state", id]);
    if (state.code !== 0 && !state.stderr.includes("(CONTAINER_UNKNOWN)")) faults.push(`state: ${state.stderr}`);
    if (!isKilled && !succeeded && verb.makes && state.code === 0) faults.push("it failed, and is there");
  }
  faults.push(...(await nextCommands(trial, before)));
  return { outcome: !reached ? "unreached" : succeeded ? "harmless" : "failed", faults, left, stderr };
}

/** One of each kind of victim, anywhere. */
function sample(kills: readonly Kill[]): Kill[] {
  return WHOM.flatMap((whom) => {
    const those = kills.filter((kill) => kill.whom === whom);
    const at = Math.floor(Math.random() * those.length);
    return those.slice(at, at + 1);
  });
}

for (const verb of VERBS)
  test(
    `${verb.name}: SIGKILL to the command, to init, to both before any call: nothing is left, and the ID is free`,
    needs,
    async (t) => {
      if (!isAskedFor(verb)) return t.skip("not asked for");
      const trial = makeTrial(verb);
      await prepare(trial);
      await verb.ready?.(trial);
      const { points, outcome } = await pointsOf(verb.command(trial), trial.directory, verb.env?.(trial));
      assert.equal(outcome.code, verb.code ?? 0, outcome.stderr);
      await runtime(["delete", "--force", trial.id]);
      const kills = points.flatMap((point) =>
        victimsAt(verb, points, point).map((whom): Kill => {
          const where = `${point.call} ${point.nth} of process ${point.process}`;
          return { key: `${verb.name}: SIGKILL to ${whom} before ${where}`, point, whom };
        }),
      );
      assert.ok(points.length > 15, `${points.length} calls are too few`);
      const { summary, wrong } = await tryAll(verb, TORTURE === undefined ? sample(kills) : kills, tryKill);
      t.diagnostic(`${points.length} points, ${summary}`);
      assert.deepEqual(wrong, []);
    },
  );
