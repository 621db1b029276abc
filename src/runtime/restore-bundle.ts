/** A bundle becomes a container again: its control groups are made, and in them criu brings its processes back. */
import { ContainerError } from "../error.ts";
import type { Streams } from "../execute/captured-program.ts";
import { INHERITED, requestCriu } from "../execute/criu.ts";
import { mountCriuRoot } from "../execute/criu-root.ts";
import type { Notification } from "../execute/criu-rpc.ts";
import type { Started } from "../execute/execute.ts";
import { endInit } from "../execute/give-up.ts";
import { closeWrittenFile, GROUP_STEPS, makeParentContext, performParentStep, undoGroups } from "../execute/parent.ts";
import { probeHost } from "../execute/probe.ts";
import { runHooks } from "../execute/run-hooks.ts";
import type { Systemd } from "../execute/systemd.ts";
import {
  boundGroups,
  type CriuOptions,
  DESCRIPTORS,
  type ExternalMount,
  inheritedNamespaces,
  isBind,
  type RestoreFlags,
  restoreOptions,
} from "../plan/criu-options.ts";
import { hookState } from "../plan/hooks.ts";
import { isolates } from "../plan/namespaces.ts";
import { plan as makePlan, stepsOf } from "../plan/plan.ts";
import type { HookState, ParentStep } from "../plan/step.ts";
import type { Config } from "../spec/config.ts";
import { AT_FDCWD, AT_REMOVEDIR, O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { readFile, readFileIfThere, replaceFile, writeFile } from "../sys/files.ts";
import { raw, sys } from "../sys/sys.ts";
import type { Bundle } from "./bundle.ts";
import { bindsOf, criuConfigFile } from "./checkpoint.ts";
import { sendToConsoleSocket } from "./console-socket.ts";
import { type Container, type ContainerRecord, type Lock, writeInit, writeRecord } from "./container.ts";
import { closeStreams, openHookFiles } from "./hook-files.ts";
import { newRecord } from "./launch.ts";
import { offerNotify } from "./notify.ts";
import { systemdTarget } from "./systemd.ts";

interface Restore {
  id: string;
  /** criu. */
  program: string;
  bundle: Bundle;
  lock: Lock;
  flags: RestoreFlags;
  /** The socket that gets the master of the container's terminal. Absolute. */
  consoleSocket: string | undefined;
  /** Who makes control groups. */
  manager: Systemd | "cgroupfs" | "disabled";
  /** To be called when groups stay that the record must name. */
  keepRecord: () => void;
  warn: (text: string) => void;
}

/** Its processes run when this returns. Throws RESTORE_FAILED and others; then nothing is left but the record. */
export function restoreBundle(restore: Restore): Started & { container: Container } {
  const { id, bundle, lock, manager, warn } = restore;
  const { seccomp: _, ...linux } = bundle.config.linux;
  const config: Config = { ...bundle.config, linux };
  const notify = offerNotify(config, lock.path);
  const host = probeHost();
  const plan = makePlan(config, host, {
    id,
    state: lock.path,
    bundle: bundle.path,
    detached: { waits: false },
    cgroupManager: typeof manager === "string" ? manager : systemdTarget(manager, host),
  });
  replaceFile(`${lock.path}/config.json`, bundle.configText);
  // Hooks start in the bundle.
  sys.chdir(bundle.path);
  const { streams, files: hookFiles } = openHookFiles(config);
  const record = newRecord(plan, config, { id, bundle, newKeyring: true, notify, hookFiles });
  const state = hookState(config, id, bundle.path);
  const context = makeParentContext({
    tracer: undefined,
    warn,
    ...(typeof manager === "string" ? {} : { systemd: manager }),
    recordState: () => writeRecord(lock, record),
    groupsStay: restore.keepRecord,
    containerState: () => {
      throw new Error("restore starts no agent");
    },
  });
  const steps = stepsOf(plan, "parent").filter(({ op }) => op === "clone" || RESTORE_STEPS.has(op));
  const cloned = steps.findIndex(({ op }) => op === "clone");
  const perform = (some: readonly ParentStep[]) => {
    for (const step of some) performParentStep(step, context);
    closeWrittenFile(context);
  };
  let begun = 0;
  let restored: Started | undefined;
  try {
    perform(steps.slice(0, cloned));
    restored = restoreProcesses(
      restore,
      config,
      { state, streams },
      {
        shown: boundGroups(plan.steps, config),
        begun: (pid) => {
          begun = pid;
        },
        place: (pid) => {
          context.pid = pid;
          perform(steps.slice(cloned + 1));
          joinGroups(record, pid);
        },
      },
    );
    begun = restored.pid;
    const init = writeInit(lock, restored.pid);
    context.pid = restored.pid;
    perform(stepsOf(plan, "parent").filter(({ op }) => op === "delegateBelow"));
    if (!isolates(config, "time") && isElsewhere("time", restored.pid)) {
      record.timeNamespace = true;
      writeRecord(lock, record);
    }
    return { ...restored, container: { path: lock.path, record, text: "", init } };
  } catch (error) {
    // Without control groups nothing else would end it, where CRIU was killed for one.
    if (begun > 0) endInit(begun, undefined);
    closeWrittenFile(context);
    undoGroups(context, error);
    runHooks("poststop", record.poststop ?? [], state, 0, {
      streams,
      onFailure: (failure) => warn(failure.message),
    });
    throw error;
  } finally {
    closeStreams(streams);
  }
}

/** criu makes a time namespace where the kernel can (5.6), so that clocks go on from where they were. */
const isElsewhere = (namespace: string, pid: number): boolean =>
  raw.readlinkText(AT_FDCWD, `/proc/${pid}/ns/${namespace}`) !==
  raw.readlinkText(AT_FDCWD, `/proc/self/ns/${namespace}`);

/** Those of the parent; what init does and its mounts, criu does. */
const RESTORE_STEPS: ReadonlySet<ParentStep["op"]> = new Set([...GROUP_STEPS, "recordState", "vacateCgroup"]);

interface Groups {
  /** Where the container sees them. */
  shown: readonly ExternalMount[];
  /** Puts a process there. */
  place: (pid: number) => void;
  /** There is this process by now, which CRIU has made. */
  begun: (pid: number) => void;
}

function restoreProcesses(
  { program, bundle, lock, flags, consoleSocket }: Restore,
  config: Config,
  ofHooks: { state: HookState; streams: Streams },
  groups: Groups,
): Started {
  const { imagePath, workPath } = flags;
  const root = `${lock.path}/criu-root`;
  const ownView = isolates(config, "mount");
  const binds = bindsOf(config, bundle.path);
  const namespaces = inheritedNamespaces(config).map(({ path, key }) => ({
    from: sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0),
    key,
  }));
  const inherited = [...pipesOf(imagePath), ...namespaces].map((one, i) => ({ ...one, to: INHERITED + i }));
  let terminal: number | undefined;
  sys.mkdirat(AT_FDCWD, root, 0o711);
  try {
    const pid = requestCriu(
      {
        program,
        inherited,
        ownStdio: flags.shellJob === true,
        prepare: () => {
          if (ownView) mountCriuRoot(config.root, root, binds.filter(isNotOnTmpfs(config)), otherPlaces(config));
        },
      },
      {
        kind: "restore",
        imagePath,
        workPath,
        options(criu): CriuOptions {
          groups.place(criu);
          return restoreOptions(config, flags, {
            root: ownView ? root : config.root.path,
            configFile: criuConfigFile(config),
            inherited: inherited.map(({ to, key }) => ({ fd: to, key })),
            cgroups: groupsOf(criu),
            mounts: [...binds, ...groups.shown],
          });
        },
        notified({ script, pid, fds: [master] }: Notification) {
          if (script === "setup-namespaces") {
            groups.begun(pid);
            runHooksOfCreate(config, ofHooks, pid);
          }
          if (script !== "orphan-pts-master" || master === undefined) return;
          if (consoleSocket === undefined) terminal = master;
          else {
            sendToConsoleSocket(consoleSocket, master);
            raw.close(master);
          }
        },
      },
    );
    return { pid, terminal };
  } finally {
    // If it stays, it goes with the record: what runs by now is no reason to fail.
    raw.unlinkat(AT_FDCWD, root, AT_REMOVEDIR);
    for (const { from } of namespaces) raw.close(from);
  }
}

