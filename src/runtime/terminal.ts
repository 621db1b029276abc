/**
 * The caller's terminal in front of a container's pty: raw mode while the container runs, bytes both ways, the window
 * size handed on. Without a terminal on stdin the bytes still go both ways.
 */
import { F_SETFL, O_NONBLOCK, POLLIN, POLLOUT, TCGETS, TCSETS, TIOCGWINSZ, TIOCSWINSZ } from "../sys/constants.ts";
import { writeAll } from "../sys/files.ts";
import {
  packPollfds,
  packSigset,
  parsePollfds,
  parseSignals,
  rawTermios,
  SIGNALFD_SIGINFO_SIZE,
  TERMIOS_SIZE,
} from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";

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
  /** Takes what can be read, without waiting; whether that was all, and the descriptor is closed. */
  isDone: () => boolean;
}

export interface Relay {
  terminal: number;
  signals: number;
  stdinOpen: boolean;
  terminalOpen: boolean;
  /** What stdin gave and the terminal has not taken yet: a command need not read. */
  input: ArrayBuffer;
  /** What the terminal gave and stdout has not taken yet. */
  output: ArrayBuffer;
  aside: Aside | undefined;
}

const NOTHING = new ArrayBuffer(0);
const [EINTR, EAGAIN] = [-4, -11];

/** Who slept in a write to the terminal would hear no signal, and not take what has to come out of it first: it does not block from here on. */
export function openRelay(terminal: number, signals: number, aside?: Aside): Relay {
  raw.fcntl(terminal, F_SETFL, O_NONBLOCK);
  return { terminal, signals, stdinOpen: true, terminalOpen: true, input: NOTHING, output: NOTHING, aside };
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
      { fd: hasOutput ? 1 : -1, events: POLLOUT },
      { fd: state.aside?.fd ?? -1, events: POLLIN },
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
  const written = raw.write(1, chunk);
  if (written !== EAGAIN) state.output = state.output.slice(check(written, "write", 1, chunk));
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

/** What the container wrote last, after it has ended. */
export function drain({ terminal, output }: Relay): void {
  writeAll(1, output);
  const buffer = new ArrayBuffer(32768);
  for (;;) {
    const length = raw.read(terminal, buffer);
    if (length <= 0) return;
    writeAll(1, buffer.slice(0, length));
  }
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
