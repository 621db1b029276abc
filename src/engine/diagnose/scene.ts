/**
 * What can be read of a stopped tracee when one of its calls was denied: its filters, its rights, and each directory on the
 * way to a path, seen from its own root. Nothing is guessed: what cannot be read is undefined.
 */
import { seccompFilters } from "../../execute/ptrace.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  RESOLVE_IN_ROOT,
  S_IFDIR,
  S_IFMT,
} from "../../sys/constants.ts";
import { readIfReadable } from "../../sys/files.ts";
import { packOpenHow, parseStatx, STATX_BASIC_STATS, STATX_SIZE, type Statx } from "../../sys/structs.ts";
import { raw } from "../../sys/sys.ts";
import { type MountEntry, parseMountinfo } from "../processes/mount-entries.ts";

export interface Thread {
  uid: number;
  gid: number;
  groups: number[];
  /** CapEff. */
  effective: bigint;
  noNewPrivs: boolean;
  /** In the user namespace of the tracer. */
  inOurUserNamespace: boolean;
  uidMap: string;
  label: string | undefined;
}

/** A file or directory on the way, and the mount that it is on. */
export interface Place {
  path: string;
  stat: Statx;
  mount: MountEntry | undefined;
}

/** Where a path led: `last` is what it names, `parent` the directory above; `missing` where there is nothing of that name. */
export interface Way {
  directories: Place[];
  last: Place | undefined;
}

export interface Scene {
  filters(): Uint8Array[] | undefined;
  thread(): Thread;
  way(dirfd: number, path: string): Way;
  /** The rules of the v1 devices group. */
  devices(): string | undefined;
}

export function sceneOf(tid: number): Scene {
  const read = (name: string): string | undefined => readIfReadable(`/proc/${tid}/${name}`);
  return {
    filters: () => seccompFilters(tid),
    thread: () => threadOf(tid, read),
    way: (dirfd, path) => wayOf(tid, dirfd, path, parseMountinfo(read("mountinfo") ?? "")),
    devices: () => devicesOf(read("cgroup") ?? ""),
  };
}

function threadOf(tid: number, read: (name: string) => string | undefined): Thread {
  const status = read("status") ?? "";
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1] ?? "";
  const fourth = (name: string): number => Number(field(name).split(/\s+/)[3] ?? 0); // fsuid, fsgid
  return {
    uid: fourth("Uid"),
    gid: fourth("Gid"),
    groups: (field("Groups").match(/\d+/g) ?? []).map(Number),
    effective: BigInt(`0x${field("CapEff") || "0"}`),
    noNewPrivs: field("NoNewPrivs") === "1",
    inOurUserNamespace: link(`/proc/${tid}/ns/user`) === link("/proc/self/ns/user"),
    uidMap: read("uid_map") ?? "",
    label: read("attr/current")?.replace(/[\0\n]+$/, "") || undefined,
  };
}

function link(path: string): string | undefined {
  const target = raw.readlinkText(AT_FDCWD, path);
  return typeof target === "string" ? target : undefined;
}

/** Resolved within the tracee's root, so that a symlink there means what it means to the tracee. openat2(2). */
function wayOf(tid: number, dirfd: number, path: string, mounts: MountEntry[]): Way {
  const from = path.startsWith("/")
    ? ""
    : (link(dirfd === AT_FDCWD ? `/proc/${tid}/cwd` : `/proc/${tid}/fd/${dirfd}`) ?? "");
  const whole = `${from}/${path}`.split("/").filter((part) => part !== "" && part !== ".");
  const root = raw.openat(AT_FDCWD, `/proc/${tid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (root < 0) return { directories: [], last: undefined };
  const places: (Place | undefined)[] = [];
  for (let i = 0; i <= whole.length; i++) {
    const here = whole.slice(0, i).join("/");
    places.push(placeAt(root, here === "" ? "." : here, `/${here}`, mounts));
    if (places.at(-1) === undefined) break;
  }
  raw.close(root);
  const last = places.length === whole.length + 1 ? places.pop() : undefined;
  const directories = places.filter((place) => place !== undefined);
  return { directories: directories.filter(({ stat }) => (stat.mode & S_IFMT) === S_IFDIR), last };
}

function placeAt(root: number, path: string, shown: string, mounts: readonly MountEntry[]): Place | undefined {
  const fd = raw.openat2(root, path, packOpenHow({ flags: O_PATH | O_CLOEXEC, resolve: RESOLVE_IN_ROOT }));
  if (fd < 0) return undefined;
  const buffer = new ArrayBuffer(STATX_SIZE);
  const result = raw.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, buffer);
  const id = /^mnt_id:\s*(\d+)$/m.exec(readIfReadable(`/proc/self/fdinfo/${fd}`) ?? "")?.[1];
  raw.close(fd);
  if (result < 0) return undefined;
  return { path: shown, stat: parseStatx(buffer), mount: mounts.find((mount) => String(mount.id) === id) };
}

/** devices.list of the tracee's group, where that hierarchy is mounted at its usual place. */
function devicesOf(cgroup: string): string | undefined {
  const path = /^\d+:(?:[^:]*,)?devices(?:,[^:]*)?:(.*)$/m.exec(cgroup)?.[1];
  return path === undefined
    ? undefined
    : readIfReadable(`/sys/fs/cgroup/devices${path === "/" ? "" : path}/devices.list`);
}
