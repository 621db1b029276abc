/**
 * What isolates a process from the machine and what does not, as sentences, each with the line of /proc that it rests on.
 * "The host" is the process that it is compared with: process 1, or the caller where that may not be looked into. Pure.
 */
import type { NsType } from "../namespaces/tree.ts";
import { inSight, isReadonly, type MountEntry, pathAmong, rootMount } from "./mount-entries.ts";
import type { IdRange, Limit, Portrait } from "./portrait.ts";

export const SUBJECTS = [
  "files",
  "processes",
  "network",
  "ids",
  "privileges",
  "names and clocks",
  "resources",
] as const;
export type Subject = (typeof SUBJECTS)[number];

export interface Finding {
  subject: Subject;
  /** `no`: the process has the host's own. `unknown`: it cannot be told from here. */
  isolated: "yes" | "no" | "unknown";
  text: string;
  evidence: string;
}

/** All that is known, by subject. */
export function findingsOf(process: Portrait, host: Portrait): Finding[] {
  const found: Finding[] = [];
  for (const subject of SUBJECTS) {
    const say: Say = (isolated, text, evidence) => found.push({ subject, isolated, text, evidence });
    TELLERS[subject](process, host, say);
  }
  return found;
}

type Say = (isolated: Finding["isolated"], text: string, evidence: string) => void;
type Teller = (process: Portrait, host: Portrait, say: Say) => void;

/** Whether they are in one namespace; undefined where that cannot be seen. */
export function sharesNamespace(type: NsType, a: Portrait, b: Portrait): boolean | undefined {
  const [one, other] = [a.namespaces[type], b.namespaces[type]];
  return one === undefined || other === undefined ? undefined : one === other;
}

const link = (type: NsType, { pid, namespaces }: Portrait): string =>
  `/proc/${pid}/ns/${type} is ${type}:[${namespaces[type] ?? "?"}]`;

function tellNamespace(type: NsType, process: Portrait, host: Portrait, say: Say, words: [string, string]): void {
  const shared = sharesNamespace(type, process, host);
  if (shared === undefined)
    say("unknown", `whether it has a ${type} namespace of its own cannot be seen`, link(type, process));
  else say(shared ? "no" : "yes", words[shared ? 0 : 1], link(type, process));
}

const TELLERS: Record<Subject, Teller> = {
  files: tellFiles,

  processes(process, host, say) {
    const shared = sharesNamespace("pid", process, host);
    const inner = process.pids.at(-1);
    const from = process.pids.length - host.pids.length;
    tellNamespace("pid", process, host, say, [
      "processes: it has the host's numbers, and can see, signal and wait for whatever its user may",
      `a PID namespace of its own${from > 1 ? `, ${from} levels down` : ""}: here it is process ${inner}, and sees only what was started in it`,
    ]);
    const proc = process.mounts?.findLast(({ mountPoint }) => mountPoint === "/proc");
    const hostProc = host.mounts?.findLast(({ mountPoint }) => mountPoint === "/proc");
    if (shared === false && proc !== undefined && proc.device === hostProc?.device)
      say("no", "its /proc is the host's: it shows the host's processes all the same", mountLine(proc));
    tellNamespace("ipc", process, host, say, [
      "System V and POSIX message queues, semaphores and shared memory are the host's",
      "an IPC namespace of its own: no shared memory or message queues with the host",
    ]);
  },

  network(process, host, say) {
    tellNamespace("net", process, host, say, [
      "network: the host's interfaces, addresses, firewall, its services on 127.0.0.1 and its abstract sockets",
      "a network namespace of its own: its own interfaces, routes, ports and abstract sockets",
    ]);
    const owner = process.owners.net;
    if (sharesNamespace("net", process, host) === false && owner !== undefined && owner !== process.namespaces.user)
      say(
        "yes",
        "that network namespace belongs to another user namespace: even its root cannot change interfaces or firewall",
        `the owner of ${link("net", process)} is user:[${owner}]`,
      );
  },

  ids: tellIds,
  privileges: tellPrivileges,

  "names and clocks"(process, host, say) {
    tellNamespace("uts", process, host, say, [
      "host name and domain name are the host's",
      "a UTS namespace of its own: its host name is its own",
    ]);
    tellNamespace("cgroup", process, host, say, [
      "control groups: it sees the host's tree and where it is in it",
      "a cgroup namespace of its own: its group is the root of what it sees",
    ]);
    tellNamespace("time", process, host, say, [
      "monotonic and boot clock are the host's (the time of day always is)",
      "a time namespace of its own: monotonic and boot clock may be shifted",
    ]);
  },

  resources(process, _host, say) {
    for (const limit of process.limits) tellLimit(limit, say);
  },
};

