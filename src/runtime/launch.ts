/**
 * What create and run share: a bundle becomes a container. Nothing of it is left when anything fails: no process, control
 * group, mount, directory.
 */
import { ContainerError } from "../error.ts";
import { cleanUp } from "../execute/clean-up.ts";
import { blockSignals, execute } from "../execute/execute.ts";
import { ENDING_SIGNALS } from "../execute/give-up.ts";
import { probeHost } from "../execute/probe.ts";
import { runHooks } from "../execute/run-hooks.ts";
import type { Systemd } from "../execute/systemd.ts";
import { makeTracer } from "../execute/tracer.ts";
import { hookState } from "../plan/hooks.ts";
import { plan as makePlan } from "../plan/plan.ts";
import type { Plan, Step } from "../plan/step.ts";
import { ANNOTATION, type Config } from "../spec/config.ts";
import { raw, sys } from "../sys/sys.ts";
import { absolute, type Bundle, loadBundle } from "./bundle.ts";
import { sendToConsoleSocket } from "./console-socket.ts";
import {
  type Container,
  type ContainerRecord,
  claimContainer,
  type Lock,
  recordFile,
  removeRecord,
  UNKNOWN_START,
  VERSION,
  writeInit,
  writeRecord,
} from "./container.ts";
import { debugPlan } from "./debug-plan.ts";
import { destroyFailed } from "./delete.ts";
import { closeStreams, type HookFiles, openHookFiles } from "./hook-files.ts";
import { offerNotify, openNotify } from "./notify.ts";
import { ownerName } from "./owner.ts";
import { writePidFile } from "./pid-file.ts";
import { sendToPidfdSocket } from "./pidfd-socket.ts";
import { listenVariables, type PreservedFds, preservedFds } from "./preserved-fds.ts";
import { filterOf } from "./seccomp-annotations.ts";
import { openSystemd, systemdTarget } from "./systemd.ts";
import { needsPlainNewlines, openSignals } from "./terminal.ts";

/** Who makes control groups. */
export type CgroupManager = "cgroupfs" | "systemd" | "disabled";

export interface LaunchRequest {
  root: string;
  id: string;
  /** The bundle's directory. */
  bundle: string;
  /** A file in place of the bundle's config.json. */
  configPath?: string;
  /** The socket that gets the master of the container's terminal. */
  consoleSocket?: string;
  /** The socket that gets a pidfd of the init process. */
  pidfdSocket?: string;
  /** A file that gets the pid of the init process as the caller sees it. */
  pidFile?: string;
  /** How many descriptors from 3 up the command keeps, beside those of socket activation. */
  preserveFds: number;
  /** Whether the container gets a session keyring of its own. */
  newKeyring: boolean;
  /** `disabled`: the container stays in the caller's control groups, without limits. */
  cgroupManager: CgroupManager;
  /** See PlanOptions. */
  noPivot?: boolean;
  warn: (text: string) => void;
  debug?: (text: string) => void;
}

export interface Launched {
  container: Container;
  /** To be dropped by the caller. */
  lock: Lock;
  pid: number;
  /** The master of the container's terminal, when it was not sent away. */
  terminal: number | undefined;
  /** The container's NOTIFY_SOCKET, of one that does not wait. */
  notify: number | undefined;
}

/**
 * Makes a container. `waits`: up to the state `created`; otherwise its command runs when this returns. `attached`: the
 * terminal is the caller's to serve. Throws a ContainerError.
 */
export function launch(request: LaunchRequest, { waits, attached }: { waits: boolean; attached: boolean }): Launched {
  const { root, id, warn } = request;
  const preserved = preservedFds(request.preserveFds);
  const bundle = loadBundle(request.bundle, request.configPath);
  for (const text of bundle.warnings) warn(text);
  if (!waits && bundle.config.process.args.length === 0) throw processMissing();
  checkConsole(bundle, request.consoleSocket, attached);
  const pidFile = request.pidFile === undefined ? undefined : absolute(request.pidFile);
  const consoleSocket = request.consoleSocket === undefined ? undefined : absolute(request.consoleSocket);
  const pidfdSocket = request.pidfdSocket === undefined ? undefined : absolute(request.pidfdSocket);
  // Before anything is there that a signal could leave behind.
  blockSignals();
  const lock = claimContainer(root, id);
  const launched = makeOrForget(request, bundle, lock, { waits, attached, consoleSocket, pidfdSocket, preserved });
  try {
    if (pidFile !== undefined) writePidFile(pidFile, launched.pid);
    return launched;
  } catch (error) {
    destroyFailed(launched.container, lock, warn);
    throw error;
  }
}

