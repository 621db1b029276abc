/** What `linux.resources` must look like: config-linux.md, "Control groups". `update -r` has one of these alone. */
import {
  boolean,
  clash,
  integer,
  limit64,
  list,
  object,
  oneOf,
  type Pass,
  type Problem,
  record,
  text,
  textLike,
  uint16,
  uint32,
  uint64,
} from "./check.ts";
import type { BlockIoResources, CpuResources, DeviceRule, MemoryResources, Resources, Throttle } from "./config.ts";
import { numberList } from "./number-list.ts";

/** Times: the kernel takes none that is near 2^53. */
const count = integer(0, Number.MAX_SAFE_INTEGER);
/** -1 is no limit. */
const countOrNone = integer(-1, Number.MAX_SAFE_INTEGER, "a whole number, or -1 for no limit");
/** The spec speaks of positive ones; docker hands on any, and a negative one is none to the kernel and to runc. */
const quota = integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "a whole number, or -1 for no limit");
/** A cgroup takes 32 bits for a device number; -1 is Go's way to say "all". */
const deviceNumber = integer(-1, 4_294_967_295, "a device number, or -1 for all");
/** Of a real device. */
const exactDeviceNumber = integer(0, 4_294_967_295);

const deviceRule = object<DeviceRule>(
  {
    allow: boolean,
    type: oneOf(["a", "c", "b"]),
    major: deviceNumber,
    minor: deviceNumber,
    access: textLike("made of the letters r, w and m", (letters) => /[rwm]/.test(letters)),
  },
  [],
  (rule, pass) => {
    if (rule.access !== undefined && !/^[rwm]+$/.test(rule.access)) leaveOutUnknownAccess(rule, rule.access, pass);
    rule.allow ??= false;
    if (rule.major === -1) delete rule.major;
    if (rule.minor === -1) delete rule.minor;
    return undefined;
  },
);

/** Permissions come through the engines as a device plugin wrote them; runc takes the letters that it knows. */
function leaveOutUnknownAccess(rule: DeviceRule, access: string, pass: Pass): void {
  const known = access.replace(/[^rwm]/g, "");
  const warning = `a device rule has the access ${JSON.stringify(access)}: only r, w and m are known, it is read as ${JSON.stringify(known)}`;
  if (!pass.warnings.includes(warning)) pass.warnings.push(warning);
  rule.access = known;
}

/** docker writes -1, as an unsigned number, for unset. */
const isUnset = (swappiness: unknown): boolean => swappiness === 2n ** 64n - 1n || swappiness === 2 ** 64;
const percent = integer(0, 200);

const memory = object<MemoryResources>(
  {
    limit: limit64,
    reservation: limit64,
    swap: limit64,
    kernel: limit64,
    kernelTCP: limit64,
    swappiness: (value, pass) => (isUnset(value) ? undefined : percent(value, pass)),
    disableOOMKiller: boolean,
    useHierarchy: boolean,
    checkBeforeUpdate: boolean,
  },
  [],
  (memory) => {
    if (isUnset(memory.swappiness)) delete memory.swappiness;
    return undefined;
  },
);

const cpu = object<CpuResources>(
  {
    shares: uint64,
    quota,
    burst: count,
    period: count,
    realtimeRuntime: countOrNone,
    realtimePeriod: count,
    cpus: numberList,
    mems: numberList,
    idle: integer(0, 1, "0, or 1 for SCHED_IDLE"),
  },
  [],
  ({ burst, quota }) =>
    burst !== undefined && quota !== undefined && quota > 0 && burst > quota
      ? clash(".burst", burst, `it may be no larger than the quota of ${quota}`)
      : undefined,
);

type WeightDevice = NonNullable<BlockIoResources["weightDevice"]>[number];

const weightDevice = object<WeightDevice>(
  { major: exactDeviceNumber, minor: exactDeviceNumber, weight: uint16, leafWeight: uint16 },
  ["major", "minor"],
  (device) =>
    device.weight === undefined && device.leafWeight === undefined
      ? clash(".weight", undefined, "a device needs a weight or a leafWeight")
      : undefined,
);

const throttles = list(
  object<Throttle>({ major: exactDeviceNumber, minor: exactDeviceNumber, rate: uint64 }, ["major", "minor", "rate"]),
);

type HugepageLimit = NonNullable<Resources["hugepageLimits"]>[number];
type Network = NonNullable<Resources["network"]>;
type InterfacePriority = NonNullable<Network["priorities"]>[number];
type Rdma = NonNullable<Resources["rdma"]>[string];

/** One line of a cgroup file begins with it. */
const word = textLike("a name without spaces", (name) => /^\S+$/.test(name));

export const RESOURCES = object<Resources>(
  {
    devices: list(deviceRule),
    memory,
    cpu,
    pids: object<{ limit: number }>({ limit: countOrNone }),
    blockIO: object<BlockIoResources>({
      weight: uint16,
      leafWeight: uint16,
      weightDevice: list(weightDevice),
      throttleReadBpsDevice: throttles,
      throttleWriteBpsDevice: throttles,
      throttleReadIOPSDevice: throttles,
      throttleWriteIOPSDevice: throttles,
    }),
    hugepageLimits: list(
      object<HugepageLimit>(
        {
          pageSize: textLike("a size such as 64KB, 2MB or 1GB", (size) => /^[1-9]\d*[KMG]B$/.test(size)),
          limit: uint64,
        },
        ["pageSize", "limit"],
      ),
    ),
    network: object<Network>({
      classID: uint32,
      priorities: list(object<InterfacePriority>({ name: word, priority: uint32 }, ["name", "priority"])),
    }),
    rdma: record(object<Rdma>({ hcaHandles: uint32, hcaObjects: uint32 }, [], someRdmaLimit), word),
    unified: record(
      text,
      textLike("a file of cgroup v2, such as memory.high", (file) => /^[^/\0]+\.[^/\0]+$/.test(file)),
    ),
  },
  [],
  (resources) => {
    // Optional since 1.3.
    if (resources.pids !== undefined && resources.pids.limit === undefined) delete resources.pids;
    return undefined;
  },
);

/** config-linux.md, "RDMA": "You MUST specify at least one of the `hcaHandles` or `hcaObjects` in a given entry". */
function someRdmaLimit({ hcaHandles, hcaObjects }: Rdma): Problem | undefined {
  return hcaHandles === undefined && hcaObjects === undefined
    ? clash(".hcaHandles", undefined, "a device needs hcaHandles or hcaObjects")
    : undefined;
}
