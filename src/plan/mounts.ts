/**
 * `mounts` of the config, in its order. Bind sources are taken before pivot_root and placed after it; everything
 * else is mounted after it, by paths that can only mean the container's own tree.
 */
import { ContainerError } from "../error.ts";
import { table } from "../spec/check.ts";
import type { Config, Mount, NamespaceType } from "../spec/config.ts";
import { bind, type HowTaken } from "./bind-mounts.ts";
import { hostId } from "./cgroup/delegation.ts";
import type { ControlGroup } from "./cgroup/limits.ts";
import { planCgroupMount, planSystemdV1, systemdV1Place } from "./cgroup-mounts.ts";
import type { Host } from "./host.ts";
import { planIdMap } from "./id-mapped-mounts.ts";
import { type MountOptions, parseMountOptions } from "./mount-options.ts";
import { IN_PLACE, IN_SIGHT, MountOrder } from "./mount-order.ts";
import { isNew, isolates, namespaceOf } from "./namespaces.ts";
import { cleanPath, PROC_FILES } from "./proc-files.ts";
import { planPropagation, spread } from "./propagation.ts";
import { COVER } from "./rootfs.ts";
import type { InitStep, MountFlag, ParentStep } from "./step.ts";

export interface MountsPlan {
  /** Trees that only the parent may take: those with owners mapped. */
  before: ParentStep[];
  /** What is taken while the machine's files are in sight. */
  take: InitStep[];
  place: InitStep[];
  /** What becomes read-only once everything is in place. */
  seal: InitStep[];
  /** Whether all mounts are made apart from their places, and so the root is to be. */
  apart: boolean;
  /** What was asked for and cannot be had here. */
  warnings: string[];
}

/** The mount that is on its way; one object for all of them, because configs may have thousands. */
export interface Request {
  config: Config;
  host: Host;
  mount: Mount;
  options: MountOptions;
  /** The destination, absolute. */
  target: string;
  /** Tells its slots from those of other mounts. */
  index: number;
  /** `mounts[3]`; put together when it is asked for. */
  readonly field: string;
  view: View;
  order: MountOrder;
}

/** What the mounts before one make. */
interface View {
  /** The root filesystem and a slash. */
  root: string;
  howTaken: Map<MountOptions, HowTaken>;
  /** These are filled as far as somebody asks. */
  seen: number;
  targets: Set<string>;
  /** With the directories above them. */
  above: Set<string>;
}

interface OfBundle {
  /** The directory: sources may lie below the root filesystem and be made by earlier mounts. */
  bundle?: string | undefined;
  /** What makes a mount on `/` the root: what is mounted after it stands in it. */
  enter?: readonly InitStep[] | undefined;
}

export function planMounts(
  config: Config,
  host: Host,
  groups: readonly ControlGroup[],
  { bundle, enter }: OfBundle = {},
): MountsPlan {
  const order = new MountOrder(config, host);
  const plan: MountsPlan = { before: [], take: [], place: [], seal: [], apart: order.apart, warnings: [] };
  const root = `${cleanPath(config.root.path)}/`;
  const view: View = { root, howTaken: new Map(), seen: 0, targets: new Set(), above: new Set() };
  const optionsOf = optionsReader();
  const mounts = config.mounts ?? [];
  const systemdV1 = systemdV1Place(config);
  let request: Request | undefined;
  for (let index = 0; index < mounts.length; index++) {
    const mount = mounts[index] as Mount;
    const options = optionsOf(mount);
    const target = cleanPath(mount.destination);
    if (request === undefined) request = requestOf({ config, host, mount, options, target, index, view, order });
    else {
      request.mount = mount;
      request.options = options;
      request.target = target;
      request.index = index;
    }
    if (target === "/" || target.startsWith("/proc")) checkPlace(request, enter !== undefined);
    const isSystemdV1 = systemdV1 !== undefined && target === cleanPath(systemdV1);
    if (target === "/" && !options.remount) onRoot(request, plan, { bundle, enter });
    else if (options.remount) remount(request, plan);
    else if (options.bind && !isSystemdV1) bind(request, plan, bundle);
    else if (mount.type === "cgroup" || isSystemdV1) {
      requireNoIdMap(request);
      const planMount = isSystemdV1 ? planSystemdV1 : planCgroupMount;
      const cgroup = planMount({ ...request, flags: options.flags, data: options.data, groups });
      plan.take.push(...cgroup.take);
      const [first, ...parts] = cgroup.place;
      if (first?.op === "mount") newFilesystem(request, first, plan);
      else if (first?.op === "placeTree") plan.place.push({ ...first, ...order.next(IN_SIGHT) });
      // Nobody asks which parts of one mount are the younger.
      plan.place.push(...parts);
    } else filesystem(request, plan);
  }
  for (const [key, value] of Object.entries(config.linux.sysctl ?? {})) {
    plan.place.push({
      op: "write",
      by: "init",
      path: `/proc/sys/${sysctlPath(key)}`,
      value,
      field: `linux.sysctl["${key}"]`,
      because: "a kernel setting that belongs to one of the container's namespaces",
    });
  }
  return plan;
}