interface MakeOptions {
  waits: boolean;
  attached: boolean;
  consoleSocket: string | undefined;
  pidfdSocket: string | undefined;
  preserved: PreservedFds;
}

function makeOrForget(request: LaunchRequest, bundle: Bundle, lock: Lock, options: MakeOptions): Launched {
  return withManager(request, lock, (systemd, keepRecord) => make(request, bundle, lock, options, systemd, keepRecord));
}

/**
 * What `act` makes, with the manager of systemd where that is asked for. When it throws, the record of the container goes, unless it
 * said that something stays which the record must name.
 */
export function withManager<T>(
  { cgroupManager, warn }: Pick<LaunchRequest, "cgroupManager" | "warn">,
  lock: Lock,
  act: (systemd: Systemd | undefined, keepRecord: () => void) => T,
): T {
  let systemd: Systemd | undefined;
  let isKept = false;
  const keepRecord = () => {
    isKept = true;
  };
  try {
    if (cgroupManager === "systemd") systemd = openSystemd();
    return act(systemd, keepRecord);
  } catch (error) {
    if (!isKept)
      cleanUp(
        "remove the container's record",
        () => removeRecord(lock),
        () => lock.path,
        warn,
      );
    throw error;
  } finally {
    systemd?.close();
  }
}

function make(
  { id, newKeyring, cgroupManager, noPivot = false, warn, debug }: LaunchRequest,
  bundle: Bundle,
  lock: Lock,
  { waits, attached, consoleSocket, pidfdSocket, preserved }: MakeOptions,
  systemd: Systemd | undefined,
  keepRecord: () => void,
): Launched {
  const { path: bundlePath, configText, config } = bundle;
  const host = probeHost(config.linux.cgroupsPath);
  const { seccomp } = config.linux;
  const manager = cgroupManager === "disabled" ? cgroupManager : "cgroupfs";
  if (preserved.listening > 0) config.process.env = listenVariables(config.process.env ?? [], preserved.listening);
  const notify = offerNotify(config, lock.path);
  const plan = makePlan(config, host, {
    id,
    state: lock.path,
    bundle: bundlePath,
    detached: { waits },
    cgroupManager: systemd === undefined ? manager : systemdTarget(systemd, host),
    noPivot,
    ...(seccomp === undefined ? {} : { filter: filterOf(config.annotations, seccomp, host.architecture) }),
    newKeyring,
    everyCpu: true,
    preservedFds: preserved.count,
    plainNewlines: attached && config.process.terminal === true && needsPlainNewlines(),
  });
  for (const text of plan.warnings) warn(text);
  debugPlan(plan, debug);
  recordFile(lock, "config.json", configText);
  const state = hookState(config, id, bundlePath);
  // Hooks start in the bundle.
  sys.chdir(bundlePath);
  const output = config.annotations === undefined ? undefined : openHookFiles(config);
  const record = newRecord(plan, config, { id, bundle, newKeyring, notify, hookFiles: output?.files });
  const container: Container = { path: lock.path, record, text: "", init: undefined };
  const socket = waits ? undefined : openNotify(lock.path);
  let sent = false;
  // What runs in a namespace that is shared may hold our process there. Where our memory is shared, the host looks for signals.
  const isApart = plan.steps.some((step) => step.op === "clone" && !step.sharedMemory);
  const signals = isApart ? openSignals(ENDING_SIGNALS) : -1;
  try {
    const { pid, terminal } = execute(plan, {
      tracer: makeTracer("off"),
      warn,
      ...(isApart ? { givesUp: { signals, cgroups: record.cgroups } } : {}),
      ...(systemd === undefined ? {} : { systemd }),
      ...(output === undefined ? {} : { slots: output.slots }),
      startsLater: waits,
      recordState: () => writeRecord(lock, record),
      groupsStay: keepRecord,
      containerState: (initPid) => ({ ...state, status: "creating", pid: initPid }),
      recordCreated: (initPid, master) => {
        container.init = writeInit(lock, initPid);
        if (container.init.startTime === UNKNOWN_START)
          throw new ContainerError("INIT_DIED", "the init process is gone, or the machine's /proc does not show it", {
            hint: "is /proc mounted, and that of this PID namespace? mount -t proc proc /proc",
          });
        if (pidfdSocket !== undefined) sendToPidfdSocket(pidfdSocket, initPid, "standard");
        const receiver = config.annotations?.[ANNOTATION.pidfdReceiver] ?? "";
        // One byte beside the descriptor, as crun sends it.
        if (receiver !== "")
          sendToPidfdSocket(absolute(receiver), initPid, " ", `annotations["${ANNOTATION.pidfdReceiver}"]`);
        if (consoleSocket === undefined || master === undefined) return;
        sendToConsoleSocket(consoleSocket, master);
        sent = true;
      },
    });
    if (isApart) raw.close(signals);
    if (sent && terminal !== undefined) raw.close(terminal);
    return { container, lock, pid, terminal: sent ? undefined : terminal, notify: socket };
  } catch (error) {
    runHooks("poststop", record.poststop ?? [], state, 0, {
      streams: output?.streams,
      onFailure: (failure) => warn(failure.message),
    });
    throw error;
  } finally {
    if (output !== undefined) closeStreams(output.streams);
  }
}

