/**
 * Control groups made by systemd: the container is a scope, a unit of processes that systemd has not started itself. What
 * the names mean, and which of the limits systemd keeps as properties of the unit: it writes those files anew whenever it
 * likes (daemon-reload), with its defaults for what it was not told. systemd.resource-control(5), systemd.scope(5), runc's
 * docs/systemd.md.
 */
import { GvariantError, parseGvariant } from "../../dbus/gvariant.ts";
import type { Value, Variant } from "../../dbus/marshal.ts";
import { ContainerError } from "../../error.ts";
import { table } from "../../spec/check.ts";
import type { Config } from "../../spec/config.ts";
import { parseNumberList } from "../../spec/number-list.ts";
import { ACCESS, type DevicePolicy } from "./devices.ts";
import type { CgroupWrite } from "./request.ts";
import { isBelow } from "./sub-group.ts";

/** Whose units: what the plan must know of the manager that makes them. */
export interface SystemdTarget {
  /** The caller's own manager, not the machine's. */
  user: boolean;
  /** The control group below which the manager's slices lie; "" is the root of the hierarchies. */
  root: string;
  /** What a user's manager may limit; the machine's may do all. */
  controllers?: readonly string[];
}

/** A property of a unit, as D-Bus carries it. */
export type UnitProperty = [name: string, value: Variant];

export interface ScopeName {
  /** `libpod-ID.scope` */
  unit: string;
  /** `machine.slice` */
  slice: string;
  /** The scope's control group below the manager's: `/machine.slice/libpod-ID.scope`. */
  path: string;
}

/** The controllers that systemd hands down to a scope with Delegate=yes. */
export const SYSTEMD_CONTROLLERS: readonly string[] = ["cpu", "cpuset", "io", "memory", "pids"];

const FIELD = "linux.cgroupsPath";

/** What `slice:prefix:name` names; without it as if it were `:tupper:ID`. Throws CGROUP_UNIT_INVALID. */
export function scopeName({ linux: { cgroupsPath } }: Config, id: string, user: boolean): ScopeName {
  const [slice = "", prefix = "", name, ...more] = (cgroupsPath || `:tupper:${escapeName(id)}`).split(":");
  if (name === undefined || more.length > 0)
    throw invalidUnit(`${cgroupsPath} is not of the form slice:prefix:name, which control groups by systemd need`);
  if (name.endsWith(".slice")) throw invalidUnit(`${name} is a slice: a container can only be a scope`);
  const unit = `${prefix}-${name}.scope`;
  if (!/^[\w:.\\@-]+$/.test(unit) || unit.length > 255) throw invalidUnit(`${unit} is not the name of a unit`);
  const within = slice === "" ? (user ? "user.slice" : "system.slice") : slice === "-" ? "-.slice" : slice;
  return { unit, slice: within, path: `${sliceGroup(within)}/${unit}` };
}

/** An ID may have a + in it, the name of a unit may not. systemd-escape(1). */
const escapeName = (name: string): string => name.replaceAll("+", "\\x2b");