const requestOf = (first: Omit<Request, "field">): Request => ({
  ...first,
  get field() {
    return `mounts[${this.index}]`;
  },
});

/** Mounts with the same options share what was parsed, and trees that are taken with the same flags what is made of these. */
function optionsReader(): (mount: Mount) => MountOptions {
  const known = new Map<string, MountOptions>();
  // Bind mounts stand beside others like them.
  let latest: MountOptions | undefined;
  let latestType: string | undefined;
  let latestOptions: readonly string[] = [];
  return ({ type, options = NO_OPTIONS }) => {
    if (latest !== undefined && type === latestType && areSame(options, latestOptions)) return latest;
    const words = type === "bind" ? ["bind", ...options] : options;
    const key = words.join("\0");
    latest = known.get(key);
    if (latest === undefined) {
      latest = parseMountOptions(words);
      known.set(key, latest);
    }
    latestType = type;
    latestOptions = options;
    return latest;
  };
}

const NO_OPTIONS: readonly string[] = [];

function areSame(some: readonly string[], others: readonly string[]): boolean {
  if (some.length !== others.length) return false;
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false;
  return true;
}

/** `net.ipv4.conf.eth0/1.x`: dots separate, a slash stands for a dot within a name. sysctl(8). */
const sysctlPath = (key: string): string =>
  [...key].map((letter) => (letter === "." ? "/" : letter === "/" ? "." : letter)).join("");

/** What may be mounted on the root and in /proc: see proc-files.ts. */
function checkPlace({ mount, options, target, field }: Request, mayBeRoot: boolean): void {
  if (target === "/") {
    const isOfKernel = !options.bind && !options.remount && /^(proc|sysfs|cgroup2?)$/.test(mount.type ?? "");
    if (mayBeRoot && !isOfKernel) return;
    throw new ContainerError(
      "MOUNT_ON_ROOT",
      isOfKernel ? `a ${mount.type} is no root filesystem` : "a mount on / would cover the root filesystem",
      { field: `${field}.destination`, hint: "root.path says what the root is" },
    );
  }
  if (target === "/proc") {
    if (options.bind || options.remount || mount.type === "proc") return;
    throw new ContainerError("MOUNT_INSIDE_PROC", `only proc can be mounted on /proc, not ${mount.type ?? "this"}`, {
      field: `${field}.destination`,
    });
  }
  if (!target.startsWith("/proc/") || PROC_FILES.includes(target) || options.remount) return;
  throw new ContainerError("MOUNT_INSIDE_PROC", `nothing can be mounted on ${target}: it is inside /proc`, {
    field: `${field}.destination`,
    hint: `other files there are the kernel's; what can be mounted on: ${PROC_FILES.join(", ")}`,
  });
}

/** A mount on `/` covers the root, and all that was mounted in it before: it is entered as the root was. As under crun. */
function onRoot(request: Request, plan: MountsPlan, { bundle, enter = [] }: OfBundle): void {
  const { config, options, field } = request;
  const { rootfsPropagation = "" } = config.linux;
  const from = plan.place.length;
  if (options.bind) bind(request, plan, bundle);
  else filesystem(request, plan);
  const { taken } = planPropagation(options, rootfsPropagation);
  const isRoots = options.propagation.length === 0 && !/private$|slave$/.test(rootfsPropagation);
  const cut: InitStep = {
    op: "propagation",
    by: "init",
    target: COVER,
    mode: "private",
    field,
    because: "pivot_root refuses a shared root, and what the machine mounts there later is not the container's",
  };
  // How it spreads, by its own options, is for the root that it is then.
  const spreads = plan.place.findIndex(({ op }, at) => at >= from && op === "propagation");
  const at = spreads < 0 ? plan.place.length : spreads;
  plan.place.splice(at, 0, ...(options.bind && (taken === undefined || isRoots) ? [cut] : []), ...enter);
}

