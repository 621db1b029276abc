import assert from "node:assert/strict";
import { test } from "node:test";
import { stringifyExactly } from "../spec/json-text.ts";
import { eventStats } from "./event-stats.ts";

const reader =
  (files: Record<string, string>) =>
  (path: string): string | undefined =>
    files[path];

const NO_CPUSET = {
  cpu_exclusive: 0,
  mem_hardwall: 0,
  mem_exclusive: 0,
  memory_migrate: 0,
  memory_spread_page: 0,
  memory_spread_slab: 0,
  memory_pressure: 0,
  sched_load_balance: 0,
  sched_relax_domain_level: 0,
};

test("eventStats: v1, every file", () => {
  const groups = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"].map((controller) => ({
    controller,
    path: `/${controller}`,
  }));
  const files = {
    "/cpuacct/cpuacct.usage": "9007199254740993\n",
    "/cpuacct/cpuacct.stat": "user 5\nsystem 7\n",
    "/cpuacct/cpuacct.usage_percpu": "3 4 \n",
    "/cpuacct/cpuacct.usage_all": "cpu user system\n0 1 2\n1 3 4\n",
    "/cpu/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 123456\n",
    "/cpuset/cpuset.cpus": "0-1,3\n",
    "/cpuset/cpuset.mems": "0\n",
    "/cpuset/cpuset.sched_load_balance": "1\n",
    "/cpuset/cpuset.sched_relax_domain_level": "-1\n",
    "/memory/memory.stat": "cache 4096\nrss -1\n",
    "/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/memory/memory.usage_in_bytes": "8192\n",
    "/memory/memory.max_usage_in_bytes": "16384\n",
    "/memory/memory.failcnt": "2\n",
    "/memory/memory.memsw.limit_in_bytes": "50\n",
    "/memory/memory.memsw.usage_in_bytes": "40\n",
    "/pids/pids.current": "3\n",
    "/pids/pids.max": "max\n",
    "/blkio/blkio.throttle.io_serviced_recursive": "254:0 Read 2\n254:0 Total 2\nTotal 2\n",
    "/blkio/blkio.throttle.io_service_bytes_recursive": "254:0 Read 8192\n254:0 Write 0\nTotal 8192\n",
    "/hugetlb/hugetlb.2MB.rsvd.usage_in_bytes": "2097152\n",
    "/hugetlb/hugetlb.2MB.rsvd.max_usage_in_bytes": "4194304\n",
    "/hugetlb/hugetlb.2MB.rsvd.failcnt": "1\n",
    "/hugetlb/hugetlb.1GB.usage_in_bytes": "0\n",
  };
  assert.deepEqual(eventStats(groups, reader(files), ["2MB", "1GB", "64KB"]), {
    cpu: {
      usage: {
        total: 9_007_199_254_740_993n,
        percpu: [3, 4],
        percpu_kernel: [2, 4],
        percpu_user: [1, 3],
        kernel: 70_000_000,
        user: 50_000_000,
      },
      throttling: { periods: 10, throttledPeriods: 4, throttledTime: 123_456 },
    },
    cpuset: { cpus: [0, 1, 3], mems: [0], ...NO_CPUSET, sched_load_balance: 1, sched_relax_domain_level: -1 },
    memory: {
      cache: 4096,
      usage: { limit: 9_223_372_036_854_771_712n, usage: 8192, max: 16_384, failcnt: 2 },
      swap: { limit: 50, usage: 40, failcnt: 0 },
      kernel: { limit: 0, failcnt: 0 },
      kernelTCP: { limit: 0, failcnt: 0 },
      raw: { cache: 4096, rss: 0 },
    },
    pids: { current: 3 },
    blkio: {
      ioServiceBytesRecursive: [
        { major: 254, minor: 0, op: "Read", value: 8192 },
        { major: 254, minor: 0, op: "Write" },
      ],
      ioServicedRecursive: [
        { major: 254, minor: 0, op: "Read", value: 2 },
        { major: 254, minor: 0, op: "Total", value: 2 },
      ],
    },
    hugetlb: { "2MB": { usage: 2_097_152, max: 4_194_304, failcnt: 1 }, "1GB": { failcnt: 0 } },
    intel_rdt: {},
    network_interfaces: null,
  });
});

test("eventStats: v2, swap as v1 counts it", () => {
  const files = {
    "/g/cpu.stat":
      "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 1\nnr_throttled 1\nthrottled_usec 5\nnr_bursts 0\n",
    "/g/cpu.pressure":
      "some avg10=0.50 avg60=0.00 avg300=0.00 total=17\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "/g/cpuset.cpus": "\n",
    "/g/memory.stat": "anon 1\nfile 4096\n",
    "/g/memory.current": "100\n",
    "/g/memory.max": "1000\n",
    "/g/memory.peak": "200\n",
    "/g/memory.swap.current": "10\n",
    "/g/memory.swap.max": "500\n",
    "/g/pids.current": "2\n",
    "/g/pids.max": "20\n",
    "/g/io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
    "/g/hugetlb.2MB.rsvd.current": "5\n",
    "/g/hugetlb.2MB.events": "max 6\n",
  };
  const device = { major: 8, minor: 0 };
  assert.deepEqual(eventStats([{ controller: "unified", path: "/g" }], reader(files), ["2MB"]), {
    cpu: {
      usage: { total: 30_000, kernel: 20_000, user: 10_000 },
      throttling: { periods: 1, throttledPeriods: 1, throttledTime: 5000 },
      psi: {
        some: { avg10: 0.5, avg60: 0, avg300: 0, total: 17 },
        full: { avg10: 0, avg60: 0, avg300: 0, total: 0 },
      },
    },
    cpuset: NO_CPUSET,
    memory: {
      cache: 4096,
      usage: { limit: 1000, usage: 100, max: 200, failcnt: 0 },
      swap: { limit: 1500, usage: 110, failcnt: 0 },
      kernel: { limit: 0, failcnt: 0 },
      kernelTCP: { limit: 0, failcnt: 0 },
      raw: { anon: 1, file: 4096 },
    },
    pids: { current: 2, limit: 20 },
    blkio: {
      ioServiceBytesRecursive: [
        { ...device, op: "Read", value: 1 },
        { ...device, op: "Write", value: 2 },
      ],
      ioServicedRecursive: [
        { ...device, op: "Read", value: 3 },
        { ...device, op: "Write", value: 4 },
      ],
    },
    hugetlb: { "2MB": { usage: 5, failcnt: 6 } },
    intel_rdt: {},
    network_interfaces: null,
  });
});

test("eventStats: no limit on v2 is the largest number of 64 bits, which survives as JSON", () => {
  const files = { "/g/memory.max": "max\n", "/g/memory.swap.max": "5\n" };
  const { memory } = eventStats([{ controller: "unified", path: "/g" }], reader(files)) as { memory: unknown };
  assert.equal(
    stringifyExactly(memory),
    '{"usage":{"limit":18446744073709551615,"failcnt":0},"swap":{"limit":18446744073709551615,"failcnt":0},' +
      '"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}}',
  );
});
