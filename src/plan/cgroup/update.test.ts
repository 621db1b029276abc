import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import type { Resources } from "../../spec/config.ts";
import type { LimitPlaces } from "./limits.ts";
import { mergeResources, planUpdate } from "./update.ts";

const V1: LimitPlaces = {
  kernel: [6, 18],
  groups: ["cpu", "cpuset", "memory", "pids", "blkio", "devices"].map((name) => ({
    controller: name,
    path: `/${name}/c`,
  })),
  offered: [],
};
const V2: LimitPlaces = {
  kernel: [6, 18],
  groups: [
    { controller: "unified", path: "/pod" },
    { controller: "unified", path: "/pod/c" },
  ],
  offered: ["cpu", "cpuset", "memory", "pids", "io"],
};

const writes = (recorded: Resources, asked: Resources, places: LimitPlaces): string[] =>
  planUpdate(recorded, asked, places).writes.map(({ group, request }) => `${group}/${request.file} = ${request.value}`);

function refusal(recorded: Resources, asked: Resources, places: LimitPlaces): string {
  try {
    planUpdate(recorded, asked, places);
  } catch (error) {
    if (error instanceof ContainerError) return `${error.code} ${error.field}`;
    throw error;
  }
  return "no error";
}

const RECORDED: Resources = {
  memory: { limit: 300, swap: 500, reservation: 200 },
  cpu: { shares: 100, quota: 50_000, period: 100_000 },
  pids: { limit: 20 },
  devices: [{ allow: false, access: "rwm" }],
};

test("planUpdate: only what is asked for is written", () => {
  assert.deepEqual(writes(RECORDED, { pids: { limit: 5 } }, V1), ["/pids/c/pids.max = 5"]);
  assert.deepEqual(writes(RECORDED, { pids: { limit: 0 } }, V2), ["/pod/c/pids.max = 1"]);
  assert.deepEqual(writes(RECORDED, { cpu: { shares: 1024 } }, V2), ["/pod/c/cpu.weight = 100"]);
  assert.deepEqual(writes(RECORDED, { memory: { reservation: 7 } }, V1), ["/memory/c/memory.soft_limit_in_bytes = 7"]);
  assert.deepEqual(writes(RECORDED, {}, V1), []);
});

test("planUpdate: an idle container has no weight, and who is given one is idle no more", () => {
  const update = (recorded: Resources, asked: Resources, places: LimitPlaces = V2) => {
    const { writes: planned, resources, warnings } = planUpdate(recorded, asked, places);
    return [planned.map(({ request }) => `${request.file} = ${request.value}`), resources.cpu?.idle, warnings];
  };
  const ignored = (field: string) => [`${field} is ignored: an idle group has no weight`];
  const shares = "linux.resources.cpu.shares";
  const idle: Resources = { cpu: { shares: 100, idle: 1 } };
  assert.deepEqual(update({}, { cpu: { shares: 200, idle: 1 } }), [["cpu.idle = 1"], 1, ignored(shares)]);
  assert.deepEqual(update({}, { cpu: { shares: 200, idle: 1 } }, V1), [["cpu.idle = 1"], 1, ignored(shares)]);
  assert.deepEqual(update({}, { unified: { "cpu.idle": "1", "cpu.weight": "8" } }), [
    ["cpu.idle = 1"],
    undefined,
    ignored('linux.resources.unified["cpu.weight"]'),
  ]);
  assert.deepEqual(update(idle, { cpu: { shares: 1024 } }), [["cpu.weight = 100", "cpu.idle = 0"], 0, []]);
  assert.deepEqual(update(idle, { unified: { "cpu.weight": "8" } }), [["cpu.idle = 0", "cpu.weight = 8"], 0, []]);
  assert.deepEqual(update({ unified: { "cpu.idle": "1" } }, { cpu: { shares: 1024 } }), [
    ["cpu.weight = 100", "cpu.idle = 0"],
    0,
    [],
  ]);
  assert.deepEqual(update(idle, { cpu: { quota: 5000 } }), [["cpu.max = 5000 100000"], 1, []]);
});

