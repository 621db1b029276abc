/**
 * What `tupper run` must know of the machine, of ROOT and of the caller before flags become a config.
 *
 * ROOT belongs to somebody else: its /etc/passwd is opened below it with openat2(2), so that a symlink there means what
 * it would mean inside (RESOLVE_IN_ROOT), and only when it is a plain file of sensible size.
 */

import { ContainerError, type ErrorDetails } from "../../error.ts";
import type { ErrorCode } from "../../error-codes.ts";
import { securityModules } from "../../execute/init/labels.ts";
import type { Host } from "../../plan/host.ts";
import { capabilityNames } from "../../spec/capabilities.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  TCGETS,
} from "../../sys/constants.ts";
import { readDirectory, readFile } from "../../sys/files.ts";
import {
  CAP_DATA_SIZE,
  packCapHeader,
  packOpenHow,
  parseCapData,
  parseStatx,
  STATX_BASIC_STATS,
  STATX_SIZE,
  type Statx,
  TERMIOS_SIZE,
} from "../../sys/structs.ts";
import { raw, SysError, sys } from "../../sys/sys.ts";
import { listContainers } from "./list.ts";

export interface HostDevice {
  path: string;
  type: "c" | "b";
  major: number;
  minor: number;
  /** Permissions. */
  mode: number;
  uid: number;
  gid: number;
}

export interface RootFacts {
  /** The root directory: absolute, without symlinks. */
  path: string;
  /** The texts of its /etc/passwd and /etc/group. */
  passwd: string | undefined;
  group: string | undefined;
  host: Host;
  /** Capabilities that the caller could hand on. */
  capabilities: readonly string[];
  /** The caller's environment and working directory. */
  env: readonly string[];
  cwd: string;
  isTerminal: { stdin: boolean; stdout: boolean };
  /** A file that a flag names. Throws a {@link ContainerError} with the flag as its field. */
  readFile(path: string, flag: string): string;
  /** A device node of the machine; undefined when the path is none. */
  deviceAt(path: string): HostDevice | undefined;
  /** All device nodes below /dev, for `--privileged`. */
  hostDevices(): HostDevice[];
  /** Which of them the kernel has in use. */
  securityModules(): { apparmor: boolean; selinux: boolean };
  /** The process ID of a running container. */
  pidOf(container: string): number | undefined;
}

/** Throws a {@link ContainerError} when ROOT is nothing that a container can have as its root. */
export function gatherRootFacts(root: string, host: Host): RootFacts {
  const { path, fd } = openRoot(root);
  const passwd = readInRoot(fd, "etc/passwd");
  const group = readInRoot(fd, "etc/group");
  raw.close(fd);
  return {
    path,
    passwd,
    group,
    host,
    capabilities: ownCapabilities(),
    env: sys.environment() as string[],
    cwd: sys.readlinkText(AT_FDCWD, "/proc/self/cwd"),
    isTerminal: { stdin: isTerminal(0), stdout: isTerminal(1) },
    readFile: readNamedFile,
    deviceAt,
    hostDevices: () => devicesBelow("/dev"),
    securityModules,
    pidOf: (container) =>
      listContainers(noWord).find(({ id, status }) => id === container && status !== "stopped")?.pid,
  };
}

/** What is wrong with other containers' records is not asked here. */
const noWord = (): void => {};

/** `host` is the machine's own root, anything with a slash a directory; other words are kept for images. */
function openRoot(root: string): { path: string; fd: number } {
  if (root !== "host" && !root.includes("/") && root !== "." && root !== "..") throw noImages(root);
  const directory = root === "host" ? "/" : root;
  const fd = raw.openat(AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0)
    throw rootError(directory, new SysError("openat", -fd, [AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0]));
  // The kernel's name for what was opened: no symlinks, and nobody can exchange it between two looks.
  return { path: sys.readlinkText(AT_FDCWD, `/proc/self/fd/${fd}`), fd };
}

function noImages(word: string): ContainerError {
  if (word === "")
    return rootFailure("ROOT_MISSING", "ROOT is an empty string", {
      hint: "a variable of a shell perhaps that is not set: name a directory with a slash in its name, or host",
    });
  const isDirectory = ((statOf(word)?.mode ?? 0) & S_IFMT) === S_IFDIR;
  return rootFailure("IMAGE_UNSUPPORTED", `"${word}" would be the name of an image, and images are not there yet`, {
    hint: isDirectory
      ? `for the directory of that name write ./${word}`
      : 'ROOT is a directory with a slash in its name, such as ./rootfs, or "host"',
  });
}

/** `docker.io/library/alpine`, `alpine/git:latest`. */
const IMAGE_NAME = /^[\w-]+(\.[\w-]+)*(:\d+)?(\/[\w.-]+)+(:[\w.-]+)?$/;

