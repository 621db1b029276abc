/** `tupper kill`: a signal to a container's init process. */
import { ContainerError } from "../../error.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import { raw, SysError } from "../../sys/sys.ts";
import { noteKill } from "./kill-note.ts";
import { loadState } from "./state.ts";

/** Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING. */
export function killContainer(id: string, signal: number): void {
  const { pid, startTime } = loadState(id);
  const notRunning = () => new ContainerError("CONTAINER_NOT_RUNNING", `the container ${id} is not running`);
  if (pid === 0) throw notRunning();
  const pidfd = raw.pidfdOpen(pid, 0);
  if (pidfd < 0) throw notRunning();
  // With the descriptor in hand the pid cannot be given to another process between this look and the signal.
  const alive = startTimeOf(pid) === startTime;
  if (alive) noteKill(id, signal);
  const result = alive ? raw.pidfdSendSignal(pidfd, signal, null, 0) : -3;
  raw.close(pidfd);
  if (result === -3) throw notRunning();
  if (result < 0)
    throw new ContainerError("KILL_FAILED", `cannot signal the container ${id}`, {
      cause: new SysError("pidfd_send_signal", -result, [pid, signal]),
    });
}
