/**
 * What a running container uses, from the files of its control groups. cgroup-v1/memory.rst, cpuacct.rst,
 * blkio-controller.rst; cgroup-v2.rst.
 *
 * A value that this kernel has no file for is undefined; a limit of -1 is none, as in the runtime-spec. Nanoseconds pass
 * 2^53 after 104 days of processor time and are then rounded to 2: they stay numbers, so that they can be JSON.
 */
import { readFileIfThere } from "../../sys/files.ts";
import { loadState } from "./state.ts";

export interface Usage {
  pids: { current: number | undefined; limit: number | undefined };
  memory: {
    /** With the page cache that the container filled. */
    usageBytes: number | undefined;
    limitBytes: number | undefined;
    maxUsageBytes: number | undefined;
    oomKills: number | undefined;
    swapBytes: number | undefined;
  };
  cpu: {
    usageNs: number | undefined;
    userNs: number | undefined;
    systemNs: number | undefined;
    /** Periods in which the quota ran out, and the time that was lost by it. */
    throttledPeriods: number | undefined;
    throttledNs: number | undefined;
  };
  /** Over all disks. */
  io: {
    readBytes: number | undefined;
    writeBytes: number | undefined;
    readOps: number | undefined;
    writeOps: number | undefined;
  };
}

export interface Stats extends Usage {
  id: string;
}

/** Reads a whole file, or nothing where there is none. */
type Read = (path: string) => string | undefined;

/** The usage of a running container. Throws CONTAINER_UNKNOWN. */
export function containerStats(id: string): Stats {
  return { id, ...readStats(loadState(id).cgroups) };
}

/**
 * The usage of the groups of one container. `controller` is a v1 hierarchy's controllers (`cpu,cpuacct`) or `unified`.
 * Each controller is read where v1 has it, else in the unified group.
 */
export function readStats(
  groups: readonly { controller: string; path: string }[],
  read: Read = readFileIfThere,
): Usage {
  // The last one of a controller: a group above the container's comes before it.
  const find = (name: string) => groups.findLast(({ controller }) => controller.split(",").includes(name))?.path;
  const unified = find("unified");
  const pids = find("pids") ?? unified;
  const memoryV1 = find("memory");
  const cpuacct = find("cpuacct");
  const cpuV1 = find("cpu");
  const blkio = find("blkio");
  return {
    pids: {
      current: parseValue(readIn(read, pids, "pids.current")),
      limit: parseValue(readIn(read, pids, "pids.max")),
    },
    memory: memoryV1 === undefined ? memoryOfV2(read, unified) : memoryOfV1(read, memoryV1),
    cpu: {
      ...(cpuacct === undefined ? cpuTimesOfV2(read, unified) : cpuTimesOfV1(read, cpuacct)),
      ...(cpuV1 === undefined ? throttlingOfV2(read, unified) : throttlingOfV1(read, cpuV1)),
    },
    io: blkio === undefined ? parseIoStat(readIn(read, unified, "io.stat")) : ioOfV1(read, blkio),
  };
}

/** One number, or `max`, which is -1; v1's largest number of whole pages is no limit either. */
export function parseValue(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const word = text.trim();
  if (word === "max") return -1;
  const value = Number(word);
  if (word === "" || Number.isNaN(value)) return undefined;
  return value > Number.MAX_SAFE_INTEGER * 1000 ? -1 : value;
}

/** The number behind a key in a file of `key value` lines. */
export function parseKeyed(text: string | undefined, key: string): number | undefined {
  for (const line of text?.split("\n") ?? []) {
    if (line.startsWith(`${key} `)) return Number(line.slice(key.length + 1));
  }
  return undefined;
}

/** The sum over all disks of lines such as `254:0 Read 32768` (v1). A file without such lines means 0. */
export function parseBlkio(text: string | undefined, operation: "Read" | "Write"): number | undefined {
  if (text === undefined) return undefined;
  let sum = 0;
  for (const line of text.split("\n")) {
    const [, name, value] = line.split(" ");
    if (name === operation && value !== undefined) sum += Number(value);
  }
  return sum;
}

