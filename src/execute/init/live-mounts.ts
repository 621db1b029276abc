/**
 * Steps of a process that goes into a running container: mounts placed and taken away while its processes, which may be
 * hostile, look on. They rename directories and swap links at any moment: every path is resolved once, in the container's
 * root and past no magic link (CVE-2021-30465), and what it led to is from then on a descriptor.
 */
import { ContainerError } from "../../error.ts";
import { MACHINE_PROC } from "../../plan/plan-mounts.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  S_IFDIR,
  S_IFMT,
} from "../../sys/constants.ts";
import { packOpenHow, STATX_SIZE } from "../../sys/structs.ts";
import { check, EAGAIN, raw, sys } from "../../sys/sys.ts";
import { receive, send, unpackError } from "../channel.ts";
import { EEXIST, ENOENT, ENOTDIR, type InitContext, type Performers, slotValue } from "./context.ts";
import { parentOf, statOf } from "./paths.ts";
import { refuseInsideProcFd } from "./proc.ts";

type Ops = "placeInside" | "unmountInside" | "reportPlaced";

export const liveMountSteps: Performers<Ops> = {
  placeInside({ tree, target, nofollow = false }, context) {
    const fd = slotValue(context.slots, tree);
    context.placed ??= [];
    try {
      const place = openOrMake(target, { like: fd, nofollow });
      refuseInsideProcFd(place, target);
      // Before it is there: whoever is killed after that leaves nothing that nobody knows of.
      send(context.channel, { kind: "placing", mount: { target, mountId: mountIdOf(fd) } });
      const { message } = receive(context.channel) ?? {};
      if (message?.kind === "error") throw unpackError(message.error);
      sys.moveMount(fd, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
      raw.close(place);
    } catch (error) {
      undo(context);
      throw error;
    }
    context.placed.push({ target, fd });
  },

  unmountInside({ mounts }, context) {
    const tops = mounts.map(({ target, mountId, field }) => {
      const fd = openInRoot(target, O_PATH | O_CLOEXEC);
      if (!GONE.has(fd)) check(fd, "openat2", target, "RESOLVE_IN_ROOT");
      if (fd >= 0 && mountIdOf(fd) === mountId) return fd;
      throw new ContainerError("MOUNT_NOT_THERE", `the mount that was added at ${target} is not there any more`, {
        field,
        hint: "the container has moved it, unmounted it, or mounted something on it",
      });
    });
    for (const fd of tops) check(unmount(fd, context), "umount2", fd, "MNT_DETACH");
  },

  reportPlaced(_step, context) {
    try {
      send(context.channel, { kind: "placed" });
    } catch (error) {
      undo(context);
      throw error;
    }
    if (receive(context.channel)?.message.kind !== "done") undo(context);
  },
};

/** What the container may have made of a path meanwhile: it is not there, goes through a file, a ring of links, or a magic link. */
const ELOOP = -40;
const GONE: ReadonlySet<number> = new Set([ENOENT, ENOTDIR, ELOOP]);

/** openat2(2) in the container's root: `top`, else our own. A descriptor or -errno. */
export function openInRoot(path: string, flags: number, top?: number): number {
  const how = packOpenHow({ flags, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS });
  const root = top ?? sys.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  // A rename meanwhile, on a path with `..` in a link, is EAGAIN.
  let fd = raw.openat2(root, path, how);
  for (let i = 0; fd === EAGAIN && i < 128; i++) fd = raw.openat2(root, path, how);
  if (top === undefined) raw.close(root);
  return fd;
}

/** The place, made where it is missing: a directory for a tree whose root is one (or without `like`), else an empty file. */
export function openOrMake(
  path: string,
  { like, nofollow = false, root }: { like?: number; nofollow?: boolean; root?: number },
): number {
  const how = O_PATH | O_CLOEXEC | (nofollow ? O_NOFOLLOW : 0);
  const found = openInRoot(path, how, root);
  if (found !== ENOENT) return check(found, "openat2", path, "RESOLVE_IN_ROOT");
  const above = openOrMake(parentOf(path), root === undefined ? {} : { root });
  const name = path.slice(path.lastIndexOf("/") + 1);
  const isDirectory = like === undefined || (statOf(like, "", AT_EMPTY_PATH).mode & S_IFMT) === S_IFDIR;
  if (isDirectory) {
    const made = raw.mkdirat(above, name, 0o755);
    if (made !== EEXIST) check(made, "mkdirat", path, 0o755);
  } else {
    const made = raw.openat(above, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0o644);
    if (made !== EEXIST) raw.close(check(made, "openat", path, "O_CREAT"));
  }
  // Under its name in the directory that we hold: there is no second way there.
  return check(raw.openat(above, name, O_PATH | O_CLOEXEC | O_NOFOLLOW, 0), "openat", path, "O_PATH");
}

const STATX_MNT_ID = 0x1000;
/** Linux 6.8: a number that is not given away again. */
const STATX_MNT_ID_UNIQUE = 0x4000;

export function mountIdOf(fd: number): string {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_MNT_ID_UNIQUE, buffer);
  return String(new DataView(buffer).getBigUint64(144, true));
}

/** Takes away the mount whose root the descriptor is: umount2(2) knows only paths, so by its name in the machine's /proc. */
function unmount(fd: number, { slots }: InitContext): number {
  const fds = sys.openat(slotValue(slots, MACHINE_PROC), "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  sys.fchdir(fds);
  const result = raw.umount2(String(fd), MNT_DETACH);
  sys.chdir("/");
  raw.close(fds);
  return result;
}

/** All or nothing: what was placed goes, the last one first. */
function undo(context: InitContext): void {
  for (const { target, fd } of (context.placed ?? []).reverse()) {
    const result = unmount(fd, context);
    if (result < 0)
      send(context.channel, { kind: "warning", text: `the mount at ${target} could not be undone (${-result})` });
  }
  context.placed = [];
}
