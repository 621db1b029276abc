/** Control groups of the OCI runtime: where they lie, what limits are in them, who is in them, and that they end. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import type { Resources } from "../src/spec/config.ts";
import {
  type ConfigChange,
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  startRuntime,
  stateOf,
  untilStatus,
} from "./bundle.ts";
import { atEnd, binary, eventually, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const onAny = (...more: string[]) => ({ skip: missing("root", "package:busybox-static", ...more) });
/** What is about version 1 itself. */
const needs = (...more: string[]) => ({
  skip: missing("cgroup1") === false ? onAny(...more).skip : "of version 1; of version 2: tests/cgroup-v2.test.ts",
});
const CGROUPS = "/sys/fs/cgroup";

const inGroup = (controller: string, path: string, file: string): string =>
  readFileSync(join(CGROUPS, controller, path, file), "utf8").trim();

/** A path that is removed in every hierarchy at the end of the test. */
function ownPath(): string {
  const path = `/tupper-test-${newId()}`;
  atEnd(() => {
    const found = output("find", CGROUPS, "-depth", "-type", "d", "-path", `*${path}*`).split("\n");
    for (const directory of found) if (directory !== "") rmdirSync(directory);
  });
  return path;
}

/** The groups of a process, by hierarchy. */
function groupsOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
  return Object.fromEntries(lines.map((line) => line.split(":").slice(1) as [string, string]));
}

/** What a container with these resources has in its group's files. */
async function limitsOf(resources: Resources, files: readonly [controller: string, file: string][]): Promise<string[]> {
  const path = ownPath();
  await created(makeConfig(root, { resources, linux: { cgroupsPath: `${path}/c` } }));
  return files.map(([controller, file]) => inGroup(controller, `${path}/c`, file));
}

// Where they lie

test("create: an absolute cgroupsPath lies under the root of every hierarchy", onAny(), async () => {
  const path = `${ownPath()}/c`;
  const { pid } = await stateOf(await created(makeConfig(root, { linux: { cgroupsPath: path } })));
  for (const [hierarchy, group] of Object.entries(groupsOf(pid))) assert.equal(group, path, hierarchy);
});

test("create: a relative cgroupsPath lies in the runtime's own group", needs("cgroup:memory"), async () => {
  const path = ownPath();
  const above = join(CGROUPS, "memory", path);
  mkdirSync(above);
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: "sub/c" } }));
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const script = `echo 0 >${above}/cgroup.procs && exec -a tupper-runtime "$0" create -b ${bundle} ${id}`;
  // The container has this stdio: a pipe would not end.
  const { status } = spawnSync("bash", ["-c", script, binary], { stdio: "ignore" });
  assert.equal(status, 0);
  const groups = groupsOf((await stateOf(id)).pid);
  assert.equal(groups.memory, `${path}/sub/c`);
  assert.equal(groups.pids, "/sub/c");
  await runtimePrints(["delete", "--force", id]);
  for (const name of Object.keys(groups)) {
    const hierarchy = name === "" ? "unified" : name.replace(/^name=/, "");
    if (hierarchy !== "memory") rmdirSync(join(CGROUPS, hierarchy, "sub"));
  }
});

test("create: without cgroupsPath it is /ID", onAny(), async () => {
  const id = await created(makeConfig(root));
  for (const [hierarchy, group] of Object.entries(groupsOf((await stateOf(id)).pid)))
    assert.equal(group, `/${id}`, hierarchy);
});

test("create: the path never leads out of the hierarchies", onAny(), async () => {
  const path = ownPath();
  const change = { linux: { cgroupsPath: `/../../..${path}/../..${path}/c` } };
  const { pid } = await stateOf(await created(makeConfig(root, change)));
  for (const [hierarchy, group] of Object.entries(groupsOf(pid))) assert.equal(group, `${path}/c`, hierarchy);
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: "/.." } }));
  assert.match(await runtimeFails(["create", "-b", bundle, newId()]), /^CGROUP_VALUE_INVALID: /);
});

