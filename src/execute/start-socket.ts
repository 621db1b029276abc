/**
 * The socket that a created container waits on: SOCK_DGRAM, bound in its state directory. One message with one descriptor,
 * the socket for the answers, starts it. unix(7).
 */
import { ContainerError } from "../error.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "../sys/constants.ts";
import { SIGNALFD_SIGINFO_SIZE } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { withUnixAddress } from "../sys/unix-address.ts";
import { openChannel, receive, send, unpackError } from "./channel.ts";
import { sendNull } from "./null-device.ts";
import { type ContainerState, serveListener } from "./seccomp-listener.ts";

/** A socket bound at a path, which only the owner can reach. */
export function listenAt(path: string): number {
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  // Before bind: whoever may write to it can start the container, whatever the caller's umask is.
  sys.fchmod(socket, 0o600);
  withUnixAddress(path, (address) => sys.bind(socket, address));
  return socket;
}

/** Signals that end a process which does nothing about them. signal(7) */
const ENDING = 0xffff_ffff_f780_ffffn;

/**
 * In the init process: waits for `start`. The result is the socket for the answers. A signal that would end any other
 * process ends this one too: it would have no effect on process 1 of a PID namespace. pid_namespaces(7)
 */
export function awaitStart(socket: number): number {
  const signals = sys.signalfd4(-1, new BigUint64Array([ENDING]).buffer as ArrayBuffer, 8, SFD_CLOEXEC);
  for (;;) {
    if (sys.awaitReadable(socket, signals) & 2) endBySignal(signals);
    const got = receiveStart(socket);
    const [answers] = got?.fds ?? [];
    if (got?.message.kind === "start" && answers !== undefined) {
      raw.close(signals);
      return answers;
    }
    for (const fd of got?.fds ?? []) raw.close(fd);
  }
}

/** Undefined for what is no message: the one that starts us is still to come. */
function receiveStart(socket: number): ReturnType<typeof receive> {
  try {
    return receive(socket);
  } catch (error) {
    if (error instanceof ContainerError && error.code === "MESSAGE_BROKEN") return undefined;
    throw error;
  }
}

const SFD_CLOEXEC = 0o2000000;

/** With the exit code that a shell knows for it: process 1 cannot die of a signal of its own. */
function endBySignal(signals: number): void {
  const record = new ArrayBuffer(SIGNALFD_SIGINFO_SIZE);
  sys.read(signals, record);
  raw.exitGroup(128 + new DataView(record).getUint32(0, true));
}

/**
 * Lets the container behind a start socket go on. Returns the socket for its answers. Throws CONTAINER_NOT_CREATED when
 * nobody waits there any more; whatever is thrown, the container waits as before.
 */
export function sendStart(path: string): number {
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const connected = withUnixAddress(path, (address) => raw.connect(socket, address));
  if (connected === ECONNREFUSED || connected === ENOENT) throw notWaiting();
  check(connected, "connect", path);
  const [ours, theirs] = openChannel();
  try {
    send(socket, { kind: "start" }, [theirs]);
  } catch (error) {
    // It has died since.
    throw error instanceof SysError && error.code === "ECONNREFUSED" ? notWaiting() : error;
  }
  raw.close(theirs);
  raw.close(socket);
  return ours;
}

/** Returns when the command runs. Throws what its set-up threw. `state` is for the agent of a seccomp profile. */
export function awaitCommand(ours: number, state: () => ContainerState, warn: (text: string) => void): void {
  let executing = false;
  for (;;) {
    const got = receive(ours);
    if (got === undefined) {
      if (executing) return;
      throw new ContainerError("INIT_DIED", "the container's init process died before its command ran");
    }
    const { message } = got;
    if (message.kind === "error") throw unpackError(message.error);
    if (message.kind === "warning") warn(message.text);
    if (message.kind === "null") sendNull(ours);
    if (message.kind === "listener") {
      const container = state();
      serveListener(ours, container.pid, message, container);
    }
    executing = message.kind === "exec";
  }
}

/** Whether a container waits behind a start socket: the socket outlives whoever listened to it. */
export function isAwaited(path: string): boolean {
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    const connected = withUnixAddress(path, (address) => raw.connect(socket, address));
    if (connected === ECONNREFUSED || connected === ENOENT) return false; // deleted meanwhile
    check(connected, "connect", path);
    return true;
  } catch (error) {
    if (error instanceof SysError && error.code === "ENOENT") return false; // deleted meanwhile
    throw error;
  } finally {
    raw.close(socket);
  }
}

const [ENOENT, ECONNREFUSED] = [-2, -111];

const notWaiting = (): ContainerError =>
  new ContainerError("CONTAINER_NOT_CREATED", "the container does not wait to be started", {
    hint: "only a container in the state `created` can be started",
  });
