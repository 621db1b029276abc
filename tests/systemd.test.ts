/**
 * `tupper-runtime --systemd-cgroup` with the systemd of the machine, or of the user who runs the tests: what systemctl and the
 * control groups say.
 *
 * Needs: systemd
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
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
import { atEnd, binary, compiled, eventually, isRoot, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needsSystemd = missing("cgroup2", "file:/run/systemd/system");
const asRoot = { skip: needsSystemd || missing("root") };
/** Systemd is asked to read all its units anew, on a machine without KVM. */
const timeoutMs = 180_000;
const options = { timeoutMs, env: { SYSTEMD_BUS_TIMEOUT: "2min" } };
const MIB = 1_048_576;

const systemctl = (...args: string[]): string =>
  spawnSync("systemctl", [...(isRoot ? [] : ["--user"]), ...args], {
    encoding: "utf8",
    timeout: timeoutMs,
  }).stdout.trim();

const unitsOf = (unit: string): string => systemctl("list-units", "--all", "--plain", "--no-legend", unit);

/** Properties of a unit by name. */
function shown(unit: string, ...names: string[]): Record<string, string> {
  const lines = systemctl("show", unit, ...names.flatMap((name) => ["-p", name])).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
}

interface Scope {
  id: string;
  unit: string;
  create: string[];
  group(): string;
  reads(file: string): string;
}

/** `path`: linux.cgroupsPath but for the name. */
function scope(change: ConfigChange = {}, path = ":tupper:"): Scope {
  const id = newId();
  const unit = `tupper-${id}.scope`;
  const config = makeConfig(root, change);
  // An ordinary user's configs have none otherwise.
  config.linux.cgroupsPath = change.linux?.cgroupsPath ?? `${path}${id}`;
  if (!isRoot) delete config.linux.resources?.devices;
  atEnd(() => runtime(["delete", "--force", id], options));
  const group = () => join("/sys/fs/cgroup", shown(unit, "ControlGroup").ControlGroup ?? "");
  return {
    id,
    unit,
    create: ["--systemd-cgroup", "create", "--bundle", makeBundle(config), id],
    group,
    reads: (file) => readFileSync(join(group(), file), "utf8").trim(),
  };
}

const groupOf = (pid: number): string => readFileSync(`/proc/${pid}/cgroup`, "utf8").trim();

test("create, start, exec, update, delete: the container is a scope with its limits", {
  skip: needsSystemd,
}, async () => {
  const { id, unit, create, group, reads } = scope({ resources: { memory: { limit: 64 * MIB }, pids: { limit: 20 } } });
  await runtimePrints(create, options);
  assert.deepEqual(
    shown(unit, "ActiveState", "Slice", "Delegate", "MemoryMax", "TasksMax", "Description", "Transient"),
    {
      ActiveState: "active",
      Slice: isRoot ? "system.slice" : "user.slice",
      Delegate: "yes",
      MemoryMax: String(64 * MIB),
      TasksMax: "20",
      Description: `tupper container ${id}`,
      Transient: "yes",
    },
  );
  const { pid } = await stateOf(id);
  assert.equal(groupOf(pid), `0::${group().slice("/sys/fs/cgroup".length)}`);
  assert.ok(group().endsWith(`${isRoot ? "/system.slice" : "/user.slice"}/${unit}`));
  assert.deepEqual([reads("memory.max"), reads("pids.max")], [String(64 * MIB), "20"]);
  await runtimePrints(["start", id], options);
  const inside = "cat /proc/self/cgroup; cat /proc/1/comm";
  assert.equal(await runtimePrints(["exec", id, "sh", "-c", inside], options), "0::/\nsleep\n");
  await runtimePrints(["update", "--memory", "50M", "--pids-limit", "-1", id], options);
  assert.deepEqual([reads("memory.max"), reads("pids.max")], [String(50 * MIB), "max"]);
  assert.deepEqual(shown(unit, "MemoryMax", "TasksMax"), { MemoryMax: String(50 * MIB), TasksMax: "infinity" });
  await runtimePrints(["pause", id], options);
  assert.equal((await stateOf(id)).status, "paused");
  const path = group();
  await runtimePrints(["delete", "--force", id], options);
  assert.equal(unitsOf(unit), "");
  assert.ok(!existsSync(path));
});

