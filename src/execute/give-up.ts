/**
 * The end of a set-up that does not come to its end. Who joins a container is in reach of what runs there before it is the command:
 * it can be stopped by a signal or frozen with a control group, for as long as somebody there likes. So the caller's signals end
 * it, and it dies wherever it was put.
 */
import { ContainerError } from "../error.ts";
import { describeStep } from "../explain/describe.ts";
import type { Step } from "../plan/step.ts";
import { AT_FDCWD, O_CLOEXEC, O_WRONLY, POLLIN, SIGNALS } from "../sys/constants.ts";
import { sleepMs } from "../sys/sleep.ts";
import {
  packPollfds,
  packSigset,
  packTimespec,
  parsePollfds,
  parseSignals,
  SIGNALFD_SIGINFO_SIZE,
  type WaitStatus,
} from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { freezerGroup } from "./freezer.ts";
import { isDirectoryOfProc } from "./process-end.ts";
import { reap, waitIfEnded } from "./wait.ts";

export interface GivesUp {
  /** A signalfd of what ends the set-up. */
  signals: number;
  /** The groups of the container that the process is put into. */
  cgroups: readonly { controller: string; path: string }[];
  /** For work in a container that runs: the process that it ends with, as a pidfd. */
  container?: number;
}

const { HUP = 1, INT = 2, QUIT = 3, TERM = 15 } = SIGNALS;
/** What ends a process that does nothing about it, and is sent to end it. */
export const ENDING_SIGNALS: readonly number[] = [HUP, INT, QUIT, TERM];

/** Sleeps until there is something to receive. Throws JOIN_INTERRUPTED when a signal comes first. */
export function awaitUnlessEnded(channel: number, { signals, container }: GivesUp): void {
  if (container !== undefined) return awaitWork(channel, signals, container);
  if (sys.awaitReadable(channel, signals) !== ONLY_SIGNALS) return;
  throw interrupted(signals, "before the command ran", HELD);
}

/**
 * The same for work in a running container, which is all or nothing and takes milliseconds: it is cut short only where it is held.
 * With the container, who it has stopped does not end. Throws also CONTAINER_NOT_RUNNING.
 */
function awaitWork(channel: number, signals: number, container: number): void {
  const others = isDirectoryOfProc(container) ? [signals] : [signals, container];
  const [isReady] = readable([channel, ...others]);
  if (isReady || readable([channel], HELD_MS)[0]) return;
  const left = "what was mounted until then stays until the container ends";
  if (readable([signals], 0)[0]) throw interrupted(signals, "before the mounts were changed", `${HELD}; ${left}`);
  throw new ContainerError("CONTAINER_NOT_RUNNING", "the container ended before its mounts were changed");
}

const HELD =
  "what runs in the container can hold a process that joins it, by SIGSTOP or by the freezer of its control group";
const HELD_MS = 1000;
const ONLY_SIGNALS = 2;

/** Which of them can be read, once one can. */
function readable(fds: readonly number[], ms?: number): boolean[] {
  const polled = packPollfds(fds.map((fd) => ({ fd, events: POLLIN })));
  sys.ppoll(polled, fds.length, ms === undefined ? null : packTimespec(ms), null, 8);
  return parsePollfds(polled).map((events) => events !== 0);
}

/**
 * A signalfd of what ends the set-up, if there is such a signal: where the child shares our memory it is the host that looks, and kills
 * the child (host/native.h).
 */
export function pendingSignals(): number | undefined {
  const signals = raw.signalfd4(-1, packSigset(ENDING_SIGNALS), 8, O_CLOEXEC);
  if (signals >= 0 && readable([signals], 0)[0]) return signals;
  raw.close(signals);
  return undefined;
}

/** `step`: what took so long. */
export function setUpInterrupted(signals: number, step: Step | undefined): ContainerError {
  const { message } = interrupted(signals, "before the command ran", "");
  return new ContainerError("SETUP_INTERRUPTED", message, {
    ...(step?.field === undefined ? {} : { field: step.field }),
    ...(step?.op === "runHooks"
      ? {}
      : { hint: "where a mount takes so long: does its filesystem answer (FUSE, NFS)?" }),
    evidence: step && `the init process was to ${describeStep(step)}`,
  });
}

/**
 * For what we ourselves may hang in: meanwhile a signal that ends a set-up ends us, as it ends anybody. What there is by then is on
 * record, and the next command removes it.
 */
export function whileMortal<T>(act: () => T): T {
  const [SIG_BLOCK, SIG_UNBLOCK] = [0, 1];
  const ending = packSigset(ENDING_SIGNALS);
  raw.rtSigprocmask(SIG_UNBLOCK, ending, null, 8);
  try {
    return act();
  } finally {
    raw.rtSigprocmask(SIG_BLOCK, ending, null, 8);
  }
}

function interrupted(signals: number, before: string, hint: string): ContainerError {
  return new ContainerError("JOIN_INTERRUPTED", `ended by ${takeSignal(signals)} ${before}`, { hint });
}

/** The name of the signal that has come; it is not pending any more. */
export function takeSignal(signals: number): string {
  const record = new ArrayBuffer(SIGNALFD_SIGINFO_SIZE);
  const [{ signal = TERM } = {}] = parseSignals(record, sys.read(signals, record));
  return `SIG${Object.keys(SIGNALS).find((each) => SIGNALS[each] === signal) ?? signal}`;
}

const SIGKILL = 9;
const PAUSE_MS = 2;
/** So long it may take by itself. */
const FIRST_MS = 20;
const PATIENCE_MS = 5000;

/**
 * Kills the init process, a child of ours, and reaps it. One that joined a container is not waited for without end: a frozen one of
 * v1 dies only when it is thawed, a traced one is its tracer's until he lets go. Undefined where it is still there, or reaped already.
 */
export function endInit(pid: number, givesUp: GivesUp | undefined): WaitStatus | undefined {
  raw.kill(pid, SIGKILL);
  if (givesUp === undefined) return reap(pid);
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
