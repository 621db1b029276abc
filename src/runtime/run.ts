/** `run`: create and start in one, in the foreground or detached. */

import { whyItEnded } from "../explain-failure/end.ts";
import { PR_SET_CHILD_SUBREAPER } from "../sys/constants.ts";
import { sys } from "../sys/sys.ts";
import { recordedConfig } from "./bundle.ts";
import { unlock } from "./container.ts";
import { deleteContainer, destroy } from "./delete.ts";
import { type LaunchRequest, launch } from "./launch.ts";
import { runPoststartHooks } from "./start.ts";
import { supervise } from "./supervise.ts";
import { openSignals } from "./terminal.ts";

export interface RunRequest extends LaunchRequest {
  detach: boolean;
  /** The container stays on record when it has ended. */
  keep: boolean;
  /** Orphans of the container become the caller's children, and are reaped. prctl(PR_SET_CHILD_SUBREAPER). */
  subreaper: boolean;
}

/** Returns the command's exit code, 128 + n for a signal; 0 at once when it is detached. Throws a ContainerError. */
export function runContainer(request: RunRequest): number {
  const { detach, keep, subreaper, warn } = request;
  if (!detach && subreaper) sys.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const { container, lock, pid, terminal } = launch(request, { waits: false, attached: !detach });
  const signals = detach ? -1 : openSignals();
  runPoststartHooks(container, () => destroy(container, lock, warn));
  // Others may exec into it, pause it, delete it from here on.
  unlock(lock);
  if (detach) return 0;
  const code = supervise({ pid, terminal }, signals, (ended) => {
    const why = whyItEnded(ended, {
      groups: container.record.cgroups,
      linux: recordedConfig(container).linux,
    });
    if (why !== undefined) warn(why);
  });
  // Only ours: somebody may have deleted it by now and made another of the name.
  if (!keep) deleteContainer(request.root, request.id, true, warn, container.record);
  return code;
}
