/**
 * NOTIFY_SOCKET: a container says when it is ready, and who has started the runtime, mostly systemd, gets to know. sd_notify(3), runc
 * and crun. That alone is passed on: with words of its own (`MAINPID=`, `FDSTORE=1`) a container would speak for the whole unit.
 */
import { openChannel } from "../execute/channel.ts";
import { environmentValue } from "../execute/probe.ts";
import { isDirectoryOfProc, stillRuns } from "../execute/process-end.ts";
import type { Config } from "../spec/config.ts";
import { AF_UNIX, AT_FDCWD, POLLIN, POLLOUT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from "../sys/constants.ts";
import { packPollfds, packTimespec, parsePollfds } from "../sys/structs.ts";
import { check, EAGAIN, raw, SysError, sys } from "../sys/sys.ts";
import { connectUnix, withUnixAddress } from "../sys/unix-address.ts";
import { type Container, inRecord, NOTIFY, NOTIFY_NAME } from "./container.ts";
import { openProcess } from "./signal.ts";
import type { Aside } from "./terminal.ts";

/** Where the container sees the directory of its socket; as under runc. */
const INSIDE = "/run/notify";

/** The socket of whoever wants to know. */
const listener = (): string | undefined => environmentValue("NOTIFY_SOCKET") || undefined;

/** Gives the container a directory for its socket, and says where. False, and nothing done, where nobody wants to know. Throws RECORD_FAILED. */
export function offerNotify(config: Config, state: string): boolean {
  if (listener() === undefined) return false;
  inRecord(state, () => {
    sys.mkdirat(AT_FDCWD, `${state}/${NOTIFY}`, 0o755);
    // Whatever the umask: the container's root may be another user.
    sys.fchmodat(AT_FDCWD, `${state}/${NOTIFY}`, 0o755);
  });
  mountNotify(config, state);
  const env = (config.process.env ?? []).filter((variable) => !variable.startsWith("NOTIFY_SOCKET="));
  config.process.env = [...env, `NOTIFY_SOCKET=${INSIDE}/${NOTIFY_NAME}`];
  return true;
}

export function mountNotify(config: Config, state: string): void {
  const options = ["bind", "nosuid", "noexec", "nodev", "ro"];
  const mount = { destination: INSIDE, type: "bind", source: `${state}/${NOTIFY}`, options };
  config.mounts = [...(config.mounts ?? []), mount];
}

/** Before the command runs: the socket, where the container was made with a place for it and somebody wants to know. Throws RECORD_FAILED. */
export function openNotify(state: string): number | undefined {
  if (listener() === undefined || raw.faccessat(AT_FDCWD, `${state}/${NOTIFY}`, 0) < 0) return undefined;
  return inRecord(state, () => bindNotify(state));
}

function bindNotify(state: string): number {
  const path = `${state}/${NOTIFY}/${NOTIFY_NAME}`;
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // Of a `start` that failed.
  raw.unlinkat(AT_FDCWD, path, 0);
  // For every user of the container, from the start: what has its name later may be a link that a privileged container made.
  const mask = sys.umask(0);
  try {
    withUnixAddress(path, (address) => sys.bind(socket, address));
  } finally {
    sys.umask(mask);
  }
  return socket;
}

const MESSAGE_BYTES = 4096;
/** A container that says more than this at once is heard again later: signals to us come in between. */
const AT_ONCE = 64;

function saysReady(socket: number): boolean {
  const message = new ArrayBuffer(MESSAGE_BYTES);
  for (let i = 0; i < AT_ONCE; i++) {
    const length = raw.read(socket, message);
    if (length < 0) return false;
    if ((raw.decodeText(message, 0, length) as string).split("\n").includes("READY=1")) return true;
  }
  return false;
}

/** For the foreground: beside signals and terminal, until whoever wants to know has been told. We are the unit's main process then. */
export function notifyAside(socket: number, warn: Warn): Aside {
  const aside: Aside = {
    fd: socket,
    events: POLLIN,
    isDone() {
      if (!saysReady(socket)) return false;
      raw.close(socket);
      const listening = orWarning(warn, connectListener);
      if (listening === undefined) return true;
      // At once, for the container may have ended; else as soon as he takes it, who may have much to read.
      Object.assign(aside, { fd: listening, events: POLLOUT, isDone: () => isTold(listening, warn) });
      return aside.isDone();
    },
  };
  return aside;
}

function isTold(listening: number, warn: Warn): boolean {
  const text = readyText(raw.getpid());
  const sent = raw.sendMessage(listening, text, []);
  if (sent === EAGAIN) return false;
  orWarning(warn, () => check(sent, "sendmsg", listening, text));
  raw.close(listening);
  return true;
}

/** In the background: returns when the container is ready, or has ended; its process is the unit's main process from then on. */
export function awaitReady(socket: number, { init }: Container, warn: Warn): void {
  if (init === undefined) return;
  const process = openProcess(init);
  for (;;) {
    // Before what it says: it may have said so and ended.
    const isOver = process === undefined || !untilHeard(socket, process);
    if (saysReady(socket)) return tellReady(init.pid, warn);
    if (isOver) return;
  }
}

/** Sleeps until there is something to read; false when the process has ended. */
function untilHeard(socket: number, process: number): boolean {
  const asks = isDirectoryOfProc(process);
  const polled = packPollfds([
    { fd: socket, events: POLLIN },
    { fd: asks ? -1 : process, events: POLLIN },
  ]);
  raw.ppoll(polled, 2, asks ? packTimespec(PAUSE_MS) : null, null, 8);
  return asks ? stillRuns(process) : parsePollfds(polled)[1] === 0;
}

const PAUSE_MS = 100;

/** Returns when it has been heard, after 30 s at the latest: systemd looks up who wrote, and believes nobody who is gone. sd_notify_barrier(3) */
function tellReady(mainPid: number, warn: Warn): void {
  orWarning(warn, () => {
    const socket = connectListener();
    try {
      raw.ppoll(packPollfds([{ fd: socket, events: POLLOUT }]), 1, packTimespec(QUEUE_MS), null, 8);
      sys.sendMessage(socket, readyText(mainPid), []);
      awaitHeard(socket);
    } finally {
      raw.close(socket);
    }
  });
}

const readyText = (mainPid: number): string => `READY=1\nMAINPID=${mainPid}`;

function connectListener(): number {
  const path = listener() ?? "";
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const connected = connectUnix(socket, path.replace(/^@/, "\0"));
  if (connected < 0) raw.close(socket);
  check(connected, "connect", path);
  return socket;
}

type Warn = (text: string) => void;

function orWarning<T>(warn: Warn, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    warn(`the container is ready, but NOTIFY_SOCKET does not take that: ${listener()}: ${error.message}`);
    return undefined;
  }
}

/** Whoever listens may have much to read. */
const QUEUE_MS = 5000;
const BARRIER_MS = 30_000;

/** Whoever reads the message closes the descriptor that comes with it. */
function awaitHeard(socket: number): void {
  const [heard, held] = openChannel();
  try {
    sys.sendMessage(socket, "BARRIER=1", [held]);
  } finally {
    raw.close(held);
  }
  raw.ppoll(packPollfds([{ fd: heard, events: POLLIN }]), 1, packTimespec(BARRIER_MS), null, 8);
  raw.close(heard);
}
