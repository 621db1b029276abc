/** Steps of the init process: mounts of all kinds, and the change of root. */

import { ContainerError } from "../../error.ts";
import { unescapePath } from "../../plan/mountinfo.ts";
import { COVER } from "../../plan/rootfs.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_REMOVEDIR,
  CLONE_NEWNS,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_BIND,
  MS_MOVE,
  MS_REC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLONE,
  S_IFREG,
} from "../../sys/constants.ts";
import { readFile } from "../../sys/files.ts";
import { parseStatx, STATX_MNT_ID, STATX_SIZE } from "../../sys/structs.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { remount, setAttributes } from "../change-mounts.ts";
import { copyTree, copyTreeInto } from "../copy-tree.ts";
import { mountFlags, propagationFlags } from "../mount-flags.ts";
import { takeTreeByParent } from "../take-for-init.ts";
import { takeFilesystem, takeTree } from "../trees.ts";
import {
  EACCES,
  EBUSY,
  EEXIST,
  EINVAL,
  ENOENT,
  ENOSYS,
  EPERM,
  type InitContext,
  type Performers,
  type StepArguments,
  slotValue,
} from "./context.ts";
import { maskPath } from "./masks.ts";
import { makeDirectories, makeMountPoint, openPlace, parentOf, refuseSymlink, standingIn, statOf } from "./paths.ts";
import {
  fromKernelRoot,
  isKernelPlace,
  keepKernelRoot,
  openProc,
  refuseInsideProcFd,
  releaseKernelRoots,
  requireProcRoot,
  setKernelRoot,
} from "./proc.ts";

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
  | "moveRoot"
  | "copyMountNamespace"
  | "takeViewBack"
  | "enterTree"
  | "mask"
  | "makeReadonly";

export const mountSteps: Performers<Ops> = {
  propagation({ target, mode }) {
    sys.mount(null, target, null, propagationFlags(mode), null);
  },

  mount(step, context) {
    const { target, fstype, flags, like } = step;
    if (target === "/" && context.inside && !flags.includes("remount")) leaveRoot(context);
    // In a tmpfs that is empty but for what we made there is no link, and the target is still to be made.
    const fresh = context.freshMounts.has(parentOf(target));
    if (fresh) makeFresh(target);
    if (fresh || !context.inside) mountAt(target, step, context);
    else mountOnPlace(step, context);
    if (isKernel(fstype) && context.inside && !flags.includes("remount") && isKernelPlace(target))
      keepKernelRoot(target, context);
    if (fstype === "tmpfs" && like !== "copy") context.freshMounts.add(target);
  },

  takeTree(step, context) {
    const { slot } = step.tree;
    if (context.slots.has(slot) || context.links?.has(slot)) return;
    if (step.ifReachable && raw.faccessat(AT_FDCWD, step.source, 0) === EACCES) return;
    if (step.link === "copied" && takeLink(step, context)) return;
    context.slots.set(slot, takeTreeOrAsk(step, context.channel));
  },

  takeFilesystem({ source, fstype, flags, data, tree, otherwise, idMap }, { slots, channel }) {
    const made =
      idMap === undefined
        ? takeFilesystemOr(source, fstype, flags, data, otherwise)
        : takeTreeByParent(channel, { source, fstype, flags, data, idMap });
    slots.set(tree.slot, made);
  },

  placeTree(step, context) {
    const { tree, target, fstype } = step;
    const link = context.links?.get(tree.slot);
    if (link !== undefined) return placeLink(link, target);
    const taken = slotValue(context.slots, tree);
    const fd = step.again ? madeAgain(taken) : taken;
    if (target === "/" && context.inside) leaveRoot(context);
    const { freshMounts } = context;
    if (freshMounts.size === 0 || !freshMounts.has(parentOf(target)) || !placeInFresh(fd, step)) {
      placeTree(fd, step, context);
      // A link may have led it onto any of them.
      if (freshMounts.size > 0 && !step.exact && fstype === undefined) freshMounts.clear();
    }
    if (fstype === "tmpfs") context.freshMounts.add(target);
    if (context.inside && isKernelPlace(target)) setKernelRoot(target, fd, context);
    // Not what could be a directory to go to: that of a file is closed at exec, a call less.
    else if (!step.file) raw.close(fd);
    context.slots.delete(tree.slot);
  },

  bind({ source, target, recursive, tree }, { slots }) {
    if (tree !== undefined) {
      const fd = slotValue(slots, tree);
      sys.moveMount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
      raw.close(fd);
      return;
    }
    sys.mount(source, target, null, MS_BIND | (recursive ? MS_REC : 0), null);
  },

  setMountFlags({ target, flags, clear, recursive }) {
    setMountFlags(target, flags, clear ?? [], recursive);
  },

  copyTree({ source, target }) {
    copyTree(source, target);
  },

  pivotRoot({ newRoot, putOld }) {
    sys.pivotRoot(newRoot, putOld);
  },

  moveRoot({ root, there }, context) {
    sys.chdir(root);
    if (!there) {
      hideKernelFilesystems(root);
      sys.mount(".", "/", null, MS_MOVE, null);
    }
    sys.chroot(".");
    sys.chdir("/");
    context.inside = true;
  },

  detach({ target }, context) {
    sys.umount2(target, MNT_DETACH);
    sys.chdir("/");
    context.inside = true;
  },

  copyMountNamespace({ original }, { slots }) {
    slots.set(original.slot, sys.openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0));
    sys.unshare(CLONE_NEWNS);
  },

  takeViewBack({ original, tree }, context) {
    const { slots } = context;
    context.inside = false;
    slots.set(tree.slot, sys.openTree(AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC));
    const namespace = slotValue(slots, original);
    sys.setns(namespace, CLONE_NEWNS);
    raw.close(namespace);
    slots.delete(original.slot);
  },

  enterTree({ tree, mount }, { slots }) {
    const fd = slotValue(slots, tree);
    sys.fchdir(fd);
    sys.chroot(".");
    const id = mountIdAt(mount);
    raw.close(fd);
    slots.delete(tree.slot);
    // Seen on Linux 7.3: who closes a tree that is mounted nowhere takes the mounts below its root away.
    if (mountIdAt(mount) !== id)
      throw new ContainerError(
        "SHARED_MOUNTS_UNAVAILABLE",
        "this kernel keeps no mounts of a container that shares its mount namespace",
        {
          field: "linux.namespaces",
          hint: 'give it a mount namespace of its own: {"type": "mount"} without a path',
        },
      );
  },

  mask({ path }, context) {
    maskPath(path, context);
  },

  makeReadonly({ path }, context) {
    const { from, below } = fromKernelRoot(path, context);
    standingIn(from, () => {
      const result = raw.mount(below, below, null, MS_BIND | MS_REC, null);
      if (result === ENOENT) return;
      check(result, "mount", path, path, null, MS_BIND | MS_REC, null);
      setMountFlags(below, ["ro"], [], true);
    });
  },
};

