/**
 * A command that is slower than others: strace(1) stops it (SIGSTOP) behind one of its calls, something happens, and it goes on.
 * Which call that is a first run says, by the line of strace's that comes next.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  lstatSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, runtime, runtimePrints, startRuntime, stateOf } from "./bundle.ts";
import {
  atEnd,
  binary,
  eventually,
  isSanitizer,
  runDirectory,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
const needs = (...more: string[]) => ({
  skip:
    missing("subuid", "package:busybox-static", "package:strace", ...more) ||
    (isSanitizer ? "what the sanitizer calls is not ours" : false),
});

/** strace starts them, each under the name of its file. */
const TUPPER = binary;
const RUNTIME = `${binary}-runtime`;

interface Held {
  goOn(): void;
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

/** The calls of a command that is let run. */
function traceOf(command: readonly string[]): string[] {
  const trace = join(temporaryDirectory(), "trace");
  spawnSync("strace", ["-s", "300", "-o", trace, ...command], { stdio: "ignore", timeout: 60_000 });
  const lines = readFileSync(trace, "utf8").split("\n");
  // Without what a part of the program that is unpacked takes (host/cold.h).
  return lines.filter((line) => /^\w+\(/.test(line) && !/^(mprotect|rt_sigreturn)/.test(line));
}

/** Starts a command that stops behind the last call before the first line that matches. */
async function holdBefore(line: RegExp, command: readonly string[], lines: readonly string[]): Promise<Held> {
  const at = lines.findIndex((each) => line.test(each));
  assert.ok(at > 0, `no call ${line} in\n${lines.join("\n")}`);
  const nameOf = (each: string) => /^\w+(?=\()/.exec(each)?.[0];
  const call = nameOf(lines[at - 1] ?? "") ?? "";
  return hold(call, lines.slice(0, at).filter((each) => nameOf(each) === call).length, command);
}

/** Starts a command that stops at or behind the n-th call of this name: behind, but where a call looks for signals itself. */
async function hold(call: string, nth: number, command: readonly string[]): Promise<Held> {
  const directory = temporaryDirectory();
  const file = (name: string) => join(directory, name);
  const fds = [openSync("/dev/null", "r"), openSync(file("out"), "w"), openSync(file("err"), "w")];
  writeFileSync(file("trace"), "");
  // -D: the command is our child, and strace its.
  const inject = ["-e", `trace=${call}`, "-e", `inject=${call}:signal=STOP:when=${nth}`];
  const child: ChildProcess = spawn("strace", ["-D", "-o", file("trace"), ...inject, ...command], {
    stdio: [0, 1, 2].map((i) => fds[i] ?? 0),
  });
  for (const fd of fds) closeSync(fd);
  atEnd(() => child.kill("SIGKILL"));
  const exit = once(child, "exit") as Promise<[number | null]>;
  const read = (name: string) => readFileSync(file(name), "utf8");
  await eventually(`it stops at ${call} ${nth}`, () => read("trace").includes("--- stopped by SIGSTOP ---"));
  return {
    goOn: () => child.kill("SIGCONT"),
    ended: exit.then(([code]) => ({ code, stdout: read("out"), stderr: read("err") })),
  };
}

/** A bundle and an ID, which is deleted at the end. */
function container(): { id: string; create: string[] } {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  return { id, create: ["create", "--bundle", makeBundle(makeConfig(rootfs)), id] };
}

test("state: of a container that is deleted meanwhile it does not say that it runs", needs(), async () => {
  const { id, create } = container();
  await runtimePrints(create);
  const state = [RUNTIME, "state", id];
  const held = await holdBefore(/^faccessat.*\/start"/, state, traceOf(state));
  await runtimePrints(["delete", "--force", id]);
  held.goOn();
  const { stdout } = await held.ended;
  assert.equal((JSON.parse(stdout) as { status: string }).status, "stopped");
});

test("state: of a container that has been created meanwhile it does not say that it has stopped", needs(), async () => {
  const { id, create } = container();
  const making = traceOf([RUNTIME, ...create]);
  await runtimePrints(["delete", id]);
  const maker = await holdBefore(/^symlinkat\(.*\/init"/, [RUNTIME, ...create], making);
  assert.equal((await stateOf(id)).status, "creating");
  const state = [RUNTIME, "state", id];
  const held = await holdBefore(/^faccessat.*\/state.json"/, state, traceOf(state));
  maker.goOn();
  assert.equal((await maker.ended).code, 0);
  held.goOn();
  const { stdout } = await held.ended;
  assert.equal((JSON.parse(stdout) as { status: string }).status, "created");
});

test("state: of a created container whose process is dying it does not say that it runs", needs(), async () => {
  const { id, create } = container();
  await runtimePrints(create);
  // The first process of a PID namespace is no zombie before all others are reaped, and here nobody reaps.
  const exec = startRuntime(["exec", id, "sh", "-c", "echo there; exec sleep 600"]);
  await eventually("it is there", () => exec.stdout() === "there\n");
  exec.kill("SIGSTOP");
  await runtimePrints(["kill", id, "KILL"]);
  let status = "created";
  await eventually("the kill has an effect", async () => {
    ({ status } = await stateOf(id));
    return status !== "created";
  });
  exec.kill("SIGCONT");
  assert.equal((await exec.ended).code, 137);
  assert.equal(status, "stopped");
});

test("start: a container that is killed when it is about to be told was not created", needs(), async () => {
  const { id, create } = container();
  await runtimePrints(create);
  const lines = traceOf([RUNTIME, "start", id]);
  await runtimePrints(["delete", "--force", id]);
  await runtimePrints(create);
  const held = await holdBefore(/^sendmsg/, [RUNTIME, "start", id], lines);
  await runtimePrints(["kill", id, "KILL"]);
  await eventually("it has stopped", async () => (await stateOf(id)).status === "stopped");
  held.goOn();
  const { code, stderr } = await held.ended;
  assert.equal(code, 1);
  assert.match(stderr, /^error: the container does not wait to be started \(CONTAINER_NOT_CREATED\)$/m);
});

test(
  "start: NOTIFY_SOCKET of the container is for each of its users, and what has its name meanwhile stays as it is",
  needs(),
  async () => {
    const { id } = container();
    const victim = join(temporaryDirectory(), "victim");
    writeFileSync(victim, "", { mode: 0o600 });
    const config = makeConfig(rootfs, { args: ["true"] });
    config.mounts?.push({ destination: "/run", type: "tmpfs", source: "tmpfs" });
    await runtimePrints(["create", "--bundle", makeBundle(config), id], { env: { NOTIFY_SOCKET: "/nowhere" } });
    const script = `umask 077; NOTIFY_SOCKET=/nowhere exec ${RUNTIME} start ${id}`;
    const held = await hold("bind", 1, ["sh", "-c", script]);
    const socket = join(runDirectory, "tupper-runtime", id, "notify", "notify.sock");
    const { mode } = lstatSync(socket);
    // A privileged container mounts the directory anew.
    unlinkSync(socket);
    symlinkSync(victim, socket);
    held.goOn();
    assert.deepEqual(await held.ended, { code: 0, stdout: "", stderr: "" });
    assert.equal(statSync(victim).mode & 0o777, 0o600);
    assert.equal(mode & 0o777, 0o777);
  },
);

test(
  "run --memory: SIGSTOP while a limit is written does not keep it from being set",
  needs("root", "cgroup1", "cgroup:memory"),
  async () => {
    const command = [TUPPER, "run", "--memory", "100m", rootfs, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    const writes = traceOf(command).filter((line) => line.startsWith("write("));
    const at = writes.findIndex((line) => line.includes('"104857600"'));
    assert.ok(at >= 0, writes.join("\n"));
    const held = await hold("write", at + 1, command);
    held.goOn();
    assert.deepEqual(await held.ended, { code: 0, stdout: "104857600\n", stderr: "" });
  },
);

/** Whether the command with these words sleeps in ppoll, by its number on x86-64 and arm64. */
function isPolling(words: string): boolean {
  const pid = spawnSync("pgrep", ["-f", `${words}$`], { encoding: "utf8" }).stdout.trim();
  return pid !== "" && /^(?:271|73) /.test(readFileSync(`/proc/${pid}/syscall`, "utf8"));
}

test("delete: right after kill KILL, while the process is still ending", needs(), async () => {
  const id = newId();
  await runtimePrints(["run", "--detach", "--bundle", makeBundle(makeConfig(rootfs, { args: ["sleep", "600"] })), id]);
  atEnd(() => runtime(["delete", "--force", id]));
  const exec = startRuntime(["exec", id, "sh", "-c", "echo there; exec sleep 600"]);
  await eventually("exec's process is there", () => exec.stdout() === "there\n");
  // Process 1 of a PID namespace ends when all in it have been reaped, and that one is exec's.
  exec.kill("SIGSTOP");
  await runtimePrints(["kill", id, "KILL"]);
  const deleting = runtime(["delete", id]);
  await eventually("delete waits", () => isPolling(`delete ${id}`));
  exec.kill("SIGCONT");
  assert.deepEqual(await deleting, { stdout: "", stderr: "", code: 0 });
  assert.equal((await exec.ended).code, 137);
});
