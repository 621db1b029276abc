/** What `linux` of config.json must look like: config-linux.md. Rules about several of its fields are here too. */
import {
  absolutePath,
  accountId,
  boolean,
  type Check,
  clash,
  integer,
  list,
  object,
  oneOf,
  type Problem,
  record,
  text,
  textLike,
  uint32,
  within,
  wrong,
} from "./check.ts";
import type { Device, IntelRdt, Linux, MemoryPolicy, Namespace, NamespaceType } from "./config.ts";
import { idMappings } from "./id-mappings.ts";
import {
  CLOCKS,
  MEMORY_POLICY_FLAGS,
  MEMORY_POLICY_MODES,
  NAMESPACE_TYPES,
  PERSONALITY_DOMAINS,
  ROOTFS_PROPAGATIONS,
} from "./names.ts";
import { countNumbers, numberList } from "./number-list.ts";
import { RESOURCES } from "./resources-schema.ts";
import { checkSysctls } from "./sysctl.ts";

const namespaces = list<Namespace>(
  object<Namespace>({ type: oneOf(NAMESPACE_TYPES), path: absolutePath }, ["type"]),
  (namespaces) => {
    for (let i = 1; i < namespaces.length; i++) {
      const type = namespaces[i]?.type;
      if (namespaces.findIndex((namespace) => namespace.type === type) < i)
        return clash(`[${i}].type`, type, "each namespace may be listed only once");
    }
    return undefined;
  },
);

/** The bits of a mode that say what kind of file it is: engines leave them in. */
const PERMISSIONS = 0o7777;

/** makedev(3): the kernel has 12 bits for a major and 20 for a minor number. */
const device = object<Device>(
  {
    path: absolutePath,
    type: oneOf(["c", "b", "u", "p"]),
    major: integer(0, 4095),
    minor: integer(0, 1_048_575),
    fileMode: uint32,
    uid: accountId,
    gid: accountId,
  },
  ["path", "type"],
  (device) => {
    if (device.fileMode !== undefined) device.fileMode &= PERMISSIONS;
    if (device.type === "p") return undefined;
    for (const name of ["major", "minor"] as const)
      if (device[name] === undefined)
        return clash(`.${name}`, undefined, `a device of type ${device.type} has a major and a minor number`);
    return undefined;
  },
);

/** dev_valid_name() of the kernel: IFNAMSIZ is 16 with the NUL. `%d` is for the kernel to fill in. */
const interfaceName = textLike(
  "the name of a network interface: at most 15 characters, no slash, colon or space",
  (name) => name.length > 0 && name.length < 16 && name !== "." && name !== ".." && !/[/:\s]/.test(name),
);

type NetDevice = NonNullable<Linux["netDevices"]>[string];
type TimeOffset = { secs?: number; nanosecs?: number };

const oneLine = textLike("one line", (line) => !line.includes("\n"));

const intelRdt = object<IntelRdt>({
  closID: textLike(
    'the name of a directory of resctrl, or "/" for its root',
    (name) => name === "/" || (name !== "." && name !== ".." && !/[/\n]/.test(name)),
  ),
  schemata: list(oneLine),
  l3CacheSchema: text,
  memBwSchema: textLike("one line that begins with MB:", (line) => line.startsWith("MB:") && !line.includes("\n")),
  enableMonitoring: boolean,
});

/** A refusal that says what it refuses. */
const ofPolicy =
  (what: string, check: Check): Check =>
  (value, pass) => {
    const problem = check(value, pass);
    return problem && { ...problem, says: `invalid memory policy ${what}, ${problem.says}` };
  };

/** set_mempolicy(2) */
const memoryPolicy = object<MemoryPolicy>(
  {
    mode: ofPolicy("mode", oneOf(MEMORY_POLICY_MODES)),
    nodes: ofPolicy("nodes", numberList),
    flags: list(ofPolicy("flag", oneOf(MEMORY_POLICY_FLAGS))),
  },
  ["mode"],
  ({ mode, nodes, flags = [] }) => {
    if (mode === "MPOL_DEFAULT" || mode === "MPOL_LOCAL") {
      if (nodes !== undefined)
        return clash(".nodes", nodes, `the ${mode} mode requires 0 nodes but got ${countNumbers(nodes)}`);
    } else if (nodes === undefined && mode !== "MPOL_PREFERRED") {
      return clash(".nodes", undefined, `${mode} needs at least one node`);
    }
    if (flags.includes("MPOL_F_STATIC_NODES") && flags.includes("MPOL_F_RELATIVE_NODES"))
      return clash(".flags", flags, "nodes are either static or relative");
    if (flags.includes("MPOL_F_NUMA_BALANCING") && mode !== "MPOL_BIND" && mode !== "MPOL_PREFERRED_MANY")
      return clash(".flags", flags, `MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not for ${mode}`);
    return undefined;
  },
);