/** `/a.slice/a-b.slice` of `a-b.slice`. systemd.slice(5). */
function sliceGroup(slice: string): string {
  if (slice === "-.slice") return "";
  const parts = slice.replace(/\.slice$/, "").split("-");
  if (!slice.endsWith(".slice") || !/^[\w:.\\@-]+$/.test(slice) || parts.includes(""))
    throw invalidUnit(`${slice} is not the name of a slice`);
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join("-")}.slice`).join("");
}

const invalidUnit = (message: string): ContainerError =>
  new ContainerError("CGROUP_UNIT_INVALID", message, {
    field: FIELD,
    hint: "such as machine.slice:tupper:NAME, which is tupper-NAME.scope in machine.slice; or leave --systemd-cgroup out",
  });

const YES: Variant = { type: "b", value: true };
const text = (value: string): Variant => ({ type: "s", value });
const u64 = (value: bigint): Variant => ({ type: "t", value });

/** What makes the unit, but for its process. `version`: of the control groups. */
export function scopeProperties(config: Config, id: string, { slice }: ScopeName, version: 1 | 2): UnitProperty[] {
  const counted = ["CPU", "Memory", version === 1 ? "BlockIO" : "IO", "Tasks"];
  return [
    ["Description", text(`tupper container ${id}`)],
    ["Slice", text(slice)],
    ["Delegate", YES],
    ...counted.map((name): UnitProperty => [`${name}Accounting`, YES]),
    // Nothing stops it at shutdown but who has started it, as under runc and crun.
    ["DefaultDependencies", { type: "b", value: false }],
    ...annotatedProperties(config.annotations ?? {}),
  ];
}

const ANNOTATION = "org.systemd.property.";

/** Annotations `org.systemd.property.NAME`, with GVariant text. `NameSec` is in seconds, as in unit files. Throws SYSTEMD_PROPERTY. */
export function annotatedProperties(annotations: Readonly<Record<string, string>>): UnitProperty[] {
  return Object.entries(annotations).flatMap(([key, value]): UnitProperty[] => {
    if (!key.startsWith(ANNOTATION)) return [];
    const name = key.slice(ANNOTATION.length);
    const field = `annotations[${JSON.stringify(key)}]`;
    if (!/^[a-zA-Z]{3,}$/.test(name))
      throw new ContainerError("SYSTEMD_PROPERTY", `${JSON.stringify(name)} is not the name of a property`, { field });
    try {
      const property = parseGvariant(value);
      return [/[^U]Sec$/.test(name) ? inMicroseconds(name, property, field) : [name, property]];
    } catch (error) {
      if (!(error instanceof GvariantError)) throw error;
      throw new ContainerError("SYSTEMD_PROPERTY", `the value of ${name} is not GVariant text: ${error.message}`, {
        field,
        hint: "such as true, 'text', uint64 5, ['a', 'b']",
      });
    }
  });
}

function inMicroseconds(name: string, { value }: Variant, field: string): UnitProperty {
  if ((typeof value !== "number" && typeof value !== "bigint") || value < 0)
    throw new ContainerError("SYSTEMD_PROPERTY", `${name} is a number of seconds`, { field });
  const us = typeof value === "bigint" ? value * 1_000_000n : BigInt(Math.round(value * 1e6));
  return [name.replace(/Sec$/, "USec"), u64(us)];
}

const INFINITY = 2n ** 64n - 1n;

/** Files whose one number systemd keeps under a name of its own. */
const NUMBERS = table<string>({
  "memory.max": "MemoryMax",
  "memory.high": "MemoryHigh",
  "memory.low": "MemoryLow",
  "memory.min": "MemoryMin",
  "memory.swap.max": "MemorySwapMax",
  "memory.zswap.max": "MemoryZSwapMax",
  "memory.limit_in_bytes": "MemoryMax",
  "pids.max": "TasksMax",
  "cpu.weight": "CPUWeight",
  "cpu.shares": "CPUShares",
  "blkio.bfq.weight": "BlockIOWeight",
  "io.weight": "IOWeight",
});

/**
 * The properties that say the same as these writes. A value that systemd could not take is left to the file, whose error
 * names the field.
 */
export function limitProperties(writes: readonly CgroupWrite[]): UnitProperty[] {
  const quota = writes.find(({ file }) => file === "cpu.cfs_quota_us")?.value;
  const period = writes.find(({ file }) => file === "cpu.cfs_period_us")?.value;
  return [
    ...writes.flatMap(limitProperty),
    ...(quota === undefined && period === undefined ? [] : cpuQuota(quota ?? "-1", period)),
  ];
}

function limitProperty({ file, value }: CgroupWrite): UnitProperty[] {
  const name = NUMBERS[file];
  if (name !== undefined) {
    const number = /^(max|-1)$/.test(value) ? INFINITY : /^\d+$/.test(value) ? BigInt(value) : undefined;
    return number === undefined ? [] : [[name, u64(number)]];
  }
  switch (file) {
    case "cpu.max": {
      const [limit = "", length] = value.trim().split(/\s+/);
      return cpuQuota(limit, length);
    }
    case "cpu.idle":
      return value === "1" ? [["CPUWeight", u64(0n)]] : [];
    case "cpuset.cpus":
      return numbers("AllowedCPUs", value);
    case "cpuset.mems":
      return numbers("AllowedMemoryNodes", value);
    case "io.bfq.weight": {
      const [, device, weight = ""] = /^(?:(\d+:\d+) |default )?(\d+)$/.exec(value) ?? [];
      if (weight === "") return [];
      const scaled = u64(ioWeight(BigInt(weight)));
      if (device === undefined) return [["IOWeight", scaled]];
      return [["IODeviceWeight", { type: "a(st)", value: [[`/dev/block/${device}`, scaled.value]] }]];
    }
    case "memory.oom.group":
      return /^[01]$/.test(value) ? [["OOMPolicy", text(value === "1" ? "kill" : "continue")]] : [];
    default:
      return [];
  }
}

/** systemd counts 1 to 10000, and makes of it what BFQ counts, 1 to 1000; both mean 100 by 100. */
const ioWeight = (bfq: bigint): bigint => (bfq <= 100n ? bfq : 100n + (bfq - 100n) * 11n);

/** A quota of the period as microseconds of each second. */
function cpuQuota(limit: string, period: string | undefined): UnitProperty[] {
  const length = period === undefined ? 100_000n : /^\d+$/.test(period) ? BigInt(period) : 0n;
  if (length === 0n || !/^(max|-?\d+)$/.test(limit)) return [];
  const quota = limit === "max" || limit.startsWith("-") ? undefined : BigInt(limit);
  const perSecond = quota === undefined ? INFINITY : (quota * 1_000_000n + length - 1n) / length;
  const properties: UnitProperty[] = [["CPUQuotaPerSecUSec", u64(perSecond)]];
  if (period !== undefined) properties.push(["CPUQuotaPeriodUSec", u64(length)]);
  return properties;
}

/** A bit for each number, in bytes from the lowest. */
function numbers(name: string, list: string): UnitProperty[] {
  const ranges = parseNumberList(list);
  if (ranges === undefined) return [];
  const mask: number[] = [];
  for (const [first, last] of ranges)
    for (let number = first; number <= last; number++) {
      while (mask.length <= number >> 3) mask.push(0);
      mask[number >> 3] = (mask[number >> 3] ?? 0) | (1 << (number & 7));
    }
  return [[name, { type: "ay", value: mask }]];
}

/**
 * Device rules of cgroup v1, which systemd writes anew at a daemon-reload. It knows no rule that denies: such a one is in
 * the file alone. (On v2 our own program stays beside whatever systemd attaches.)
 */
export function deviceProperties(policy: DevicePolicy | undefined): UnitProperty[] {
  if (policy === undefined || policy.allowAll) return [["DevicePolicy", text("auto")]];
  const allowed: Value[] = policy.entries.flatMap(({ allow, type, major, minor, access }): Value[] => {
    if (!allow || (major === undefined && minor !== undefined)) return [];
    const kind = type === "c" ? "char" : "block";
    const device = minor === undefined ? `${kind}-${major ?? "*"}` : `/dev/${kind}/${major}:${minor}`;
    const letters = (["r", "w", "m"] as const).filter((letter) => (access & ACCESS[letter]) !== 0).join("");
    return [[device, letters]];
  });
  return [
    ["DevicePolicy", text("strict")],
    ["DeviceAllow", { type: "a(ss)", value: allowed }],
  ];
}

/** The group of the container below its scope, where an annotation of crun asks for one. Throws CGROUP_UNIT_INVALID. */
export function subGroupOf({ annotations = {} }: Config): string {
  const name = annotations["run.oci.systemd.subgroup"] ?? "";
  if (name === "" || isBelow(name)) return name;
  throw new ContainerError("CGROUP_UNIT_INVALID", `${name} does not lie below the container's scope`, {
    field: 'annotations["run.oci.systemd.subgroup"]',
  });
}
