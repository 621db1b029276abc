/** `restore`: a container made of a bundle and of what `checkpoint` has written. Not in the runtime-spec; as runc and crun have it. */
import { ContainerError } from "../error.ts";
import { blockSignals } from "../execute/execute.ts";
import { openOrMake } from "../execute/init/live-mounts.ts";
import { closeWrittenFile, makeParentContext, performParentStep } from "../execute/parent.ts";
import { probeHost } from "../execute/probe.ts";
import { removeCgroups } from "../execute/remove-cgroups.ts";
import { type CriuCall, criuFailure, findCriu, runCriu } from "../execute/run-criu.ts";
import { makeTracer } from "../execute/tracer.ts";
import {
  DESCRIPTORS,
  externalMounts,
  inheritedNamespaces,
  RESTORE_LOG,
  type RestoreFlags,
  restoreArguments,
} from "../plan/criu-arguments.ts";
import { isolates } from "../plan/namespaces.ts";
import { plan as makePlan, stepsOf } from "../plan/plan.ts";
import type { ParentStep } from "../plan/step.ts";
import type { Config } from "../spec/config.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  CLONE_NEWNS,
  MS_BIND,
  MS_REC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  PR_SET_CHILD_SUBREAPER,
} from "../sys/constants.ts";
import { readFile, readFileIfThere, replaceFile, writeFile } from "../sys/files.ts";
import { raw, sys } from "../sys/sys.ts";
import { absolute, type Bundle, loadBundle } from "./bundle.ts";
import { checkTerminal, criuConfigFile, makeDirectory } from "./checkpoint.ts";
import {
  type ContainerRecord,
  claimContainer,
  type Lock,
  loadContainer,
  removeRecord,
  unlock,
  writeInit,
  writeRecord,
} from "./container.ts";
import { deleteContainer, destroy } from "./delete.ts";
import { type CgroupManager, newRecord } from "./launch.ts";
import { runPoststartHooks } from "./start.ts";
import { startTimeOf } from "./start-time.ts";
import { supervise } from "./supervise.ts";
import { openSignals } from "./terminal.ts";

export interface RestoreRequest {
  root: string;
  id: string;
  bundle: string;
  criu?: string;
  /** Paths are absolute. */
  flags: RestoreFlags;
  detach: boolean;
  subreaper: boolean;
  pidFile?: string;
  consoleSocket?: string;
  cgroupManager: CgroupManager;
  warn: (text: string) => void;
}

/**
 * Returns the exit code of the container's first process; 0 at once when it is detached. Throws CRIU_MISSING, RESTORE_IMAGES,
 * RESTORE_FAILED; then nothing is left of it.
 */
export function restoreContainer(request: RestoreRequest): number {
  const { root, id, detach, subreaper, flags, warn } = request;
  const program = findCriu(request.criu);
  const bundle = loadBundle(request.bundle);
  for (const text of bundle.warnings) warn(text);
  check(bundle.config, request);
  const pidFile = request.pidFile === undefined ? undefined : absolute(request.pidFile);
  if (flags.workPath !== undefined) makeDirectory(flags.workPath, "--work-path");
  if (!detach && subreaper) sys.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const lock = claimContainer(root, id);
  const undo: (() => void)[] = [() => removeRecord(lock)];
  let pid: number;
  let signals = -1;
  try {
    blockSignals();
    if (!detach) signals = openSignals();
    const record = makeGroups(request, bundle, lock, undo);
    pid = restoreProcesses(program, bundle.config, record, lock, flags);
    writeInit(lock, pid);
    if (pidFile !== undefined) replaceFile(pidFile, String(pid), 0o644);
  } catch (error) {
    for (const act of undo.reverse()) act();
    throw error;
  }
  runPoststartHooks(loadContainer(root, id), () => destroy(loadContainer(root, id), lock, warn));
  unlock(lock);
  if (detach) return 0;
  const code = supervise({ pid, terminal: undefined }, signals);
  deleteContainer(root, id, true, warn);
  return code;
}

function check(config: Config, { flags, consoleSocket, cgroupManager, warn }: RestoreRequest): void {
  checkTerminal(config, flags.shellJob);
  if (cgroupManager === "systemd")
    throw new ContainerError("CGROUP_MANAGER", "restore makes control groups by itself, not by systemd", {
      field: "--systemd-cgroup",
      hint: "leave it out, and give linux.cgroupsPath as a path",
    });
  if (consoleSocket !== undefined)
    throw new ContainerError(
      "CONSOLE_SOCKET_UNUSED",
      "a restored container gets no new terminal for --console-socket",
      {
        field: "--console-socket",
        hint: "with --shell-job it has the caller's terminal",
      },
    );
  if (readFileIfThere(`${flags.imagePath}/inventory.img`) === undefined)
    throw new ContainerError("RESTORE_IMAGES", `there is no checkpoint in ${flags.imagePath}`, {
      field: "--image-path",
      hint: "`checkpoint --image-path` writes one",
    });
  const { prestart = [], createRuntime = [], createContainer = [] } = config.hooks ?? {};
  if (prestart.length + createRuntime.length + createContainer.length > 0)
    warn("restore runs none of the hooks prestart, createRuntime and createContainer");
}

