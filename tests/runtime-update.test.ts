/** `tupper-runtime update`: what a container's control groups say afterwards. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Resources } from "../src/spec/config.ts";
import { created, makeConfig, newId, running, runtime, runtimeFails, runtimePrints, untilStatus } from "./bundle.ts";
import { atEnd, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "cgroup1", "package:busybox-static", ...more) });

const MIB = 1_048_576;
const START: Resources = {
  memory: { limit: 32 * MIB, reservation: 24 * MIB },
  cpu: { shares: 100, quota: 500_000, period: 1_000_000 },
  pids: { limit: 20 },
};

interface Updated {
  id: string;
  /** Runs update with these flags, which must succeed. */
  update(flags: readonly string[], input?: string): Promise<void>;
  reads(controller: string, file: string): string;
}

async function container(resources: Resources = START): Promise<Updated> {
  const path = `/tupper-test-${newId()}`;
  atEnd(() => output("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-name", path.slice(1), "-delete"));
  const id = await running(makeConfig(root, { resources, linux: { cgroupsPath: path } }));
  return {
    id,
    async update(flags, input) {
      assert.equal(await runtimePrints(["update", ...flags, id], input === undefined ? {} : { input }), "");
    },
    reads: (controller, file) => readFileSync(join("/sys/fs/cgroup", controller, path, file), "utf8").trim(),
  };
}

test("update: memory, up and down, alone and with swap", needs("cgroup:memory"), async () => {
  const { id, update, reads } = await container();
  const limits = () => [
    reads("memory", "memory.limit_in_bytes"),
    reads("memory", "memory.memsw.limit_in_bytes"),
    reads("memory", "memory.soft_limit_in_bytes"),
  ];
  const none = "9223372036854771712";
  const soft = String(24 * MIB);
  await update(["--memory", "50M"]);
  assert.deepEqual(limits(), [String(50 * MIB), none, soft]);
  await update(["--memory-swap", String(96 * MIB)]);
  assert.deepEqual(limits(), [String(50 * MIB), String(96 * MIB), soft]);
  // Down, and up beyond the old swap limit: each needs another order.
  await update(["--memory", "30M", "--memory-swap", "50M"]);
  assert.deepEqual(limits(), [String(30 * MIB), String(50 * MIB), soft]);
  await update(["--memory", "60M", "--memory-swap", "80M", "--memory-reservation", "40M"]);
  assert.deepEqual(limits(), [String(60 * MIB), String(80 * MIB), String(40 * MIB)]);
  assert.match(
    await runtimeFails(["update", "--memory", "90M", id]),
    /^CGROUP_VALUE_INVALID: the swap limit of 83886080 /,
  );
  assert.deepEqual(limits(), [String(60 * MIB), String(80 * MIB), String(40 * MIB)]);
  await update(["--memory", "-1"]);
  assert.deepEqual(limits(), [none, none, String(40 * MIB)]);
});

test(
  "update: a memory limit below what is in use is refused, and changes nothing",
  needs("cgroup:memory"),
  async () => {
    const path = `/tupper-test-${newId()}`;
    const args = ["sh", "-c", "dd if=/dev/zero of=/dev/shm bs=1M count=20 2>/dev/null; sleep 600"];
    const config = makeConfig(root, {
      args: ["sh", "-c", `${(args[2] ?? "").replace("/dev/shm", "/dev/file")}`],
      resources: { ...START, memory: { ...START.memory, checkBeforeUpdate: true } },
      linux: { cgroupsPath: path },
    });
    const id = await running(config);
    const usage = () => Number(readFileSync(`/sys/fs/cgroup/memory${path}/memory.usage_in_bytes`, "utf8"));
    for (let waitedMs = 0; usage() < 20 * MIB && waitedMs < 5000; waitedMs += 20)
      await new Promise((done) => setTimeout(done, 20));
    assert.match(
      await runtimeFails(["update", "--pids-limit", "7", "--memory", "4M", "--memory-swap", "4M", id]),
      /^CGROUP_BUSY: memory\.limit_in_bytes cannot go down to 4194304: more than that is in use$/,
    );
    assert.equal(readFileSync(`/sys/fs/cgroup/memory${path}/memory.limit_in_bytes`, "utf8"), `${32 * MIB}\n`);
    assert.equal(readFileSync(`/sys/fs/cgroup/pids${path}/pids.max`, "utf8"), "20\n");
  },
);

