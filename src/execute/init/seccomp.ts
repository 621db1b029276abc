/** The init process's step that loads the seccomp filter. */
import { ContainerError } from "../../error.ts";
import { NEW_LISTENER } from "../../plan/seccomp/compile.ts";
import { F_DUPFD_CLOEXEC } from "../../sys/constants.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { receive, send } from "../channel.ts";
import { EINVAL, type Performers, type StepArguments } from "./context.ts";

export const seccompSteps: Performers<"seccomp"> = {
  seccomp(step, context) {
    const { channel } = context;
    const program = step.program.slice().buffer as ArrayBuffer;
    if (step.flags & NEW_LISTENER) {
      loadWithListener(step, program, channel);
      context.filter = step;
      return;
    }
    const result = raw.seccompLoad(step.flags, program);
    if (result >= 0) context.filter = step;
    // A kernel that does not know one of the flags; runs without them, as crun does. What a filter forbids stays forbidden.
    if (result !== EINVAL || step.flags === 0) check(result, "seccomp", "SECCOMP_SET_MODE_FILTER", step.flags);
    else {
      sys.seccompLoad(0, program);
      context.filter = step;
      send(channel, {
        kind: "warning",
        text: "this kernel does not know all flags of the seccomp filter: loaded without",
      });
    }
  },
};

/**
 * Once the filter is loaded, any call of this process may wait for the agent, the one included that would tell the
 * parent of the listener. So the parent knows its number before, and takes it by itself (pidfd_getfd). The number is
 * the lowest free one.
 */
function loadWithListener({ flags, listener }: StepArguments<"seccomp">, program: ArrayBuffer, channel: number): void {
  if (listener === undefined) throw new Error("a seccomp step with NOTIFY and without a listener");
  const fd = sys.fcntl(channel, F_DUPFD_CLOEXEC, 0);
  raw.close(fd);
  send(channel, { kind: "listener", fd, path: listener.path, metadata: listener.metadata });
  if (receive(channel)?.message.kind !== "listening") {
    throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
  }
  const loaded = raw.seccompLoadListener(flags, program, channel);
  check(loaded, "seccomp", "SECCOMP_SET_MODE_FILTER", flags);
  raw.close(loaded);
}
