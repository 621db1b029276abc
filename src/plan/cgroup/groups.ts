/**
 * Control groups: where the container's groups lie, what they limit, how the container comes into them. cgroups(7),
 * config-linux.md "Control groups".
 *
 * On v1 there is a group in every hierarchy, and the new process joins each. On v2 there is one group, and the process is
 * born in it. A hybrid machine has both: there the v2 group may limit nothing, but it still can kill everything in it at
 * once (cgroup.kill). Each controller is looked for in v1 first, then in v2; a limit of one that is nowhere is a warning.
 */
import { ContainerError } from "../../error.ts";
import { ANNOTATION, type Config, type CpuResources, type DeviceRule, type Resources } from "../../spec/config.ts";
import type { Host } from "../host.ts";
import { isolates } from "../namespaces.ts";
import type { InitStep, ParentStep, Slot, Why } from "../step.ts";
import {
  delegatedName,
  delegateGroup,
  NO_MANAGER,
  ownedByRoot,
  planDelegation,
  refuseDelegation,
} from "./delegation.ts";
import { assembleDeviceProgram } from "./device-program.ts";
import { type DevicePolicy, devicesV1, parseDeviceRules } from "./devices.ts";
import { controllersToHandDown, type HandedDown, handDown, vacate } from "./hand-down.ts";
import { answerUnmet, type ControlGroup, distributeLimits, limitedFields, type UnmetRequest } from "./limits.ts";
import { ancestors, type Location, locate, locateScope } from "./location.ts";
import { type CgroupWrite, since } from "./request.ts";
import {
  deviceProperties,
  limitProperties,
  SYSTEMD_CONTROLLERS,
  type SystemdTarget,
  scopeName,
  scopeProperties,
  subGroupOf,
} from "./systemd.ts";
import { unifiedField } from "./unified.ts";

export interface CgroupPlan {
  create: ParentStep[];
  /** The same where systemd makes the groups: it wants a process to put there, so this is done when there is one. */
  afterClone: ParentStep[];
  join: InitStep[];
  /** When it has its namespaces. */
  leave: InitStep[];
  /** The v2 directory that the container is born in: CLONE_INTO_CGROUP. */
  into?: string;
  /** Directories to remove when the container has ended, after the groups that it made below them. */
  cleanup: string[];
  /** The group of each hierarchy: what state keeps, and what a `cgroup` mount without a cgroup namespace shows. */
  groups: ControlGroup[];
  /** What was asked for and cannot be had here. */
  warnings: string[];
}

export interface CgroupOptions {
  /** `disabled`: the container stays in the groups of its runtime and has no limits. A target: systemd makes them. */
  manager?: "cgroupfs" | "disabled" | SystemdTarget;
  /**
   * As callers of an OCI runtime expect: what is asked for and cannot be had is an error, not a warning; the group of an
   * unset cgroupsPath is `/ID`; a group that is there already is taken if nobody uses it; and on v2 it has all
   * controllers, because the container may make groups of its own.
   */
  strict?: boolean;
}

const MEMS = "cpuset.mems";
const DEVICES_FIELD = "linux.resources.devices";

type WriteStep = Extract<ParentStep, { op: "write" }>;
type DeviceStep = Extract<ParentStep, { op: "write" | "attachDeviceProgram" }>;

const NO_GROUPS: CgroupPlan = {
  create: [],
  afterClone: [],
  join: [],
  leave: [],
  cleanup: [],
  groups: [],
  warnings: [],
};

/** runc warns of it in these words at their end. */
const UNTRACKED =
  "the container has neither control groups nor a PID namespace: its processes cannot all be found and ended. Such configuration is strongly discouraged";

