import assert from "node:assert/strict";
import { test } from "node:test";
import { ROOT_HOST } from "../engine/containers/config/test-facts.ts";
import { ContainerError } from "../error.ts";
import type { Config, Linux, Process } from "../spec/config.ts";
import { plan } from "./plan.ts";
import { type ExecOptions, planExec } from "./plan-exec.ts";
import type { Step } from "./step.ts";

function configWith(process: Partial<Process> = {}, linux: Linux = {}): Config {
  return {
    ociVersion: "1.3.0",
    root: { path: "/srv/root" },
    process: { args: ["true"], cwd: "/", env: ["HOME=/"], user: { uid: 0, gid: 0 }, ...process },
    linux: { namespaces: [{ type: "mount" }, { type: "pid" }, { type: "network" }], ...linux },
  };
}

type Args = Record<string, unknown>;

/** Steps by name, without their reasons. */
function only(steps: readonly Step[], ...ops: Step["op"][]): Args[] {
  return steps
    .filter(({ op }) => ops.includes(op))
    .map(({ because: _because, ...step }) => step)
    .map((step) => ({ ...step }));
}

const planned = (process: Partial<Process>, linux: Linux = {}, mountinfo = "") =>
  plan(configWith(process, linux), { ...ROOT_HOST, mountinfo: ROOT_HOST.mountinfo + mountinfo }, { id: "box" });
const executed = (process: Partial<Process>, linux: Linux = {}, options = {}, host = ROOT_HOST) =>
  planExec(configWith(process, linux), host, "box", [{ controller: "cpu", path: "/sys/fs/cgroup/cpu/box" }], options);
const order = (steps: readonly Step[], ...ops: Step["op"][]) =>
  steps.map(({ op }) => op).filter((op) => ops.includes(op));

test("plan: what the config does not ask for takes no step", () => {
  const ops = new Set(planned({}).steps.map(({ op }) => op));
  for (const op of [
    "setScheduler",
    "setIoPriority",
    "setCpuAffinity",
    "setPersonality",
    "setMemoryPolicy",
    "setOomScore",
    "takeProc",
    "setLabels",
    "makeResctrlGroup",
    "joinResctrl",
    "moveNetDevice",
    "awaitParent",
    "ownStdio",
  ] as const)
    assert.ok(!ops.has(op), op);
});

test("plan: scheduler, I/O priority, personality and memory policy before a seccomp filter could forbid them", () => {
  const { steps } = planned(
    {
      scheduler: {
        policy: "SCHED_DEADLINE",
        flags: ["SCHED_FLAG_RESET_ON_FORK"],
        runtime: 5,
        deadline: 6,
        period: 2n ** 60n,
      },
      ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 },
    },
    {
      personality: { domain: "LINUX32" },
      memoryPolicy: { mode: "MPOL_BIND", nodes: "0" },
      seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["reboot"], action: "SCMP_ACT_ERRNO" }] },
    },
  );
  assert.deepEqual(only(steps, "setScheduler", "setIoPriority", "setPersonality", "setMemoryPolicy"), [
    {
      op: "setScheduler",
      by: "init",
      policy: "SCHED_DEADLINE",
      nice: 0,
      priority: 0,
      flags: ["SCHED_FLAG_RESET_ON_FORK"],
      runtime: 5,
      deadline: 6,
      period: 2n ** 60n,
      field: "process.scheduler",
    },
    { op: "setIoPriority", by: "init", class: "IOPRIO_CLASS_IDLE", priority: 0, field: "process.ioPriority" },
    { op: "setPersonality", by: "init", domain: "LINUX32", field: "linux.personality" },
    { op: "setMemoryPolicy", by: "init", mode: "MPOL_BIND", nodes: "0", field: "linux.memoryPolicy" },
  ]);
  assert.deepEqual(order(steps, "setMemoryPolicy", "seccomp", "setUser"), ["setMemoryPolicy", "seccomp", "setUser"]);
});

