/**
 * Performs a plan: the parent's steps here, the init process's in a clone (init.ts). Returns when the command runs;
 * when a step fails, everything that was done is undone and the error says which step it was.
 */
import { ContainerError } from "../error.ts";
import { whyInitDied } from "../explain-failure/end.ts";
import { explainStep } from "../explain-failure/step.ts";
import { stepsOf } from "../plan/plan.ts";
import type { ParentStep, Plan } from "../plan/step.ts";
import {
  AT_FDCWD,
  CLONE_INTO_CGROUP,
  CLONE_NEWCGROUP,
  CLONE_NEWPID,
  CLONE_PARENT,
  CLONE_VM,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  SIG_SETMASK,
} from "../sys/constants.ts";
import { readSmallFile, writeFile } from "../sys/files.ts";
import { exitCodeOf, type WaitStatus } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { type Message, openChannel, packError, receive, send, unpackError } from "./channel.ts";
import { awaitUnlessEnded, endInit, pendingSignals, setUpInterrupted } from "./give-up.ts";
import { closeInherited } from "./init/descriptors.ts";
import { currentStep, runInit } from "./init.ts";
import { namespaceFlags } from "./namespace-flags.ts";
import { keepDevices, returnDevices } from "./net-devices.ts";
import { sendNull } from "./null-device.ts";
import {
  closeWrittenFile,
  type ExecuteOptions,
  GROUP_STEPS,
  makeParentContext,
  type ParentContext,
  performParentStep,
  undoGroups,
} from "./parent.ts";
import { askToBeWatched } from "./ptrace.ts";
import { serveListener } from "./seccomp-listener.ts";
import { setForInit } from "./set-for-init.ts";
import { takeTreeForInit } from "./take-for-init.ts";
import { reap } from "./wait.ts";

export interface Started {
  /** The init process, as the caller sees it. */
  pid: number;
  /** The master of the container's terminal. */
  terminal: number | undefined;
}

type CloneStep = Extract<ParentStep, { op: "clone" }>;

/** Throws a {@link ContainerError}; then nothing is left of the container but its state directory, which the caller removes. */
export function execute(plan: Plan, options: ExecuteOptions): Started {
  const steps = stepsOf(plan, "parent");
  const cloneAt = steps.findIndex((step) => step.op === "clone");
  const clone = steps[cloneAt];
  if (clone?.op !== "clone") throw new Error("a plan without a clone step");
  const context = makeParentContext(options);
  try {
    const before = steps.slice(0, cloneAt);
    for (const step of before) if (!isJoin(step)) performParentStep(step, context);
    closeWrittenFile(context);
    const started = start(plan, clone, { joins: steps.filter(isJoin), afterClone: steps.slice(cloneAt + 1) }, context);
    if (context.movedDevices.length > 0) keepDevices(context.movedDevices);
    return started;
  } catch (error) {
    closeWrittenFile(context);
    if (context.movedDevices.length > 0) returnDevices(context.movedDevices, context.options.warn);
    undoGroups(context, error);
    throw error;
  }
}

/** Clones the init process and serves it until the command runs. */
function start(
  plan: Plan,
  clone: CloneStep,
  { joins, afterClone }: Record<"joins" | "afterClone", readonly ParentStep[]>,
  context: ParentContext,
): Started {
  const { options } = context;
  const [ours, theirs] = openChannel();
  let pid = 0;
  try {
    const spawn = () => {
      const make = (moreFlags = 0) => spawnInit(plan, clone, ours, theirs, options, moreFlags);
      pid = joins.length === 0 ? make() : spawnJoined(joins, context, theirs, clone, make);
    };
    if (options.tracer === undefined) spawn();
    else options.tracer.step(clone, spawn);
  } catch (error) {
    raw.close(ours);
    throw explainStep(clone, error);
  } finally {
    for (const tree of context.inherited) raw.close(tree);
  }
  try {
    return { pid, terminal: serveInit(ours, pid, afterClone, context) };
  } catch (error) {
    const signals = options.givesUp === undefined ? pendingSignals() : undefined;
    const status = endInit(pid, signals === undefined ? options.givesUp : { signals, cgroups: [] });
    if (signals !== undefined && !(error instanceof ContainerError)) throw setUpInterrupted(signals, currentStep());
    throw error === GONE && status !== undefined ? diedEarly(status, plan) : error;
  } finally {
    raw.close(ours);
  }
}