/** Filesystems that name nothing of the machine. Others are made of its devices or, as Podman's `-v DIR:DIR:O`, its directories. */
const OF_NOTHING: ReadonlySet<string> = new Set([
  ...["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2", "ramfs", "hugetlbfs", "devtmpfs", "binder", "bpf"],
  ...["binfmt_misc", "configfs", "debugfs", "efivarfs", "fusectl", "pstore", "securityfs", "selinuxfs", "tracefs"],
]);

const isKernel = (fstype: string): boolean => fstype === "proc" || fstype === "sysfs";

function requireNoIdMap({ mount: { type, uidMappings }, options, field }: Request): void {
  if (uidMappings === undefined && options.idmap === undefined) return;
  throw new ContainerError("MOUNT_IDMAP_REFUSED", `a ${type} cannot show other owners: its files are the kernel's`, {
    field,
  });
}

/** Filesystems that show a namespace, and what of the machine is shown where that is not the container's. */
const SHOWN = table<readonly [NamespaceType, path: string]>({
  proc: ["pid", "/proc"],
  sysfs: ["network", "/sys"],
  mqueue: ["ipc", "/dev/mqueue"],
});

/** `uid=` and `gid=` that the container's user namespace does not have (EINVAL) are left out: what is made belongs to its root then. */
function knownOwners({ config, host, mount, options: { data }, field }: Request, plan: MountsPlan): string {
  if (!/(^|,)[ug]id=/.test(data) || (mount.type !== "devpts" && mount.type !== "tmpfs")) return data;
  const user = namespaceOf(config, "user");
  const maps = user === undefined ? host.ownIds : user.path === undefined ? config.linux : undefined;
  if (maps === undefined) return data;
  return data
    .split(",")
    .filter((word) => {
      const [, kind, id] = /^(uid|gid)=(\d+)$/.exec(word) ?? [];
      const mappings = kind === "uid" ? maps.uidMappings : maps.gidMappings;
      if (kind === undefined || mappings === undefined || hostId(Number(id), mappings) !== undefined) return true;
      // The group of terminals is missing wherever there is one id.
      if (mount.type === "tmpfs")
        plan.warnings.push(`${field}.options: ${word} is left out, because the user namespace has no such id`);
      return false;
    })
    .join(",");
}

/** A mount of a filesystem that is made for the container. */
function filesystem(request: Request, plan: MountsPlan): void {
  const { config, mount, options, target, field, index, order } = request;
  const fstype = mount.type ?? "";
  if (fstype === "" || fstype === "none")
    throw new ContainerError("MOUNT_TYPE_NEEDED", `the mount on ${target} has no type`, {
      field: `${field}.type`,
      hint: "name a filesystem such as tmpfs, or a bind mount's option bind or rbind",
    });
  if (isKernel(fstype)) requireNoIdMap(request);
  const idMap = planIdMap(request);
  if (options.copyUp && fstype !== "tmpfs")
    throw new ContainerError("BAD_MOUNT_OPTION", "tmpcopyup is for tmpfs only", { field: `${field}.options` });
  // Mount points, devices and copies are still to be made there.
  const later: MountFlag[] = (fstype === "tmpfs" || target === "/dev") && options.flags.includes("ro") ? ["ro"] : [];
  const step = {
    source: mount.source ?? fstype,
    fstype,
    flags: options.flags.filter((flag) => !later.includes(flag)),
    // Of a filesystem that is made outside of the user namespace, owners are the machine's ids.
    data: idMap === undefined ? knownOwners(request, plan) : options.data,
  };
  const because = mountPurpose(mount);
  const showsKernel = isKernel(fstype);
  // In a user namespace, ours or the container's, the kernel makes these only where one is in sight already, and only for
  // who owns the namespace that they show.
  const restricted = isolates(config, "user") || !request.host.privileged;
  const [shown, place] = SHOWN[fstype] ?? [];
  const isForeign = shown !== undefined && (fstype === "sysfs" ? !isNew(config, shown) : !isolates(config, shown));
  const showsNamespace = showsKernel || (isForeign && fstype === "mqueue");
  const needsSight = restricted && showsNamespace;
  if (idMap === undefined && (needsSight || !OF_NOTHING.has(fstype))) {
    const tree = { slot: `filesystem.${index}` };
    plan.take.push({
      op: "takeFilesystem",
      by: "init",
      ...step,
      tree,
      ...(isForeign && place !== undefined ? { otherwise: place } : {}),
      field,
      because,
    });
    plan.place.push({
      op: "placeTree",
      by: "init",
      tree,
      target,
      ...(showsKernel ? { exact: true } : {}),
      ...order.next(IN_SIGHT),
      field,
      because: showsNamespace
        ? `${fstype} was made while the machine's was in sight, as the kernel demands`
        : `${fstype} was made while the machine's files were in sight: it names some of them`,
    });
  } else {
    const like = options.copyUp ? "copy" : fstype === "tmpfs" && !/(^|,)mode=/.test(step.data) ? "mode" : undefined;
    const mounted: MountStep = {
      op: "mount",
      by: "init",
      ...step,
      target,
      ...(like === undefined ? {} : { like }),
      ...(idMap === undefined ? {} : { idMap }),
      ...labelOf(config, fstype),
      field,
      because,
    };
    newFilesystem(request, mounted, plan);
  }
  for (const step of spread(options.propagation, target, field)) plan.place.push(step);
  if (options.recursiveFlags.length + options.recursiveClear.length > 0)
    plan.place.push({
      op: "setMountFlags",
      by: "init",
      target,
      flags: options.recursiveFlags,
      ...(options.recursiveClear.length === 0 ? {} : { clear: options.recursiveClear }),
      recursive: true,
      field: `${field}.options`,
      because: "the config asks for these flags on the mount and on all below it",
    });
  if (later.length > 0)
    plan.seal.push({
      op: "setMountFlags",
      by: "init",
      target,
      flags: later,
      recursive: false,
      field: `${field}.options`,
      because: "read-only from now on: mount points and devices in it have been made",
    });
}