test("plan: labels go through a /proc that was taken before the container's view", () => {
  const { steps } = planned({ apparmorProfile: "docker-default", selinuxLabel: "u:r:t:s0", noNewPrivileges: true });
  const proc = { slot: "machine.proc" };
  assert.deepEqual(only(steps, "takeProc", "newKeyring", "setLabels"), [
    { op: "takeProc", by: "init", proc, field: "process.apparmorProfile" },
    { op: "newKeyring", by: "init", name: "_ses.box", shared: true, label: { selinux: "u:r:t:s0", proc } },
    {
      op: "setLabels",
      by: "init",
      apparmor: "docker-default",
      stacked: true,
      selinux: "u:r:t:s0",
      proc,
      field: "process.apparmorProfile",
    },
  ]);
  assert.deepEqual(order(steps, "takeProc", "pivotRoot", "setLabels", "setUser"), [
    "takeProc",
    "pivotRoot",
    "setLabels",
    "setUser",
  ]);
  assert.deepEqual(only(planned({ apparmorProfile: "", selinuxLabel: "" }).steps, "takeProc", "setLabels"), []);
});

test("plan: no keyring of its own where the caller's is to be used", () => {
  const { steps } = plan(configWith(), ROOT_HOST, { id: "box", newKeyring: false });
  assert.deepEqual(only(steps, "newKeyring"), []);
});

test("plan: all processors are asked for before the clone, so that the group decides", () => {
  const { steps } = plan(configWith(), ROOT_HOST, { id: "box", everyCpu: true });
  assert.deepEqual(order(steps, "setCpuAffinity", "clone"), ["setCpuAffinity", "clone"]);
});

test("plan: the descriptors that the command keeps are below those that close", () => {
  const { steps } = plan(configWith(), ROOT_HOST, { id: "box", preservedFds: 2 });
  assert.deepEqual(only(steps, "closeDescriptors"), [{ op: "closeDescriptors", by: "init", from: 5 }]);
});

test("plan: HOME is looked up only where the config has none", () => {
  const homeOf = (env: string[]) => only(planned({ env, user: { uid: 7, gid: 7 } }).steps, "exec")[0]?.homeOf;
  assert.deepEqual([["HOME=/x"], ["HOME="], []].map(homeOf), [undefined, 7, 7]);
});

const RESCTRL = "77 20 0:9 / /sys/fs/resctrl rw - resctrl resctrl rw\n";

test("plan: intelRdt without closID is a class of the container's name, which goes with it", () => {
  const { steps, cleanup } = planned(
    {},
    { intelRdt: { l3CacheSchema: "L3:0=f", memBwSchema: "MB:0=20", schemata: ["L2:0=3"], enableMonitoring: true } },
    RESCTRL,
  );
  const path = "/sys/fs/resctrl/box";
  assert.deepEqual(only(steps, "makeResctrlGroup", "joinResctrl"), [
    {
      op: "makeResctrlGroup",
      by: "parent",
      path,
      whose: "own",
      schemata: ["L3:0=f", "MB:0=20", "L2:0=3"],
      monitor: `${path}/mon_groups/box`,
      field: "linux.intelRdt",
    },
    { op: "joinResctrl", by: "init", paths: [path, `${path}/mon_groups/box`], field: "linux.intelRdt" },
  ]);
  assert.equal(cleanup.cgroups.at(-1), path);
});

test("plan: intelRdt with closID: shared with schemata, else given; only the monitoring group is removed", () => {
  const group = (intelRdt: NonNullable<Linux["intelRdt"]>) => {
    const { steps, cleanup } = planned({}, { intelRdt }, RESCTRL);
    const { path, whose } = only(steps, "makeResctrlGroup")[0] ?? {};
    return [path, whose, cleanup.cgroups.filter((directory) => directory.includes("resctrl"))];
  };
  const root = "/sys/fs/resctrl";
  assert.deepEqual(group({ closID: "gold", memBwSchema: "MB:0=20" }), [`${root}/gold`, "shared", []]);
  assert.deepEqual(group({ closID: "gold" }), [`${root}/gold`, "given", []]);
  assert.deepEqual(group({ closID: "/", enableMonitoring: true }), [root, "given", [`${root}/mon_groups/box`]]);
});