test("create: cpusets on the way to the group are filled", needs("cgroup:cpuset"), async () => {
  const path = ownPath();
  await created(makeConfig(root, { linux: { cgroupsPath: `${path}/a/b/c` } }));
  const all = inGroup("cpuset", "/", "cpuset.cpus");
  for (const group of [path, `${path}/a`, `${path}/a/b`, `${path}/a/b/c`]) {
    assert.equal(inGroup("cpuset", group, "cpuset.cpus"), all);
    assert.notEqual(inGroup("cpuset", group, "cpuset.mems"), "");
  }
});

test("create: a group that is there is taken when it is empty, and is in use when it is not", needs(), async () => {
  const path = ownPath();
  const groups = ["memory", "pids"].map((name) => join(CGROUPS, name, path));
  for (const group of groups) mkdirSync(group);
  const config = makeConfig(root, { linux: { cgroupsPath: path } });
  const id = await created(config);
  const { pid } = await stateOf(id);
  assert.match(
    await runtimeFails(["create", "-b", makeBundle(config), newId()]),
    new RegExp(`^CGROUP_IN_USE: the container's cgroup is not empty: process ${pid} is in .*${path}$`),
  );
  assert.equal((await stateOf(id)).status, "created");
  await runtimePrints(["delete", "-f", id]);
  for (const group of groups) assert.equal(existsSync(group), false, group);
});

test("create: a frozen group is refused", needs("cgroup:freezer"), async () => {
  const path = ownPath();
  const group = join(CGROUPS, "freezer", path);
  mkdirSync(group);
  writeFileSync(join(group, "freezer.state"), "FROZEN");
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: path } }));
  assert.match(await runtimeFails(["create", "-b", bundle, newId()]), /^CGROUP_FROZEN: /);
});

// Limits

test("create: memory", needs("cgroup:memory"), async () => {
  const memory = {
    limit: 33_554_432,
    reservation: 16_777_216,
    swap: 50_331_648,
    swappiness: 10,
    disableOOMKiller: false,
    kernelTCP: 1_048_576,
  };
  assert.deepEqual(
    await limitsOf({ memory }, [
      ["memory", "memory.limit_in_bytes"],
      ["memory", "memory.soft_limit_in_bytes"],
      ["memory", "memory.memsw.limit_in_bytes"],
      ["memory", "memory.swappiness"],
      ["memory", "memory.kmem.tcp.limit_in_bytes"],
    ]),
    ["33554432", "16777216", "50331648", "10", "1048576"],
  );
  const path = ownPath();
  await created(
    makeConfig(root, {
      resources: { memory: { disableOOMKiller: true, limit: 9_437_184 } },
      linux: { cgroupsPath: path },
    }),
  );
  assert.match(inGroup("memory", path, "memory.oom_control"), /^oom_kill_disable 1$/m);
});

test("create: cpu and cpuset", needs("cgroup:cpu", "cgroup:cpuset"), async () => {
  const cpu = { shares: 512, quota: 50_000, period: 200_000, burst: 10_000, cpus: "0", mems: "0" };
  assert.deepEqual(
    await limitsOf({ cpu }, [
      ["cpu", "cpu.shares"],
      ["cpu", "cpu.cfs_quota_us"],
      ["cpu", "cpu.cfs_period_us"],
      ["cpu", "cpu.cfs_burst_us"],
      ["cpuset", "cpuset.cpus"],
      ["cpuset", "cpuset.mems"],
    ]),
    ["512", "50000", "200000", "10000", "0", "0"],
  );
  assert.deepEqual(await limitsOf({ cpu: { idle: 1 } }, [["cpu", "cpu.idle"]]), ["1"]);
  // Any uint64, as crun takes it; the most that the kernel keeps.
  for (const shares of [262_145, 2n ** 53n + 1n, 2n ** 64n - 1n])
    assert.deepEqual(await limitsOf({ cpu: { shares } }, [["cpu", "cpu.shares"]]), ["262144"], String(shares));
});

