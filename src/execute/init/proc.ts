/**
 * /proc of the container, and whether it is one. Whoever chose the root filesystem or a volume may put other files in its
 * place, or other files of procfs in the place of those that are meant; what is written there would go astray.
 * CVE-2019-16884, CVE-2023-27561, CVE-2025-52881.
 */
import { ContainerError } from "../../error.ts";
import { PROC_FILES } from "../../plan/proc-files.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  PROC_SUPER_MAGIC,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  SYSFS_MAGIC,
} from "../../sys/constants.ts";
import { packOpenHow, STATFS_SIZE } from "../../sys/structs.ts";
import { check, raw, SysError } from "../../sys/sys.ts";
import { takeFilesystem } from "../trees.ts";
import { ENOENT, ENOSYS, ENOTDIR, type InitContext } from "./context.ts";
import { statOf } from "./paths.ts";

/** The root of every procfs and sysfs has this inode number, and nothing else in it. <linux/proc_ns.h>, kernfs_mount(). */
const ROOT_INO = 1;
const ELOOP = -40;

/** Refuses to mount in procfs, whatever path led there. */
export function refuseInsideProcFd(fd: number, target: string): void {
  if (isProc(fd)) refuse(target);
}

function refuse(target: string): void {
  // The plan lets a path in /proc pass only if it is one of these.
  if (PROC_FILES.includes(target)) return;
  throw new ContainerError("MOUNT_INSIDE_PROC", `nothing can be mounted on ${target}: it is inside /proc`, {
    hint: "a symbolic link of the root filesystem, or of a mount, leads there",
  });
}

/** What is bound on /proc must be all of a procfs. */
export function requireProcRoot(tree: number, target: string): void {
  if (isProc(tree) && statOf(tree, "", AT_EMPTY_PATH).ino === ROOT_INO) return;
  throw new ContainerError("MOUNT_INSIDE_PROC", `what is bound on ${target} is not a procfs`, {
    hint: "mount a filesystem of type proc there",
  });
}

const isProc = (fd: number): boolean => isOn(fd, PROC_SUPER_MAGIC);

function isOn(fd: number, magic: number): boolean {
  statfs ??= new Uint32Array(STATFS_SIZE / 4);
  const result = raw.fstatfs(fd, statfs.buffer);
  if (result < 0) check(result, "fstatfs", fd);
  return statfs[0] === magic && statfs[1] === 0;
}

/** It is asked of every place that something is mounted on. The type of the filesystem is the first field, of 64 bits. */
let statfs: Uint32Array<ArrayBuffer> | undefined;

/**
 * Keeps hold of what was mounted on /proc or /sys. Who has the root filesystem at hand, another container that shares it for one,
 * may rename the directory with the mount on it, and what is masked by path would then be masked elsewhere (CVE-2023-27561).
 */
export function keepKernelRoot(target: string, context: InitContext): void {
  const fd = raw.openat(AT_FDCWD, target, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd !== ENOENT && fd !== ENOTDIR && fd !== ELOOP) check(fd, "openat", target);
  const magic = target === "/proc" ? PROC_SUPER_MAGIC : SYSFS_MAGIC;
  if (fd < 0 || !isOn(fd, magic) || statOf(fd, "", AT_EMPTY_PATH).ino !== ROOT_INO)
    throw new ContainerError("MOUNT_REPLACED", `what was mounted on ${target} is not there any more`, {
      hint: "somebody else changes the root filesystem while the container is made",
    });
  setKernelRoot(target, fd, context);
}

export const isKernelPlace = (target: string): boolean => target === "/proc" || target === "/sys";

export function setKernelRoot(target: string, fd: number, context: InitContext): void {
  context.kernelRoots ??= new Map();
  context.kernelRoots.set(target, fd);
}

/** Before the command's directory is looked for, which may be named by way of a descriptor. */
export function releaseKernelRoots(context: InitContext): void {
  for (const fd of new Set([...(context.kernelRoots?.values() ?? []), context.proc ?? -1])) if (fd >= 0) raw.close(fd);
  delete context.kernelRoots;
  delete context.proc;
}

/** A path as a descriptor and what is below it: those in /proc and /sys start from what is known to be there. */
export function fromKernelRoot(path: string, { kernelRoots }: InitContext): { from: number; below: string } {
  const top = path.slice(0, path.indexOf("/", 1));
  const root = kernelRoots?.get(top);
  return root === undefined ? { from: AT_FDCWD, below: path } : { from: root, below: path.slice(top.length + 1) };
}

/**
 * Writes a value into a file below /proc. The file is reached through what is known to be procfs, past no link and no
 * other mount. Where the container has no procfs on /proc, one is made for the purpose and mounted nowhere.
 */
export function writeProcFile(path: string, value: string, context: InitContext): void {
  context.proc ??= context.kernelRoots?.get("/proc") ?? openProc();
  const below = path.slice("/proc/".length);
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const open = (proc: number, more: number) =>
    raw.openat2(proc, below, packOpenHow({ flags: O_WRONLY | O_CLOEXEC, resolve: resolve | more }));
  let fd = open(context.proc, RESOLVE_NO_XDEV);
  if (fd === ENOSYS) {
    // Before Linux 5.8 nobody tells another mount from this one. But in one that is mounted nowhere there can be none.
    raw.close(context.proc);
    context.proc = takeProc();
    fd = open(context.proc, 0);
  }
  check(fd, "openat2", path, "O_WRONLY");
  const written = raw.write(fd, value);
  raw.close(fd);
  if (written < 0) throw new SysError("write", -written, [path, value]);
}

/** A procfs: the container's where it has one on /proc, else one of our own that is mounted nowhere. */
export function openProc(): number {
  const how = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const fd = raw.openat(AT_FDCWD, "/proc", how, 0);
  if (fd >= 0) {
    if (isProc(fd) && statOf(fd, "", AT_EMPTY_PATH).ino === ROOT_INO) return fd;
    raw.close(fd);
  }
  return takeProc();
}

const takeProc = (): number => takeFilesystem("proc", "proc", ["nosuid", "nodev", "noexec"], "");
