import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBlkio, parseIoStat, parseKeyed, parseValue, readStats } from "./stats.ts";

const NOTHING = {
  pids: { current: undefined, limit: undefined },
  memory: {
    usageBytes: undefined,
    limitBytes: undefined,
    maxUsageBytes: undefined,
    oomKills: undefined,
    swapBytes: undefined,
  },
  cpu: {
    usageNs: undefined,
    userNs: undefined,
    systemNs: undefined,
    throttledPeriods: undefined,
    throttledNs: undefined,
  },
  io: { readBytes: undefined, writeBytes: undefined, readOps: undefined, writeOps: undefined },
};

test("parseValue: a number, max and v1's largest number as -1, nothing as undefined", () => {
  assert.deepEqual(["12\n", "0\n", "max\n", "9223372036854771712\n", "", undefined].map(parseValue), [
    12,
    0,
    -1,
    -1,
    undefined,
    undefined,
  ]);
});

test("parseKeyed: the whole key decides, not its beginning", () => {
  const text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
  assert.equal(parseKeyed(text, "oom_kill"), 3);
  assert.equal(parseKeyed(text, "oom"), undefined);
  assert.equal(parseKeyed(undefined, "oom_kill"), undefined);
});

test("parseBlkio: sums the disks and leaves the totals out", () => {
  const text =
    "254:0 Read 32768\n254:0 Write 0\n254:0 Total 32768\n8:0 Read 2\n8:0 Write 5\n8:0 Total 7\nTotal 32775\n";
  assert.equal(parseBlkio(text, "Read"), 32770);
  assert.equal(parseBlkio(text, "Write"), 5);
  assert.equal(parseBlkio("Total 0\n", "Read"), 0);
  assert.equal(parseBlkio(undefined, "Read"), undefined);
});

test("parseIoStat: sums the disks", () => {
  const text =
    "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=800 wbytes=1 rios=3 wios=1 dbytes=5 dios=1\n";
  assert.deepEqual(parseIoStat(text), { readBytes: 1_460_000, writeBytes: 314_773_505, readOps: 195, writeOps: 354 });
  assert.deepEqual(parseIoStat(""), { readBytes: 0, writeBytes: 0, readOps: 0, writeOps: 0 });
});

test("readStats: groups of cgroup v1, the container's own and not the one above it", () => {
  const files = new Map([
    ["/pids/a/c/pids.current", "3\n"],
    ["/pids/a/c/pids.max", "20\n"],
    ["/memory/a/c/memory.usage_in_bytes", "1048576\n"],
    ["/memory/a/c/memory.limit_in_bytes", "33554432\n"],
    ["/memory/a/c/memory.max_usage_in_bytes", "2097152\n"],
    ["/memory/a/c/memory.memsw.usage_in_bytes", "1052672\n"],
    ["/memory/a/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"],
    ["/cpu,cpuacct/a/c/cpuacct.usage", "5000000\n"],
    ["/cpu,cpuacct/a/c/cpuacct.usage_user", "4000000\n"],
    ["/cpu,cpuacct/a/c/cpuacct.usage_sys", "1000000\n"],
    ["/cpu,cpuacct/a/c/cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 250000\n"],
    ["/blkio/a/c/blkio.throttle.io_service_bytes", "254:0 Read 4096\n254:0 Write 8192\nTotal 12288\n"],
    ["/blkio/a/c/blkio.throttle.io_serviced", "254:0 Read 1\n254:0 Write 2\nTotal 3\n"],
  ]);
  const groups = [
    { controller: "pids", path: "/pids/a" },
    ...["pids", "memory", "cpu,cpuacct", "blkio"].map((controller) => ({ controller, path: `/${controller}/a/c` })),
    { controller: "unified", path: "/unified/a/c" },
  ];
  assert.deepEqual(
    readStats(groups, (path) => files.get(path)),
    {
      pids: { current: 3, limit: 20 },
      memory: {
        usageBytes: 1_048_576,
        limitBytes: 33_554_432,
        maxUsageBytes: 2_097_152,
        oomKills: 1,
        swapBytes: 4096,
      },
      cpu: { usageNs: 5_000_000, userNs: 4_000_000, systemNs: 1_000_000, throttledPeriods: 4, throttledNs: 250_000 },
      io: { readBytes: 4096, writeBytes: 8192, readOps: 1, writeOps: 2 },
    },
  );
});

test("readStats: the group of cgroup v2", () => {
  const files = new Map([
    ["/c/pids.current", "1\n"],
    ["/c/pids.max", "max\n"],
    ["/c/memory.current", "4096\n"],
    ["/c/memory.max", "max\n"],
    ["/c/memory.peak", "8192\n"],
    ["/c/memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n"],
    ["/c/memory.swap.current", "0\n"],
    ["/c/cpu.stat", "usage_usec 50\nuser_usec 30\nsystem_usec 20\nnr_periods 5\nnr_throttled 1\nthrottled_usec 9\n"],
    ["/c/io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"],
  ]);
  assert.deepEqual(
    readStats([{ controller: "unified", path: "/c" }], (path) => files.get(path)),
    {
      pids: { current: 1, limit: -1 },
      memory: { usageBytes: 4096, limitBytes: -1, maxUsageBytes: 8192, oomKills: 2, swapBytes: 0 },
      cpu: { usageNs: 50_000, userNs: 30_000, systemNs: 20_000, throttledPeriods: 1, throttledNs: 9000 },
      io: { readBytes: 1, writeBytes: 2, readOps: 3, writeOps: 4 },
    },
  );
});

test("readStats: without groups or files everything is undefined", () => {
  assert.deepEqual(readStats([]), NOTHING);
  assert.deepEqual(
    readStats([{ controller: "memory", path: "/gone" }], () => undefined),
    NOTHING,
  );
});