/** What follows is mounted on the root, and nothing that was mounted in it counts any more. */
function leaveRoot(context: InitContext): void {
  for (const place of context.kernelRoots?.keys() ?? []) raw.umount2(place, MNT_DETACH);
  releaseKernelRoots(context);
  context.freshMounts.clear();
}

const isKernel = (fstype: string): boolean => fstype === "proc" || fstype === "sysfs";

function makeFresh(target: string): void {
  const made = raw.mkdirat(AT_FDCWD, target, 0o755);
  if (made !== EEXIST) check(made, "mkdirat", target, 0o755);
}

/**
 * The target is opened once, looked at, and mounted on where it is, as the working directory: a link that another container
 * swaps in meanwhile changes nothing.
 */
function mountOnPlace(step: StepArguments<"mount">, context: InitContext): void {
  const { target, fstype } = step;
  const exact = isKernel(fstype);
  if (exact) refuseSymlink(target);
  const how = O_DIRECTORY | (exact ? O_NOFOLLOW : 0);
  let place = openPlace(target, how);
  const isMissing = place === ENOENT;
  if (isMissing) {
    makeDirectories(target, 0o755);
    place = openPlace(target, how);
  }
  check(place, "openat2", target, how);
  if (!exact) refuseInsideProcFd(place, target);
  // What was made for it has no mode and no files that it could have.
  const { like: _none, ...plain } = step;
  standingIn(place, () => mountAt(".", isMissing ? plain : step, context));
  raw.close(place);
}

