/**
 * New limits for a container that runs: what is on record, what is asked for, and the writes that make the difference.
 * What is not asked for is not written: somebody else may have changed it.
 */
import type { BlockIoResources, MemoryResources, Resources } from "../../spec/config.ts";
import { devicesV1, parseDeviceRules } from "./devices.ts";
import { answerUnmet, distributeLimits, type LimitPlaces } from "./limits.ts";
import { type CgroupWrite, orMinusOne } from "./request.ts";

export interface UpdatePlan {
  writes: { group: string; request: CgroupWrite }[];
  /** What the container has from now on: for the record. */
  resources: Resources;
  warnings: string[];
}

/** Throws a {@link ContainerError} for values that cannot be, or that these groups cannot hold. */
export function planUpdate(recorded: Resources, request: Resources, places: LimitPlaces): UpdatePlan {
  const asked = endsIdle(recorded, request) ? { ...request, cpu: { ...request.cpu, idle: 0 } } : request;
  const resources = mergeResources(recorded, asked);
  const limits = distributeLimits(withSiblings(asked, resources), places);
  const devices = devicesChanged(recorded, asked) ? changeDevices(asked, places) : { writes: [], unmet: [] };
  return {
    writes: [...limits.writes, ...devices.writes],
    resources,
    warnings: answerUnmet([...limits.unmet, ...devices.unmet], true),
  };
}

/** Who gives an idle container a weight wants it to be idle no more. The kernel would refuse the weight; systemd does this by itself. */
function endsIdle({ cpu, unified }: Resources, asked: Resources): boolean {
  const isIdle = cpu?.idle === 1 || unified?.["cpu.idle"]?.trim() === "1";
  const saysIdle = asked.cpu?.idle !== undefined || asked.unified?.["cpu.idle"] !== undefined;
  return isIdle && !saysIdle && (isAsked(asked.cpu?.shares) || asked.unified?.["cpu.weight"] !== undefined);
}

/**
 * What was asked for, and what must be written with it: on v2 one file holds quota and period, and the swap limit there is
 * the difference of two.
 */
function withSiblings(asked: Resources, merged: Resources): Resources {
  const { devices: _, ...resources } = asked;
  if (isAsked(asked.memory?.limit) || isAsked(asked.memory?.swap)) {
    const { limit, swap } = merged.memory ?? {};
    resources.memory = {
      ...asked.memory,
      ...(limit === undefined ? {} : { limit }),
      ...(swap === undefined ? {} : { swap }),
    };
  }
  if (isAsked(asked.cpu?.quota) || isAsked(asked.cpu?.period)) {
    const { quota, period } = merged.cpu ?? {};
    resources.cpu = {
      ...asked.cpu,
      ...(quota === undefined ? {} : { quota }),
      ...(period === undefined ? {} : { period }),
    };
  }
  return resources;
}

/** 0 and "" are unset, but for the fields in which 0 is a value. */
const ZERO_IS_A_VALUE = new Set(["burst", "idle", "swappiness"]);

const isAsked = (value: unknown, name = ""): boolean =>
  value !== undefined && value !== "" && ((value !== 0 && value !== 0n) || ZERO_IS_A_VALUE.has(name));

/** The recorded resources with those that are asked for in their place. */
export function mergeResources(recorded: Resources, asked: Resources): Resources {
  const merged: Resources = { ...recorded };
  if (asked.memory !== undefined) {
    merged.memory = overlay(recorded.memory, asked.memory);
    if (isUnlimited(asked.memory) && !isAsked(asked.memory.swap)) merged.memory.swap = -1;
  }
  if (asked.cpu !== undefined) merged.cpu = overlay(recorded.cpu, asked.cpu);
  if (asked.pids !== undefined) merged.pids = asked.pids;
  if (asked.blockIO !== undefined) merged.blockIO = mergeBlockIo(recorded.blockIO ?? {}, asked.blockIO);
  if (asked.hugepageLimits !== undefined) {
    merged.hugepageLimits = upsert(recorded.hugepageLimits, asked.hugepageLimits, ({ pageSize }) => pageSize);
  }
  if (asked.network !== undefined) merged.network = { ...recorded.network, ...asked.network };
  if (asked.rdma !== undefined) merged.rdma = { ...recorded.rdma, ...asked.rdma };
  if (asked.unified !== undefined) merged.unified = { ...recorded.unified, ...asked.unified };
  if (asked.devices !== undefined && asked.devices.length > 0) merged.devices = asked.devices;
  return merged;
}

const isUnlimited = ({ limit }: MemoryResources): boolean => limit !== undefined && orMinusOne(limit) === "-1";

function overlay<Section extends object>(recorded: Section | undefined, asked: Section): Section {
  const values = Object.entries(asked).filter(([name, value]) => typeof value === "boolean" || isAsked(value, name));
  return { ...recorded, ...Object.fromEntries(values) } as Section;
}

const LISTS = [
  "weightDevice",
  "throttleReadBpsDevice",
  "throttleWriteBpsDevice",
  "throttleReadIOPSDevice",
  "throttleWriteIOPSDevice",
] as const;

function mergeBlockIo(recorded: BlockIoResources, asked: BlockIoResources): BlockIoResources {
  const merged = overlay(recorded, { ...asked });
  const merge = <Name extends (typeof LISTS)[number]>(name: Name) => {
    const list = asked[name];
    if (list === undefined) return;
    const of = ({ major, minor }: { major: number; minor: number }) => `${major}:${minor}`;
    merged[name] = upsert<{ major: number; minor: number }>(recorded[name], list, of) as BlockIoResources[Name];
  };
  for (const name of LISTS) merge(name);
  return merged;
}

/** The entries of both lists; of one key those that are asked for. */
function upsert<Entry>(
  recorded: readonly Entry[] = [],
  asked: readonly Entry[],
  keyOf: (entry: Entry) => string,
): Entry[] {
  const entries = new Map(recorded.map((entry) => [keyOf(entry), entry] as const));
  for (const entry of asked) entries.set(keyOf(entry), { ...entries.get(keyOf(entry)), ...entry });
  return [...entries.values()];
}

/**
 * Engines send the rules that the container has along with other changes: then nothing is written, because they are denied
 * for a moment while they are written, and because others (a driver of the GPU) may have added some.
 */
function devicesChanged({ devices: recorded = [] }: Resources, { devices = [] }: Resources): boolean {
  return devices.length > 0 && JSON.stringify(devices) !== JSON.stringify(recorded);
}

function changeDevices({ devices }: Resources, { groups }: LimitPlaces): Pick<UpdatePlan, "writes"> & { unmet: Unmet } {
  const group = groups.findLast(({ controller }) => controller.split(",").includes("devices"))?.path;
  if (group === undefined) {
    const why = "the device rules of a container that runs can be changed on cgroup v1 only";
    return {
      writes: [],
      unmet: [{ code: "CGROUP_FIELD_UNSUPPORTED", field: "linux.resources.devices", why, harmless: false }],
    };
  }
  const policy = parseDeviceRules(devices, { tun: true }) ?? { allowAll: true, entries: [] };
  return { writes: devicesV1(policy, { existing: true }).map((request) => ({ group, request })), unmet: [] };
}

type Unmet = Parameters<typeof answerUnmet>[0];
