import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import type { Config, DeviceRule, Resources } from "../../spec/config.ts";
import type { Host, HostCgroups } from "../host.ts";
import type { Step } from "../step.ts";
import { normalizeCgroupsPath, planCgroups } from "./groups.ts";

const V1: HostCgroups = {
  mode: "v1",
  hierarchies: [
    { controllers: ["cpuset"], mountPoint: "/cg/cpuset", ownPath: "/" },
    { controllers: ["cpu", "cpuacct"], mountPoint: "/cg/cpu,cpuacct", ownPath: "/own" },
    { controllers: ["memory"], mountPoint: "/cg/memory", ownPath: "/own" },
  ],
  writable: true,
};

const ALL_V1: HostCgroups = {
  mode: "v1",
  hierarchies: "cpu cpuset memory pids blkio hugetlb net_cls net_prio rdma devices"
    .split(" ")
    .map((controller) => ({ controllers: [controller], mountPoint: `/cg/${controller}`, ownPath: "/" })),
  writable: true,
};

const HYBRID: HostCgroups = {
  mode: "hybrid",
  hierarchies: [
    { controllers: ["pids"], mountPoint: "/cg/pids", ownPath: "/" },
    { controllers: ["name=systemd"], mountPoint: "/cg/systemd", ownPath: "/" },
  ],
  unified: { mountPoint: "/cg/unified", ownPath: "/", controllers: ["hugetlb"] },
  writable: true,
};

const V2: HostCgroups = {
  mode: "v2",
  hierarchies: [],
  unified: {
    mountPoint: "/cg",
    ownPath: "/user.slice/session-1.scope",
    controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"],
  },
  writable: true,
};

const NONE: HostCgroups = { mode: "none", hierarchies: [], writable: false };

function makeHost(cgroups: HostCgroups, more: Partial<Host> = {}): Host {
  return {
    kernel: [6, 18],
    architecture: "x86_64",
    uid: 0,
    gid: 0,
    stateRoot: "/run/tupper",
    cgroups,
    mountinfo: "",
    rootEntries: [],
    fileMounts: [],
    idMapHelpers: false,
    subuids: [],
    subgids: [],
    privileged: true,
    ...more,
  };
}

function makeConfig(resources?: Resources, cgroupsPath?: string): Config {
  return {
    ociVersion: "1.3.0",
    root: { path: "/rootfs" },
    process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
    linux: {
      ...(resources === undefined ? {} : { resources }),
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    },
  };
}

/** A step without its reasons, as a line. */
function show(step: Step): string {
  switch (step.op) {
    case "makeCgroup":
      return `makeCgroup ${step.controller} ${step.path}${step.mayExist ? " (may exist)" : ""}`;
    case "write": {
      const otherwise = "otherwise" in step && step.otherwise;
      return `${step.path} = ${step.value}${otherwise ? ` or ${otherwise.path} = ${otherwise.value}` : ""}`;
    }
    case "inheritCgroupValue":
      return `inherit ${step.path}`;
    case "vacateCgroup":
      return `vacate ${step.path} into ${step.into}`;
    case "joinCgroup":
      return `joinCgroup ${step.controller} ${step.path}`;
    case "attachDeviceProgram":
      return `attachDeviceProgram ${step.path} (${step.program.length / 8} instructions)`;
    default:
      return step.op;
  }
}

/** The writes of one container `/c` with field and file, and the warnings. */
function limits(cgroups: HostCgroups, resources: Resources, more: Partial<Host> = {}) {
  const { create, warnings } = planCgroups(makeConfig(resources, "/c"), makeHost(cgroups, more), "c");
  const writes = create.flatMap((step) =>
    step.op === "write" && !step.path.endsWith("subtree_control")
      ? [`${step.field?.replace("linux.resources.", "") ?? "-"}: ${show(step).replaceAll(/\/cg\/(\w+\/)?c\//g, "")}`]
      : [],
  );
  return { writes, warnings };
}

function codeOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof ContainerError) return `${error.code} ${error.field}`;
    throw error;
  }
  return "no error";
}

