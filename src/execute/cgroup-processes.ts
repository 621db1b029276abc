/**
 * The processes in a container's control groups: who they are, and their end. cgroups(7); cgroup-v2.rst, "cgroup.kill";
 * freezer-subsystem.rst.
 *
 * Every function takes the groups as they are on record: `controller` is a v1 hierarchy's controllers or `unified`.
 */
import { ContainerError } from "../error.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY, O_WRONLY } from "../sys/constants.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { type Freezer, freeze, freezerGroup, isFrozen, mayHoldFrozen, thawTree } from "./freezer.ts";
import { walkGroups } from "./groups-below.ts";
import { requireCgroups } from "./require-cgroups.ts";

export interface ControlGroup {
  controller: string;
  path: string;
}

const ENOENT = -2;
const ESRCH = -3;
const EEXIST = -17;
const ENODEV = -19;
const EOPNOTSUPP = -95;
/** PID 1 of our own PID namespace is not the container's, even where somebody put it into the container's group. */
const INIT = 1;

/** The container's group in the hierarchy of this controller: the last one of its kind, the others lie above it. */
export function groupOf(groups: readonly ControlGroup[], controller: string): string | undefined {
  return groups.findLast(({ controller: names }) => names.split(",").includes(controller))?.path;
}

/** Every process in the container's groups and in those below, in ascending order. */
export function cgroupProcesses(groups: readonly ControlGroup[]): number[] {
  const path = countingGroup(groups);
  if (path !== undefined && raw.faccessat(AT_FDCWD, path, 0) === ENOENT) requireCgroups();
  return path === undefined ? [] : [...new Set(processesBelow(path))].sort((a, b) => a - b);
}

/**
 * One group that has all of them: any would do, but processes leave some of v1's (a container's systemd moves them in its
 * own hierarchy, below ours).
 */
const countingGroup = (groups: readonly ControlGroup[]): string | undefined =>
  ["unified", "freezer", "pids", "devices", "memory"].map((name) => groupOf(groups, name)).find((path) => path) ??
  groups.at(-1)?.path;

function processesBelow(path: string): number[] {
  const pids: number[] = [];
  walkGroups(path, (group) => {
    for (const pid of readPids("cgroup.procs", group)) pids.push(pid);
  });
  return pids;
}

/** Empty for a group that is gone. A threaded group has its processes in cgroup.threads only. */
function readPids(path: string, directory = AT_FDCWD): number[] {
  const fd = raw.openat(directory, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd === ENOENT || fd === ENODEV) return [];
  check(fd, "openat", path);
  const text = raw.readText(fd);
  raw.close(fd);
  if (text === EOPNOTSUPP && path.endsWith("cgroup.procs"))
    return readPids(path.replace(/procs$/, "threads"), directory);
  if (text === ENODEV) return [];
  if (typeof text === "number") throw new SysError("read", -text, [path]);
  // 0 is a process that this PID namespace does not show.
  return text
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0);
}

/** A signal to every process of the container. Returns how many got it. */
export function signalProcesses(groups: readonly ControlGroup[], signal: number): number {
  let reached = 0;
  for (const pid of cgroupProcesses(groups)) {
    if (pid <= INIT) continue;
    const result = raw.kill(pid, signal);
    if (result === ESRCH) continue;
    check(result, "kill", pid, signal);
    reached++;
  }
  return reached;
}

const SIGKILL = 9;
/** How often processes are looked for: a fork bomb that no freezer stops makes new ones meanwhile. */
const ROUNDS = 100;

/**
 * Kills every process of the container, also those that fork meanwhile, and those that are frozen, here or in a group below. On
 * v2 the kernel does it at once (cgroup.kill, Linux 5.14). On v1, and on older kernels, the group is frozen, all get SIGKILL,
 * and it is thawed: frozen processes do not fork, nor do they freeze others again. They are dead, but perhaps not gone, when
 * this returns.
 */
