/**
 * `linux.maskedPaths`: what is hidden. A file gets the null device over it, a directory an empty read-only tmpfs.
 *
 * /dev/null is a path of the container: where its /dev comes from the root filesystem or from a volume, another file may
 * stand there, and to bind that over a masked one would hand it out (CVE-2025-31133). So it is opened once, looked
 * at, and cloned by descriptor.
 */
import { ContainerError } from "../../error.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_RDONLY,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
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
  context.nullDevice ??= openNullDevice();
  context.nullTree ??= check(
    raw.openTree(context.nullDevice, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH),
    "open_tree",
    "/dev/null",
  );
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

function openNullDevice(): number {
  const how = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  const fd = raw.openat(AT_FDCWD, "/dev/null", how, 0);
  if (fd >= 0) {
    const { mode, rdevMajor, rdevMinor } = statOf(fd, "", AT_EMPTY_PATH);
    if ((mode & S_IFMT) === S_IFCHR && rdevMajor === 1 && rdevMinor === 3) return fd;
    raw.close(fd);
  }
  throw new ContainerError(
    "NULL_DEVICE_INVALID",
    "/dev/null of the container is not the null device: it hides nothing",
    {
      hint: "the root filesystem or a mount on /dev brings another file of that name; paths are masked with the null device",
    },
  );
}
