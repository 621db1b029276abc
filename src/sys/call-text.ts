/** A failed call as strace(1) shows it, with the names of flags: for people, made when an error is told. */

import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  MNT_DETACH,
  MS_BIND,
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_MANDLOCK,
  MS_MOVE,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SILENT,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_TRUNC,
  OPEN_TREE_CLONE,
} from "./constants.ts";
import { errnoText } from "./errno.ts";
import { type SysError, showArgument } from "./sys.ts";

type Names = Readonly<Record<string, number>>;

const OPEN: Names = {
  O_PATH,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_TRUNC,
  O_APPEND,
  O_NONBLOCK,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_CLOEXEC,
};

const MOUNT: Names = {
  MS_RDONLY,
  MS_NOSUID,
  MS_NODEV,
  MS_NOEXEC,
  MS_SYNCHRONOUS,
  MS_REMOUNT,
  MS_MANDLOCK,
  MS_DIRSYNC,
  MS_NOSYMFOLLOW,
  MS_NOATIME,
  MS_NODIRATIME,
  MS_BIND,
  MS_MOVE,
  MS_REC,
  MS_SILENT,
  MS_UNBINDABLE,
  MS_PRIVATE,
  MS_SLAVE,
  MS_SHARED,
  MS_RELATIME,
  MS_STRICTATIME,
  MS_LAZYTIME,
};

const AT: Names = { AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_RECURSIVE };
const TREE: Names = { OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC: O_CLOEXEC, ...AT };

type Show = (value: number) => string;

const flags =
  (names: Names, none = "0"): Show =>
  (value) => {
    const known = Object.entries(names).filter(([, bit]) => (value & bit) !== 0);
    const rest = known.reduce((left, [, bit]) => left & ~bit, value);
    const words = [...known.map(([name]) => name), ...(rest === 0 ? [] : [`0x${(rest >>> 0).toString(16)}`])];
    return words.length === 0 ? none : words.join("|");
  };

const ACCESS_MODES = ["O_RDONLY", "O_WRONLY", "O_RDWR"];
const openFlags: Show = (value) => {
  const more = flags(OPEN, "")(value & ~3);
  if ((value & O_PATH) !== 0) return more;
  return [ACCESS_MODES[value & 3] ?? String(value & 3), ...(more === "" ? [] : [more])].join("|");
};
const octal: Show = (value) => `0${value.toString(8)}`;

/** By the place of the argument. Others are shown as they are. */
const SHOWN: Readonly<Record<string, Readonly<Record<number, Show>>>> = {
  openat: { 2: openFlags, 3: octal },
  mkdirat: { 2: octal },
  mknodat: { 2: octal },
  fchmodat: { 2: octal },
  mount: { 3: flags(MOUNT) },
  umount2: { 1: flags({ MNT_DETACH }) },
  open_tree: { 2: flags(TREE) },
  open_tree_attr: { 2: flags(TREE) },
  mount_setattr: { 2: flags(AT) },
};

/** `openat(AT_FDCWD, "/srv", O_PATH|O_DIRECTORY) = ENOENT (No such file or directory)`. */
export function callText({ syscall, args, code, errno }: SysError): string {
  const shows = SHOWN[syscall] ?? {};
  // The mode is of a file that is made: without O_CREAT the kernel does not look at it. open(2).
  const counts = syscall === "openat" && (Number(args[2]) & O_CREAT) === 0 ? args.slice(0, 3) : args;
  // Where a call takes a directory's descriptor first, it may have been left away.
  const shift = shows[2] !== undefined && typeof args[0] === "string" ? 1 : 0;
  const shown = counts.map((value, i) => {
    if (i === 0 && value === AT_FDCWD) return "AT_FDCWD";
    const show = shows[i + shift];
    return show === undefined || typeof value !== "number" ? showArgument(value) : show(value);
  });
  return `${syscall}(${shown.join(", ")}) = ${code} (${errnoText(errno)})`;
}