test("planUpdate: a quota comes with its period, a memory limit with the swap limit", () => {
  assert.deepEqual(writes(RECORDED, { cpu: { quota: 60_000 } }, V2), ["/pod/c/cpu.max = 60000 100000"]);
  assert.deepEqual(writes(RECORDED, { cpu: { period: 90_000 } }, V2), ["/pod/c/cpu.max = 50000 90000"]);
  assert.deepEqual(writes(RECORDED, { cpu: { quota: -1 } }, V2), ["/pod/c/cpu.max = max 100000"]);
  assert.deepEqual(writes(RECORDED, { memory: { limit: 400 } }, V2), [
    "/pod/c/memory.max = 400",
    "/pod/c/memory.swap.max = 100",
  ]);
  assert.deepEqual(writes(RECORDED, { memory: { swap: 900 } }, V1), [
    "/memory/c/memory.limit_in_bytes = 300",
    "/memory/c/memory.memsw.limit_in_bytes = 900",
  ]);
});

test("planUpdate: no memory limit takes the swap limit with it, a limit above the swap limit is an error", () => {
  assert.deepEqual(writes(RECORDED, { memory: { limit: -1 } }, V1), [
    "/memory/c/memory.limit_in_bytes = -1",
    "/memory/c/memory.memsw.limit_in_bytes = -1",
  ]);
  assert.equal(refusal(RECORDED, { memory: { limit: 600 } }, V1), "CGROUP_VALUE_INVALID linux.resources.memory.swap");
  assert.equal(refusal({}, { memory: { swap: 600 } }, V2), "CGROUP_VALUE_INVALID linux.resources.memory.swap");
});

test("planUpdate: what these groups cannot hold is an error", () => {
  assert.equal(
    refusal({}, { cpu: { realtimeRuntime: 5 } }, V2),
    "CGROUP_FIELD_UNSUPPORTED linux.resources.cpu.realtimeRuntime",
  );
  assert.equal(
    refusal({}, { hugepageLimits: [{ pageSize: "2MB", limit: 1 }] }, V2),
    "CGROUP_CONTROLLER_MISSING linux.resources.hugepageLimits[0]",
  );
  assert.equal(
    refusal({}, { unified: { "misc.max": "1" } }, V2),
    'CGROUP_CONTROLLER_MISSING linux.resources.unified["misc.max"]',
  );
});

test("planUpdate: the device rules that the container has are not written again, others are on v1", () => {
  assert.deepEqual(writes(RECORDED, { devices: [{ allow: false, access: "rwm" }] }, V1), []);
  const fuse = [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", major: 10, minor: 229, access: "rw" },
  ] as const;
  const changed = writes(RECORDED, { devices: [...fuse] }, V1);
  assert.deepEqual(changed.slice(0, 2), ["/devices/c/devices.deny = a", "/devices/c/devices.allow = c 10:229 rw"]);
  assert.deepEqual(writes(RECORDED, { devices: [{ allow: true, access: "rwm" }] }, V1), [
    "/devices/c/devices.allow = a",
  ]);
  assert.equal(refusal(RECORDED, { devices: [...fuse] }, V2), "CGROUP_FIELD_UNSUPPORTED linux.resources.devices");
});

test("mergeResources: zero and the empty string change nothing, entries of one device replace each other", () => {
  const recorded: Resources = {
    memory: { limit: 5, swap: 6 },
    cpu: { shares: 7, cpus: "0", burst: 1 },
    blockIO: { weight: 8, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1 }] },
    hugepageLimits: [{ pageSize: "2MB", limit: 1 }],
    unified: { "memory.high": "1" },
  };
  const asked: Resources = {
    memory: { limit: 0, checkBeforeUpdate: false },
    cpu: { shares: 0, cpus: "", burst: 0 },
    blockIO: {
      weight: 0,
      throttleReadBpsDevice: [
        { major: 8, minor: 0, rate: 2 },
        { major: 8, minor: 16, rate: 3 },
      ],
    },
    hugepageLimits: [{ pageSize: "1GB", limit: 2 }],
    unified: { "memory.low": "2" },
  };
  assert.deepEqual(mergeResources(recorded, asked), {
    memory: { limit: 5, swap: 6, checkBeforeUpdate: false },
    cpu: { shares: 7, cpus: "0", burst: 0 },
    blockIO: {
      weight: 8,
      throttleReadBpsDevice: [
        { major: 8, minor: 0, rate: 2 },
        { major: 8, minor: 16, rate: 3 },
      ],
    },
    hugepageLimits: [
      { pageSize: "2MB", limit: 1 },
      { pageSize: "1GB", limit: 2 },
    ],
    unified: { "memory.high": "1", "memory.low": "2" },
  });
});