test("update: quota and period, each alone and both, and no quota", needs("cgroup:cpu"), async () => {
  const { id, update, reads } = await container();
  const limits = () => [
    reads("cpu", "cpu.cfs_quota_us"),
    reads("cpu", "cpu.cfs_period_us"),
    reads("cpu", "cpu.shares"),
  ];
  assert.deepEqual(limits(), ["500000", "1000000", "100"]);
  await update(["--cpu-period", "900000"]);
  assert.deepEqual(limits(), ["500000", "900000", "100"]);
  await update(["--cpu-quota", "600000"]);
  assert.deepEqual(limits(), ["600000", "900000", "100"]);
  await update(["--cpu-share", "200"]);
  assert.deepEqual(limits(), ["600000", "900000", "200"]);
  await update(["--cpu-quota", "-1", "--cpu-period", "100000"]);
  assert.deepEqual(limits(), ["-1", "100000", "200"]);
  const { stderr, code } = await runtime(["update", "--cpu-share", "300", "--cpu-quota", "100", id]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: cpu\.cfs_quota_us does not take the value 100 \(CGROUP_VALUE_REFUSED\)\n {2}config: linux\.resources\.cpu\.quota\n/,
  );
  assert.deepEqual(limits(), ["-1", "100000", "200"]);
});

test("update: burst and idle, where 0 is a value", needs("cgroup:cpu"), async () => {
  const { update, reads } = await container();
  await update(["--cpu-burst", "50000"]);
  assert.equal(reads("cpu", "cpu.cfs_burst_us"), "50000");
  await update(["--pids-limit", "5"]);
  assert.equal(reads("cpu", "cpu.cfs_burst_us"), "50000");
  await update(["--cpu-burst", "0"]);
  assert.equal(reads("cpu", "cpu.cfs_burst_us"), "0");
  await update(["--cpu-idle", "1"]);
  assert.equal(reads("cpu", "cpu.idle"), "1");
  await update(["--cpu-idle", "0", "--cpu-share", "400"]);
  assert.deepEqual([reads("cpu", "cpu.idle"), reads("cpu", "cpu.shares")], ["0", "400"]);
});

test("update: pids, cpuset; flags before and after the ID", needs("cgroup:pids", "cgroup:cpuset"), async () => {
  const { id, update, reads } = await container();
  await runtimePrints(["update", id, "--pids-limit", "10"]);
  assert.equal(reads("pids", "pids.max"), "10");
  await update(["--pids-limit", "-1"]);
  assert.equal(reads("pids", "pids.max"), "max");
  await update(["--pids-limit", "0"]);
  assert.equal(reads("pids", "pids.max"), "1");
  await update(["--cpuset-cpus", "0", "--cpuset-mems", "0"]);
  assert.equal(reads("cpuset", "cpuset.cpus"), "0");
});

test(
  "update -r: from a file, and from stdin; other flags do not count then",
  needs("cgroup:memory", "cgroup:pids"),
  async () => {
    const { update, reads } = await container();
    const file = join(temporaryDirectory(), "resources.json");
    writeFileSync(file, JSON.stringify({ memory: { limit: 40 * MIB }, cpu: { shares: 300 }, blockIO: { weight: 0 } }));
    await update(["-r", file, "--pids-limit", "3"]);
    assert.deepEqual(
      [reads("memory", "memory.limit_in_bytes"), reads("cpu", "cpu.shares"), reads("pids", "pids.max")],
      [String(40 * MIB), "300", "20"],
    );
    await update(["--resources", "-"], JSON.stringify({ pids: { limit: 15 }, unknown: true }));
    assert.equal(reads("pids", "pids.max"), "15");
  },
);

