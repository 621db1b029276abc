/**
 * `linux.namespaces`, `linux.uidMappings`, `linux.timeOffsets`: which namespaces are made by clone, which later, which
 * are joined, and in which order. namespaces(7).
 */
import { ContainerError } from "../error.ts";
import { ANNOTATION, type Config, type IdMapping, type Namespace, type NamespaceType } from "../spec/config.ts";
import { since } from "./cgroup/request.ts";
import type { Host } from "./host.ts";
import { planNetDevices } from "./net-devices.ts";
import type { InitStep, ParentStep } from "./step.ts";

interface NamespacePlan {
  /** Made by clone itself. */
  cloned: NamespaceType[];
  before: ParentStep[];
  afterClone: ParentStep[];
  inside: InitStep[];
  sharedMemory: boolean;
}

/** What a process shares with the machine when it has no namespace of a type. */
export const ISOLATES: Readonly<Record<NamespaceType, string>> = {
  mount: "its own mount table: the container's mounts are its own and the machine's are out of sight",
  pid: "its own process numbers: the command is PID 1 and sees no other processes",
  network: "its own network: interfaces, addresses, routes, ports, firewall",
  ipc: "its own System V IPC and POSIX message queues",
  uts: "its own host name and NIS domain name",
  user: "its own user and group ids: root inside is somebody else outside",
  cgroup: "its own root of the control group tree: /proc/self/cgroup says /",
  time: "its own monotonic and boot clocks",
};

/** The entry of `linux.namespaces` for a type; undefined when the container shares the machine's. */
export function namespaceOf(config: Config, type: NamespaceType): Namespace | undefined {
  // Asked some fifty times for each plan: a closure and its calls would be a tenth of it.
  for (const namespace of config.linux.namespaces ?? []) if (namespace.type === type) return namespace;
  return undefined;
}

/** A namespace that is made for this container. */
export function isNew(config: Config, type: NamespaceType): boolean {
  const namespace = namespaceOf(config, type);
  return namespace !== undefined && namespace.path === undefined;
}

/** A namespace other than the machine's, made or joined. */
export const isolates = (config: Config, type: NamespaceType): boolean => namespaceOf(config, type) !== undefined;

const CLONE_ORDER: readonly NamespaceType[] = ["user", "mount", "pid", "network", "ipc", "uts"];
/** By the init process itself. A mount namespace last: it takes the paths away. */
const JOIN_ORDER: readonly NamespaceType[] = ["ipc", "uts", "network", "cgroup", "time", "mount"];

/** By root, before it is in a user namespace. */
const AS_ROOT = ["ipc", "uts", "network", "pid", "user"] as const;

const JOINED_BEFORE = {
  user: "what is made in a user namespace belongs to it: the others are made once we are in it",
  pid: "a process cannot change its own PID namespace, only that of its children",
  ipc: "a namespace of the machine can be joined only with its capabilities, so before those of a user namespace",
  uts: "a namespace of the machine can be joined only with its capabilities, so before those of a user namespace",
  network: "a namespace of the machine can be joined only with its capabilities, so before those of a user namespace",
} as const;

/**
 * Whether a container of the OCI runtime shares its mount namespace: with the machine, or with who is in one that it joins by
 * path. It has a root and mounts of its own all the same. `tupper run` joins others to have their files.
 */
export const sharesMounts = (config: Config): boolean =>
  !isNew(config, "mount") && config.annotations?.[ANNOTATION.rootKind] === undefined;