test("create: pids, 0 and -1 and unset", needs("cgroup:pids"), async () => {
  const limits = [{ pids: { limit: 0 } }, { pids: { limit: -1 } }, { pids: { limit: 20 } }, {}];
  const found: string[] = [];
  for (const resources of limits) found.push(...(await limitsOf(resources, [["pids", "pids.max"]])));
  assert.deepEqual(found, ["1", "max", "20", "max"]);
});

test("run: with pids.limit 0 the command runs, and cannot fork", needs("cgroup:pids"), async () => {
  const config = makeConfig(root, {
    args: ["sh", "-c", "echo here; /bin/true & :"],
    resources: { pids: { limit: 0 } },
  });
  const { stdout, stderr } = await runtime(["run", "-b", makeBundle(config), newId()]);
  assert.equal(stdout, "here\n");
  assert.match(stderr, /can't fork/);
});

test("create: what engines write for unset changes nothing", needs("cgroup:memory", "cgroup:cpu"), async () => {
  const resources = {
    memory: { limit: 0, swap: 0, reservation: 0 },
    cpu: { shares: 0, quota: 0, period: 0, realtimePeriod: 0, realtimeRuntime: 0, cpus: "", mems: "" },
    blockIO: { weight: 0 },
  };
  assert.deepEqual(
    await limitsOf(resources, [
      ["cpu", "cpu.shares"],
      ["cpu", "cpu.cfs_quota_us"],
      ["memory", "memory.limit_in_bytes"],
    ]),
    ["1024", "-1", "9223372036854771712"],
  );
});

test("create: a controller that this machine lacks is an error, and nothing is left", needs(), async () => {
  const path = ownPath();
  const fails = (resources: Resources) =>
    runtimeFails(["create", "-b", makeBundle(makeConfig(root, { resources, linux: { cgroupsPath: path } })), newId()]);
  assert.match(await fails({ rdma: { mlx5_1: { hcaHandles: 1 } } }), /^CGROUP_CONTROLLER_MISSING: .* rdma controller$/);
  assert.match(await fails({ unified: { "memory.high": "1" } }), /^CGROUP_CONTROLLER_MISSING: /);
  if (!existsSync(join(CGROUPS, "net_cls")))
    assert.match(await fails({ network: { classID: 1 } }), /^CGROUP_CONTROLLER_MISSING: .* net_cls controller$/);
  assert.equal(existsSync(join(CGROUPS, "memory", path)), false);
});

test("create: a value that the kernel refuses is named, and nothing is left", needs("cgroup:cpu"), async () => {
  const path = ownPath();
  const config = makeConfig(root, { resources: { cpu: { period: 100 } }, linux: { cgroupsPath: path } });
  const { stderr, code } = await runtime(["create", "-b", makeBundle(config), newId()]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: cpu\.cfs_period_us does not take the value 100 \(CGROUP_VALUE_REFUSED\)\n {2}config: linux\.resources\.cpu\.period\n/,
  );
  assert.equal(existsSync(join(CGROUPS, "cpu", path)), false);
});

// Devices

/** /dev/fuse can be opened by everybody, so that EPERM comes from the control group. */
const OPEN_FUSE = "mknod /dev/fuse c 10 229 && : </dev/fuse && echo opened";
const MKNOD = { capabilities: { bounding: ["CAP_MKNOD"], effective: ["CAP_MKNOD"], permitted: ["CAP_MKNOD"] } };

async function opensFuse(change: ConfigChange): Promise<string> {
  const config = makeConfig(root, { args: ["sh", "-c", OPEN_FUSE], process: MKNOD, ...change });
  const { stdout, stderr } = await runtime(["run", "-b", makeBundle(config), newId()]);
  return stdout || stderr;
}

test("run: devices are allowed and denied in the order of the rules", needs("file:/dev/fuse"), async () => {
  const fuse = { type: "c", major: 10, minor: 229, access: "rwm" } as const;
  const all = { allow: false, access: "rwm" };
  const denied = "sh: can't open /dev/fuse: Operation not permitted\n";
  assert.equal(await opensFuse({ resources: { devices: [all] } }), denied);
  assert.equal(await opensFuse({ resources: { devices: [all, { allow: true, ...fuse }] } }), "opened\n");
  assert.equal(await opensFuse({ resources: { devices: [{ allow: true, ...fuse }, all] } }), denied);
  assert.equal(await opensFuse({ resources: { devices: [{ allow: true, access: "rwm" }] } }), "opened\n");
  assert.equal(
    await opensFuse({
      resources: {
        devices: [
          { allow: true, access: "rwm" },
          { allow: false, ...fuse },
        ],
      },
    }),
    "mknod: /dev/fuse: Operation not permitted\n",
  );
});

// As runc does. Kubernetes hands on what a device plugin wrote.
test(
  "run: letters of a device rule that are no access are left out with a warning",
  needs("file:/dev/fuse"),
  async () => {
    const devices = [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 10, minor: 229, access: "rwa" } as const,
    ];
    const config = makeConfig(root, { args: ["sh", "-c", OPEN_FUSE], process: MKNOD, resources: { devices } });
    assert.deepEqual(await runtime(["run", "-b", makeBundle(config), newId()]), {
      stdout: "opened\n",
      stderr: 'warning: a device rule has the access "rwa": only r, w and m are known, it is read as "rw"\n',
      code: 0,
    });
  },
);

