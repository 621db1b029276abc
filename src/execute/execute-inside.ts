/** `execute` for a plan that joins a running container: `exec`. */
import { ContainerError } from "../error.ts";
import type { Plan } from "../plan/step.ts";
import { SysError } from "../sys/sys.ts";
import { execute, type Started } from "./execute.ts";
import type { ExecuteOptions } from "./parent.ts";
import { endsWithin } from "./process-end.ts";

/**
 * A container that ends meanwhile is told as that, whatever step met it. `init`: a pidfd. Throws CONTAINER_NOT_RUNNING, and
 * what `execute` throws.
 */
export function executeInside(init: number, plan: Plan, options: ExecuteOptions): Started {
  try {
    return execute(plan, options);
  } catch (error) {
    if (!(error instanceof ContainerError) || !endsWithin(init, patienceFor(error))) throw error;
    const message = `cannot exec in a container that is not running: ${plan.id} has ended meanwhile`;
    throw new ContainerError("CONTAINER_NOT_RUNNING", message, { cause: error.cause });
  }
}

/**
 * A process loses its namespaces some time before it is seen to have ended, the first one of a PID namespace only when all in it
 * have: nobody joins any more then (ESRCH), and nobody is cloned (ENOMEM). pid_namespaces(7).
 */
const patienceFor = ({ cause }: ContainerError): number =>
  cause instanceof SysError && (cause.code === "ESRCH" || cause.code === "ENOMEM") ? 1000 : 0;
