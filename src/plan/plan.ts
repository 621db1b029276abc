/**
 * `plan(config, host)`: an OCI config and what the machine offers become a list of steps. Pure.
 *
 * The order of the init steps is the kernel's, not taste:
 *   control groups are joined while the process still has the caller's credentials; a user namespace needs its maps
 *   before anything else works in it; bind sources are taken before pivot_root, while they can be seen; filesystems
 *   are mounted after it and after the old root is gone, so that no path of the rootfs can lead outside (CVE-2021-30465);
 *   in a user namespace proc and sysfs are made before, while whole ones are in sight, and placed after; masks come after
 *   sysctls, which write where masks forbid; credentials go last, and seccomp where no_new_privs lets it.
 */
import { ContainerError } from "../error.ts";
import { ANNOTATION, type Config } from "../spec/config.ts";
import { planCgroups } from "./cgroup/groups.ts";
import type { SystemdTarget } from "./cgroup/systemd.ts";
import { planDevices } from "./devices.ts";
import { hookOutput, hookState, hooksInside, planHooks } from "./hooks.ts";
import type { Host } from "./host.ts";
import { planLabels } from "./labels.ts";
import { planMounts } from "./mounts.ts";
import { isNew, planNamespaces, sharesMounts } from "./namespaces.ts";
import { planIdentity, planPrivileges, planTerminal } from "./process.ts";
import { planRootPropagation } from "./propagation.ts";
import { planResctrl } from "./resctrl.ts";
import { enterCover, enterRoot, planRootfs } from "./rootfs.ts";
import { planEveryCpu, planOomScore, UNTRACEABLE } from "./scheduling.ts";
import type { SeccompFilter } from "./seccomp/profile-program.ts";
import type { InitStep, ParentStep, Plan, Slot, Step } from "./step.ts";

export interface PlanOptions {
  id: string;
  /** The container's state directory; `<host.stateRoot>/<id>` when unset. */
  state?: string;
  /** The directory that the config came from: hooks are told of it. */
  bundle?: string;
  /**
   * Whether the container lives on when its creator ends, as the OCI runtime's do: then it is put on record before it may.
   * `waits`: the command starts when `start` says so (create and start); otherwise at once (run).
   */
  detached?: { waits: boolean };
  /** `disabled`: no control groups; a target: systemd makes them. */
  cgroupManager?: "cgroupfs" | "disabled" | SystemdTarget;
  /** Whether the container gets a session keyring of its own (`--no-new-keyring` of the OCI runtime). */
  newKeyring?: boolean;
  /** Whether the container may run on all processors of its group, whatever those of the caller are. */
  everyCpu?: boolean;
  /** How many descriptors from 3 up the command keeps. */
  preservedFds?: number;
  /** Whether output of its terminal goes to something that is none, and lines end with \n alone. */
  plainNewlines?: boolean;
  /** What the profile of the config becomes, where the caller has it already. */
  filter?: SeccompFilter;
  /** The root is entered by MS_MOVE and chroot(2), for machines whose own root pivot_root refuses. */
  noPivot?: boolean;
}