test("plan: intelRdt is an error where no resctrl is mounted", () => {
  assert.throws(
    () => planned({}, { intelRdt: {} }),
    (error) => error instanceof ContainerError && error.code === "RESCTRL_MISSING",
  );
});

test("plan: network devices are moved while init waits; into a namespace that is joined by its path", () => {
  const netDevices = { dummy0: {}, dummy1: { name: "eth%d" } };
  const { steps } = planned({}, { netDevices });
  const pid = { slot: "init.pid" };
  assert.deepEqual(only(steps, "moveNetDevice", "awaitParent"), [
    { op: "moveNetDevice", by: "parent", device: "dummy0", as: "dummy0", pid, field: "linux.netDevices.dummy0" },
    { op: "moveNetDevice", by: "parent", device: "dummy1", as: "eth%d", pid, field: "linux.netDevices.dummy1" },
    { op: "awaitParent", by: "init", field: "linux.netDevices" },
  ]);
  const joined = planned(
    {},
    { netDevices, namespaces: [{ type: "mount" }, { type: "network", path: "/run/netns/blue" }] },
  );
  assert.deepEqual(
    only(joined.steps, "moveNetDevice").map(({ path }) => path),
    ["/run/netns/blue", "/run/netns/blue"],
  );
  assert.throws(
    () => planned({}, { netDevices, namespaces: [{ type: "mount" }] }),
    (error) => error instanceof ContainerError && error.code === "NETWORK_NAMESPACE_NEEDED",
  );
});

test("plan: with a user namespace the wait for the id maps is the wait for the devices", () => {
  const mapping = [{ containerID: 0, hostID: 100_000, size: 1000 }];
  const { steps } = planned(
    {},
    {
      netDevices: { dummy0: {} },
      namespaces: [{ type: "mount" }, { type: "user" }, { type: "network" }],
      uidMappings: mapping,
      gidMappings: mapping,
    },
  );
  assert.deepEqual(order(steps, "awaitParent", "becomeMappedRoot"), ["becomeMappedRoot"]);
});

test("plan: where the maps have no root the set-up is the command's user", () => {
  const becomes = (linux: Linux, user = { uid: 1000, gid: 1000 }) =>
    only(
      planned({ user }, { namespaces: [{ type: "mount" }, { type: "user" }], ...linux }).steps,
      "becomeMappedRoot",
    ).map(({ otherwise }) => otherwise);
  const from = (containerID: number) => [{ containerID, hostID: 100_000, size: 5 }];
  assert.deepEqual(becomes({ uidMappings: from(0), gidMappings: from(0) }), [undefined]);
  assert.deepEqual(becomes({ uidMappings: from(1000), gidMappings: from(0) }), [{ uid: 1000, gid: 1000 }]);
  const joined: Linux = { namespaces: [{ type: "mount" }, { type: "user", path: "/proc/7/ns/user" }] };
  assert.deepEqual(becomes(joined), [{ uid: 1000, gid: 1000 }]);
  assert.deepEqual(becomes(joined, { uid: 0, gid: 0 }), [undefined]);
});

test("plan: root joins namespaces of the machine before a user namespace takes its capabilities away", () => {
  const mapping = [{ containerID: 0, hostID: 100_000, size: 5 }];
  const joined = (user: { path?: string }) => {
    const { steps } = planned(
      {},
      {
        namespaces: [
          { type: "mount" },
          { type: "user", ...user },
          { type: "pid", path: "/p" },
          { type: "network", path: "/n" },
        ],
        ...(user.path === undefined ? { uidMappings: mapping, gidMappings: mapping } : {}),
      },
    );
    return only(steps, "joinNamespace", "clone").map(({ by, type, sharedMemory }) => `${by} ${type ?? sharedMemory}`);
  };
  assert.deepEqual(joined({}), ["parent network", "parent pid", "parent false"]);
  assert.deepEqual(joined({ path: "/u" }), ["parent network", "parent pid", "parent user", "parent false"]);
});

