/**
 * A prisoner who may write to his own control groups (the freezer's of v1, or v2's, mounted writable) tries to make his container
 * one that nobody can end, and to hold whoever joins it. On v2 the kernel lets the frozen die.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  makeBundle,
  makeConfig,
  newId,
  type RuntimeRunning,
  runtime,
  runtimePrints,
  startRuntime,
  stateOf,
  untilStatus,
} from "./bundle.ts";
import { atEnd, compiled, eventually, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";

watchForLeftovers();
const skip = missing("root", "package:busybox-static", "programs", "cgroup:freezer");
const isUnified = missing("unified") === false;

/** Runs a container whose first process does this; what it says. */
async function prisoner(what: string, linux?: Config["linux"]): Promise<{ id: string }> {
  const root = makeRootfs({ "bin/freeze_groups": { copyOf: compiled("freeze_groups"), mode: 0o755 } });
  if (linux !== undefined) output("chown", "-hR", "100000:100000", root);
  const config = makeConfig(root, {
    args: ["freeze_groups", isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/freezer", what],
    process: { capabilities: { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] } },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"] },
    ],
    ...(linux === undefined ? {} : { linux }),
  });
  const [id, file] = [newId(), join(temporaryDirectory(), "said")];
  atEnd(() => runtime(["delete", "--force", id]));
  const started = await runtime(["run", "--detach", "--bundle", makeBundle(config), id], {
    prefix: ["sh", "-c", `exec "$@" >${file}`, "sh"],
  });
  assert.deepEqual(started, { stdout: "", stderr: "", code: 0 });
  const said = () => readFileSync(file, "utf8");
  await eventually("the prisoner is ready", () => said().startsWith("ready\n"));
  return { id };
}

for (const [what, how] of [
  ["nested", "frozen in a group two levels below"],
  ["loop", "frozen there again and again"],
  ["deep", "frozen in a group that no path names"],
] as const) {
  test(`kill KILL: ends a container with a process that is ${how}`, { skip }, async () => {
    const { id } = await prisoner(what);
    await runtimePrints(["kill", id, "KILL"]);
    await untilStatus(id, "stopped");
    await runtimePrints(["delete", id]);
  });

  test(`delete --force: ends a container with a process that is ${how}`, { skip }, async () => {
    const { id } = await prisoner(what);
    await runtimePrints(["delete", "--force", id]);
  });
}

test("kill --all KILL: ends a container with processes frozen in groups below", { skip }, async () => {
  const { id } = await prisoner("loop");
  await runtimePrints(["kill", "--all", id, "KILL"]);
  await untilStatus(id, "stopped");
});

/** For as long as the prisoner likes: state T, or in the frozen group, D there on v1 and S on v2. proc_pid_stat(5) */
function standsStill(pid: string): boolean {
  const state = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.charAt(0);
  if (state === "T") return true;
  const isFrozen = /^(\d+:freezer|0:):.*\/below$/m.test(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  return isFrozen && state === (isUnified ? "S" : "D");
}

/** Who of an `exec` is held: its own process, or what is the command already. */
function heldOf(name: string, word = `held-${name}`): "joiner" | "command" | undefined {
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (!args.includes(word) || !standsStill(pid)) continue;
      return args[0] === "true" ? "command" : "joiner";
    } catch {
      // gone meanwhile
    }
  return undefined;
}

/** An `exec` whose own process the prisoner holds. Where he holds what is the command already, that is his own to hold: the next is tried. */
async function heldJoiner(id: string): Promise<{ exec: RuntimeRunning; name: string } | undefined> {
  for (let tries = 0; tries < 200; tries++) {
    const name = `${id}-${tries}`;
    const exec = startRuntime(["exec", id, "true", `held-${name}`]);
    let over = false;
    void exec.ended.then(() => {
      over = true;
    });
    await eventually("it is held or has ended", () => over || heldOf(name) !== undefined);
    const held = heldOf(name);
    if (held === "joiner") return { exec, name };
    exec.kill("SIGKILL");
    await exec.ended;
  }
  return undefined;
}

/** The prisoner runs too seldom beside what joins: so it is where one processor is emulated as two, in a user namespace. */
const NEVER_HELD = "none of 200 processes was held";

const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const mapped: Config["linux"] = {
  namespaces: (["user", "pid", "network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type })),
  uidMappings: ids,
  gidMappings: ids,
};

for (const [what, signal, how, linux] of [
  ["joiners", "SIGTERM", "frozen", undefined],
  ["stop", "SIGINT", "stopped", undefined],
  // There a process in between has made it.
  ["stop", "SIGHUP", "stopped in a user namespace", mapped],
] as const)
  test(`exec: ${signal} ends it where its process is ${how} before the command runs`, { skip }, async (t) => {
    const { id } = await prisoner(what, linux);
    const joiner = await heldJoiner(id);
    if (joiner === undefined) return t.skip(NEVER_HELD);
    const { exec, name } = joiner;
    exec.kill(signal);
    const { stdout, stderr, code } = await exec.ended;
    assert.match(stderr, new RegExp(`^error: ended by ${signal} before the command ran \\(JOIN_INTERRUPTED\\)$`, "m"));
    assert.deepEqual({ stdout, code, held: heldOf(name) }, { stdout: "", code: 255, held: undefined });
    await runtimePrints(["delete", "--force", id]);
  });

test("run: SIGTERM ends it where its process is stopped in the PID namespace of another container", {
  skip,
}, async (t) => {
  const { id } = await prisoner("stop");
  const { pid } = await stateOf(id);
  const name = newId();
  atEnd(() => runtime(["delete", "--force", name]));
  const namespaces = [{ type: "pid" as const, path: `/proc/${pid}/ns/pid` }, { type: "mount" as const }];
  const config = makeConfig(makeRootfs(), { args: ["true", name], linux: { namespaces } });
  Reflect.deleteProperty(config, "hostname");
  const bundle = makeBundle(config);
  for (let tries = 0; ; tries++) {
    if (tries === 200) return t.skip(NEVER_HELD);
    const run = startRuntime(["run", "--bundle", bundle, name]);
    let over = false;
    void run.ended.then(() => {
      over = true;
    });
    const held = () => heldOf(name, name);
    await eventually("it is held or has ended", () => over || held() !== undefined);
    if (held() !== "joiner") {
      run.kill("SIGKILL");
      await run.ended;
      await runtimePrints(["delete", "--force", name]);
      continue;
    }
    run.kill("SIGTERM");
    const { stderr, code } = await run.ended;
    assert.match(stderr, /^error: ended by SIGTERM before the command ran \(JOIN_INTERRUPTED\)$/m);
    assert.equal(code, 1);
    assert.equal(held(), undefined);
    return;
  }
});

test("exec: killed while its process is frozen, it leaves nothing that delete --force does not end", {
  skip,
}, async (t) => {
  const { id } = await prisoner("joiners");
  const joiner = await heldJoiner(id);
  if (joiner === undefined) return t.skip(NEVER_HELD);
  const { exec, name } = joiner;
  exec.kill("SIGKILL");
  await exec.ended;
  await runtimePrints(["delete", "--force", id]);
  assert.equal(heldOf(name), undefined);
});