type MountStep = Extract<InitStep, { op: "mount" }>;

/** A filesystem that names nothing of the machine: mounted in its place, or made apart from it, in its turn. */
function newFilesystem({ index, field, order }: Request, step: MountStep, plan: MountsPlan): void {
  const { op: _, target, like, idMap, label, ...made } = step;
  const { fstype, data } = made;
  // What depends on its place, and options that only mount(2) takes as one text.
  const isWhole = like !== undefined || idMap !== undefined || label !== undefined || /"|mpol=/.test(data);
  if (!order.apart || isWhole) {
    order.next(IN_PLACE);
    plan.place.push(step);
    return;
  }
  const tree = { slot: `filesystem.${index}` };
  plan.take.push({ op: "takeFilesystem", ...made, tree });
  plan.place.push({
    op: "placeTree",
    by: "init",
    tree,
    target,
    ...(isKernel(fstype) ? { exact: true } : {}),
    fstype,
    ...order.next(IN_SIGHT),
    field,
    because: `${fstype} was made in its turn: mounts are listed in the order in which they were made`,
  });
}

/** A change of what an earlier mount, or the root filesystem, has there. */
function remount({ mount, options, target, field }: Request, plan: MountsPlan): void {
  const because = "the config changes a mount that is already there";
  if (options.bind)
    plan.place.push({
      op: "setMountFlags",
      by: "init",
      target,
      flags: options.flags,
      ...(options.clear.length === 0 ? {} : { clear: options.clear }),
      recursive: false,
      field,
      because,
    });
  else
    plan.place.push({
      op: "mount",
      by: "init",
      source: mount.source ?? "none",
      target,
      fstype: mount.type ?? "none",
      flags: ["remount", ...options.flags],
      data: options.data,
      field,
      because,
    });
  for (const step of spread(options.propagation, target, field)) plan.place.push(step);
}

/**
 * `linux.mountLabel`, as runc and crun apply it: proc and sysfs have labels of their own, an mqueue takes none as an option
 * but has one on its root. crun's annotation says which option it is.
 */
export function labelOf({ linux, annotations }: Config, fstype: string): { label?: { text: string; as: string } } {
  if (!linux.mountLabel || fstype === "proc" || fstype === "sysfs") return {};
  const as = fstype === "mqueue" ? "attribute" : (annotations?.["run.oci.mount_context_type"] ?? "context");
  return { label: { text: linux.mountLabel, as } };
}

function mountPurpose({ type, destination }: Mount): string {
  switch (type) {
    case "proc":
      return "ps, /proc/self and much of the C library need it; it shows the processes of the container's PID namespace";
    case "sysfs":
      return "devices and drivers as files; its network part is the container's own";
    case "devpts":
      return "pseudo-terminals of the container alone (newinstance)";
    case "mqueue":
      return "POSIX message queues of the container's IPC namespace";
    case "tmpfs":
      if (destination === "/dev") return "a /dev of the container's own: nothing of the machine's devices is in it";
      if (destination === "/dev/shm") return "POSIX shared memory of the container's own, limited in size";
      return "files in memory that vanish with the container";
    default:
      return `the config asks for a ${type ?? "filesystem"} there`;
  }
}
