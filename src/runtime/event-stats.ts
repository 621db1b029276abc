/**
 * What `events` says a container uses, in the shape that runc gave it and that engines read: types/events.go of runc. A
 * field is left out where runc leaves it out (`omitempty`); what a machine does not count is 0 or missing.
 *
 * Values are bigints where they pass 2^53, which "no limit" does: they become text with stringifyExactly.
 */
import { groupOf } from "../execute/cgroup-processes.ts";
import type { Int64 } from "../spec/config.ts";
import { readFileIfThere } from "../sys/files.ts";

/** Reads a whole file, or nothing where there is none. */
type Read = (path: string) => string | undefined;
type ReadIn = (file: string) => string | undefined;
type Entry = { major: number; minor: number; op?: string; value?: Int64 };

const NO_LIMIT = 2n ** 64n - 1n;
const TICK_NS = 10_000_000n;

export function eventStats(
  groups: readonly { controller: string; path: string }[],
  read: Read = readFileIfThere,
  pageSizes: readonly string[] = [],
): object {
  const files = (controller: string): ReadIn | undefined => {
    const group = groupOf(groups, controller);
    return group === undefined ? undefined : (file) => read(`${group}/${file}`);
  };
  const v2: ReadIn = files("unified") ?? (() => undefined);
  const [cpuacct, cpu, memory, blkio] = [files("cpuacct"), files("cpu"), files("memory"), files("blkio")];
  return {
    cpu: {
      usage: cpuacct === undefined ? cpuUsageV2(v2) : cpuUsageV1(cpuacct),
      throttling: throttling(cpu ?? v2, cpu === undefined),
      ...psi(cpu === undefined ? v2 : undefined, "cpu.pressure"),
    },
    cpuset: cpuset(files("cpuset") ?? v2),
    memory: memory === undefined ? memoryV2(v2) : memoryV1(memory),
    pids: pids(files("pids") ?? v2),
    blkio: blkio === undefined ? { ...blkioV2(v2), ...psi(v2, "io.pressure") } : blkioV1(blkio),
    hugetlb: hugetlb(files("hugetlb"), v2, pageSizes),
    intel_rdt: {},
    network_interfaces: null,
  };
}

/** A whole number; some counters of the kernel are below 0 for a moment. */
function parse(text: string | undefined): Int64 | undefined {
  const word = text?.trim();
  if (word === undefined || word === "") return undefined;
  if (word === "max") return NO_LIMIT;
  if (!/^-?\d+$/.test(word)) return undefined;
  const number = Number(word);
  if (number < 0) return 0;
  return Number.isSafeInteger(number) ? number : BigInt(word);
}

const numberIn = (files: ReadIn, file: string): Int64 => parse(files(file)) ?? 0;

/** `key value` lines. */
function keyed(text: string | undefined): Record<string, Int64> {
  const values: Record<string, Int64> = {};
  for (const line of text?.split("\n") ?? []) {
    const [key, value] = line.split(" ");
    const number = parse(value);
    if (key !== undefined && number !== undefined) values[key] = number;
  }
  return values;
}

/** Without those that are 0 or empty. */
function unlessEmpty(values: Record<string, Int64 | readonly unknown[]>): object {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) =>
      typeof value === "object" ? value.length > 0 : value !== 0 && value !== 0n,
    ),
  );
}

const product = (value: Int64, factor: bigint): Int64 => narrow(BigInt(value) * factor);
const sum = (a: Int64, b: Int64): Int64 => narrow(BigInt(a) + BigInt(b));
const narrow = (value: bigint): Int64 => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value);

function cpuUsageV1(files: ReadIn): object {
  const { user = 0, system = 0 } = keyed(files("cpuacct.stat"));
  const rows = (files("cpuacct.usage_all") ?? "")
    .split("\n")
    .slice(1)
    .map((line) => line.split(" "))
    .filter((row) => row.length >= 3);
  const column = (at: number) => rows.map((row) => parse(row[at]) ?? 0);
  return {
    ...unlessEmpty({
      total: numberIn(files, "cpuacct.usage"),
      percpu: (files("cpuacct.usage_percpu") ?? "").split(/\s/).flatMap((word) => parse(word) ?? []),
      percpu_kernel: column(2),
      percpu_user: column(1),
    }),
    kernel: product(system, TICK_NS),
    user: product(user, TICK_NS),
  };
}