const BETWEEN: ReadonlySet<ParentStep["op"]> = new Set([
  "setOomScore",
  "refuseTracing",
  "joinNamespace",
  "joinProcess",
  "unshare",
  "timeOffset",
]);

const isJoin = ({ op }: ParentStep): boolean => BETWEEN.has(op);

/**
 * A child that `make` clones in namespaces which are for children only (PID, time), or which one must be in to clone there (user).
 * Who joins them does not have to be us, and cannot always: a user namespace is not left again. So there are two who can:
 *
 * - we ourselves, where only the PID namespace of our children changes and there is a way back: a system call each way;
 * - else a process in between, which costs a clone and its end, and has us for its child's parent (CLONE_PARENT), so that we
 *   stay where we are and still see the child's end.
 */
function spawnJoined(
  joins: readonly ParentStep[],
  context: ParentContext,
  childEnd: number,
  clone: CloneStep,
  make: (moreFlags?: number) => number,
): number {
  const join = () => {
    for (const step of joins) performParentStep(step, context);
  };
  const home = joins.every(isForChildren) ? openOwnPidNamespace() : undefined;
  if (home !== undefined) return makeAndReturn(join, home, make);
  const pid = makeInBetween(join, clone, make);
  raw.close(childEnd); // the end of the child's own is seen only when nobody else has it
  return pid;
}

/** What moves no more than the children that follow: the PID namespace. setns(2). */
const isForChildren = (step: ParentStep): boolean =>
  step.op === "refuseTracing" ||
  (step.op === "joinNamespace" && step.type === "pid") ||
  (step.op === "joinProcess" && step.namespaces.every((type) => type === "pid"));

/**
 * The way back for the children that come later. Undefined where there is none: in a user namespace the machine's PID namespace
 * cannot be joined again (EPERM), and before Linux 5.8 no pidfd can (EINVAL).
 */
function openOwnPidNamespace(): number | undefined {
  const own = raw.pidfdOpen(raw.getpid(), 0);
  if (own < 0) return undefined;
  if (raw.setns(own, CLONE_NEWPID) >= 0) return own;
  raw.close(own);
  return undefined;
}

function makeAndReturn(join: () => void, home: number, make: () => number): number {
  try {
    join();
    try {
      return make();
    } finally {
      sys.setns(home, CLONE_NEWPID);
    }
  } finally {
    raw.close(home);
  }
}

function makeInBetween(join: () => void, clone: CloneStep, make: (moreFlags: number) => number): number {
  const [ourEnd, theirEnd] = openChannel();
  const between = check(
    raw.spawn(0, 0, theirEnd, ourEnd, () => {
      try {
        join();
        send(theirEnd, { kind: "spawned", pid: make(CLONE_PARENT) });
      } catch (error) {
        raw.sendMessage(theirEnd, JSON.stringify(packError(explainStep(clone, error))), []);
      }
      raw.exitGroup(0);
    }),
    "clone3",
  );
  const answer = receive(ourEnd)?.message;
  raw.close(ourEnd);
  reap(between);
  if (answer?.kind === "spawned") return answer.pid;
  throw answer?.kind === "error"
    ? unpackError(answer.error)
    : new ContainerError("INIT_DIED", "the process that joins the namespaces died");
}