test("update -r: what is no resource is an error with its place", needs(), async () => {
  const { id } = await container();
  const fails = (text: string) => runtimeFails(["update", "-r", "-", id], { input: text });
  assert.match(await fails("{"), /^CONFIG_SYNTAX: /);
  assert.match(await fails('{"memory":{"limit":"1"}}'), /^CONFIG_INVALID: linux\.resources\.memory\.limit /);
  assert.match(await runtimeFails(["update", "-r", "/nowhere", id]), /^RESOURCES_UNREADABLE: /);
});

test("update: what it said before is remembered", needs("cgroup:cpu", "cgroup:memory"), async () => {
  const { update, reads } = await container();
  await update(["--cpu-quota", "300000", "--memory-swap", "64M"]);
  await update(["--cpu-period", "600000", "--memory", "16M"]);
  assert.deepEqual(
    [
      reads("cpu", "cpu.cfs_quota_us"),
      reads("cpu", "cpu.cfs_period_us"),
      reads("memory", "memory.memsw.limit_in_bytes"),
    ],
    ["300000", "600000", String(64 * MIB)],
  );
});

test("update: device rules on cgroup v1, and those of before change nothing", needs("cgroup:devices"), async () => {
  const { update, reads } = await container();
  const before = reads("devices", "devices.list");
  await update(["-r", "-"], JSON.stringify({ devices: [{ allow: false, access: "rwm" }] }));
  assert.equal(reads("devices", "devices.list"), before);
  const fuse = { allow: true, type: "c", major: 10, minor: 229, access: "rw" };
  await update(["-r", "-"], JSON.stringify({ devices: [{ allow: false, access: "rwm" }, fuse] }));
  assert.match(reads("devices", "devices.list"), /^c 10:229 rw$/m);
});

test("update: a paused and a created container too, not one that has stopped", needs("cgroup:freezer"), async () => {
  const { id, update, reads } = await container();
  await runtimePrints(["pause", id]);
  await update(["--pids-limit", "6"]);
  assert.equal(reads("pids", "pids.max"), "6");
  const waiting = await created(makeConfig(root, { resources: START }));
  await runtimePrints(["update", "--pids-limit", "6", waiting]);
  await runtimePrints(["kill", waiting, "KILL"]);
  await untilStatus(waiting, "stopped");
  assert.match(await runtimeFails(["update", "--pids-limit", "6", waiting]), /^CONTAINER_NOT_RUNNING: /);
  assert.match(await runtimeFails(["update", "--pids-limit", "6", "nobody"]), /^CONTAINER_UNKNOWN: /);
});

test("update: values that are none, and what this machine lacks", needs(), async () => {
  const { id } = await container();
  const fails = (...flags: string[]) => runtimeFails(["update", ...flags, id]);
  assert.match(await fails("--memory", "much"), /^BAD_SIZE: /);
  assert.match(await fails("--cpu-share", "x"), /^BAD_NUMBER: /);
  assert.match(await fails("--cpuset-cpus", "a"), /^BAD_LIST: /);
  assert.match(await fails("--cpuset-cpus", "999"), /^CGROUP_(VALUE_REFUSED|FORBIDDEN): /);
  if (!existsSync("/sys/fs/resctrl/schemata")) assert.match(await fails("--l3-cache-schema", "L3:0=f"), /^RDT_/);
  const { stderr, code } = await runtime(["update", "--kernel-memory", "5m", id]);
  assert.deepEqual(
    { stderr, code },
    { stderr: "warning: limits of kernel memory are ignored: it counts as memory\n", code: 0 },
  );
});