function cpuUsageV2(files: ReadIn): object {
  const { usage_usec = 0, user_usec = 0, system_usec = 0 } = keyed(files("cpu.stat"));
  return {
    ...unlessEmpty({ total: product(usage_usec, 1000n) }),
    kernel: product(system_usec, 1000n),
    user: product(user_usec, 1000n),
  };
}

function throttling(files: ReadIn, isV2: boolean): object {
  const { nr_periods = 0, nr_throttled = 0, throttled_time = 0, throttled_usec = 0 } = keyed(files("cpu.stat"));
  return unlessEmpty({
    periods: nr_periods,
    throttledPeriods: nr_throttled,
    throttledTime: isV2 ? product(throttled_usec, 1000n) : throttled_time,
  });
}

/** On v2 only the lists are there. */
function cpuset(files: ReadIn): object {
  const flag = (name: string) => numberIn(files, `cpuset.${name}`);
  const level = Number(files("cpuset.sched_relax_domain_level")?.trim() ?? 0);
  const [cpus, mems] = ["cpus", "mems"].map((name) => parseList(files(`cpuset.${name}`)));
  return {
    ...unlessEmpty({ cpus: cpus ?? [] }),
    cpu_exclusive: flag("cpu_exclusive"),
    ...unlessEmpty({ mems: mems ?? [] }),
    mem_hardwall: flag("mem_hardwall"),
    mem_exclusive: flag("mem_exclusive"),
    memory_migrate: flag("memory_migrate"),
    memory_spread_page: flag("memory_spread_page"),
    memory_spread_slab: flag("memory_spread_slab"),
    memory_pressure: flag("memory_pressure"),
    sched_load_balance: flag("sched_load_balance"),
    sched_relax_domain_level: level,
  };
}

/** `0-2,5` is 0, 1, 2, 5. */
function parseList(text = ""): number[] {
  return text
    .trim()
    .split(",")
    .filter((part) => part !== "")
    .flatMap((part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}

function memoryV1(files: ReadIn): object {
  const entry = (name: string) => ({
    limit: numberIn(files, `memory.${name}limit_in_bytes`),
    ...unlessEmpty({
      usage: numberIn(files, `memory.${name}usage_in_bytes`),
      max: numberIn(files, `memory.${name}max_usage_in_bytes`),
    }),
    failcnt: numberIn(files, `memory.${name}failcnt`),
  });
  const raw = keyed(files("memory.stat"));
  return {
    ...unlessEmpty({ cache: raw.cache ?? 0 }),
    usage: entry(""),
    swap: entry("memsw."),
    kernel: entry("kmem."),
    kernelTCP: entry("kmem.tcp."),
    raw,
  };
}

/** `swap` is memory plus swap, as v1 counts. */
function memoryV2(files: ReadIn): object {
  const raw = keyed(files("memory.stat"));
  const [usage, limit] = [numberIn(files, "memory.current"), numberIn(files, "memory.max")];
  const [swap, swapLimit] = [numberIn(files, "memory.swap.current"), numberIn(files, "memory.swap.max")];
  const bothLimits = [limit, swapLimit].includes(NO_LIMIT) ? NO_LIMIT : sum(limit, swapLimit);
  return {
    ...unlessEmpty({ cache: raw.file ?? 0 }),
    usage: { limit, ...unlessEmpty({ usage, max: numberIn(files, "memory.peak") }), failcnt: 0 },
    swap: { limit: bothLimits, ...unlessEmpty({ usage: sum(usage, swap) }), failcnt: 0 },
    kernel: { limit: 0, failcnt: 0 },
    kernelTCP: { limit: 0, failcnt: 0 },
    ...(Object.keys(raw).length === 0 ? {} : { raw }),
    ...psi(files, "memory.pressure"),
  };
}

/** No limit is 0 here, for reasons of the past. */
function pids(files: ReadIn): object {
  const limit = numberIn(files, "pids.max");
  return unlessEmpty({ current: numberIn(files, "pids.current"), limit: limit === NO_LIMIT ? 0 : limit });
}

/** The first set of files that is there: BFQ counts more than the throttler, and both count groups below from some kernel on. */
function blkioV1(files: ReadIn): object {
  const prefix = ["blkio.bfq.", "blkio.", "blkio.throttle."].find(
    (start) => blkioEntries(files(`${start}io_serviced_recursive`)).length > 0,
  );
  const plain = (name: string) => blkioEntries(files(`blkio.throttle.${name}`));
  if (prefix === undefined) {
    return unlessEmpty({
      ioServiceBytesRecursive: plain("io_service_bytes"),
      ioServicedRecursive: plain("io_serviced"),
    });
  }
  const entries = (name: string) => blkioEntries(files(`${prefix}${name}_recursive`));
  return unlessEmpty({
    ioServiceBytesRecursive: entries("io_service_bytes"),
    ioServicedRecursive: entries("io_serviced"),
    ioQueueRecursive: entries("io_queued"),
    ioServiceTimeRecursive: entries("io_service_time"),
    ioWaitTimeRecursive: entries("io_wait_time"),
    ioMergedRecursive: entries("io_merged"),
    ioTimeRecursive: entries("time"),
    sectorsRecursive: entries("sectors"),
  });
}

/** `254:0 Read 4096` or `254:0 4096`; the sum at the end is left out. */
function blkioEntries(text = ""): Entry[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d+):(\d+) (?:(\w+) )?(\d+)$/.exec(line);
    return match === null ? [] : [blkioEntry(Number(match[1]), Number(match[2]), match[3], parse(match[4]) ?? 0)];
  });
}

