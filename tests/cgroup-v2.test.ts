/**
 * Control groups on a machine with cgroup v2 alone: what the OCI runtime makes of them, and what a container sees and is held to.
 *
 * Needs: cgroup2, root
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Resources } from "../src/spec/config.ts";
import {
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
import { atEnd, binary, eventually, isRunning, output, prints, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { CGROUPS, groupOf, ownPath, read } from "./unified-groups.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "unified", "package:busybox-static", ...more) });
const MIB = 1_048_576;

/** What a container with these resources has in its group's files. */
async function limitsOf(resources: Resources, ...files: string[]): Promise<string[]> {
  const path = ownPath();
  const id = await created(makeConfig(root, { resources, linux: { cgroupsPath: `${path}/c` } }));
  const found = files.map((file) => read(`${path}/c`, file));
  await runtimePrints(["delete", "--force", id]);
  return found;
}

// Where it lies

test("create: the group is the absolute cgroupsPath, or /ID", needs(), async () => {
  const path = `${ownPath()}/a/b`;
  const named = await stateOf(await created(makeConfig(root, { linux: { cgroupsPath: path } })));
  assert.equal(groupOf(named.pid), path);
  const id = await created(makeConfig(root));
  assert.equal(groupOf((await stateOf(id)).pid), `/${id}`);
  await runtimePrints(["delete", "--force", id]);
  assert.equal(existsSync(join(CGROUPS, id)), false);
});

test("create: a relative cgroupsPath lies beside the runtime's own group", needs(), async () => {
  const path = ownPath();
  mkdirSync(join(CGROUPS, path, "runtime"), { recursive: true });
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: "sub/c" }, resources: { pids: { limit: 9 } } }));
  const script = `echo 0 >${CGROUPS}${path}/runtime/cgroup.procs && exec -a tupper-runtime "$0" create -b ${bundle} ${id}`;
  assert.equal(spawnSync("bash", ["-c", script, binary], { stdio: "ignore" }).status, 0);
  assert.equal(groupOf((await stateOf(id)).pid), `${path}/sub/c`);
  assert.equal(read(`${path}/sub/c`, "pids.max"), "9");
});

test("create: the container's group has every controller of the machine", needs(), async () => {
  const path = ownPath();
  await created(makeConfig(root, { linux: { cgroupsPath: `${path}/a/b` } }));
  const machine = read("/", "cgroup.controllers");
  assert.equal(read(path, "cgroup.subtree_control"), machine);
  assert.equal(read(`${path}/a/b`, "cgroup.controllers"), machine);
  assert.equal(read(`${path}/a/b`, "cgroup.type"), "domain");
});

test("create: the process is born in its group", needs("package:strace"), async () => {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const bundle = makeBundle(makeConfig(root, { args: ["true"] }));
  const command = `timeout 60 strace -qq -e trace=clone3 -o ${bundle}/trace bash -c 'exec -a tupper-runtime ${binary} create -b ${bundle} ${id}'`;
  assert.equal(spawnSync("bash", ["-c", command], { stdio: "ignore" }).status, 0);
  assert.match(readFileSync(join(bundle, "trace"), "utf8"), /clone3\(\{flags=[A-Z_|0-9x]*CLONE_INTO_CGROUP/);
});

test("create: a group that is there is taken when nobody uses it", needs(), async () => {
  const path = ownPath();
  mkdirSync(join(CGROUPS, path));
  const config = makeConfig(root, { linux: { cgroupsPath: path } });
  const { pid } = await stateOf(await created(config));
  assert.match(
    await runtimeFails(["create", "-b", makeBundle(config), newId()]),
    new RegExp(`^CGROUP_IN_USE: the container's cgroup is not empty: process ${pid} is in .*${path}$`),
  );
});

test("create: a frozen group is refused", needs(), async () => {
  const path = ownPath();
  mkdirSync(join(CGROUPS, path));
  writeFileSync(join(CGROUPS, path, "cgroup.freeze"), "1");
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: path } }));
  assert.match(await runtimeFails(["create", "-b", bundle, newId()]), /^CGROUP_FROZEN: /);
});