/** Throws a {@link ContainerError} for values that cannot be, and for device rules that cgroup v1 cannot express. */
export function planCgroups(
  config: Config,
  host: Host,
  id: string,
  { manager = "cgroupfs", strict = false }: CgroupOptions = {},
): CgroupPlan {
  const delegated = delegatedName(config);
  if (manager === "disabled")
    return delegated === undefined ? NO_GROUPS : { ...NO_GROUPS, warnings: refuseDelegation(NO_MANAGER, strict) };
  const target = typeof manager === "object" ? manager : undefined;
  const { mode, writable, delegated: given } = host.cgroups;
  if (mode === "none" || !(writable || target)) return planWithoutGroups(config, host, delegated, strict);
  const { hierarchies, unified } = given && !target ? { hierarchies: given, unified: undefined } : host.cgroups;
  const resources = config.linux.resources ?? {};
  const scope = target && scopeName(config, id, target.user);
  const below = scope === undefined ? "" : subGroupOf(config);
  const location =
    target && scope
      ? locateScope(`${target.root}${scope.path}`, below)
      : locate(config, host, strict ? id : `tupper-${id}`);
  const groups = hierarchies.map(({ controllers, mountPoint, ownPath }) => ({
    controller: controllers.join(","),
    path: `${mountPoint}${location.within(ownPath)}`,
  }));
  if (unified) {
    groups.push({ controller: "unified", path: `${unified.mountPoint}${location.within(location.unifiedBase)}` });
  }
  const offered = target?.controllers ?? unified?.controllers ?? [];
  const limits = distributeLimits(resources, { kernel: host.kernel, groups, offered });
  const { writes, unmet } = limits;
  const enable = controllersToHandDown(limits, offered, mode, strict);
  const policy = strict ? strictPolicy(resources.devices) : parseDeviceRules(resources.devices);
  const devices = planDevices(policy, host, groups, !strict || resources.devices !== undefined);

  const why = config.linux.cgroupsPath
    ? { field: "linux.cgroupsPath", because: "the config names the container's control group" }
    : { because: "a control group of its own counts and limits the container" };
  const plan: CgroupPlan = {
    create: unified && !scope ? vacate(unified) : [],
    afterClone: [],
    join: [],
    leave: [],
    cleanup: groups.map(({ path }) => path),
    groups,
    warnings: answerUnmet([...unmet, ...devices.unmet], strict),
  };
  const settings = new Map<string, ParentStep[]>();
  const set = (group: string, step: ParentStep) => {
    const before = settings.get(group);
    if (before === undefined) settings.set(group, [step]);
    else before.push(step);
  };
  for (const { group, request } of writes) set(group, writeStep(group, request));
  for (const step of devices.steps) set(devices.group, step);
  const make = scope ? plan.afterClone : plan.create;
  if (target && scope) {
    const v1Devices = host.privileged && hierarchies.some(({ controllers }) => controllers.includes("devices"));
    make.push({
      op: "startScope",
      by: "parent",
      unit: scope.unit,
      user: target.user,
      path: scopePath(groups, below),
      properties: [
        ...scopeProperties(config, id, scope, mode === "v2" ? 2 : 1),
        ...(v1Devices ? deviceProperties(policy) : []),
        ...limitProperties(writes.map(({ request }) => request)),
      ],
      pid: PID,
      field: "linux.cgroupsPath",
      because: "systemd owns the control groups here: what it makes it does not disturb",
    });
    plan.join.push({
      op: "awaitScope",
      by: "init",
      because: "the container's namespaces and mounts are made where it is counted and limited",
    });
  }
  const taken = scope ? { mayExist: true } : strict ? { mayExist: true, unused: true } : {};
  const into = unified && !scope ? birthplace(groups, host, enable, writes, resources) : undefined;
  if (into !== undefined) plan.into = into;
  const shown = planSystemdV1(config, host, location, taken);
  if (shown) {
    make.push(...shown.make);
    plan.join.push(shown.join);
    plan.cleanup.push(shown.group.path);
    plan.groups = [shown.group, ...groups];
  }
  if (below !== "") plan.cleanup.push(...plan.groups.map(({ path }) => aboveOf(path, below)));
  for (const [i, { controller, path }] of groups.entries()) {
    const mountPoint = hierarchies[i]?.mountPoint ?? unified?.mountPoint ?? "";
    const isCpuset = hierarchies[i]?.controllers.includes("cpuset") ?? false;
    const isUnified = controller === "unified";
    if (isUnified && !scope) make.push(...handDown(mountPoint, path, enable, location.unifiedTop, why));
    else if (isUnified && host.privileged) {
      // systemd hands down what it knows of.
      const others = enable.filter(({ name }) => !SYSTEMD_CONTROLLERS.includes(name));
      make.push(...handDown(mountPoint, scopePath(groups, below), others, "/", why));
    } else if (isCpuset) make.push(...ancestorCpusets(mountPoint, path, why));
    make.push({ op: "makeCgroup", by: "parent", controller, path, ...taken, ...why });
    if (isUnified && scope && below !== "" && mode === "v2") {
      // A group that hands controllers down has no processes.
      make.push({ op: "moveProcess", by: "parent", path, pid: PID, ...why });
      make.push(...handDown(mountPoint, path, enable, location.unifiedTop, why));
    }
    if (isCpuset) make.push(...inheritCpuset(path, resources.cpu));
    make.push(...(settings.get(path) ?? []));
    if (isUnified) make.push(...delegateGroup(config, host, path));

    // Into the scope, and out of it into a group below on v2, the process was moved.
    if (path !== into && (!scope || (mode !== "v2" && (below !== "" || !/^(unified|name=systemd)$/.test(controller)))))
      plan.join.push(joinStep(controller, path));
  }
  if (delegated === undefined) return plan;
  const { afterClone, leave, warnings } = planDelegation(config, host, groups.at(-1), delegated, strict);
  plan.afterClone.push(...afterClone);
  plan.leave.push(...leave);
  plan.warnings.push(...warnings);
  return plan;
}