/** Throws a {@link ContainerError} when the config asks for what cannot go together. */
export function plan(config: Config, host: Host, options: PlanOptions): Plan {
  const { id, state = `${host.stateRoot}/${id}`, bundle = "", detached, newKeyring = true } = options;
  const { everyCpu = false, preservedFds = 0, noPivot = false, plainNewlines = false } = options;
  const cgroups = planCgroups(config, host, id, {
    ...(options.cgroupManager === undefined ? {} : { manager: options.cgroupManager }),
    strict: detached !== undefined,
  });
  const namespaces = planNamespaces(config, host, cgroups.join.length > 0);
  if (noPivot && /private$/.test(config.linux.rootfsPropagation ?? ""))
    throw new ContainerError("NO_PIVOT_PRIVATE", "a private root is not safe without pivot_root", {
      field: "linux.rootfsPropagation",
      hint: "leave --no-pivot away, or make it a slave",
    });
  const shared = sharesMounts(config);
  const ownView = shared || isNew(config, "mount");
  // The sources of `tupper run` are always the machine's.
  const ofBundle = config.annotations?.[ANNOTATION.rootKind] === undefined ? bundle : undefined;
  const enter = ofBundle === undefined ? {} : { enter: enterCover(noPivot) };
  const mounts = ownView ? planMounts(config, host, cgroups.groups, { bundle: ofBundle, ...enter }) : undefined;
  const inSight = namespaces.before.some(
    (step) => step.op === "joinNamespace" && (step.type === "user" || step.type === "pid"),
  );
  const devices = ownView ? planDevices(config, host) : undefined;
  const resctrl = planResctrl(config, host, id);
  const cpus = planEveryCpu(config, host, { wanted: everyCpu, born: cgroups.into !== undefined });
  const labels = planLabels(config);

  const before: ParentStep[] = [
    {
      op: "recordState",
      by: "parent",
      path: state,
      because: "the next command must find and clean up what a crash leaves behind",
    },
    ...(detached?.waits ? [listenForStart(state)] : []),
    ...cgroups.create,
    ...(mounts?.before ?? []),
    ...(devices?.before ?? []),
    ...resctrl.create,
    ...cpus.parent,
    ...(inSight ? [...planOomScore(config, "parent"), UNTRACEABLE] : []),
    ...namespaces.before,
    {
      op: "clone",
      by: "parent",
      namespaces: namespaces.cloned,
      ...(cgroups.into === undefined ? {} : { cgroup: cgroups.into }),
      pid: { slot: "init.pid" },
      sharedMemory: namespaces.sharedMemory,
      field: "linux.namespaces",
      because: "the process that becomes the container, born inside its new namespaces",
    },
    ...cgroups.afterClone,
    ...namespaces.afterClone,
  ];

  const init: InitStep[] = [
    {
      op: "parentDeathSignal",
      by: "init",
      signal: "SIGKILL",
      because:
        detached === undefined
          ? "a container in the foreground must not outlive the command that runs it"
          : "until it is on record, what is made must not outlive its maker",
    },
    {
      op: "setUmask",
      by: "init",
      mask: 0,
      because: "directories and devices get exactly the modes that the plan says",
    },
    ...(inSight ? [] : planOomScore(config, "init")),
    ...cgroups.join,
    ...cpus.init,
    ...resctrl.join,
    ...labels.take,
    ...(mounts !== undefined && !shared && isNew(config, "user") && host.uid === 0
      ? mounts.take.flatMap(asMachineRoot)
      : []),
    ...namespaces.inside,
    ...cgroups.leave,
  ];
  if (mounts !== undefined && devices !== undefined) {
    const rootfs = planRootfs(config, host, state, mounts.apart);
    const hooks = planHooks(config, hookState(config, id, bundle), { noPivot, shared });
    before.push(...rootfs.afterClone, ...hooks.byParent);
    // What is taken keeps its ties to the machine's mounts, so it is taken before those ties are cut.
    init.push(
      ...hooks.first,
      ...rootfs.take,
      ...mounts.take,
      rootfs.cutTies,
      ...hooks.setAside,
      ...rootfs.prepare,
      ...devices.take,
      ...enterRoot(rootfs.root, noPivot),
      ...mounts.place,
      ...devices.place,
      ...planTerminal(config, plainNewlines),
      ...mounts.seal,
      ...planProtection(config),
      // Hooks of create write into the root, as ldconfig does; without a place in a mount namespace it is out of their reach.
      ...(shared ? planReadonlyRoot(config) : []),
      ...hooks.beforeEntering,
      // A tree that is mounted nowhere has nobody to spread to.
      ...(shared ? [] : [...planReadonlyRoot(config), ...planRootPropagation(config)]),
    );
  }
  init.push(...planIdentity(config, ownView, { id, newKeyring, labels: labels.set }));
  if (detached !== undefined) init.push(...planHandover(config, detached, preservedFds));
  init.push(
    ...planPrivileges(config, host, {
      diesWithParent: detached === undefined,
      ...(options.filter === undefined ? {} : { filter: options.filter }),
      lastHooks: hooksInside(config, "startContainer", hookState(config, id, bundle)),
      preservedFds,
    }),
  );

  return {
    id,
    steps: [...before, ...init],
    cleanup: { cgroups: [...cgroups.cleanup, ...resctrl.cleanup], state },
    warnings: [...cgroups.warnings, ...(mounts?.warnings ?? [])],
  };
}

