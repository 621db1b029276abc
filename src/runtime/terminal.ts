/**
 * The caller's terminal in front of a container's pty: raw mode while the container runs, bytes both ways, the window
 * size handed on. Without a terminal on stdin the bytes still go both ways.
 */
import { ENDING_SIGNALS } from "../execute/give-up.ts";
import {
  AT_FDCWD,
  F_GETFL,
  F_SETFL,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDWR,
  O_WRONLY,
  POLLIN,
  POLLOUT,
  TCGETS,
  TCSETS,
  TIOCGPTN,
  TIOCGWINSZ,
  TIOCSWINSZ,
} from "../sys/constants.ts";
import {
  packPollfds,
  packSigset,
  packTimespec,
  parsePollfds,
  parseSignals,
  rawTermios,
  SIGNALFD_SIGINFO_SIZE,
  TERMIOS_SIZE,
} from "../sys/structs.ts";
import { check, EAGAIN, EINTR, raw, SysError, sys } from "../sys/sys.ts";

const WINSIZE_SIZE = 8;
const EOT = 4;

const isTerminal = (fd: number): boolean => raw.ioctl(fd, TCGETS, new ArrayBuffer(TERMIOS_SIZE)) >= 0;

/**
 * Whether the container's newlines go out as its terminal made them, "\r\n": to a terminal that we make raw, which is stdin's.
 * Into a file, and to a terminal that adds the "\r" itself, they go plain.
 */
export const needsPlainNewlines = (): boolean => !isTerminal(0) || !isTerminal(1);

/** Puts a terminal into raw mode; the result puts it back. Nothing to do, and nothing done, when it is no terminal. */
export function makeRaw(fd: number): () => void {
  const before = new ArrayBuffer(TERMIOS_SIZE);
  if (raw.ioctl(fd, TCGETS, before) < 0) return () => {};
  sys.ioctl(fd, TCSETS, rawTermios(before));
  return () => {
    raw.ioctl(fd, TCSETS, before);
  };
}

/** Gives the pty the size of the first of our own descriptors that is a terminal. */
export function copyWindowSize(terminal: number): void {
  const size = new ArrayBuffer(WINSIZE_SIZE);
  for (const fd of [0, 1, 2]) {
    if (raw.ioctl(fd, TIOCGWINSZ, size) < 0) continue;
    raw.ioctl(terminal, TIOCSWINSZ, size);
    return;
  }
}

/** What {@link relay} reports: a signal that came, or that the container's side of the pty is closed for good. */
export type RelayEvent = { signal: number; pid: number } | "hangup";

/** Something else to hear. */
export interface Aside {
  fd: number;
  /** POLLIN, or POLLOUT to have something to say. */
  events: number;
  /** Does what can be done without waiting; whether that was all, and the descriptor is closed. */
  isDone: () => boolean;
}

export interface Relay {
  terminal: number;
  signals: number;
  /** Standard output, or what stands for it. */
  stdout: number;
  stdinOpen: boolean;
  terminalOpen: boolean;
  /** What stdin gave and the terminal has not taken yet: a command need not read. */
  input: ArrayBuffer;
  /** What the terminal gave and stdout has not taken yet. */
  output: ArrayBuffer;
  aside: Aside | undefined;
}

const NOTHING = new ArrayBuffer(0);

/** Who slept in a write to the terminal would hear no signal, and not take what has to come out of it first: it does not block from here on. */
export function openRelay(terminal: number, signals: number, aside?: Aside): Relay {
  raw.fcntl(terminal, F_SETFL, O_NONBLOCK);
  const stdout = openOutput();
  return { terminal, signals, stdout, stdinOpen: true, terminalOpen: true, input: NOTHING, output: NOTHING, aside };
}

/**
 * A terminal that can be written to may still take less than it is given, and who writes sleeps for the rest: it is opened once more,
 * so that it does not block, and does for others who have it as their output. Somebody else's, after su(1), may not be opened, and a
 * master's file is a new pty each time: see writeNow.
 */
