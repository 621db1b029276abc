/** `exec`: one more process in a container. Not in the runtime-spec; as runc and crun have it. */
import { ContainerError } from "../error.ts";
import { blockSignals, type Started } from "../execute/execute.ts";
import { executeInside } from "../execute/execute-inside.ts";
import { ENDING_SIGNALS } from "../execute/give-up.ts";
import { probeHost } from "../execute/probe.ts";
import { Systemd } from "../execute/systemd.ts";
import { makeTracer } from "../execute/tracer.ts";
import { hostForJoining } from "../execute/user-scope.ts";
import type { ControlGroup } from "../plan/cgroup/limits.ts";
import { since } from "../plan/cgroup/request.ts";
import type { Host } from "../plan/host.ts";
import { sharesMounts } from "../plan/namespaces.ts";
import { CONTAINER, CONTAINER_ROOT, planExec } from "../plan/plan-exec.ts";
import type { Config, Process } from "../spec/config.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";
import { absolute, recordedConfig } from "./bundle.ts";
import { sendToConsoleSocket } from "./console-socket.ts";
import { loadContainer, statusOf } from "./container.ts";
import { debugPlan } from "./debug-plan.ts";
import { attachment, execGroups } from "./exec-groups.ts";
import { writePidFile } from "./pid-file.ts";
import { sendToPidfdSocket } from "./pidfd-socket.ts";
import { listenVariables, preservedFds } from "./preserved-fds.ts";
import { filterOf } from "./seccomp-annotations.ts";
import { openProcess } from "./signal.ts";
import { startTimeOf } from "./start-time.ts";
import { hookStateOf } from "./state.ts";
import { supervise } from "./supervise.ts";
import { EVERY_SIGNAL, needsPlainNewlines, openSignals } from "./terminal.ts";

const SIGKILL = 9;

export interface ExecRequest {
  root: string;
  id: string;
  /** What runs, made of the container's own process. */
  process: (config: Config, pid: number) => Process;
  detach: boolean;
  consoleSocket?: string;
  /** The socket that gets a pidfd of the process. */
  pidfdSocket?: string;
  /** A file that gets the pid of the process as the caller sees it. */
  pidFile?: string;
  /** Also in a container that is paused: the process waits until it is resumed. */
  ignorePaused: boolean;
  /** How many descriptors from 3 up the command keeps, beside those of socket activation. */
  preserveFds: number;
  /** Groups below the container's own, as `--cgroup` names them. */
  subGroups: readonly string[];
  warn: (text: string) => void;
  debug?: (text: string) => void;
}

/** Returns the command's exit code, 128 + n for a signal; 0 at once when it is detached. Throws CONTAINER_NOT_RUNNING … */
export function execInContainer(request: ExecRequest): number {
  const { root, id, detach, warn } = request;
  const preserved = preservedFds(request.preserveFds);
  const container = loadContainer(root, id);
  const status = statusOf(container);
  const { init } = container;
  const pidfd = init === undefined || status === "stopped" ? undefined : openProcess(init);
  if (pidfd === undefined || init === undefined) throw notRunning(id, status);
  if (status === "paused" && !request.ignorePaused)
    throw new ContainerError("CONTAINER_PAUSED", `cannot exec in a paused container: ${id}`, {
      hint: "resume it first, or use --ignore-paused",
    });
  const config = recordedConfig(container, true);
  const process = request.process(config, init.pid);
  checkTerminal(process, request);
  const pidFile = request.pidFile === undefined ? undefined : absolute(request.pidFile);
  process.env = listenVariables(process.env ?? [], preserved.listening);
  const { seccomp } = config.linux;
  const { cgroups, unit, noNewKeyring = false } = container.record;
  const host = unit === undefined ? hostForJoining(cgroups, warn) : probeHost();
  const groups = execGroups(cgroups, request.subGroups, init.pid, host);
  const attach = unit && attachment(groups, unit.name, host);
  const plan = planExec({ ...config, process }, host, id, groups, {
    outlivesCaller: true,
    plainNewlines: process.terminal === true && request.consoleSocket === undefined && needsPlainNewlines(),
    ...(seccomp === undefined ? {} : { filter: filterOf(config.annotations, seccomp, host.architecture) }),
    newKeyring: !noNewKeyring,
    everyCpu: true,
    preservedFds: preserved.count,
    attach,
    memoryNodes: memoryNodesOf(groups, host),
  });
  for (const text of plan.warnings) warn(text);
  debugPlan(plan, request.debug);
  const slots = new Map<string, number>([[CONTAINER.slot, pidfd]]);
  if (sharesMounts(config)) slots.set(CONTAINER_ROOT.slot, openRoot(init, id));
  blockSignals();
  const signals = openSignals(ENDING_SIGNALS);
  const systemd = attach && unit && Systemd.open(unit.user);
  const started = executeInside(pidfd, plan, {
    ...(systemd ? { systemd } : {}),
    tracer: makeTracer("off"),
    warn,
    recordState: () => {},
    containerState: () => ({ ...hookStateOf(container.record), status: "running", pid: init.pid }),
    slots,
    givesUp: { signals, cgroups },
  });
  for (const fd of slots.values()) raw.close(fd);
  try {
    handOver(started, request);
    if (pidFile !== undefined) writePidFile(pidFile, started.pid);
  } catch (error) {
    raw.kill(started.pid, SIGKILL); // our child, which nobody has waited for: the number is still its own
    throw error;
  }
  return detach ? 0 : supervise(started, openSignals(EVERY_SIGNAL, signals));
}

/** `update` may have changed them. Asked for only where it decides something: see planExec. */
function memoryNodesOf(groups: readonly ControlGroup[], { kernel }: Host): string | undefined {
  const unified = groups.find(({ controller }) => controller === "unified");
  if (unified === undefined || since(kernel, 6, 4)) return undefined;
  return readFileIfThere(`${unified.path}/cpuset.mems`)?.trim() ?? "";
}

/** Of the process that the pidfd is of: the number was its own when the directory was opened, if it still is. */
function openRoot({ pid, startTime }: { pid: number; startTime: string }, id: string): number {
  const fd = raw.openat(AT_FDCWD, `/proc/${pid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd >= 0 && startTimeOf(pid) === startTime) return fd;
  throw notRunning(id, "stopped");
}

const notRunning = (id: string, status: string): ContainerError =>
  new ContainerError("CONTAINER_NOT_RUNNING", `cannot exec in a container that is not running: ${id} is ${status}`);

/** To those who serve its terminal and watch it. */
function handOver(started: Started, { consoleSocket, pidfdSocket }: ExecRequest): void {
  if (pidfdSocket !== undefined) sendToPidfdSocket(absolute(pidfdSocket), started.pid, "setns");
  if (consoleSocket === undefined || started.terminal === undefined) return;
  sendToConsoleSocket(absolute(consoleSocket), started.terminal);
  started.terminal = undefined;
}

function checkTerminal({ terminal = false }: Process, { detach, consoleSocket }: ExecRequest): void {
  if (terminal && detach && consoleSocket === undefined)
    throw new ContainerError(
      "CONSOLE_SOCKET_NEEDED",
      "cannot allocate a terminal for a process in the background: use --console-socket",
      { field: "process.terminal" },
    );
  if (!terminal && consoleSocket !== undefined)
    throw new ContainerError("CONSOLE_SOCKET_UNUSED", "--console-socket is for a process with a terminal", {
      field: "--tty",
    });
}