// Limits

test("create: memory", needs("cgroup:memory"), async () => {
  const memory = { limit: 32 * MIB, reservation: 16 * MIB, swap: 48 * MIB };
  const files = ["memory.max", "memory.low", "memory.swap.max"];
  assert.deepEqual(await limitsOf({ memory }, ...files), [32 * MIB, 16 * MIB, 16 * MIB].map(String));
  assert.deepEqual(await limitsOf({ memory: { limit: -1 } }, ...files), ["max", "0", "max"]);
  assert.deepEqual(await limitsOf({}, ...files), ["max", "0", "max"]);
});

test("create: cpu and cpuset", needs("cgroup:cpu", "cgroup:cpuset"), async () => {
  const cpu = { shares: 512, quota: 50_000, period: 200_000, cpus: "0", mems: "0" };
  const files = ["cpu.weight", "cpu.max", "cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective"];
  assert.deepEqual(await limitsOf({ cpu }, ...files), ["59", "50000 200000", "0", "0", "0"]);
  assert.deepEqual(await limitsOf({ cpu: { quota: -1 } }, "cpu.max"), ["max 100000"]);
});

test("run, create, exec: processes are held to the processors of their group", needs("cgroup:cpuset"), async () => {
  const allowed = "grep Cpus_allowed_list /proc/self/status";
  const only = "Cpus_allowed_list:\t0\n";
  assert.equal(await prints(["run", "--cpuset-cpus", "0", root, "sh", "-c", allowed]), only);
  const config = (args: string) =>
    makeConfig(root, {
      args: ["sh", "-c", args],
      resources: { cpu: { cpus: "0" } },
      linux: { cgroupsPath: ownPath() },
    });
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config(allowed)), newId()]), only);
  const id = await running(config("exec sleep 600"));
  assert.equal(await runtimePrints(["exec", id, "sh", "-c", allowed]), only);
});

test("create: cpu.burst and cpu.idle", needs("kernel:5.15"), async () => {
  assert.deepEqual(await limitsOf({ cpu: { quota: 50_000, burst: 10_000 } }, "cpu.max.burst"), ["10000"]);
  assert.deepEqual(await limitsOf({ cpu: { idle: 1 } }, "cpu.idle"), ["1"]);
});

test("create: pids, 0 and -1 and unset", needs("cgroup:pids"), async () => {
  const limits = [{ pids: { limit: 0 } }, { pids: { limit: -1 } }, { pids: { limit: 20 } }, {}];
  const found: string[] = [];
  for (const resources of limits) found.push(...(await limitsOf(resources, "pids.max")));
  assert.deepEqual(found, ["1", "max", "20", "max"]);
});

test(
  "exec: pids.max of the container is reached, or of the group above where it is now: told as that",
  needs("cgroup:pids"),
  async () => {
    const resources = { pids: { limit: 1 } };
    const path = ownPath();
    const told = new RegExp(
      `^CLONE_FAILED: .*pids\\.max of the control group ${CGROUPS}${path}, which the process was to be in, is reached`,
    );
    for (const annotations of [{}, { "run.oci.delegate-cgroup": "payload" }]) {
      const config = makeConfig(root, { args: ["sleep", "600"], resources, linux: { cgroupsPath: path } });
      const id = await running({ ...config, annotations });
      assert.match(await runtimeFails(["exec", id, "true"]), told);
      await runtimePrints(["delete", "--force", id]);
    }
  },
);