test("planCgroups: on v1 a group in every hierarchy, whole steps", () => {
  const made = { by: "parent", because: "a control group of its own counts and limits the container" };
  const inherits = {
    op: "inheritCgroupValue",
    by: "parent",
    because: "a new cpuset of cgroup v1 is empty, and no process can join an empty one",
  };
  const joins = {
    op: "joinCgroup",
    by: "init",
    because:
      "the container is counted and limited there; a single-threaded process that moves itself spares the wait for all others",
  };
  const cpuset = "/cg/cpuset/tupper-a";
  const cpu = "/cg/cpu,cpuacct/tupper-a";
  const memory = "/cg/memory/tupper-a";
  assert.deepEqual(planCgroups(makeConfig({ memory: { limit: 1 } }), makeHost(V1), "a"), {
    afterClone: [],
    create: [
      { op: "makeCgroup", controller: "cpuset", path: cpuset, ...made },
      { path: `${cpuset}/cpuset.cpus`, ...inherits },
      { path: `${cpuset}/cpuset.mems`, ...inherits },
      { op: "makeCgroup", controller: "cpu,cpuacct", path: cpu, ...made },
      { op: "makeCgroup", controller: "memory", path: memory, ...made },
      {
        op: "write",
        by: "parent",
        path: `${memory}/memory.limit_in_bytes`,
        value: "1",
        field: "linux.resources.memory.limit",
        because: "memory beyond this is reclaimed, and when that does not suffice a process of the container is killed",
      },
    ],
    join: [
      { controller: "cpuset", path: cpuset, ...joins },
      { controller: "cpu,cpuacct", path: cpu, ...joins },
      { controller: "memory", path: memory, ...joins },
    ],
    cleanup: [cpuset, cpu, memory],
    groups: [
      { controller: "cpuset", path: cpuset },
      { controller: "cpu,cpuacct", path: cpu },
      { controller: "memory", path: memory },
    ],
    warnings: [],
  });
});

test("planCgroups: a relative path is below our own groups; cpusets on the way are filled too", () => {
  const { create, join } = planCgroups(makeConfig({ cpu: { cpus: "0" } }, "pod/../pods//c"), makeHost(V1), "a");
  assert.deepEqual(create.map(show), [
    "makeCgroup cpuset /cg/cpuset/pods (may exist)",
    "inherit /cg/cpuset/pods/cpuset.cpus",
    "inherit /cg/cpuset/pods/cpuset.mems",
    "makeCgroup cpuset /cg/cpuset/pods/c",
    "inherit /cg/cpuset/pods/c/cpuset.mems",
    "/cg/cpuset/pods/c/cpuset.cpus = 0",
    "makeCgroup cpu,cpuacct /cg/cpu,cpuacct/own/pods/c",
    "makeCgroup memory /cg/memory/own/pods/c",
  ]);
  assert.deepEqual(join.map(show), [
    "joinCgroup cpuset /cg/cpuset/pods/c",
    "joinCgroup cpu,cpuacct /cg/cpu,cpuacct/own/pods/c",
    "joinCgroup memory /cg/memory/own/pods/c",
  ]);
});

test("planCgroups: on a hybrid machine the container is born in the v2 group, which limits what it can", () => {
  const resources: Resources = { pids: { limit: 20 }, hugepageLimits: [{ pageSize: "2MB", limit: 0 }] };
  const plan = planCgroups(makeConfig(resources), makeHost(HYBRID), "a");
  assert.deepEqual(plan.create.map(show), [
    "makeCgroup pids /cg/pids/tupper-a",
    "/cg/pids/tupper-a/pids.max = 20",
    "makeCgroup name=systemd /cg/systemd/tupper-a",
    "/cg/unified/cgroup.subtree_control = +hugetlb",
    "makeCgroup unified /cg/unified/tupper-a",
    "/cg/unified/tupper-a/hugetlb.2MB.rsvd.max = 0",
    "/cg/unified/tupper-a/hugetlb.2MB.max = 0",
  ]);
  assert.deepEqual(plan.join.map(show), [
    "joinCgroup pids /cg/pids/tupper-a",
    "joinCgroup name=systemd /cg/systemd/tupper-a",
  ]);
  assert.equal(plan.into, "/cg/unified/tupper-a");
  assert.deepEqual(plan.cleanup, ["/cg/pids/tupper-a", "/cg/systemd/tupper-a", "/cg/unified/tupper-a"]);
});