/** mount(2), with what its options leave out. */
function mountAt(
  place: string,
  { source, target, fstype, flags, data, like, idMap, label }: StepArguments<"mount">,
  context: InitContext,
): void {
  const covered = like === undefined ? undefined : coveredDirectory(place);
  const bits = mountFlags(flags);
  const mode = covered === undefined || /(^|,)mode=/.test(data) ? "" : `mode=0${modeOf(covered).toString(8)}`;
  const labelled = label !== undefined && context.securityModules?.selinux === true;
  // The quotes are for the commas between categories.
  const written = labelled && label.as !== "attribute" ? `${label.as}="${label.text}"` : "";
  const options = [mode, data, written].filter((text) => text !== "").join(",");
  const attribute = labelled && label.as === "attribute" ? label.text : undefined;
  const copied = like === "copy" ? data : undefined;
  const needsRoot = copied !== undefined || attribute !== undefined;
  // From the working directory no path leads into what is mounted on it.
  const tree =
    idMap !== undefined
      ? takeTreeByParent(context.channel, { source, fstype, flags, data: options, idMap })
      : place === "." && needsRoot && written === ""
        ? makeFilesystem(source, fstype, flags, options)
        : undefined;
  if (tree !== undefined) {
    sys.moveMount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH);
    const root = sys.openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    raw.close(tree);
    return finish(root, { covered, attribute, copied });
  }
  let result = raw.mount(source, place, fstype, bits, options || null);
  if (result === ENOENT) {
    makeDirectories(place, 0o755);
    result = raw.mount(source, place, fstype, bits, options || null);
  }
  // The machine's tree is there already, with its /sys. move_mount(2) does not mind what mount(2) refuses.
  if (result === EBUSY && fstype === "cgroup2") {
    const tree = takeFilesystem(source, fstype, flags, data);
    result = raw.moveMount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH);
    raw.close(tree);
  }
  const path = place === "." ? (target === "/" ? COVER : target) : place;
  check(result, "mount", source, path, fstype, bits, options || null);
  if (needsRoot) {
    const root = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    finish(root, { covered, attribute, copied });
  } else if (covered !== undefined) raw.close(covered);
}

/** Undefined before Linux 5.2. */
function makeFilesystem(...what: Parameters<typeof takeFilesystem>): number | undefined {
  try {
    return takeFilesystem(...what);
  } catch (error) {
    if (error instanceof SysError && error.errno === -ENOSYS) return undefined;
    throw error;
  }
}

/** What is done in a new mount: its root is labelled; with `tmpcopyup` it gets what it covers. `copied`: the options then. */
function finish(
  root: number,
  {
    covered,
    attribute,
    copied,
  }: Record<"covered", number | undefined> & Record<"attribute" | "copied", string | undefined>,
): void {
  if (attribute !== undefined)
    check(raw.fsetxattr(root, "security.selinux", attribute, 0), "fsetxattr", root, "security.selinux", attribute);
  // Its own mode and owner are the tmpfs's options, where they are named.
  if (copied !== undefined && covered !== undefined)
    copyTreeInto(covered, root, { root: !/(^|,)(mode|uid|gid)=/.test(copied) });
  if (covered !== undefined) raw.close(covered);
  raw.close(root);
}

function setMountFlags(target: string, flags: readonly string[], clear: readonly string[], recursive: boolean): void {
  const change = { set: flags, clear, recursive };
  const result = setAttributes(AT_FDCWD, target, change);
  if (result !== ENOSYS) return void check(result, "mount_setattr", target, ...flags);
  const proc = openProc();
  const fd = sys.openat(AT_FDCWD, target, O_PATH | O_CLOEXEC, 0);
  remount(target, fd, proc, change);
  raw.close(fd);
  raw.close(proc);
}

/** Every whole proc and sysfs of the old root goes, or where it is locked gets a tmpfs on it. */
function hideKernelFilesystems(root: string): void {
  for (const line of readFile("/proc/self/mountinfo").split("\n")) {
    const [, , , top, mountPoint = ""] = line.split(" ", 5);
    const path = unescapePath(mountPoint);
    if (top !== "/" || !/ - (proc|sysfs) /.test(line) || path === root || path.startsWith(`${root}/`)) continue;
    const tied = raw.mount(null, path, null, propagationFlags("rslave"), null);
    if (tied === ENOENT) continue; // gone with what it was mounted in
    check(tied, "mount", null, path, null, "rslave", null);
    const gone = raw.umount2(path, MNT_DETACH);
    if (gone === EINVAL || gone === EPERM) sys.mount("tmpfs", path, "tmpfs", 0, null);
    else check(gone, "umount2", path, "MNT_DETACH");
  }
}

/** sysfs is refused to a user namespace that does not own the network namespace: the machine's is shown then, as crun does. */
function takeFilesystemOr(
  source: string,
  fstype: string,
  flags: readonly string[],
  data: string,
  otherwise: string | undefined,
): number {
  try {
    return takeFilesystem(source, fstype, flags, data);
  } catch (error) {
    if (otherwise === undefined || !(error instanceof SysError) || error.errno !== -EPERM) throw error;
    if (raw.faccessat(AT_FDCWD, otherwise, 0) === ENOENT) throw error;
    // Not only the mount itself: below it are others of the machine.
    return takeTree({
      source: otherwise,
      recursive: true,
      flags: [],
      recursiveFlags: [...flags],
      propagation: "rprivate",
    });
  }
}

