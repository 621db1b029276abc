/**
 * `linux.resources.devices`: which device nodes can be opened and made, whatever their permissions say.
 *
 * The rules are read in order, the last one that speaks of an access decides, and what no rule speaks of is denied. On v1
 * the kernel keeps a default and a list of exceptions (devices.rst), and removing an exception needs its exact spelling: a
 * rule such as "deny c 1:3" after "allow c 1:*" is accepted there and does nothing. So the rules are folded here, and what
 * v1 cannot express is refused.
 */
import { ContainerError } from "../../error.ts";
import type { DeviceRule } from "../../spec/config.ts";
import { type CgroupWrite, invalid } from "./request.ts";

/** The kernel's BPF_DEVCG_ACC_*. */
export const ACCESS = { m: 1, r: 2, w: 4 } as const;
export const ALL_ACCESS = 7;

/** A rule for one type of device. An undefined number stands for all. */
export interface DeviceEntry {
  allow: boolean;
  type: "b" | "c";
  major: number | undefined;
  minor: number | undefined;
  /** Bits of {@link ACCESS}. */
  access: number;
  field?: string;
}

/** Device access as a whole: a default, and the rules after it, the last one that matches decides. */
export interface DevicePolicy {
  allowAll: boolean;
  entries: DeviceEntry[];
}

/** runc and crun allow these in every container; making nodes is harmless where opening them is not allowed. */
const DEFAULT_ENTRIES: readonly DeviceEntry[] = (
  [
    ["c", undefined, undefined, ACCESS.m],
    ["b", undefined, undefined, ACCESS.m],
    ["c", 1, 3, ALL_ACCESS], // null
    ["c", 1, 5, ALL_ACCESS], // zero
    ["c", 1, 7, ALL_ACCESS], // full
    ["c", 1, 8, ALL_ACCESS], // random
    ["c", 1, 9, ALL_ACCESS], // urandom
    ["c", 5, 0, ALL_ACCESS], // tty
    ["c", 5, 1, ALL_ACCESS], // console
    ["c", 5, 2, ALL_ACCESS], // ptmx
    ["c", 136, undefined, ALL_ACCESS], // pts/*
  ] as const
).map(([type, major, minor, access]) => ({ allow: true, type, major, minor, access }));

/** runc and crun allow it too, since the days before devices could be asked for: engines count on it for VPNs. */
const TUN: DeviceEntry = { allow: true, type: "c", major: 10, minor: 200, access: ALL_ACCESS };

/** The policy that rules amount to; `tun`: /dev/net/tun is among the devices that are always allowed; undefined when they restrict nothing. Throws a {@link ContainerError}. */
export function parseDeviceRules(rules: readonly DeviceRule[] = [], { tun = false } = {}): DevicePolicy | undefined {
  if (rules.length === 0) return undefined;
  let policy: DevicePolicy = { allowAll: false, entries: [] };
  for (const [i, rule] of rules.entries()) {
    const field = `linux.resources.devices[${i}]`;
    const { allow, type = "a" } = rule;
    const access = parseAccess(rule.access, field);
    const major = wildcard(rule.major);
    const minor = wildcard(rule.minor);
    if (type === "a" && major === undefined && minor === undefined && access === ALL_ACCESS) {
      // It speaks of everything: nothing before it counts.
      policy = { allowAll: allow, entries: [] };
      continue;
    }
    for (const each of type === "a" ? (["c", "b"] as const) : [type]) {
      policy.entries.push({ allow, type: each, major, minor, access, field });
    }
  }
  if (!policy.allowAll && policy.entries.length === 0 && tun) return DEFAULT_POLICY;
  if (!policy.allowAll) policy.entries.push(...DEFAULT_ENTRIES, ...(tun ? [TUN] : []));
  return policy.allowAll && policy.entries.length === 0 ? undefined : policy;
}

/** Of a config that denies everything: of most. What it amounts to on v1 is worked out when tupper is built. */
const DEFAULT_POLICY: DevicePolicy = { allowAll: false, entries: [...DEFAULT_ENTRIES, TUN] };

const wildcard = (number: number | undefined) => (number === undefined || number < 0 ? undefined : number);

