/** Trees of mounts as descriptors: clones of what is mounted, new filesystems, owners mapped. open_tree(2), fsopen(2). */
import { ContainerError } from "../error.ts";
import { FLAGS_OF_SOURCE, type IdMap, type TakenTree } from "../plan/step.ts";
import type { IdMapping } from "../spec/config.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  MOUNT_ATTR_IDMAP,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLONE,
  RESOLVE_NO_MAGICLINKS,
} from "../sys/constants.ts";
import { writeFile } from "../sys/files.ts";
import { packMountAttr, packOpenHow } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { changeInCopy, type MountChange, packChange, setAttributes } from "./change-mounts.ts";
import { openChannel, receive, send } from "./channel.ts";
import { EINVAL, ENOSYS, EPERM } from "./init/context.ts";
import { mountAttributeBits, propagationFlags } from "./mount-flags.ts";
import { reap } from "./wait.ts";

/**
 * A clone of a mounted tree. Unless its propagation says so, what is mounted on either side later stays there.
 * open_tree_attr needs Linux 6.15, mount_setattr 5.12; change-mounts.ts does without. `found`: the source, where it is open already.
 * Throws {@link SysError}.
 */
export function takeTree(request: Omit<TakenTree, "tree">, found?: number): number {
  const alike = found === undefined ? takeAlike(request) : ENOSYS;
  if (alike >= 0) return alike;
  const { flags, clear = [], recursiveFlags } = request;
  if (flags.length + clear.length === 0) return takeChanged(request, found);
  const named = [...flags, ...clear, ...recursiveFlags];
  const others = FLAGS_OF_SOURCE.filter((flag) => !named.includes(flag));
  try {
    return takeChanged({ ...request, clear: [...clear, ...others] }, found);
  } catch (error) {
    // A user namespace cannot take away flags of mounts that it has from outside, but for nosymfollow. mount_namespaces(7)
    if (!(error instanceof SysError) || error.errno !== -EPERM) throw error;
    return takeChanged({ ...request, clear: [...clear, ...others.filter((flag) => flag === "nosymfollow")] }, found);
  }
}

/** What the trees of a config have in common, packed: bind mounts with the same options, the groups of all hierarchies. */
let common:
  | (Pick<TakenTree, "flags" | "recursiveFlags" | "recursive"> & {
      propagation: string | undefined;
      packed: ArrayBuffer;
    })
  | undefined;

/** By one open_tree_attr. Negative where more than that is wanted, or it does not work: then the long way says why. */
function takeAlike(request: Omit<TakenTree, "tree">): number {
  const { source, recursive, link, inside, flags, clear, recursiveFlags, recursiveClear, propagation } = request;
  if (inside || link !== undefined || clear !== undefined || recursiveClear !== undefined) return ENOSYS;
  if (recursive && flags.length + recursiveFlags.length > 0) return ENOSYS;
  if (
    common?.flags !== flags ||
    common.recursiveFlags !== recursiveFlags ||
    common.propagation !== propagation ||
    common.recursive !== recursive
  ) {
    const named = [...flags, ...recursiveFlags];
    const others = flags.length === 0 ? [] : FLAGS_OF_SOURCE.filter((flag) => !named.includes(flag));
    const { all } = changes({ ...request, clear: others });
    if (all === undefined) return ENOSYS;
    common = { flags, recursiveFlags, propagation, recursive, packed: packChange(all) };
  }
  const how = OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
  return raw.openTreeAttr(AT_FDCWD, source, how, common.packed);
}

function takeChanged(request: Omit<TakenTree, "tree">, found?: number): number {
  const { recursive, link } = request;
  const from = found ?? (request.inside ? openInside(request) : AT_FDCWD);
  const source = from === AT_FDCWD ? request.source : "";
  const how =
    OPEN_TREE_CLONE |
    O_CLOEXEC |
    (recursive ? AT_RECURSIVE : 0) |
    (source === "" ? AT_EMPTY_PATH : link === "bound" ? AT_SYMLINK_NOFOLLOW : 0);
  const { all, top } = changes(request);
  let tree = all === undefined ? ENOSYS : raw.openTreeAttr(from, source, how, packChange(all));
  if (tree >= 0) return change(tree, source, [top]);
  if (tree !== ENOSYS && tree !== EINVAL) check(tree, "open_tree_attr", from, source, how);
  tree = openForeignTree(from, source, how);
  return change(tree, source, [all, top]);
}

/** A link of the container must not lead to what descriptors of the set-up hold of the machine. Closed at exec: a call less. */
function openInside({ source, link }: Pick<TakenTree, "source" | "link">): number {
  const flags = O_PATH | O_CLOEXEC | (link === "bound" ? O_NOFOLLOW : 0);
  return check(
    raw.openat2(AT_FDCWD, source, packOpenHow({ flags, resolve: RESOLVE_NO_MAGICLINKS })),
    "openat2",
    source,
    "RESOLVE_NO_MAGICLINKS",
  );
}

/** What changes of the whole tree, and after that of its topmost mount alone. */
function changes({
  recursive,
  flags,
  clear = [],
  recursiveFlags,
  recursiveClear = [],
  propagation,
}: Omit<TakenTree, "tree">): { all: MountChange | undefined; top: MountChange | undefined } {
  const mode = propagation === undefined ? 0 : propagationFlags(propagation.replace(/^r/, ""));
  const wanted = (set: readonly string[], cleared: readonly string[], spread: number, below: boolean) =>
    set.length + cleared.length + spread === 0
      ? undefined
      : { set, clear: cleared, propagation: spread, recursive: below };
  if (!recursive)
    return {
      all: wanted([...flags, ...recursiveFlags], [...clear, ...recursiveClear], mode, false),
      top: undefined,
    };
  return { all: wanted(recursiveFlags, recursiveClear, mode, true), top: wanted(flags, clear, 0, false) };
}

