/** The caller's side of a command in the foreground: its terminal, the signals, its end. */
import type { Started } from "../execute/execute.ts";
import { waitIfEnded } from "../execute/wait.ts";
import { SIGNALS } from "../sys/constants.ts";
import { exitCodeOf } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";
import { copyWindowSize, drain, makeRaw, readSignals, relay } from "./terminal.ts";

/** Until the process ends: bytes to and from its terminal, signals to it. Returns its exit code, 128 + n for a signal. */
export function supervise({ pid, terminal }: Started, signals: number): number {
  if (terminal === undefined) {
    for (;;) {
      const code = handleSignals(readSignals(signals), pid, undefined);
      if (code !== undefined) return code;
    }
  }
  copyWindowSize(terminal);
  const restore = makeRaw(0);
  const state = { terminal, signals, stdinOpen: true, terminalOpen: true };
  try {
    for (;;) {
      const events = relay(state).filter((event) => event !== "hangup");
      const code = handleSignals(events, pid, terminal);
      if (code === undefined) continue;
      drain(terminal);
      return code;
    }
  } finally {
    restore();
    raw.close(terminal);
  }
}

/** Passes signals on; the exit code when SIGCHLD was the init process's. */
function handleSignals(
  events: readonly { signal: number }[],
  pid: number,
  terminal: number | undefined,
): number | undefined {
  for (const { signal } of events) {
    if (signal === SIGNALS.CHLD) {
      const status = waitIfEnded(pid);
      const code = status === undefined ? undefined : exitCodeOf(status);
      if (code !== undefined) return code;
    } else if (signal === SIGNALS.WINCH && terminal !== undefined) copyWindowSize(terminal);
    else raw.kill(pid, signal);
  }
  return undefined;
}
