/**
 * mount_setattr(2) for kernels without it (before Linux 5.12): by remounts, which know only mounts that are attached.
 *
 * A remount goes by path, and a path may lead elsewhere by the time. So the mounts are known by their numbers, and afterwards
 * /proc/self/mountinfo is asked whether every one of them has become what it shall be.
 */
import { ContainerError } from "../error.ts";
import { unescapePath } from "../plan/mountinfo.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_NEWNS,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_REC,
  MS_REMOUNT,
  MS_SLAVE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLONE,
  S_IFDIR,
  S_IFMT,
} from "../sys/constants.ts";
import { readFile } from "../sys/files.ts";
import { STATX_SIZE } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { statOf } from "./init/paths.ts";
import { changesAtimeMode, isAtimeMode, mountAttributes, mountFlags } from "./mount-flags.ts";

export interface MountChange {
  set: readonly string[];
  clear?: readonly string[];
  /** MS_* of mount(2), or 0. */
  propagation?: number;
  /** The mounts below too. */
  recursive: boolean;
}

/** For mount_setattr(2) and open_tree_attr(2). */
export const packChange = (change: MountChange): ArrayBuffer => mountAttributes(change);

/** 0 or -errno. mount_setattr(2). */
export const setAttributes = (tree: number, path: string, change: MountChange): number =>
  raw.mountSetattr(
    tree,
    path,
    (path === "" ? AT_EMPTY_PATH : 0) | (change.recursive ? AT_RECURSIVE : 0),
    packChange(change),
  );

/**
 * The same tree, changed. It is attached for that; what is returned is a clone. Closes `tree`. Throws {@link SysError},
 * MOUNT_FLAGS_REFUSED.
 */
export function changeInCopy(tree: number, changes: readonly MountChange[]): number {
  try {
    return inCopy(() => {
      attachInCopy(tree);
      const proc = sys.openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
      // Named by the descriptor: a symbolic link that is mounted there would be followed.
      for (const change of changes) remount(`/proc/self/fd/${tree}`, tree, proc, change);
      raw.close(proc);
      return sys.openTree(tree, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE | O_CLOEXEC);
    });
  } finally {
    raw.close(tree);
  }
}

/** In a copy of the mount namespace that nobody else has and that goes away again, with what was attached in it. */
export function inCopy<Result>(act: () => Result): Result {
  const [root, here] = ["/", "."].map((path) => sys.openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
  const own = sys.openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
  sys.unshare(CLONE_NEWNS);
  try {
    return act();
  } finally {
    sys.setns(own, CLONE_NEWNS);
    sys.fchdir(root ?? -1);
    sys.chroot(".");
    sys.fchdir(here ?? -1);
    for (const fd of [own, root ?? -1, here ?? -1]) raw.close(fd);
  }
}

/** Where a tree is attached in a copy does not matter, but nobody may see it there: /proc has a directory and a file for it. */
export function attachInCopy(tree: number): void {
  sys.mount(null, "/proc", null, MS_SLAVE, null);
  const isDirectory = (statOf(tree, "", AT_EMPTY_PATH).mode & S_IFMT) === S_IFDIR;
  sys.moveMount(tree, "", AT_FDCWD, isDirectory ? "/proc/fs" : "/proc/version", MOVE_MOUNT_F_EMPTY_PATH);
}

/**
 * Changes the attached mount at `path`, which `fd` is of. `proc`: a directory that is known to be a procfs. Throws
 * {@link SysError}, MOUNT_FLAGS_REFUSED.
 */
export function remount(path: string, fd: number, proc: number, change: MountChange): void {
  const { set, clear = [], propagation = 0, recursive } = change;
  const top = mountIdOf(fd, proc);
  if (set.length + clear.length > 0) {
    for (const mount of mountsOf(top, proc, recursive)) {
      const bits = mountFlags(changed(mount.flags, set, clear)) | MS_REMOUNT | MS_BIND;
      sys.mount(null, mount.id === top ? path : mount.path, null, bits, null);
    }
    for (const mount of mountsOf(top, proc, recursive)) requireFlags(mount, set);
  }
  if (propagation !== 0) sys.mount(null, path, null, propagation | (recursive ? MS_REC : 0), null);
}

/** As mountinfo has it: statx(2) knows since Linux 5.8, and only who may look at his own descriptors learns it otherwise. */
function mountIdOf(fd: number, proc: number): string {
  const STATX_MNT_ID = 0x1000;
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, buffer);
  const view = new DataView(buffer);
  if ((view.getUint32(0, true) & STATX_MNT_ID) !== 0) return String(view.getBigUint64(144, true));
  return /^mnt_id:\s*(\d+)$/m.exec(readFile(`self/fdinfo/${fd}`, proc))?.[1] ?? "";
}

/** As mount_setattr takes them: of the access time modes one is set by taking away all, and without one it is `relatime`. */
function changed(flags: readonly string[], set: readonly string[], clear: readonly string[]): string[] {
  const newMode = changesAtimeMode(set, clear);
  const kept = flags.filter((flag) => (isAtimeMode(flag) ? !newMode : !clear.includes(flag)));
  return [...kept, ...set, ...(newMode && !set.some(isAtimeMode) ? ["relatime"] : [])];
}

function requireFlags({ path, flags }: Mounted, wanted: readonly string[]): void {
  // The mode without a name in mountinfo.
  const missing = wanted.filter((flag) => flag !== "strictatime" && !flags.includes(flag));
  if (missing.length === 0) return;
  throw new ContainerError("MOUNT_FLAGS_REFUSED", `the mount at ${path} has not become ${missing.join(", ")}`, {
    hint: "nosymfollow needs Linux 5.10; mounts below a recursive one are changed safely since Linux 5.12",
  });
}

interface Mounted {
  id: string;
  parent: string;
  path: string;
  flags: string[];
}

/** A mount and, with `recursive`, all below it. proc_pid_mountinfo(5) */
function mountsOf(top: string, proc: number, recursive: boolean): Mounted[] {
  const lines = readFile("self/mountinfo", proc).trimEnd().split("\n");
  const all = lines.map((line): Mounted => {
    const [id = "", parent = "", , , path = "", options = ""] = line.split(" ", 6);
    return { id, parent, path: unescapePath(path), flags: options.split(",") };
  });
  const found = all.filter(({ id }) => id === top);
  if (found.length === 0) throw new Error(`mount ${top} is not in sight`);
  const known = new Set([top]);
  // The order of the file is that of mounting, or since Linux 6.8 of the numbers: what is below may stand before.
  for (let count = 0; recursive && count < known.size; ) {
    count = known.size;
    for (const mount of all) {
      if (!known.has(mount.parent) || known.has(mount.id)) continue;
      known.add(mount.id);
      found.push(mount);
    }
  }
  return found;
}
