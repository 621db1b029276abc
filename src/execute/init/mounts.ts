/** Steps of the init process: mounts of all kinds, and the change of root. */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_NEWNS,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  O_CLOEXEC,
  O_RDONLY,
  OPEN_TREE_CLONE,
} from "../../sys/constants.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { copyTree } from "../copy-tree.ts";
import { mountAttributeBits, mountAttributes, mountFlags, propagationFlags } from "../mount-flags.ts";
import { EINVAL, ENOENT, ENOSYS, ENOTDIR, type Performers, type StepArguments, slotValue } from "./context.ts";
import { makeDirectories, makeMountPoint, refuseSymlink } from "./paths.ts";

type Ops =
  | "propagation"
  | "mount"
  | "takeTree"
  | "takeFilesystem"
  | "placeTree"
  | "bind"
  | "setMountFlags"
  | "copyTree"
  | "pivotRoot"
  | "detach"
  | "copyMountNamespace"
  | "takeViewBack"
  | "mask"
  | "makeReadonly";

export const mountSteps: Performers<Ops> = {
  propagation({ target, mode }) {
    sys.mount(null, target, null, propagationFlags(mode), null);
  },

  mount({ source, target, fstype, flags, data }) {
    if (fstype === "proc" || fstype === "sysfs") refuseSymlink(target);
    const bits = mountFlags(flags);
    const options = data === "" ? null : data;
    let result = raw.mount(source, target, fstype, bits, options);
    if (result === ENOENT) {
      makeDirectories(target, 0o755);
      result = raw.mount(source, target, fstype, bits, options);
    }
    check(result, "mount", source, target, fstype, bits, options);
  },

  takeTree(step, { slots }) {
    slots.set(step.tree.slot, takeTree(step));
  },

  takeFilesystem({ source, fstype, flags, data, tree }, { slots }) {
    slots.set(tree.slot, takeFilesystem(source, fstype, flags, data));
  },

  placeTree({ tree, target, exact }, { slots }) {
    if (exact) refuseSymlink(target);
    const fd = slotValue(slots, tree);
    const FOLLOW_TARGET = 0x10; // MOVE_MOUNT_T_SYMLINKS: within the container's own root by now
    const flags = MOVE_MOUNT_F_EMPTY_PATH | FOLLOW_TARGET;
    let result = raw.moveMount(fd, "", AT_FDCWD, target, flags);
    if (result === ENOENT) {
      makeMountPoint(target, fd);
      result = raw.moveMount(fd, "", AT_FDCWD, target, flags);
    }
    check(result, "move_mount", fd, "", AT_FDCWD, target, flags);
    raw.close(fd);
    slots.delete(tree.slot);
  },

  bind({ source, target, recursive, mapped }, { slots }) {
    if (mapped !== undefined) {
      const fd = slotValue(slots, mapped);
      sys.moveMount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
      raw.close(fd);
      return;
    }
    sys.mount(source, target, null, MS_BIND | (recursive ? MS_REC : 0), null);
  },

  setMountFlags({ target, flags, recursive }) {
    setMountFlags(AT_FDCWD, target, flags, recursive);
  },

  copyTree({ source, target }) {
    copyTree(source, target);
  },

  pivotRoot({ newRoot, putOld }) {
    sys.pivotRoot(newRoot, putOld);
  },

  detach({ target }) {
    sys.umount2(target, MNT_DETACH);
    sys.chdir("/");
  },

  copyMountNamespace({ original }, { slots }) {
    slots.set(original.slot, sys.openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0));
    sys.unshare(CLONE_NEWNS);
  },

  takeViewBack({ original, tree }, { slots }) {
    slots.set(tree.slot, sys.openTree(AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC));
    const namespace = slotValue(slots, original);
    sys.setns(namespace, CLONE_NEWNS);
    raw.close(namespace);
    slots.delete(original.slot);
  },

  mask({ path }, context) {
    let result = raw.mount("/dev/null", path, null, MS_BIND, null);
    if (result === ENOTDIR) {
      if (context.maskedDirectory === undefined) {
        result = raw.mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k");
        if (result >= 0) context.maskedDirectory = path;
      } else result = raw.mount(context.maskedDirectory, path, null, MS_BIND, null);
    }
    if (result !== ENOENT) check(result, "mount", "/dev/null", path, null, MS_BIND, null);
  },

  makeReadonly({ path }) {
    const result = raw.mount(path, path, null, MS_BIND | MS_REC, null);
    if (result === ENOENT) return;
    check(result, "mount", path, path, null, MS_BIND | MS_REC, null);
    setMountFlags(AT_FDCWD, path, ["ro"], true);
  },
};