/* ---- files ---------------------------------------------------------------------------------- */

export const mountLine = ({ root, mountPoint, options, fstype, source }: MountEntry): string =>
  `mountinfo: ${root} ${mountPoint} ${options.join(",")} - ${fstype} ${source}`;

/** Filesystems that show the kernel's state and not files of a disk. */
const KERNELS = new Set([
  "proc",
  "sysfs",
  "devpts",
  "mqueue",
  "cgroup",
  "cgroup2",
  "securityfs",
  "debugfs",
  "tracefs",
  "bpf",
]);

function tellFiles(process: Portrait, host: Portrait, say: Say): void {
  const shared = sharesNamespace("mnt", process, host);
  tellNamespace("mnt", process, host, say, [
    "mounts: it is in the host's mount namespace, and what it mounts or unmounts, all see",
    "a mount namespace of its own: it has its own view of what is mounted",
  ]);
  const { rootLink, mounts } = process;
  if (rootLink !== undefined && rootLink !== "/")
    say(
      "yes",
      `its root is the directory ${rootLink} by chroot alone, which root can leave`,
      `/proc/${process.pid}/root is ${rootLink}`,
    );
  if (mounts === undefined || mounts.length === 0) {
    say("unknown", "its mounts cannot be seen", `/proc/${process.pid}/mountinfo`);
    return;
  }
  if (shared === true) {
    if (rootLink === "/") say("no", "root directory: all files of the host", `/proc/${process.pid}/root is /`);
    return;
  }
  if (host.mounts === undefined) return;
  const root = rootMount(mounts);
  if (root !== undefined) tellRoot(root, host.mounts, say);
  const own = inSight(mounts).filter(({ mountPoint }) => mountPoint !== "/");
  for (const mount of own) tellExposed(mount, host.mounts, say);
  tellProc(own, say);
  const ways = propagationOf(mounts, host.mounts);
  if (ways.both !== undefined)
    say(
      "no",
      `what is mounted below ${ways.both.mountPoint} here appears on the host too, and the other way round`,
      `shared:${ways.both.shared}`,
    );
  else if (ways.from !== undefined)
    say(
      "no",
      `what the host mounts later below its copy of ${ways.from.mountPoint} appears here`,
      `master:${ways.from.master}`,
    );
}

function tellRoot(root: MountEntry, host: readonly MountEntry[], say: Say): void {
  const mode = isReadonly(root) ? "read-only" : "writable";
  const place = KERNELS.has(root.fstype) ? undefined : pathAmong(root, host);
  const covered = rootMount(host);
  if (place === "/" && root.device === covered?.device)
    say("no", `its root directory is the host's own, ${mode}`, mountLine(root));
  else if (root.fstype === "overlay") {
    const lower = root.superOptions.find((option) => option.startsWith("lowerdir="))?.slice("lowerdir=".length);
    say(
      "yes",
      `its root is an overlay, ${mode}${lower === undefined ? "" : `, over ${lower.split(":").length} director${lower.includes(":") ? "ies" : "y"}`}`,
      mountLine(root),
    );
  } else if (place !== undefined) say("yes", `its root is the host's directory ${place}, ${mode}`, mountLine(root));
  else say("yes", `its root is a ${root.fstype} of its own, ${mode}`, mountLine(root));
}

/** A mount through which files of the host are in sight. */
function tellExposed(mount: MountEntry, host: readonly MountEntry[], say: Say): void {
  const place = pathAmong(mount, host);
  if (place === undefined) return;
  const { mountPoint, fstype } = mount;
  const mode = isReadonly(mount) ? "read-only" : "writable";
  // One superblock serves all; what a cgroup namespace or a device node shows of it is told elsewhere.
  if (fstype === "proc" || fstype === "mqueue" || fstype === "cgroup" || fstype === "cgroup2") return;
  if (fstype === "sysfs") {
    if (mode === "writable") say("no", `the kernel's settings in ${mountPoint} are writable`, mountLine(mount));
    return;
  }
  if (fstype === "devtmpfs" && (mount.root === "/" || mountPoint === "/dev"))
    return say("no", `${mountPoint} has all devices of the host`, mountLine(mount));
  if (/^\/(dev|proc|sys)\//.test(mountPoint) && /^\/dev\//.test(place)) {
    if (!HARMLESS.test(place)) say("no", `the host's device ${place} is in sight as ${mountPoint}`, mountLine(mount));
    return;
  }
  const socket = /(docker|podman|containerd|crio)\.sock$/.test(place)
    ? ", which commands the engine and with it the host"
    : "";
  say("no", `${place} of the host is in sight as ${mountPoint}, ${mode}${socket}`, mountLine(mount));
}

