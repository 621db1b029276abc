/**
 * What is read from the machine once something has failed. By then the process may be anywhere in its set-up: below another
 * root, in other namespaces, with fewer rights. Nothing here throws, and what cannot be read is undefined.
 */
import { capabilityNames } from "../spec/capabilities.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, isArm64, S_IFDIR, S_IFLNK, S_IFMT } from "../sys/constants.ts";
import { readDirectory, readIfReadable } from "../sys/files.ts";
import { parseStatfs, parseStatx, STATFS_SIZE, STATX_BASIC_STATS, STATX_SIZE, type Statx } from "../sys/structs.ts";
import { raw, SysError } from "../sys/sys.ts";

/** As /proc/self/attr/current without a security module, it may be there and not be readable. */
export { readIfReadable as read };

/** `/proc/sys/user/max_net_namespaces` of `user.max_net_namespaces`. */
export const setting = (name: string): string | undefined =>
  readIfReadable(`/proc/sys/${name.replaceAll(".", "/")}`)?.trim();

/** The names in a directory; none where it cannot be read. */
export function namesIn(path: string): string[] {
  try {
    return readDirectory(path).map(({ name }) => name);
  } catch (error) {
    if (error instanceof SysError) return [];
    throw error;
  }
}

/** What is at a path, through links unless `flags` says otherwise; the errno's negative where nothing is found. */
export function statAt(path: string, flags = 0): Statx | number {
  const buffer = new ArrayBuffer(STATX_SIZE);
  const result = raw.statx(AT_FDCWD, path, flags, STATX_BASIC_STATS, buffer);
  return result < 0 ? result : parseStatx(buffer);
}

export const isThere = (path: string): boolean => typeof statAt(path) !== "number";

export const isDirectory = ({ mode }: Statx): boolean => (mode & S_IFMT) === S_IFDIR;

/** Whether the filesystem of a path is mounted with one of these flags of ST_RDONLY, ST_NOSUID, ST_NODEV, ST_NOEXEC. statfs(2). */
export function isMounted(path: string, flags: number): boolean {
  const buffer = new ArrayBuffer(STATFS_SIZE);
  return raw.statfs(path, buffer) >= 0 && (Number(parseStatfs(buffer).flags) & flags) !== 0;
}
export const [ST_RDONLY, ST_NOSUID, ST_NODEV, ST_NOEXEC] = [1, 2, 4, 8] as const;

/** `mode 0700 of 0:0`. */
export const modeAndOwner = ({ mode, uid, gid }: Statx): string =>
  `mode ${(mode & 0o7777).toString(8).padStart(4, "0")}, owner ${uid}:${gid}`;

export const ourselves = (): string => `${raw.geteuid()}:${raw.getegid()}`;

/** Whose program this is. Not uname(2): the command's filter may forbid it. */
export const machineOfThis = (): "x86_64" | "arm64" => (isArm64 ? "arm64" : "x86_64");

export function effectiveCapabilities(): string[] {
  const data = new ArrayBuffer(24);
  if (raw.capget(new Uint32Array([0x20080522, 0]).buffer as ArrayBuffer, data) < 0) return [];
  const view = new DataView(data);
  return capabilityNames(BigInt(view.getUint32(0, true)) | (BigInt(view.getUint32(12, true)) << 32n));
}

/** Whether uid 0 here is another user outside. */
export const inUserNamespace = (): boolean =>
  !/^\s*0\s+0\s+4294967295\s*$/.test(readIfReadable("/proc/self/uid_map") ?? "0 0 4294967295");

const ELOOP = -40;
const ENOENT = -2;
const EACCES = -13;
const ENOTDIR = -20;

/** What keeps a path from being one: [why, evidence]. Undefined where it leads to something. */
export interface PathTrouble {
  kind: "missing" | "file" | "closed" | "dangling" | "loop";
  /** The part of the path at which it ends. */
  at: string;
  why: string;
  evidence: string | undefined;
}

/** Follows a path name by name, as the kernel does, to the first at which it ends. path_resolution(7) */
export function followPath(path: string, linksLeft = 40): PathTrouble | undefined {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  let above = path.startsWith("/") ? "/" : ".";
  for (const name of names) {
    const at = above === "/" ? `/${name}` : `${above}/${name}`;
    const found = statAt(at, AT_SYMLINK_NOFOLLOW);
    if (typeof found === "number") return troubleAt(at, above, name, found);
    if ((found.mode & S_IFMT) === S_IFLNK) {
      const text = raw.readlinkText(AT_FDCWD, at);
      const to = typeof text === "string" ? text : "";
      const next = to.startsWith("/") ? to : `${above === "/" ? "" : above}/${to}`;
      if (linksLeft === 0 || (typeof statAt(at) === "number" && statAt(at) === ELOOP))
        return { kind: "loop", at, why: `the symbolic link ${at} leads round in a circle`, evidence: `${at} -> ${to}` };
      const deeper = followPath(next, linksLeft - 1);
      if (deeper?.kind === "missing" || deeper?.kind === "dangling")
        return {
          kind: "dangling",
          at: deeper.at,
          why: `the symbolic link ${at} leads to ${to}, which is not there`,
          evidence: deeper.evidence,
        };
      if (deeper !== undefined) return deeper;
    }
    above = at;
  }
  return undefined;
}

function troubleAt(at: string, above: string, name: string, errno: number): PathTrouble | undefined {
  const directory = statAt(above);
  if (errno === ENOTDIR || (typeof directory !== "number" && !isDirectory(directory)))
    return { kind: "file", at: above, why: `${above} is not a directory`, evidence: undefined };
  if (errno === EACCES && typeof directory !== "number")
    return {
      kind: "closed",
      at: above,
      why: `${ourselves()} may not enter ${above}`,
      evidence: `${above}: ${modeAndOwner(directory)}`,
    };
  if (errno !== ENOENT) return undefined; // a filter's answer, for one
  const names = namesIn(above);
  const some =
    names.length === 0 ? "is empty" : `holds ${names.slice(0, 8).join(", ")}${names.length > 8 ? ", …" : ""}`;
  return {
    kind: "missing",
    at,
    why: `${at} is not there`,
    evidence: `${above} is there${names.includes(name) ? "" : ` and ${some}`}`,
  };
}
