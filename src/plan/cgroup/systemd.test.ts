import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import type { Config, DeviceRule, Resources } from "../../spec/config.ts";
import type { Host, HostCgroups } from "../host.ts";
import type { Step } from "../step.ts";
import { parseDeviceRules } from "./devices.ts";
import { planCgroups } from "./groups.ts";
import { makeHost } from "./machines-for-tests.ts";
import { annotatedProperties, deviceProperties, limitProperties, type SystemdTarget, scopeName } from "./systemd.ts";

const V2: HostCgroups = {
  mode: "v2",
  hierarchies: [],
  unified: {
    mountPoint: "/cg",
    ownPath: "/system.slice/ssh.service",
    controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"],
  },
  writable: true,
};
const HYBRID: HostCgroups = {
  mode: "hybrid",
  hierarchies: ["cpuset", "memory", "pids", "devices", "name=systemd"].map((controller) => ({
    controllers: [controller],
    mountPoint: `/cg/${controller.replace("name=", "")}`,
    ownPath: "/",
  })),
  unified: { mountPoint: "/cg/unified", ownPath: "/", controllers: [] },
  writable: true,
};

const host = (cgroups: HostCgroups, more: Partial<Host> = {}): Host => makeHost(cgroups, { kernel: [6, 1], ...more });

const config = (cgroupsPath?: string, resources?: Resources, annotations?: Record<string, string>): Config => ({
  ociVersion: "1.3.0",
  root: { path: "/rootfs" },
  process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
  ...(annotations === undefined ? {} : { annotations }),
  linux: {
    ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    ...(resources === undefined ? {} : { resources }),
  },
});

const SYSTEM: SystemdTarget = { user: false, root: "" };
const plan = (cgroups: HostCgroups, of: Config, manager = SYSTEM, more: Partial<Host> = {}) =>
  planCgroups(of, host(cgroups, more), "a", { manager, strict: true });

function show(step: Step): string {
  switch (step.op) {
    case "write":
      return `${step.path} = ${step.value}`;
    case "startScope":
      return `startScope ${step.unit} ${step.path}`;
    case "makeCgroup":
    case "moveProcess":
    case "joinCgroup":
    case "attachDeviceProgram":
      return `${step.op} ${step.path}`;
    default:
      return step.op;
  }
}

