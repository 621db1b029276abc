/**
 * What all black-box suites share: running the binary, waiting for what it prints, and looking for what it left.
 *
 * The binary is TUPPER_BINARY, else build/tupper. A suite calls `watchForLeftovers()` once: after each of its tests what
 * the test asked for with `atEnd` is done, and then nothing of tupper may be on the machine that was not there before.
 */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";
import { switchesOf, weakenedBinary } from "./weakened.ts";

const repository = fileURLToPath(new URL("..", import.meta.url));
export const binary = resolve(process.env.TUPPER_BINARY ?? join(repository, "build/tupper"));
export const isRoot = process.getuid?.() === 0;
/** Where tupper keeps what it must know of containers: root's and a user's. */
export const runDirectory = isRoot ? "/run" : (process.env.XDG_RUNTIME_DIR ?? "/tmp");
/** The sanitizer build is some ten times slower, and its runtime library reserves terabytes of addresses. */
export const isSanitizer = binary.includes("sanitize");
/** How many times slower than usual everything is: virtual machines without KVM say so, and get so much more time. */
export const slowness = Number(process.env.TUPPER_SLOWNESS ?? 1);

export interface User {
  name: string;
  uid: number;
  gid: number;
  /** A directory of its own, which is HOME and XDG_RUNTIME_DIR. */
  home: string;
}

export interface Options {
  /** What stdin holds, or { open: true } to write to it later; without it stdin is empty. */
  input?: string | { open: true };
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  user?: User;
  timeoutMs?: number;
  /** A command that the binary and its arguments are handed to, such as `setpriv --reuid 1`. */
  prefix?: readonly string[];
  /** The weakened build, with these switches on (weaknesses.ts). */
  weak?: string | undefined;
}

export interface Result {
  stdout: string;
  stderr: string;
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Running {
  pid: number;
  child: ChildProcessWithoutNullStreams;
  /** What it has printed up to now. */
  stdout(): string;
  stderr(): string;
  /** Waits until stdout matches. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  ended: Promise<Result>;
}

const cleanups: (() => unknown)[] = [];

/** Done after the test, last first, before the machine is looked at. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

export const environmentOf = ({ name, home }: User): NodeJS.ProcessEnv => ({
  HOME: home,
  USER: name,
  XDG_RUNTIME_DIR: home,
});

/** Starts the binary and does not wait for it. Killed at the end of the test if it is still there. */
export function start(args: readonly string[], options: Options = {}): Running {
  const { input, env, cwd = "/", user, timeoutMs = 30_000, prefix = [], weak } = options;
  const program = weak !== undefined ? weakenedBinary : user === undefined ? binary : binaryFor(user);
  const [file = "", ...rest] = [...prefix, program, ...args];
  const child = spawn(file, rest, {
    cwd,
    env: {
      ...process.env,
      ...(user === undefined ? {} : environmentOf(user)),
      ...switchesOf(weak),
      ...env,
    },
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {}); // it may end without having read all
  if (typeof input !== "object") child.stdin.end(input);
  const ended = new Promise<Result>((done, failed) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      failed(
        new Error(`${JSON.stringify(args)} did not end within ${timeoutMs} ms\nstdout: ${stdout}\nstderr: ${stderr}`),
      );
    }, timeoutMs * slowness);
    child.on("error", failed);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      done({ stdout, stderr, code, signal });
    });
  });
  ended.catch(() => {}); // reported where somebody waits for it
  atEnd(() => endGently(child, ended));
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const match = pattern.exec(stdout);
      if (match !== null) return match;
      const isOver = child.exitCode !== null || child.signalCode !== null;
      assert.ok(!isOver, `${JSON.stringify(args)} ended without ${pattern}\nstdout: ${stdout}\nstderr: ${stderr}`);
      await sleep(2);
    }
  };
  return { pid: child.pid ?? 0, child, stdout: () => stdout, stderr: () => stderr, until, ended };
}

/** SIGTERM first; a tupper that had to be killed leaves things for the next command to clean up. */
async function endGently(child: ChildProcessWithoutNullStreams, ended: Promise<Result>): Promise<void> {
  const kill = (signal: NodeJS.Signals) => child.exitCode === null && child.signalCode === null && child.kill(signal);
  kill("SIGTERM");
  const timer = setTimeout(() => kill("SIGKILL"), 1500);
  await ended.catch(() => {});
  clearTimeout(timer);
  if (child.signalCode === "SIGKILL") spawnSync(binary, ["ps"]);
}

/** Runs the binary to its end. */
export function tupper(args: readonly string[], options: Options = {}): Promise<Result> {
  return start(args, options).ended;
}

/** Before Linux 5.11 the root of a container in a user namespace becomes a copy; tests/rootless.test.ts looks at the warning. */
const COPIED =
  /^warning: the root is copied to memory, which --size limits: Linux 5\.\d+ makes no overlay in a user namespace .*\n/m;
export const withoutCopyWarning = (stderr: string): string =>
  missing("kernel:5.11") ? stderr.replace(COPIED, "") : stderr;

/** Runs a command that must succeed and print no warning; what it printed. */
export async function prints(args: readonly string[], options: Options = {}): Promise<string> {
  const { stdout, code, signal, ...result } = await tupper(args, options);
  const stderr = withoutCopyWarning(result.stderr);
  assert.deepEqual({ stderr, code, signal }, { stderr: "", code: 0, signal: null }, `tupper ${args.join(" ")}`);
  return stdout;
}

