/**
 * Set-ups that fail, step by step: the error names the field, and nothing is left (processes, groups, mounts, records: the
 * harness looks). Then the undoing of what had been done: hooks after a failure, groups that are still in use.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  type ConfigChange,
  makeBundle,
  makeConfig,
  newId,
  runtime,
  runtimeFails,
  runtimePrints,
  stateOf,
} from "./bundle.ts";
import {
  atEnd,
  eventually,
  isRunning,
  output,
  runDirectory,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs({ "data/": "" });
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
const GROUP = `tupper-failures-${process.pid}`;

type Hooks = NonNullable<Config["hooks"]>;

function configOf({ hooks, ...change }: ConfigChange & { hooks?: Hooks } = {}): Config {
  const config = makeConfig(rootfs, { ...change, linux: { cgroupsPath: `/${GROUP}`, ...change.linux } });
  if (!config.linux.namespaces?.some(({ type }) => type === "uts")) delete config.hostname;
  return { ...config, ...(hooks === undefined ? {} : { hooks }) };
}

interface Failure {
  code: string;
  field: string;
}

/** How create fails; nothing of the container is there afterwards. */
async function failureOf(config: Config, flags: readonly string[] = []): Promise<Failure> {
  const id = newId();
  const { stderr, stdout, code } = await runtime(["create", "--bundle", makeBundle(config), ...flags, id]);
  assert.deepEqual({ stdout, code }, { stdout: "", code: 1 }, stderr);
  const field = /^ {2}(?:config|flag|arg): +(.+)$/m.exec(stderr)?.[1] ?? "";
  assertGone(id);
  return { code: /\(([A-Z][A-Z0-9_]*)\)$/m.exec(stderr)?.[1] ?? stderr, field };
}

function assertGone(id: string): void {
  assert.equal(existsSync(join(runDirectory, "tupper-runtime", id)), false, "its record is left");
  assert.equal(output("find", "/sys/fs/cgroup", "-type", "d", "-name", GROUP), "", "its control groups are left");
}

const hook = (script: string, more: { timeout?: number } = {}) => ({
  path: "/bin/sh",
  args: ["sh", "-c", script],
  env: ["PATH=/usr/bin:/bin"],
  ...more,
});
const fails = hook("echo no; exit 3");

const mountsOf = (...more: NonNullable<Config["mounts"]>): ConfigChange => ({
  mounts: [...(makeConfig(rootfs).mounts ?? []), ...more],
});
/** The three usual ones come before it. */
const MOUNT = "mounts[3]";

const CASES: Readonly<Record<string, [Parameters<typeof configOf>[0], Failure]>> = {
  "a bind source that is not there": [
    mountsOf({ destination: "/data", type: "bind", source: "/nowhere/at/all", options: ["bind"] }),
    { code: "MOUNT_SOURCE_MISSING", field: `${MOUNT}.source` },
  ],
  "a filesystem type that there is not": [
    mountsOf({ destination: "/data", type: "nosuchfs", source: "none" }),
    { code: "MOUNT_FAILED", field: MOUNT },
  ],
  "a value that a control group does not take": [
    { resources: { pids: { limit: 5 }, cpu: { cpus: "4000-4001" } } },
    { code: "CGROUP_VALUE_REFUSED", field: "linux.resources.cpu.cpus" },
  ],
  "a command that is not there": [
    { args: ["/nowhere/command"] },
    { code: "COMMAND_NOT_FOUND", field: "process.args[0]" },
  ],
  "a root that is not there": [{ root: { path: "/nowhere/root" } }, { code: "", field: "root.path" }],
  "a namespace to join that is not there": [
    { linux: { namespaces: [{ type: "mount" }, { type: "network", path: "/nowhere/netns" }] } },
    { code: "", field: "linux.namespaces[1].path" },
  ],
  "a failing prestart hook": [{ hooks: { prestart: [fails] } }, { code: "HOOK_FAILED", field: "hooks.prestart[0]" }],
  "a failing createRuntime hook": [
    { hooks: { createRuntime: [hook("true"), fails] } },
    { code: "HOOK_FAILED", field: "hooks.createRuntime[1]" },
  ],
  "a failing createContainer hook": [
    { hooks: { createContainer: [fails] } },
    { code: "HOOK_FAILED", field: "hooks.createContainer[0]" },
  ],
  "a hook that takes too long": [
    { hooks: { createRuntime: [hook("exec sleep 600", { timeout: 1 })] } },
    { code: "HOOK_FAILED", field: "hooks.createRuntime[0]" },
  ],
  "a hook that is not there": [
    { hooks: { createRuntime: [{ path: "/nowhere/hook" }] } },
    { code: "HOOK_FAILED", field: "hooks.createRuntime[0]" },
  ],
};