function spawnInit(
  plan: Plan,
  clone: CloneStep,
  parentEnd: number,
  childEnd: number,
  { tracer, slots, watch }: ExecuteOptions,
  moreFlags = 0,
): number {
  const init = stepsOf(plan, "init");
  const cgroup =
    clone.cgroup === undefined
      ? -1
      : sys.openat(AT_FDCWD, clone.cgroup, O_RDONLY | O_DIRECTORY | O_PATH | O_CLOEXEC, 0);
  const flags =
    namespaceFlags(clone.namespaces) +
    (clone.sharedMemory && watch === undefined ? CLONE_VM : 0) +
    (cgroup < 0 ? 0 : CLONE_INTO_CGROUP) +
    moreFlags;
  const kept = init.findLast((step) => step.op === "closeDescriptors")?.from;
  const run = () => {
    closeInherited([childEnd, ...(slots?.values() ?? [])], kept);
    if (watch !== undefined) askToBeWatched(childEnd);
    runInit(init, { channel: childEnd, tracer, slots: new Map(slots), freshMounts: new Set() });
  };
  // Where nothing is shared nobody has to wait here: for who joins a container that may be long (serveInit).
  const waitAt = flags & CLONE_VM ? parentEnd : -1;
  let pid = raw.spawn(flags, Math.max(cgroup, 0), childEnd, waitAt, run);
  if (cgroup >= 0) {
    raw.close(cgroup);
    if (pid === ENOSYS || pid === EINVAL || pid === E2BIG)
      pid = raw.spawn(withoutCgroup(flags), 0, childEnd, waitAt, () => joinFirst(clone, childEnd, run));
  }
  return check(pid, "clone3", clone.namespaces, clone.cgroup ?? null);
}

/** Linux before 5.7 does not know CLONE_INTO_CGROUP: E2BIG, EINVAL, or ENOSYS where there is no clone3 at all. */
const withoutCgroup = (flags: number): number =>
  flags - CLONE_INTO_CGROUP - (flags & CLONE_NEWCGROUP ? CLONE_NEWCGROUP : 0);

/** The child goes into its group itself then; its cgroup namespace is rooted there, so it comes after. */
function joinFirst(clone: CloneStep, channel: number, run: () => void): void {
  try {
    writeFile(`${clone.cgroup}/cgroup.procs`, "0");
    if (clone.namespaces.includes("cgroup")) sys.unshare(CLONE_NEWCGROUP);
  } catch (error) {
    raw.sendMessage(channel, JSON.stringify(packError(explainStep(clone, error))), []);
    raw.exitGroup(127);
  }
  run();
}

const EINVAL = -22;
const ENOSYS = -38;
const E2BIG = -7;

/**
 * Answers the init process until it is the command, or until it waits for start. Returns the terminal's master, when
 * there is one.
 */
