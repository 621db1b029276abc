/** The steps of the parent, each performed by the function of its name. */
import { ContainerError } from "../error.ts";
import { whatIsLeft } from "../explain-failure/clean-up.ts";
import { idMapRefusal } from "../explain-failure/id-map-refusal.ts";
import { explainStep } from "../explain-failure/step.ts";
import type { ParentStep, Slot, Step } from "../plan/step.ts";
import type { IdMapping } from "../spec/config.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MOUNT_ATTR_IDMAP,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  OPEN_TREE_CLONE,
  PR_SET_DUMPABLE,
} from "../sys/constants.ts";
import { readFile, readSmallFile, writeFile, writeOnce } from "../sys/files.ts";
import { packMountAttr } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { requireUnused, vacateCgroup } from "./cgroup-processes.ts";
import { cleanUp } from "./clean-up.ts";
import { setCpuAffinity } from "./cpu-affinity.ts";
import { delegateBelow, delegateCgroup } from "./delegate-cgroup.ts";
import { type GivesUp, whileMortal } from "./give-up.ts";
import { startHelper } from "./helper-program.ts";
import { EPERM, slotValue } from "./init/context.ts";
import { shiftClock } from "./init/namespaces.ts";
import { joinProcess } from "./join-process.ts";
import { withLockedMemory } from "./locked-memory.ts";
import { makeNodes } from "./make-nodes.ts";
import { namespaceFlag, namespaceFlags } from "./namespace-flags.ts";
import { type MovedDevice, moveDevice, openOwnNamespace } from "./net-devices.ts";
import type { Watch } from "./ptrace.ts";
import { removeCgroups } from "./remove-cgroups.ts";
import { requireCgroups } from "./require-cgroups.ts";
import { makeResctrlGroup } from "./resctrl.ts";
import { runHooks, streamsOf } from "./run-hooks.ts";
import type { ContainerState } from "./seccomp-listener.ts";
import { listenAt } from "./start-socket.ts";
import type { Systemd } from "./systemd.ts";
import type { Tracer } from "./tracer.ts";
import { mapOwners, mapText, openIdMap, takeTree } from "./trees.ts";

export interface ExecuteOptions {
  tracer: Tracer | undefined;
  /** Performs `recordState`. */
  recordState: () => void;
  /** Groups that a failed step leaves cannot be removed: only the record tells of them then, and is to be kept. */
  groupsStay?: () => void;
  warn: (text: string) => void;
  /** Descriptors that the plan refers to: the caller's, and those that parent steps make for the init process. */
  slots?: Map<string, number>;
  /** The init process is ready to outlive us: to be put on record, with the master of its terminal. */
  recordCreated?: (pid: number, terminal: number | undefined) => void;
  /** A mount is to be placed in a running container, or, without one, all is done there: to be put on record. */
  recordPlaced?: (mount?: { target: string; mountId: string }) => void;
  /** What ends the set-up of a process that joins a container; else signals wait until it is through. */
  givesUp?: GivesUp;
  /** The init process waits for `start`: `execute` returns then. */
  startsLater?: boolean;
  /** For the agent of a seccomp profile; `pid` is that of the process that starts. */
  containerState: (pid: number) => ContainerState;
  /** Follows what the command does (ptrace.ts): set by `run --diagnose` and `learn` alone. */
  watch?: Watch;
  /** Performs `startScope` and `attachProcess`. */
  systemd?: Systemd;
  /** Hears what the tracer says in the init process, whose number is `pid`. */
  aside?: (text: string, pid: number) => void;
}

/** What parent steps share. */
export interface ParentContext {
  options: ExecuteOptions;
  /** The init process; -1 before the clone. */
  pid: number;
  /** Trees taken for the init process, by slot name: they go to it with the answer to `map`. */
  trees: Map<string, number>;
  /** Trees that the init process inherits, for its slots: ours keep what is mounted there busy. */
  inherited: number[];
  /** Groups made so far, to be removed when a later step fails. */
  madeCgroups: string[];
  /** The unit of systemd that was asked for, to be stopped when a later step fails. */
  unit?: string;
  /** Network devices given to the container so far, to be taken back when a later step fails. */
  movedDevices: MovedDevice[];
  /** The file that the last `write` went to: device rules are many writes to one file. */
  written: { path: string; fd: number } | undefined;
}

export const makeParentContext = (options: ExecuteOptions): ParentContext => ({
  options,
  pid: -1,
  trees: new Map(),
  inherited: [],
  madeCgroups: [],
  movedDevices: [],
  written: undefined,
});

type PlainStep = Exclude<ParentStep, { op: "clone" }>;
type Performers = { [Op in PlainStep["op"]]: (step: Extract<PlainStep, { op: Op }>, context: ParentContext) => void };

/** Performs one step. Throws a {@link ContainerError} that names it. */
export function performParentStep(step: ParentStep, context: ParentContext): void {
  if (step.op === "clone") throw new Error("clone is performed by execute");
  const perform = performers[step.op] as (step: Step, context: ParentContext) => void;
  try {
    const { tracer } = context.options;
    if (tracer === undefined) perform(step, context);
    else tracer.step(step, () => perform(step, context));
  } catch (error) {
    throw explainStep(step, error);
  }
}

