/**
 * A prisoner who has processes of the machine or of another container in sight stops, by a signal, those that come into his container
 * or wait in it, so that a command waits for them for ever: and with it all that wait for the container's lock. What the freezer of
 * his control group can do is in attacks-freezer.test.ts.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
import { atEnd, compiled, eventually, temporaryDirectory, watchForLeftovers } from "./harness.ts";
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
