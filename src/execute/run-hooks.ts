/**
 * Hooks: programs of the config that run while a container comes and goes. config.md, "POSIX-platform Hooks".
 *
 * The state goes in and what the program says comes out through files in memory: nothing blocks, no signal comes of a
 * program that does not read, and one that leaves children behind is not waited for longer than it lives itself.
 */
import { ContainerError } from "../error.ts";
import { whyHookFails } from "../explain-failure/exec.ts";
import type { HookOutput, HookState } from "../plan/step.ts";
import type { Hook } from "../spec/config.ts";
import type { HookName } from "../spec/names.ts";
import { POLLIN, SFD_CLOEXEC, SIGNALS } from "../sys/constants.ts";
import { errnoText } from "../sys/errno.ts";
import { nowMs } from "../sys/sleep.ts";
import { packPollfds, packSigset, packTimespec, parsePollfds, type WaitStatus } from "../sys/structs.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { type Streams, startCaptured } from "./captured-program.ts";
import { ENDING_SIGNALS, takeSignal } from "./give-up.ts";
import { isDirectoryOfProc, PAUSE_MS } from "./process-end.ts";
import { waitFor, waitIfEnded } from "./wait.ts";

/** `status` of the state that hooks of each kind are told. runtime.md, "Lifecycle". */
const STATUS: Readonly<Record<HookName, string>> = {
  prestart: "created",
  createRuntime: "creating",
  createContainer: "creating",
  startContainer: "created",
  poststart: "running",
  poststop: "stopped",
};

/** The descriptors behind slots. */
export function streamsOf(
  { stdout, stderr }: HookOutput = {},
  slots: ReadonlyMap<string, number> = new Map(),
): Streams {
  return { stdout: stdout && slots.get(stdout.slot), stderr: stderr && slots.get(stderr.slot) };
}

interface RunHooksOptions {
  /** Where their output goes; without it the error of a hook that fails has it. */
  streams?: Streams | undefined;
  onFailure?: (error: ContainerError) => void;
}

/**
 * Runs the hooks of one kind in order. `pid`: of the init process as the hooks see it, 0 when it is gone. Throws HOOK_FAILED
 * for the first that fails, unless `onFailure` takes it: then the others still run.
 */
export function runHooks(
  kind: HookName,
  hooks: readonly Hook[],
  state: HookState,
  pid: number,
  { streams, onFailure }: RunHooksOptions = {},
): void {
  const { ociVersion, id, ...rest } = state;
  const text = JSON.stringify({ ociVersion, id, status: STATUS[kind], ...(pid === 0 ? {} : { pid }), ...rest });
  for (const [i, hook] of hooks.entries()) {
    const failure = runHook(kind, hook, text, streams);
    if (failure === undefined) continue;
    const error = new ContainerError("HOOK_FAILED", `error running ${kind} hook #${i}: ${hook.path}: ${failure.said}`, {
      field: `hooks.${kind}[${i}]`,
      ...failure.why,
    });
    if (onFailure === undefined) throw error;
    onFailure(error);
  }
}

interface Failure {
  said: string;
  why?: { hint?: string; evidence?: string | undefined };
}

/** What went wrong, in words; undefined when the hook ended with 0. */
function runHook(
  kind: HookName,
  { path, args, env, timeout }: Hook,
  state: string,
  streams?: Streams,
): Failure | undefined {
  const isOurs = kind !== "createContainer" && kind !== "startContainer";
  const argv = args === undefined || args.length === 0 ? [path] : args;
  const { pid, errno, output } = startCaptured(path, argv, env ?? (sys.environment() as string[]), state, streams);
  // Signals to the init process are the command's; and who was told to end still cleans up.
  const heeds = isOurs && kind !== "poststop";
  const ended = errno === undefined ? waitWithin(pid, timeout, heeds) : waitFor(pid);
  if (typeof ended === "string") raw.kill(pid, 9);
  const status = typeof ended === "string" ? waitFor(pid) : ended;
  const said = readBack(output);
  if (errno !== undefined) {
    const error = new SysError("execve", errno, [path]);
    return {
      said: `cannot be executed: ${errnoText(error.errno).toLowerCase()}`,
      why: whyHookFails(path, error, isOurs),
    };
  }
  if (typeof ended === "string") return { said: `${ended} and was killed${said}` };
  if (status.state === "exited" && status.code === 0) return undefined;
  return {
    said: `${status.state === "exited" ? `exit status ${status.code}` : killedBy("signal" in status ? status.signal : 0)}${said}`,
  };
}

const killedBy = (signal: number): string =>
  signal === SIGNALS.SYS ? "killed for a bad system call: the seccomp filter forbids it" : `killed by signal ${signal}`;

/** So long it may go on when a signal has come that is to end us: mostly we have them blocked, and whoever sent it waits. */
const HELD_MS = 1000;

/** Waits for a child to end. Words for what it did instead, where there is nothing more to wait for. */
function waitWithin(pid: number, timeout: number | undefined, heeds: boolean): WaitStatus | string {
  const process = raw.pidfdOpen(pid, 0);
  // Not before Linux 5.3; and the /proc that is in sight need not know our children by our numbers.
  const isReal = process >= 0 && !isDirectoryOfProc(process);
  const signals = raw.signalfd4(-1, packSigset(heeds ? ENDING_SIGNALS : []), 8, SFD_CLOEXEC);
  let endMs = timeout === undefined ? Number.POSITIVE_INFINITY : nowMs() + timeout * 1000;
  let isTold = false;
  try {
    for (;;) {
      const status = waitIfEnded(pid);
      if (status !== undefined) return status;
      const leftMs = Math.min(endMs - nowMs(), isReal ? Number.POSITIVE_INFINITY : PAUSE_MS);
      if (leftMs <= 0)
        return isTold ? `did not end after ${takeSignal(signals)}` : `ran longer than its timeout of ${timeout} s`;
      const polled = packPollfds([
        { fd: isReal ? process : -1, events: POLLIN },
        { fd: isTold ? -1 : signals, events: POLLIN },
      ]);
      raw.ppoll(polled, 2, leftMs === Number.POSITIVE_INFINITY ? null : packTimespec(leftMs), null, 8);
      if (isTold || parsePollfds(polled)[1] === 0) continue;
      isTold = true;
      endMs = Math.min(endMs, nowMs() + HELD_MS);
    }
  } finally {
    raw.close(signals);
    if (process >= 0) raw.close(process);
  }
}

/** `, output: …` of what the program wrote first, on one line. */
function readBack(output: number): string {
  const start = new ArrayBuffer(16_384);
  sys.lseek(output, 0, 0);
  const length = sys.read(output, start);
  const text = (sys.decodeText(start, 0, length) as string).trim().replaceAll("\n", "; ");
  raw.close(output);
  return text === "" ? "" : `, output: ${text.slice(0, 4096)}`;
}