/** What makes control groups: before the clone, or where systemd does it, when there is a process. */
export const GROUP_STEPS: ReadonlySet<ParentStep["op"]> = new Set([
  "startScope",
  "makeCgroup",
  "attachProcess",
  "moveProcess",
  "inheritCgroupValue",
  "attachDeviceProgram",
  "delegateCgroup",
  "write",
]);

/** Takes back what these steps have made, after this error. */
export function undoGroups(
  { unit, options: { systemd, warn, groupsStay }, madeCgroups }: ParentContext,
  error: unknown,
): void {
  if (unit !== undefined && systemd !== undefined) {
    const isStuck = error instanceof ContainerError && error.code === "SYSTEMD_SLOW";
    if (isStuck) systemd.abandon(unit);
    else stopUnit(systemd, unit, warn);
  }
  const left = () => whatIsLeft(madeCgroups);
  if (!cleanUp("remove the control groups again", () => removeCgroups(madeCgroups.reverse()), left, warn))
    groupsStay?.();
}

/** Ends a unit; that it cannot be ended is a warning, because what it was made for has ended. */
export function stopUnit(systemd: Systemd, unit: string, warn: (text: string) => void): void {
  try {
    systemd.stop(unit);
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    warn(error.message);
  }
}

/** To be called after the last `write`. */
export function closeWrittenFile(context: ParentContext): void {
  if (context.written !== undefined) raw.close(context.written.fd);
  context.written = undefined;
}

const EEXIST = -17;
const ENOENT = -2;
const ENOSYS = -38;

const NOT_MAPPED =
  "files that belong to root belong to nobody in the container: to show them as its root's needs mount_setattr (Linux 5.12)";