const HARMLESS = /^\/dev\/(null|zero|full|random|urandom|tty|console|ptmx|pts(\/.*)?|shm|mqueue)$/;

function tellProc(mounts: readonly MountEntry[], say: Say): void {
  const proc = mounts.findLast(({ mountPoint }) => mountPoint === "/proc");
  if (proc === undefined || isReadonly(proc)) return;
  const below = mounts.filter(({ mountPoint }) => mountPoint.startsWith("/proc/"));
  const settings = below.findLast(({ mountPoint }) => mountPoint === "/proc/sys");
  if (settings !== undefined && isReadonly(settings))
    say(
      "yes",
      `${below.length} paths of /proc are hidden or read-only, the kernel's settings in /proc/sys among them`,
      mountLine(settings),
    );
  else say("no", "the kernel's settings in /proc/sys are writable for whoever has the rights", mountLine(proc));
}

function propagationOf(
  mounts: readonly MountEntry[],
  host: readonly MountEntry[],
): { both?: MountEntry; from?: MountEntry } {
  const groups = new Set(host.map(({ shared }) => shared).filter((group) => group !== undefined));
  const both = mounts.find(({ shared }) => shared !== undefined && groups.has(shared));
  const from = mounts.find(({ master }) => master !== undefined && groups.has(master));
  return { ...(both ? { both } : {}), ...(from ? { from } : {}) };
}

/* ---- ids and privileges ---------------------------------------------------------------------- */

const rangeText = (ranges: readonly IdRange[]): string =>
  ranges
    .map(({ inside, outside, size }) =>
      size === 1 ? `${inside} is ${outside}` : `${inside}-${inside + size - 1} are ${outside}-${outside + size - 1}`,
    )
    .join(", ");

function tellIds(process: Portrait, host: Portrait, say: Say): void {
  const { pid, uid, gid, uidMap } = process;
  const who = `/proc/${pid}/status: Uid ${uid}, Gid ${gid}`;
  const shared = sharesNamespace("user", process, host);
  if (shared === undefined) return say("unknown", "its user namespace cannot be seen", link("user", process));
  if (!shared) {
    say("yes", `a user namespace of its own: user ${rangeText(uidMap)} outside`, `/proc/${pid}/uid_map`);
    if (uid === 0) say("no", "the user that it runs as is root outside", who);
    else say("yes", `outside it is user ${uid}, group ${gid}`, who);
    return;
  }
  if (uid === 0) say("no", "users: its root is the host's root", who);
  else say("no", `users: it is the host's user ${uid}, with that user's files and processes`, who);
}

/** Each of these alone is a way to the whole machine, without a user namespace. */
const WHOLE_MACHINE = [
  "SYS_ADMIN",
  "SYS_MODULE",
  "SYS_PTRACE",
  "SYS_RAWIO",
  "DAC_READ_SEARCH",
  "SYS_BOOT",
  "BPF",
  "MAC_ADMIN",
];

const short = (names: readonly string[]): string => names.map((name) => name.replace(/^CAP_/, "")).join(", ");

function tellPrivileges(process: Portrait, host: Portrait, say: Say): void {
  const { pid, capabilities, seccomp, noNewPrivs, label } = process;
  const { effective, bounding } = capabilities;
  const evidence = `/proc/${pid}/status: CapEff ${effective.length} of the host's ${host.capabilities.bounding.length}`;
  const ownUser = sharesNamespace("user", process, host) === false;
  const strong = effective.filter((name) => WHOLE_MACHINE.includes(name.replace(/^CAP_/, "")));
  const all =
    host.capabilities.bounding.length > 0 && host.capabilities.bounding.every((name) => effective.includes(name));
  if (ownUser && effective.length > 0)
    say(
      "yes",
      `capabilities: ${all ? "all" : short(effective)}, over what belongs to its own user namespace only`,
      evidence,
    );
  else if (all) say("no", "capabilities: all that the host has", evidence);
  else if (strong.length > 0)
    say("no", `capabilities that reach the whole machine: ${short(strong)}; in all: ${short(effective)}`, evidence);
  else if (effective.length > 0)
    say("yes", `capabilities: ${short(effective)}, of the host's ${host.capabilities.bounding.length}`, evidence);
  else say("yes", "no capabilities", evidence);
  const regain = bounding.filter((name) => !effective.includes(name));
  if (regain.length > 0 && !noNewPrivs)
    say(
      "no",
      `set-user-id programs can gain ${regain.length > 20 ? `${regain.length} capabilities` : short(regain)}`,
      `CapBnd ${bounding.length}, NoNewPrivs 0`,
    );
  const privs = `/proc/${pid}/status: NoNewPrivs ${noNewPrivs ? 1 : 0}`;
  if (noNewPrivs) say("yes", "no-new-privileges: set-user-id programs and file capabilities give nothing", privs);
  else say("no", "no-new-privileges is not set: set-user-id programs work", privs);
  const mode = `/proc/${pid}/status: Seccomp ${seccomp.mode}`;
  const filters =
    seccomp.filters === undefined ? "filters" : seccomp.filters === 1 ? "a filter" : `${seccomp.filters} filters`;
  if (seccomp.mode === 0) say("no", "seccomp: no filter, every system call of the kernel can be tried", mode);
  else if (seccomp.mode === 1) say("yes", "seccomp: strict mode, nothing but read, write and exit", mode);
  else say("yes", `seccomp: ${filters} on its system calls; what they refuse is not to be seen from outside`, mode);
  const current = `/proc/${pid}/attr/current`;
  if (label === undefined) say("no", "no label of a security module (AppArmor, SELinux) is in force", current);
  else if (label === host.label || /^unconfined/.test(label))
    say("no", `its security label is ${label}${label === host.label ? ", as the host's" : ""}`, current);
  else say("yes", `a security module confines it: ${label}`, current);
}

