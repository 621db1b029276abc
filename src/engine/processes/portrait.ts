/**
 * What the kernel says of one process that has to do with isolation, whoever made it: namespaces, root, mounts, ids,
 * capabilities, seccomp, LSM label, limits of its control groups. All of it from /proc/PID and the group's files;
 * nothing is stopped or changed. What may not be read is undefined. proc(5), namespaces(7), cgroups(7).
 */
import { ContainerError } from "../../error.ts";
import { commandLine } from "../../execute/command-line.ts";
import { matchMounts, parseCgroupMounts, parseSelfCgroup } from "../../execute/probe-cgroups.ts";
import { notFound, notReadable } from "../../explain-failure/process-access.ts";
import { capabilityNames } from "../../spec/capabilities.ts";
import { AT_FDCWD, NS_GET_USERNS, O_CLOEXEC, O_RDONLY } from "../../sys/constants.ts";
import { readFile, readIfReadable } from "../../sys/files.ts";
import { raw } from "../../sys/sys.ts";
import { NS_TYPES, type NsType } from "../namespaces/tree.ts";
import { readLimits } from "./limits.ts";
import { type MountEntry, parseMountinfo } from "./mount-entries.ts";

export interface IdRange {
  inside: number;
  outside: number;
  size: number;
}

export interface Limit {
  /** `memory`, `swap`, `processes`, `cpu` (in processors), `cpuset`, `devices`. */
  what: string;
  /** -1: none. Undefined: no such controller, or not to be seen. `devices` and `cpuset` are text. */
  value: number | string | undefined;
  /** The group whose file says so: the process's own, or one above it. */
  group?: string;
}

export interface Portrait {
  pid: number;
  command: string;
  /** Its numbers, from the PID namespace of /proc down to its own. */
  pids: number[];
  namespaces: Partial<Record<NsType, number>>;
  /** The user namespace that owns each of them, where it may be asked. */
  owners: Partial<Record<NsType, number>>;
  uid: number;
  gid: number;
  groups: number[];
  uidMap: IdRange[];
  gidMap: IdRange[];
  capabilities: Record<"effective" | "permitted" | "inheritable" | "bounding" | "ambient", string[]>;
  noNewPrivs: boolean;
  /** 0 none, 1 strict, 2 filters. */
  seccomp: { mode: number; filters: number | undefined };
  /** Of AppArmor, SELinux or Smack; undefined where none is in force. */
  label: string | undefined;
  /** What /proc/PID/root says: `/`, unless it is in a chroot. */
  rootLink: string | undefined;
  mounts: MountEntry[] | undefined;
  /** As /proc/PID/cgroup has it. */
  cgroups: { controllers: string; path: string }[];
  limits: Limit[];
}

/** Throws a {@link ContainerError}: PROCESS_NOT_FOUND, PROCESS_NOT_READABLE. */
export function portraitOf(pid: number): Portrait {
  const status = readStatus(pid);
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1] ?? "";
  const numbers = (name: string): number[] => (field(name).match(/\d+/g) ?? []).map(Number);
  const caps = (name: string): string[] => capabilityNames(BigInt(`0x${field(name) || "0"}`));
  if (/^State:\s*[ZX]/m.test(status))
    throw new ContainerError("PROCESS_NOT_FOUND", `process ${pid} has ended, its parent only has not taken note of it`);
  const links = readNamespaces(pid);
  if (Object.keys(links.inodes).length === 0) throw notReadable(pid);
  const cgroupText = readIfReadable(`/proc/${pid}/cgroup`) ?? "";
  const mountinfo = readIfReadable(`/proc/${pid}/mountinfo`);
  const own = readFile("/proc/self/mountinfo");
  const filters = field("Seccomp_filters");
  const root = raw.readlinkText(AT_FDCWD, `/proc/${pid}/root`);
  return {
    pid,
    command: commandLine(pid) || `[${field("Name")}]`,
    pids: numbers("NSpid"),
    namespaces: links.inodes,
    owners: links.owners,
    uid: numbers("Uid")[1] ?? 0,
    gid: numbers("Gid")[1] ?? 0,
    groups: numbers("Groups"),
    uidMap: parseMap(readIfReadable(`/proc/${pid}/uid_map`)),
    gidMap: parseMap(readIfReadable(`/proc/${pid}/gid_map`)),
    capabilities: {
      effective: caps("CapEff"),
      permitted: caps("CapPrm"),
      inheritable: caps("CapInh"),
      bounding: caps("CapBnd"),
      ambient: caps("CapAmb"),
    },
    noNewPrivs: field("NoNewPrivs") === "1",
    seccomp: { mode: Number(field("Seccomp") || 0), filters: filters === "" ? undefined : Number(filters) },
    label: readIfReadable(`/proc/${pid}/attr/current`)?.replace(/[\0\n]+$/, "") || undefined,
    rootLink: typeof root === "string" ? root : undefined,
    mounts: mountinfo === undefined ? undefined : parseMountinfo(mountinfo),
    cgroups: cgroupText.split("\n").flatMap((line) => {
      const [, , controllers = "", path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
      return path === undefined ? [] : [{ controllers, path }];
    }),
    limits: readLimits(matchMounts(parseSelfCgroup(cgroupText), parseCgroupMounts(own)), readIfReadable),
  };
}

function readStatus(pid: number): string {
  const text = readIfReadable(`/proc/${pid}/status`);
  if (text !== undefined) return text;
  throw notFound(pid);
}

function readNamespaces(pid: number): { inodes: Portrait["namespaces"]; owners: Portrait["owners"] } {
  const inodes: Portrait["namespaces"] = {};
  const owners: Portrait["owners"] = {};
  for (const type of NS_TYPES) {
    const path = `/proc/${pid}/ns/${type}`;
    const inode = inodeIn(raw.readlinkText(AT_FDCWD, path));
    if (inode === undefined) continue;
    inodes[type] = inode;
    const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) continue;
    const owner = raw.ioctlInt(fd, NS_GET_USERNS, 0);
    if (owner >= 0) {
      const link = inodeIn(raw.readlinkText(AT_FDCWD, `/proc/self/fd/${owner}`));
      if (link !== undefined) owners[type] = link;
      raw.close(owner);
    }
    raw.close(fd);
  }
  return { inodes, owners };
}

function inodeIn(link: string | number): number | undefined {
  const digits = typeof link === "string" ? /\[(\d+)\]$/.exec(link)?.[1] : undefined;
  return digits === undefined ? undefined : Number(digits);
}

/** uid_map and gid_map, user_namespaces(7). The outside numbers are those of the reader's user namespace. */
function parseMap(text: string | undefined): IdRange[] {
  return (text ?? "").split("\n").flatMap((line) => {
    const [inside, outside, size] = line.trim().split(/\s+/).map(Number);
    return inside === undefined || outside === undefined || size === undefined ? [] : [{ inside, outside, size }];
  });
}
