/**
 * The end of a set-up that does not come to its end. Who joins a container is in reach of what runs there before it is the command:
 * it can be stopped by a signal or frozen with a control group, for as long as somebody there likes. So the caller's signals end
 * it, and it dies wherever it was put.
 */
import { ContainerError } from "../error.ts";
import { AT_FDCWD, O_CLOEXEC, O_WRONLY, SIGNALS } from "../sys/constants.ts";
import { sleepMs } from "../sys/sleep.ts";
import { parseSignals, SIGNALFD_SIGINFO_SIZE, type WaitStatus } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { freezerGroup } from "./freezer.ts";
import { waitFor, waitIfEnded } from "./wait.ts";

export interface GivesUp {
  /** A signalfd of what ends the set-up. */
  signals: number;
  /** The container's own groups. */
  cgroups: readonly { controller: string; path: string }[];
}

const { HUP = 1, INT = 2, QUIT = 3, TERM = 15 } = SIGNALS;
/** What ends a process that does nothing about it, and is sent to end it. */
export const ENDING_SIGNALS: readonly number[] = [HUP, INT, QUIT, TERM];

/** Sleeps until there is something to receive. Throws JOIN_INTERRUPTED when a signal comes first. */
export function awaitUnlessEnded(channel: number, { signals }: GivesUp): void {
  if (sys.awaitReadable(channel, signals) !== ONLY_SIGNALS) return;
  const record = new ArrayBuffer(SIGNALFD_SIGINFO_SIZE);
  const [{ signal = TERM } = {}] = parseSignals(record, sys.read(signals, record));
  const name = Object.keys(SIGNALS).find((each) => SIGNALS[each] === signal) ?? signal;
  throw new ContainerError("JOIN_INTERRUPTED", `ended by SIG${name} before the command ran`, {
    hint: "what runs in the container can hold a process that joins it, by SIGSTOP or by the freezer of its control group",
  });
}

const ONLY_SIGNALS = 2;
const SIGKILL = 9;
const PAUSE_MS = 2;
/** So long it may take by itself. */
const FIRST_MS = 20;
const PATIENCE_MS = 5000;

/**
 * Kills the init process, a child of ours, and reaps it. One that joined a container is not waited for without end: a frozen one of
 * v1 dies only when it is thawed, a traced one is its tracer's until he lets go. Undefined where it is still there.
 */
export function endInit(pid: number, givesUp: GivesUp | undefined): WaitStatus | undefined {
  raw.kill(pid, SIGKILL);
  if (givesUp === undefined) return waitFor(pid);
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += PAUSE_MS) {
    const status = waitIfEnded(pid);
    if (status !== undefined) return status;
    if (waitedMs >= FIRST_MS) takeOut(pid, givesUp);
    sleepMs(PAUSE_MS);
  }
  return undefined;
}

/** To the group above the container's, which is not frozen, and which nobody in it can take anybody from in time. */
function takeOut(pid: number, { cgroups }: GivesUp): void {
  const freezer = freezerGroup(cgroups);
  if (freezer?.version !== 1) return;
  const above = freezer.path.slice(0, freezer.path.lastIndexOf("/"));
  const fd = raw.openat(AT_FDCWD, `${above}/cgroup.procs`, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return; // it dies when somebody thaws it
  raw.write(fd, String(pid));
  raw.close(fd);
}
