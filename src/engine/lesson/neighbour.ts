/** Processes that lessons need beside their container: one to join, and one that stands for the machine. */
import { openChannel, packError, receive, send, unpackError } from "../../execute/channel.ts";
import { blockSignals } from "../../execute/execute.ts";
import { reap } from "../../execute/wait.ts";
import { supervise } from "../../runtime/supervise.ts";
import { openSignals } from "../../runtime/terminal.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNS,
  CLONE_NEWUTS,
  MS_PRIVATE,
  MS_REC,
  MS_SHARED,
  PR_SET_PDEATHSIG,
  SIGNALS,
} from "../../sys/constants.ts";
import { check, raw, sys } from "../../sys/sys.ts";

/** While `act` runs there is a process in a UTS namespace of its own, in which the host name is `neighbour`. */
export function withNeighbour<T>(act: (pid: number) => T): T {
  const [ours, theirs] = openChannel();
  const pid = spawnChild(CLONE_NEWUTS, theirs, ours, () => {
    sys.sethostname("neighbour");
    send(theirs, { kind: "done" });
    receive(theirs); // until our end is closed
  });
  try {
    receive(ours);
    return act(pid);
  } finally {
    raw.close(ours);
    reap(pid);
  }
}

/**
 * Does `act` in a process with a copy of the machine's mounts, which are shared as those of most machines are, its names and none of
 * its message queues: what `act` does to them ends with it. Signals are passed on. Returns what `act` returns.
 */
export function onStandIn(act: () => number): number {
  blockSignals();
  const signals = openSignals();
  const [ours, theirs] = openChannel();
  const pid = spawnChild(CLONE_NEWNS + CLONE_NEWUTS + CLONE_NEWIPC, theirs, ours, () => {
    send(theirs, { kind: "done" });
    try {
      sys.mount(null, "/", null, MS_REC | MS_PRIVATE, null);
      sys.mount(null, "/", null, MS_REC | MS_SHARED, null);
      raw.exitGroup(act());
    } catch (error) {
      raw.sendMessage(theirs, JSON.stringify(packError(error)), []);
      raw.exitGroup(1);
    }
  });
  const code = supervise({ pid, terminal: undefined }, signals);
  raw.close(signals);
  receive(ours);
  const failure = receive(ours)?.message;
  raw.close(ours);
  if (failure?.kind === "error") throw unpackError(failure.error);
  return code;
}

function spawnChild(flags: number, childEnd: number, parentEnd: number, act: () => void): number {
  return check(
    raw.spawn(flags, 0, childEnd, parentEnd, () => {
      raw.close(parentEnd);
      raw.prctl(PR_SET_PDEATHSIG, SIGNALS.KILL ?? 9, 0, 0, 0);
      act();
      raw.exitGroup(0);
    }),
    "clone3",
  );
}
