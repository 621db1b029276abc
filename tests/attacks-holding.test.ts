/**
 * A prisoner who has processes of the machine or of another container in sight stops, by a signal, those that come into his container
 * or wait in it, so that a command waits for them for ever: and with it all that wait for the container's lock. What the freezer of
 * his control group can do is in attacks-freezer.test.ts.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { Config } from "../src/spec/config.ts";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  type RuntimeRunning,
  running,
  runtime,
  runtimePrints,
  startRuntime,
  stateOf,
} from "./bundle.ts";
import { atEnd, compiled, eventually, isSanitizer, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { inUserNamespace } from "./runtime-config.ts";

watchForLeftovers();
const skip = missing("root", "package:busybox-static", "package:util-linux", "programs");
const records = "/run/tupper-runtime";

/** A container in a user namespace that has the machine's processes in sight, and stops those whose command line has this word. */
async function prisoner(word: string): Promise<string> {
  const root = makeRootfs({ "bin/stop_named": { copyOf: compiled("stop_named"), mode: 0o755 } });
  const config: Config = makeConfig(root, {
    args: ["stop_named", word],
    mounts: [{ destination: "/proc", type: "bind", source: "/proc", options: ["rbind"] }],
    linux: { namespaces: (["network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type })) },
  });
  inUserNamespace(config);
  const [id, said] = [newId(), join(temporaryDirectory(), "said")];
  atEnd(() => runtime(["delete", "--force", id]));
  const started = await runtime(["run", "--detach", "--bundle", makeBundle(config), id], {
    prefix: ["sh", "-c", `exec "$@" >${said}`, "sh"],
  });
  assert.deepEqual(started, { stdout: "", stderr: "", code: 0 });
  await eventually("the prisoner is ready", () => readFileSync(said, "utf8").startsWith("ready\n"));
  return id;
}

/** The process with this word in its command line that is stopped. proc_pid_stat(5) */
function stopped(word: string): string | undefined {
  return readdirSync("/proc").find((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(word) &&
        readFileSync(`/proc/${pid}/stat`, "utf8").includes(") T ")
      );
    } catch {
      return false; // gone meanwhile
    }
  });
}

/** A `mounts add` whose process in the container is stopped. Undefined where the prisoner runs too seldom beside it. */
async function held(id: string, file: string): Promise<RuntimeRunning | undefined> {
  for (let tries = 0; tries < 100; tries++) {
    const command = startRuntime(["mounts", "add", id, file]);
    let over = false;
    void command.ended.then(() => {
      over = true;
    });
    await eventually("it is held or has ended", () => over || stopped(file) !== undefined);
    // Who is stopped when it has placed all is not waited for.
    await setTimeout(100);
    if (!over && stopped(file) !== undefined) return command;
    assert.deepEqual(await command.ended, { stdout: "", stderr: "", code: 0 });
  }
  return undefined;
}

const NEVER_HELD = "none of 100 processes was held";

/** So many that it takes a while. */
function requestFile(): string {
  const file = join(temporaryDirectory(), "mounts.json");
  const mounts = Array.from({ length: 300 }, (_, i) => ({ type: "tmpfs", source: "tmpfs", destination: `/new/${i}` }));
  writeFileSync(file, JSON.stringify(mounts));
  return file;
}

for (const signal of ["SIGTERM", "SIGINT"] as const)
  test(`mounts add: ${signal} ends it where its process is stopped by what runs in the container`, {
    skip,
  }, async (t) => {
    const file = requestFile();
    const id = await prisoner(file);
    const add = await held(id, file);
    if (add === undefined) return t.skip(NEVER_HELD);
    add.kill(signal);
    const { stdout, stderr, code } = await add.ended;
    assert.match(stderr, new RegExp(`^error: ended by ${signal} before the mounts .* \\(JOIN_INTERRUPTED\\)$`, "m"));
    assert.deepEqual({ stdout, code, held: stopped(file) }, { stdout: "", code: 1, held: undefined });
    await runtimePrints(["delete", "--force", id]); // its lock is free
  });

test("delete --force: ends a container that holds a mounts add, and the mounts add", { skip }, async (t) => {
  const file = requestFile();
  const id = await prisoner(file);
  const add = await held(id, file);
  if (add === undefined) return t.skip(NEVER_HELD);
  await runtimePrints(["delete", "--force", id]);
  const { stderr, code } = await add.ended;
  assert.match(stderr, /^error: the container ended before its mounts were changed \(CONTAINER_NOT_RUNNING\)$/m);
  assert.deepEqual({ code, held: stopped(file) }, { code: 1, held: undefined });
});

test("delete --force: ends a container whose first process is stopped while start waits for it", { skip }, async () => {
  const id = await created(makeConfig(makeRootfs()));
  const { pid } = await stateOf(id);
  // As who shares its PID namespace may.
  process.kill(pid, "SIGSTOP");
  const start = startRuntime(["start", id]);
  await eventually("start has the lock", () => spawnSync("flock", ["-n", join(records, id), "true"]).status === 1);
  await runtimePrints(["delete", "--force", id]);
  assert.match((await start.ended).stderr, /^error: .* \(INIT_DIED\)$/m);
});

/** The process of this command line, while it has a file open. */
async function processWith(words: readonly string[], file: string): Promise<number> {
  let found: string | undefined;
  const holds = (pid: string) => {
    try {
      return (
        readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(1, -1).join(" ") === words.join(" ") &&
        readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === file)
      );
    } catch {
      return false; // gone meanwhile
    }
  };
  await eventually(`${words.join(" ")} has ${file}`, () => {
    found = readdirSync("/proc").find((pid) => /^\d+$/.test(pid) && holds(pid));
    return found !== undefined;
  });
  return Number(found);
}