function parseAccess(access: string | undefined, field: string): number {
  if (access === undefined || access === "") return ALL_ACCESS;
  let bits = 0;
  for (const letter of access) {
    if (letter !== "r" && letter !== "w" && letter !== "m") {
      throw invalid(
        `${field}.access`,
        `device access is made of the letters r, w and m: not ${JSON.stringify(access)}`,
      );
    }
    bits |= ACCESS[letter];
  }
  return bits;
}

/** A policy as the writes of the v1 controller. A new group has what its parent has; an `existing` one may have exceptions. */
export function devicesV1(policy: DevicePolicy, { existing = false } = {}): readonly CgroupWrite[] {
  return policy === DEFAULT_POLICY && !existing ? DEFAULT_WRITES : workOut(policy, existing);
}

function workOut({ allowAll, entries }: DevicePolicy, existing: boolean): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  if (!allowAll || existing) {
    writes.push({
      file: allowAll ? "devices.allow" : "devices.deny",
      value: "a",
      field: "linux.resources.devices",
      because: `every device is ${allowAll ? "allowed before some are forbidden" : "forbidden before some are allowed"}`,
    });
  }
  for (const exception of foldExceptions(allowAll, entries)) {
    writes.push({
      file: allowAll ? "devices.deny" : "devices.allow",
      value: showEntry(exception),
      ...(exception.field === undefined ? {} : { field: exception.field }),
      because: because(exception),
    });
  }
  return writes;
}

/** The exceptions to the default, each device at most once. */
function foldExceptions(allowAll: boolean, entries: readonly DeviceEntry[]): DeviceEntry[] {
  const exceptions = new Map<string, DeviceEntry>();
  for (const entry of entries) {
    if (entry.allow === allowAll) {
      for (const exception of exceptions.values()) takeBack(exception, entry);
      continue;
    }
    const key = showDevice(entry);
    const same = exceptions.get(key);
    if (same) same.access |= entry.access;
    else exceptions.set(key, { ...entry });
  }
  const all = [...exceptions.values()];
  const wide = all.filter(({ major, minor }) => major === undefined || minor === undefined);
  return all.filter(
    (one) =>
      one.access !== 0 &&
      !wide.some((wider) => wider !== one && (one.access & ~wider.access) === 0 && covers(wider, one)),
  );
}

/** Takes from an exception what a later rule says otherwise. */
function takeBack(exception: DeviceEntry, entry: DeviceEntry): void {
  if ((exception.access & entry.access) === 0 || !overlap(entry, exception)) return;
  if (covers(entry, exception)) {
    exception.access &= ~entry.access;
    return;
  }
  throw new ContainerError(
    "DEVICE_RULE_INEXPRESSIBLE",
    `cgroup v1 cannot ${entry.allow ? "allow" : "deny"} ${showEntry(entry)} after the wider rule ${showEntry(exception)}`,
    { ...(entry.field === undefined ? {} : { field: entry.field }), hint: "name the devices one by one" },
  );
}

function covers(wide: DeviceEntry, narrow: DeviceEntry): boolean {
  return (
    wide.type === narrow.type &&
    (wide.major === undefined || wide.major === narrow.major) &&
    (wide.minor === undefined || wide.minor === narrow.minor)
  );
}

function overlap(a: DeviceEntry, b: DeviceEntry): boolean {
  return (
    a.type === b.type &&
    (a.major === undefined || b.major === undefined || a.major === b.major) &&
    (a.minor === undefined || b.minor === undefined || a.minor === b.minor)
  );
}

function because({ allow, field, major }: DeviceEntry): string {
  if (field !== undefined) return `the config ${allow ? "allows" : "denies"} this device`;
  return major === undefined
    ? "making a node is harmless where opening it is not allowed, and the runtime makes some itself"
    : "every container may use this device (config-linux.md, Default Devices)";
}

/** `c 1:3` */
const showDevice = ({ type, major, minor }: DeviceEntry): string => `${type} ${major ?? "*"}:${minor ?? "*"}`;

/** `c 1:3 rwm` */
function showEntry(entry: DeviceEntry): string {
  const { r, w, m } = ACCESS;
  const letters = `${entry.access & r ? "r" : ""}${entry.access & w ? "w" : ""}${entry.access & m ? "m" : ""}`;
  return `${showDevice(entry)} ${letters}`;
}

const DEFAULT_WRITES: readonly CgroupWrite[] = workOut(DEFAULT_POLICY, false);