/**
 * Standard input, output and error that were pipes are ours now. Who wrote the images may not be who checkpointed: no other
 * descriptor of ours goes by that list. Throws RESTORE_IMAGES.
 */
function pipesOf(imagePath: string): { from: number; key: string }[] {
  const path = `${imagePath}/${DESCRIPTORS}`;
  const descriptors = parseDescriptors(readFileIfThere(path) ?? "[]");
  if (descriptors === undefined)
    throw new ContainerError("RESTORE_IMAGES", `${path} does not say what the standard descriptors were`, {
      field: "--image-path",
    });
  return descriptors.flatMap((key, from) => (key.startsWith("pipe:") ? [{ from, key }] : []));
}

/** A list of at most three texts. */
function parseDescriptors(text: string): string[] | undefined {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const isList = Array.isArray(list) && list.length <= 3 && list.every((each) => typeof each === "string");
  return isList ? (list as string[]) : undefined;
}

/** What lies on a tmpfs comes back with it. */
const isNotOnTmpfs =
  ({ mounts = [] }: Config) =>
  ({ destination: path }: { destination: string }): boolean =>
    !mounts.some(({ type, destination }) => type === "tmpfs" && path.startsWith(`${destination}/`));

/** Where the mounts go that are no binds, but for those on one another: the root filesystem may be another one than that of the checkpoint. */
function otherPlaces({ mounts = [] }: Config): string[] {
  const places = mounts.filter((mount) => !isBind(mount)).map(({ destination }) => destination);
  return places.filter((path) => !places.some((other) => path.startsWith(`${other}/`)));
}

/** The namespaces are there, and nothing runs yet; as under runc. */
function runHooksOfCreate(
  { hooks }: Config,
  { state, streams }: { state: HookState; streams: Streams },
  pid: number,
): void {
  for (const kind of ["prestart", "createRuntime"] as const)
    runHooks(kind, hooks?.[kind] ?? [], state, pid, { streams });
}

function joinGroups({ cgroups }: ContainerRecord, pid: number): void {
  for (const { controller, path } of cgroups)
    writeFile(`${path}/${controller === "unified" ? "cgroup.procs" : "tasks"}`, String(pid));
}

/** `controller` is empty for v2. cgroups(7), "/proc/[pid]/cgroup" */
function groupsOf(pid: number): { controller: string; path: string }[] {
  return readFile(`/proc/${pid}/cgroup`)
    .split("\n")
    .flatMap((line) => {
      const [, controller, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      return controller === undefined || path === undefined ? [] : [{ controller, path }];
    });
}