/** Until the ids change, the process owns what the machine's root owns: a source below a directory that is closed to others. */
function asMachineRoot(step: InitStep): InitStep[] {
  if (step.op !== "takeTree") return [];
  return [{ ...step, ifReachable: true, because: "the container's root may not reach the source; the machine's may" }];
}

/** The socket that the init process of a created container waits on. */
export const START: Slot = { slot: "start" };

function listenForStart(state: string): ParentStep {
  return {
    op: "listenForStart",
    by: "parent",
    path: `${state}/start`,
    socket: START,
    because: "the command starts when `start` says so, and tells it what goes wrong then",
  };
}

/** The end of `create`: what can be known to fail fails now, and the container becomes nobody's child. */
function planHandover(config: Config, { waits }: { waits: boolean }, preservedFds: number): InitStep[] {
  const { process } = config;
  const steps: InitStep[] = [];
  const keeps = (config.hooks?.startContainer ?? []).length === 0 ? [] : Object.values<Slot>({ ...hookOutput(config) });
  if (process.args.length > 0)
    steps.push({
      op: "findCommand",
      by: "init",
      args: process.args,
      env: process.env ?? [],
      cwd: process.cwd,
      field: "process.args",
      because: "a command that is not there is an error of create, not of start",
    });
  steps.push({
    op: "reportCreated",
    by: "init",
    because: "from here on the container is on record and lives on without the process that made it",
  });
  if (waits)
    steps.push({
      op: "waitForStart",
      by: "init",
      socket: START,
      preservedFds,
      ...(keeps.length === 0 ? {} : { keeps }),
      because: "create makes the container, start runs the command",
    });
  return steps;
}

/** What is hidden or made read-only in the finished view. */
function planProtection({ linux }: Config): InitStep[] {
  const steps: InitStep[] = [];
  const masked = new Set<string>();
  for (const [i, path] of (linux.maskedPaths ?? []).entries()) {
    if (masked.has(path)) continue;
    masked.add(path);
    steps.push({
      op: "mask",
      by: "init",
      path,
      field: `linux.maskedPaths[${i}]`,
      because: "it shows or changes the machine, not the container, and no namespace hides it",
    });
  }
  for (const [i, path] of (linux.readonlyPaths ?? []).entries()) {
    steps.push({
      op: "makeReadonly",
      by: "init",
      path,
      field: `linux.readonlyPaths[${i}]`,
      because: "writing there configures the machine's kernel",
    });
  }
  return steps;
}

function planReadonlyRoot({ process, root }: Config): InitStep[] {
  if (!root.readonly) return [];
  const steps: InitStep[] = [];
  if (process.cwd !== "/")
    steps.push({
      op: "makeDirectory",
      by: "init",
      path: process.cwd,
      mode: 0o755,
      ifMissing: true,
      field: "process.cwd",
      because: "the command starts here",
    });
  steps.push({
    op: "setMountFlags",
    by: "init",
    target: "/",
    flags: ["ro"],
    recursive: false,
    field: "root.readonly",
    because: "the config wants a root that cannot be written",
  });
  return steps;
}

/** The steps of one performer, in order. */
export function stepsOf<By extends Step["by"]>(plan: Plan, by: By): Extract<Step, { by: By }>[] {
  const steps: Extract<Step, { by: By }>[] = [];
  // Narrowed by hand: a predicate is a call for each of what may be thousands.
  for (const step of plan.steps) if (step.by === by) steps.push(step as Extract<Step, { by: By }>);
  return steps;
}