for (const [what, [change, expected]] of Object.entries(CASES))
  test(
    `create: ${what}: the field is named and nothing is left`,
    change?.resources !== undefined ? asRoot : needs,
    async () => {
      const found = await failureOf(configOf(change));
      assert.deepEqual(found, { ...expected, code: expected.code || found.code });
    },
  );

test(
  "create: a root filesystem that is not there, or no directory: said as such, and nothing is left",
  needs,
  async () => {
    const withRoot = (path: string): Config => ({ ...configOf(), root: { path } });
    assert.deepEqual(await failureOf(withRoot("/nowhere")), { code: "ROOT_MISSING", field: "root.path" });
    assert.deepEqual(await failureOf(withRoot("/etc/passwd")), { code: "ROOT_NOT_A_DIRECTORY", field: "root.path" });
  },
);

test("create: a pid file that cannot be written: nothing is left", needs, async () => {
  assert.deepEqual(await failureOf(configOf(), ["--pid-file", "/nowhere/pid"]), {
    code: "PID_FILE",
    field: "--pid-file",
  });
});

test(
  "create: a pid file is written through no link that is there already, as a crash or somebody else may leave one",
  needs,
  async () => {
    const directory = temporaryDirectory();
    const [pidFile, other] = [join(directory, "pid"), join(directory, "other")];
    writeFileSync(other, "of somebody else");
    symlinkSync(other, `${pidFile}.new`);
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["create", "--bundle", makeBundle(configOf()), "--pid-file", pidFile, id]);
    assert.equal(readFileSync(other, "utf8"), "of somebody else");
    assert.equal(readFileSync(pidFile, "utf8"), String((await stateOf(id)).pid));
    assert.deepEqual(readdirSync(directory).sort(), ["other", "pid"]);
  },
);

test("run: netDevices leaves a device that cannot be moved, a bridge, with its addresses and routes", {
  skip: missing("root", "package:busybox-static", "package:iproute2"),
}, async () => {
  const bundle = makeBundle(configOf({ linux: { netDevices: { bridge: {} } }, args: ["true"] }));
  const setUp = `set -e
      ip link add bridge type bridge; ip link set bridge up
      ip addr add 10.9.8.7/24 dev bridge; ip addr add fd00::7/64 dev bridge nodad; ip route add 10.7.0.0/16 via 10.9.8.1
      look() { ip -o addr show dev bridge | grep -v fe80; ip route; ip -6 route | grep fd00; }
      set +e; before=$(look); "$@"; echo "code $?"
      after=$(look); if [ "$before" = "$after" ]; then echo "as before"; else echo "$before" "$after"; fi`;
  const prefix = ["unshare", "--net", "sh", "-c", setUp, "network"];
  const { stdout, stderr } = await runtime(["run", "--bundle", bundle, newId()], { prefix });
  assert.match(stderr, /^error: .* bridge .*\(MOVE_NET_DEVICE_FAILED\)\n {2}config: linux.netDevices.bridge\n/);
  assert.match(stderr, /hint: {3}some devices stay in the network namespace that they were made in/);
  assert.equal(stdout, "code 1\nas before\n");
});

test("run --detach: a pid file that cannot be written: nothing is left", needs, async () => {
  const id = newId();
  const error = await runtimeFails([
    "run",
    "--detach",
    "--bundle",
    makeBundle(configOf()),
    "--pid-file",
    "/nowhere/pid",
    id,
  ]);
  assert.match(error, /^PID_FILE/);
  assertGone(id);
});