/**
 * A clone of a mounted tree as a descriptor. Unless it is `tied`, what is mounted on either side later stays there
 * (MS_PRIVATE). open_tree_attr needs Linux 6.15, mount_setattr 5.12.
 */
function takeTree({ source, recursive, flags, recursiveFlags, tied }: StepArguments<"takeTree">): number {
  const how = OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
  const all = mountAttributes(recursive ? recursiveFlags : [...flags, ...recursiveFlags], tied ? 0 : MS_PRIVATE);
  let tree = raw.openTreeAttr(AT_FDCWD, source, how, all);
  if (tree === ENOSYS || tree === EINVAL) {
    tree = openForeignTree(source, how);
    check(raw.mountSetattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), all), "mount_setattr", source);
  }
  check(tree, "open_tree_attr", AT_FDCWD, source, how, all);
  if (recursive && flags.length > 0) setMountFlags(tree, "", flags, false);
  return tree;
}

/** open_tree clones only mounts of the caller's own mount namespace: for /proc/PID/root/… it goes there and comes back. */
function openForeignTree(source: string, how: number): number {
  const [, pid, path] = /^\/proc\/(\d+)\/root(\/.*)$/.exec(source) ?? [];
  if (path === undefined) return sys.openTree(AT_FDCWD, source, how);
  const own = sys.openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
  const other = sys.openat(AT_FDCWD, `/proc/${pid}/ns/mnt`, O_RDONLY | O_CLOEXEC, 0);
  sys.setns(other, CLONE_NEWNS);
  const tree = raw.openTree(AT_FDCWD, path, how);
  sys.setns(own, CLONE_NEWNS);
  raw.close(own);
  raw.close(other);
  return check(tree, "open_tree", source, how);
}

/** A new filesystem as a descriptor. fsopen(2), Linux 5.2. */
function takeFilesystem(source: string, fstype: string, flags: readonly string[], data: string): number {
  const [FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC] = [1, 1];
  const [SET_FLAG, SET_STRING, CREATE] = [0, 1, 6]; // FSCONFIG_*
  const fs = sys.fsopen(fstype, FSOPEN_CLOEXEC);
  sys.fsconfig(fs, SET_STRING, "source", source, 0);
  // As mount(2) has it: the filesystem itself is read-only, not only this mount of it.
  if (flags.includes("ro")) sys.fsconfig(fs, SET_FLAG, "ro", null, 0);
  for (const option of data.split(",").filter((text) => text !== "")) {
    const at = option.indexOf("=");
    if (at < 0) sys.fsconfig(fs, SET_FLAG, option, null, 0);
    else sys.fsconfig(fs, SET_STRING, option.slice(0, at), option.slice(at + 1), 0);
  }
  sys.fsconfig(fs, CREATE, null, null, 0);
  const tree = sys.fsmount(fs, FSMOUNT_CLOEXEC, mountAttributeBits(flags));
  raw.close(fs);
  return tree;
}

function setMountFlags(dirfd: number, path: string, flags: readonly string[], recursive: boolean): void {
  sys.mountSetattr(
    dirfd,
    path,
    (path === "" ? AT_EMPTY_PATH : 0) | (recursive ? AT_RECURSIVE : 0),
    mountAttributes(flags),
  );
}