function change(tree: number, source: string, wanted: readonly (MountChange | undefined)[]): number {
  const left = wanted.filter((item) => item !== undefined);
  for (const item of left) {
    const result = setAttributes(tree, "", item);
    if (result === ENOSYS) return changeInCopy(tree, left);
    check(result, "mount_setattr", source);
  }
  return tree;
}

export const FOREIGN: RegExp = /^\/proc\/(\d+)\/root(\/.*)$/;

/** open_tree clones only mounts of the caller's own mount namespace: for /proc/PID/root/… it goes there and comes back. */
function openForeignTree(from: number, source: string, how: number): number {
  const [, pid, path] = FOREIGN.exec(source) ?? [];
  if (path === undefined) return sys.openTree(from, source, how);
  const own = sys.openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
  const other = sys.openat(AT_FDCWD, `/proc/${pid}/ns/mnt`, O_RDONLY | O_CLOEXEC, 0);
  sys.setns(other, CLONE_NEWNS);
  const tree = raw.openTree(AT_FDCWD, path, how);
  sys.setns(own, CLONE_NEWNS);
  raw.close(own);
  raw.close(other);
  return check(tree, "open_tree", source, how);
}

const OF_SUPERBLOCK: ReadonlySet<string> = new Set(["ro", "sync", "dirsync", "lazytime", "mand"]);

/** A new filesystem. fsopen(2), Linux 5.2. Throws {@link SysError}. */
export function takeFilesystem(
  source: string,
  fstype: string,
  flags: readonly string[],
  data: string,
  label?: { text: string; as: string },
): number {
  const [FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC] = [1, 1];
  const [SET_FLAG, SET_STRING, CREATE] = [0, 1, 6]; // FSCONFIG_*
  const fs = sys.fsopen(fstype, FSOPEN_CLOEXEC);
  try {
    sys.fsconfig(fs, SET_STRING, "source", source, 0);
    // A kernel without SELinux does not know the option.
    if (label !== undefined) raw.fsconfig(fs, SET_STRING, label.as, label.text, 0);
    // As mount(2) has it: the filesystem itself is read-only, not only this mount of it.
    for (const flag of flags) if (OF_SUPERBLOCK.has(flag)) sys.fsconfig(fs, SET_FLAG, flag, null, 0);
    for (const [, name = "", quoted, plain = quoted] of data.matchAll(/([^,=]+)(?:="([^"]*)"|=([^,]*))?/g)) {
      if (plain === undefined) sys.fsconfig(fs, SET_FLAG, name, null, 0);
      else sys.fsconfig(fs, SET_STRING, name, plain, 0);
    }
    sys.fsconfig(fs, CREATE, null, null, 0);
    return sys.fsmount(fs, FSMOUNT_CLOEXEC, mountAttributeBits(flags));
  } finally {
    raw.close(fs);
  }
}

/**
 * Shows the owners in a taken tree through a user namespace. Only what is mounted nowhere yet can be changed so, and not
 * every filesystem can: tmpfs since Linux 6.3, overlay since 5.19. Throws a {@link ContainerError} that says that.
 */
export function mapOwners(
  tree: number,
  namespace: number,
  { source, fstype }: { source: string; fstype?: string },
  all: boolean,
): void {
  const attributes = packMountAttr({ set: MOUNT_ATTR_IDMAP, usernsFd: namespace });
  const result = raw.mountSetattr(tree, "", AT_EMPTY_PATH | (all ? AT_RECURSIVE : 0), attributes);
  if (result === EINVAL)
    throw new ContainerError(
      "MOUNT_IDMAP_REFUSED",
      `${fstype ?? `the filesystem of ${source}`} cannot show other owners`,
      {
        hint: "ext4, xfs, btrfs and most others can, tmpfs since Linux 6.3; an overlay cannot, nor can a mount whose owners are mapped already",
      },
    );
  check(result, "mount_setattr", source, "MOUNT_ATTR_IDMAP");
}

/** The user namespace that a mount's owners are shown through, as a descriptor. */
export const openIdMap = ({ userns, uidMappings, gidMappings }: IdMap): number =>
  userns === undefined
    ? openMappedNamespace(uidMappings, gidMappings)
    : sys.openat(AT_FDCWD, userns, O_RDONLY | O_CLOEXEC, 0);

/** A user namespace with these maps, as a descriptor: a process that lives as long as it takes to open it is its first. */
function openMappedNamespace(uidMappings: readonly IdMapping[], gidMappings: readonly IdMapping[]): number {
  const [ours, theirs] = openChannel();
  const pid = check(
    raw.spawn(CLONE_NEWUSER, 0, theirs, ours, () => {
      raw.close(ours);
      send(theirs, { kind: "map" });
      receive(theirs); // nothing comes: the end of file is the end
      raw.exitGroup(0);
    }),
    "clone3",
    "user",
  );
  try {
    writeFile(`/proc/${pid}/uid_map`, mapText(uidMappings));
    writeFile(`/proc/${pid}/gid_map`, mapText(gidMappings));
    return sys.openat(AT_FDCWD, `/proc/${pid}/ns/user`, O_RDONLY | O_CLOEXEC, 0);
  } finally {
    raw.close(ours);
    reap(pid);
  }
}

/** As uid_map and gid_map take it. user_namespaces(7) */
export const mapText = (mappings: readonly IdMapping[]): string =>
  mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join("");
