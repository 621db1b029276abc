/**
 * What `linux.resources` comes to before it is known where the group lies: values for files of a cgroup, and gaps, which
 * are fields that this version of cgroups has no file for. Each controller is a module with both versions of itself.
 */
import { ContainerError } from "../../error.ts";
import type { Int64, Resources } from "../../spec/config.ts";

/** One value for one file of the group. */
export interface CgroupWrite {
  file: string;
  value: string;
  /** A path in the config such as `linux.resources.memory.limit`; undefined for what every container has. */
  field?: string;
  because: string;
  /** What to write where the kernel has no `file`. */
  otherwise?: { file: string; value: string };
  /** Where the kernel has no `file`, the value is in force without it: no swap at all cannot be limited further. */
  mayBeMissing?: boolean;
}

/** A field that cannot be had, and why: a warning, for an OCI runtime an error unless it is `harmless`. */
export interface CgroupGap {
  field: string;
  gap: string;
  harmless?: boolean;
}

export type CgroupRequest = CgroupWrite | CgroupGap;

export interface Controller {
  /** The controller's name in each version; undefined where that version has none. */
  v1?: string;
  v2?: string;
  requestsV1?(resources: Resources, kernel: readonly [number, number]): CgroupRequest[];
  requestsV2?(resources: Resources, kernel: readonly [number, number]): CgroupRequest[];
}

export const harmlessGap = (field: string, gap: string): CgroupGap => ({ field, gap, harmless: true });

export const isGap = (request: CgroupRequest): request is CgroupGap => "gap" in request;

/** `[5, 7]` is since Linux 5.7. */
export function since(kernel: readonly [number, number], major: number, minor: number): boolean {
  return kernel[0] > major || (kernel[0] === major && kernel[1] >= minor);
}

/** From here up a number of bytes is no limit: engines write 2^64 - 1 for that, and the kernel's parser wraps around. */
const UNLIMITED = 2 ** 63;

/** The word that cgroup v2 (and pids on v1) has for -1. */
export const orMax = (value: Int64): string => (value < 0 || value >= UNLIMITED ? "max" : String(value));

/** -1 as cgroup v1 takes it in most files. */
export const orMinusOne = (value: Int64): string => (value >= UNLIMITED ? "-1" : String(value));

/**
 * Zero as runc and crun take it for most limits: unset. No group can be limited to that, and engines fill fields that
 * nobody asked for with it. Fields in which it is a value (pids.limit, cpu.burst, cpu.idle, swappiness) do not ask here.
 */
export const unlessZero = <Value extends Int64>(value: Value | undefined): Value | undefined =>
  value === 0 || value === 0n ? undefined : value;

export function invalid(field: string, message: string, hint?: string): ContainerError {
  return new ContainerError("CGROUP_VALUE_INVALID", message, hint === undefined ? { field } : { field, hint });
}