test("planCgroups: on a hybrid machine nothing is handed down that nobody asks for", () => {
  assert.deepEqual(planCgroups(makeConfig(), makeHost(HYBRID), "a").create.map(show), [
    "makeCgroup pids /cg/pids/tupper-a",
    "makeCgroup name=systemd /cg/systemd/tupper-a",
    "makeCgroup unified /cg/unified/tupper-a",
  ]);
});

test("planCgroups: on v2 every group above hands controllers down", () => {
  const plan = planCgroups(makeConfig({ cpu: { mems: "0" } }, "/pods/c"), makeHost(V2), "a");
  assert.deepEqual(plan.create.map(show), [
    "/cg/cgroup.subtree_control = +cpu +io +memory +pids +cpuset",
    "makeCgroup unified /cg/pods (may exist)",
    "/cg/pods/cgroup.subtree_control = +cpu +io +memory +pids +cpuset",
    "makeCgroup unified /cg/pods/c",
    "/cg/pods/c/cpuset.mems = 0",
  ]);
  assert.deepEqual([plan.join, plan.into, plan.cleanup], [[], "/cg/pods/c", ["/cg/pods/c"]]);
});

test("planCgroups: on v2 a relative path is beside our own group", () => {
  const { into } = planCgroups(makeConfig({}, "c"), makeHost(V2), "a");
  assert.equal(into, "/cg/user.slice/c");
});

test("planCgroups: on v2 a user's groups lie in the delegated part, and nothing above it is written", () => {
  const unified = { mountPoint: "/cg", ownPath: "/user.slice/app.slice/run-1.scope", controllers: ["memory", "pids"] };
  const plan = planCgroups(
    makeConfig({ pids: { limit: 5 } }),
    makeHost({ ...V2, unified }, { uid: 1000, privileged: false }),
    "a",
  );
  assert.deepEqual(plan.create.map(show), [
    "/cg/user.slice/app.slice/cgroup.subtree_control = +memory +pids",
    "makeCgroup unified /cg/user.slice/app.slice/tupper-a",
    "/cg/user.slice/app.slice/tupper-a/pids.max = 5",
  ]);
});

test("planCgroups: on v2 with pids.limit 0, or before Linux 5.7, the process joins instead of being born there", () => {
  const zero = planCgroups(makeConfig({ pids: { limit: 0 } }), makeHost(V2), "a");
  assert.deepEqual([zero.join.map(show), zero.into], [["joinCgroup unified /cg/tupper-a"], undefined]);
  const old = planCgroups(makeConfig(), makeHost(V2, { kernel: [5, 6] }), "a");
  assert.deepEqual([old.join.map(show), old.into], [["joinCgroup unified /cg/tupper-a"], undefined]);
  // Where v1 counts processes, the v2 group does not.
  assert.equal(planCgroups(makeConfig({ pids: { limit: 0 } }), makeHost(HYBRID), "a").into, "/cg/unified/tupper-a");
});

test("planCgroups: processes at a v2 root that is not the machine's move out of the way first", () => {
  const unified = { mountPoint: "/cg", ownPath: "/", controllers: ["memory"], occupied: true };
  const plan = planCgroups(makeConfig({ memory: { limit: 1 } }), makeHost({ ...V2, unified }), "a");
  assert.deepEqual(
    [...plan.create.slice(0, 2).map(show), ...plan.warnings],
    ["vacate /cg into /cg/init", "/cg/cgroup.subtree_control = +memory"],
  );
});

