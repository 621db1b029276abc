import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import type { DeviceRule, Resources } from "../../spec/config.ts";
import type { HostCgroups } from "../host.ts";
import { planCgroups } from "./groups.ts";
import { ALL_V1, codeOf, HYBRID, limits, makeConfig, makeHost, show, V1, V2 } from "./machines-for-tests.ts";

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

test("cpu.shares: what lies outside the kernel's bounds is the nearest that it takes, up to 2^64 - 1", () => {
  for (const [shares, v1, v2] of [
    [1, 2, 1],
    [262_145, 262_144, 10_000],
    [2n ** 53n + 1n, 262_144, 10_000],
    [2n ** 64n - 1n, 262_144, 10_000],
  ] as const) {
    assert.deepEqual(limits(ALL_V1, { cpu: { shares } }).writes, [`cpu.shares: cpu.shares = ${v1}`]);
    assert.deepEqual(limits(V2, { cpu: { shares } }).writes, [`cpu.shares: cpu.weight = ${v2}`]);
  }
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

test("blockIO: rates beyond what the kernel counts are none", () => {
  const disk = { major: 8, minor: 0 };
  const blockIO = {
    throttleReadBpsDevice: [{ ...disk, rate: 2n ** 63n }],
    throttleWriteBpsDevice: [{ ...disk, rate: 2 ** 32 }],
    throttleReadIOPSDevice: [{ ...disk, rate: 2 ** 32 }],
    throttleWriteIOPSDevice: [{ ...disk, rate: 2 ** 32 - 1 }],
  };
  assert.deepEqual(limits(ALL_V1, { blockIO }).writes, [
    "blockIO.throttleReadBpsDevice[0]: blkio.throttle.read_bps_device = 8:0 0",
    "blockIO.throttleWriteBpsDevice[0]: blkio.throttle.write_bps_device = 8:0 4294967296",
    "blockIO.throttleReadIOPSDevice[0]: blkio.throttle.read_iops_device = 8:0 0",
    "blockIO.throttleWriteIOPSDevice[0]: blkio.throttle.write_iops_device = 8:0 4294967295",
  ]);
  assert.deepEqual(limits(V2, { blockIO: { throttleReadIOPSDevice: blockIO.throttleReadIOPSDevice } }).writes, [
    "blockIO.throttleReadIOPSDevice[0]: io.max = 8:0 riops=max",
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

test("unified: of a controller that a hierarchy of v1 has, the hint says so, whatever the v2 tree offers", () => {
  const hinted = (file: string, hint: RegExp) =>
    assert.throws(
      () => limits(HYBRID, { unified: { [file]: "1" } }),
      (error) => error instanceof ContainerError && hint.test(error.hint ?? ""),
    );
  hinted("pids.max", /^an invalid configuration for cgroup v1/);
  hinted("misc.max", /^it offers hugetlb$/);
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
