/** The root filesystem of a container, as CRIU wants it for a restore. */
import type { ExternalMount } from "../plan/criu-options.ts";
import type { Config } from "../spec/config.ts";
import {
  AT_FDCWD,
  CLONE_NEWNS,
  MNT_DETACH,
  MS_BIND,
  MS_REC,
  MS_SLAVE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
} from "../sys/constants.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { openInRoot, openOrMake } from "./init/live-mounts.ts";
import { parentOf } from "./init/paths.ts";

/**
 * Makes it a mount point, in a view of criu's own: nothing of it is left whatever happens. Places of mounts that are missing, also
 * within one another, are made, as `create` does it: of binds, and those that `others` names.
 */
export function mountCriuRoot(
  { path: root, readonly }: Config["root"],
  at: string,
  mounts: readonly ExternalMount[],
  others: readonly string[],
): void {
  sys.unshare(CLONE_NEWNS);
  sys.mount(null, "/", null, MS_REC | MS_SLAVE, null);
  const bind = () => sys.mount(root, at, null, MS_BIND | MS_REC, null);
  bind();
  const top = openTree(at);
  for (const { destination, source } of mounts) {
    const like = sys.openat(AT_FDCWD, source, O_PATH | O_CLOEXEC, 0);
    const place = openOrMake(destination, { like, root: top });
    sys.mount(source, `/proc/self/fd/${place}`, null, MS_BIND | MS_REC, null);
    for (const fd of [like, place]) raw.close(fd);
  }
  for (const place of others) raw.close(openOrMake(place, { root: top }));
  // criu leaves the old root there for a moment; in a root that is read-only it cannot make a place.
  if (readonly) raw.close(openOrMake("/tmp", { root: top }));
  raw.close(top);
  // criu mounts all of that by itself.
  sys.umount2(at, MNT_DETACH);
  bind();
}

const openTree = (path: string): number => sys.openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

/** Where a path of the container leads past symbolic links of its root filesystem: the name that the kernel has for a mount there. */
export function resolveInRoot(root: string, path: string): string {
  const top = openTree(root);
  const nameOf = (fd: number) => sys.readlinkText(AT_FDCWD, `/proc/self/fd/${fd}`);
  const resolve = (wanted: string): string => {
    const place = openInRoot(wanted, O_PATH | O_CLOEXEC, top);
    if (place < 0 && wanted !== "/")
      return `${resolve(parentOf(wanted)).replace(/\/$/, "")}${wanted.slice(wanted.lastIndexOf("/"))}`;
    check(place, "openat2", wanted, "RESOLVE_IN_ROOT");
    const [base, name] = [nameOf(top), nameOf(place)];
    raw.close(place);
    return base === "/" ? name : name.slice(base.length) || "/";
  };
  const resolved = resolve(path);
  raw.close(top);
  return resolved;
}