test(
  "run: without device rules nodes that not every container has cannot be opened, as under runc",
  needs("file:/dev/fuse"),
  async () => {
    assert.equal(
      await opensFuse({ resources: { devices: [] } }),
      "sh: can't open /dev/fuse: Operation not permitted\n",
    );
  },
);

test("create: every container may use the usual devices and make nodes", needs("cgroup:devices"), async () => {
  const path = ownPath();
  await created(makeConfig(root, { linux: { cgroupsPath: path } }));
  const list = inGroup("devices", path, "devices.list").split("\n").sort();
  assert.deepEqual(list, [
    "b *:* m",
    "c *:* m",
    "c 10:200 rwm",
    "c 136:* rwm",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
  ]);
});

// Pause and resume

test("pause: everything stands still until resume", needs("cgroup:freezer"), async () => {
  const path = ownPath();
  const config = makeConfig(root, {
    args: ["sh", "-c", "while :; do :; done"],
    linux: { cgroupsPath: path },
  });
  const id = await running(config);
  const usage = () => Number(inGroup("cpuacct", path, "cpuacct.usage"));
  await runtimePrints(["pause", id]);
  assert.equal((await stateOf(id)).status, "paused");
  assert.match(await runtimePrints(["list"]), new RegExp(`^${id} +[1-9]\\d* +paused `, "m"));
  assert.equal(inGroup("freezer", path, "freezer.state"), "FROZEN");
  const before = usage();
  await new Promise((done) => setTimeout(done, 100));
  assert.equal(usage(), before);
  assert.match(await runtimeFails(["pause", id]), /^CONTAINER_NOT_RUNNING: container not running/);
  await runtimePrints(["resume", id]);
  assert.equal((await stateOf(id)).status, "running");
  await eventually("it goes on", () => usage() > before);
  assert.match(await runtimeFails(["resume", id]), /^CONTAINER_NOT_PAUSED: container not paused/);
});

test("pause: a created container too; a stopped or unknown one is an error", onAny("cgroup:freezer"), async () => {
  const id = await created(makeConfig(root));
  await runtimePrints(["pause", id]);
  assert.equal((await stateOf(id)).status, "paused");
  assert.match(await runtimeFails(["start", id]), /^CONTAINER_NOT_CREATED: /);
  await runtimePrints(["resume", id]);
  assert.equal((await stateOf(id)).status, "created");
  await runtimePrints(["kill", id, "KILL"]);
  await untilStatus(id, "stopped");
  for (const verb of ["pause", "resume"]) await runtimeFails([verb, id]);
  assert.match(await runtimeFails(["pause", "nobody"]), /^CONTAINER_UNKNOWN: container nobody does not exist$/);
});

