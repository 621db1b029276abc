/**
 * Copies a tree into another directory without crossing filesystems, as the notes' `find -xdev | cpio -pd` does: modes,
 * owners, times, symbolic and hard links, devices, extended attributes. Everything is named relative to an open
 * directory, so a tree of any depth works and a link swapped in meanwhile leads nowhere.
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../sys/constants.ts";
import { readDirectoryFd } from "../sys/files.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";

interface Stat {
  mode: number;
  uid: number;
  gid: number;
  links: number;
  inode: bigint;
  size: number;
  rdev: number;
  device: string;
  /** Access and modification time, as utimensat wants them. */
  times: ArrayBuffer;
}

/** Throws {@link SysError}, ENOSPC when the target is too small. */
export function copyTree(source: string, target: string): void {
  const from = sys.openat(AT_FDCWD, source, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  const to = sys.openat(AT_FDCWD, target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  copyTreeInto(from, to, { root: true });
  raw.close(from);
  raw.close(to);
}

/** The same for open directories. `root`: the directory itself gets mode, owner and times too. */
export function copyTreeInto(from: number, to: number, { root }: { root: boolean }): void {
  const stat = statAt(from, "");
  const copy: Copy = { device: stat.device, root: to, copied: new Map() };
  copyEntries(from, to, "", copy);
  if (root) copyDirectoryItself(from, to, stat);
}

interface Copy {
  device: string;
  /** The directory that the whole copy goes to. */
  root: number;
  /** Where the first name of a file with several links went, by inode. */
  copied: Map<bigint, string>;
}

function copyEntries(from: number, to: number, path: string, copy: Copy): void {
  for (const { name } of readDirectoryFd(from)) copyEntry(from, to, name, `${path}${name}`, copy);
}

function copyDirectoryItself(from: number, to: number, stat: Stat): void {
  copyOwnership(to, "", stat);
  copyAttributes(from, to);
  sys.fchmod(to, stat.mode & 0o7777);
  sys.utimensat(to, null, stat.times, 0);
}

function copyEntry(from: number, to: number, name: string, path: string, copy: Copy): void {
  const stat = statAt(from, name);
  if (stat.device !== copy.device) {
    // A mount point: the directory, not what is mounted on it.
    if ((stat.mode & S_IFMT) === S_IFDIR) sys.mkdirat(to, name, 0o755);
    return;
  }
  const earlier = stat.links > 1 && (stat.mode & S_IFMT) !== S_IFDIR ? copy.copied.get(stat.inode) : undefined;
  if (earlier !== undefined) {
    sys.linkat(copy.root, earlier, to, name, 0);
    return;
  }
  if (stat.links > 1) copy.copied.set(stat.inode, path);
  switch (stat.mode & S_IFMT) {
    case S_IFDIR: {
      sys.mkdirat(to, name, 0o700);
      const childFrom = sys.openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
      const childTo = sys.openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
      copyEntries(childFrom, childTo, `${path}/`, copy);
      copyDirectoryItself(childFrom, childTo, stat);
      raw.close(childFrom);
      raw.close(childTo);
      return;
    }
    case S_IFREG:
      return copyFile(from, to, name, stat);
    case S_IFLNK:
      sys.symlinkat(sys.readlinkText(from, name), to, name);
      break;
    default:
      if (!makeSpecial(to, name, stat)) return;
      sys.fchmodat(to, name, stat.mode & 0o7777);
  }
  copyOwnership(to, name, stat);
  sys.utimensat(to, name, stat.times, AT_SYMLINK_NOFOLLOW);
}

/** A device, fifo or socket. A user namespace makes no devices: /dev is the container's own anyway. */
function makeSpecial(to: number, name: string, stat: Stat): boolean {
  const result = raw.mknodat(to, name, stat.mode, stat.rdev);
  if (result === -1) return false;
  if (result < 0) throw new SysError("mknodat", -result, [name, stat.mode, stat.rdev]);
  return true;
}

function copyFile(from: number, to: number, name: string, stat: Stat): void {
  const source = sys.openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
  const target = sys.openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600);
  copyData(source, target, stat.size);
  copyOwnership(target, "", stat);
  copyAttributes(source, target);
  // After chown, which clears set-user-id.
  sys.fchmod(target, stat.mode & 0o7777);
  sys.utimensat(target, null, stat.times, 0);
  raw.close(source);
  raw.close(target);
}

/** Holes stay holes: a sparse file must not fill the target. lseek(2), SEEK_DATA. */
function copyData(source: number, target: number, size: number): void {
  const [SEEK_SET, SEEK_DATA, SEEK_HOLE] = [0, 3, 4];
  const ENXIO = -6; // no data any more
  sys.ftruncate(target, size);
  for (let at = 0; at < size; ) {
    const data = raw.lseek(source, at, SEEK_DATA);
    if (data === ENXIO) return;
    const start = check(data, "lseek", source, at, "SEEK_DATA");
    const end = Math.min(sys.lseek(source, start, SEEK_HOLE), size);
    sys.lseek(source, start, SEEK_SET);
    sys.lseek(target, start, SEEK_SET);
    for (let left = end - start; left > 0; ) {
      const copied = sys.sendfile(target, source, null, Math.min(left, 1 << 30));
      if (copied === 0) return; // it became shorter meanwhile
      left -= copied;
    }
    at = end;
  }
}

function copyOwnership(dirfd: number, name: string, { uid, gid }: Stat): void {
  const result = raw.fchownat(dirfd, name, uid, gid, name === "" ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW);
  // An owner whom the user namespace does not map stays the mapped root: EINVAL.
  if (result < 0 && result !== -22) throw new SysError("fchownat", -result, [name, uid, gid]);
}

/** xattr(7): file capabilities among them. What the target's filesystem has no room for is left out. */
function copyAttributes(from: number, to: number): void {
  for (const name of listAttributes(from)) {
    const value = new ArrayBuffer(65536);
    const size = raw.fgetxattr(from, name, value);
    if (size < 0) continue;
    const result = raw.fsetxattr(to, name, value.slice(0, size), 0);
    if (result < 0 && result !== -95 && result !== -1) throw new SysError("fsetxattr", -result, [to, name]);
  }
}

function listAttributes(fd: number): string[] {
  const list = new ArrayBuffer(65536);
  const length = raw.flistxattr(fd, list);
  if (length <= 0) return [];
  return (sys.decodeText(list, 0, length) as string).split("\0").filter((name) => name !== "");
}

function statAt(dirfd: number, name: string): Stat {
  const buffer = new ArrayBuffer(256);
  const [STATX_BASIC_STATS, STATX_MNT_ID] = [0x7ff, 0x1000];
  sys.statx(
    dirfd,
    name,
    AT_SYMLINK_NOFOLLOW | (name === "" ? AT_EMPTY_PATH : 0),
    STATX_BASIC_STATS | STATX_MNT_ID,
    buffer,
  );
  const view = new DataView(buffer);
  const times = new ArrayBuffer(32);
  const time = new DataView(times);
  for (const [i, at] of [64, 112].entries()) {
    time.setBigInt64(i * 16, view.getBigInt64(at, true), true);
    time.setBigInt64(i * 16 + 8, BigInt(view.getUint32(at + 8, true)), true);
  }
  const rdevMajor = view.getUint32(128, true);
  const rdevMinor = view.getUint32(132, true);
  return {
    links: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mode: view.getUint16(28, true),
    inode: view.getBigUint64(32, true),
    size: Number(view.getBigUint64(40, true)),
    rdev: ((rdevMinor & 0xff) | ((rdevMajor & 0xfff) << 8)) + (rdevMinor >> 8) * 2 ** 20,
    // An overlay gives files and directories different device numbers, so the mount is what tells (Linux 5.8).
    device:
      (view.getUint32(0, true) & STATX_MNT_ID) !== 0
        ? `mount ${view.getBigUint64(144, true)}`
        : `${view.getUint32(136, true)}:${view.getUint32(140, true)}`,
    times,
  };
}
