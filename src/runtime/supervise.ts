/** The caller's side of a command in the foreground: its terminal, the signals, its end. */

import type { Started } from "../execute/execute.ts";
import { waitIfEnded } from "../execute/wait.ts";
import type { Ended } from "../explain-failure/end.ts";
import { SIGNALS } from "../sys/constants.ts";
import { exitCodeOf } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";
import { copyWindowSize, drain, makeRaw, readSignals, relay } from "./terminal.ts";

/** To be told of an end by a signal, before anybody else knows of it. */
export type OnSignal = (ended: Ended) => void;

/** Until the process ends: bytes to and from its terminal, signals to it. Returns its exit code, 128 + n for a signal. */
export function supervise(started: Started, signals: number, onSignal: OnSignal = () => {}): number {
  const ended =
    started.terminal === undefined ? watch(started.pid, signals) : serve(started.pid, started.terminal, signals);
  const code = exitCodeOf(ended.status) ?? 0;
  // What a shell makes of a signal that ended one of its own counts too.
  if (code > 128) onSignal(ended);
  return code;
}

function watch(pid: number, signals: number): Ended {
  const passing: Passing = { pid };
  for (;;) {
    const ended = handleSignals(readSignals(signals), passing);
    if (ended !== undefined) return ended;
  }
}

function serve(pid: number, terminal: number, signals: number): Ended {
  copyWindowSize(terminal);
  const restore = makeRaw(0);
  const state = { terminal, signals, stdinOpen: true, terminalOpen: true };
  const passing: Passing = { pid, terminal };
  try {
    for (;;) {
      const events = relay(state).filter((event) => event !== "hangup");
      const ended = handleSignals(events, passing);
      if (ended === undefined) continue;
      drain(terminal);
      return ended;
    }
  } finally {
    restore();
    raw.close(terminal);
  }
}

interface Passing {
  pid: number;
  terminal?: number;
  /** The last signal that was passed on. */
  relayed?: NonNullable<Ended["relayed"]>;
}

/** Passes signals on; the end when SIGCHLD was the init process's. */
function handleSignals(events: readonly { signal: number; pid: number }[], passing: Passing): Ended | undefined {
  const { pid, terminal } = passing;
  for (const { signal, pid: sender } of events) {
    if (signal === SIGNALS.CHLD) {
      const status = waitIfEnded(pid);
      if (status !== undefined && exitCodeOf(status) !== undefined) return { pid, status, relayed: passing.relayed };
    } else if (signal === SIGNALS.WINCH && terminal !== undefined) copyWindowSize(terminal);
    else {
      passing.relayed = { signal, pid: sender };
      raw.kill(pid, signal);
    }
  }
  return undefined;
}