test("kill KILL and delete --force: they end a paused container", onAny("cgroup:freezer"), async () => {
  const one = await running(makeConfig(root));
  await runtimePrints(["pause", one]);
  await runtimePrints(["kill", one, "KILL"]);
  await untilStatus(one, "stopped");
  const two = await running(makeConfig(root));
  await runtimePrints(["pause", two]);
  await runtimePrints(["delete", "--force", two]);
  assert.match(await runtimeFails(["state", two]), /does not exist/);
});

// Processes

test("ps: the container's processes, as a table and as numbers", onAny(), async () => {
  const config = makeConfig(root, { args: ["sh", "-c", "sleep 601 & sleep 602 & wait"] });
  const id = await running(config);
  const { pid } = await stateOf(id);
  const numbers = async () => JSON.parse(await runtimePrints(["ps", "--format", "json", id])) as number[];
  await eventually("three processes", async () => (await numbers()).length === 3);
  const pids = await numbers();
  assert.ok(pids.includes(pid));
  const table = (await runtimePrints(["ps", id])).trim().split("\n");
  assert.match(table[0] ?? "", /^UID +PID +PPID /);
  assert.deepEqual(
    table
      .slice(1)
      .map((line) => Number(line.trim().split(/ +/)[1]))
      .sort(),
    [...pids].sort(),
  );
  const own = await runtimePrints(["ps", id, "-o", "pid,args", "--no-headers", "-e"]).catch(() => undefined);
  assert.equal(own, undefined); // without a head nobody knows the column
  assert.match(
    await runtimePrints(["ps", id, "-e", "-o", "pid,args"]),
    /^ *PID COMMAND\n( *\d+ (sh -c .*|sleep 60[12])\n){3}$/,
  );
  assert.match(await runtimeFails(["ps", id, "-o", "args"]), /^PS_WITHOUT_PID: /);
});

test("kill --all: every process gets the signal, in a shared PID namespace too", onAny(), async () => {
  const namespaces = (["ipc", "mount", "cgroup"] as const).map((type) => ({ type }));
  const script =
    "trap 'echo one >&2' USR1; (trap 'echo two >&2' USR1; while :; do sleep 0.05; done) & while :; do sleep 0.05; done";
  const config = makeConfig(root, { args: ["sh", "-c", script], linux: { namespaces } });
  Reflect.deleteProperty(config, "hostname");
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const foreground = startRuntime(["run", "-b", makeBundle(config), id]);
  await eventually("it runs", async () => (await runtime(["ps", "-f", "json", id])).stdout.split(",").length > 2);
  await runtimePrints(["kill", "--all", id, "KILL"]);
  assert.equal((await foreground.ended).code, 137);
});

test("delete: what is left in the group is killed, whoever it is", needs(), async () => {
  const path = ownPath();
  const namespaces = (["ipc", "mount", "cgroup"] as const).map((type) => ({ type }));
  const config = makeConfig(root, {
    args: ["sh", "-c", "for i in 1 2 3 4 5; do sleep 603 & done; sleep 0.2"],
    linux: { namespaces, cgroupsPath: path },
  });
  Reflect.deleteProperty(config, "hostname");
  const id = await running(config);
  await untilStatus(id, "stopped");
  const left = inGroup("memory", path, "cgroup.procs").split("\n");
  assert.equal(left.length, 5);
  await runtimePrints(["delete", id]);
  for (const pid of left)
    await eventually(
      `${pid} is gone`,
      () => !existsSync(`/proc/${pid}/ns/mnt`) || /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")),
    );
  assert.equal(existsSync(join(CGROUPS, "memory", path)), false);
});

