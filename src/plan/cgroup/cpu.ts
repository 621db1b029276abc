/**
 * `linux.resources.cpu`, without cpus and mems. sched-bwc.rst, cgroup-v2.rst.
 *
 * Shares 2..262144 (default 1024) become weights 1..10000 (default 100) by the quadratic formula that runc, crun and
 * youki agreed on: the linear one of before gave 1024 shares a weight of 39.
 */
import type { CpuResources, Int64 } from "../../spec/config.ts";
import { type CgroupRequest, type Controller, unlessZero } from "./request.ts";

const FIELD = "linux.resources.cpu";
const DEFAULT_PERIOD_US = 100_000;
const BECAUSE = {
  shares: "the part of the processors that the container gets when others want them too",
  period: "the length in microseconds of the period that the quota refers to",
  quota: "the microseconds of processor time that the container may use in each period",
  burst: "microseconds of quota left over from earlier periods that may be used at once",
  idle: "the container runs only when nobody else wants the processor",
  realtimePeriod: "the length in microseconds of the period that realtimeRuntime refers to",
  realtimeRuntime: "the microseconds that realtime processes may use in each period: with 0 there can be none",
} as const;

const ZERO_IS_A_VALUE: ReadonlySet<keyof CpuResources> = new Set(["burst", "idle"]);

export const cpu: Controller = {
  v1: "cpu",
  v2: "cpu",
  requestsV1({ cpu = {} }) {
    // shares before idle: the kernel refuses shares to an idle group. Periods before quotas: a quota must fit its
    // period; burst last, it may not exceed the quota.
    return [
      ...sharesV1(cpu),
      ...number(cpu, "period", "cpu.cfs_period_us"),
      ...number(cpu, "quota", "cpu.cfs_quota_us"),
      ...number(cpu, "burst", "cpu.cfs_burst_us"),
      ...number(cpu, "realtimePeriod", "cpu.rt_period_us"),
      ...number(cpu, "realtimeRuntime", "cpu.rt_runtime_us"),
      ...number(cpu, "idle", "cpu.idle"),
    ];
  },
  requestsV2({ cpu = {} }) {
    const requests: CgroupRequest[] = [];
    const shares = withinBounds(cpu.shares);
    const quota = unlessZero(cpu.quota);
    const period = unlessZero(cpu.period);
    if (shares !== undefined) {
      requests.push({
        file: "cpu.weight",
        value: String(sharesToWeight(shares)),
        field: `${FIELD}.shares`,
        because: `${BECAUSE.shares}; ${shares} shares of cgroup v1 are this weight`,
      });
    }
    if (quota !== undefined || period !== undefined) {
      const limit = quota === undefined || quota < 0 ? "max" : String(quota);
      const name = quota === undefined ? "period" : "quota";
      requests.push({
        file: "cpu.max",
        value: `${limit} ${period ?? DEFAULT_PERIOD_US}`,
        field: `${FIELD}.${name}`,
        because: BECAUSE[name],
      });
    }
    requests.push(...number(cpu, "burst", "cpu.max.burst"), ...number(cpu, "idle", "cpu.idle"));
    for (const name of ["realtimePeriod", "realtimeRuntime"] as const) {
      if (unlessZero(cpu[name]) === undefined) continue;
      requests.push({ field: `${FIELD}.${name}`, gap: "cgroup v2 has no limits for realtime processes" });
    }
    return requests;
  },
};

const [FEWEST, MOST] = [2, 262_144];

/**
 * What the kernel makes of any number (MIN_SHARES and MAX_SHARES in kernel/sched/sched.h), as crun lets it. runc, which reads it back, fails
 * on v1, and systemd refuses it.
 */
function withinBounds(shares: Int64 | undefined): number | undefined {
  const asked = unlessZero(shares);
  return asked === undefined ? undefined : Math.min(Math.max(Number(asked), FEWEST), MOST);
}

function sharesV1(cpu: CpuResources): CgroupRequest[] {
  const shares = withinBounds(cpu.shares);
  if (shares === undefined) return [];
  return [{ file: "cpu.shares", value: String(shares), field: `${FIELD}.shares`, because: BECAUSE.shares }];
}

/** cpu.shares of cgroup v1 as cpu.weight of v2: 2 is 1, 1024 is 100, 262144 is 10000. */
export function sharesToWeight(shares: number): number {
  if (shares <= FEWEST) return 1;
  if (shares >= MOST) return 10_000;
  const log = Math.log2(shares);
  const weight = 10 ** ((log * log + 125 * log) / 612 - 7 / 34);
  // 1024 shares must be 100, not the 101 that an error in the last digit of the power would make of it.
  return Math.ceil(weight - 1e-9);
}

function number(cpu: CpuResources, name: keyof typeof BECAUSE, file: string): CgroupRequest[] {
  const value = ZERO_IS_A_VALUE.has(name) ? cpu[name] : unlessZero(cpu[name]);
  if (value === undefined) return [];
  return [{ file, value: String(value), field: `${FIELD}.${name}`, because: BECAUSE[name] }];
}
