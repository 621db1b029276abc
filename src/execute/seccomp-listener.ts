/**
 * The parent's part in SCMP_ACT_NOTIFY: hands the listener of the init process's filter to the agent (runtime-spec,
 * config-linux.md, "The Container Process State").
 */
import { ContainerError } from "../error.ts";
import { whatIsOlder } from "../explain-failure/step.ts";
import type { HookState } from "../plan/step.ts";
import { ANNOTATION, SECCOMP_RECEIVER } from "../spec/config.ts";
import { connectStream, sendDescriptor } from "../sys/stream-socket.ts";
import { check, EAGAIN, raw, SysError, sys } from "../sys/sys.ts";
import { type Message, send } from "./channel.ts";
import { environmentValue } from "./probe.ts";
import { isDirectoryOfProc } from "./process-end.ts";

/** The container as runtime.md, "State", has it. */
export type ContainerState = HookState & { status: "creating" | "created" | "running"; pid: number };

const EPERM = -1;
const ENOSYS = -38;

/**
 * Answers `listener`: takes the descriptor and sends it, with the state, to the agent. The init process waits meanwhile,
 * and its next message is to be received as always; where the filter could not be loaded that message says so.
 *
 * Throws a {@link ContainerError} where the agent cannot be reached; the container must not run then.
 */
export function serveListener(
  channel: number,
  pid: number,
  { fd, path, metadata }: Extract<Message, { kind: "listener" }>,
  state: ContainerState,
): void {
  // Before the filter is there: an agent that is missing is told without having started anything.
  const field = fieldOf(path, state);
  const agent = orAgentError(path, field, () => connectStream(path));
  const pidfd = sys.pidfdOpen(pid, 0);
  let listener = -1;
  try {
    if (isDirectoryOfProc(pidfd)) throw tooOld("pidfd_open", pid, field);
    send(channel, { kind: "listening" });
    listener = raw.takeListener(pidfd, fd, channel);
    if (listener === EAGAIN) return;
    if (listener === EPERM) {
      throw new ContainerError("SECCOMP_LISTENER_REFUSED", "cannot take the seccomp listener from the init process", {
        field,
        hint: "SCMP_ACT_NOTIFY needs CAP_SYS_PTRACE",
        cause: new SysError("pidfd_getfd", 1, [pid, fd]),
      });
    }
    if (listener === ENOSYS) throw tooOld("pidfd_getfd", pid, field);
    check(listener, "pidfd_getfd", pid, fd);
    const message = JSON.stringify({ ociVersion: state.ociVersion, fds: ["seccompFd"], pid, metadata, state });
    orAgentError(path, field, () => sendDescriptor(agent, listener, message));
    check(raw.write(channel, "sent"), "write", "channel");
  } finally {
    raw.close(pidfd);
    raw.close(agent);
    if (listener >= 0) raw.close(listener);
  }
}

/** Which of the three named the agent. */
function fieldOf(path: string, { annotations }: ContainerState): string {
  if (annotations?.[ANNOTATION.seccompReceiver] === path) return `annotations["${ANNOTATION.seccompReceiver}"]`;
  return environmentValue(SECCOMP_RECEIVER) === path ? SECCOMP_RECEIVER : "linux.seccomp.listenerPath";
}

function tooOld(syscall: string, pid: number, field: string): ContainerError {
  const cause = new SysError(syscall, -ENOSYS, [pid]);
  return new ContainerError("SECCOMP_LISTENER_REFUSED", "cannot take the seccomp listener from the init process", {
    field,
    hint: whatIsOlder(cause) ?? "",
    cause,
  });
}

function orAgentError<T>(path: string, field: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if (!(cause instanceof SysError)) throw cause;
    throw new ContainerError("SECCOMP_AGENT_UNREACHABLE", `failed to connect with seccomp agent at ${path}`, {
      field,
      hint: "the agent must listen on this socket (AF_UNIX, SOCK_STREAM) before the container starts",
      cause,
    });
  }
}