const GROUP_STEPS: ReadonlySet<ParentStep["op"]> = new Set([
  "recordState",
  "makeCgroup",
  "vacateCgroup",
  "inheritCgroupValue",
  "attachDeviceProgram",
  "delegateCgroup",
  "write",
]);

/** The control groups of the config with their limits, put on record first. */
function makeGroups(request: RestoreRequest, bundle: Bundle, lock: Lock, undo: (() => void)[]): ContainerRecord {
  const { id, warn } = request;
  const { seccomp: _, ...linux } = bundle.config.linux;
  const config: Config = { ...bundle.config, linux };
  const plan = makePlan(config, probeHost(), { id, state: lock.path, bundle: bundle.path, detached: { waits: false } });
  replaceFile(`${lock.path}/config.json`, bundle.configText);
  const record = newRecord(plan, config, { id, bundle, newKeyring: true });
  const context = makeParentContext({
    tracer: makeTracer("off"),
    warn,
    recordState: () => writeRecord(lock, record),
    containerState: () => {
      throw new Error("restore starts no agent");
    },
  });
  undo.push(() => {
    closeWrittenFile(context);
    removeCgroups(context.madeCgroups.reverse(), record.cgroups);
  });
  for (const step of stepsOf(plan, "parent")) {
    if (step.op === "clone") break;
    if (GROUP_STEPS.has(step.op)) performParentStep(step, context);
  }
  closeWrittenFile(context);
  return record;
}

/** Where criu has what it inherits: beyond what it opens itself on the way. */
const INHERITED = 100;

/** The number of the first process. */
function restoreProcesses(
  program: string,
  config: Config,
  record: ContainerRecord,
  lock: Lock,
  flags: RestoreFlags,
): number {
  const root = `${lock.path}/criu-root`;
  const pidFile = `${lock.path}/criu-pid`;
  const descriptors = JSON.parse(readFileIfThere(`${flags.imagePath}/${DESCRIPTORS}`) ?? "[]") as string[];
  const pipes = descriptors.flatMap((key, from) => (key.startsWith("pipe:") ? [{ from, key }] : []));
  const namespaces = inheritedNamespaces(config).map(({ path, key }) => ({
    from: sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0),
    key,
  }));
  const inherited = [...pipes, ...namespaces].map((one, i) => ({ ...one, to: INHERITED + i }));
  sys.mkdirat(AT_FDCWD, root, 0o711);
  const call: CriuCall = {
    program,
    inherited,
    ownStdio: flags.shellJob === true,
    prepare: () => {
      joinGroups(record);
      if (isolates(config, "mount")) mountRoot(config, root);
    },
    arguments: () =>
      restoreArguments(config, flags, {
        root: isolates(config, "mount") ? root : config.root.path,
        pidFile,
        configFile: criuConfigFile(config),
        inherited: inherited.map(({ to, key }) => ({ fd: to, key })),
        cgroups: ownGroups(),
      }),
  };
  try {
    const result = runCriu(call);
    const pid = Number(readFileIfThere(pidFile) ?? "0");
    if (result.code === 0 && pid > 0 && startTimeOf(pid) !== undefined) return pid;
    throw criuFailure("restore", result, { program, log: `${flags.workPath ?? flags.imagePath}/${RESTORE_LOG}` });
  } finally {
    sys.unlinkat(AT_FDCWD, root, AT_REMOVEDIR);
    for (const { from } of namespaces) raw.close(from);
  }
}

/** The process that becomes criu, and all that it makes, is in the container's groups. */
function joinGroups({ cgroups }: ContainerRecord): void {
  for (const { controller, path } of cgroups)
    writeFile(`${path}/${controller === "unified" ? "cgroup.procs" : "tasks"}`, "0");
}

/** `controller` is empty for v2. cgroups(7), "/proc/[pid]/cgroup" */
function ownGroups(): { controller: string; path: string }[] {
  return readFile("/proc/self/cgroup")
    .split("\n")
    .flatMap((line) => {
      const [, , controller, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
      return controller === undefined || path === undefined ? [] : [{ controller, path }];
    });
}

/**
 * criu wants the root as a mount point. It is one in a view of criu's own only: nothing of it is left whatever happens. Places
 * of bind mounts that are missing there are made, as `create` does it.
 */
function mountRoot(config: Config, root: string): void {
  sys.unshare(CLONE_NEWNS);
  sys.mount(null, "/", null, MS_REC | MS_SLAVE, null);
  sys.mount(config.root.path, root, null, MS_BIND | MS_REC, null);
  const top = sys.openat(AT_FDCWD, root, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  const onTmpfs = (path: string) =>
    (config.mounts ?? []).some(({ type, destination }) => type === "tmpfs" && path.startsWith(`${destination}/`));
  for (const { destination, source } of externalMounts(config)) {
    if (onTmpfs(destination)) continue;
    const like = sys.openat(AT_FDCWD, source, O_PATH | O_CLOEXEC, 0);
    raw.close(openOrMake(destination, { like, root: top }));
    raw.close(like);
  }
  raw.close(top);
}

const MS_SLAVE = 0x80000;
