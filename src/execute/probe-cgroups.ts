/**
 * How control groups are laid out on this machine, in a handful of system calls: every `run` asks.
 *
 * /proc/self/cgroup names the hierarchies and where we are in them, but not where they are mounted. The conventional
 * places (/sys/fs/cgroup, /sys/fs/cgroup/NAME, /sys/fs/cgroup/unified) are assumed and one of them checked; only if that
 * fails is /proc/self/mountinfo read, which the kernel writes at about a microsecond per mount of the machine.
 */
import type { HostCgroups } from "../plan/host.ts";
import { AT_FDCWD, CGROUP2_SUPER_MAGIC, O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { raw } from "../sys/sys.ts";

const ROOT = "/sys/fs/cgroup";
const CGROUP_SUPER_MAGIC = 0x27e0eb;
const ST_RDONLY = 1;
const R_OK = 4;
const W_OK = 2;

export interface CgroupMembership {
  /** v1, in the kernel's order; a named one is `name=systemd`. */
  hierarchies: { controllers: string[]; ownPath: string }[];
  /** Our path in the v2 tree, where the kernel has one: it may not be mounted. */
  unifiedPath?: string;
}

export interface CgroupMount {
  fstype: "cgroup" | "cgroup2";
  mountPoint: string;
  /** The group that is mounted there: `/` but in containers without a cgroup namespace. */
  root: string;
  readonly: boolean;
  /** v1: what of the super block's options may be a controller. */
  options: string[];
}

/** The layout, with `euid` deciding whether root's rights are assumed or delegation is looked for. */
export function probeCgroups(euid: number = raw.geteuid()): HostCgroups {
  const text = readSmall("/proc/self/cgroup");
  if (text === undefined) return { mode: "none", hierarchies: [], writable: false };
  const membership = parseSelfCgroup(text);
  return probeConventional(membership, euid) ?? probeMounted(membership, euid);
}

/** /proc/PID/cgroup. cgroups(7). */
export function parseSelfCgroup(text: string): CgroupMembership {
  const membership: CgroupMembership = { hierarchies: [] };
  for (const line of text.split("\n")) {
    const first = line.indexOf(":");
    const second = line.indexOf(":", first + 1);
    if (second < 0) continue;
    const names = line.slice(first + 1, second);
    // A path that leads out of our cgroup namespace (`/../x`) leads nowhere from here.
    const path = line.slice(second + 1);
    const ownPath = path.startsWith("/..") ? "/" : path;
    if (names === "") membership.unifiedPath = ownPath;
    else membership.hierarchies.push({ controllers: names.split(","), ownPath });
  }
  return membership;
}

/** The control group filesystems in /proc/PID/mountinfo. proc_pid_mountinfo(5). */
export function parseCgroupMounts(text: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (let at = text.indexOf(" - cgroup"); at >= 0; at = text.indexOf(" - cgroup", at + 1)) {
    const start = text.lastIndexOf("\n", at) + 1;
    const end = text.indexOf("\n", at);
    const [, , , root = "/", mountPoint = "", flags = ""] = text.slice(start, at).split(" ");
    const [fstype, , options = ""] = text.slice(at + 3, end < 0 ? undefined : end).split(" ");
    if (fstype !== "cgroup" && fstype !== "cgroup2") continue;
    mounts.push({
      fstype,
      mountPoint: unescapeMountPath(mountPoint),
      root: unescapeMountPath(root),
      readonly: flags.split(",").includes("ro") || options.split(",").includes("ro"),
      options: options.split(","),
    });
  }
  return mounts;
}

/** Where a group's path in the hierarchy is below a mount of `root`; `/` when it is not below it. */
export function pathBelow(root: string, path: string): string {
  if (root === "/" || root.startsWith("/..")) return path;
  if (path === root) return "/";
  return path.startsWith(`${root}/`) ? path.slice(root.length) : "/";
}

/** Puts membership and mounts together; undefined tree or empty hierarchies where nothing is mounted. */
export function matchMounts(
  membership: CgroupMembership,
  mounts: readonly CgroupMount[],
): Pick<HostCgroups, "hierarchies"> & { unified?: { mountPoint: string; ownPath: string }; readonly: boolean } {
  const used: CgroupMount[] = [];
  const find = (fits: (mount: CgroupMount) => boolean, ownPath: string) => {
    const mount = mounts.find(fits);
    if (mount === undefined) return undefined;
    used.push(mount);
    return { mountPoint: mount.mountPoint, ownPath: pathBelow(mount.root, ownPath) };
  };
  const hierarchies = membership.hierarchies.flatMap(({ controllers, ownPath }) => {
    const found = find(
      ({ fstype, options }) => fstype === "cgroup" && controllers.every((one) => options.includes(one)),
      ownPath,
    );
    return found ? [{ controllers, ...found }] : [];
  });
  const unified =
    membership.unifiedPath === undefined
      ? undefined
      : find(({ fstype }) => fstype === "cgroup2", membership.unifiedPath);
  return { hierarchies, ...(unified ? { unified } : {}), readonly: used.some(({ readonly }) => readonly) };
}

/** The layout if everything is where it is on nearly every machine. */
function probeConventional({ hierarchies, unifiedPath }: CgroupMembership, euid: number): HostCgroups | undefined {
  const pure = hierarchies.length === 0;
  const mountPoint = pure ? ROOT : `${ROOT}/unified`;
  if (pure) {
    if (unifiedPath === undefined) return undefined;
    const state = mountState(unifiedPath === "/" ? ROOT : `${ROOT}${unifiedPath}`, CGROUP2_SUPER_MAGIC);
    if (state === "elsewhere") return undefined;
    return describe([], { mountPoint, ownPath: unifiedPath }, state === "readonly", euid);
  }
  const conventional = hierarchies.map(({ controllers, ownPath }) => {
    const name = controllers.join(",");
    return { controllers, mountPoint: `${ROOT}/${name.startsWith("name=") ? name.slice(5) : name}`, ownPath };
  });
  // One stands for all: the deepest, because it also tells whether paths count from the root that is mounted.
  let [deepest] = conventional;
  if (deepest === undefined) return undefined;
  for (const hierarchy of conventional) if (hierarchy.ownPath.length > deepest.ownPath.length) deepest = hierarchy;
  const state = mountState(`${deepest.mountPoint}${deepest.ownPath}`, CGROUP_SUPER_MAGIC);
  if (state === "elsewhere") return undefined;
  const unified = unifiedPath === undefined ? undefined : { mountPoint, ownPath: unifiedPath };
  return describe(conventional, unified, state === "readonly", euid);
}

/** The layout from mountinfo, for machines and containers that mount control groups elsewhere or in part. */
function probeMounted(membership: CgroupMembership, euid: number): HostCgroups {
  const text = readWhole("/proc/self/mountinfo") ?? "";
  const { hierarchies, unified, readonly } = matchMounts(membership, parseCgroupMounts(text));
  return describe(hierarchies, unified, readonly, euid);
}

function describe(
  hierarchies: HostCgroups["hierarchies"],
  tree: { mountPoint: string; ownPath: string } | undefined,
  readonly: boolean,
  euid: number,
): HostCgroups {
  const unified = tree && describeTree(tree, hierarchies.length === 0, euid);
  if (hierarchies.length > 0) {
    const mode = unified ? "hybrid" : "v1";
    return { mode, hierarchies, ...(unified ? { unified } : {}), writable: euid === 0 && !readonly };
  }
  if (unified === undefined) return { mode: "none", hierarchies: [], writable: false };
  return { mode: "v2", hierarchies: [], unified, writable: !readonly && (euid === 0 || isDelegated(unified)) };
}

/** What a v2 tree offers, or undefined where none is mounted. */
function describeTree(
  { mountPoint, ownPath }: { mountPoint: string; ownPath: string },
  alone: boolean,
  euid: number,
): HostCgroups["unified"] {
  const controllers = readSmall(
    `${euid === 0 ? mountPoint : delegatedDirectory({ mountPoint, ownPath })}/cgroup.controllers`,
  );
  if (controllers === undefined) return undefined;
  const offered = controllers.split(/\s/).filter((name) => name !== "");
  // The root of the machine's tree has no cgroup.type: it is the one group that may have processes and children with limits.
  const occupied = alone && ownPath === "/" && raw.faccessat2(AT_FDCWD, `${mountPoint}/cgroup.type`, R_OK, 0) === 0;
  return { mountPoint, ownPath, controllers: offered, ...(occupied ? { occupied } : {}) };
}

/** Where a user's groups go: beside our own, because a group with processes in it cannot hand controllers down. */
function delegatedDirectory({ mountPoint, ownPath }: { mountPoint: string; ownPath: string }): string {
  return `${mountPoint}${ownPath.slice(0, ownPath.lastIndexOf("/"))}`;
}

/** A group is delegated to us if we may make groups in it and move processes within it. cgroup-v2.rst, "Delegation". */
function isDelegated(unified: { mountPoint: string; ownPath: string }): boolean {
  const directory = delegatedDirectory(unified);
  return (
    raw.faccessat2(AT_FDCWD, directory, W_OK, 0) === 0 &&
    raw.faccessat2(AT_FDCWD, `${directory}/cgroup.procs`, W_OK, 0) === 0
  );
}

/** Whether a filesystem of this type is at `path`, and whether its mount can be written. statfs(2). */
function mountState(path: string, magic: number): "writable" | "readonly" | "elsewhere" {
  const buffer = new ArrayBuffer(120);
  if (raw.statfs(path, buffer) < 0) return "elsewhere";
  const statfs = new DataView(buffer);
  if (statfs.getUint32(0, true) !== magic) return "elsewhere";
  return (statfs.getUint32(80, true) & ST_RDONLY) === 0 ? "writable" : "readonly";
}

/** A file of a few lines in one read: the kernel gives such files whole. Undefined when it cannot be opened. */
function readSmall(path: string): string | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const buffer = new ArrayBuffer(8192);
  const length = raw.read(fd, buffer);
  raw.close(fd);
  if (length < 0 || length === buffer.byteLength) return readWhole(path);
  const text = raw.decodeText(buffer, 0, length);
  return typeof text === "string" ? text : undefined;
}

function readWhole(path: string): string | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const text = raw.readText(fd);
  raw.close(fd);
  return typeof text === "string" ? text : undefined;
}

/** Spaces, tabs, newlines and backslashes are written as `\040` in mountinfo. */
const unescapeMountPath = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