test("run: with pids.limit 0 the command runs, and cannot fork", needs("cgroup:pids"), async () => {
  const config = makeConfig(root, {
    args: ["sh", "-c", "echo here; /bin/true & :"],
    resources: { pids: { limit: 0 } },
  });
  const { stdout, stderr } = await runtime(["run", "-b", makeBundle(config), newId()]);
  assert.equal(stdout, "here\n");
  assert.match(stderr, /can't fork/);
});

test("create: throttled block devices are lines of io.max", needs("cgroup:blkio"), async () => {
  const [major = 0, minor = 0] = readFileSync("/sys/block/vda/dev", "utf8").trim().split(":").map(Number);
  const blockIO = {
    throttleReadBpsDevice: [{ major, minor, rate: 1_048_576 }],
    throttleWriteIOPSDevice: [{ major, minor, rate: 100 }],
  };
  assert.deepEqual(await limitsOf({ blockIO }, "io.max"), [
    `${major}:${minor} rbps=1048576 wbps=max riops=max wiops=100`,
  ]);
});

test("create: huge pages, with what is reserved where the kernel counts that", needs("cgroup:hugetlb"), async () => {
  const hugepageLimits = [{ pageSize: "2MB", limit: 4 * MIB }];
  assert.deepEqual(await limitsOf({ hugepageLimits }, "hugetlb.2MB.max"), [String(4 * MIB)]);
});

test("create: files of cgroup v2 by name", needs("cgroup:memory"), async () => {
  const unified = { "memory.high": "20971520", "memory.oom.group": "1", "pids.max": "7", "cgroup.max.depth": "3" };
  assert.deepEqual(await limitsOf({ unified }, ...Object.keys(unified)), Object.values(unified));
  const fails = (change: Resources) =>
    runtimeFails(["create", "-b", makeBundle(makeConfig(root, { resources: change })), newId()]);
  assert.match(await fails({ unified: { "nothing.max": "1" } }), /^CGROUP_CONTROLLER_MISSING: /);
  assert.match(await fails({ unified: { "memory.high": "many" } }), /^CGROUP_VALUE_REFUSED: /);
});

test("create: what v2 cannot do is an error, and nothing is left", needs(), async () => {
  const path = ownPath();
  const fails = (resources: Resources) =>
    runtimeFails(["create", "-b", makeBundle(makeConfig(root, { resources, linux: { cgroupsPath: path } })), newId()]);
  assert.match(await fails({ memory: { disableOOMKiller: true } }), /OOM killer/);
  assert.match(await fails({ cpu: { realtimeRuntime: 1000 } }), /realtime/);
  assert.match(await fails({ network: { classID: 1 } }), /no such controller/);
  assert.equal(existsSync(join(CGROUPS, path)), false);
});

test(
  "run: over memory.max the kernel kills; with memory.oom.group all of the container",
  needs("cgroup:memory"),
  async () => {
    const script = "sh -c 'dd if=/dev/zero of=/dev/null bs=60M count=1 2>/dev/null'; echo survived";
    const run = (unified: Record<string, string>) =>
      runtime([
        "run",
        "-b",
        makeBundle(
          makeConfig(root, {
            args: ["sh", "-c", script],
            resources: { memory: { limit: 16 * MIB, swap: 16 * MIB }, unified },
          }),
        ),
        newId(),
      ]);
    const one = await run({});
    assert.deepEqual([one.stdout.trim().split("\n").at(-1), one.code], ["survived", 0]);
    const all = await run({ "memory.oom.group": "1" });
    assert.deepEqual([all.stdout, all.code], ["", 137]);
  },
);

test("run: memory.high throttles, and its events are counted", needs("cgroup:memory"), async () => {
  const path = ownPath();
  const script = "dd if=/dev/zero of=/dev/file bs=1M count=24 2>/dev/null; echo done; exec sleep 600";
  const resources = { unified: { "memory.high": String(12 * MIB) } };
  await running(makeConfig(root, { args: ["sh", "-c", script], resources, linux: { cgroupsPath: path } }));
  await eventually("memory.high was reached", () => !/^high 0$/m.test(read(path, "memory.events")), 10_000);
});

// Devices: a program of the kernel decides

const FUSE = { type: "c", major: 10, minor: 229 } as const;
/** Everybody may open it by its mode, so that EPERM comes from the control group. */
const OPEN_FUSE = "mknod /dev/fuse c 10 229 && : </dev/fuse && echo opened";
const MKNOD = { capabilities: { bounding: ["CAP_MKNOD"], effective: ["CAP_MKNOD"], permitted: ["CAP_MKNOD"] } };

async function opensFuse(devices: Resources["devices"]): Promise<string> {
  const config = makeConfig(root, {
    args: ["sh", "-c", OPEN_FUSE],
    process: MKNOD,
    ...(devices ? { resources: { devices } } : {}),
  });
  const { stdout, stderr } = await runtime(["run", "-b", makeBundle(config), newId()]);
  return stdout || stderr;
}

test("run: devices are allowed and denied in the order of the rules", needs("file:/dev/fuse"), async () => {
  const all = { allow: false, access: "rwm" };
  const denied = "sh: can't open /dev/fuse: Operation not permitted\n";
  assert.equal(await opensFuse([all]), denied);
  assert.equal(await opensFuse([]), denied);
  assert.equal(await opensFuse([all, { allow: true, ...FUSE, access: "rwm" }]), "opened\n");
  assert.equal(await opensFuse([{ allow: true, ...FUSE, access: "rwm" }, all]), denied);
  assert.equal(await opensFuse([all, { allow: true, ...FUSE, access: "wm" }]), denied);
  assert.equal(await opensFuse([{ allow: true, access: "rwm" }]), "opened\n");
  assert.equal(
    await opensFuse([
      { allow: true, access: "rwm" },
      { allow: false, ...FUSE, access: "m" },
    ]),
    "mknod: /dev/fuse: Operation not permitted\n",
  );
});

test("run: the usual devices work under the program", needs(), async () => {
  const script =
    "echo x >/dev/null && head -c 1 /dev/zero | wc -c && head -c 1 /dev/urandom | wc -c && : </dev/full && echo ok";
  const config = makeConfig(root, { args: ["sh", "-c", script] });
  assert.equal(await runtimePrints(["run", "-b", makeBundle(config), newId()]), "1\n1\nok\n");
});

test(
  "create: a limit of locked memory keeps no device program away, as it would before Linux 5.11",
  needs(),
  async () => {
    const id = newId();
    const bundle = makeBundle(makeConfig(root, { args: ["sh", "-c", "ulimit -l; ulimit -Hl"] }));
    atEnd(() => runtime(["delete", "--force", id]));
    // And it is the container's then, as before.
    assert.equal(
      await runtimePrints(["run", "--bundle", bundle, id], { prefix: ["prlimit", "--memlock=0:65536"] }),
      "0\n64\n",
    );
  },
);

test("exec: the device program holds for it too", needs("file:/dev/fuse"), async () => {
  const id = await running(makeConfig(root, { process: MKNOD }));
  const { stderr, code } = await runtime(["exec", "--cap", "CAP_MKNOD", id, "sh", "-c", OPEN_FUSE]);
  assert.deepEqual({ stderr, code }, { stderr: "sh: can't open /dev/fuse: Operation not permitted\n", code: 1 });
});

// Pause, kill, delete

test("pause: everything stands still until resume", needs(), async () => {
  const path = ownPath();
  const id = await running(
    makeConfig(root, { args: ["sh", "-c", "while :; do :; done"], linux: { cgroupsPath: path } }),
  );
  const usage = () => Number(/^usage_usec (\d+)$/m.exec(read(path, "cpu.stat"))?.[1]);
  await runtimePrints(["pause", id]);
  assert.equal((await stateOf(id)).status, "paused");
  assert.match(read(path, "cgroup.events"), /^frozen 1$/m);
  const before = usage();
  await new Promise((done) => setTimeout(done, 300));
  assert.equal(usage(), before);
  assert.match(await runtimeFails(["pause", id]), /^CONTAINER_NOT_RUNNING: /);
  assert.match(await runtimeFails(["exec", id, "true"]), /^CONTAINER_PAUSED: /);
  await runtimePrints(["resume", id]);
  assert.equal((await stateOf(id)).status, "running");
  await eventually("it goes on", () => usage() > before);
  assert.match(await runtimeFails(["resume", id]), /^CONTAINER_NOT_PAUSED: /);
});

test("kill KILL and delete --force: they end a paused container", needs(), async () => {
  const one = await running(makeConfig(root));
  await runtimePrints(["pause", one]);
  await runtimePrints(["kill", one, "KILL"]);
  await untilStatus(one, "stopped");
  const two = await running(makeConfig(root));
  await runtimePrints(["pause", two]);
  await runtimePrints(["delete", "--force", two]);
  assert.match(await runtimeFails(["state", two]), /does not exist/);
});

/** Without a PID namespace of its own: the end of its first process ends nobody else. */
function withMachinesPids(args: string[], path: string) {
  const namespaces = (["ipc", "mount", "cgroup"] as const).map((type) => ({ type }));
  const config = makeConfig(root, { args, linux: { namespaces, cgroupsPath: path } });
  Reflect.deleteProperty(config, "hostname");
  return config;
}

test("kill --all: every process of the group gets the signal", needs(), async () => {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const config = withMachinesPids(["sh", "-c", "sleep 601 & sleep 602 & wait"], ownPath());
  const foreground = startRuntime(["run", "-b", makeBundle(config), id]);
  const pids = async () => JSON.parse((await runtime(["ps", "-f", "json", id])).stdout || "[]") as number[];
  await eventually("three processes", async () => (await pids()).length === 3, 10_000);
  const all = await pids();
  await runtimePrints(["kill", "--all", id, "KILL"]);
  assert.equal((await foreground.ended).code, 137);
  for (const pid of all) await eventually(`${pid} is gone`, () => !isRunning(pid));
});

test("delete: what is left in the group and in groups below is killed, fork bombs too", needs(), async () => {
  const path = ownPath();
  const script = "mkdir /sys/fs/cgroup/sub; (while :; do sleep 0.01 & done) & sleep 0.3";
  const config = withMachinesPids(["sh", "-c", script], path);
  config.mounts?.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup" });
  const id = await running(config);
  await untilStatus(id, "stopped");
  const left = read(path, "cgroup.procs").split("\n").map(Number);
  assert.ok(left.length >= 1);
  await runtimePrints(["delete", id]);
  assert.equal(existsSync(join(CGROUPS, path)), false);
});

// What the container sees

const cgroupMount = (...options: string[]) => ({
  destination: "/sys/fs/cgroup",
  type: "cgroup",
  source: "cgroup",
  options: ["nosuid", "noexec", "nodev", "relatime", ...options],
});

test("run: /sys/fs/cgroup is the container's group and nothing above it", needs(), async () => {
  const config = makeConfig(root, {
    args: ["sh", "-c", "cat /proc/self/cgroup /sys/fs/cgroup/pids.max; mkdir /sys/fs/cgroup/x"],
    resources: { pids: { limit: 33 } },
  });
  config.mounts?.push(cgroupMount("ro"));
  const { stdout, stderr } = await runtime(["run", "-b", makeBundle(config), newId()]);
  assert.equal(stdout, "0::/\n33\n");
  assert.equal(stderr, "mkdir: can't create directory '/sys/fs/cgroup/x': Read-only file system\n");
});

test(
  "run: in the machine's cgroup namespace too the tree keeps the options that it is mounted with",
  needs(),
  async () => {
    const options = () => output("findmnt", "-no", "OPTIONS,FS-OPTIONS", CGROUPS);
    const before = options();
    assert.match(before, /nsdelegate/);
    const config = makeConfig(root, {
      args: ["ls", "/sys/fs/cgroup/cgroup.subtree_control"],
      linux: { namespaces: [{ type: "mount" }, { type: "pid" }] },
    });
    Reflect.deleteProperty(config, "hostname");
    config.mounts?.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] });
    assert.equal(
      await runtimePrints(["run", "-b", makeBundle(config), newId()]),
      "/sys/fs/cgroup/cgroup.subtree_control\n",
    );
    assert.equal(options(), before);
  },
);