test("planCgroups: without control groups no steps, and a warning for each limit", () => {
  const resources: Resources = {
    memory: { limit: 1, swap: 2 },
    hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
    unified: { "memory.high": "1" },
    devices: [{ allow: false, access: "rwm" }],
  };
  const fields = ["memory.limit", "memory.swap", "hugepageLimits[0]", 'unified["memory.high"]'];
  const expect = (names: string[], gap: string) => ({
    ...{ create: [], afterClone: [], join: [], cleanup: [], groups: [] },
    warnings: names.map((name) => `linux.resources.${name} is ignored: ${gap}`),
  });
  const user = { uid: 1000, privileged: false };
  const config = makeConfig(resources);
  assert.deepEqual(
    planCgroups(config, makeHost(NONE), "a"),
    expect([...fields, "devices"], "no control group filesystem is mounted"),
  );
  assert.deepEqual(
    planCgroups(config, makeHost({ ...V1, writable: false }), "a"),
    expect([...fields, "devices"], "the control group filesystem is mounted read-only"),
  );
  assert.deepEqual(
    planCgroups(config, makeHost({ ...HYBRID, writable: false }, user), "a"),
    expect(fields, "this machine has control groups of version 1, and only root can make those"),
  );
  assert.deepEqual(
    planCgroups(config, makeHost({ ...V2, writable: false }, user), "a"),
    expect(
      fields,
      "no part of the control group tree is delegated to this user (systemd-run --user --scope gives one)",
    ),
  );
  assert.deepEqual(planCgroups(makeConfig(), makeHost(NONE), "a").warnings, []);
});

test("planCgroups: a controller that is in no hierarchy is a warning", () => {
  assert.deepEqual(limits(HYBRID, { cpu: { shares: 2 }, blockIO: { weight: 10 }, network: { classID: 1 } }), {
    writes: [],
    warnings: [
      "linux.resources.cpu.shares is ignored: this machine's control groups have no cpu controller",
      "linux.resources.blockIO.weight is ignored: this machine's control groups have no io controller",
      "linux.resources.network.classID is ignored: this machine's control groups have no net_cls controller",
    ],
  });
});

test("planCgroups: the root of the hierarchies is no group for a container", () => {
  assert.equal(
    codeOf(() => planCgroups(makeConfig({}, "/.."), makeHost(V1), "a")),
    "CGROUP_VALUE_INVALID linux.cgroupsPath",
  );
});

test("normalizeCgroupsPath: never leads above the root", () => {
  assert.deepEqual(["/a/b", "a//b/", "../../a", "/a/../../b", "./a/.", "/"].map(normalizeCgroupsPath), [
    "/a/b",
    "/a/b",
    "/a",
    "/b",
    "/a",
    "",
  ]);
});

const MEMORY: Resources = {
  memory: { limit: 100, swap: 150, reservation: 50, swappiness: 0, disableOOMKiller: true, useHierarchy: false },
};

test("memory: v1", () => {
  assert.deepEqual(limits(ALL_V1, MEMORY), {
    writes: [
      "memory.limit: memory.limit_in_bytes = 100",
      "memory.swap: memory.memsw.limit_in_bytes = 150",
      "memory.reservation: memory.soft_limit_in_bytes = 50",
      "memory.swappiness: memory.swappiness = 0",
      "memory.disableOOMKiller: memory.oom_control = 1",
    ],
    warnings: [
      "linux.resources.memory.useHierarchy is ignored: since Linux 5.11 memory is always counted hierarchically",
    ],
  });
  assert.deepEqual(limits(ALL_V1, { memory: { useHierarchy: true } }, { kernel: [5, 10] }).writes, [
    "memory.useHierarchy: memory.use_hierarchy = 1",
  ]);
});

test("memory: v2 counts swap alone", () => {
  assert.deepEqual(limits(V2, MEMORY), {
    writes: [
      "memory.limit: memory.max = 100",
      "memory.swap: memory.swap.max = 50",
      "memory.reservation: memory.low = 50",
    ],
    warnings: [
      "linux.resources.memory.swappiness is ignored: cgroup v2 has no swappiness per group",
      "linux.resources.memory.disableOOMKiller is ignored: cgroup v2 cannot switch the OOM killer off",
      "linux.resources.memory.useHierarchy is ignored: cgroup v2 always counts memory hierarchically",
    ],
  });
});