function blkioEntry(major: number, minor: number, op: string | undefined, value: Int64): Entry {
  return { major, minor, ...(op === undefined ? {} : { op }), ...(value === 0 ? {} : { value }) };
}

const OPERATIONS = {
  rbytes: ["ioServiceBytesRecursive", "Read"],
  wbytes: ["ioServiceBytesRecursive", "Write"],
  rios: ["ioServicedRecursive", "Read"],
  wios: ["ioServicedRecursive", "Write"],
} as const;

/** io.stat, in the names of v1. */
function blkioV2(files: ReadIn): object {
  const tables = { ioServiceBytesRecursive: [] as Entry[], ioServicedRecursive: [] as Entry[] };
  for (const line of (files("io.stat") ?? "").split("\n")) {
    const [device = "", ...pairs] = line.split(" ");
    const [major, minor] = device.split(":").map(Number);
    if (major === undefined || minor === undefined) continue;
    for (const pair of pairs) {
      const [key = "", value] = pair.split("=");
      const operation = OPERATIONS[key as keyof typeof OPERATIONS];
      if (operation !== undefined) tables[operation[0]].push(blkioEntry(major, minor, operation[1], parse(value) ?? 0));
    }
  }
  return unlessEmpty(tables);
}

function hugetlb(v1: ReadIn | undefined, v2: ReadIn, pageSizes: readonly string[]): object {
  const entries = pageSizes.flatMap((size): [string, object][] => {
    for (const name of [`hugetlb.${size}.rsvd`, `hugetlb.${size}`]) {
      if (v1 !== undefined) {
        const usage = parse(v1(`${name}.usage_in_bytes`));
        if (usage === undefined) continue;
        const max = numberIn(v1, `${name}.max_usage_in_bytes`);
        return [[size, { ...unlessEmpty({ usage, max }), failcnt: numberIn(v1, `${name}.failcnt`) }]];
      }
      const usage = parse(v2(`${name}.current`));
      if (usage === undefined) continue;
      return [[size, { ...unlessEmpty({ usage }), failcnt: keyed(v2(`hugetlb.${size}.events`)).max ?? 0 }]];
    }
    return [];
  });
  return Object.fromEntries(entries);
}

/** Pressure: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`. Nothing where the kernel does not measure it. */
function psi(files: ReadIn | undefined, file: string): { psi?: object } {
  const text = files?.(file);
  if (text === undefined) return {};
  const lines = text.split("\n").filter((line) => /^(some|full) /.test(line));
  return {
    psi: Object.fromEntries(
      lines.map((line) => {
        const [kind = "", ...pairs] = line.split(" ");
        return [
          kind,
          Object.fromEntries(pairs.map((pair) => pair.split("=")).map(([key, value]) => [key, Number(value)])),
        ];
      }),
    ),
  };
}
