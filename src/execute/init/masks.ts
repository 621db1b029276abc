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
  MS_RDONLY,
  O_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../../sys/constants.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { EINVAL, ENOENT, ENOTDIR, type InitContext } from "./context.ts";
import { isNullDevice, standingIn } from "./paths.ts";
import { fromKernelRoot } from "./proc.ts";

const MOVE_MOUNT_T_SYMLINKS = 0x10;
const ONTO = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS;

/** Hides a path; one that is not there is fine. */
export function maskPath(path: string, context: InitContext): void {
  context.nullTree ??= takeNullDevice(context);
  const { from, below } = fromKernelRoot(path, context);
  const result = raw.moveMount(context.nullTree, "", from, below, ONTO);
  // Its descriptor is closed at exec: a call less.
  if (result >= 0) context.nullTree = undefined;
  else if (result === EINVAL) maskDirectory(from, below, context);
  // Not there: the clone is kept for the next path.
  else if (result !== ENOENT && result !== ENOTDIR)
    check(result, "move_mount", context.nullTree, "", from, below, ONTO);
}

/** A file cannot be mounted on a directory: EINVAL. */
function maskDirectory(from: number, path: string, context: InitContext): void {
  const { maskedDirectory } = context;
  if (maskedDirectory !== undefined) {
    const how = OPEN_TREE_CLONE | O_CLOEXEC;
    const tree = raw.openTree(maskedDirectory.from, maskedDirectory.path, how);
    // A directory above it may have been hidden since.
    if (tree !== ENOENT) {
      check(tree, "open_tree", maskedDirectory.from, maskedDirectory.path, how);
      sys.moveMount(tree, "", from, path, ONTO);
      raw.close(tree); // a directory, which the command's directory could be named by
      return;
    }
  }
  standingIn(from, () => sys.mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k"));
  context.maskedDirectory = { from, path };
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
    if (isNullDevice(tree)) {
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