const PID: Slot = { slot: "init.pid" };

/** The scope of the group `below` it. */
const aboveOf = (path: string, below: string): string => path.slice(0, below === "" ? undefined : -below.length - 1);

/** The scope's own group where systemd counts processes: in the v2 tree, or in its own v1 hierarchy. */
function scopePath(groups: readonly ControlGroup[], below: string): string {
  const group = groups.find(({ controller }) => controller === "unified" || controller === "name=systemd") ?? groups[0];
  return aboveOf(group?.path ?? "", below);
}

/**
 * The group of v2 if the container can be born in it (CLONE_INTO_CGROUP, Linux 5.7). A process that is born in a group is
 * counted before it is there: with pids.max 0 the clone itself would fail. And before Linux 6.4 its memory came from where
 * its parent's came from, whatever cpuset.mems said; who joins is told.
 */
function birthplace(
  groups: readonly ControlGroup[],
  { kernel }: Host,
  enable: readonly HandedDown[],
  writes: readonly { group: string; request: CgroupWrite }[],
  { pids }: Resources,
): string | undefined {
  const path = groups.at(-1)?.path;
  const holdsNone = pids?.limit === 0 && enable.some(({ name }) => name === "pids");
  const isHeldToNodes = writes.some(({ group, request }) => request.file === MEMS && group === path);
  return since(kernel, 5, 7) && !holdsNone && (!isHeldToNodes || since(kernel, 6, 4)) ? path : undefined;
}

/** crun's annotation, see cgroup-mounts.ts: a group of the container's in the hierarchy where an old systemd looks for its own. */
function planSystemdV1(
  config: Config,
  host: Host,
  location: Location,
  taken: { mayExist?: boolean; unused?: boolean },
): { group: ControlGroup; make: ParentStep[]; join: InitStep } | undefined {
  const { systemdV1 } = host.cgroups;
  if (!config.annotations?.[ANNOTATION.systemdV1] || !systemdV1) return undefined;
  const path = `${systemdV1.mountPoint}${location.within(systemdV1.ownPath)}`;
  const [controller = ""] = systemdV1.controllers;
  const why = {
    field: `annotations["${ANNOTATION.systemdV1}"]`,
    because: "systemd in the container makes its groups in this hierarchy",
  };
  return {
    group: { controller, path },
    make: [
      { op: "makeCgroup", by: "parent", controller, path, ...taken, ...why },
      ...ownedByRoot(config, host, path, why),
    ],
    join: { ...joinStep(controller, path), ...why },
  };
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
  if (!cpus) steps.push({ op: "inheritCgroupValue", by: "parent", path: `${path}/cpuset.cpus`, because });
  if (!mems) steps.push({ op: "inheritCgroupValue", by: "parent", path: `${path}/cpuset.mems`, because });
  return steps;
}

