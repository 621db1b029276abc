/**
 * Control groups: where the container's groups lie, what they limit, how the container comes into them. cgroups(7),
 * config-linux.md "Control groups".
 *
 * On v1 there is a group in every hierarchy, and the new process joins each. On v2 there is one group, and the process is
 * born in it. A hybrid machine has both: there the v2 group may limit nothing, but it still can kill everything in it at
 * once (cgroup.kill). Each controller is looked for in v1 first, then in v2; a limit of one that is nowhere is a warning.
 */
import type { Config, CpuResources, Resources } from "../../spec/config.ts";
import type { Host } from "../host.ts";
import type { InitStep, ParentStep } from "../step.ts";
import { blockIo } from "./block-io.ts";
import { cpu } from "./cpu.ts";
import { cpuset } from "./cpuset.ts";
import { assembleDeviceProgram } from "./device-program.ts";
import { devicesV1, parseDeviceRules } from "./devices.ts";
import { hugetlb } from "./hugetlb.ts";
import { memory } from "./memory.ts";
import { netCls, netPrio } from "./network.ts";
import { pids } from "./pids.ts";
import { rdma } from "./rdma.ts";
import { type CgroupRequest, type CgroupWrite, type Controller, invalid, isGap, since } from "./request.ts";
import { unifiedController, unifiedField, unifiedRequests } from "./unified.ts";

export interface CgroupPlan {
  create: ParentStep[];
  join: InitStep[];
  /** The v2 directory that the container is born in: CLONE_INTO_CGROUP. */
  into?: string;
  /** Directories to remove when the container has ended, after the groups that it made below them. */
  cleanup: string[];
  /** The group of each hierarchy: what state keeps, and what a `cgroup` mount without a cgroup namespace shows. */
  groups: ControlGroup[];
  /** What was asked for and cannot be had here. */
  warnings: string[];
}

export interface ControlGroup {
  /** A v1 hierarchy's controllers (`cpu,cpuacct`, `name=systemd`), or `unified`. */
  controller: string;
  path: string;
}

const CONTROLLERS: readonly Controller[] = [memory, cpu, cpuset, pids, blockIo, hugetlb, netCls, netPrio, rdma];

const DEVICES_FIELD = "linux.resources.devices";

/** Enabled on v2 even where nothing is limited: `stats` reads their files. */
const COUNTED = ["cpu", "io", "memory", "pids"];

type Why = { field?: string; because: string };
type WriteStep = Extract<ParentStep, { op: "write" }>;
type DeviceStep = Extract<ParentStep, { op: "write" | "attachDeviceProgram" }>;

/** Throws a {@link ContainerError} for values that cannot be, and for device rules that cgroup v1 cannot express. */
export function planCgroups(config: Config, host: Host, id: string): CgroupPlan {
  const { mode, writable, hierarchies, unified } = host.cgroups;
  const resources = config.linux.resources ?? {};
  if (mode === "none" || !writable) {
    return { create: [], join: [], cleanup: [], groups: [], warnings: ignoreAll(resources, host) };
  }
  const location = locate(config, host, id);
  const groups = hierarchies.map(({ controllers, mountPoint, ownPath }) => ({
    controller: controllers.join(","),
    path: `${mountPoint}${location.within(ownPath)}`,
  }));
  if (unified) {
    groups.push({ controller: "unified", path: `${unified.mountPoint}${location.within(location.unifiedBase)}` });
  }
  const { writes, enable, warnings } = distribute(resources, host, groups);
  const devices = planDevices(resources, host, groups);

  const why = config.linux.cgroupsPath
    ? { field: "linux.cgroupsPath", because: "the config names the container's control group" }
    : { because: "a control group of its own counts and limits the container" };
  const plan: CgroupPlan = {
    create: [],
    join: [],
    cleanup: groups.map(({ path }) => path),
    groups,
    warnings: [...warnings, ...devices.warnings],
  };
  for (const [i, { controller, path }] of groups.entries()) {
    const mountPoint = hierarchies[i]?.mountPoint ?? unified?.mountPoint ?? "";
    const isCpuset = hierarchies[i]?.controllers.includes("cpuset") ?? false;
    if (controller === "unified") plan.create.push(...handDown(mountPoint, path, enable, location.unifiedTop, why));
    else if (isCpuset) plan.create.push(...ancestorCpusets(mountPoint, path, why));
    plan.create.push({ op: "makeCgroup", by: "parent", controller, path, ...why });
    if (isCpuset) plan.create.push(...inheritCpuset(path, resources.cpu));
    plan.create.push(...writes.filter(({ group }) => group === path).map(({ request }) => writeStep(path, request)));
    plan.create.push(...devices.steps.filter((step) => step.path === path || step.path.startsWith(`${path}/`)));

    // A process that is born in a group is counted before it is there: with pids.max 0 the clone itself would fail.
    const mayBeBornThere = since(host.kernel, 5, 7) && !(enable.includes("pids") && resources.pids?.limit === 0);
    if (controller === "unified" && mayBeBornThere) plan.into = path;
    else plan.join.push(joinStep(controller, path));
  }
  return plan;
}