/** The sum over all disks of lines such as `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0` (io.stat of v2). */
export function parseIoStat(text: string | undefined): Usage["io"] {
  if (text === undefined)
    return { readBytes: undefined, writeBytes: undefined, readOps: undefined, writeOps: undefined };
  const sums: Record<string, number> = {};
  for (const pair of text.split(/\s/)) {
    const equals = pair.indexOf("=");
    if (equals < 0) continue;
    const key = pair.slice(0, equals);
    sums[key] = (sums[key] ?? 0) + Number(pair.slice(equals + 1));
  }
  const { rbytes = 0, wbytes = 0, rios = 0, wios = 0 } = sums;
  return { readBytes: rbytes, writeBytes: wbytes, readOps: rios, writeOps: wios };
}

function readIn(read: Read, group: string | undefined, file: string): string | undefined {
  return group === undefined ? undefined : read(`${group}/${file}`);
}

function memoryOfV1(read: Read, group: string): Usage["memory"] {
  const usageBytes = parseValue(readIn(read, group, "memory.usage_in_bytes"));
  const withSwap = parseValue(readIn(read, group, "memory.memsw.usage_in_bytes"));
  return {
    usageBytes,
    limitBytes: parseValue(readIn(read, group, "memory.limit_in_bytes")),
    maxUsageBytes: parseValue(readIn(read, group, "memory.max_usage_in_bytes")),
    oomKills: parseKeyed(readIn(read, group, "memory.oom_control"), "oom_kill"),
    // Read one after the other: the difference may be below 0 for a moment.
    swapBytes: usageBytes === undefined || withSwap === undefined ? undefined : Math.max(0, withSwap - usageBytes),
  };
}

function memoryOfV2(read: Read, group: string | undefined): Usage["memory"] {
  return {
    usageBytes: parseValue(readIn(read, group, "memory.current")),
    limitBytes: parseValue(readIn(read, group, "memory.max")),
    maxUsageBytes: parseValue(readIn(read, group, "memory.peak")), // since Linux 5.19
    oomKills: parseKeyed(readIn(read, group, "memory.events"), "oom_kill"),
    swapBytes: parseValue(readIn(read, group, "memory.swap.current")),
  };
}

type CpuTimes = Pick<Usage["cpu"], "usageNs" | "userNs" | "systemNs">;
type Throttling = Pick<Usage["cpu"], "throttledPeriods" | "throttledNs">;

function cpuTimesOfV1(read: Read, group: string): CpuTimes {
  return {
    usageNs: parseValue(readIn(read, group, "cpuacct.usage")),
    userNs: parseValue(readIn(read, group, "cpuacct.usage_user")),
    systemNs: parseValue(readIn(read, group, "cpuacct.usage_sys")),
  };
}

function cpuTimesOfV2(read: Read, group: string | undefined): CpuTimes {
  const stat = readIn(read, group, "cpu.stat");
  return {
    usageNs: fromMicroseconds(parseKeyed(stat, "usage_usec")),
    userNs: fromMicroseconds(parseKeyed(stat, "user_usec")),
    systemNs: fromMicroseconds(parseKeyed(stat, "system_usec")),
  };
}

function throttlingOfV1(read: Read, group: string): Throttling {
  const stat = readIn(read, group, "cpu.stat");
  return { throttledPeriods: parseKeyed(stat, "nr_throttled"), throttledNs: parseKeyed(stat, "throttled_time") };
}

function throttlingOfV2(read: Read, group: string | undefined): Throttling {
  const stat = readIn(read, group, "cpu.stat");
  return {
    throttledPeriods: parseKeyed(stat, "nr_throttled"),
    throttledNs: fromMicroseconds(parseKeyed(stat, "throttled_usec")),
  };
}

const fromMicroseconds = (value: number | undefined) => (value === undefined ? undefined : value * 1000);

function ioOfV1(read: Read, group: string): Usage["io"] {
  // The plain files leave out the groups that the container made below its own; `_recursive` came later.
  const bytes =
    readIn(read, group, "blkio.throttle.io_service_bytes_recursive") ??
    readIn(read, group, "blkio.throttle.io_service_bytes");
  const ops =
    readIn(read, group, "blkio.throttle.io_serviced_recursive") ?? readIn(read, group, "blkio.throttle.io_serviced");
  return {
    readBytes: parseBlkio(bytes, "Read"),
    writeBytes: parseBlkio(bytes, "Write"),
    readOps: parseBlkio(ops, "Read"),
    writeOps: parseBlkio(ops, "Write"),
  };
}
