/** What this machine offers, for `plan`: gathered in as few calls as possible, because every `run` pays for it. */
import type { Host } from "../plan/host.ts";
import type { IdFacts } from "../plan/id-maps.ts";
import { unescapePath } from "../plan/mountinfo.ts";
import { AT_FDCWD, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { readDirectory, readFileIfThere } from "../sys/files.ts";
import { parseStatx, parseUtsname, STATX_BASIC_STATS, STATX_SIZE, UTSNAME_SIZE } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { findProgram } from "./helper-program.ts";
import { probeCgroups } from "./probe-cgroups.ts";
import { isInUserNamespace, ownIdMaps } from "./user-namespace.ts";

/** For a container whose group the config names: see {@link probeCgroups}. */
export function probeHost(cgroupsPath?: string): Host {
  const { kernel, machine } = readUname();
  const uid = raw.geteuid();
  const gid = raw.getegid();
  const ordinary = uid !== 0;
  const nested = !ordinary && isInUserNamespace();
  let mountinfo: string | undefined;
  let cgroups: Host["cgroups"] | undefined;
  let files: string[] | undefined;
  return {
    kernel,
    architecture: machine === "aarch64" ? "aarch64" : "x86_64",
    uid,
    gid,
    stateRoot: stateRoot(uid, nested),
    // `exec` asks for neither where it has all groups by name.
    get cgroups() {
      cgroups ??= probeCgroups(uid, this.mountinfo, cgroupsPath);
      return cgroups;
    },
    get mountinfo() {
      mountinfo ??= readFileIfThere("/proc/self/mountinfo") ?? "";
      return mountinfo;
    },
    // Asked for by few roots.
    get fileMounts() {
      files ??= fileMounts(this.mountinfo);
      return files;
    },
    rootEntries: ordinary ? rootEntries() : [],
    ...idFacts(uid, nested),
    privileged: !ordinary && !nested,
  };
}

/** What ids the caller may map. */
export function idFacts(uid: number, nested: boolean): Omit<IdFacts, "uid" | "gid"> {
  if (uid === 0) return { idMapHelpers: false, subuids: [], subgids: [], ...(nested ? { ownIds: ownIdMaps() } : {}) };
  const name = userName(uid);
  return {
    idMapHelpers: findProgram("newuidmap") !== undefined && findProgram("newgidmap") !== undefined,
    subuids: subordinateIds("/etc/subuid", uid, name),
    subgids: subordinateIds("/etc/subgid", uid, name),
  };
}

/** The caller's ranges in /etc/subuid or /etc/subgid. */
export const subordinateIds = (
  file: string,
  uid = raw.geteuid() as number,
  name = userName(uid),
): { start: number; count: number }[] => parseSubordinateIds(readFileIfThere(file) ?? "", uid, name);

/** `[6, 18]` */
export const kernelVersion = (): [number, number] => readUname().kernel;

function readUname(): { kernel: [number, number]; machine: string } {
  const utsname = new ArrayBuffer(UTSNAME_SIZE);
  sys.uname(utsname);
  const { release, machine } = parseUtsname(utsname);
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return { kernel: [major, minor], machine };
}

/**
 * `/run/tupper`; for others `$XDG_RUNTIME_DIR/tupper`, or a directory of their own in /tmp. Root of a user namespace is one
 * of the others, unless /run is its own as in a container.
 */
export function stateRoot(uid = raw.geteuid() as number, nested = uid === 0 && isInUserNamespace()): string {
  const isWritable = (path: string) => raw.faccessat(AT_FDCWD, path, 2) >= 0;
  if (uid === 0 && !nested) return "/run/tupper";
  const runtime = environmentValue("XDG_RUNTIME_DIR");
  if (runtime?.startsWith("/") && isWritable(runtime)) return `${runtime}/tupper`;
  return uid === 0 && isWritable("/run") ? "/run/tupper" : `/tmp/tupper-${uid}`;
}

/** A variable of the caller's environment. */
export function environmentValue(name: string): string | undefined {
  const before = `${name}=`;
  for (const entry of sys.environment() as string[]) if (entry.startsWith(before)) return entry.slice(before.length);
  return undefined;
}

/** subuid(5): `name-or-uid:start:count` a line. */
export function parseSubordinateIds(
  text: string,
  uid: number,
  name: string | undefined,
): { start: number; count: number }[] {
  return text.split("\n").flatMap((line) => {
    const [owner, start, count] = line.split(":");
    if (count === undefined || (owner !== String(uid) && owner !== name)) return [];
    return [{ start: Number(start), count: Number(count) }];
  });
}

function userName(uid: number): string | undefined {
  for (const line of (readFileIfThere("/etc/passwd") ?? "").split("\n")) {
    const [name, , id] = line.split(":");
    if (id === String(uid)) return name;
  }
  return undefined;
}

/** Directories and links of `/`. */
function rootEntries(): { name: string; link?: string }[] {
  const [DT_DIR, DT_LNK] = [4, 10];
  return readDirectory("/")
    .filter(({ type }) => type === DT_DIR || type === DT_LNK)
    .map(({ name, type }) => (type === DT_DIR ? { name } : { name, link: sys.readlinkText(AT_FDCWD, `/${name}`) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Files can only be mounted by binding them, so only mounts of less than a whole filesystem are looked at. */
function fileMounts(mountinfo: string): string[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [, , , root = "/", mountPoint = ""] = line.split(" ", 5);
    if (root === "/" || mountPoint === "") return [];
    const path = unescapePath(mountPoint);
    const buffer = new ArrayBuffer(STATX_SIZE);
    if (raw.statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, buffer) < 0) return [];
    return (parseStatx(buffer).mode & S_IFMT) === S_IFDIR ? [] : [path];
  });
}
