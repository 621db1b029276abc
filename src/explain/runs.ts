/** Runs of similar steps, which a reader wants to see as one. */
import type { Step } from "../plan/step.ts";

export type Run = readonly [Step, ...Step[]];

/** Splits steps where `like` says no; each run comes with the index of its first step. */
export function runsOf(
  steps: readonly Step[],
  like: (step: Step, before: Step) => boolean,
): [first: number, run: Run][] {
  const runs: [number, [Step, ...Step[]]][] = [];
  for (const [i, step] of steps.entries()) {
    const run = runs.at(-1)?.[1];
    const before = run?.at(-1);
    if (run !== undefined && before !== undefined && like(step, before)) run.push(step);
    else runs.push([i, [step]]);
  }
  return runs;
}

/** The config field of a run: for several entries of one list, the list. */
export function fieldOf(run: Run): string | undefined {
  const fields = new Set(run.map((step) => step.field));
  if (fields.size === 1) return run[0].field;
  const lists = new Set(run.map((step) => step.field?.replace(/\[[^[]*\](\.\w+)?$/, "")));
  return lists.size === 1 ? [...lists][0] : undefined;
}
