/**
 * The caller's terminal in front of a container's pty: raw mode while the container runs, bytes both ways, the window
 * size handed on. Without a terminal on stdin the bytes still go both ways.
 */
import { O_NONBLOCK, POLLERR, POLLHUP, POLLIN, TCGETS, TCSETS, TIOCGWINSZ, TIOCSWINSZ } from "../sys/constants.ts";
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
import { raw, SysError, sys } from "../sys/sys.ts";

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

export interface Relay {
  terminal: number;
  signals: number;
  stdinOpen: boolean;
  terminalOpen: boolean;
}

/** Moves bytes between stdin/stdout and the pty until there is something for the caller to decide. */
export function relay(state: Relay): RelayEvent[] {
  const { terminal, signals } = state;
  const buffer = new ArrayBuffer(32768);
  for (;;) {
    const polled = packPollfds([
      { fd: signals, events: POLLIN },
      { fd: state.terminalOpen ? terminal : -1, events: POLLIN },
      { fd: state.stdinOpen ? 0 : -1, events: POLLIN },
    ]);
    const ready = raw.ppoll(polled, 3, null, null, 8);
    if (ready === -4) continue;
    if (ready < 0) throw new SysError("ppoll", -ready, []);
    const [signal = 0, output = 0, input = 0] = parsePollfds(polled);
    if (output !== 0) {
      const length = raw.read(terminal, buffer);
      if (length > 0) writeAll(1, buffer.slice(0, length));
      else if (length !== -11 && length !== -4) {
        // EIO: every slave is closed.
        state.terminalOpen = false;
        return ["hangup"];
      }
    }
    if ((input & (POLLIN | POLLHUP | POLLERR)) !== 0) passInput(state, buffer);
    if (signal !== 0) return readSignals(signals);
  }
}

function passInput(state: Relay, buffer: ArrayBuffer): void {
  const length = raw.read(0, buffer);
  if (length > 0) return writeAll(state.terminal, buffer.slice(0, length));
  if (length === -11 || length === -4) return;
  // The end of a file as a terminal says it: ^D at the start of a line.
  state.stdinOpen = false;
  if (state.terminalOpen) raw.write(state.terminal, new Uint8Array([EOT]).buffer as ArrayBuffer);
}

/** What the container wrote last, after it has ended. */
export function drain(terminal: number): void {
  const F_SETFL = 4;
  raw.fcntl(terminal, F_SETFL, O_NONBLOCK);
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