/** `joinsCgroups`: the process moves itself into cgroup v1 groups, so a cgroup namespace must wait for that. */
export function planNamespaces(config: Config, host: Host, joinsCgroups: boolean): NamespacePlan {
  checkNamespaces(config);
  const staysRoot = config.linux.uidMappings?.some(({ containerID, hostID }) => containerID === 0 && hostID === 0);
  const ipcLater = host.uid === 0 && isolates(config, "user") && isNew(config, "ipc") && !staysRoot;
  const cloned = CLONE_ORDER.filter((type) => isNew(config, type) && !(type === "ipc" && ipcLater));
  const inside: InitStep[] = [];
  const before: ParentStep[] = [];
  const afterClone: ParentStep[] = [];

  // A new cgroup namespace is rooted where its creator is: with v2 clone3 puts the child in its group first.
  if (isNew(config, "cgroup") && !joinsCgroups) cloned.push("cgroup");

  // Root joins what belongs to the machine while it has the machine's capabilities: in a user namespace, its own or one that
  // it joins, it has none over them. Others have capabilities only once they are in there.
  const asRoot = host.uid === 0 && isolates(config, "user");
  for (const type of asRoot ? AS_ROOT : (["user", "pid"] as const)) {
    const path = namespaceOf(config, type)?.path;
    if (path === undefined) continue;
    before.push({
      op: "joinNamespace",
      by: "parent",
      type,
      path,
      field: field(config, type),
      because: JOINED_BEFORE[type],
    });
  }
  const clocks = planClocks(config);
  const hasOwnTime = isNew(config, "time");
  // Only what is cloned from a process goes into its new time namespace, before Linux 6.3 not what it executes.
  const timeBefore = hasOwnTime && !since(host.kernel, 6, 3);
  if (timeBefore) {
    if (host.uid !== 0) throw timeNeedsRoot(host);
    before.push(...[unshare(["time"]), ...clocks].map((step): ParentStep => ({ ...step, by: "parent" })));
  }
  // /proc/self belongs to the machine's root once the ids have changed, so the clocks come first.
  const clocksFirst = clocks.length > 0 && isolates(config, "user");
  if (clocksFirst && !timeBefore) inside.push(unshare(["time"]), ...clocks);
  if (isNew(config, "user")) {
    const uidMappings = config.linux.uidMappings ?? [];
    const gidMappings = config.linux.gidMappings ?? [];
    const isOwn = ([first, ...more]: typeof uidMappings, own: number) =>
      more.length === 0 && first?.size === 1 && first.hostID === own;
    afterClone.push({
      op: "mapIds",
      by: "parent",
      pid: { slot: "init.pid" },
      uidMappings,
      gidMappings,
      helper: host.uid !== 0 && !(isOwn(uidMappings, host.uid) && isOwn(gidMappings, host.gid)),
      denySetgroups: host.uid !== 0 && isOwn(gidMappings, host.gid),
      field: "linux.uidMappings",
      because: "which ids outside the ids inside are; the kernel takes them once, from a process outside",
    });
    inside.push({
      op: "becomeMappedRoot",
      by: "init",
      ...otherUser(config),
      because: "the first process of a user namespace has all capabilities in it, but no id until the maps are there",
    });
  }
  if (namespaceOf(config, "user")?.path !== undefined) {
    inside.push({
      op: "becomeMappedRoot",
      by: "init",
      ...otherUser(config),
      because: "only an id that the namespace maps can own what is made in it",
    });
  }
  for (const step of planNetDevices(config)) afterClone.push(step);
  if (config.linux.netDevices !== undefined && afterClone.length > 0 && !isolates(config, "user")) {
    inside.push({
      op: "awaitParent",
      by: "init",
      field: "linux.netDevices",
      because: "the network devices must be there before anybody looks for them",
    });
  }
  for (const type of JOIN_ORDER) {
    const path = namespaceOf(config, type)?.path;
    if (path === undefined || before.some((step) => step.op === "joinNamespace" && step.type === type)) continue;
    inside.push({
      op: "joinNamespace",
      by: "init",
      type,
      path,
      field: field(config, type),
      because: `shares ${ISOLATES[type].replace(/^its own /, "the ")} with whoever is there`,
    });
  }
  const unshared: MadeLater[] = ipcLater ? ["ipc"] : [];
  if (isNew(config, "cgroup") && joinsCgroups) unshared.push("cgroup");
  const timeLast = hasOwnTime && !timeBefore && !clocksFirst;
  if (timeLast) unshared.push("time");
  if (unshared.length > 0) inside.push(unshare(unshared));
  if (timeLast) inside.push(...clocks);
  // A process that joins another container's PID or time namespace must not share our memory: whoever may
  // ptrace it there could write to ours, and setns to a time namespace wants a single-threaded memory.
  // And where the container's memory may not last for the set-up: who is killed for it takes all with him who share it.
  const sharedMemory =
    before.length === 0 && namespaceOf(config, "time")?.path === undefined && !hasLittleMemory(config);
  return { cloned, before, afterClone, inside, sharedMemory };
}

/** Mounts and namespaces cost memory of the kernel, which counts: measured are some 12 KiB for a tmpfs. */
function hasLittleMemory({ mounts = [], linux }: Config): boolean {
  const limit = linux.resources?.memory?.limit ?? -1;
  return limit > 0 && limit < LITTLE_BYTES + mounts.length * MOUNT_BYTES;
}