function serveInit(
  channel: number,
  pid: number,
  afterClone: readonly ParentStep[],
  context: ParentContext,
): number | undefined {
  context.pid = pid;
  const { options } = context;
  const perform = (wanted: (step: ParentStep) => boolean) => {
    for (const step of afterClone) if (wanted(step)) performParentStep(step, context);
  };
  // Somebody may kill it while it waits, a hook for one.
  const answer = (message: Message, fds?: readonly number[]) => {
    try {
      send(channel, message, fds);
    } catch (error) {
      throw error instanceof SysError && error.code === "EPIPE" ? GONE : error;
    }
  };
  let terminal: number | undefined;
  let complete = false;
  /** Why what it has placed cannot be put on record; it takes it away again. */
  let unrecorded: unknown;
  for (;;) {
    if (options.givesUp !== undefined) awaitUnlessEnded(channel, options.givesUp);
    options.watch?.awaitMessage(pid, channel);
    const received = receive(channel);
    if (received === undefined) {
      if (complete) return terminal;
      throw unrecorded ?? GONE;
    }
    const { message, fds } = received;
    switch (message.kind) {
      case "place":
        perform(({ op }) => GROUP_STEPS.has(op));
        closeWrittenFile(context);
        answer({ kind: "done" });
        break;
      case "map":
        perform(({ op }) => op !== "runHooks" && op !== "delegateBelow" && !GROUP_STEPS.has(op));
        answer({ kind: "mapped", trees: [...context.trees.keys()] }, [...context.trees.values()]);
        for (const fd of context.trees.values()) raw.close(fd);
        break;
      case "delegate":
        perform(({ op }) => op === "delegateBelow");
        answer({ kind: "done" });
        break;
      case "hooks":
        perform(({ op }) => op === "runHooks");
        answer({ kind: "done" });
        break;
      case "rlimit":
      case "oomScore":
        answer(setForInit(message, pid));
        break;
      case "take":
        takeTreeForInit(channel, pid, message.request);
        break;
      case "null":
        sendNull(channel);
        break;
      case "pty":
        terminal = fds[0];
        break;
      case "listener":
        serveListener(channel, pid, message, context.options.containerState(pid));
        break;
      case "warning":
        options.warn(message.text);
        break;
      case "aside":
        options.aside?.(message.text, pid);
        answer({ kind: "done" });
        break;
      case "created":
        options.recordCreated?.(pid, terminal);
        answer({ kind: "done" });
        complete = options.startsLater === true;
        break;
      case "placing":
      case "placed":
        try {
          options.recordPlaced?.(message.kind === "placing" ? message.mount : undefined);
        } catch (error) {
          answer(packError(error));
          unrecorded = error;
          break;
        }
        if (message.kind === "placing") {
          answer({ kind: "done" });
          break;
        }
        // Nobody waits for its end: it has no more to do, and may be held.
        raw.sendMessage(channel, JSON.stringify({ kind: "done" }), []);
        return undefined;
      case "watch":
        options.watch?.seize(pid);
        answer({ kind: "done" });
        break;
      case "exec":
        complete = true;
        break;
      case "error":
        throw unrecorded ?? unpackError(message.error);
    }
  }
}

/** The init process ended; how, its parent knows once it has reaped it. */
const GONE = new Error("the init process is gone");

function diedEarly(status: WaitStatus, plan: Plan): ContainerError {
  const killed = "signal" in status;
  const how = killed ? `was killed by signal ${status.signal}` : `ended with ${exitCodeOf(status)}`;
  const { why, ...details } = whyInitDied(status, plan);
  return new ContainerError(
    "INIT_DIED",
    `the init process ${how} before the command ran${why === undefined ? "" : `: ${why}`}`,
    details,
  );
}

/**
 * What the caller ignores would stay ignored in the container, through execve; and with SIGCHLD ignored nobody tells us
 * of its end. proc_pid_status(5), signal(7).
 */
function defaultIgnoredSignals(): void {
  const NAME = "\nSigIgn:\t";
  const status = readSmallFile("/proc/self/status") ?? "";
  const at = status.indexOf(NAME) + NAME.length;
  const ignored = at < NAME.length ? "0" : status.slice(at, at + 16);
  if (ignored === NONE_IGNORED) return;
  const SIG_DFL = new ArrayBuffer(32); // struct kernel_sigaction, all zero
  for (let signal = 1; signal <= 64; signal++) {
    if ((BigInt(`0x${ignored}`) >> BigInt(signal - 1)) & 1n) raw.rtSigaction(signal, SIG_DFL, null, 8);
  }
}

const NONE_IGNORED = "0".repeat(16);

/** Every signal but SIGSEGV, which brings in rarely used parts of the program (host/cold.h). */
const BLOCKED = 0xffffffffffffffffn & ~(1n << 10n);

/** Blocks signals, for a signalfd; children start with none blocked. */
export function blockSignals(): void {
  defaultIgnoredSignals();
  setMask(BLOCKED);
}

/** For who has nothing more to lose. */
export const unblockSignals = (): void => setMask(0n);

const setMask = (mask: bigint): void => {
  sys.rtSigprocmask(SIG_SETMASK, new BigUint64Array([mask]).buffer as ArrayBuffer, null, 8);
};
