/** `delete`: what is left of a stopped container. runtime.md, "Delete". */
import { ContainerError } from "../error.ts";
import type { Streams } from "../execute/captured-program.ts";
import { killProcesses, letFrozenDie } from "../execute/cgroup-processes.ts";
import { cleanUp } from "../execute/clean-up.ts";
import { stopUnit } from "../execute/parent.ts";
import { endsWithin } from "../execute/process-end.ts";
import { removeCgroups } from "../execute/remove-cgroups.ts";
import { runHooks } from "../execute/run-hooks.ts";
import { Systemd } from "../execute/systemd.ts";
import { whatIsLeft } from "../explain-failure/clean-up.ts";
import { readFileIfThere } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";
import {
  type Container,
  type ContainerRecord,
  isLinked,
  type Lock,
  loadContainer,
  lockContainer,
  removeRecord,
  salvageContainer,
  statusOf,
  unlock,
} from "./container.ts";
import { withHookFiles } from "./hook-files.ts";
import { openProcess, signalProcess } from "./signal.ts";
import { hookStateOf } from "./state.ts";

const SIGKILL = 9;
const FIRST_LOOK_MS = 1000;
const PATIENCE_MS = 9000;

/**
 * `force`: also a running one, which is killed, and one that there is not. A created one goes without. `only`: no other
 * than this one. Throws CONTAINER_UNKNOWN, CONTAINER_RUNNING.
 */
export function deleteContainer(
  root: string,
  id: string,
  force: boolean,
  warn: (text: string) => void,
  only?: ContainerRecord,
): void {
  let lock: Lock;
  try {
    lock = lockContainer(root, id, force ? (fd) => endHolders(root, id, only, () => isLinked(fd)) : undefined);
  } catch (error) {
    if (force && error instanceof ContainerError && error.code === "CONTAINER_UNKNOWN") return;
    throw error;
  }
  try {
    const container = loadRecorded(root, id, force ? lock : undefined);
    if (only !== undefined && container?.record.created !== only.created) return;
    if (container === undefined) return removeRecord(lock);
    const status = statusOf(container);
    if (!force && (status === "paused" || (status === "running" && !isKilled(container))))
      throw new ContainerError("CONTAINER_RUNNING", `cannot delete container ${id} that is not stopped: ${status}`, {
        hint: "kill it first, or use --force",
      });
    destroy(container, lock, warn);
  } finally {
    unlock(lock);
  }
}

/**
 * `kill ID KILL` does not wait for the end that it brings, and who deletes next need not either: SIGKILL stays in the set of the
 * pending ones until the process has ended. proc_pid_status(5), "ShdPnd".
 */
const isKilled = ({ init }: Container): boolean =>
  /^ShdPnd:\t\w*[13579bdf]\w\w$/m.test(readFileIfThere(`/proc/${init?.pid}/status`) ?? "");

/**
 * What runs in a container may hold up who changes it (`start`, `mounts add`, `checkpoint`), and so the lock, for as long as it lives: it
 * is killed before the lock is ours. `isThere`: its directory has not been removed; another command may delete it meanwhile and make a
 * new one of the name, with the same control groups.
 */
function endHolders(root: string, id: string, only: ContainerRecord | undefined, isThere: () => boolean): void {
  const container = loadRecorded(root, id, { fd: -1, path: `${root}/${id}` });
  if (container === undefined || (only !== undefined && container.record.created !== only.created)) return;
  const { init, record } = container;
  const pidfd = init === undefined ? undefined : openProcess(init);
  if (pidfd === undefined) return;
  // After what was read by its name: it is of this container then.
  if (isThere()) signalProcess(pidfd, SIGKILL);
  raw.close(pidfd);
  // Who held the lock lets go of it now.
  if (isThere()) killProcesses(record.cgroups);
}

/**
 * Undefined for a directory in which nothing was put on record: what a crash left before anything was made. `forced`: a
 * record that cannot be read is no hindrance.
 */
function loadRecorded(root: string, id: string, forced: Lock | undefined): Container | undefined {
  try {
    return loadContainer(root, id);
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    if (error.code === "CONTAINER_UNKNOWN") return undefined;
    if (error.code === "STATE_BROKEN" && forced !== undefined) return salvageContainer(forced, id);
    throw error;
  }
}

/** Ends a container whatever it does: processes, control groups, record, poststop hooks. The lock is dropped. */
export function destroy({ init, record }: Container, lock: Lock, warn: (text: string) => void): void {
  const pidfd = init === undefined ? undefined : openProcess(init);
  if (pidfd !== undefined) {
    signalProcess(pidfd, SIGKILL);
    letFrozenDie(record.cgroups);
    let ended = endsWithin(pidfd, FIRST_LOOK_MS);
    // Somebody may have been frozen between the two.
    if (!ended) {
      killProcesses(record.cgroups);
      ended = endsWithin(pidfd, PATIENCE_MS);
    }
    raw.close(pidfd);
    if (!ended) throw new ContainerError("CONTAINER_STAYS", `container ${record.id} does not end, 10 s after SIGKILL`);
  }
  if (record.unit !== undefined) stopScope(record.unit, record.cgroups, warn);
  removeCgroups(record.remove ?? record.cgroups.map(({ path }) => path), record.cgroups);
  removeRecord(lock);
  // The others still run when one fails, and the container is gone all the same.
  runPoststopHooks(record, warn);
}

function runPoststopHooks(record: ContainerRecord, warn: (text: string) => void): void {
  const { poststop = [] } = record;
  if (poststop.length === 0) return;
  const run = (streams: Streams = {}) =>
    runHooks("poststop", poststop, hookStateOf(record), 0, { streams, onFailure: (failure) => warn(failure.message) });
  try {
    withHookFiles(record, run);
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    warn(error.message);
    run();
  }
}

/** The same for a container that cannot go on: what is in the way of its end must not hide why. */
export function destroyFailed(container: Container, lock: Lock, warn: (text: string) => void): void {
  cleanUp(
    "delete the container",
    () => destroy(container, lock, warn),
    () => leftOf(container),
    warn,
  );
}

/** What is still there of a container that could not be deleted. */
export const leftOf = ({ path, record }: Container): string =>
  `${whatIsLeft([path, ...record.cgroups.map((group) => group.path)])}; it stays on record until it is deleted`;

/** What is left in it is killed first: systemd would ask it to end, and wait. Groups that systemd leaves are removed after it. */
function stopScope(
  { name, user }: { name: string; user: boolean },
  groups: ContainerRecord["cgroups"],
  warn: (text: string) => void,
): void {
  killProcesses(groups);
  try {
    const systemd = Systemd.open(user);
    stopUnit(systemd, name, warn);
    systemd.close();
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    warn(error.message);
  }
}
