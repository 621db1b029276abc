/**
 * The init process: performs its steps in order, each by the function of its name (src/execute/init/). This process becomes
 * the container: it changes namespaces, root, ids and privileges on the way, so a step can rely only on what the steps
 * before it left.
 */

import { explainStep } from "../explain-failure/step.ts";
import type { InitStep } from "../plan/step.ts";
import { raw } from "../sys/sys.ts";
import { packError } from "./channel.ts";
import { becomeInit, forkCommand, openInitProgram } from "./fork-init.ts";
import type { InitContext, Performers } from "./init/context.ts";
import { fileSteps } from "./init/files.ts";
import { labelSteps } from "./init/labels.ts";
import { lifecycleSteps } from "./init/lifecycle.ts";
import { liveMountSteps } from "./init/live-mounts.ts";
import { mountSteps } from "./init/mounts.ts";
import { namespaceSteps } from "./init/namespaces.ts";
import { processSteps } from "./init/process.ts";
import { schedulingSteps } from "./init/scheduling.ts";
import { seccompSteps } from "./init/seccomp.ts";

type PlainStep = Exclude<InitStep, { op: "forkInit" }>;

const performers: Performers<PlainStep["op"]> = {
  ...namespaceSteps,
  ...mountSteps,
  ...liveMountSteps,
  ...fileSteps,
  ...processSteps,
  ...lifecycleSteps,
  ...seccompSteps,
  ...schedulingSteps,
  ...labelSteps,
};

/** What it does at the moment: for its parent, where both share their memory and it does not come to an end. */
let current: InitStep | undefined;
export const currentStep = (): InitStep | undefined => current;

/** Performs the steps in order and becomes the command. What goes wrong is told to the parent; then the process ends. */
export function runInit(steps: readonly InitStep[], context: InitContext): never {
  let done = 0;
  for (const step of steps) {
    done++;
    current = step;
    try {
      if (step.op === "forkInit") {
        const program = openInitProgram();
        const rest = steps.slice(done);
        const pid = forkCommand((initIsReady) => runInit(rest, { ...context, initIsReady }));
        for (const later of rest)
          if (later.op !== "newSession" && later.op !== "exec" && later.op !== "forkInit") performStep(later, context);
        becomeInit(program, pid);
      } else performStep(step, context);
    } catch (error) {
      raw.sendMessage(context.channel, JSON.stringify(packError(explainStep(step, error, context.filter))), []);
      break;
    }
  }
  return raw.exitGroup(127) as never;
}

/** The last step, `exec`, comes back only with an error. */
function performStep(step: PlainStep, context: InitContext): void {
  const perform = performers[step.op] as (step: PlainStep, context: InitContext) => void;
  if (context.tracer === undefined) perform(step, context);
  else context.tracer.step(step, () => perform(step, context), context.channel);
}