test(
  "create: processor, memory node, disk and cgroup v2 values of a config as properties, and in the files",
  asRoot,
  async () => {
    const { unit, create, reads } = scope({
      resources: {
        memory: { limit: 64 * MIB, swap: 96 * MIB, reservation: 16 * MIB },
        cpu: { shares: 512, quota: 12_345, period: 50_000, cpus: "0", mems: "0" },
        unified: { "memory.high": String(48 * MIB), "memory.min": "4096" },
      },
    });
    await runtimePrints(create, options);
    const names =
      "MemoryHigh MemoryMin MemoryLow MemorySwapMax CPUWeight CPUQuotaPerSecUSec CPUQuotaPeriodUSec AllowedCPUs AllowedMemoryNodes";
    const properties = shown(unit, ...names.split(" "));
    assert.deepEqual(properties, {
      MemoryHigh: String(48 * MIB),
      MemoryMin: "4096",
      MemoryLow: String(16 * MIB),
      MemorySwapMax: String(32 * MIB),
      CPUWeight: "59",
      CPUQuotaPerSecUSec: "246.900ms",
      CPUQuotaPeriodUSec: "50ms",
      AllowedCPUs: "0",
      AllowedMemoryNodes: "0",
    });
    assert.deepEqual(
      [
        "memory.high",
        "memory.min",
        "memory.low",
        "memory.swap.max",
        "cpu.weight",
        "cpu.max",
        "cpuset.cpus",
        "cpuset.mems",
      ].map(reads),
      [48 * MIB, 4096, 16 * MIB, 32 * MIB, 59, "12345 50000", 0, 0].map(String),
    );
  },
);

test("create: annotations are properties, and a slice that is not there is made", asRoot, async () => {
  atEnd(() => systemctl("stop", "tupper.slice"));
  const { unit, create, group } = scope(
    {
      annotations: {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.Documentation": "['man:tupper(1)', 'man:true(1)']",
      },
    },
    "tupper-test.slice:tupper:",
  );
  await runtimePrints(create, options);
  assert.deepEqual(shown(unit, "Slice", "TimeoutStopUSec", "CollectMode", "Documentation"), {
    Slice: "tupper-test.slice",
    TimeoutStopUSec: "7s",
    CollectMode: "inactive-or-failed",
    Documentation: '"man:tupper(1)" "man:true(1)"',
  });
  assert.equal(group(), `/sys/fs/cgroup/tupper.slice/tupper-test.slice/${unit}`);
});

test("create: a group below the scope, which hands its controllers down", { skip: needsSystemd }, async () => {
  const { id, unit, create, group, reads } = scope({
    resources: { memory: { limit: 64 * MIB } },
    annotations: { "run.oci.systemd.subgroup": "inner/payload" },
  });
  await runtimePrints(create, options);
  const path = group();
  assert.equal(groupOf((await stateOf(id)).pid), `0::${path.slice("/sys/fs/cgroup".length)}/inner/payload`);
  assert.deepEqual([reads("memory.max"), reads("inner/payload/memory.max")], [String(64 * MIB), String(64 * MIB)]);
  await runtimePrints(["start", id], options);
  assert.equal(await runtimePrints(["exec", id, "cat", "/proc/self/cgroup"], options), "0::/\n");
  await runtimePrints(["delete", "--force", id], options);
  assert.ok(!existsSync(path));
  assert.equal(unitsOf(unit), "");
});

test("create: the group that is delegated lies below the scope's, for a user's container too", {
  skip: needsSystemd,
}, async () => {
  for (const subgroup of ["container", ""]) {
    const annotations = { "run.oci.systemd.subgroup": subgroup, "run.oci.delegate-cgroup": "payload" };
    const { id, unit, create, group, reads } = scope({ resources: { memory: { limit: 64 * MIB } }, annotations });
    await runtimePrints(create, options);
    const path = group();
    const below = subgroup === "" ? "payload" : `${subgroup}/payload`;
    assert.equal(groupOf((await stateOf(id)).pid), `0::${path.slice("/sys/fs/cgroup".length)}/${below}`);
    assert.deepEqual([reads("memory.max"), reads(`${below}/memory.max`)], [String(64 * MIB), "max"]);
    await runtimePrints(["start", id], options);
    assert.equal(await runtimePrints(["exec", id, "cat", "/proc/self/cgroup"], options), "0::/payload\n");
    await runtimePrints(["delete", "--force", id], options);
    assert.ok(!existsSync(path));
    assert.equal(unitsOf(unit), "");
  }
});

