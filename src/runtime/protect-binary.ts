/**
 * The runtime's own file, out of the container's reach (CVE-2019-5736).
 *
 * Whatever becomes a container's process is for a moment this program, and a container can make it so again:
 * `/proc/self/exe` as its command, or as the interpreter of a script. Through /proc/PID/exe its root would then write to the
 * file on the machine as soon as nobody executes it any more. So the program executes itself once more, from a read-only view
 * of its directory that no mount namespace has: an overlay without an upper layer cannot be written or made writable.
 * Where there can be none (an overlay over two others, an old kernel in a user namespace) it is a sealed copy in memory.
 */
import { ContainerError } from "../error.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  O_CLOEXEC,
  O_PATH,
  O_RDONLY,
} from "../sys/constants.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { raw, SysError, sys } from "../sys/sys.ts";

const [EPERM, EACCES, EROFS] = [-1, -13, -30];
const SELF = "/proc/self/exe";
/** An overlay without an upper layer needs two lower ones: any directory of the machine will do. */
const OTHER_LAYER = "/run";
const COPY_NAME = "tupper-runtime";

/**
 * To be called before anything that starts a container's process. Executes the program anew with the same arguments and
 * environment, and returns only in that new one. Throws BINARY_UNPROTECTED.
 */
export function protectBinary(argv: readonly string[]): void {
  if (isProtected()) return;
  const program = openInOverlay() ?? sealedCopy();
  const result = raw.execveat(program, "", argv, raw.environment() as string[], AT_EMPTY_PATH);
  throw unprotected(new SysError("execveat", -result, [SELF]));
}

/** Not to be written by us, and so by no container of ours (the overlay is of that kind too), or a copy in memory. */
function isProtected(): boolean {
  const W_OK = 2;
  const access = raw.faccessat(AT_FDCWD, SELF, W_OK);
  // Who owns a file may give himself the right.
  if (access === EACCES) return !isOwn();
  if (access === EROFS) return true;
  // EPERM: an immutable file (chattr(1)), but who made it one can take that back.
  if (access < 0 && access !== EPERM) throw unprotected(new SysError("faccessat", -access, [SELF, W_OK]));
  return sys.readlinkText(AT_FDCWD, SELF).startsWith(`/memfd:${COPY_NAME} `);
}

function isOwn(): boolean {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(AT_FDCWD, SELF, 0, STATX_BASIC_STATS, buffer);
  return parseStatx(buffer).uid === raw.geteuid();
}

/** A descriptor of this program in a view of its directory. Undefined where there can be no such view. */
function openInOverlay(): number | undefined {
  const [FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, SET_STRING, CREATE] = [1, 1, 1, 6];
  const path = sys.readlinkText(AT_FDCWD, SELF);
  const at = path.lastIndexOf("/");
  const directory = path.slice(0, at) || "/";
  if (/[:,\\]/.test(directory)) return undefined;
  const fs = raw.fsopen("overlay", FSOPEN_CLOEXEC);
  if (fs < 0) return undefined;
  const made =
    raw.fsconfig(fs, SET_STRING, "lowerdir", `${directory}:${OTHER_LAYER}`, 0) >= 0 &&
    raw.fsconfig(fs, CREATE, null, null, 0) >= 0;
  const mount = made ? raw.fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID) : -1;
  raw.close(fs);
  if (mount < 0) return undefined;
  const program = raw.openat(mount, path.slice(at + 1), O_PATH | O_CLOEXEC, 0);
  raw.close(mount);
  return program < 0 ? undefined : program;
}

/** memfd_create(2): nobody can change it, not even who has a descriptor of it. */
function sealedCopy(): number {
  try {
    const copy = sys.memfdCreate(COPY_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const original = sys.openat(AT_FDCWD, SELF, O_RDONLY | O_CLOEXEC, 0);
    while (sys.sendfile(copy, original, null, 0x7ffff000) > 0) {}
    raw.close(original);
    sys.fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    return copy;
  } catch (error) {
    throw error instanceof SysError ? unprotected(error) : error;
  }
}

function unprotected(cause: SysError): ContainerError {
  const hint =
    cause.code === "ENOENT"
      ? "it is found by /proc/self/exe: mount -t proc proc /proc"
      : "it needs an overlay filesystem, or some megabytes of memory for a copy of itself";
  return new ContainerError("BINARY_UNPROTECTED", "cannot protect the runtime's own file from the container", {
    cause,
    ...(cause.code === "EMFILE" || cause.code === "ENFILE" ? {} : { hint }),
  });
}