type Personality = NonNullable<Linux["personality"]>;

const personality = object<Personality>(
  { domain: oneOf(PERSONALITY_DOMAINS), flags: list(text) },
  ["domain"],
  (personality, { warnings }) => {
    if (personality.flags !== undefined && personality.flags.length > 0)
      warnings.push(
        `linux.personality.flags is ${JSON.stringify(personality.flags)}: the spec has no such flags yet, they are left out`,
      );
    delete personality.flags;
    return undefined;
  },
);

/** `linux.seccomp` is looked at apart: see `parseConfig`. */
const later: Check = (value) =>
  typeof value === "object" && !Array.isArray(value) ? undefined : wrong(value, "an object");

export const LINUX = object<Linux>(
  {
    namespaces,
    uidMappings: idMappings,
    gidMappings: idMappings,
    timeOffsets: record(
      object<TimeOffset>({
        // The kernel's clocks end at KTIME_SEC_MAX / 2, after 146 years.
        secs: integer(-4_611_686_018, 4_611_686_018),
        nanosecs: integer(0, 999_999_999),
      }),
      oneOf(CLOCKS),
    ),
    devices: list(device),
    netDevices: record(object<NetDevice>({ name: interfaceName }), interfaceName),
    cgroupsPath: text,
    resources: RESOURCES,
    rootfsPropagation: oneOf(ROOTFS_PROPAGATIONS),
    maskedPaths: list(absolutePath),
    readonlyPaths: list(absolutePath),
    mountLabel: text,
    sysctl: record(text),
    seccomp: later,
    intelRdt,
    memoryPolicy,
    personality,
  },
  [],
  (linux) => checkNamespaceUse(linux) ?? checkUserNamespace(linux) ?? checkSysctls(linux),
);

const find = ({ namespaces }: Linux, type: NamespaceType): Namespace | undefined =>
  namespaces?.find((namespace) => namespace.type === type);

/** Fields that would change the machine if the container had no namespace of its own for them. As runc and crun refuse. */
function checkNamespaceUse(linux: Linux): Problem | undefined {
  const { timeOffsets, netDevices } = linux;
  if (timeOffsets !== undefined && Object.keys(timeOffsets).length > 0) {
    const time = find(linux, "time");
    if (time === undefined) return clash(".timeOffsets", timeOffsets, "it needs a time namespace in linux.namespaces");
    if (time.path !== undefined)
      return clash(
        ".timeOffsets",
        timeOffsets,
        `the clocks of the namespace ${time.path} that is joined are set already`,
      );
  }
  if (netDevices !== undefined && Object.keys(netDevices).length > 0 && find(linux, "network") === undefined)
    return clash(".netDevices", netDevices, "it needs a network namespace in linux.namespaces");
  return netDevices === undefined ? undefined : checkInterfaceNames(netDevices);
}

function checkInterfaceNames(netDevices: NonNullable<Linux["netDevices"]>): Problem | undefined {
  const taken = new Set<string>();
  for (const device in netDevices) {
    const name = netDevices[device]?.name ?? device;
    if (taken.has(name)) return within("netDevices", within(device, clash("", name, "two devices get this name")));
    if (!name.includes("%d")) taken.add(name);
  }
  return undefined;
}

/** What joins a user namespace may list its maps too, as containerd does: they are not used. */
function checkUserNamespace(linux: Linux): Problem | undefined {
  const user = find(linux, "user");
  for (const field of ["uidMappings", "gidMappings"] as const) {
    const mappings = linux[field];
    if (user === undefined) {
      if (mappings === undefined) continue;
      // Go writes an empty list of maps for "none".
      if (mappings.length > 0) return clash(`.${field}`, mappings, "it needs a user namespace in linux.namespaces");
      delete linux[field];
    } else if (user.path === undefined) {
      if (mappings === undefined || mappings.length === 0) {
        delete linux[field];
        const other = linux[field === "uidMappings" ? "gidMappings" : "uidMappings"];
        // Neither is what `crun spec --rootless` writes: the runtime then maps root to who calls it.
        if (other === undefined || other.length === 0) continue;
        return clash(`.${field}`, undefined, "a user namespace has maps for both kinds of ids or for none");
      }
    }
  }
  return undefined;
}
