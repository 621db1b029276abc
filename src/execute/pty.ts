/**
 * The container's terminal: a pty of its own devpts, so that `tty` and `ps` inside name it. pty(7), ioctl_tty(2).
 * The slave is opened through the master (TIOCGPTPEER): no path of the rootfs can stand in for it (CVE-2025-52565).
 */
import {
  AT_FDCWD,
  MS_BIND,
  O_CLOEXEC,
  O_CREAT,
  O_NOCTTY,
  O_RDWR,
  O_WRONLY,
  TCGETS,
  TCSETS,
  TIOCGPTN,
  TIOCGPTPEER,
  TIOCGWINSZ,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "../sys/constants.ts";
import { TERMIOS_SIZE } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { send } from "./channel.ts";
import type { StepArguments } from "./init/context.ts";

/** Opens a pty, sends its master to the parent, with `console` puts its slave at /dev/console, and returns the slave. */
export function openPty(
  channel: number,
  {
    owner,
    console,
    rows,
    columns,
    plainNewlines,
  }: Pick<StepArguments<"openPty">, "owner" | "console" | "rows" | "columns" | "plainNewlines">,
): number {
  const master = sys.openat(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
  sys.ioctl(master, TIOCSPTLCK, new ArrayBuffer(4));
  const number = new ArrayBuffer(4);
  sys.ioctl(master, TIOCGPTN, number);
  const slave = sys.ioctlInt(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (owner !== 0) sys.fchown(slave, owner, -1);
  setSize(master, rows, columns);
  if (plainNewlines) clearOnlcr(slave);
  if (console) {
    raw.close(sys.openat(AT_FDCWD, "/dev/console", O_CREAT | O_WRONLY | O_CLOEXEC | O_NOCTTY, 0o600));
    sys.mount(`/dev/pts/${new Uint32Array(number)[0]}`, "/dev/console", null, MS_BIND, null);
  }
  send(channel, { kind: "pty" }, [master]);
  raw.close(master);
  return slave;
}

/** Output that is no terminal's gets what the command wrote, without the \r that a terminal wants before each \n. termios(3). */
function clearOnlcr(slave: number): void {
  const ONLCR = 4;
  const termios = new ArrayBuffer(TERMIOS_SIZE);
  sys.ioctl(slave, TCGETS, termios);
  const output = new DataView(termios);
  output.setUint32(4, output.getUint32(4, true) & ~ONLCR, true);
  sys.ioctl(slave, TCSETS, termios);
}

/** The size that the config names, or else that of the caller's terminal, which is still our stdin, stdout or stderr. */
function setSize(master: number, rows: number | undefined, columns: number | undefined): void {
  const size = new Uint16Array([rows ?? 0, columns ?? 0, 0, 0]).buffer;
  const known = rows !== undefined || [0, 1, 2].some((fd) => raw.ioctl(fd, TIOCGWINSZ, size) >= 0);
  if (known) sys.ioctl(master, TIOCSWINSZ, size);
}