test("create: a console socket that is not there, or where nobody listens: nothing is left", needs, async () => {
  const config = configOf({
    process: { terminal: true },
    ...mountsOf({
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["newinstance", "ptmxmode=0666"],
    }),
  });
  const expected = { code: "CONSOLE_SOCKET", field: "--console-socket" };
  assert.deepEqual(await failureOf(config, ["--console-socket", "/nowhere/socket"]), expected);
  const file = join(temporaryDirectory(), "socket");
  writeFileSync(file, "");
  assert.deepEqual(await failureOf(config, ["--console-socket", file]), expected);
});

test(
  "exec: a console socket or pid file that cannot be had: the process is not left in the container",
  needs,
  async () => {
    const config = configOf(
      mountsOf({
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["newinstance", "ptmxmode=0666"],
      }),
    );
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["run", "--detach", "--bundle", makeBundle(config), id]);
    const processes = async () => JSON.parse(await runtimePrints(["ps", "--format", "json", id])) as number[];
    const [first] = await processes();
    const bySocket = ["exec", "--detach", "--tty", "--console-socket", "/nowhere/socket", id, "sleep", "600"];
    assert.match(await runtimeFails(bySocket), /^CONSOLE_SOCKET/);
    assert.match(
      await runtimeFails(["exec", "--detach", "--pid-file", "/nowhere/pid", id, "sleep", "600"]),
      /^PID_FILE/,
    );
    await eventually("only the first process is there", async () => (await processes()).length === 1);
    assert.deepEqual(await processes(), [first]);
  },
);

test("create: no room for the record: an error, and nothing is left", asRoot, async () => {
  const root = temporaryDirectory();
  output("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=16", "small", root);
  atEnd(() => spawnSync("umount", ["-l", root]));
  const padding = "x".repeat(20_000);
  const bundle = makeBundle({ ...configOf(), annotations: { padding } });
  const { code, stderr } = await runtime(["--root", root, "create", "--bundle", bundle, "full"]);
  assert.equal(code, 1);
  assert.match(stderr, /no space left/i);
  assert.equal(output("find", root, "-mindepth", "1"), "");
  assertGone("full");
});

test("start: a working directory that is a file: the container has stopped, delete removes it", needs, async () => {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", makeBundle(configOf({ process: { cwd: "/etc/passwd" } })), id]);
  const { code, stderr } = await runtime(["start", id]);
  assert.equal(code, 1);
  assert.match(stderr, /^ {2}config: process\.cwd$/m);
  await eventually("it has stopped", async () => (await stateOf(id)).status === "stopped", 30_000);
  await runtimePrints(["delete", id]);
  assertGone(id);
});