/** Who is told on stdin when to take the lock on a directory, which need not have its name any more, and when to let go of it. */
async function lockHolder(directory: string): Promise<{ turn(): Promise<void> }> {
  const script = 'exec 9<"$0"; echo; while read -r; do flock 9; echo; read -r; flock -u 9; echo; done';
  const child = spawn("bash", ["-c", script, directory], { stdio: ["pipe", "pipe", "inherit"] });
  atEnd(() => child.kill("SIGKILL"));
  let [turns, said] = [1, 0];
  child.stdout.on("data", (text) => {
    said += String(text).length;
  });
  const done = () => eventually("the lock is taken or free", () => said === turns);
  await done();
  const turn = async () => {
    turns++;
    child.stdin.write("\n");
    await done();
  };
  return { turn };
}

/** A created container whose lock somebody has, and the words that create it. */
async function heldContainer(): Promise<{ id: string; create: string[]; holder: { turn(): Promise<void> } }> {
  const bundle = makeBundle(makeConfig(makeRootfs()));
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const create = ["create", "--bundle", bundle, id];
  await runtimePrints(create);
  const holder = await lockHolder(join(records, id));
  await holder.turn();
  return { id, create, holder };
}

/** The number of flock(2). */
const FLOCK = process.arch === "x64" ? 73 : 32;

for (const isHeld of [false, true])
  test(`delete --force: ends no container that got the ID while it waited${isHeld ? ", and others wait too" : ""}`, {
    skip,
  }, async () => {
    const { id, create, holder } = await heldContainer();
    const words = ["delete", "--force", id];
    const deletion = startRuntime(words);
    const pid = await processWith(words, join(records, id));
    process.kill(pid, "SIGSTOP");
    await holder.turn();
    await runtimePrints(words);
    await runtimePrints(create);
    const before = await stateOf(id);
    // Of the directory that was removed.
    if (isHeld) await holder.turn();
    process.kill(pid, "SIGCONT");
    if (isHeld) {
      // Before that it sleeps between two looks. proc_pid_syscall(5)
      const waits = () => readFileSync(`/proc/${pid}/syscall`, "utf8").startsWith(`${FLOCK} `);
      await eventually("its patience is at an end", waits, 20_000);
      await holder.turn();
    }
    assert.deepEqual(await deletion.ended, { stdout: "", stderr: "", code: 0 });
    assert.deepEqual(await stateOf(id), before);
  });

test("delete --force: kills nothing in control groups that a new container has got meanwhile", {
  skip: skip || missing("package:strace") || (isSanitizer && "it makes calls of its own"),
}, async () => {
  const { id, create, holder } = await heldContainer();
  const inject = "inject=pidfd_send_signal:delay_exit=1000000:when=1";
  const prefix = ["strace", "-qq", "-o", "/dev/null", "-e", inject];
  const deletion = startRuntime(["delete", "--force", id], { prefix });
  await eventually("it is killed", async () => (await stateOf(id)).status === "stopped", 20_000);
  await holder.turn();
  await runtimePrints(["delete", id]);
  await runtimePrints(create);
  const before = await stateOf(id);
  assert.deepEqual(await deletion.ended, { stdout: "", stderr: "", code: 0 });
  assert.deepEqual(await stateOf(id), before);
});

test("delete --force: kills nothing while another command has the lock for a moment", { skip }, async () => {
  const id = await running(makeConfig(makeRootfs()));
  const { pid } = await stateOf(id);
  const begin = Date.now();
  const holder = spawn("flock", [
    join(records, id),
    "sh",
    "-c",
    `sleep 0.1; kill -0 ${pid} && echo alive; date +%s%3N`,
  ]);
  let said = "";
  holder.stdout.on("data", (text) => {
    said += String(text);
  });
  const over = new Promise((done) => holder.on("close", done));
  await eventually("the lock is held", () => spawnSync("flock", ["-n", join(records, id), "true"]).status === 1);
  await runtimePrints(["delete", "--force", id]);
  await over;
  const [answer, end] = said.split("\n");
  // Unless this machine was so slow that it was no moment.
  if (Number(end ?? said) - begin < 1900) assert.equal(answer, "alive");
});
