/**
 * The OCI runtime killed with SIGKILL at any moment of any verb: afterwards everything can still be asked and deleted, nothing
 * is left, and the ID can be used again. strace(1) kills it at the entry of one call; which calls there are, a first run says.
 * A sample of them is tried, with TUPPER_EVERY_MOMENT all.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import { makeBundle, makeConfig, newId, runtime, runtimeFails, runtimePrints, stateOf } from "./bundle.ts";
import {
  atEnd,
  binary,
  eventually,
  isSanitizer,
  runDirectory,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
/** strace starts it, under the name of the file. */
const runtimeBinary = `${binary}-runtime`;
const needs = { skip: missing("subuid", "package:busybox-static") };
const traced = {
  skip:
    missing("subuid", "package:busybox-static", "package:strace") ||
    (isSanitizer ? "what the sanitizer calls is not ours" : false),
};
const MOMENTS = process.env.TUPPER_EVERY_MOMENT === undefined ? 8 : Number.POSITIVE_INFINITY;

const configOf = (args: string[], hooks?: Config["hooks"]): Config => ({
  ...makeConfig(rootfs, { args, linux: { cgroupsPath: `/tupper-crash-${process.pid}` } }),
  ...(hooks === undefined ? {} : { hooks }),
});

interface Moment {
  call: string;
  /** Which of its calls, from 1. */
  at: number;
}