/** `/a/b` of `a//b/` and of `../a/./b`: it cannot lead above the root of a hierarchy. */
export function normalizeCgroupsPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.map((part) => `/${part}`).join("");
}

interface Location {
  /** The container's group, from the root of a hierarchy in which relative paths start at `base`. */
  within(base: string): string;
  /** Where a relative path starts on v2. */
  unifiedBase: string;
  /** The topmost v2 group whose controllers we may hand down. */
  unifiedTop: string;
}

/**
 * An absolute cgroupsPath starts at the root of each hierarchy, a relative one at the runtime's own group. On v2 it starts
 * at the parent of that: a group with processes in it, ours, cannot hand controllers down. Unset is `/tupper-ID`, relative
 * for a user, to whom only a part of the tree can be delegated.
 */
function locate({ linux: { cgroupsPath } }: Config, { uid, cgroups }: Host, id: string): Location {
  const path = normalizeCgroupsPath(cgroupsPath || `tupper-${id}`);
  if (path === "") {
    throw invalid(
      "linux.cgroupsPath",
      `${cgroupsPath} is the root of the hierarchies, not a group`,
      "name a group in it",
    );
  }
  const absolute = cgroupsPath ? cgroupsPath.startsWith("/") : uid === 0;
  const unifiedBase = parentOf(cgroups.unified?.ownPath ?? "/");
  return {
    within: (base) => (absolute || base === "/" ? path : `${base}${path}`),
    unifiedBase,
    unifiedTop: uid === 0 ? "/" : unifiedBase,
  };
}

/** `/a` of `/a/b`, `/` of `/a`. */
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

/** The directories strictly between a mount point and a group, topmost first. */
function ancestors(mountPoint: string, path: string): string[] {
  const found: string[] = [];
  for (let above = parentOf(path); above.length > mountPoint.length; above = parentOf(above)) found.unshift(above);
  return found;
}

/** A cpuset that is made on the way is as empty as the container's own. (Elsewhere mkdir alone makes what is missing.) */
function ancestorCpusets(mountPoint: string, path: string, why: Why): ParentStep[] {
  return ancestors(mountPoint, path).flatMap((above): ParentStep[] => [
    { op: "makeCgroup", by: "parent", controller: "cpuset", path: above, mayExist: true, ...why },
    ...inheritCpuset(above),
  ]);
}

function inheritCpuset(path: string, { cpus, mems }: CpuResources = {}): ParentStep[] {
  const because = "a new cpuset of cgroup v1 is empty, and no process can join an empty one";
  const steps: ParentStep[] = [];
  if (cpus === undefined) steps.push({ op: "inheritCgroupValue", by: "parent", path: `${path}/cpuset.cpus`, because });
  if (mems === undefined) steps.push({ op: "inheritCgroupValue", by: "parent", path: `${path}/cpuset.mems`, because });
  return steps;
}

/** A v2 group has the controllers that every group above it hands down. */
function handDown(mountPoint: string, path: string, enable: readonly string[], top: string, why: Why): ParentStep[] {
  const steps: ParentStep[] = [];
  const topPath = top === "/" ? mountPoint : `${mountPoint}${top}`;
  for (const above of [mountPoint, ...ancestors(mountPoint, path)]) {
    if (above.length > topPath.length) {
      steps.push({ op: "makeCgroup", by: "parent", controller: "unified", path: above, mayExist: true, ...why });
    }
    if (above.length < topPath.length || enable.length === 0) continue;
    steps.push({
      op: "write",
      by: "parent",
      path: `${above}/cgroup.subtree_control`,
      value: enable.map((controller) => `+${controller}`).join(" "),
      because: "a group of cgroup v2 has only the controllers that the group above hands down",
    });
  }
  return steps;
}

function writeStep(group: string, { file, value, field, because, otherwise }: CgroupWrite): WriteStep {
  return {
    op: "write",
    by: "parent",
    path: `${group}/${file}`,
    value,
    ...(otherwise ? { otherwise: { path: `${group}/${otherwise.file}`, value: otherwise.value } } : {}),
    ...(field === undefined ? {} : { field }),
    because,
  };
}

function joinStep(controller: string, path: string): InitStep {
  const because =
    controller === "unified"
      ? "the container is counted and limited there"
      : "the container is counted and limited there; a single-threaded process that moves itself spares the wait for all others";
  return { op: "joinCgroup", by: "init", controller, path, because };
}

interface Distribution {
  writes: { group: string; request: CgroupWrite }[];
  /** v2 controllers to hand down. */
  enable: string[];
  warnings: string[];
}