test("plan: clock offsets are seconds and less than a second of nanoseconds, as the kernel wants them", () => {
  const { steps } = planned(
    {},
    {
      namespaces: [{ type: "mount" }, { type: "time" }],
      timeOffsets: { monotonic: { secs: -5, nanosecs: 2_500_000_000 }, boottime: { secs: 3, nanosecs: -1 } },
    },
  );
  assert.deepEqual(
    only(steps, "timeOffset").map(({ clock, secs, nanosecs }) => [clock, secs, nanosecs]),
    [
      ["monotonic", -3, 500_000_000],
      ["boottime", 2, 999_999_999],
    ],
  );
});

test("plan: before Linux 6.3 a time namespace is made by the one that clones into it, which an ordinary user may not", () => {
  const order = (kernel: [number, number], uid = 0) =>
    only(
      plan(
        configWith(
          {},
          { namespaces: [{ type: "mount" }, { type: "time" }], timeOffsets: { monotonic: { secs: 1, nanosecs: 0 } } },
        ),
        { ...ROOT_HOST, kernel, uid },
        { id: "box" },
      ).steps,
      "unshare",
      "timeOffset",
      "clone",
    ).map(({ by, op, sharedMemory }) => `${by} ${op}${sharedMemory ? " shared" : ""}`);
  assert.deepEqual(order([6, 2]), ["parent unshare", "parent timeOffset", "parent clone"]);
  assert.deepEqual(order([6, 3]), ["parent clone shared", "init unshare", "init timeOffset"]);
  assert.throws(() => order([6, 2], 1000), { code: "TIME_NAMESPACE_UNAVAILABLE", field: "linux.namespaces" });
});

test("plan: a cgroupsPath that no kernel takes is refused before the groups above it are made", () => {
  const planOf = (length: number) => planned({}, { cgroupsPath: "/d".repeat(length / 2) });
  assert.throws(() => planOf(4096), { code: "CGROUP_VALUE_INVALID", field: "linux.cgroupsPath" });
  assert.doesNotThrow(() => planOf(4094));
});

test("planExec: the processors of the set-up before the clone, those of the command once it is in the groups", () => {
  const { steps } = executed({ execCPUAffinity: { initial: "0", final: "1" } }, {}, { everyCpu: true });
  assert.deepEqual(order(steps, "setCpuAffinity", "clone", "joinCgroup", "joinProcess"), [
    "setCpuAffinity",
    "joinProcess",
    "clone",
    "joinCgroup",
    "setCpuAffinity",
    "joinProcess",
  ]);
  assert.deepEqual(
    only(steps, "setCpuAffinity").map(({ by, cpus }) => [by, cpus]),
    [
      ["parent", "0"],
      ["init", "1"],
    ],
  );
  assert.deepEqual(
    only(executed({}, {}, { everyCpu: true }).steps, "setCpuAffinity").map(({ by, cpus }) => [by, cpus]),
    [["parent", "all"]],
  );
});

test("plan, planExec: before Linux 6.4 who is born in a group asks for processors there, where it has any or the caller's do not count", () => {
  const group = [{ controller: "unified", path: "/sys/fs/cgroup/box" }];
  const asks = (minor: number, { everyCpu = false, cpus = "" }, inGroup = true) => {
    const config = configWith({}, { resources: { cpu: { cpus } } });
    const unified = { mountPoint: "/sys/fs/cgroup", ownPath: "/", controllers: ["cpuset"] };
    const cgroups = inGroup
      ? { mode: "v2" as const, hierarchies: [], unified, writable: true }
      : { mode: "none" as const, hierarchies: [], writable: false };
    const host = { ...ROOT_HOST, cgroups, kernel: [6, minor] as const };
    const plans = [
      plan(config, host, { id: "box", everyCpu }),
      planExec(config, host, "box", inGroup ? group : [], { everyCpu }),
    ];
    return plans.map(({ steps }) => only(steps, "setCpuAffinity").map(({ by, cpus }) => `${by} ${cpus}`));
  };
  assert.deepEqual(asks(3, { cpus: "0" }), [["init all"], ["init all"]]);
  assert.deepEqual(asks(3, { everyCpu: true }), [["init all"], ["init all"]]);
  assert.deepEqual(asks(3, {}), [[], []]);
  assert.deepEqual(asks(4, { cpus: "0" }), [[], []]);
  assert.deepEqual(asks(4, { everyCpu: true, cpus: "0" }), [["parent all"], ["parent all"]]);
  assert.deepEqual(asks(3, { everyCpu: true, cpus: "0" }, false), [["parent all"], ["parent all"]]);
});