test("daemon-reload: limits stay as they are, those of update too, and devices stay closed", asRoot, async () => {
  const { id, create, reads } = scope({
    resources: { memory: { limit: 64 * MIB }, cpu: { quota: 20_000, period: 100_000 } },
  });
  await runtimePrints(create, options);
  await runtimePrints(["start", id], options);
  await runtimePrints(["update", "--memory", "50M", id], options);
  systemctl("daemon-reload");
  assert.deepEqual([reads("memory.max"), reads("cpu.max")], [String(50 * MIB), "20000 100000"]);
  const open = "mknod /dev/mem c 1 1; head -c 1 /dev/mem 2>&1; head -c 1 /dev/zero | wc -c";
  assert.match(await runtimePrints(["exec", id, "sh", "-c", open], options), /not permitted\n1\n$/);
});

test("create: systemd is executed anew meanwhile", asRoot, async () => {
  const { id, unit, create } = scope();
  const reexec = runtime(["--version"], options).then(() => systemctl("daemon-reexec"));
  await runtimePrints(create, options);
  await reexec;
  assert.equal(shown(unit, "ActiveState").ActiveState, "active");
  systemctl("daemon-reexec");
  await runtimePrints(["delete", "--force", id], options);
  assert.equal(unitsOf(unit), "");
});

test("create: what fails leaves no unit; the end of a container neither", { skip: needsSystemd }, async () => {
  const failed = scope({ args: ["/no/such/command"] });
  assert.match(await runtimeFails(failed.create, options), /^COMMAND_NOT_FOUND: /);
  assert.equal(unitsOf(failed.unit), "");
  const ran = scope({ args: ["true"] });
  const [flag = "", , ...more] = ran.create;
  await runtimePrints([flag, "run", ...more], options);
  assert.equal(unitsOf(ran.unit), "");
  // Killed from outside, and nobody deletes it: systemd sees that the group is empty.
  const killed = scope();
  await runtimePrints(killed.create, options);
  await runtimePrints(["kill", killed.id, "KILL"], options);
  await eventually("the unit is gone", () => shown(killed.unit, "ActiveState").ActiveState === "inactive", 30_000);
  await runtimePrints(["delete", killed.id], options);
});

test("create: a unit that is in use is not taken, and lives on", { skip: needsSystemd }, async () => {
  const first = scope();
  await runtimePrints(first.create, options);
  const second = scope({ linux: { cgroupsPath: `:tupper:${first.id}` } });
  assert.match(await runtimeFails(second.create, options), /^SYSTEMD_REFUSED: /);
  assert.equal((await stateOf(first.id)).status, "created");
  assert.equal(shown(first.unit, "ActiveState").ActiveState, "active");
});

test("delete: a unit that failed is forgotten", asRoot, async () => {
  const { id, unit, create } = scope({
    args: ["sh", "-c", "head -c 100000000 /dev/zero | tail"],
    resources: { memory: { limit: 8 * MIB, swap: 8 * MIB } },
    annotations: { "org.systemd.property.OOMPolicy": "'kill'" },
  });
  await runtimePrints(create, options);
  await runtimePrints(["start", id], options);
  await eventually("the unit failed", () => shown(unit, "ActiveState").ActiveState === "failed", 60_000);
  await eventually("it stopped", async () => (await stateOf(id)).status === "stopped", 30_000);
  await runtimePrints(["delete", id], options);
  assert.equal(unitsOf(unit), "");
});

for (const manager of [[], ["--systemd-cgroup"]])
  test(
    `a service of Type=notify${manager.map((flag) => `, ${flag}`).join("")}: it has started when its container is ready, which is its main process`,
    asRoot,
    async () => {
      const shared = temporaryDirectory();
      const files = { "bin/notify": { copyOf: compiled("notify"), mode: 0o755 }, "run/": "", "shared/": "" };
      const config = makeConfig(makeRootfs(files), {
        args: ["sh", "-c", "echo >/shared/warm; notify STATUS=warming READY=1; exec sleep 600"],
      });
      config.mounts?.push({ destination: "/shared", type: "bind", source: shared, options: ["bind"] });
      const id = newId();
      const unit = `tupper-service-${id}.service`;
      atEnd(() => runtime(["delete", "--force", id], options));
      atEnd(() => systemctl("stop", unit));
      const command = [...manager, "run", "--detach", "--bundle", makeBundle(config), id];
      const service = ["--unit", unit, "--property", "Type=notify", `${binary}-runtime`, ...command];
      const { status, stderr } = spawnSync("systemd-run", service, { encoding: "utf8", timeout: timeoutMs });
      assert.equal(status, 0, stderr);
      assert.ok(existsSync(join(shared, "warm")));
      const { pid } = await stateOf(id);
      assert.deepEqual(shown(unit, "ActiveState", "MainPID"), { ActiveState: "active", MainPID: String(pid) });
    },
  );
