/**
 * How control groups are laid out on this machine: /proc/self/cgroup names the hierarchies and where we are in them,
 * /proc/self/mountinfo where they are mounted. A hierarchy that is mounted nowhere does not count.
 */
import { normalizeCgroupsPath } from "../plan/cgroup/location.ts";
import type { HostCgroups } from "../plan/host.ts";
import { unescapePath } from "../plan/mountinfo.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { readFile } from "../sys/files.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { CGROUPS, requireCgroups } from "./require-cgroups.ts";

const [ENOENT, EACCES] = [-2, -13];
const SELF_CGROUP = "/proc/self/cgroup";
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

/**
 * The layout for a caller of this uid, from the text of /proc/self/mountinfo. `cgroupsPath`: as the config has it; a user may
 * make that group where its directory, or the nearest that is there already, is given to him.
 */
export function probeCgroups(euid: number, mountinfo: string, cgroupsPath?: string): HostCgroups {
  const text = readSmall(SELF_CGROUP);
  if (text === undefined) return { mode: "none", hierarchies: [], writable: false };
  const matched = matchMounts(parseSelfCgroup(text), parseCgroupMounts(mountinfo));
  const { hierarchies, unified } = matched;
  const top = hierarchies[0]?.mountPoint ?? unified?.mountPoint;
  // Root of a user namespace, as under rootless Podman, may no more there than the user who made it.
  const isOrdinary = euid !== 0 || (top !== undefined && raw.faccessat(AT_FDCWD, top, W_OK) === EACCES);
  return describe(matched, isOrdinary, cgroupsPath);
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
    const listed = options.split(",");
    mounts.push({
      fstype,
      mountPoint: unescapePath(mountPoint),
      root: unescapePath(root),
      readonly: flags.split(",").includes("ro") || listed.includes("ro"),
      options: listed,
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

type MountedTree = Pick<NonNullable<HostCgroups["unified"]>, "mountPoint" | "ownPath" | "mountedWith">;

/** Puts membership and mounts together; undefined tree or empty hierarchies where nothing is mounted. */
export function matchMounts(
  membership: CgroupMembership,
  mounts: readonly CgroupMount[],
): Pick<HostCgroups, "hierarchies" | "systemdV1"> & { unified?: MountedTree; readonly: boolean } {
  const used: CgroupMount[] = [];
  const find = (fits: (mount: CgroupMount) => boolean, ownPath: string) => {
    const mount = mounts.find(fits);
    if (mount === undefined) return undefined;
    used.push(mount);
    // Of v1 they are the controllers.
    const mountedWith = mount.fstype === "cgroup" ? "" : mount.options.filter((one) => !/^r[ow]$/.test(one)).join(",");
    const place = { mountPoint: mount.mountPoint, ownPath: pathBelow(mount.root, ownPath) };
    return mountedWith === "" ? place : { ...place, mountedWith };
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
  // As runc and crun have it: what counts is what is mounted there. Others may keep hierarchies of v1 without controllers beside it.
  if (
    unified?.mountPoint === CGROUPS &&
    hierarchies.every(({ controllers: [first = ""] }) => first.startsWith("name="))
  ) {
    const systemdV1 = hierarchies.find(({ controllers: [first] }) => first === "name=systemd");
    const readonly = used.at(-1)?.readonly === true;
    return { hierarchies: [], unified, ...(systemdV1 ? { systemdV1 } : {}), readonly };
  }
  return { hierarchies, ...(unified ? { unified } : {}), readonly: used.some(({ readonly }) => readonly) };
}

function describe(
  { hierarchies, unified: tree, systemdV1, readonly }: ReturnType<typeof matchMounts>,
  isOrdinary: boolean,
  cgroupsPath: string | undefined,
): HostCgroups {
  const unified = tree && describeTree(tree, hierarchies.length === 0, isOrdinary);
  if (hierarchies.length > 0) {
    const mode = unified ? "hybrid" : "v1";
    const layout = { mode, hierarchies, ...(unified ? { unified } : {}) } as const;
    if (!isOrdinary) return { ...layout, writable: !readonly };
    const delegated = cgroupsPath ? hierarchies.filter((one) => mayMakeGroup(one, cgroupsPath)) : [];
    return delegated.length > 0 ? { ...layout, delegated, writable: !readonly } : { ...layout, writable: false };
  }
  if (unified === undefined) return { mode: "none", hierarchies: [], writable: false };
  const writable = !isOrdinary || delegatedGroup(unified.mountPoint, unified.ownPath) !== undefined;
  const beside = systemdV1 === undefined ? {} : { systemdV1 };
  return { mode: "v2", hierarchies: [], unified, ...beside, writable: writable && !readonly };
}

/** What a v2 tree offers, or undefined where none is in sight. Throws CGROUPS_HIDDEN where root has no other. */
function describeTree(
  { mountPoint, ownPath, mountedWith }: MountedTree,
  alone: boolean,
  isOrdinary: boolean,
): HostCgroups["unified"] {
  const base = isOrdinary ? (delegatedGroup(mountPoint, ownPath) ?? parentOf(ownPath)) : "";
  const controllers = readSmall(`${mountPoint}${base === "/" ? "" : base}/cgroup.controllers`);
  if (controllers === undefined) {
    if (alone && !isOrdinary) requireCgroups();
    return undefined;
  }
  const offered = controllers.split(/\s/).filter((name) => name !== "");
  // The root of the machine's tree has no cgroup.type: it is the one group that may have processes and children with limits.
  const occupied = alone && ownPath === "/" && raw.faccessat(AT_FDCWD, `${mountPoint}/cgroup.type`, R_OK) === 0;
  return {
    mountPoint,
    ownPath,
    controllers: offered,
    ...(mountedWith === undefined ? {} : { mountedWith }),
    ...(occupied ? { occupied } : {}),
    ...(base === "" ? {} : { base }),
  };
}

/** Whether the directory in which mkdir would begin is ours to write to. */
function mayMakeGroup({ mountPoint, ownPath }: HostCgroups["hierarchies"][number], cgroupsPath: string): boolean {
  const base = cgroupsPath.startsWith("/") || ownPath === "/" ? "" : ownPath;
  let path = `${base}${normalizeCgroupsPath(cgroupsPath)}`;
  for (;;) {
    const answer = raw.faccessat(AT_FDCWD, `${mountPoint}${path}`, W_OK);
    if (answer !== ENOENT || path === "") return answer === 0;
    path = path.slice(0, path.lastIndexOf("/"));
  }
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

/**
 * Where a user may make groups: in our own, where we are its only process or systemd has marked it as delegated (Delegate=yes
 * of a unit), because systemd changes what lies beside units as it likes; else beside it, because a group with processes in
 * it cannot hand controllers down; else in it. Undefined where none is the user's.
 */
function delegatedGroup(mountPoint: string, own: string): string | undefined {
  const beside = parentOf(own);
  const directory = `${mountPoint}${own}`;
  const alone = own !== "/" && readSmall(`${directory}/cgroup.procs`) === `${raw.getpid()}\n`;
  const candidates = alone || isMarked(directory) ? [own, beside] : [beside, own];
  return candidates.find((path) => isDelegated(`${mountPoint}${path}`));
}

/** systemd 251 and later. systemd.resource-control(5), "Delegate=". */
function isMarked(directory: string): boolean {
  const fd = raw.openat(AT_FDCWD, directory, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  const length = raw.fgetxattr(fd, "user.delegate", new ArrayBuffer(8));
  raw.close(fd);
  return Number(length) > 0;
}

/** A group is delegated to us if we may make groups in it and move processes within it. cgroup-v2.rst, "Delegation". */
const isDelegated = (directory: string): boolean =>
  ["", "/cgroup.procs", "/cgroup.subtree_control"].every(
    (name) => raw.faccessat(AT_FDCWD, `${directory}${name}`, W_OK) === 0,
  );

/**
 * A file of a few lines in one read: the kernel gives such files whole. Undefined when there is none, or not for us; a machine
 * out of memory or descriptors is not one without control groups.
 */
function readSmall(path: string): string | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd === ENOENT || (fd === EACCES && path !== SELF_CGROUP)) return undefined;
  check(fd, "openat", path);
  const buffer = new ArrayBuffer(8192);
  const length = raw.read(fd, buffer);
  raw.close(fd);
  if (length < 0 || length === buffer.byteLength) return readFile(path);
  return sys.decodeText(buffer, 0, length);
}
