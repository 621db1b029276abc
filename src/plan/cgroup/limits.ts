/**
 * Which limit of `linux.resources` goes to which of a container's groups, and which go nowhere: for a new container and
 * for one that is updated. Each controller is looked for in v1 first, then in v2.
 */
import { ContainerError } from "../../error.ts";
import type { Resources } from "../../spec/config.ts";
import { blockIo } from "./block-io.ts";
import { cpu } from "./cpu.ts";
import { cpuset } from "./cpuset.ts";
import { hugetlb } from "./hugetlb.ts";
import { memory } from "./memory.ts";
import { netCls, netPrio } from "./network.ts";
import { pids } from "./pids.ts";
import { rdma } from "./rdma.ts";
import { type CgroupRequest, type CgroupWrite, type Controller, isGap } from "./request.ts";
import { unifiedController, unifiedRequests } from "./unified.ts";

const CONTROLLERS: readonly Controller[] = [memory, cpu, cpuset, pids, blockIo, hugetlb, netCls, netPrio, rdma];

const WHOLE = "linux.resources";

export interface ControlGroup {
  /** A v1 hierarchy's controllers (`cpu,cpuacct`, `name=systemd`), or `unified`. */
  controller: string;
  path: string;
}

/** Where limits can go. */
export interface LimitPlaces {
  kernel: readonly [number, number];
  /** The container's groups: of several for one controller the last, the others lie above it. */
  groups: readonly ControlGroup[];
  /** The controllers that the v2 tree offers. */
  offered: readonly string[];
}

export interface Limits {
  writes: { group: string; request: CgroupWrite }[];
  /** v2 controllers that these writes need. */
  needed: Set<string>;
  unmet: UnmetRequest[];
}

const UNMET = {
  CGROUP_CONTROLLER_MISSING:
    "mount the controller (v1: mount -t cgroup -o NAME cgroup /sys/fs/cgroup/NAME; v2: cgroup.subtree_control), or leave the field away",
  CGROUP_FIELD_UNSUPPORTED: "leave the field away, or run it where the kernel has it",
} as const;

/** What was asked for and cannot be had here. */
export interface UnmetRequest {
  code: "CGROUP_CONTROLLER_MISSING" | "CGROUP_FIELD_UNSUPPORTED";
  field: string;
  why: string;
  /** Where it is not what helps with every `code` of its kind. */
  hint?: string | undefined;
  /** Nobody is worse off without it. */
  harmless: boolean;
}

/** Throws a {@link ContainerError} for values that cannot be, and for files in `unified` of controllers that are not there. */
export function distributeLimits(resources: Resources, { kernel, groups, offered }: LimitPlaces): Limits {
  const unifiedGroup = groups.findLast(({ controller }) => controller === "unified")?.path;
  const groupsV1 = new Map(
    groups.flatMap(({ controller, path }) => controller.split(",").map((name) => [name, path] as const)),
  );
  const limits: Limits = { writes: [], needed: new Set(), unmet: [] };
  const take = (group: string, requests: readonly CgroupRequest[]) => {
    for (const request of requests) {
      if (!isGap(request)) limits.writes.push({ group, request });
      else {
        const { field, gap, harmless = false } = request;
        limits.unmet.push({ code: "CGROUP_FIELD_UNSUPPORTED", field, why: gap, harmless });
      }
    }
  };
  for (const { v1, v2, requestsV1 = none, requestsV2 = none } of CONTROLLERS) {
    const group = v1 === undefined ? undefined : groupsV1.get(v1);
    if (group !== undefined) take(group, requestsV1(resources, kernel));
    else if (v2 !== undefined && unifiedGroup !== undefined && offered.includes(v2)) {
      const requests = requestsV2(resources, kernel);
      if (requests.length > 0) limits.needed.add(v2);
      take(unifiedGroup, requests);
    } else {
      const hasV1 = groups.some(({ controller }) => controller !== "unified");
      for (const request of hasV1 ? requestsV1(resources, kernel) : requestsV2(resources, kernel)) {
        const gap = isGap(request) ? request : undefined;
        limits.unmet.push({
          code: gap === undefined ? "CGROUP_CONTROLLER_MISSING" : "CGROUP_FIELD_UNSUPPORTED",
          field: request.field ?? WHOLE,
          why: gap?.gap ?? `this machine's control groups have no ${v2 ?? v1} controller`,
          harmless: gap?.harmless ?? false,
        });
      }
    }
  }
  const named = unifiedRequests(resources.unified, unifiedGroup === undefined ? [] : offered, groupsV1);
  for (const { file } of named) {
    const controller = unifiedController(file);
    if (controller !== "cgroup") limits.needed.add(controller);
  }
  if (unifiedGroup !== undefined) take(unifiedGroup, named);
  else {
    for (const { field = WHOLE } of named) {
      const why = "this machine has no cgroup v2 tree";
      limits.unmet.push({ code: "CGROUP_CONTROLLER_MISSING", field, why, harmless: false });
    }
  }
  if (resources.cpu?.idle === 1 || resources.unified?.["cpu.idle"] !== undefined) leaveOutWeights(limits);
  return limits;
}

const WEIGHTS: ReadonlySet<string> = new Set(["cpu.shares", "cpu.weight", "cpu.weight.nice"]);

/** An idle group has the least weight there is, and the kernel refuses it another: sched_group_set_shares(). To systemd they are one property. */
function leaveOutWeights(limits: Limits): void {
  const idle = limits.writes.findLast(({ request }) => request.file === "cpu.idle");
  if (idle?.request.value.trim() !== "1") return;
  for (const { request } of limits.writes)
    if (WEIGHTS.has(request.file))
      limits.unmet.push({
        code: "CGROUP_FIELD_UNSUPPORTED",
        field: request.field ?? WHOLE,
        why: "an idle group has no weight",
        harmless: true,
      });
  limits.writes = limits.writes.filter(({ request }) => !WEIGHTS.has(request.file));
}

const none = (): CgroupRequest[] => [];

/** The fields that no group takes, where no group can be made. */
export function limitedFields(
  resources: Resources,
  kernel: readonly [number, number],
  version: "requestsV1" | "requestsV2",
): string[] {
  return CONTROLLERS.flatMap(({ [version]: requests = none }) => requests(resources, kernel)).map(
    ({ field = WHOLE }) => field,
  );
}

/** The warnings for what cannot be had; `strict`: an error for the first that matters. */
export function answerUnmet(unmet: readonly UnmetRequest[], strict: boolean): string[] {
  const warnings = new Set<string>();
  for (const { code, field, why, hint, harmless } of unmet) {
    if (strict && !harmless) throw new ContainerError(code, why, { field, hint: hint ?? UNMET[code] });
    warnings.add(`${field} is ignored: ${why}`);
  }
  return [...warnings];
}
