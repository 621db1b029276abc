/** `run`: create and start in one, in the foreground or detached. */
import { ContainerError } from "../error.ts";
import { cleanUp } from "../execute/clean-up.ts";
import { unblockSignals } from "../execute/execute.ts";
import { type Ended, explainEnd, type Lived } from "../explain-failure/end.ts";
import { PR_SET_CHILD_SUBREAPER } from "../sys/constants.ts";
import { SysError, sys } from "../sys/sys.ts";
import { recordedConfig } from "./bundle.ts";
import { type Container, unlock } from "./container.ts";
import { deleteContainer, destroyFailed, leftOf } from "./delete.ts";
import { type LaunchRequest, launch } from "./launch.ts";
import { awaitReady, notifyAside } from "./notify.ts";
import { givenProgram } from "./seccomp-annotations.ts";
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
  const { container, lock, pid, terminal, notify } = launch(request, { waits: false, attached: !detach });
  const signals = detach ? -1 : orElse(openSignals, () => destroyFailed(container, lock, warn));
  runPoststartHooks(container, () => destroyFailed(container, lock, warn));
  // Others may exec into it, pause it, delete it from here on.
  unlock(lock);
  if (detach) {
    if (notify === undefined) return 0;
    // Whoever ends us now ends the wait: the container lives by itself.
    unblockSignals();
    awaitReady(notify, container, warn);
    return 0;
  }
  // Only ours: somebody may have deleted it by now and made another of the name.
  const end = () => deleteContainer(request.root, request.id, true, warn, container.record);
  const say = (ended: Ended) => {
    const explained = explainEnd(ended, { groups: container.record.cgroups, ...configOf(container) });
    if (explained !== undefined) warn(explained.why);
  };
  try {
    const aside = notify === undefined ? undefined : notifyAside(notify, warn);
    return supervise({ pid, terminal }, signals, say, undefined, aside);
  } finally {
    if (!keep) cleanUp("delete the container", end, () => leftOf(container), warn);
  }
}

/** Empty where somebody has deleted the container meanwhile: that is how it ended, and no failure. */
function configOf(container: Container): Pick<Lived, "linux" | "given"> {
  try {
    const { linux, annotations } = recordedConfig(container);
    return { linux, given: givenProgram(annotations) };
  } catch (error) {
    if (!(error instanceof SysError || error instanceof ContainerError)) throw error;
    return { linux: {} };
  }
}

/** What `act` returns; when it throws, after `undo`. */
function orElse<T>(act: () => T, undo: () => unknown): T {
  try {
    return act();
  } catch (error) {
    undo();
    throw error;
  }
}
