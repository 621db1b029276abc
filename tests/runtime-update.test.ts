/** `tupper-runtime update`: what a container's control groups say afterwards, in the words of the version at hand. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config, Resources } from "../src/spec/config.ts";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  untilStatus,
} from "./bundle.ts";
import { atEnd, eventually, output, runDirectory, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "package:busybox-static", ...more) });
const isV1 = missing("cgroup1") === false;

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
  /** Of v1; v2 has one group for all controllers. */
  reads(controller: string, file: string): string;
  /** limit, memory and swap together, reservation; undefined is none. */
  memory(): (number | undefined)[];
  /** quota, period, and shares as they are written; of v2 the weight for them. */
  cpu(): string[];
}

/** Shares of v1 as the kernel's weight of v2. */
const SHARES = isV1 ? ["100", "200", "300", "400"] : ["17", "29", "39", "49"];
const [NO_QUOTA, NO_MEMORY] = isV1 ? ["-1", "9223372036854771712"] : ["max", "max"];

async function container(resources: Resources = START): Promise<Updated> {
  const path = `/tupper-test-${newId()}`;
  atEnd(() => output("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-name", path.slice(1), "-delete"));
  const id = await running(makeConfig(root, { resources, linux: { cgroupsPath: path } }));
  const reads = (controller: string, file: string) => readFileSync(fileOf(controller, path, file), "utf8").trim();
  return {
    id,
    async update(flags, input) {
      assert.equal(await runtimePrints(["update", ...flags, id], input === undefined ? {} : { input }), "");
    },
    reads,
    memory: () => {
      const number = (file: string) => {
        const text = reads("memory", file);
        return text === NO_MEMORY ? undefined : Number(text);
      };
      if (isV1) return ["limit", "memsw.limit", "soft_limit"].map((name) => number(`memory.${name}_in_bytes`));
      const [limit, swap, reservation] = ["max", "swap.max", "low"].map((name) => number(`memory.${name}`));
      return [limit, swap === undefined || limit === undefined ? undefined : limit + swap, reservation];
    },
    cpu: () =>
      isV1
        ? ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares"].map((file) => reads("cpu", file))
        : [...reads("cpu", "cpu.max").split(" "), reads("cpu", "cpu.weight")],
  };
}

const fileOf = (controller: string, path: string, file: string): string =>
  join("/sys/fs/cgroup", isV1 ? controller : "", path, file);

test("update: memory, up and down, alone and with swap", needs("cgroup:memory"), async () => {
  const { id, update, memory } = await container();
  const soft = 24 * MIB;
  await update(["--memory", "50M"]);
  assert.deepEqual(memory(), [50 * MIB, undefined, soft]);
  await update(["--memory-swap", String(96 * MIB)]);
  assert.deepEqual(memory(), [50 * MIB, 96 * MIB, soft]);
  // Down, and up beyond the old swap limit: each needs another order.
  await update(["--memory", "30M", "--memory-swap", "50M"]);
  assert.deepEqual(memory(), [30 * MIB, 50 * MIB, soft]);
  await update(["--memory", "60M", "--memory-swap", "80M", "--memory-reservation", "40M"]);
  assert.deepEqual(memory(), [60 * MIB, 80 * MIB, 40 * MIB]);
  assert.match(
    await runtimeFails(["update", "--memory", "90M", id]),
    /^CGROUP_VALUE_INVALID: the swap limit of 83886080 /,
  );
  assert.deepEqual(memory(), [60 * MIB, 80 * MIB, 40 * MIB]);
  await update(["--memory", "-1"]);
  assert.deepEqual(memory(), [undefined, undefined, 40 * MIB]);
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
    const limit = isV1 ? "memory.limit_in_bytes" : "memory.max";
    const usage = () =>
      Number(readFileSync(fileOf("memory", path, isV1 ? "memory.usage_in_bytes" : "memory.current"), "utf8"));
    await eventually("20 MiB are in use", () => usage() >= 20 * MIB);
    assert.match(
      await runtimeFails(["update", "--pids-limit", "7", "--memory", "4M", "--memory-swap", "4M", id]),
      isV1
        ? /^CGROUP_BUSY: memory\.limit_in_bytes cannot go down to 4194304: more than that is in use$/
        : /^MEMORY_IN_USE: the new limit of 4194304 bytes is below the \d+ bytes in use$/,
    );
    assert.equal(readFileSync(fileOf("memory", path, limit), "utf8"), `${32 * MIB}\n`);
    assert.equal(readFileSync(fileOf("pids", path, "pids.max"), "utf8"), "20\n");
  },
);

