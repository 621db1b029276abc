/**
 * Performs a plan: the parent's steps here, the init process's in a clone (init.ts). Returns when the command runs;
 * when a step fails, everything that was done is undone and the error says which step it was.
 */
import { ContainerError } from "../error.ts";
import { stepsOf } from "../plan/plan.ts";
import type { ParentStep, Plan } from "../plan/step.ts";
import type { IdMapping } from "../spec/config.ts";
import {
  AT_FDCWD,
  CLONE_INTO_CGROUP,
  CLONE_VM,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  SIG_SETMASK,
  SIGNALS,
  WNOHANG,
} from "../sys/constants.ts";
import { readFile, writeFile } from "../sys/files.ts";
import { exitCodeOf, parseWaitStatus, type WaitStatus } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { openChannel, receive, send, unpackError } from "./channel.ts";
import { runHelper } from "./helper-program.ts";
import { runInit } from "./init.ts";
import { namespaceFlag, namespaceFlags } from "./namespace-flags.ts";
import { removeCgroups } from "./remove-cgroups.ts";
import { explainStep } from "./step-error.ts";
import type { Tracer } from "./tracer.ts";

export interface Started {
  /** The init process, as the caller sees it. */
  pid: number;
  /** The master of the container's terminal. */
  terminal: number | undefined;
}

export interface ExecuteOptions {
  tracer: Tracer;
  /** Performs `recordState`. */
  recordState: () => void;
  warn: (text: string) => void;
}

type CloneStep = Extract<ParentStep, { op: "clone" }>;

/** Throws a {@link ContainerError}; then nothing is left of the container but its state directory, which the caller removes. */
export function execute(plan: Plan, options: ExecuteOptions): Started {
  const steps = stepsOf(plan, "parent");
  const cloneAt = steps.findIndex((step) => step.op === "clone");
  const clone = steps[cloneAt];
  if (clone?.op !== "clone") throw new Error("a plan without a clone step");
  try {
    for (const step of steps.slice(0, cloneAt)) perform(step, options, -1);
    return start(plan, clone, steps.slice(cloneAt + 1), options);
  } catch (error) {
    removeCgroups(plan.cleanup.cgroups);
    throw error;
  }
}

/** Clones the init process and serves it until the command runs. */
function start(plan: Plan, clone: CloneStep, afterClone: readonly ParentStep[], options: ExecuteOptions): Started {
  const [parentEnd, childEnd] = openChannel();
  let pid = 0;
  try {
    options.tracer.step(clone, () => {
      pid = spawnInit(plan, clone, parentEnd, childEnd, options.tracer);
    });
  } catch (error) {
    raw.close(parentEnd);
    throw explainStep(clone, error);
  }
  try {
    const terminal = serveInit(parentEnd, pid, afterClone, options);
    return { pid, terminal };
  } catch (error) {
    raw.kill(pid, SIGNALS.KILL ?? 9);
    waitFor(pid);
    throw error;
  } finally {
    raw.close(parentEnd);
  }
}

function spawnInit(plan: Plan, clone: CloneStep, parentEnd: number, childEnd: number, tracer: Tracer): number {
  const init = stepsOf(plan, "init");
  const cgroup =
    clone.cgroup === undefined
      ? -1
      : sys.openat(AT_FDCWD, clone.cgroup, O_RDONLY | O_DIRECTORY | O_PATH | O_CLOEXEC, 0);
  const flags =
    namespaceFlags(clone.namespaces) + (clone.sharedMemory ? CLONE_VM : 0) + (cgroup < 0 ? 0 : CLONE_INTO_CGROUP);
  const run = () => {
    raw.close(parentEnd);
    runInit(init, { channel: childEnd, sharedMemory: clone.sharedMemory, tracer, trees: new Map() });
  };
  const pid = raw.spawn(flags, Math.max(cgroup, 0), childEnd, parentEnd, run);
  if (cgroup >= 0) raw.close(cgroup);
  return check(pid, "clone3", clone.namespaces, clone.cgroup ?? null);
}

/** Answers the init process until it is the command. Returns the terminal's master, when there is one. */
function serveInit(
  channel: number,
  pid: number,
  afterClone: readonly ParentStep[],
  options: ExecuteOptions,
): number | undefined {
  let terminal: number | undefined;
  let executing = false;
  for (;;) {
    const received = receive(channel);
    if (received === undefined) {
      if (executing) return terminal;
      throw diedEarly(pid);
    }
    const { message, fds } = received;
    switch (message.kind) {
      case "map":
        for (const step of afterClone) perform(step, options, pid);
        send(channel, { kind: "mapped" });
        break;
      case "pty":
        terminal = fds[0];
        break;
      case "warning":
        options.warn(message.text);
        break;
      case "exec":
        executing = true;
        break;
      case "error":
        throw unpackError(message.error);
    }
  }
}