test("delete: groups that the container made below its own go with it", needs("cgroup:pids"), async () => {
  const path = ownPath();
  await created(makeConfig(root, { linux: { cgroupsPath: path } }));
  mkdirSync(join(CGROUPS, "pids", path, "a/b"), { recursive: true });
});

test("run: the container sees its groups as the roots of the hierarchies", onAny(), async () => {
  const config = makeConfig(root, { args: ["cat", "/proc/self/cgroup"] });
  const lines = (await runtimePrints(["run", "-b", makeBundle(config), newId()])).trim().split("\n");
  assert.deepEqual(new Set(lines.map((line) => basename(line.split(":")[2] ?? ""))), new Set([""]));
});

// exec

test(
  "exec: the process is in the container's groups, or in those below that --cgroup names",
  needs("cgroup:pids"),
  async () => {
    const path = ownPath();
    const id = await running(makeConfig(root, { linux: { cgroupsPath: path } }));
    const groups = async (...flags: string[]) => {
      const text = await runtimePrints(["exec", ...flags, id, "cat", "/proc/self/cgroup"]);
      const lines = text.trim().split("\n");
      return Object.fromEntries(lines.map((line) => line.split(":").slice(1) as [string, string]));
    };
    assert.deepEqual(new Set(Object.values(await groups())), new Set(["/"]));
    mkdirSync(join(CGROUPS, "pids", path, "sub"));
    const found = await groups("--cgroup", "pids:sub");
    assert.deepEqual([found.pids, found.memory], ["/sub", "/"]);
    const fails = (...flags: string[]) => runtimeFails(["exec", ...flags, id, "true"]);
    assert.match(await fails("--cgroup", "sub"), /^CGROUP_MISSING: there is no control group /);
    assert.match(await fails("--cgroup", "../x"), /^CGROUP_FLAG_INVALID: invalid --cgroup argument /);
    assert.match(await fails("--cgroup", "a", "--cgroup", "b"), /^CGROUP_FLAG_INVALID: /);
  },
);

test("exec: not into a paused container, unless that is said", onAny("cgroup:freezer"), async () => {
  const id = await running(makeConfig(root));
  await runtimePrints(["pause", id]);
  assert.match(await runtimeFails(["exec", id, "true"]), /^CONTAINER_PAUSED: /);
});

test("--cgroup-manager disabled: no group is made", onAny(), async () => {
  const config = makeConfig(root, {
    linux: { cgroupsPath: ownPath(), namespaces: [{ type: "mount" }, { type: "pid" }] },
  });
  Reflect.deleteProperty(config, "hostname");
  const args = ["--cgroup-manager", "disabled", "create", "-b", makeBundle(config)];
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints([...args, id]);
  assert.deepEqual(groupsOf((await stateOf(id)).pid), groupsOf(process.pid));
});

test(
  "run: as root of a user namespace alone the container stays in the caller's groups",
  needs("package:util-linux"),
  async () => {
    const namespaces = (["mount", "pid", "uts"] as const).map((type) => ({ type }));
    const mounts = [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
    ];
    const run = (resources: Resources) => {
      const config = makeConfig(root, { args: ["cat", "/proc/self/cgroup"], linux: { namespaces }, mounts, resources });
      const state = temporaryDirectory();
      chmodSync(state, 0o777);
      const script = `exec -a tupper-runtime ${binary} --root ${state}/s run -b ${makeBundle(config)} ${newId()}`;
      const flags = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"];
      const nobody = { uid: 65_534, gid: 65_534, encoding: "utf8" } as const;
      const { status, stdout, stderr } = spawnSync("unshare", [...flags, "bash", "--norc", "-c", script], nobody);
      return { status, stdout, stderr };
    };
    assert.deepEqual(run({}), { status: 0, stdout: readFileSync("/proc/self/cgroup", "utf8"), stderr: "" });
    // A limit that nobody holds to is an error.
    const { status, stderr } = run({ pids: { limit: 5 } });
    assert.equal(status, 1);
    assert.match(stderr, /^error: this machine has control groups of version 1, and only root can make those /);
  },
);