test("memory: -1 is no limit, and swap equal to the limit is no swap", () => {
  const unlimited = { memory: { limit: -1, swap: -1, reservation: -1 } };
  assert.deepEqual(limits(ALL_V1, unlimited).writes, [
    "memory.limit: memory.limit_in_bytes = -1",
    "memory.swap: memory.memsw.limit_in_bytes = -1",
    "memory.reservation: memory.soft_limit_in_bytes = -1",
  ]);
  assert.deepEqual(limits(V2, unlimited).writes, [
    "memory.limit: memory.max = max",
    "memory.swap: memory.swap.max = max",
    "memory.reservation: memory.low = max",
  ]);
  assert.deepEqual(limits(V2, { memory: { limit: 5, swap: 5 } }).writes, [
    "memory.limit: memory.max = 5",
    "memory.swap: memory.swap.max = 0",
  ]);
});

test("memory: swap without a limit, or below it, cannot be", () => {
  for (const cgroups of [ALL_V1, V2]) {
    assert.equal(
      codeOf(() => limits(cgroups, { memory: { swap: 5 } })),
      "CGROUP_VALUE_INVALID linux.resources.memory.swap",
    );
    assert.equal(
      codeOf(() => limits(cgroups, { memory: { limit: 6, swap: 5 } })),
      "CGROUP_VALUE_INVALID linux.resources.memory.swap",
    );
  }
});

const CPU: Resources = {
  cpu: {
    shares: 512,
    quota: 50_000,
    period: 200_000,
    burst: 1000,
    realtimePeriod: 3,
    realtimeRuntime: 2,
    idle: 1,
    cpus: "0-1",
    mems: "0",
  },
};

test("cpu and cpuset: v1", () => {
  assert.deepEqual(limits(ALL_V1, CPU), {
    writes: [
      "cpu.period: cpu.cfs_period_us = 200000",
      "cpu.quota: cpu.cfs_quota_us = 50000",
      "cpu.burst: cpu.cfs_burst_us = 1000",
      "cpu.realtimePeriod: cpu.rt_period_us = 3",
      "cpu.realtimeRuntime: cpu.rt_runtime_us = 2",
      "cpu.idle: cpu.idle = 1",
      "cpu.cpus: cpuset.cpus = 0-1",
      "cpu.mems: cpuset.mems = 0",
    ],
    warnings: ["linux.resources.cpu.shares is ignored: an idle group has no weight"],
  });
});

test("cpu and cpuset: v2", () => {
  assert.deepEqual(limits(V2, CPU), {
    writes: [
      "cpu.quota: cpu.max = 50000 200000",
      "cpu.burst: cpu.max.burst = 1000",
      "cpu.idle: cpu.idle = 1",
      "cpu.cpus: cpuset.cpus = 0-1",
      "cpu.mems: cpuset.mems = 0",
    ],
    warnings: [
      "linux.resources.cpu.realtimePeriod is ignored: cgroup v2 has no limits for realtime processes",
      "linux.resources.cpu.realtimeRuntime is ignored: cgroup v2 has no limits for realtime processes",
      "linux.resources.cpu.shares is ignored: an idle group has no weight",
    ],
  });
  assert.deepEqual(limits(V2, { cpu: { quota: -1 } }).writes, ["cpu.quota: cpu.max = max 100000"]);
  assert.deepEqual(limits(V2, { cpu: { period: 5000 } }).writes, ["cpu.period: cpu.max = max 5000"]);
});

test("pids: 0 is a limit, written as 1, and -1 is none, in both versions", () => {
  for (const cgroups of [ALL_V1, V2]) {
    assert.deepEqual(
      [0, 20, -1].map((limit) => limits(cgroups, { pids: { limit } }).writes),
      [["pids.limit: pids.max = 1"], ["pids.limit: pids.max = 20"], ["pids.limit: pids.max = max"]],
    );
  }
});