/** What a shell script prints in a container of the usual root filesystem: `sees(["--memory", "64m"], "free")`. */
export function sees(root: string, flags: readonly string[], script: string, options: Options = {}): Promise<string> {
  return prints(["run", ...flags, root, "sh", "-c", script], options);
}

export interface Failure {
  /** The sentence after `error:`, without its code. */
  message: string;
  code: string;
  /** The lines below it: config, flag, kernel, hint. */
  details: Record<string, string>;
  exitCode: number | null;
}

/** Runs a command that must fail with one error in the house's form and nothing else but warnings before it. */
export async function fails(args: readonly string[], options: Options = {}): Promise<Failure> {
  const { stdout, stderr, code } = await tupper(args, options);
  const [first = "", ...rest] = stderr.replace(/^(warning: .*\n)+/, "").split("\n");
  const match = /^error: (.+) \(([A-Z][A-Z0-9_]*)\)$/.exec(first);
  assert.ok(match, `tupper ${args.join(" ")}: exit ${code}, no error in the house's form:\n${stderr}${stdout}`);
  assert.equal(stdout, "");
  const details: Record<string, string> = {};
  for (const line of rest) {
    const detail = /^ {2}(config|flag|arg|kernel|found|hint): +(.+)$/.exec(line);
    if (detail !== null) details[detail[1] ?? ""] = detail[2] ?? "";
    else assert.match(line, /^(usage: tupper .+)?$/, `a line that belongs to no error:\n${stderr}`);
  }
  return { message: match[1] ?? "", code: match[2] ?? "", details, exitCode: code };
}

let containers = 0;

/** A container that runs until the end of the test; `script` goes on with `sleep` once it has printed "ready". */
export async function background(
  root: string,
  flags: readonly string[] = [],
  { script = ":", ...options }: Options & { script?: string } = {},
): Promise<Running & { name: string }> {
  const name = `test-${process.pid}-${++containers}`;
  const running = start(
    ["run", "--name", name, ...flags, root, "sh", "-c", `trap 'exit 0' TERM; ${script}\necho ready; sleep 600 & wait`],
    { timeoutMs: 60_000, ...options },
  );
  await running.until(/ready\n/);
  // The command may be faster than the note of its number.
  const isOnRecord = async () => (await prints(["ps", "--format", "json"], options)).match(`"${name}"[^}]*"running"`);
  await eventually(`${name} is on record`, isOnRecord);
  return { ...running, name };
}

/** The process of the container's PID 1, by its number outside. */
export async function pidOf(name: string, options: Options = {}): Promise<number> {
  const [found] = JSON.parse(await prints(["inspect", name], options)) as { pid: number }[];
  assert.ok(found !== undefined && found.pid > 0, `tupper inspect ${name} names no process`);
  return found.pid;
}

/** Polls until `condition` holds. */
export async function eventually(what: string, condition: () => unknown, timeoutMs = 5000): Promise<void> {
  const deadline = Date.now() + timeoutMs * slowness;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `${what}: not within ${timeoutMs} ms`);
    await sleep(10);
  }
}

/** A temporary directory that others may enter. Removed at the end of the test. */
export function temporaryDirectory(within = tmpdir()): string {
  const path = mkdtempSync(join(within, "tupper-test-"));
  chmodSync(path, 0o755);
  atEnd(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The output of a command of the machine; throws when it fails. */
export function output(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Compiles a C program of tests/programs statically, once per test run; its path. Where there is no compiler, TUPPER_TEST_PROGRAMS has them. */
export function compiled(name: string): string {
  if (process.env.TUPPER_TEST_PROGRAMS !== undefined) return join(process.env.TUPPER_TEST_PROGRAMS, name);
  const known = programs.get(name);
  if (known !== undefined) return known;
  const directory = mkdtempSync(join(tmpdir(), "tupper-test-programs-"));
  chmodSync(directory, 0o755);
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, name);
  const headers = join(repository, "build/kernel-headers");
  output("musl-gcc", "-static", "-O1", "-idirafter", headers, "-o", path, join(repository, `tests/programs/${name}.c`));
  programs.set(name, path);
  return path;
}

const programs = new Map<string, string>();

/** Where the user can execute it: a checkout below /root is closed to others. */
export function binaryFor(user: User): string {
  const reachable = spawnSync("test", ["-x", binary], { uid: user.uid, gid: user.gid }).status === 0;
  if (reachable) return binary;
  const copy = join(user.home, "tupper");
  copyFileSync(binary, copy);
  chmodSync(copy, 0o755);
  chownSync(copy, user.uid, user.gid);
  return copy;
}

/** Whether there is such a process. One that waits for its parent to take note of its end runs no more. */
export function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false; // gone
  }
}

/** Once per suite: nothing of a test may be left after it. */
export function watchForLeftovers(users: () => readonly User[] = () => []): void {
  const homes = () => users().map(({ home }) => home);
  let before = new Set<string>();
  beforeEach(() => {
    before = snapshot(homes());
  });
  afterEach(async () => {
    for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
    // The kernel takes its time: a namespace's devices go after its last process, orphans are reaped by process 1.
    let left: string[] = [];
    for (let waitedMs = 0; waitedMs < 3000 * slowness; waitedMs += 50) {
      left = [...snapshot(homes())].filter((thing) => !before.has(thing));
      if (left.length === 0) return;
      await sleep(50);
    }
    assert.deepEqual(left, [], "left on the machine");
  });
}