/** The calls of a command, from the second execution of the program (protect-binary.ts) or the first. */
function momentsOf(args: readonly string[]): Moment[] {
  const trace = join(temporaryDirectory(), "trace");
  // No pipes: a created container would keep them open.
  const { status } = spawnSync("strace", ["-o", trace, runtimeBinary, ...args], { stdio: "ignore", timeout: 60_000 });
  assert.equal(status, 0, `strace ${args.join(" ")}`);
  const counts = new Map<string, number>();
  return readFileSync(trace, "utf8")
    .split("\n")
    .flatMap((line) => {
      const call = /^([a-z]\w*)\(/.exec(line)?.[1];
      if (call === undefined || call === "exit_group" || call === "execve") return [];
      const at = (counts.get(call) ?? 0) + 1;
      counts.set(call, at);
      return [{ call, at }];
    });
}

/** Each so many-th, so that there are about MOMENTS, from a random one on. */
function sample(moments: readonly Moment[]): Moment[] {
  const step = Math.max(1, Math.ceil(moments.length / MOMENTS));
  const first = Math.floor(Math.random() * step);
  return moments.filter((_, i) => i % step === first);
}

function killedAt({ call, at }: Moment, args: readonly string[]): void {
  spawnSync("strace", ["-o", "/dev/null", "-e", `inject=${call}:signal=KILL:when=${at}`, runtimeBinary, ...args], {
    stdio: "ignore",
    timeout: 60_000,
  });
}

interface Verb {
  name: string;
  args: (id: string, bundle: string) => string[];
  /** What must have been done before. */
  before: ("create" | "start" | "pause")[];
}

const VERBS: readonly Verb[] = [
  { name: "create", args: (id, bundle) => ["create", "--bundle", bundle, id], before: [] },
  { name: "run", args: (id, bundle) => ["run", "--detach", "--bundle", bundle, id], before: [] },
  { name: "start", args: (id) => ["start", id], before: ["create"] },
  { name: "exec", args: (id) => ["exec", id, "true"], before: ["create", "start"] },
  { name: "pause", args: (id) => ["pause", id], before: ["create", "start"] },
  { name: "resume", args: (id) => ["resume", id], before: ["create", "start", "pause"] },
  { name: "update", args: (id) => ["update", "--pids-limit", "50", id], before: ["create", "start"] },
  { name: "delete", args: (id) => ["delete", "--force", id], before: ["create", "start"] },
];

/** Files of the runtime's, and groups, below which nothing of a test is. */
function leftOnRecord(): string[] {
  const groups = [...snapshot()].filter(
    (thing) => thing.startsWith("control group") && thing.endsWith(`/tupper-crash-${process.pid}`),
  );
  return [
    ...groups,
    ...names(join(runDirectory, "tupper-runtime")).filter((name) => name.startsWith(`rt-${process.pid}-`)),
  ];
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

async function afterDeath(id: string, bundle: string, what: string): Promise<void> {
  const { code: listed, stdout } = await runtime(["list", "--format", "json"]);
  assert.equal(listed, 0, what);
  assert.ok(Array.isArray(JSON.parse(stdout)), what);
  const { code, stderr } = await runtime(["state", id]);
  assert.ok(code === 0 || stderr.includes("CONTAINER_UNKNOWN"), `${what}: ${stderr}`);
  assert.deepEqual(await runtime(["delete", "--force", id]), { stdout: "", stderr: "", code: 0 }, what);
  await eventually(`${what}: nothing is left`, () => leftOnRecord().length === 0).catch(() =>
    assert.deepEqual(leftOnRecord(), [], what),
  );
  await runtimePrints(["create", "--bundle", bundle, id]);
  await runtimePrints(["delete", id]);
}

for (const { name, args, before } of VERBS) {
  test(`${name}: SIGKILL at any call leaves what delete --force removes, and the ID is free again`, {
    // The group of a container is what they are about.
    skip: (["pause", "resume", "update"].includes(name) && missing("root")) || traced.skip,
  }, async () => {
    const bundle = makeBundle(configOf(["sleep", "600"]));
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    const prepare = async () => {
      if (before.includes("create")) await runtimePrints(["create", "--bundle", bundle, id]);
      if (before.includes("start")) await runtimePrints(["start", id]);
      if (before.includes("pause")) await runtimePrints(["pause", id]);
    };
    await prepare();
    const moments = momentsOf(args(id, bundle));
    assert.ok(moments.length > 20, `${moments.length} calls are too few`);
    assert.deepEqual(await runtime(["delete", "--force", id]), { stdout: "", stderr: "", code: 0 });
    for (const moment of sample(moments)) {
      await prepare();
      killedAt(moment, args(id, bundle));
      await afterDeath(id, bundle, `${moment.call} ${moment.at}`);
    }
  });
}

test("create: SIGKILL to the init process before start: stopped, deleted without --force", needs, async () => {
  const bundle = makeBundle(configOf(["sleep", "600"]));
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", bundle, id]);
  process.kill((await stateOf(id)).pid, "SIGKILL");
  await eventually("it has stopped", async () => (await stateOf(id)).status === "stopped");
  assert.match(
    await runtimeFails(["start", id]),
    /^CONTAINER_NOT_CREATED: cannot start a container in the stopped state/,
  );
  await runtimePrints(["delete", id]);
  assert.deepEqual(leftOnRecord(), []);
});

test("create: a hook that kills the init process: the error says so, and nothing is left", needs, async () => {
  const hook = { path: "/bin/sh", args: ["sh", "-c", `kill -9 $(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')`] };
  for (const kind of ["prestart", "createRuntime"] as const) {
    const id = newId();
    const error = await runtimeFails(["create", "--bundle", makeBundle(configOf(["true"], { [kind]: [hook] })), id]);
    assert.match(error, /^INIT_DIED: the init process was killed by signal 9/, kind);
    assert.deepEqual(leftOnRecord(), []);
  }
});

test("start: killed after the command has started: the container is running, and not created", traced, async () => {
  const bundle = makeBundle(configOf(["sleep", "600"]));
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", bundle, id]);
  // The last thing that start does is to remove the socket.
  spawnSync("strace", ["-o", "/dev/null", "-e", "inject=unlinkat:signal=KILL:when=1", runtimeBinary, "start", id], {
    stdio: "ignore",
    timeout: 60_000,
  });
  assert.equal((await stateOf(id)).status, "running");
  assert.match(await runtimeFails(["delete", id]), /^CONTAINER_RUNNING/);
  await runtimePrints(["delete", "--force", id]);
});

test("exec into a container that ends as soon as it sees the process: no command hangs", needs, async () => {
  // PID 1 takes the process with it that joins, in the middle of its set-up.
  const script = "while :; do set -- /proc/[0-9]*; [ $# -gt 1 ] && exit 0; done";
  const bundle = makeBundle(configOf(["sh", "-c", script]));
  for (let round = 0; round < 3; round++) {
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
    const { code, stderr } = await runtime(["exec", id, "true"], { timeoutMs: 15_000 });
    // Some get as far as the command before it is over.
    if (code !== 137 && code !== 0) {
      assert.equal(code, 255);
      assert.match(stderr, /^error: .* \((INIT_DIED|CONTAINER_NOT_RUNNING|JOIN_PROCESS_FAILED)\)$/m);
    }
    assert.deepEqual(await runtime(["delete", "--force", id]), { stdout: "", stderr: "", code: 0 });
  }
});
