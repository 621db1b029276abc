/** The caller's side of a command in the foreground: its terminal, the signals, its end. */

import type { Started } from "../execute/execute.ts";
import { ENDING_SIGNALS } from "../execute/give-up.ts";
import { reapUntil } from "../execute/wait.ts";
import type { Ended } from "../explain-failure/end.ts";
import { POLLIN, SIGNALS } from "../sys/constants.ts";
import { exitCodeOf, packPollfds, parsePollfds, type WaitStatus } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";
import { type Aside, copyWindowSize, drain, makeRaw, openRelay, readSignals, relay } from "./terminal.ts";

/** To be told of an end by a signal, before anybody else knows of it. */
export type OnSignal = (ended: Ended) => void;

/** Reaps what SIGCHLD told of; how the process ended, once it has. */
export type Reap = (pid: number) => WaitStatus | undefined;

/**
 * Until the process ends: bytes to and from its terminal, signals to it. Returns its exit code, 128 + n for a signal.
 * `reap`: of who follows the command (ptrace.ts): it is stopped, and goes on with the first call. `aside`: heard beside all that.
 */
export function supervise(
  { pid, terminal }: Started,
  signals: number,
  onSignal: OnSignal = () => {},
  reap: Reap = reapUntil,
  aside?: Aside,
): number {
  const passing: Passing = { pid, reap, ...(terminal === undefined ? {} : { terminal }) };
  const ended = terminal === undefined ? watch(passing, signals, aside) : serve(passing, terminal, signals, aside);
  const code = exitCodeOf(ended.status) ?? 0;
  // What a shell makes of a signal that ended one of its own counts too.
  if (code > 128) onSignal(ended);
  return code;
}

function watch(passing: Passing, signals: number, aside: Aside | undefined): Ended {
  let ended = goOn(passing);
  if (ended === undefined && aside !== undefined) ended = watchBoth(passing, signals, aside);
  while (ended === undefined) ended = handleSignals(readSignals(signals), passing);
  return ended;
}

/** Until it has ended, or nothing more is to be heard aside. */
function watchBoth(passing: Passing, signals: number, aside: Aside): Ended | undefined {
  for (;;) {
    const polled = packPollfds([{ fd: signals, events: POLLIN }, aside]);
    raw.ppoll(polled, 2, null, null, 8);
    const [signal, other] = parsePollfds(polled);
    if (other !== 0 && aside.isDone()) return undefined;
    const ended = signal === 0 ? undefined : handleSignals(readSignals(signals), passing);
    if (ended !== undefined) return ended;
  }
}

function serve(passing: Passing, terminal: number, signals: number, aside: Aside | undefined): Ended {
  copyWindowSize(terminal);
  const restore = makeRaw(0);
  const state = openRelay(terminal, signals, aside);
  try {
    let ended = goOn(passing);
    while (ended === undefined) {
      const events = relay(state).filter((event) => event !== "hangup");
      ended = handleSignals(events, passing);
    }
    drain(state, isTold(passing) ? PATIENCE_MS : undefined);
    return ended;
  } finally {
    restore();
    raw.close(terminal);
  }
}

const PATIENCE_MS = 1000;

/** To end: whoever sent that waits for us too. */
const isTold = ({ relayed }: Passing): boolean => relayed !== undefined && ENDING_SIGNALS.includes(relayed.signal);

interface Passing {
  pid: number;
  reap: Reap;
  terminal?: number;
  /** The last signal that was passed on. */
  relayed?: NonNullable<Ended["relayed"]>;
}

/** Who is followed is stopped, and goes on here; by the time that all its stops are handled it may have ended. */
const goOn = (passing: Passing): Ended | undefined => (passing.reap === reapUntil ? undefined : ifEnded(passing));

function ifEnded({ pid, reap, relayed }: Passing): Ended | undefined {
  const status = reap(pid);
  return status === undefined || exitCodeOf(status) === undefined ? undefined : { pid, status, relayed };
}

/** Passes signals on; the end when SIGCHLD was the init process's. */
function handleSignals(events: readonly { signal: number; pid: number }[], passing: Passing): Ended | undefined {
  const { pid, terminal } = passing;
  for (const { signal, pid: sender } of events) {
    if (signal === SIGNALS.CHLD) {
      const ended = ifEnded(passing);
      if (ended !== undefined) return ended;
    } else if (signal === SIGNALS.WINCH && terminal !== undefined) copyWindowSize(terminal);
    else {
      passing.relayed = { signal, pid: sender };
      raw.kill(pid, signal);
    }
  }
  return undefined;
}
