/** The steps of a plan as lines of the debug log, before they are performed: those of the init process too, which has no log. */
import { describeStep } from "../explain/describe.ts";
import type { Plan } from "../plan/step.ts";

export function debugPlan({ steps }: Plan, debug: ((text: string) => void) | undefined): void {
  if (debug === undefined) return;
  for (const step of steps) {
    debug(`${step.by}: ${describeStep(step)}`);
    if (step.op === "seccomp") debug(`seccomp filter flags: ${step.flags}`);
  }
}