/** Where neither what the machine's root owns nor the container's root reaches the source, or may take it, who started the container may. */
function takeTreeOrAsk(step: StepArguments<"takeTree">, channel: number): number {
  if (step.idMap !== undefined) return takeTreeByParent(channel, step);
  try {
    return takeTree(step);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const isLocked = step.outside && !step.inside && (error.errno === -EPERM || error.errno === -EINVAL);
    if (!isLocked && error.errno !== -EACCES) throw error;
    return takeTreeByParent(channel, step);
  }
}

/** With `copy-symlink`: notes what a symbolic link says, to be made anew. False when the source is none. */
function takeLink({ source, tree }: StepArguments<"takeTree">, context: InitContext): boolean {
  const text = raw.readlinkText(AT_FDCWD, source);
  if (typeof text !== "string") return false;
  context.links ??= new Map();
  context.links.set(tree.slot, text);
  return true;
}

function placeLink(text: string, target: string): void {
  let result = raw.symlinkat(text, AT_FDCWD, target);
  if (result === ENOENT) {
    makeDirectories(parentOf(target), 0o755);
    result = raw.symlinkat(text, AT_FDCWD, target);
  }
  if (result === EEXIST && raw.readlinkText(AT_FDCWD, target) === text) return;
  check(result, "symlinkat", text, target);
}

/** Of the mount that a path of the container leads to; undefined without a path or an answer, and before Linux 5.8. */
function mountIdAt(path: string | undefined): number | undefined {
  if (path === undefined) return undefined;
  const buffer = new ArrayBuffer(STATX_SIZE);
  if (raw.statx(AT_FDCWD, path, 0, STATX_MNT_ID, buffer) < 0) return undefined;
  return parseStatx(buffer).mountId;
}

/** The same tree as a younger mount; an unbindable one stays as it is. */
function madeAgain(tree: number): number {
  const flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC;
  const younger = raw.openTree(tree, "", flags);
  if (younger < 0) return tree;
  raw.close(tree);
  return younger;
}

/**
 * In a tmpfs that is empty but for what we made there is nothing to look at: two calls instead of eight. False where the tree
 * is not what it was thought to be, or where we made something of the name before.
 */
function placeInFresh(tree: number, { target, exact, proc, file }: StepArguments<"placeTree">): boolean {
  if (exact || proc) return false;
  const made = file ? raw.mknodat(AT_FDCWD, target, S_IFREG | 0o644, 0) : raw.mkdirat(AT_FDCWD, target, 0o755);
  if (made < 0) return false;
  if (raw.moveMount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) >= 0) return true;
  sys.unlinkat(AT_FDCWD, target, file ? 0 : AT_REMOVEDIR);
  return false;
}

/**
 * The target is opened once, looked at, and mounted on by descriptor: a link that another container swaps in meanwhile
 * changes nothing.
 */
function placeTree(
  tree: number,
  { target, exact, nofollow, proc }: StepArguments<"placeTree">,
  { inside }: InitContext,
): void {
  if (exact) refuseSymlink(target);
  if (proc) requireProcRoot(tree, target);
  const how = exact || nofollow ? O_NOFOLLOW : 0;
  let place = openTarget(target, how, inside);
  if (place === ENOENT) {
    makeMountPoint(target, tree);
    place = openTarget(target, how, inside);
  }
  if (place < 0) check(place, "openat2", target, how);
  if (!exact && !proc) refuseInsideProcFd(place, target);
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  const result = raw.moveMount(tree, "", place, "", flags);
  raw.close(place);
  if (result < 0) check(result, "move_mount", tree, "", AT_FDCWD, target, flags);
}

/** With hooks the view is placed on the rootfs, a path of the machine that its caller names. */
const openTarget = (target: string, how: number, inside: boolean | undefined): number =>
  inside ? openPlace(target, how) : raw.openat(AT_FDCWD, target, O_PATH | O_CLOEXEC | how, 0);

/** What a tmpfs is going to cover; undefined where there is nothing yet. */
function coveredDirectory(target: string): number | undefined {
  const fd = raw.openat(AT_FDCWD, target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  return fd === ENOENT ? undefined : check(fd, "openat", AT_FDCWD, target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

const modeOf = (fd: number): number => statOf(fd, "", AT_EMPTY_PATH).mode & 0o7777;
