/** `kill`: a signal to the container's init process, or with `all` to everything in its control group. runtime.md, "Kill". */
import { ContainerError } from "../error.ts";
import { cgroupProcesses, killProcesses, letFrozenDie, signalProcesses } from "../execute/cgroup-processes.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { raw } from "../sys/sys.ts";
import { type Container, loadContainer, statusOf } from "./container.ts";
import { processesOf } from "./processes.ts";
import { openProcess, signalProcess } from "./signal.ts";

/** Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING. */
export function killContainer(root: string, id: string, signal: number, { all = false } = {}): void {
  const container = loadContainer(root, id);
  const { init, record } = container;
  if ((all || (signal === SIGKILL && outlivesInit(init))) && signalAll(container, signal)) return;
  const status = statusOf(container);
  // As under runc: of all of them none is left.
  if (all && status === "stopped") return;
  const pidfd = init === undefined || status === "stopped" ? undefined : openProcess(init);
  const sent = pidfd !== undefined && signalProcess(pidfd, signal);
  if (pidfd !== undefined) raw.close(pidfd);
  if (sent && signal === SIGKILL) letFrozenDie(record.cgroups);
  if (!sent)
    throw new ContainerError(
      "CONTAINER_NOT_RUNNING",
      `container not running: ${id} is ${status === "creating" ? status : "stopped"}`,
    );
}

const SIGKILL = 9;

/** Whether other processes live on when the init process is killed: it is gone already, or not the first of a PID namespace. */
function outlivesInit(init: { pid: number } | undefined): boolean {
  if (init === undefined) return true;
  const own = raw.readlinkText(AT_FDCWD, "/proc/self/ns/pid");
  const theirs = raw.readlinkText(AT_FDCWD, `/proc/${init.pid}/ns/pid`);
  return typeof theirs !== "string" || theirs === own;
}

/** Whether there was anybody to signal. */
function signalAll(container: Container, signal: number): boolean {
  const groups = container.record.cgroups;
  if (groups.length === 0) return processesOf(container).filter((pid) => raw.kill(pid, signal) >= 0).length > 0;
  if (signal !== SIGKILL) return signalProcesses(groups, signal) > 0;
  const anybody = cgroupProcesses(groups).length > 0;
  killProcesses(groups);
  return anybody;
}
