/**
 * The container's terminal: a pty of its own devpts, so that `tty` and `ps` inside name it. pty(7), ioctl_tty(2).
 * The slave is opened through the master (TIOCGPTPEER): no path of the rootfs can stand in for it (CVE-2025-52565).
 */
import { ContainerError } from "../error.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  O_CLOEXEC,
  O_NOCTTY,
  O_NOFOLLOW,
  O_RDWR,
  OPEN_TREE_CLONE,
  RESOLVE_NO_MAGICLINKS,
  S_IFCHR,
  S_IFMT,
  TCGETS,
  TCSETS,
  TIOCGPTPEER,
  TIOCGWINSZ,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "../sys/constants.ts";
import { packOpenHow, TERMIOS_SIZE } from "../sys/structs.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { send } from "./channel.ts";
import { ENOENT, type StepArguments } from "./init/context.ts";
import { makeFile, openPlace, statOf } from "./init/paths.ts";

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
  const how = packOpenHow({ flags: O_RDWR | O_NOCTTY | O_CLOEXEC, resolve: RESOLVE_NO_MAGICLINKS });
  const master = check(raw.openat2(AT_FDCWD, "/dev/pts/ptmx", how), "openat2", "/dev/pts/ptmx");
  requireMultiplexer(master);
  sys.ioctl(master, TIOCSPTLCK, new ArrayBuffer(4));
  const slave = sys.ioctlInt(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (owner !== 0) sys.fchown(slave, owner, -1);
  setSize(master, rows, columns);
  if (plainNewlines) clearOnlcr(slave);
  if (console) placeConsole(slave);
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

/** Where the container has no devpts of its own, any file of the root filesystem may stand at /dev/pts/ptmx. */
function requireMultiplexer(master: number): void {
  const { mode, rdevMajor, rdevMinor } = statOf(master, "", AT_EMPTY_PATH);
  if ((mode & S_IFMT) === S_IFCHR && rdevMajor === 5 && rdevMinor === 2) return;
  throw new ContainerError("TERMINAL_INVALID", "/dev/pts/ptmx of the container is not that of a devpts", {
    field: "process.terminal",
    hint: "mount a devpts on /dev/pts",
  });
}

/**
 * The slave itself is cloned, not a path of its number, and a link that the root filesystem has at /dev/console is mounted
 * on, not followed: what it leads to may be a file of /proc (CVE-2025-52565).
 */
function placeConsole(slave: number): void {
  let place = openPlace("/dev/console", O_NOFOLLOW);
  if (place === ENOENT) {
    makeFile("/dev/console", 0o600);
    place = openPlace("/dev/console", O_NOFOLLOW);
  }
  check(place, "openat2", "/dev/console");
  const tree = sys.openTree(slave, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  const result = raw.moveMount(tree, "", place, "", flags);
  raw.close(tree);
  raw.close(place);
  check(result, "move_mount", "/dev/console", flags);
}

/** The size that the config names, or else that of the caller's terminal, which is still our stdin, stdout or stderr. */
function setSize(master: number, rows: number | undefined, columns: number | undefined): void {
  const size = new Uint16Array([rows ?? 0, columns ?? 0, 0, 0]).buffer;
  const known = rows !== undefined || [0, 1, 2].some((fd) => raw.ioctl(fd, TIOCGWINSZ, size) >= 0);
  if (known) sys.ioctl(master, TIOCSWINSZ, size);
}