const BLOCK_IO: Resources = {
  blockIO: {
    weight: 500,
    leafWeight: 10,
    weightDevice: [{ major: 8, minor: 0, weight: 1000, leafWeight: 20 }],
    throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1_048_576 }],
    throttleWriteBpsDevice: [{ major: 8, minor: 0, rate: 2 }],
    throttleReadIOPSDevice: [{ major: 8, minor: 0, rate: 3 }],
    throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 0 }],
  },
};
const LEAF_WARNINGS = [
  "linux.resources.blockIO.leafWeight is ignored: leaf weights went with the CFQ scheduler in Linux 5.0",
  "linux.resources.blockIO.weightDevice[0].leafWeight is ignored: leaf weights went with the CFQ scheduler in Linux 5.0",
];

test("blockIO: v1 has BFQ's files since Linux 5.0", () => {
  assert.deepEqual(limits(ALL_V1, BLOCK_IO), {
    writes: [
      "blockIO.weight: blkio.bfq.weight = 500",
      "blockIO.weightDevice[0].weight: blkio.bfq.weight_device = 8:0 1000",
      "blockIO.throttleReadBpsDevice[0]: blkio.throttle.read_bps_device = 8:0 1048576",
      "blockIO.throttleWriteBpsDevice[0]: blkio.throttle.write_bps_device = 8:0 2",
      "blockIO.throttleReadIOPSDevice[0]: blkio.throttle.read_iops_device = 8:0 3",
      "blockIO.throttleWriteIOPSDevice[0]: blkio.throttle.write_iops_device = 8:16 0",
    ],
    warnings: LEAF_WARNINGS,
  });
  assert.deepEqual(limits(ALL_V1, { blockIO: { weight: 10 } }, { kernel: [4, 19] }).writes, [
    "blockIO.weight: blkio.weight = 10",
  ]);
});

test("blockIO: v2 has BFQ's weight or iocost's", () => {
  assert.deepEqual(limits(V2, BLOCK_IO), {
    writes: [
      "blockIO.weight: io.bfq.weight = 500 or io.weight = 4950",
      "blockIO.weightDevice[0].weight: io.bfq.weight = 8:0 1000 or io.weight = 8:0 10000",
      "blockIO.throttleReadBpsDevice[0]: io.max = 8:0 rbps=1048576",
      "blockIO.throttleWriteBpsDevice[0]: io.max = 8:0 wbps=2",
      "blockIO.throttleReadIOPSDevice[0]: io.max = 8:0 riops=3",
      "blockIO.throttleWriteIOPSDevice[0]: io.max = 8:16 wiops=max",
    ],
    warnings: LEAF_WARNINGS,
  });
});

const SMALL: Resources = {
  hugepageLimits: [{ pageSize: "2MB", limit: 9_007_199_254_740_991 }],
  network: { classID: 1_048_577, priorities: [{ name: "eth0", priority: 5 }] },
  rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 10_000 }, rxe3: { hcaObjects: 0 } },
};

test("hugepageLimits, network, rdma: v1", () => {
  assert.deepEqual(limits(ALL_V1, SMALL), {
    writes: [
      "hugepageLimits[0]: hugetlb.2MB.rsvd.limit_in_bytes = 9007199254740991",
      "hugepageLimits[0]: hugetlb.2MB.limit_in_bytes = 9007199254740991",
      "network.classID: net_cls.classid = 1048577",
      "network.priorities[0]: net_prio.ifpriomap = eth0 5",
      "rdma.mlx5_1: rdma.max = mlx5_1 hca_handle=3 hca_object=10000",
      "rdma.rxe3: rdma.max = rxe3 hca_object=0",
    ],
    warnings: [],
  });
  const limit = { hugepageLimits: [{ pageSize: "1GB", limit: 0 }] };
  assert.deepEqual(limits(ALL_V1, limit, { kernel: [5, 6] }).writes, [
    "hugepageLimits[0]: hugetlb.1GB.limit_in_bytes = 0",
  ]);
});