test("run: root of a user namespace makes groups below its own, and cannot raise its own limits", needs(), async () => {
  const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  const namespaces = (["user", "pid", "network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type }));
  const script = `cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && echo +pids >cgroup.subtree_control && mkdir sub &&
    echo 5 >sub/pids.max && cat sub/pids.max && { echo 99 >pids.max; cat pids.max; }`;
  const own = sharedTree();
  const config = makeConfig(own, {
    args: ["sh", "-c", script],
    linux: { namespaces, uidMappings: mappings, gidMappings: mappings, cgroupsPath: ownPath() },
    resources: { pids: { limit: 33 } },
  });
  config.mounts?.push(cgroupMount());
  const { stdout, stderr, code } = await runtime(["run", "-b", makeBundle(config), newId()]);
  assert.deepEqual({ stdout, code }, { stdout: "5\n33\n", code: 0 }, stderr);
  assert.match(stderr, /pids\.max: (Permission denied|Operation not permitted)/);
});

test(
  "exec, delete: where the container's group is gone, the process goes where its first one is",
  needs(),
  async () => {
    const [path, other] = [ownPath(), ownPath()];
    mkdirSync(join(CGROUPS, other));
    const config = makeConfig(root, { linux: { cgroupsPath: path } });
    config.linux.namespaces = (config.linux.namespaces ?? []).filter(({ type }) => type !== "cgroup");
    const id = await running(config);
    const { pid } = await stateOf(id);
    writeFileSync(join(CGROUPS, other, "cgroup.procs"), String(pid));
    rmdirSync(join(CGROUPS, path));
    assert.equal(await runtimePrints(["exec", id, "cat", "/proc/self/cgroup"]), `0::${other}\n`);
    assert.match(await runtimeFails(["exec", "--cgroup", "/", id, "true"]), /^CGROUP_MISSING: /);
    await runtimePrints(["delete", "--force", id]);
    assert.equal(isRunning(pid), false);
  },
);

/** A copy of the root filesystem that belongs to the first id of the user namespace. */
function sharedTree(): string {
  const directory = output("mktemp", "-d").trim();
  atEnd(() => output("rm", "-rf", directory));
  output("cp", "-a", `${root}/.`, directory);
  output("chown", "-hR", "100000:100000", directory);
  assert.equal(statSync(directory).uid, 100_000);
  return directory;
}

// Threaded groups

test("exec --cgroup, ps, kill --all, delete: a container that makes threaded groups", needs(), async () => {
  const path = ownPath();
  const id = await running(makeConfig(root, { linux: { cgroupsPath: path } }));
  mkdirSync(join(CGROUPS, path, "threads"));
  writeFileSync(join(CGROUPS, path, "threads/cgroup.type"), "threaded");
  assert.equal(read(path, "cgroup.type"), "domain threaded");
  const inSub = await runtimePrints(["exec", "--cgroup", "threads", id, "cat", "/proc/self/cgroup"]);
  assert.equal(inSub, "0::/threads\n");
  const background = startRuntime(["exec", "--cgroup", "threads", id, "sleep", "605"]);
  const pids = async () => JSON.parse(await runtimePrints(["ps", "-f", "json", id])) as number[];
  await eventually("both are listed", async () => (await pids()).length === 2, 10_000);
  await runtimePrints(["kill", "--all", id, "KILL"]);
  assert.equal((await background.ended).code, 137);
  await untilStatus(id, "stopped");
});

test("create: in a threaded group is an error, and nothing is left", needs(), async () => {
  const path = ownPath();
  mkdirSync(join(CGROUPS, path, "threads"), { recursive: true });
  writeFileSync(join(CGROUPS, path, "threads/cgroup.type"), "threaded");
  const config = makeConfig(root, { linux: { cgroupsPath: `${path}/threads/c` } });
  assert.match(await runtimeFails(["create", "-b", makeBundle(config), newId()]), /threaded/);
  assert.deepEqual(
    readdirSync(join(CGROUPS, path, "threads"), { withFileTypes: true }).filter((entry) => entry.isDirectory()),
    [],
  );
});

// In a control group namespace whose root has processes, as in a container

/** Runs a script in a control group namespace of its own, whose root is a group with that shell in it. */
function inOccupiedRoot(path: string, script: string): { stdout: string; stderr: string; status: number | null } {
  mkdirSync(join(CGROUPS, path));
  const inside = `mount -t cgroup2 cgroup2 ${CGROUPS}\n${script}`;
  const command = `echo 0 >${CGROUPS}${path}/cgroup.procs && exec unshare --cgroup --mount bash -c '${inside}'`;
  const { stdout, stderr, status } = spawnSync("bash", ["-c", command], { encoding: "utf8", timeout: 120_000 });
  return { stdout, stderr, status };
}

test(
  "run: processes at the root of a control group namespace are moved out of the way",
  needs("cgroup:pids"),
  async () => {
    const path = ownPath();
    const config = makeConfig(root, {
      args: ["cat", "/sys/fs/cgroup/pids.max"],
      resources: { pids: { limit: 21 } },
    });
    config.mounts?.push(cgroupMount("ro"));
    const run = `exec -a tupper-runtime ${binary} --root /run/tupper-runtime run -b ${makeBundle(config)} ${newId()}`;
    const found = inOccupiedRoot(path, `sleep 100 & (${run}); cat /proc/self/cgroup; kill %1; wait`);
    assert.deepEqual(found, { stdout: "21\n0::/init\n", stderr: "", status: 0 });
  },
);

// What it uses

test("events --stats: with pressure", needs("cgroup:memory", "file:/proc/pressure/cpu"), async () => {
  const resources = { memory: { limit: 64 * MIB }, pids: { limit: 30 } };
  const id = await running(makeConfig(root, { resources }));
  const { data } = JSON.parse(await runtimePrints(["events", "--stats", id])) as { data: Record<string, never> };
  const { cpu, memory, pids, blkio } = data as unknown as Record<string, Record<string, unknown>>;
  assert.deepEqual(pids, { current: 1, limit: 30 });
  assert.equal((memory?.usage as { limit: number } | undefined)?.limit, 64 * MIB);
  for (const part of [cpu, memory, blkio]) {
    const psi = part?.psi as Record<string, Record<string, number>>;
    assert.deepEqual(Object.keys(psi?.some ?? {}).sort(), ["avg10", "avg300", "avg60", "total"]);
  }
});

test("update: limits of v2, and no device program lost", needs("cgroup:memory"), async () => {
  const path = ownPath();
  const id = await running(
    makeConfig(root, { process: MKNOD, resources: { memory: { limit: 32 * MIB } }, linux: { cgroupsPath: path } }),
  );
  await runtimePrints([
    "update",
    "--memory",
    "48M",
    "--memory-swap",
    "64M",
    "--pids-limit",
    "12",
    "--cpu-quota",
    "30000",
    id,
  ]);
  const files = ["memory.max", "memory.swap.max", "pids.max", "cpu.max"];
  assert.deepEqual(
    files.map((file) => read(path, file)),
    [String(48 * MIB), String(16 * MIB), "12", "30000 100000"],
  );
  const { code } = await runtime(["exec", "--cap", "CAP_MKNOD", id, "sh", "-c", OPEN_FUSE]);
  assert.equal(code, 1);
});
