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
import { SIGNALS } from "../sys/constants.ts";
import { errnoText } from "../sys/errno.ts";
import { sleepMs } from "../sys/sleep.ts";
import type { WaitStatus } from "../sys/structs.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { type Streams, startCaptured } from "./captured-program.ts";
import { endsWithin, isDirectoryOfProc, PAUSE_MS } from "./process-end.ts";
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
    const isOurs = kind !== "createContainer" && kind !== "startContainer";
    const failure = runHook(hook, text, isOurs, streams);
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
  { path, args, env, timeout }: Hook,
  state: string,
  isOurs: boolean,
  streams?: Streams,
): Failure | undefined {
  const argv = args === undefined || args.length === 0 ? [path] : args;
  const { pid, errno, output } = startCaptured(path, argv, env ?? (sys.environment() as string[]), state, streams);
  const ended = errno !== undefined || timeout === undefined ? waitFor(pid) : waitWithin(pid, timeout * 1000);
  const timedOut = ended === undefined;
  if (timedOut) raw.kill(pid, 9);
  const status = ended ?? waitFor(pid);
  const said = readBack(output);
  if (errno !== undefined) {
    const error = new SysError("execve", errno, [path]);
    return {
      said: `cannot be executed: ${errnoText(error.errno).toLowerCase()}`,
      why: whyHookFails(path, error, isOurs),
    };
  }
  if (timedOut) return { said: `ran longer than its timeout of ${timeout} s and was killed${said}` };
  if (status.state === "exited" && status.code === 0) return undefined;
  return {
    said: `${status.state === "exited" ? `exit status ${status.code}` : killedBy("signal" in status ? status.signal : 0)}${said}`,
  };
}

const killedBy = (signal: number): string =>
  signal === SIGNALS.SYS ? "killed for a bad system call: the seccomp filter forbids it" : `killed by signal ${signal}`;

/** Waits for a child to end; undefined when it has not within so many milliseconds. */
function waitWithin(pid: number, ms: number): WaitStatus | undefined {
  const pidfd = raw.pidfdOpen(pid, 0);
  const isReal = pidfd >= 0 && !isDirectoryOfProc(pidfd);
  const ended = isReal && endsWithin(pidfd, ms);
  if (pidfd >= 0) raw.close(pidfd);
  if (isReal) return ended ? waitFor(pid) : undefined;
  // Before Linux 5.3; and the /proc that is in sight need not know our children by our numbers.
  for (let left = ms; left > 0; left -= PAUSE_MS) {
    const status = waitIfEnded(pid);
    if (status !== undefined) return status;
    sleepMs(PAUSE_MS);
  }
  return waitIfEnded(pid);
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