test("hugepageLimits, network, rdma: v2", () => {
  const gap = "cgroup v2 has no such controller; nftables matches the control group of a socket instead";
  assert.deepEqual(limits(V2, SMALL), {
    writes: [
      "hugepageLimits[0]: hugetlb.2MB.rsvd.max = 9007199254740991",
      "hugepageLimits[0]: hugetlb.2MB.max = 9007199254740991",
      "rdma.mlx5_1: rdma.max = mlx5_1 hca_handle=3 hca_object=10000",
      "rdma.rxe3: rdma.max = rxe3 hca_object=0",
    ],
    warnings: [
      `linux.resources.network.classID is ignored: ${gap}`,
      `linux.resources.network.priorities[0] is ignored: ${gap}`,
    ],
  });
});

test("unified: a write for each line, and the controllers that they need", () => {
  const unified = { "misc.max": "res_a 1\nres_b 2\n", "cgroup.max.depth": "3" };
  const { create } = planCgroups(makeConfig({ unified }), makeHost(V2), "a");
  assert.deepEqual(create.map(show), [
    "/cg/cgroup.subtree_control = +cpu +io +memory +pids +misc",
    "makeCgroup unified /cg/tupper-a",
    "/cg/tupper-a/misc.max = res_a 1",
    "/cg/tupper-a/misc.max = res_b 2",
    "/cg/tupper-a/cgroup.max.depth = 3",
  ]);
});

test("unified: unknown controllers, controllers of v1 and paths are errors", () => {
  const code = (cgroups: HostCgroups, file: string) => codeOf(() => limits(cgroups, { unified: { [file]: "1" } }));
  assert.equal(code(V2, "nope.max"), 'CGROUP_CONTROLLER_MISSING linux.resources.unified["nope.max"]');
  assert.equal(code(HYBRID, "pids.max"), 'CGROUP_CONTROLLER_MISSING linux.resources.unified["pids.max"]');
  assert.equal(code(V1, "pids.max"), 'CGROUP_CONTROLLER_MISSING linux.resources.unified["pids.max"]');
  assert.equal(code(V2, "../pids.max"), 'CGROUP_VALUE_INVALID linux.resources.unified["../pids.max"]');
});

const DENY_ALL: DeviceRule = { allow: false, access: "rwm" };
const DEFAULTS = [
  "-: devices.allow = c *:* m",
  "-: devices.allow = b *:* m",
  ...["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*"].map(
    (device) => `-: devices.allow = c ${device} rwm`,
  ),
];

test("devices: v1 denies all, then allows what the config and every container has", () => {
  const devices: DeviceRule[] = [DENY_ALL, { allow: true, type: "b", major: 8, minor: 0, access: "r" }];
  assert.deepEqual(limits(ALL_V1, { devices }), {
    writes: ["devices: devices.deny = a", "devices[1]: devices.allow = b 8:0 r", ...DEFAULTS],
    warnings: [],
  });
});

test("devices: v2 has a program", () => {
  const { create } = planCgroups(makeConfig({ devices: [DENY_ALL] }), makeHost(V2), "a");
  assert.deepEqual(create.map(show), [
    "/cg/cgroup.subtree_control = +cpu +io +memory +pids",
    "makeCgroup unified /cg/tupper-a",
    "attachDeviceProgram /cg/tupper-a (62 instructions)",
  ]);
});

test("devices: no steps for a rule that allows all, nor for users, and a warning where v1 has no devices controller", () => {
  const allowAll = { devices: [DENY_ALL, { allow: true, access: "rwm" }] };
  assert.deepEqual(limits(ALL_V1, allowAll), { writes: [], warnings: [] });
  assert.deepEqual(limits(ALL_V1, { devices: [DENY_ALL] }, { privileged: false }), { writes: [], warnings: [] });
  assert.deepEqual(limits(V1, { devices: [DENY_ALL] }).warnings, [
    "linux.resources.devices is ignored: this machine's control groups have no devices controller",
  ]);
});