const LITTLE_BYTES = 1024 * 1024;
const MOUNT_BYTES = 16 * 1024;

type UnshareStep = Extract<InitStep, { op: "unshare" }>;
type ClockStep = Extract<InitStep, { op: "timeOffset" }>;

const timeNeedsRoot = ({ kernel }: Host): ContainerError =>
  new ContainerError(
    "TIME_NAMESPACE_UNAVAILABLE",
    `Linux ${kernel.join(".")} gives a time namespace to root's containers only`,
    {
      field: "linux.namespaces",
      hint: "leave the time namespace out, run as root, or use Linux 6.3: execve enters it since then",
    },
  );

type MadeLater = "ipc" | "cgroup" | "time";

const MADE_LATER: Readonly<Record<MadeLater, string>> = {
  ipc: "its message queues belong to its maker, who must be root of the user namespace by then",
  cgroup: "a cgroup namespace is rooted at the group of its maker, so it is made after joining the group",
  time: "a time namespace is for processes that execute later, and its offsets are set before",
};

const unshare = (namespaces: MadeLater[]): UnshareStep => ({
  op: "unshare",
  by: "init",
  namespaces,
  field: "linux.namespaces",
  because: namespaces.map((type) => MADE_LATER[type]).join("; "),
});

function planClocks({ linux }: Config): ClockStep[] {
  return (["monotonic", "boottime"] as const).flatMap((clock): ClockStep[] => {
    const offset = linux.timeOffsets?.[clock];
    if (offset === undefined) return [];
    const { secs = 0, nanosecs = 0 } = offset;
    return [
      {
        op: "timeOffset",
        by: "init",
        clock,
        // The kernel wants less than a second of them, and takes a negative offset as negative seconds and positive rest.
        secs: secs + Math.floor(nanosecs / 1e9),
        nanosecs: ((nanosecs % 1e9) + 1e9) % 1e9,
        field: `linux.timeOffsets.${clock}`,
        because: "clocks can be shifted only before the first process enters the time namespace",
      },
    ];
  });
}

/**
 * Who the set-up is where the maps have no root: the user of the command, who must be in them. Of a namespace that is
 * joined the maps are not known, so it is tried.
 */
export function otherUser({ linux, process }: Config): { otherwise?: { uid: number; gid: number } } {
  const { uid, gid } = process.user;
  const hasRoot = (mappings: readonly IdMapping[] = [{ containerID: 1, hostID: 1, size: 1 }]) =>
    mappings.some(({ containerID }) => containerID === 0);
  const mapped = hasRoot(linux.uidMappings) && hasRoot(linux.gidMappings);
  return mapped || (uid === 0 && gid === 0) ? {} : { otherwise: { uid, gid } };
}

function field(config: Config, type: NamespaceType): string {
  return `linux.namespaces[${config.linux.namespaces?.findIndex((namespace) => namespace.type === type)}].path`;
}

function checkNamespaces(config: Config): void {
  const seen = new Set<NamespaceType>();
  for (const [i, { type }] of (config.linux.namespaces ?? []).entries()) {
    if (seen.has(type)) {
      throw new ContainerError("NAMESPACE_TWICE", `the namespace type ${type} is named twice`, {
        field: `linux.namespaces[${i}].type`,
      });
    }
    seen.add(type);
  }
  // Who is in a user namespace may not go back to the machine's mount namespace. setns(2)
  if (!seen.has("mount") && (seen.has("user") || !sharesMounts(config))) {
    throw new ContainerError(
      "MOUNT_NAMESPACE_NEEDED",
      "a container needs a mount namespace of its own: without one its mounts would be the machine's",
      {
        field: "linux.namespaces",
        hint: "leave the mount namespace private, or name another container's to join",
      },
    );
  }
  if (isNew(config, "user") && (config.linux.uidMappings ?? []).length === 0) {
    throw new ContainerError("ID_MAPS_MISSING", "a new user namespace needs uid and gid mappings", {
      field: "linux.uidMappings",
      hint: "for example --uidmap 0:100000:65536 --gidmap 0:100000:65536",
    });
  }
  if (config.linux.timeOffsets && !isNew(config, "time")) {
    throw new ContainerError("TIME_NAMESPACE_NEEDED", "clock offsets need a new time namespace", {
      field: "linux.timeOffsets",
    });
  }
}