test("planExec: before Linux 6.4 a process moves into a v2 group whose memory nodes are set, and is born in it elsewhere", () => {
  const group = [{ controller: "unified", path: "/sys/fs/cgroup/box" }];
  const ways = (kernel: [number, number], mems: string, options: ExecOptions = {}) => {
    const config = configWith({}, { resources: { cpu: { mems } } });
    const { steps } = planExec(config, { ...ROOT_HOST, kernel }, "box", group, options);
    return [...only(steps, "clone").map(({ cgroup }) => cgroup), ...only(steps, "joinCgroup").map(({ path }) => path)];
  };
  const [born, moved] = [["/sys/fs/cgroup/box"], [undefined, "/sys/fs/cgroup/box"]];
  assert.deepEqual([ways([6, 3], "0"), ways([6, 3], ""), ways([6, 4], "0")], [moved, born, born]);
  assert.deepEqual([ways([6, 3], "", { memoryNodes: "1" }), ways([6, 3], "1", { memoryNodes: "" })], [moved, born]);
  // There systemd moves it.
  assert.deepEqual(ways([6, 3], "0", { attach: { unit: "box.scope", below: "" } }), [undefined]);
});

test("planExec: limits, scores, labels, keyring and descriptors are those of the process", () => {
  const { steps } = executed(
    {
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: -1 }],
      oomScoreAdj: 5,
      apparmorProfile: "foo",
      scheduler: { policy: "SCHED_IDLE" },
      consoleSize: { height: 25, width: 80 },
      terminal: true,
      cwd: "/missing",
    },
    {},
    { preservedFds: 1 },
  );
  assert.deepEqual(
    order(
      steps,
      "setOomScore",
      "refuseTracing",
      "takeProc",
      "newKeyring",
      "openPty",
      "setRlimit",
      "setScheduler",
      "setLabels",
      "changeDirectory",
      "exec",
    ),
    [
      "refuseTracing",
      "setOomScore",
      "takeProc",
      "newKeyring",
      "openPty",
      "setRlimit",
      "setScheduler",
      "setLabels",
      "changeDirectory",
      "exec",
    ],
  );
  assert.deepEqual(
    only(steps, "newKeyring", "openPty", "changeDirectory", "closeDescriptors").map(
      ({ op, by, field, ...args }) => args,
    ),
    [
      { name: "_ses.box", shared: false },
      { owner: 0, console: false, rows: 25, columns: 80 },
      { path: "/missing", inside: true, mustExist: true },
      { from: 4 },
    ],
  );
});

test("planExec: the score by who may: itself where root joins a PID namespace, its parent before a user namespace is joined", () => {
  const scored = (namespaces: { type: "pid" | "user" }[], uid = 0) =>
    only(
      executed({ oomScoreAdj: 5 }, { namespaces }, {}, { ...ROOT_HOST, uid }).steps,
      "setOomScore",
      "joinProcess",
    ).map(({ op, by }) => `${by} ${op}`);
  assert.deepEqual(scored([{ type: "pid" }]), ["parent joinProcess", "init setOomScore"]);
  assert.deepEqual(scored([{ type: "pid" }, { type: "user" }]), ["parent setOomScore", "parent joinProcess"]);
  assert.deepEqual(scored([{ type: "pid" }], 1000), ["parent setOomScore", "parent joinProcess"]);
});
