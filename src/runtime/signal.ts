/** Signals to a container's init process, by descriptor: a number that was given to another process is not hit. pidfd_send_signal(2). */
import { raw, SysError } from "../sys/sys.ts";
import { startTimeOf } from "./start-time.ts";

const ESRCH = -3;

/** A descriptor of a process, or undefined when it is gone. Throws {@link SysError} when there can be none. */
export function openProcess({ pid, startTime }: { pid: number; startTime: string }): number | undefined {
  const pidfd = raw.pidfdOpen(pid, 0);
  if (pidfd === ESRCH || pidfd === -22) return undefined;
  if (pidfd < 0) throw new SysError("pidfd_open", -pidfd, [pid]);
  // With the descriptor in hand the number cannot be given away between this look and the signal.
  if (startTimeOf(pid, startTime) === startTime) return pidfd;
  raw.close(pidfd);
  return undefined;
}

/** False when the process is gone. Throws {@link SysError}. */
export function signalProcess(pidfd: number, signal: number): boolean {
  const result = raw.pidfdSendSignal(pidfd, signal, null, 0);
  if (result < 0 && result !== ESRCH) throw new SysError("pidfd_send_signal", -result, [signal]);
  return result >= 0;
}
