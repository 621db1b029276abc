/** Steps of the init process: directories, device nodes, links, the working directory, values in files of the kernel. */
import { ContainerError } from "../../error.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT } from "../../sys/constants.ts";
import { writeFile } from "../../sys/files.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { EACCES, EEXIST, ENOENT, type Performers } from "./context.ts";
import { makeDirectories, makeIn, parentOf, refuseUnreachable, statOf } from "./paths.ts";
import { releaseKernelRoots, writeProcFile } from "./proc.ts";

type Ops = "makeDirectory" | "makeNode" | "makeLink" | "changeDirectory" | "write";

export const fileSteps: Performers<Ops> = {
  makeDirectory({ path, mode, like, ifMissing }) {
    if (ifMissing && raw.faccessat(AT_FDCWD, path, 0) !== ENOENT) return;
    makeDirectories(path, mode);
    if (like === undefined) return;
    const { mode: likeMode, uid, gid } = statOf(AT_FDCWD, like.path, 0);
    const [UNMAPPED, UNCHANGED] = [65534, -1];
    const known = (owner: number) => (like.userns && owner === UNMAPPED ? UNCHANGED : owner);
    sys.fchownat(AT_FDCWD, path, known(uid), known(gid), 0);
    sys.fchmodat(AT_FDCWD, path, likeMode & 0o7777);
  },

  makeNode({ path, type, major, minor, mode, uid, gid, exact, field }, context) {
    const format = NODE_FORMATS[type];
    const dev = deviceNumber(major, minor);
    const make = (directory: number, name: string) => {
      const made = raw.mknodat(directory, name, format | mode, dev);
      if (made >= 0 && uid + gid !== 0) sys.fchownat(directory, name, uid, gid, AT_SYMLINK_NOFOLLOW);
      return made;
    };
    // Six of them in every container: in a /dev that is our own a path is as good.
    const result = context.freshMounts.has(parentOf(path)) ? make(AT_FDCWD, path) : makeWithParents(path, make);
    if (result === EEXIST) {
      if (exact) requireNode(path, format, [major, minor], field);
      return;
    }
    check(result, "mknodat", path, format | mode, dev);
  },

  makeLink({ target, path, replace }, context) {
    const make = (directory: number, name: string) => {
      const made = raw.symlinkat(target, directory, name);
      if (made !== EEXIST || !replace || raw.readlinkText(directory, name) === target) return made;
      sys.unlinkat(directory, name, 0);
      return raw.symlinkat(target, directory, name);
    };
    const result = context.freshMounts.has(parentOf(path)) ? make(AT_FDCWD, path) : makeIn(path, make);
    if (result !== EEXIST) check(result, "symlinkat", target, path);
  },

  changeDirectory({ path, inside, mustExist }, context) {
    if (inside) releaseKernelRoots(context);
    let result = raw.chdir(path);
    if (result === ENOENT && inside && !mustExist) {
      makeDirectories(path, 0o755);
      result = raw.chdir(path);
    }
    // On filesystems such as FUSE and NFS what the command's user may, root may not: setUser tries again.
    if (result === EACCES && inside) context.laterDirectory = path;
    else check(result, "chdir", path);
    if (inside) refuseUnreachable(path);
  },

  write({ path, value }, context) {
    if (path.startsWith("/proc/sys/")) writeProcFile(path, value, context);
    else writeFile(path, value);
  },
};

export const NODE_FORMATS = { c: S_IFCHR, b: S_IFBLK, p: S_IFIFO } as const;

/** makedev(3): 12 low bits of major above 8 low bits of minor, the rest of minor above them. */
export const deviceNumber = (major: number, minor: number): number =>
  ((minor & 0xff) | ((major & 0xfff) << 8)) + (minor >> 8) * 2 ** 20;

function makeWithParents(path: string, make: (directory: number, name: string) => number): number {
  const result = makeIn(path, make);
  if (result !== ENOENT) return result;
  makeDirectories(parentOf(path), 0o755);
  return makeIn(path, make);
}

/** "If a file already exists at path that does not match the requested device, the runtime MUST generate an error." config-linux.md, "Devices" */
function requireNode(
  path: string,
  format: number,
  [major, minor]: readonly [number, number],
  field: string | undefined,
): void {
  const { mode, rdevMajor, rdevMinor } = statOf(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
  const isDevice = format !== S_IFIFO;
  if ((mode & S_IFMT) === format && (!isDevice || (rdevMajor === major && rdevMinor === minor))) return;
  throw new ContainerError("DEVICE_EXISTS", `${path} is there already and is not the device that the config asks for`, {
    ...(field === undefined ? {} : { field }),
    hint: "remove it from the root filesystem, or leave the device out of linux.devices",
  });
}