/** Which limit goes to which group, and which go nowhere. */
function distribute(
  resources: Resources,
  { kernel, cgroups: { hierarchies, unified } }: Host,
  groups: readonly ControlGroup[],
): Distribution {
  const unifiedGroup = groups[hierarchies.length]?.path;
  const groupsV1 = new Map(
    hierarchies.flatMap(({ controllers }, i) => controllers.map((controller) => [controller, groups[i]?.path])),
  );
  const offered = unified?.controllers ?? [];
  const enable = new Set(COUNTED.filter((controller) => offered.includes(controller)));
  const writes: Distribution["writes"] = [];
  const warnings = new Set<string>();
  const take = (group: string | undefined, requests: readonly CgroupRequest[], gap: string) => {
    for (const request of requests) {
      if (!isGap(request) && group !== undefined) writes.push({ group, request });
      else warnings.add(`${request.field} is ignored: ${isGap(request) ? request.gap : gap}`);
    }
  };
  for (const { v1, v2, requestsV1 = none, requestsV2 = none } of CONTROLLERS) {
    const group = v1 === undefined ? undefined : groupsV1.get(v1);
    if (group !== undefined) take(group, requestsV1(resources, kernel), "");
    else if (v2 !== undefined && offered.includes(v2)) {
      const requests = requestsV2(resources, kernel);
      if (requests.length > 0) enable.add(v2);
      take(unifiedGroup, requests, "");
    } else {
      const requests = hierarchies.length > 0 ? requestsV1(resources, kernel) : requestsV2(resources, kernel);
      take(undefined, requests, `this machine's control groups have no ${v2 ?? v1} controller`);
    }
  }
  const named = unifiedRequests(resources.unified, offered);
  for (const { file } of named) {
    const controller = unifiedController(file);
    if (controller !== "cgroup") enable.add(controller);
  }
  take(unifiedGroup, named, "");

  if (unified?.occupied !== true) return { writes, enable: [...enable], warnings: [...warnings] };
  // Nothing can be handed down from a group that has processes (EBUSY), and files of controllers are not there then.
  const inV1 = writes.filter(({ group }) => group !== unifiedGroup);
  for (const { group, request } of writes) {
    if (group === unifiedGroup) warnings.add(`${request.field} is ignored: ${occupiedGap(unified.mountPoint)}`);
  }
  return { writes: inV1, enable: [], warnings: [...warnings] };
}

const none = (): CgroupRequest[] => [];

const occupiedGap = (mountPoint: string): string =>
  `the control group at ${mountPoint} is not the machine's root and has processes in it, so it cannot hand controllers down; ` +
  `move them into a group below it first`;

/** Device rules go to the v1 controller where there is one, else into a program on the v2 group. */
function planDevices(
  { devices }: Resources,
  { privileged, cgroups: { hierarchies } }: Host,
  groups: readonly ControlGroup[],
): { steps: DeviceStep[]; warnings: string[] } {
  const policy = parseDeviceRules(devices);
  // Who is not root on the machine cannot make device nodes, and opens only those that the user could open anyway.
  if (policy === undefined || !privileged) return { steps: [], warnings: [] };
  const index = hierarchies.findIndex(({ controllers }) => controllers.includes("devices"));
  const path = groups[index >= 0 ? index : hierarchies.length]?.path;
  if (path === undefined) {
    return {
      steps: [],
      warnings: [`${DEVICES_FIELD} is ignored: this machine's control groups have no devices controller`],
    };
  }
  if (index >= 0) return { steps: devicesV1(policy).map((write) => writeStep(path, write)), warnings: [] };
  const step: DeviceStep = {
    op: "attachDeviceProgram",
    by: "parent",
    path,
    program: assembleDeviceProgram(policy),
    field: DEVICES_FIELD,
    because: "cgroup v2 asks a program whether a device node may be opened or made",
  };
  return { steps: [step], warnings: [] };
}

/** Where no group can be made, each limit is a warning: no controller takes it. */
function ignoreAll(resources: Resources, host: Host): string[] {
  const gap = whyNoGroups(host);
  const version = host.cgroups.mode === "v2" ? "requestsV2" : "requestsV1";
  const fields = CONTROLLERS.flatMap(({ [version]: requests = none }) => requests(resources, host.kernel)).map(
    ({ field }) => field,
  );
  fields.push(...Object.keys(resources.unified ?? {}).map(unifiedField));
  if (host.privileged && parseDeviceRules(resources.devices)) fields.push(DEVICES_FIELD);
  return [...new Set(fields)].map((field) => `${field} is ignored: ${gap}`);
}

function whyNoGroups({ uid, cgroups: { mode } }: Host): string {
  if (mode === "none") return "no control group filesystem is mounted";
  if (uid === 0) return "the control group filesystem is mounted read-only";
  if (mode === "v2") {
    return "no part of the control group tree is delegated to this user (systemd-run --user --scope gives one)";
  }
  return "this machine has control groups of version 1, and only root can make those";
}