test("update: quota and period, each alone and both, and no quota", needs("cgroup:cpu"), async () => {
  const { id, update, cpu } = await container();
  assert.deepEqual(cpu(), ["500000", "1000000", SHARES[0]]);
  await update(["--cpu-period", "900000"]);
  assert.deepEqual(cpu(), ["500000", "900000", SHARES[0]]);
  await update(["--cpu-quota", "600000"]);
  assert.deepEqual(cpu(), ["600000", "900000", SHARES[0]]);
  await update(["--cpu-share", "200"]);
  assert.deepEqual(cpu(), ["600000", "900000", SHARES[1]]);
  await update(["--resources", "-"], JSON.stringify({ cpu: { quota: -5 } }));
  assert.deepEqual(cpu(), [NO_QUOTA, "900000", SHARES[1]]);
  await update(["--cpu-quota", "600000"]);
  await update(["--resources", "", "--cpu-quota", "-1", "--cpu-period", "100000"]);
  assert.deepEqual(cpu(), [NO_QUOTA, "100000", SHARES[1]]);
  const { stderr, code } = await runtime(["update", "--cpu-share", "300", "--cpu-quota", "100", id]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    isV1
      ? /^error: cpu\.cfs_quota_us does not take the value 100 \(CGROUP_VALUE_REFUSED\)\n {2}config: linux\.resources\.cpu\.quota\n/
      : /^error: cpu\.max does not take the value 100 100000 \(CGROUP_VALUE_REFUSED\)\n {2}config: linux\.resources\.cpu\.quota\n/,
  );
  assert.deepEqual(cpu(), [NO_QUOTA, "100000", SHARES[1]]);
});

// Both since Linux 5.15 (burst 5.14).
test("update: burst and idle, where 0 is a value", needs("cgroup:cpu", "kernel:5.15"), async () => {
  const { update, reads, cpu } = await container();
  const burst = isV1 ? "cpu.cfs_burst_us" : "cpu.max.burst";
  await update(["--cpu-burst", "50000"]);
  assert.equal(reads("cpu", burst), "50000");
  await update(["--pids-limit", "5"]);
  assert.equal(reads("cpu", burst), "50000");
  await update(["--cpu-burst", "0"]);
  assert.equal(reads("cpu", burst), "0");
  await update(["--cpu-idle", "1"]);
  assert.equal(reads("cpu", "cpu.idle"), "1");
  await update(["--cpu-idle", "0", "--cpu-share", "400"]);
  assert.deepEqual([reads("cpu", "cpu.idle"), cpu()[2]], ["0", SHARES[3]]);
});

test(
  "update: an idle container has no weight, and who is given one is idle no more",
  needs("cgroup:cpu", "kernel:5.15"),
  async () => {
    const { id, reads, cpu } = await container();
    const idle = () => reads("cpu", "cpu.idle");
    const { stderr, code } = await runtime(["update", "--cpu-share", "200", "--cpu-idle", "1", id]);
    assert.deepEqual(
      { stderr, code, idle: idle() },
      { stderr: "warning: linux.resources.cpu.shares is ignored: an idle group has no weight\n", code: 0, idle: "1" },
    );
    assert.equal(await runtimePrints(["update", "--cpu-share", "400", id]), "");
    assert.deepEqual([idle(), cpu()[2]], ["0", SHARES[3]]);
  },
);

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
    const { update, reads, memory, cpu } = await container();
    const file = join(temporaryDirectory(), "resources.json");
    writeFileSync(file, JSON.stringify({ memory: { limit: 40 * MIB }, cpu: { shares: 300 }, blockIO: { weight: 0 } }));
    await update(["-r", file, "--pids-limit", "3"]);
    assert.deepEqual([memory()[0], cpu()[2], reads("pids", "pids.max")], [40 * MIB, SHARES[2], "20"]);
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

test("update -r: a text that has nothing of resources changes nothing, and says so", needs(), async () => {
  const { id } = await container();
  const said = async (text: string) => {
    const { stdout, stderr, code } = await runtime(["update", "-r", "-", id], { input: text });
    assert.deepEqual([stdout, code], ["", 0]);
    return stderr;
  };
  assert.equal(
    await said('{"linux":{"resources":{"pids":{"limit":5}}}}'),
    "warning: --resources changes nothing: linux is no part of it; it is to have what linux.resources of a config has\n",
  );
  assert.match(await said('{"memroy":{"limit":1}}'), /: memroy is no part of it; did you mean memory\?\n$/);
  for (const text of ["{}", '{"pids":{"limit":20}}', '{"pids":{"limit":20},"other":1}'])
    assert.equal(await said(text), "");
});

