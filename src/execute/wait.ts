/** The end of children. wait4(2). */
import { SIGNALS, WNOHANG } from "../sys/constants.ts";
import { parseWaitStatus, type WaitStatus } from "../sys/structs.ts";
import { check, EINTR, raw, SysError } from "../sys/sys.ts";

const ECHILD = 10;

/**
 * To be called before a child is made whose end counts: where the caller ignores SIGCHLD, which execve(2) keeps, nobody learns how a
 * child has ended. Who has blocked the signals (`blockSignals`) has done it.
 */
export function keepEnds(): void {
  raw.rtSigaction(SIGNALS.CHLD ?? 0, new ArrayBuffer(32), null, 8);
}

/** Waits for a child to end. Throws {@link SysError} where it is not known how it did. */
export function waitFor(pid: number): WaitStatus {
  const status = reap(pid);
  if (status === undefined) throw new SysError("wait4", ECHILD, [pid]);
  return status;
}

/** The same for whom it does not matter how, or who has reaped it: then it is undefined. */
export function reap(pid: number): WaitStatus | undefined {
  const status = new ArrayBuffer(4);
  let ended: number;
  do ended = raw.wait4(pid, status, 0, null);
  while (ended === EINTR);
  if (ended === -ECHILD) return undefined;
  check(ended, "wait4", pid);
  return parseWaitStatus(status);
}

/** Reaps all who have ended, orphans that became our children among them; how this one ended, once it has. */
export function reapUntil(pid: number): WaitStatus | undefined {
  const status = new ArrayBuffer(4);
  for (;;) {
    const ended = raw.wait4(-1, status, WNOHANG, null);
    if (ended === pid) return parseWaitStatus(status);
    if (ended === 0) return undefined;
    if (ended !== EINTR) check(ended, "wait4", -1);
  }
}

/** Reaps a child if it has ended; undefined while it runs. */
export function waitIfEnded(pid: number): WaitStatus | undefined {
  const status = new ArrayBuffer(4);
  let ended: number;
  do ended = raw.wait4(pid, status, WNOHANG, null);
  while (ended === EINTR);
  return check(ended, "wait4", pid) === pid ? parseWaitStatus(status) : undefined;
}