export function killProcesses(groups: readonly ControlGroup[]): void {
  const unified = groupOf(groups, "unified");
  const killed = unified !== undefined && killGroup(unified);
  const freezer = freezerGroup(groups);
  // On a hybrid machine the v1 freezer may hold them: a frozen process of v1 does not die before it is thawed.
  if (killed && !holdsDying(freezer)) return;
  for (let round = 0; round < ROUNDS && (killed || cgroupProcesses(groups).length > 0); round++) {
    if (freezer !== undefined) tryFreeze(freezer);
    if (!killed) signalProcesses(groups, SIGKILL);
    if (freezer === undefined) continue;
    thawTree(freezer);
    return;
  }
}

/**
 * After SIGKILL to the first process of a PID namespace, with which all others are killed: lets those die that are frozen on v1,
 * wherever the container froze them. v2 lets them die.
 */
export function letFrozenDie(groups: readonly ControlGroup[]): void {
  if (holdsDying(freezerGroup(groups))) killProcesses(groups);
}

const holdsDying = (freezer: Freezer | undefined): boolean => freezer?.version === 1 && mayHoldFrozen(freezer);

/** A group that does not freeze in time has been thawed again; killing goes on all the same. */
function tryFreeze(frozen: Freezer): void {
  try {
    freeze(frozen);
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
  }
}

/** The same for one group whose place among the container's is not known. */
export function killProcessesIn(path: string): void {
  if (killGroup(path)) return;
  for (const pid of processesBelow(path)) if (pid > INIT) raw.kill(pid, SIGKILL);
}

function killGroup(path: string): boolean {
  const fd = raw.openat(AT_FDCWD, `${path}/cgroup.kill`, O_WRONLY | O_CLOEXEC, 0);
  if (fd === ENOENT) return false;
  check(fd, "openat", `${path}/cgroup.kill`);
  const result = raw.write(fd, "1");
  raw.close(fd);
  // A threaded group is killed with the group above it only.
  if (result === EOPNOTSUPP) return false;
  // systemd, or whoever else, has removed it since it was opened.
  if (result !== ENODEV && result !== ENOENT) check(result, "write", `${path}/cgroup.kill`, "1");
  return true;
}

/**
 * Moves every process of a v2 group into a group below it, which is made; those too that are started meanwhile. Processes that
 * this PID namespace does not show stay. Throws {@link SysError}.
 */
export function vacateCgroup(path: string, into: string): void {
  const made = raw.mkdirat(AT_FDCWD, into, 0o755);
  if (made !== EEXIST) check(made, "mkdirat", into, 0o755);
  const fd = sys.openat(AT_FDCWD, `${into}/cgroup.procs`, O_WRONLY | O_CLOEXEC, 0);
  for (let round = 0; round < ROUNDS; round++) {
    const pids = readPids(`${path}/cgroup.procs`);
    if (pids.length === 0) break;
    for (const pid of pids) {
      const result = raw.write(fd, String(pid));
      if (result !== ESRCH) check(result, "write", `${into}/cgroup.procs`, pid);
    }
  }
  raw.close(fd);
}

/**
 * For a new container whose group is there already: what is in it would share the container's limits and its end, and a
 * frozen group would hold its first process for ever. Throws a {@link ContainerError}.
 */
export function requireUnused(path: string): void {
  const [pid] = processesBelow(path);
  if (pid !== undefined) {
    throw new ContainerError("CGROUP_IN_USE", `the container's cgroup is not empty: process ${pid} is in ${path}`, {
      field: "linux.cgroupsPath",
      hint: "name a group of the container's own",
    });
  }
  if (!isFrozen(path)) return;
  throw new ContainerError("CGROUP_FROZEN", `the container's cgroup unexpectedly frozen: ${path}`, {
    field: "linux.cgroupsPath",
    hint: "thaw it, or name another",
  });
}