test("update: what it said before is remembered", needs("cgroup:cpu", "cgroup:memory"), async () => {
  const { update, memory, cpu } = await container();
  await update(["--cpu-quota", "300000", "--memory-swap", "64M"]);
  await update(["--cpu-period", "600000", "--memory", "16M"]);
  assert.deepEqual([...cpu().slice(0, 2), ...memory().slice(0, 2)], ["300000", "600000", 16 * MIB, 64 * MIB]);
});

const onV1 = (...more: string[]) => ({
  skip: isV1 ? needs(...more).skip : "rules of version 1; of version 2: tests/cgroup-v2.test.ts",
});

test("update: device rules on cgroup v1, and those of before change nothing", onV1("cgroup:devices"), async () => {
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
  assert.match(await fails("--l3-cache-schema", "L3:0=f"), /^RDT_UNSUPPORTED: .* it was made without/);
  assert.match(await fails("--mem-bw-schema", "MB:0=10"), /^RDT_UNSUPPORTED: /);
  // Nothing is changed before all has been understood.
  assert.match(await fails("--mem-bw-schema", "MB:0=10", "--memory", "much"), /^BAD_SIZE: /);
  assert.match(await fails("--mem-bw-schema", "MB:0=10", "--resources", "/no/such"), /^RESOURCES_UNREADABLE: /);
  assert.equal(await runtimePrints(["update", "--l3-cache-schema", "", id]), "");
  // One that was made with a class of service, on a machine that has none any more.
  const file = join(runDirectory, "tupper-runtime", id, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8")) as Config;
  config.linux.intelRdt = { l3CacheSchema: "L3:0=ff" };
  writeFileSync(file, JSON.stringify(config));
  if (!existsSync("/sys/fs/resctrl/schemata"))
    assert.match(await fails("--l3-cache-schema", "L3:0=f"), /^RESCTRL_MISSING: /);
  const { stderr, code } = await runtime(["update", "--kernel-memory", "5m", id]);
  assert.deepEqual(
    { stderr, code },
    { stderr: "warning: limits of kernel memory are ignored: it counts as memory\n", code: 0 },
  );
});

test(
  "update: where a limit is refused the others stay as they were, those of devices too",
  needs("cgroup:blkio", "file:/sys/block/vda/dev"),
  async () => {
    const [major = 0, minor = 0] = readFileSync("/sys/block/vda/dev", "utf8").trim().split(":").map(Number);
    const disk = (rate: number) => ({ major, minor, rate });
    const { id, reads } = await container({ ...START, blockIO: { throttleReadBpsDevice: [disk(1_048_576)] } });
    const files = isV1 ? ["read_bps", "write_iops"].map((name) => `blkio.throttle.${name}_device`) : ["io.max"];
    const limits = () => [...files.map((file) => reads("blkio", file)), reads("pids", "pids.max")];
    const before = limits();
    const blockIO = {
      throttleReadBpsDevice: [disk(2_097_152)],
      throttleWriteIOPSDevice: [disk(100), { major: 4095, minor: 7, rate: 100 }],
    };
    const input = JSON.stringify({ pids: { limit: 50 }, blockIO });
    assert.match(await runtimeFails(["update", "-r", "-", id], { input }), /^CGROUP_\w+: /);
    assert.deepEqual(limits(), before);
  },
);

test("update: where the new limits cannot be put on record they stay as they were", needs("cgroup:pids"), async () => {
  const state = temporaryDirectory();
  output("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", state);
  atEnd(() => output("umount", state));
  const id = newId();
  const path = `/tupper-test-${id}`;
  const bundle = makeBundle(makeConfig(root, { resources: START, linux: { cgroupsPath: path } }));
  const command = (...words: string[]) => runtime(["--root", state, ...words]);
  atEnd(() => command("delete", "--force", id));
  assert.equal((await command("run", "--detach", "--bundle", bundle, id)).code, 0);
  const limit = () => readFileSync(fileOf("pids", path, "pids.max"), "utf8");
  const filler = join(state, "filler");
  assert.throws(() => writeFileSync(filler, new Uint8Array(1 << 20)), { code: "ENOSPC" });
  const { code, stderr } = await command("update", "--pids-limit", "50", id);
  assert.equal(code, 1);
  assert.match(stderr, /^error: cannot record .* \(RECORD_FAILED\)\n/);
  assert.equal(limit(), "20\n");
  rmSync(filler);
  assert.deepEqual(await command("update", "--pids-limit", "50", id), { stdout: "", stderr: "", code: 0 });
  assert.equal(limit(), "50\n");
});
