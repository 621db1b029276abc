/** The end of children. wait4(2). */
import { WNOHANG } from "../sys/constants.ts";
import { parseWaitStatus, type WaitStatus } from "../sys/structs.ts";
import { check, raw } from "../sys/sys.ts";

const EINTR = -4;

/** Waits for a child to end. */
export function waitFor(pid: number): WaitStatus {
  const status = new ArrayBuffer(4);
  while (raw.wait4(pid, status, 0, null) === EINTR) {}
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
