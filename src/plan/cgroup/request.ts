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
  field?: string;
  because: string;
  /** What to write where the kernel has no `file`. */
  otherwise?: { file: string; value: string };
}

/** A field that cannot be had, and why: it becomes a warning. */
export interface CgroupGap {
  field: string;
  gap: string;
}

export type CgroupRequest = CgroupWrite | CgroupGap;

export interface Controller {
  /** The controller's name in each version; undefined where that version has none. */
  v1?: string;
  v2?: string;
  requestsV1?(resources: Resources, kernel: readonly [number, number]): CgroupRequest[];
  requestsV2?(resources: Resources, kernel: readonly [number, number]): CgroupRequest[];
}

export const isGap = (request: CgroupRequest): request is CgroupGap => "gap" in request;

/** `[5, 7]` is since Linux 5.7. */
export function since(kernel: readonly [number, number], major: number, minor: number): boolean {
  return kernel[0] > major || (kernel[0] === major && kernel[1] >= minor);
}

/** The word that cgroup v2 (and pids on v1) has for -1. */
export const orMax = (value: Int64): string => (value < 0 ? "max" : String(value));

export function invalid(field: string, message: string, hint?: string): ContainerError {
  return new ContainerError("CGROUP_VALUE_INVALID", message, hint === undefined ? { field } : { field, hint });
}
