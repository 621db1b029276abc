/** What holds for every plan, whatever config it was made of. */
import { describeStep } from "../../../src/explain/describe.ts";
import { explainPlan } from "../../../src/explain/explain.ts";
import { scriptOf } from "../../../src/explain/script.ts";
import type { Plan, Step } from "../../../src/plan/step.ts";

/** Paths in the container by step and argument. Masks are taken as they are: they lead to what is there, or to nothing. */
const INSIDE: Readonly<Record<string, string>> = {
  mount: "target",
  placeTree: "target",
  placeInside: "target",
  bind: "target",
  setMountFlags: "target",
  makeDirectory: "path",
  makeNode: "path",
  makeLink: "path",
  copyTree: "target",
};

function requireThat(holds: boolean, rule: string, about: unknown): void {
  if (holds) return;
  throw new Error(`${rule}: ${JSON.stringify(about, (_, value) => (typeof value === "bigint" ? `${value}n` : value))}`);
}

/** Absolute, and no part that leads anywhere else. */
export const isClean = (path: string): boolean =>
  path === "/" || (path.startsWith("/") && !/\/(\.{0,2})(?=\/|$)/.test(path) && !path.includes("\0"));

/** Throws where a plan breaks a rule. `told`: how it is told, one way of four, because that takes most of the time; all, where unset. */
export function checkPlan(plan: Plan, groupRoots: readonly string[], told?: number): void {
  const { steps, cleanup, warnings } = plan;
  const ends = steps.findIndex(({ op }) => op === "exec");
  const later = steps.findIndex(({ by }, i) => ends >= 0 && i > ends && by === "init");
  requireThat(later < 0, "no step of the init process comes after its last", steps[later]);
  for (const step of steps) checkStep(step, groupRoots);
  for (const path of cleanup.cgroups) requireThat(isBelow(path, groupRoots), "a group of the container's own", path);
  for (const warning of warnings) requireThat(warning !== "" && !warning.includes("undefined"), "a sentence", warning);
  for (const step of steps) requireThat(describeStep(step) !== "", "a step can be described", step);
  if (told === undefined || told === 0) explainPlan(plan, { color: false });
  if (told === undefined || told === 1) explainPlan(plan, { color: false, format: "json" });
  if (told === undefined || told === 2) scriptOf(plan);
}

function checkStep(step: Step, groupRoots: readonly string[]): void {
  requireThat(step.because !== "", "a step has a reason", step);
  requireThat(step.field === undefined || /^[a-zA-Z]/.test(step.field), "a field is a path", step);
  const inside = (step as unknown as Record<string, unknown>)[INSIDE[step.op] ?? ""];
  // Before pivot_root work is done in the state directory, by short names of ours.
  if (typeof inside === "string" && step.field !== undefined && step.field !== "root.path" && step.field !== "hooks")
    requireThat(isClean(inside), "a path inside is absolute and clean", step);
  if (step.op === "makeCgroup") requireThat(isBelow(step.path, groupRoots), "a group lies below its tree", step);
  for (const value of Object.values(step))
    requireThat(typeof value !== "number" || Number.isFinite(value), "a number is one", step);
}

const isBelow = (path: string, roots: readonly string[]): boolean =>
  isClean(path) && roots.some((root) => path.startsWith(`${root}/`));
