/** A program of the machine in the foreground, followed call by call: no namespaces, no limits, the caller's terminal. */
import { openChannel, packError, receive, unpackError } from "../../execute/channel.ts";
import { executeCommand } from "../../execute/exec-command.ts";
import { blockSignals } from "../../execute/execute.ts";
import { askToBeWatched } from "../../execute/ptrace.ts";
import { supervise } from "../../runtime/supervise.ts";
import { openSignals } from "../../runtime/terminal.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import type { Diagnosis } from "./diagnose.ts";

/** Returns its exit code, 128 + n for a signal. Throws a ContainerError where it cannot be executed. */
export function followCommand(args: readonly string[], { watch, reap }: Pick<Diagnosis, "watch" | "reap">): number {
  blockSignals();
  const signals = openSignals();
  const [ours, theirs] = openChannel();
  const pid = check(
    raw.spawn(0, 0, theirs, ours, () => {
      try {
        askToBeWatched(theirs);
        executeCommand(args, sys.environment() as string[], theirs);
      } catch (error) {
        raw.sendMessage(theirs, JSON.stringify(packError(error)), []);
        raw.exitGroup(127);
      }
    }),
    "clone3",
  );
  try {
    for (;;) {
      watch.awaitMessage(pid, ours);
      const message = receive(ours)?.message;
      if (message === undefined) break;
      if (message.kind === "watch") {
        watch.seize(pid);
        raw.sendMessage(ours, JSON.stringify({ kind: "done" }), []);
      } else if (message.kind === "error") throw unpackError(message.error);
    }
  } catch (error) {
    raw.kill(pid, 9);
    reap(pid);
    throw error;
  } finally {
    raw.close(ours);
  }
  return supervise({ pid, terminal: undefined }, signals, undefined, reap);
}