function writeStep(group: string, request: CgroupWrite): WriteStep {
  const { file, value, field, because, otherwise, mayBeMissing } = request;
  return {
    op: "write",
    by: "parent",
    path: `${group}/${file}`,
    value,
    ...(otherwise ? { otherwise: { path: `${group}/${otherwise.file}`, value: otherwise.value } } : {}),
    ...(mayBeMissing ? { ifPossible: "missing" } : {}),
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

/**
 * Without rules a container has the devices that every container has, as under runc: root in it could otherwise make a node
 * for the machine's disk. (crun restricts nothing then.)
 */
const strictPolicy = (rules: readonly DeviceRule[] = []): DevicePolicy | undefined =>
  parseDeviceRules(rules.length === 0 ? [{ allow: false, access: "rwm" }] : rules, { tun: true });

/** Device rules go to the v1 controller where there is one, else into a program on the v2 group. */
function planDevices(
  policy: DevicePolicy | undefined,
  { privileged, cgroups: { hierarchies } }: Host,
  groups: readonly ControlGroup[],
  areAskedFor = true,
): { steps: DeviceStep[]; group: string; unmet: UnmetRequest[] } {
  const nothing = { steps: [], group: "", unmet: [] };
  // Who is not root on the machine cannot make device nodes, and opens only those that the user could open anyway.
  if (policy === undefined || !privileged) return nothing;
  const index = hierarchies.findIndex(({ controllers }) => controllers.includes("devices"));
  const group = groups[index >= 0 ? index : hierarchies.length]?.path;
  if (group === undefined) {
    const why = "this machine's control groups have no devices controller";
    const unmet = { code: "CGROUP_CONTROLLER_MISSING", field: DEVICES_FIELD, why, harmless: false } as const;
    return areAskedFor ? { ...nothing, unmet: [unmet] } : nothing;
  }
  if (index >= 0) return { ...nothing, steps: devicesV1(policy).map((write) => writeStep(group, write)), group };
  const step: DeviceStep = {
    op: "attachDeviceProgram",
    by: "parent",
    path: group,
    program: assembleDeviceProgram(policy),
    field: DEVICES_FIELD,
    because: "cgroup v2 asks a program whether a device node may be opened or made",
  };
  return { ...nothing, steps: [step], group };
}

/** As under runc and crun, an ordinary user who asks for no group goes on without one. Throws CGROUP_FORBIDDEN. */
function planWithoutGroups(config: Config, host: Host, delegated: string | undefined, strict: boolean): CgroupPlan {
  const why = whyNoGroups(host);
  if (strict && !host.privileged && config.linux.cgroupsPath)
    throw new ContainerError("CGROUP_FORBIDDEN", `cannot make a control group: ${why}`, {
      field: "linux.cgroupsPath",
      hint: "leave linux.cgroupsPath and linux.resources away, or use --cgroup-manager disabled: the container stays in your own group then",
    });
  const warnings = refuseAll(config.linux.resources ?? {}, host, strict);
  if (delegated !== undefined) warnings.push(...refuseDelegation(why, strict));
  if (strict && !host.privileged && !isolates(config, "pid")) warnings.push(UNTRACKED);
  return { ...NO_GROUPS, warnings };
}

/** Where no group can be made no controller takes a limit. */
function refuseAll(resources: Resources, host: Host, strict: boolean): string[] {
  const why = whyNoGroups(host);
  const fields = limitedFields(resources, host.kernel, host.cgroups.mode === "v2" ? "requestsV2" : "requestsV1");
  for (const name in resources.unified) fields.push(unifiedField(name));
  if (host.privileged && parseDeviceRules(resources.devices)) fields.push(DEVICES_FIELD);
  const hint = why === READ_ONLY ? REMOUNT : undefined;
  const unmet = fields.map(
    (field) => ({ code: "CGROUP_CONTROLLER_MISSING", field, why, hint, harmless: false }) as const,
  );
  return answerUnmet(unmet, strict);
}

const READ_ONLY = "the control group filesystem is mounted read-only";
const REMOUNT =
  "remount it writable (mount -o remount,rw), or start the container around tupper with --privileged, or with -v /sys/fs/cgroup:/sys/fs/cgroup:rw";

function whyNoGroups({ privileged, cgroups: { mode } }: Host): string {
  if (mode === "none") return "no control group filesystem is mounted";
  if (privileged) return READ_ONLY;
  if (mode === "v2") {
    return "no part of the control group tree is delegated to this user (systemd-run --user --scope gives one)";
  }
  return "this machine has control groups of version 1, and only root can make those (or who is given the directory that linux.cgroupsPath leads to)";
}