function rootError(path: string, cause: SysError): ContainerError {
  switch (cause.code) {
    case "ENOENT":
      return rootFailure("ROOT_MISSING", `there is no directory ${path}`, {
        cause,
        hint: `ROOT is a directory that holds a root filesystem: bin, etc, lib, usr …${IMAGE_NAME.test(path) ? "; there are no images" : ""}`,
      });
    case "ENOTDIR":
      return rootFailure("ROOT_NOT_A_DIRECTORY", `${path} is not a directory`, {
        cause,
        hint: "an archive has to be unpacked into a directory first",
      });
    case "EACCES":
      return rootFailure("ROOT_NOT_ACCESSIBLE", `no permission to enter ${path}`, {
        cause,
        hint: "each directory on the way needs the x permission",
      });
    default:
      return rootFailure("ROOT_NOT_ACCESSIBLE", `cannot open ${path}`, { cause });
  }
}

const rootFailure = (code: ErrorCode, message: string, details: ErrorDetails) =>
  new ContainerError(code, message, { field: "ROOT", ...details });

const MAX_BYTES = 16 * 1024 * 1024;

function readInRoot(rootFd: number, path: string): string | undefined {
  // O_NONBLOCK: opening a FIFO must not wait for its other end.
  const fd = raw.openat2(
    rootFd,
    path,
    packOpenHow({ flags: O_RDONLY | O_NONBLOCK | O_CLOEXEC, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS }),
  );
  // A user's groups are not to be lost because the machine is out of something.
  if (fd < 0 && OF_THE_MACHINE.has(fd)) throw new SysError("openat2", -fd, [path]);
  if (fd < 0) return undefined;
  try {
    const buffer = new ArrayBuffer(STATX_SIZE);
    sys.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, buffer);
    const { mode, size } = parseStatx(buffer);
    return (mode & S_IFMT) === S_IFREG && size <= MAX_BYTES ? sys.readText(fd) : undefined;
  } finally {
    raw.close(fd);
  }
}

/** EIO, EAGAIN, ENOMEM, ENFILE, EMFILE: they say nothing about the root. */
const OF_THE_MACHINE: ReadonlySet<number> = new Set([-5, -11, -12, -23, -24]);

function statOf(path: string, dirfd = AT_FDCWD): Statx | undefined {
  const buffer = new ArrayBuffer(STATX_SIZE);
  const result = raw.statx(dirfd, path, path === "" ? AT_EMPTY_PATH : 0, STATX_BASIC_STATS, buffer);
  return result < 0 ? undefined : parseStatx(buffer);
}

/** The permitted set: no process can give a container more than it has itself. capget(2). */
export function ownCapabilities(): string[] {
  const data = new ArrayBuffer(CAP_DATA_SIZE);
  sys.capget(packCapHeader(), data);
  return capabilityNames(parseCapData(data).permitted);
}

const isTerminal = (fd: number): boolean => raw.ioctl(fd, TCGETS, new ArrayBuffer(TERMIOS_SIZE)) === 0;

/** A file that a flag names. Throws FILE_MISSING, FILE_NOT_READABLE. */
export function readNamedFile(path: string, flag: string): string {
  try {
    return readFile(path);
  } catch (cause) {
    if (!(cause instanceof SysError)) throw cause;
    const missing = cause.code === "ENOENT";
    throw new ContainerError(
      missing ? "FILE_MISSING" : "FILE_NOT_READABLE",
      missing ? `there is no file ${path}` : `cannot read ${path}`,
      { field: flag, cause, ...(missing ? { hint: `${flag} names a file of this machine` } : {}) },
    );
  }
}

function deviceAt(path: string): HostDevice | undefined {
  const stat = statOf(path);
  const kind = (stat?.mode ?? 0) & S_IFMT;
  if (stat === undefined || (kind !== S_IFCHR && kind !== S_IFBLK)) return undefined;
  return {
    path,
    type: kind === S_IFCHR ? "c" : "b",
    major: stat.rdevMajor,
    minor: stat.rdevMinor,
    mode: stat.mode & 0o777,
    uid: stat.uid,
    gid: stat.gid,
  };
}

/** Directories of /dev that are filesystems of their own, and names that every container has of its own. */
const NOT_OF_THE_MACHINE = new Set([
  "/dev/pts",
  "/dev/shm",
  "/dev/mqueue",
  "/dev/hugepages",
  "/dev/fd",
  "/dev/console",
  "/dev/ptmx",
]);
const DT_CHR = 2;
const DT_DIR = 4;
const DT_BLK = 6;

function devicesBelow(directory: string): HostDevice[] {
  return readDirectory(directory).flatMap(({ name, type }) => {
    const path = `${directory}/${name}`;
    if (NOT_OF_THE_MACHINE.has(path)) return [];
    if (type === DT_DIR) return devicesBelow(path);
    const device = type === DT_CHR || type === DT_BLK ? deviceAt(path) : undefined;
    return device === undefined ? [] : [device];
  });
}