/** What is put on record of a container before anything of it is made. */
export function newRecord(
  { steps, cleanup }: Plan,
  config: Config,
  {
    id,
    newKeyring,
    notify,
    hookFiles,
    bundle: { path, idMaps },
  }: { id: string; bundle: Bundle; newKeyring: boolean; notify: boolean; hookFiles: HookFiles | undefined },
): ContainerRecord {
  const { poststart, poststop } = config.hooks ?? {};
  const cgroups: ContainerRecord["cgroups"] = [];
  let scope: Extract<Step, { op: "startScope" }> | undefined;
  for (const step of steps) {
    if (step.op === "makeCgroup" && cleanup.cgroups.includes(step.path))
      cgroups.push({ controller: step.controller, path: step.path });
    else if (step.op === "startScope") scope ??= step;
  }
  return {
    version: VERSION,
    ...hookState(config, id, path),
    rootfs: config.root.path,
    created: new Date().toISOString(),
    owner: ownerName(raw.geteuid()),
    cgroups,
    ...(cgroups.length === cleanup.cgroups.length ? {} : { remove: cleanup.cgroups }),
    ...(scope === undefined ? {} : { unit: { name: scope.unit, user: scope.user } }),
    ...(newKeyring ? {} : { noNewKeyring: true }),
    ...(notify ? { notify } : {}),
    ...(config.process.args.length > 0 ? {} : { noProcess: true }),
    ...(idMaps === undefined ? {} : { idMaps }),
    ...(hookFiles === undefined ? {} : { hookFiles }),
    ...(poststart === undefined ? {} : { poststart }),
    ...(poststop === undefined ? {} : { poststop }),
  };
}

/** config.md, "Process": REQUIRED when `start` is called. */
export const processMissing = (): ContainerError =>
  new ContainerError("PROCESS_MISSING", "the config has no process: there is nothing to start", {
    field: "process",
    hint: "a container without one can be created and deleted; create it anew from a config that says what to run",
  });

export function checkConsole({ config }: Bundle, consoleSocket: string | undefined, attached: boolean): void {
  const { terminal = false } = config.process;
  if (terminal && consoleSocket === undefined && !attached)
    throw new ContainerError(
      "CONSOLE_SOCKET_NEEDED",
      "cannot allocate a terminal for a container in the background: use --console-socket",
      { field: "process.terminal", hint: "its path is that of a socket which receives the terminal's master" },
    );
  if (!terminal && consoleSocket !== undefined)
    throw new ContainerError("CONSOLE_SOCKET_UNUSED", "--console-socket is for a container with a terminal", {
      field: "process.terminal",
      hint: "set process.terminal to true, or leave --console-socket out",
    });
}