test("start: a failing startContainer hook is the end of the container", needs, async () => {
  const id = newId();
  const bundle = makeBundle(configOf({ hooks: { startContainer: [{ ...fails, path: "/bin/sh" }] } }));
  await runtimePrints(["create", "--bundle", bundle, id]);
  assert.match(await runtimeFails(["start", id]), /^HOOK_FAILED: error running startContainer hook #0/);
  assertGone(id);
});

test("a failing poststart hook undoes the container, and poststop hooks run once, all of them", needs, async () => {
  for (const verb of ["start", "run"]) {
    const id = newId();
    const log = join(temporaryDirectory(), "log");
    const say = (word: string) => hook(`cat >/dev/null; echo ${word} >>${log}`);
    const bundle = makeBundle(
      configOf({ hooks: { poststart: [fails, say("never")], poststop: [say("one"), fails, say("two")] } }),
    );
    if (verb === "start") await runtimePrints(["create", "--bundle", bundle, id]);
    const args = verb === "start" ? ["start", id] : ["run", "--detach", "--bundle", bundle, id];
    const { code, stderr } = await runtime(args);
    assert.equal(code, 1);
    assert.match(stderr, /^warning: error running poststop hook #1/m);
    assert.match(stderr, /^error: error running poststart hook #0.*\(HOOK_FAILED\)$/m);
    assert.equal(readFileSync(log, "utf8"), "one\ntwo\n");
    assertGone(id);
    await runtimePrints(["delete", "--force", id]);
    assert.equal(readFileSync(log, "utf8"), "one\ntwo\n");
  }
});

test("poststop hooks run once when delete comes ten times at once", needs, async () => {
  const log = join(temporaryDirectory(), "log");
  const bundle = makeBundle(configOf({ hooks: { poststop: [hook(`sleep 0.1; echo gone >>${log}`)] } }));
  const id = newId();
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  await Promise.all(Array.from({ length: 10 }, () => runtime(["delete", "--force", id])));
  assert.equal(readFileSync(log, "utf8"), "gone\n");
});

test(
  "delete: what lives on in the group of a stopped container without a PID namespace is killed",
  asRoot,
  async () => {
    const id = newId();
    const namespaces = [{ type: "mount" as const }];
    const args = ["sh", "-c", "setsid sleep 600 & setsid sleep 600 & exec true"];
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["run", "--detach", "--bundle", makeBundle(configOf({ args, linux: { namespaces } })), id]);
    await eventually("it has stopped", async () => (await stateOf(id)).status === "stopped");
    const left = JSON.parse(await runtimePrints(["ps", "--format", "json", id])) as number[];
    assert.equal(left.length, 2);
    await runtimePrints(["delete", id]);
    for (const pid of left) assert.equal(isRunning(pid), false);
    assertGone(id);
  },
);

test("delete --force: a frozen container, created or running", asRoot, async () => {
  for (const starts of [false, true]) {
    const id = newId();
    await runtimePrints(["create", "--bundle", makeBundle(configOf()), id]);
    if (starts) await runtimePrints(["start", id]);
    await runtimePrints(["pause", id]);
    assert.equal((await stateOf(id)).status, "paused");
    assert.match(await runtimeFails(["delete", id]), /^CONTAINER_RUNNING/);
    await runtimePrints(["delete", "--force", id]);
    assertGone(id);
  }
});

test("a config that is no file, or no JSON that anybody would write, is a clean error", needs, async () => {
  const bundle = temporaryDirectory();
  const config = join(bundle, "config.json");
  const answer = async () => {
    const { code, stderr } = await runtime(["create", "--bundle", bundle, newId()]);
    assert.equal(code, 1);
    assert.doesNotMatch(stderr, /this is a fault of tupper/, stderr);
    return /\(([A-Z_]+)\)$/m.exec(stderr)?.[1] ?? stderr;
  };
  mkdirSync(config);
  assert.equal(await answer(), "BUNDLE_UNREADABLE");
  spawnSync("rmdir", [config]);
  symlinkSync("/dev/zero", config);
  assert.equal(await answer(), "BUNDLE_UNREADABLE", "without an end");
  unlinkSync(config);
  const texts: Record<string, string> = {
    "": "CONFIG_SYNTAX",
    "{": "CONFIG_SYNTAX",
    "[]": "CONFIG_INVALID",
    null: "CONFIG_INVALID",
    '"\\u0000"': "CONFIG_INVALID",
  };
  for (const [text, code] of Object.entries(texts)) {
    writeFileSync(config, text);
    assert.equal(await answer(), code, text);
  }
  const deep = (open: string, close: string) => open.repeat(200_000) + close.repeat(200_000);
  const usual = JSON.stringify(configOf());
  const inField = (name: string, value: string) => `${usual.slice(0, -1)},"${name}":${value}}`;
  for (const text of [deep("[", "]"), inField("unknown", deep("[", "]")), deep('{"a":', "").replace(/$/, "1")]) {
    writeFileSync(config, text);
    assert.match(await answer(), /^CONFIG_(SYNTAX|INVALID|TOO_DEEP)$/);
  }
  const seccomp = usual.replace(
    /"linux":\{/,
    `"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","x":${deep("[", "]")}},`,
  );
  writeFileSync(config, seccomp);
  assert.match(await answer(), /^CONFIG_(SYNTAX|INVALID|TOO_DEEP)$/);
  const nul = usual.replace('"cwd":"/"', '"cwd":"/\\u0000"');
  writeFileSync(config, nul);
  assert.equal(await answer(), "CONFIG_INVALID");
});

test("a config of 100 MB whose size is an unknown property is taken", { ...needs, timeout: 120_000 }, async () => {
  const bundle = makeBundle({ ...configOf({ args: ["true"] }), unknown: "x".repeat(100_000_000) });
  const { code, stderr } = await runtime(["run", "--bundle", bundle, newId()], { timeoutMs: 60_000 });
  if (code !== 0) assert.match(stderr, /^error: .*\((ENOMEM|ENOSPC|OUT_OF_MEMORY)\)$/m);
});

test("a config may come from a pipe", needs, async () => {
  const bundle = makeBundle(configOf({ args: ["echo", "piped"] }));
  const fifo = join(bundle, "fifo");
  output("mkfifo", fifo);
  const writer = spawn("sh", ["-c", `cat ${bundle}/config.json >${fifo}`], { stdio: "ignore" });
  atEnd(() => writer.kill("SIGKILL"));
  assert.equal(await runtimePrints(["run", "--bundle", bundle, "--config", fifo, newId()]), "piped\n");
});

test("control characters in annotations and errors do not reach the terminal", needs, async () => {
  const id = newId();
  const bundle = makeBundle({
    ...configOf({ args: ["sleep", "600"] }),
    annotations: { "a\u001b[31m": "b\u009b31m\u0007" },
  });
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", bundle, id]);
  for (const args of [["state", id], ["list"], ["list", "--format", "json"]])
    assert.doesNotMatch(await runtimePrints(args), /[^\P{Cc}\n]/u, args.join(" "));
  const state = JSON.parse(await runtimePrints(["state", id])) as { annotations: Record<string, string> };
  assert.deepEqual(state.annotations, { "a\u001b[31m": "b\u009b31m\u0007" });
  // Names in a root filesystem are others' words too.
  const bad = makeBundle(configOf({ args: ["/no\u001b[31m\u009b7msuch"] }));
  const { stderr, code } = await runtime(["create", "--bundle", bad, newId()]);
  assert.equal(code, 1);
  assert.doesNotMatch(stderr, /[^\P{Cc}\n]/u);
});

test("--log-format json: all that is known of an error, on stderr without a log file", needs, async () => {
  const bundle = makeBundle(
    configOf(mountsOf({ destination: "/data", type: "tmpfs", source: "x", options: ["sise=1"] })),
  );
  const { stdout, stderr, code } = await runtime(["--log-format", "json", "create", "--bundle", bundle, newId()]);
  assert.deepEqual({ stdout, code }, { stdout: "", code: 1 }, stderr);
  // The mode is that of the place, which an ordinary user's umask leaves open to the group.
  const { msg, time, hint, ...rest } = JSON.parse(stderr.replaceAll("mode=0775", "mode=0755")) as Record<
    string,
    string
  >;
  assert.ok(msg?.includes("sise=1") && !Number.isNaN(Date.parse(time ?? "")) && hint !== undefined, stderr);
  assert.deepEqual(rest, {
    level: "error",
    code: "MOUNT_FAILED",
    field: MOUNT,
    kernel: 'mount("x", "/data", "tmpfs", 0, "mode=0755,sise=1") = EINVAL (Invalid argument)',
    syscall: "mount",
    errno: "EINVAL",
    evidence: "the kernel's log: tmpfs: Unknown parameter 'sise'",
  });
});

test("state: what is left to be seen of the end of a container for want of memory", {
  skip: missing("root", "package:busybox-static", "cgroup:memory"),
}, async () => {
  const id = newId();
  const config = configOf({
    args: ["sh", "-c", "exec head -c 200m /dev/zero | tail; exit 7"],
    resources: { memory: { limit: 33_554_432 } },
  });
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", makeBundle(config), id]);
  assert.equal((JSON.parse(await runtimePrints(["state", id])) as { end?: unknown }).end, undefined);
  await runtimePrints(["start", id]);
  await eventually("it has stopped", async () => (await stateOf(id)).status === "stopped");
  interface Ended {
    end?: { outOfMemory?: { cgroup: string; kills: number; limitBytes: number; peakBytes?: number } };
  }
  const memory = (JSON.parse(await runtimePrints(["state", id])) as Ended).end?.outOfMemory;
  assert.deepEqual([memory?.cgroup.endsWith(`/${GROUP}`), memory?.limitBytes], [true, 33_554_432]);
  assert.ok((memory?.kills ?? 0) >= 1, JSON.stringify(memory));
});
