/**
 * `linux.maskedPaths`: what is hidden. A file gets the null device over it, a directory an empty read-only tmpfs.
 *
 * /dev/null is a path of the container: where its /dev comes from the root filesystem or from a volume, another file may
 * stand there, and to bind that over a masked one would hand it out (CVE-2025-31133). So a clone of it is taken, looked
 * at, and cloned on by descriptor.
 */
import { ContainerError } from "../../error.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_RDONLY,
  O_CLOEXEC,
  OPEN_TREE_CLONE,
  S_IFCHR,
  S_IFMT,
} from "../../sys/constants.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { EINVAL, ENOENT, ENOTDIR, type InitContext } from "./context.ts";
import { statOf } from "./paths.ts";

const FOLLOW_TARGET = 0x10; // MOVE_MOUNT_T_SYMLINKS

/** Hides a path; one that is not there is fine. */
export function maskPath(path: string, context: InitContext): void {
  context.nullTree ??= takeNullDevice(context);
  const flags = MOVE_MOUNT_F_EMPTY_PATH | FOLLOW_TARGET;
  const result = raw.moveMount(context.nullTree, "", AT_FDCWD, path, flags);
  // Its descriptor is closed at exec: a call less.
  if (result >= 0) context.nullTree = undefined;
  else if (result === EINVAL) maskDirectory(path, context);
  // Not there: the clone is kept for the next path.
  else if (result !== ENOENT && result !== ENOTDIR)
    check(result, "move_mount", context.nullTree, "", AT_FDCWD, path, flags);
}

/** A file cannot be mounted on a directory: EINVAL. */
function maskDirectory(path: string, context: InitContext): void {
  if (context.maskedDirectory !== undefined) {
    sys.mount(context.maskedDirectory, path, null, MS_BIND, null);
    return;
  }
  sys.mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k");
  context.maskedDirectory = path;
}

/** A clone of the null device: what was looked at is what is mounted. Later ones are clones of the first. */
function takeNullDevice(context: InitContext): number {
  const how = OPEN_TREE_CLONE | O_CLOEXEC;
  if (context.nullDevice !== undefined) {
    const clone = raw.openTree(context.nullDevice, "", how | AT_EMPTY_PATH);
    return check(clone, "open_tree", "/dev/null");
  }
  const tree = raw.openTree(AT_FDCWD, "/dev/null", how | AT_SYMLINK_NOFOLLOW);
  // Not there: then it is none either.
  if (tree !== ENOENT) {
    check(tree, "open_tree", "/dev/null");
    const { mode, rdevMajor, rdevMinor } = statOf(tree, "", AT_EMPTY_PATH);
    if ((mode & S_IFMT) === S_IFCHR && rdevMajor === 1 && rdevMinor === 3) {
      context.nullDevice = tree;
      return tree;
    }
    raw.close(tree);
  }
  throw new ContainerError(
    "NULL_DEVICE_INVALID",
    "/dev/null of the container is not the null device: it hides nothing",
    {
      hint: "the root filesystem or a mount on /dev brings another file of that name; paths are masked with the null device",
    },
  );
}