function diedEarly(pid: number): ContainerError {
  const status = waitFor(pid);
  const killed = "signal" in status;
  const how = killed ? `was killed by signal ${status.signal}` : `ended with ${exitCodeOf(status)}`;
  return new ContainerError("INIT_DIED", `the init process ${how} before the command ran`, {
    hint:
      killed && status.signal === 9
        ? "SIGKILL comes from outside, or from the kernel when a memory limit leaves no room even for the start"
        : "see --trace",
  });
}

function perform(step: ParentStep, options: ExecuteOptions, pid: number): void {
  try {
    options.tracer.step(step, () => performStep(step, options, pid));
  } catch (error) {
    throw explainStep(step, error);
  }
}

function performStep(step: ParentStep, options: ExecuteOptions, pid: number): void {
  switch (step.op) {
    case "recordState":
      return options.recordState();
    case "makeCgroup":
      return makeDirectories(step.path);
    case "inheritCgroupValue":
      return inheritValue(step.path);
    case "write":
      return writeValue(step);
    case "joinNamespace": {
      const fd = sys.openat(AT_FDCWD, step.path, O_RDONLY | O_CLOEXEC, 0);
      sys.setns(fd, namespaceFlag(step.type));
      raw.close(fd);
      return;
    }
    case "mapIds":
      return step.helper ? mapByHelper(pid, step.uidMappings, step.gidMappings) : mapIds(pid, step);
    case "attachDeviceProgram":
      throw new ContainerError("DEVICE_PROGRAM_UNSUPPORTED", "device rules on cgroup v2 are not there yet", {
        field: "linux.resources.devices",
      });
    case "clone":
      throw new Error("clone is performed by start");
  }
}

/** Writes the value, or where there is no such file the other one. */
function writeValue({ path, value, otherwise }: Extract<ParentStep, { op: "write" }>): void {
  try {
    writeFile(path, value);
  } catch (error) {
    if (otherwise === undefined || !(error instanceof SysError) || error.code !== "ENOENT") throw error;
    writeFile(otherwise.path, otherwise.value);
  }
}

function inheritValue(path: string): void {
  const at = path.lastIndexOf("/");
  const above = path.slice(0, path.lastIndexOf("/", at - 1));
  if (readFile(path).trim() === "") writeFile(path, readFile(`${above}${path.slice(at)}`).trim());
}

const mapText = (mappings: readonly IdMapping[]): string =>
  mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join("");

function mapIds(pid: number, { uidMappings, gidMappings, denySetgroups }: Extract<ParentStep, { op: "mapIds" }>): void {
  // Without CAP_SETGID in the parent namespace the kernel answers EPERM to gid_map until "deny" stands in setgroups.
  // user_namespaces(7), since Linux 3.19.
  if (denySetgroups) writeFile(`/proc/${pid}/setgroups`, "deny");
  writeFile(`/proc/${pid}/uid_map`, mapText(uidMappings));
  writeFile(`/proc/${pid}/gid_map`, mapText(gidMappings));
}

/** Ranges of /etc/subuid may be mapped by the set-user-id programs newuidmap(1) and newgidmap(1) only. */
function mapByHelper(pid: number, uidMappings: readonly IdMapping[], gidMappings: readonly IdMapping[]): void {
  for (const [program, mappings] of [
    ["newuidmap", uidMappings],
    ["newgidmap", gidMappings],
  ] as const) {
    const args = mappings.flatMap(({ containerID, hostID, size }) => [
      String(containerID),
      String(hostID),
      String(size),
    ]);
    const { code, output } = runHelper([program, String(pid), ...args]);
    if (code !== 0) {
      throw new ContainerError(
        "ID_MAP_REFUSED",
        `${program} refused the id map: ${output.trim() || `exit code ${code}`}`,
        {
          field: "linux.uidMappings",
          hint: "the ranges must be the caller's in /etc/subuid and /etc/subgid; `usermod --add-subuids 100000-165535 NAME` adds one",
        },
      );
    }
  }
}

function makeDirectories(path: string): void {
  const result = raw.mkdirat(AT_FDCWD, path, 0o755);
  if (result >= 0 || result === -17) return;
  if (result !== -2) throw new SysError("mkdirat", -result, [path, 0o755]);
  makeDirectories(path.slice(0, path.lastIndexOf("/")));
  sys.mkdirat(AT_FDCWD, path, 0o755);
}

/** Waits for a child to end. wait4(2). */
export function waitFor(pid: number): WaitStatus {
  const status = new ArrayBuffer(4);
  while (raw.wait4(pid, status, 0, null) === -4) {}
  return parseWaitStatus(status);
}

/** Reaps a child if it has ended; undefined while it runs. */
export function waitIfEnded(pid: number): WaitStatus | undefined {
  const status = new ArrayBuffer(4);
  if (raw.wait4(pid, status, WNOHANG, null) !== pid) return undefined;
  return parseWaitStatus(status);
}

/** Blocks every signal, for a signalfd; children start with none blocked. Returns the mask before. */
export function blockSignals(): ArrayBuffer {
  const before = new ArrayBuffer(8);
  sys.rtSigprocmask(SIG_SETMASK, new BigUint64Array([0xffffffffffffffffn]).buffer as ArrayBuffer, before, 8);
  return before;
}