const performers: Performers = {
  recordState(_step, { options }) {
    options.recordState();
  },

  makeCgroup({ path, mayExist, unused }, { madeCgroups }) {
    let made = raw.mkdirat(AT_FDCWD, path, 0o755);
    if (made === ENOENT) {
      requireCgroups(); // else they would be plain directories
      makeParents(path);
      made = raw.mkdirat(AT_FDCWD, path, 0o755);
    }
    if (made === EEXIST && mayExist) {
      if (unused) requireUnused(path);
      return;
    }
    check(made, "mkdirat", path, 0o755);
    madeCgroups.push(path);
  },

  vacateCgroup({ path, into }) {
    vacateCgroup(path, into);
  },

  inheritCgroupValue({ path }) {
    const read = (file: string) => (readSmallFile(file) ?? readFile(file)).trim();
    if (read(path) !== "") return;
    const at = path.lastIndexOf("/");
    const above = path.slice(0, path.lastIndexOf("/", at - 1));
    writeFile(path, read(`${above}${path.slice(at)}`));
  },

  startScope({ unit, properties, path }, context) {
    const { systemd } = context.options;
    if (systemd === undefined) throw new Error("the plan has a scope, but nobody speaks to systemd");
    try {
      systemd.startScope(unit, properties, context.pid);
    } catch (error) {
      // One that was refused is not there, or is somebody else's.
      if (!(error instanceof ContainerError && error.code === "SYSTEMD_REFUSED")) context.unit = unit;
      throw error;
    }
    context.unit = unit;
    if (raw.faccessat(AT_FDCWD, path, 0) >= 0) return;
    throw new ContainerError("SYSTEMD_ELSEWHERE", `systemd made ${unit}, but not as ${path}`, {
      hint: "the control groups in sight here are not those of systemd: mount them as it has them",
    });
  },

  attachProcess({ unit, below }, { pid, options: { systemd } }) {
    if (systemd === undefined) throw new Error("the plan has a unit, but nobody speaks to systemd");
    systemd.attach(unit, below, pid);
  },

  moveProcess({ path }, { pid }) {
    writeFile(`${path}/cgroup.procs`, String(pid));
  },

  attachDeviceProgram({ path, program }) {
    const cgroup = sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    const attach = () => raw.attachDeviceProgram(cgroup, program.slice().buffer);
    const result = attach();
    const again = result === EPERM ? withLockedMemory(attach) : result;
    raw.close(cgroup);
    check(again, "bpf", "BPF_CGROUP_DEVICE", path);
  },

  delegateCgroup({ path, uid }) {
    delegateCgroup(path, uid);
  },

  delegateBelow(step, { pid }) {
    delegateBelow(step, pid);
  },

  write({ path, value, otherwise, ifPossible }, context) {
    if (context.written?.path !== path) {
      closeWrittenFile(context);
      const fd = raw.openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
      if (fd === ENOENT && otherwise !== undefined) return writeFile(otherwise.path, otherwise.value);
      if (fd === ENOENT && ifPossible !== undefined) return;
      context.written = { path, fd: check(fd, "openat", path, "O_WRONLY") };
    }
    const written = writeOnce(context.written.fd, value);
    if (ifPossible !== "refused") check(written, "write", path, value);
  },

  listenForStart({ path, socket }, { options }) {
    options.slots ??= new Map();
    options.slots.set(socket.slot, listenAt(path));
  },

  runHooks({ kind, hooks, state, output }, { pid, options: { slots } }) {
    runHooks(kind, hooks, state, pid, { streams: streamsOf(output, slots) });
  },

  setCpuAffinity({ cpus }) {
    setCpuAffinity(cpus);
  },

  makeResctrlGroup(step, { madeCgroups }) {
    makeResctrlGroup(step, madeCgroups);
  },

  moveNetDevice({ path, ...device }, { pid, movedDevices }) {
    const namespace = sys.openat(AT_FDCWD, path ?? `/proc/${pid}/ns/net`, O_RDONLY | O_CLOEXEC, 0);
    const home = openOwnNamespace();
    try {
      moveDevice(device, home, namespace, (moved) => movedDevices.push(moved));
    } finally {
      raw.close(home);
      if (movedDevices.at(-1)?.namespace !== namespace) raw.close(namespace);
    }
  },

  setOomScore({ score, mayStay }) {
    try {
      writeFile("/proc/self/oom_score_adj", String(score));
    } catch (error) {
      if (!mayStay || !(error instanceof SysError) || error.code !== "EACCES") throw error;
    }
  },

  refuseTracing() {
    sys.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  },

  unshare({ namespaces }) {
    sys.unshare(namespaceFlags(namespaces));
  },

  timeOffset({ clock, secs, nanosecs }) {
    shiftClock(clock, secs, nanosecs);
  },

  joinNamespace({ type, path }) {
    const fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    sys.setns(fd, namespaceFlag(type));
    raw.close(fd);
  },

  joinProcess({ process, namespaces }, { options }) {
    joinProcess(slotValue(options.slots ?? new Map(), process), namespaces);
  },

  takeMappedTree({ source, tree }, { pid, trees, options }) {
    const fd = whileMortal(() => sys.openTree(AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC));
    const namespace = sys.openat(AT_FDCWD, `/proc/${pid}/ns/user`, O_RDONLY | O_CLOEXEC, 0);
    const attr = packMountAttr({ set: MOUNT_ATTR_IDMAP, usernsFd: namespace });
    const result = raw.mountSetattr(fd, "", AT_EMPTY_PATH, attr);
    raw.close(namespace);
    if (result === ENOSYS) options.warn(NOT_MAPPED);
    else check(result, "mount_setattr", source, "MOUNT_ATTR_IDMAP");
    trees.set(tree.slot, fd);
  },

  makeNodes(step, context) {
    makeNodes(step, (slot, tree) => leaveToInit(slot, tree, context));
  },

  takeIdMappedTree(step, context) {
    const namespace = openIdMap(step);
    const tree = whileMortal(() => takeTree(step));
    mapOwners(tree, namespace, { source: step.source }, step.all);
    raw.close(namespace);
    leaveToInit(step.tree, tree, context);
  },

  mapIds({ uidMappings, gidMappings, helper, denySetgroups }, { pid }) {
    if (helper) return mapByHelper(pid, uidMappings, gidMappings);
    // Without CAP_SETGID in the parent namespace the kernel answers EPERM to gid_map until "deny" stands in setgroups.
    // user_namespaces(7), since Linux 3.19.
    if (denySetgroups) writeFile(`/proc/${pid}/setgroups`, "deny");
    writeFile(`/proc/${pid}/uid_map`, mapText(uidMappings));
    writeFile(`/proc/${pid}/gid_map`, mapText(gidMappings));
  },
};

function leaveToInit({ slot }: Slot, tree: number, { options, inherited }: ParentContext): void {
  options.slots ??= new Map();
  options.slots.set(slot, tree);
  inherited.push(tree);
}

/** Ranges of /etc/subuid may be mapped by the set-user-id programs newuidmap(1) and newgidmap(1) only. */
function mapByHelper(pid: number, uidMappings: readonly IdMapping[], gidMappings: readonly IdMapping[]): void {
  // Both at once: each of them costs about as much as the rest of the set-up.
  const started = (
    [
      ["newuidmap", uidMappings],
      ["newgidmap", gidMappings],
    ] as const
  ).map(([program, mappings]) => {
    const args = mappings.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]);
    return { program, mappings, end: startHelper([program, ...[pid, ...args].map(String)]) };
  });
  const ended = started.map(({ end, ...helper }) => ({ ...helper, ...end() }));
  const failed = ended.find(({ code }) => code !== 0);
  if (failed !== undefined) throw idMapRefusal(failed.program, failed.mappings, failed);
}

/** The directories above a path. */
function makeParents(path: string): void {
  const above = path.slice(0, path.lastIndexOf("/"));
  const made = raw.mkdirat(AT_FDCWD, above, 0o755);
  if (made >= 0 || made === EEXIST) return;
  if (made !== ENOENT || above === "") throw new SysError("mkdirat", -made, [above, 0o755]);
  makeParents(above);
  const again = raw.mkdirat(AT_FDCWD, above, 0o755);
  if (again !== EEXIST) check(again, "mkdirat", above, 0o755); // another container's parent may have been faster
}