function openOutput(): number {
  if (!isTerminal(1) || raw.ioctl(1, TIOCGPTN, new ArrayBuffer(4)) >= 0) return 1;
  const fd = raw.openat(AT_FDCWD, "/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
  return fd < 0 ? 1 : fd;
}

/** Moves bytes between stdin/stdout and the pty until there is something for the caller to decide. */
export function relay(state: Relay): RelayEvent[] {
  const { terminal, signals } = state;
  const buffer = new ArrayBuffer(32768);
  for (;;) {
    const [hasInput, hasOutput] = [state.input.byteLength > 0, state.output.byteLength > 0];
    const events = (hasOutput ? 0 : POLLIN) | (hasInput ? POLLOUT : 0);
    const polled = packPollfds([
      { fd: signals, events: POLLIN },
      { fd: state.terminalOpen && events !== 0 ? terminal : -1, events },
      { fd: state.stdinOpen && state.terminalOpen && !hasInput ? 0 : -1, events: POLLIN },
      { fd: hasOutput ? state.stdout : -1, events: POLLOUT },
      { fd: state.aside?.fd ?? -1, events: state.aside?.events ?? 0 },
    ]);
    const ready = raw.ppoll(polled, 5, null, null, 8);
    if (ready === EINTR) continue;
    if (ready < 0) throw new SysError("ppoll", -ready, []);
    const [signal = 0, pty = 0, stdin = 0, stdout = 0, other = 0] = parsePollfds(polled);
    if (stdout !== 0) passOutput(state);
    if (!hasOutput && (pty & ~POLLOUT) !== 0) {
      const length = raw.read(terminal, buffer);
      if (length > 0) state.output = buffer.slice(0, length);
      else if (length !== EAGAIN && length !== EINTR) {
        // EIO: every slave is closed.
        state.terminalOpen = false;
        return ["hangup"];
      }
    }
    if (hasInput && (pty & ~POLLIN) !== 0) passInput(state);
    if (stdin !== 0) takeInput(state, buffer);
    if (other !== 0 && state.aside?.isDone()) state.aside = undefined;
    if (signal !== 0) return readSignals(signals);
  }
}

/** As much as a pipe that can be written takes at once: pipe(7), PIPE_BUF. */
function passOutput(state: Relay): void {
  const chunk = state.output.slice(0, 4096);
  const written = writeNow(state.stdout, chunk);
  if (written !== EAGAIN) state.output = state.output.slice(check(written, "write", 1, chunk));
}

/** A descriptor that is the caller's too is made O_NONBLOCK, which is of all who have it, for no longer than a write. fcntl(2) */
function writeNow(fd: number, chunk: ArrayBuffer): number {
  if (fd !== 1) return raw.write(fd, chunk);
  const flags = raw.fcntl(fd, F_GETFL, 0);
  raw.fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  const written = raw.write(fd, chunk);
  raw.fcntl(fd, F_SETFL, flags);
  return written;
}

function passInput(state: Relay): void {
  const written = raw.write(state.terminal, state.input);
  // EIO: nobody has the terminal open, who could read it.
  if (written !== EAGAIN) state.input = written < 0 ? NOTHING : state.input.slice(written);
}

function takeInput(state: Relay, buffer: ArrayBuffer): void {
  const length = raw.read(0, buffer);
  if (length === EAGAIN || length === EINTR) return;
  state.stdinOpen = length > 0;
  // The end of a file as a terminal says it: ^D at the start of a line.
  state.input = state.stdinOpen ? buffer.slice(0, length) : (new Uint8Array([EOT]).buffer as ArrayBuffer);
}

/**
 * What the container wrote last, after it has ended: until somebody has taken it, or a signal comes that is to end us. `patienceMs`: or
 * nobody has taken any of it for so long, where such a one has ended the container.
 */
export function drain(state: Relay, patienceMs?: number): void {
  const { terminal, signals, stdout } = state;
  const buffer = new ArrayBuffer(32768);
  for (;;) {
    while (state.output.byteLength > 0) {
      const polled = packPollfds([
        { fd: signals, events: POLLIN },
        { fd: stdout, events: POLLOUT },
      ]);
      const ready = raw.ppoll(polled, 2, patienceMs === undefined ? null : packTimespec(patienceMs), null, 8);
      const [signal = 0, canWrite = 0] = ready > 0 ? parsePollfds(polled) : [];
      if (canWrite !== 0) passOutput(state);
      const isTold = signal !== 0 && readSignals(signals).some((each) => ENDING_SIGNALS.includes(each.signal));
      if (ready === 0 || isTold) return giveUpOutput();
    }
    const length = raw.read(terminal, buffer);
    if (length <= 0) return;
    state.output = buffer.slice(0, length);
  }
}

/** Nor would anybody take what there is to say of the end. */
function giveUpOutput(): void {
  const fds = [1, 2];
  const polled = packPollfds(fds.map((fd) => ({ fd, events: POLLOUT })));
  raw.ppoll(polled, fds.length, packTimespec(0), null, 8);
  const takesMore = parsePollfds(polled);
  const nowhere = raw.openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
  for (const [i, fd] of fds.entries()) if (takesMore[i] === 0) raw.dup3(nowhere, fd, 0);
}

export const EVERY_SIGNAL: readonly number[] = Array.from({ length: 64 }, (_, i) => i + 1);

/** A signalfd; `fd`: one that is there, which is for these signals from now on. signalfd(2) */
export function openSignals(which: readonly number[] = EVERY_SIGNAL, fd = -1): number {
  const SFD_CLOEXEC = 0o2000000;
  return sys.signalfd4(fd, packSigset(which), 8, SFD_CLOEXEC);
}

export function readSignals(fd: number): { signal: number; pid: number }[] {
  const buffer = new ArrayBuffer(SIGNALFD_SIGINFO_SIZE * 8);
  const length = raw.read(fd, buffer);
  return length > 0 ? parseSignals(buffer, length) : [];
}