test("scopeName: unit, slice and group of slice:prefix:name", () => {
  for (const [path, user, unit, group] of [
    [undefined, false, "tupper-a.b.scope", "/system.slice/tupper-a.b.scope"],
    ["", true, "tupper-a.b.scope", "/user.slice/tupper-a.b.scope"],
    ["machine.slice:libpod:0f", false, "libpod-0f.scope", "/machine.slice/libpod-0f.scope"],
    ["a-b-c.slice:p:n", true, "p-n.scope", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"],
    ["-.slice:p:n", false, "p-n.scope", "/p-n.scope"],
    ["-:p:n", false, "p-n.scope", "/p-n.scope"],
    ["::n", false, "-n.scope", "/system.slice/-n.scope"],
  ] as const) {
    const { unit: found, path: at } = scopeName(config(path), "a.b", user);
    assert.deepEqual([found, at], [unit, group], path);
  }
  assert.equal(scopeName(config(), "a+b", false).unit, "tupper-a\\x2bb.scope");
});

test("scopeName: what systemd could not take is refused before anything is made", () => {
  for (const path of [
    "/absolute",
    "relative",
    "a.slice:b",
    "a.slice:b:c:d",
    "a:b:c",
    "a/b.slice:c:d",
    "-a.slice:b:c",
    "a--b.slice:c:d",
    ".slice:a:b",
    "a.slice:b:c/d",
    "a.slice:b:c d",
    "a.slice:b:c.slice",
    `a.slice:b:${"c".repeat(300)}`,
  ])
    assert.throws(
      () => scopeName(config(path), "id", false),
      (error) => error instanceof ContainerError && error.code === "CGROUP_UNIT_INVALID",
      path,
    );
});

test("annotatedProperties: GVariant text; NameSec becomes NameUSec in microseconds", () => {
  assert.deepEqual(
    annotatedProperties({
      "org.systemd.property.CollectMode": "'inactive-or-failed'",
      "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
      "org.systemd.property.TimeoutStopSec": "uint64 2",
      "org.systemd.property.RuntimeMaxSec": "1.5",
      "org.systemd.property.Wants": "['a.service', 'b.service']",
      "org.example": "true",
    }),
    [
      ["CollectMode", { type: "s", value: "inactive-or-failed" }],
      ["TimeoutStopUSec", { type: "t", value: 123_456_789n }],
      ["TimeoutStopUSec", { type: "t", value: 2_000_000n }],
      ["RuntimeMaxUSec", { type: "t", value: 1_500_000n }],
      ["Wants", { type: "as", value: ["a.service", "b.service"] }],
    ],
  );
  for (const [name, value] of [
    ["A", "true"],
    ["With space", "true"],
    ["Wants", "[]"],
    ["Wants", "nonsense"],
    ["TimeoutStopSec", "'2'"],
    ["TimeoutStopSec", "-2"],
  ] as const)
    assert.throws(
      () => annotatedProperties({ [`org.systemd.property.${name}`]: value }),
      (error) => error instanceof ContainerError && error.code === "SYSTEMD_PROPERTY",
      `${name}=${value}`,
    );
});

const u64 = (value: bigint) => ({ type: "t", value });
const INFINITY = 2n ** 64n - 1n;

test("limitProperties: each file's value as systemd has it; files that it does not know, and values that are none, are left out", () => {
  const of = (file: string, value: string) => limitProperties([{ file, value, because: "" }]);
  for (const [file, value, ...properties] of [
    ["memory.max", "67108864", ["MemoryMax", u64(67_108_864n)]],
    ["memory.max", "max", ["MemoryMax", u64(INFINITY)]],
    ["memory.limit_in_bytes", "-1", ["MemoryMax", u64(INFINITY)]],
    ["memory.high", "5", ["MemoryHigh", u64(5n)]],
    ["memory.low", "6", ["MemoryLow", u64(6n)]],
    ["memory.min", "7", ["MemoryMin", u64(7n)]],
    ["memory.swap.max", "0", ["MemorySwapMax", u64(0n)]],
    ["pids.max", "20", ["TasksMax", u64(20n)]],
    ["cpu.weight", "59", ["CPUWeight", u64(59n)]],
    ["cpu.shares", "512", ["CPUShares", u64(512n)]],
    ["cpu.idle", "1", ["CPUWeight", u64(0n)]],
    ["cpu.idle", "0"],
    ["cpu.max", "20000 100000", ["CPUQuotaPerSecUSec", u64(200_000n)], ["CPUQuotaPeriodUSec", u64(100_000n)]],
    ["cpu.max", "10001 30000", ["CPUQuotaPerSecUSec", u64(333_367n)], ["CPUQuotaPeriodUSec", u64(30_000n)]],
    ["cpu.max", "50000", ["CPUQuotaPerSecUSec", u64(500_000n)]],
    ["cpu.max", "max 50000", ["CPUQuotaPerSecUSec", u64(INFINITY)], ["CPUQuotaPeriodUSec", u64(50_000n)]],
    ["cpuset.cpus", "0,2-3,9", ["AllowedCPUs", { type: "ay", value: [0b1101, 0b10] }]],
    ["cpuset.mems", "0", ["AllowedMemoryNodes", { type: "ay", value: [1] }]],
    ["io.bfq.weight", "50", ["IOWeight", u64(50n)]],
    ["io.bfq.weight", "1000", ["IOWeight", u64(10_000n)]],
    ["io.bfq.weight", "8:16 200", ["IODeviceWeight", { type: "a(st)", value: [["/dev/block/8:16", 1200n]] }]],
    ["io.weight", "300", ["IOWeight", u64(300n)]],
    ["memory.oom.group", "1", ["OOMPolicy", { type: "s", value: "kill" }]],
    ["memory.oom.group", "0", ["OOMPolicy", { type: "s", value: "continue" }]],
    ["memory.max", "many"],
    ["cpu.max", "a b"],
    ["cpuset.cpus", "all"],
    ["cpu.max.burst", "5"],
    ["hugetlb.2MB.max", "5"],
    ["io.max", "8:0 rbps=1"],
  ] as const)
    assert.deepEqual(of(file, value), properties, `${file} ${value}`);
  assert.deepEqual(
    limitProperties([
      { file: "cpu.cfs_period_us", value: "50000", because: "" },
      { file: "cpu.cfs_quota_us", value: "25000", because: "" },
    ]),
    [
      ["CPUQuotaPerSecUSec", u64(500_000n)],
      ["CPUQuotaPeriodUSec", u64(50_000n)],
    ],
  );
});

test("deviceProperties: a strict policy with what is allowed; rules that systemd cannot express are left to the files", () => {
  assert.deepEqual(deviceProperties(undefined), [["DevicePolicy", { type: "s", value: "auto" }]]);
  const rules: DeviceRule[] = [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", major: 10, minor: 229, access: "rw" },
    { allow: true, type: "b", major: 8, access: "r" },
    { allow: false, type: "b", major: 8, minor: 1, access: "r" },
    { allow: true, type: "c", minor: 3, access: "r" },
  ];
  const [strict, allow] = deviceProperties(parseDeviceRules(rules));
  assert.deepEqual(strict, ["DevicePolicy", { type: "s", value: "strict" }]);
  assert.deepEqual(allow, [
    "DeviceAllow",
    {
      type: "a(ss)",
      value: [
        ["/dev/char/10:229", "rw"],
        ["block-8", "r"],
        ["char-*", "m"],
        ["block-*", "m"],
        ...["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2"].map((number) => [`/dev/char/${number}`, "rwm"]),
        ["char-136", "rwm"],
      ],
    },
  ]);
});

test("planCgroups with systemd on v2: one scope, made of the process; limits are its properties and its files", () => {
  const limits: Resources = {
    memory: { limit: 5 },
    pids: { limit: 7 },
    hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
  };
  const found = plan(V2, config("m.slice:p:n", limits, { "org.systemd.property.CollectMode": "'inactive'" }));
  assert.deepEqual(found.create, []);
  assert.deepEqual(found.afterClone.map(show), [
    "startScope p-n.scope /cg/m.slice/p-n.scope",
    // What systemd does not hand down.
    "/cg/cgroup.subtree_control = +hugetlb",
    "makeCgroup /cg/m.slice",
    "/cg/m.slice/cgroup.subtree_control = +hugetlb",
    "makeCgroup /cg/m.slice/p-n.scope",
    "/cg/m.slice/p-n.scope/memory.max = 5",
    "/cg/m.slice/p-n.scope/pids.max = 7",
    "/cg/m.slice/p-n.scope/hugetlb.2MB.rsvd.max = 0",
    "/cg/m.slice/p-n.scope/hugetlb.2MB.max = 0",
    "attachDeviceProgram /cg/m.slice/p-n.scope",
  ]);
  const [scope] = found.afterClone;
  assert.deepEqual(scope?.op === "startScope" && scope.properties, [
    ["Description", { type: "s", value: "tupper container a" }],
    ["Slice", { type: "s", value: "m.slice" }],
    ["Delegate", { type: "b", value: true }],
    ["CPUAccounting", { type: "b", value: true }],
    ["MemoryAccounting", { type: "b", value: true }],
    ["IOAccounting", { type: "b", value: true }],
    ["TasksAccounting", { type: "b", value: true }],
    ["DefaultDependencies", { type: "b", value: false }],
    ["CollectMode", { type: "s", value: "inactive" }],
    ["MemoryMax", u64(5n)],
    ["TasksMax", u64(7n)],
  ]);
  assert.deepEqual(found.join.map(show), ["awaitScope"]);
  assert.equal(found.into, undefined);
  assert.deepEqual(found.cleanup, ["/cg/m.slice/p-n.scope"]);
  assert.deepEqual(found.groups, [{ controller: "unified", path: "/cg/m.slice/p-n.scope" }]);
});

test("planCgroups with systemd on v2: run.oci.systemd.subgroup is a group below the scope, with the limits too", () => {
  const of = config("m.slice:p:n", { memory: { limit: 5 } }, { "run.oci.systemd.subgroup": "container" });
  const found = plan({ ...V2, unified: { mountPoint: "/cg", ownPath: "/", controllers: ["memory"] } }, of);
  assert.deepEqual(found.afterClone.map(show), [
    "startScope p-n.scope /cg/m.slice/p-n.scope",
    "makeCgroup /cg/m.slice/p-n.scope/container",
    "moveProcess /cg/m.slice/p-n.scope/container",
    "/cg/m.slice/p-n.scope/cgroup.subtree_control = +memory",
    "/cg/m.slice/p-n.scope/container/memory.max = 5",
    "attachDeviceProgram /cg/m.slice/p-n.scope/container",
  ]);
  assert.deepEqual(found.cleanup, ["/cg/m.slice/p-n.scope/container", "/cg/m.slice/p-n.scope"]);
  assert.deepEqual(found.groups, [{ controller: "unified", path: "/cg/m.slice/p-n.scope/container" }]);
  assert.throws(() => plan(V2, config(undefined, {}, { "run.oci.systemd.subgroup": "../x" })), ContainerError);
});

test("planCgroups with systemd on v2: run.oci.delegate-cgroup lies below the scope, or the group in it", () => {
  const of = (annotations: Record<string, string>) =>
    plan(V2, config("m.slice:p:n", {}, { "run.oci.delegate-cgroup": "mine", ...annotations }));
  const below = ({ afterClone }: ReturnType<typeof of>) =>
    afterClone.flatMap((step) => (step.op === "delegateBelow" ? [[step.group, step.path]] : []));
  const scope = "/cg/m.slice/p-n.scope";
  assert.deepEqual(below(of({})), [[scope, `${scope}/mine`]]);
  const inner = of({ "run.oci.systemd.subgroup": "container" });
  assert.deepEqual(below(inner), [[`${scope}/container`, `${scope}/container/mine`]]);
  assert.deepEqual(inner.cleanup, [`${scope}/container`, scope]);
  assert.deepEqual(
    inner.leave.map(({ op }) => op),
    ["awaitDelegation"],
  );
});

test("planCgroups with a user's systemd: below the manager's group, with the controllers that it has", () => {
  const manager = { user: true, root: "/user.slice/user@7.service", controllers: ["memory", "pids"] };
  const user = { privileged: false, uid: 7, gid: 7 };
  const found = plan({ ...V2, writable: false }, config(undefined, { memory: { limit: 5 } }), manager, user);
  const group = "/cg/user.slice/user@7.service/user.slice/tupper-a.scope";
  assert.deepEqual(found.afterClone.map(show), [
    `startScope tupper-a.scope ${group}`,
    `makeCgroup ${group}`,
    `${group}/memory.max = 5`,
  ]);
  assert.throws(
    () => plan({ ...V2, writable: false }, config(undefined, { cpu: { shares: 5 } }), manager, user),
    (error) => error instanceof ContainerError && error.code === "CGROUP_CONTROLLER_MISSING",
  );
});

test("planCgroups with systemd on a hybrid machine: the groups of v1 that systemd has not made are made, and joined", () => {
  const found = plan(HYBRID, config("m.slice:p:n", { memory: { limit: 5 } }));
  const of = (name: string) => `/cg/${name}/m.slice/p-n.scope`;
  const shown = found.afterClone.map(show);
  assert.equal(shown[0], `startScope p-n.scope ${of("systemd")}`);
  assert.ok(shown.includes(`${of("memory")}/memory.limit_in_bytes = 5`));
  assert.ok(shown.includes(`makeCgroup ${of("pids")}`));
  const [scope] = found.afterClone;
  const names = scope?.op === "startScope" ? scope.properties.map(([name]) => name) : [];
  assert.deepEqual(names.slice(-3), ["DevicePolicy", "DeviceAllow", "MemoryMax"]);
  assert.ok(names.includes("BlockIOAccounting"));
  assert.deepEqual(found.join.map(show), [
    "awaitScope",
    ...["cpuset", "memory", "pids", "devices"].map((name) => `joinCgroup ${of(name)}`),
  ]);
});
