/** Paths of the container's own tree: what stands there, directories and mount points made where they are missing. */
import { ContainerError } from "../../error.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_PATH,
  O_WRONLY,
  RESOLVE_NO_MAGICLINKS,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
} from "../../sys/constants.ts";
import { packOpenHow, parseStatx, STATX_BASIC_STATS, STATX_SIZE, type Statx } from "../../sys/structs.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { EEXIST, ENOENT } from "./context.ts";

export function statOf(dirfd: number, path: string, flags: number): Statx {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(dirfd, path, flags, STATX_BASIC_STATS, buffer);
  return parseStatx(buffer);
}

export function isNullDevice(fd: number): boolean {
  const { mode, rdevMajor, rdevMinor } = statOf(fd, "", AT_EMPTY_PATH);
  return (mode & S_IFMT) === S_IFCHR && rdevMajor === 1 && rdevMinor === 3;
}

export const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

/**
 * A path of the container as a descriptor that names it; -errno. Past no link of procfs: where the machine's processes are in sight,
 * /proc/PID/root leads to the machine, and what is made on the way there would be made on it (CVE-2024-45310).
 */
export function openPlace(path: string, flags = 0): number {
  let how = hows.get(flags);
  if (how === undefined) {
    how = packOpenHow({ flags: O_PATH | O_CLOEXEC | flags, resolve: RESOLVE_NO_MAGICLINKS });
    hows.set(flags, how);
  }
  return raw.openat2(AT_FDCWD, path, how);
}

/** Packed, by flags. */
const hows = new Map<number, ArrayBuffer>();

/** With the directory as the working directory: mount(2) takes no descriptors. Afterwards it is the root again, as it was. */
export function standingIn<Result>(directory: number, act: () => Result): Result {
  if (directory === AT_FDCWD) return act();
  sys.fchdir(directory);
  const result = act();
  sys.chdir("/");
  return result;
}

/** Makes something under its name in the directory above, whatever becomes of the path meanwhile; what `make` returns, or -errno. */
export function makeIn(path: string, make: (directory: number, name: string) => number): number {
  const directory = openPlace(parentOf(path), O_DIRECTORY);
  if (directory < 0) return directory;
  const result = make(directory, path.slice(path.lastIndexOf("/") + 1));
  raw.close(directory);
  return result;
}

/** mkdir -p. Where a link on the way leads nowhere yet, what it leads to is made: within the root, like all paths by now. */
export function makeDirectories(named: string, mode: number): void {
  const path = named.replace(/(.)\/+$/, "$1");
  if (path === "/") return;
  const make = () => makeIn(path, (directory, name) => raw.mkdirat(directory, name, mode));
  const result = make();
  if (result >= 0 || result === EEXIST) return;
  if (result !== ENOENT || path === "") throw new SysError("mkdirat", -result, [path, mode]);
  const parent = parentOf(path);
  makeDirectories(parent, 0o755);
  const again = make();
  const link = again === ENOENT ? raw.readlinkText(AT_FDCWD, parent) : undefined;
  if (typeof link !== "string") {
    if (again !== EEXIST) check(again, "mkdirat", path, mode);
    return;
  }
  makeDirectories(link.startsWith("/") ? link : `${parentOf(parent)}/${link}`, 0o755);
  check(make(), "mkdirat", path, mode);
}

/** A directory for a tree whose root is one, else an empty file; where a link leads nowhere yet, at what it leads to. */
export function makeMountPoint(target: string, tree: number, linksLeft = 40): void {
  const link = linksLeft > 0 ? raw.readlinkText(AT_FDCWD, target) : undefined;
  if (typeof link === "string")
    return makeMountPoint(link.startsWith("/") ? link : `${parentOf(target)}/${link}`, tree, linksLeft - 1);
  if ((statOf(tree, "", AT_EMPTY_PATH).mode & S_IFMT) === S_IFDIR) return makeDirectories(target, 0o755);
  makeDirectories(parentOf(target), 0o755);
  makeFile(target, 0o644);
}

/** An empty file; one that is there is not opened: it may be a FIFO by now, which keeps who opens it waiting. */
export function makeFile(path: string, mode: number): void {
  const how = O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC;
  const fd = makeIn(path, (directory, name) => raw.openat(directory, name, how, mode));
  if (fd !== EEXIST) raw.close(check(fd, "openat", path, how, mode));
}

/** A /proc or /sys that is a link would put the kernel's files elsewhere, and later writes to it too (CVE-2019-16884, CVE-2023-27561). */
export function refuseSymlink(path: string): void {
  const target = raw.readlinkText(AT_FDCWD, path);
  if (typeof target !== "string") return;
  throw new ContainerError("MOUNT_TARGET_IS_A_LINK", `${path} of the root filesystem is a symbolic link to ${target}`, {
    hint: "proc and sysfs must be mounted on ordinary directory entries: nothing that the kernel shows there may be redirected",
  });
}

/**
 * A path such as /proc/self/fd/7, or a link to it, may lead to a directory of the machine that somebody left open; from
 * there `..` climbs to the machine's root (CVE-2024-21626). The kernel calls such a place unreachable. getcwd(2)
 */
export function refuseUnreachable(path: string): void {
  const buffer = new ArrayBuffer(4096);
  const length = sys.getcwd(buffer);
  const where = sys.decodeText(buffer, 0, length - 1) as string;
  if (where.startsWith("/")) return;
  throw new ContainerError("CWD_OUTSIDE", `the working directory ${path} leads out of the container's root`, {
    hint: "it goes through a link or descriptor to a directory of the machine: name a directory of the root filesystem",
  });
}