/* ---- limits ---------------------------------------------------------------------------------- */

const UNITS: readonly (readonly [number, string])[] = [
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
];

export function bytesText(bytes: number): string {
  const [size, unit] = UNITS.find(([size]) => bytes >= size) ?? [1, "bytes"];
  return `${Math.round((bytes / size) * 10) / 10} ${unit}`;
}

const LIMITS: Readonly<Record<string, [name: string, show: (value: number) => string]>> = {
  memory: ["memory", bytesText],
  swap: ["swap", bytesText],
  processes: ["processes and threads", String],
  cpu: ["processor time", (value) => `${Math.round(value * 100) / 100} processors`],
};

function tellLimit({ what, value, group }: Limit, say: Say): void {
  const where = group === undefined ? "no group" : `control group ${group}`;
  if (what === "devices") {
    if (value === undefined)
      say("unknown", "which devices it may open cannot be seen: on cgroup v2 a program decides", where);
    else if (/^a \*:\* rwm$/m.test(String(value)))
      say(
        "no",
        "devices: every device may be opened and made, if modes and capabilities allow",
        `${where}: devices.list`,
      );
    else
      say(
        "yes",
        `devices: ${String(value).split("\n").length} rules, all else may not be opened`,
        `${where}: devices.list`,
      );
    return;
  }
  if (what === "cpuset") {
    if (value !== undefined) say("yes", `it may run on processors ${value}`, `${where}: cpuset`);
    return;
  }
  const [name, show] = LIMITS[what] ?? [what, String];
  if (value === undefined) say("unknown", `${name}: no control group that limits it can be seen`, where);
  else if (Number(value) < 0) say("no", `${name}: no limit`, where);
  else say("yes", `${name}: at most ${show(Number(value))}`, where);
}

/* ---- who made it ----------------------------------------------------------------------------- */

const MAKERS: readonly (readonly [RegExp, string])[] = [
  [/\/tupper-((?:(?!\.service$)[^/])+?)(?:\.scope)?$/, "tupper (NAME)"],
  [/\/docker[/-]([0-9a-f]{12})[0-9a-f]*(?:\.scope)?/, "docker (NAME)"],
  [/libpod-(?:conmon-)?([0-9a-f]{12})[0-9a-f]*/, "podman (NAME)"],
  [/cri-containerd-([0-9a-f]{12})|\/kubepods/, "kubernetes (NAME)"],
  [/\/lxc(?:\.payload\.|\/)([^/]+)/, "LXC (NAME)"],
  [/\/machine\.slice\/([^/]+)/, "systemd-machined (NAME)"],
  [/\/user@\d+\.service\/.*?([^/]+\.(?:scope|service))$/, "a user's systemd (NAME)"],
  [/\/([^/]+\.(?:service|scope))(?:\/|$)/, "systemd (NAME)"],
];

/** By the name of its control group; undefined where that says nothing. */
export function makerOf({ cgroups }: Portrait): { name: string; evidence: string } | undefined {
  for (const { path } of cgroups) {
    for (const [pattern, name] of MAKERS) {
      const match = pattern.exec(path);
      if (match !== null) return { name: name.replace("NAME", match[1] ?? path), evidence: `control group ${path}` };
    }
  }
  return undefined;
}
