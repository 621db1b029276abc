/**
 * `linux.resources` from the flags that limit a container. Units and rules are docker's: `--cpus` is a quota in a period
 * of 100 ms, `--memory` alone allows as much swap again, and what the kernel would refuse later is refused here.
 */
import type { BlockIoResources, CpuResources, MemoryResources, Resources } from "../../../spec/config.ts";
import type { RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, parseBytes, parseInteger } from "./flag-value.ts";

const UNLIMITED = -1;
/** Below this no program starts; docker's bound. */
const MIN_MEMORY_BYTES = 6 * 1024 * 1024;
const CPU_PERIOD_US = 100_000;

/** Without `devices`, which is not a limit. */
export function limits(options: RunOptions, root: RootFacts): Resources {
  const memory = memoryLimits(options);
  const cpu = cpuLimits(options);
  const blockIO = blockIoLimits(options, root);
  return {
    ...(isEmpty(memory) ? {} : { memory }),
    ...(isEmpty(cpu) ? {} : { cpu }),
    ...(options.pidsLimit === undefined ? {} : { pids: { limit: pidsLimit(options.pidsLimit) } }),
    ...(isEmpty(blockIO) ? {} : { blockIO }),
  };
}

const isEmpty = (group: object): boolean => Object.keys(group).length === 0;

/** docker knows 0 and -1 as "no limit". */
function pidsLimit(value: string): number {
  const limit = parseInteger("--pids-limit", value, UNLIMITED, 2 ** 22);
  return limit === 0 ? UNLIMITED : limit;
}

function memoryLimits(options: RunOptions): MemoryResources {
  const memory: MemoryResources & { limit?: number } = {};
  if (options.memory !== undefined) {
    memory.limit = parseBytes("--memory", options.memory);
    if (memory.limit < MIN_MEMORY_BYTES)
      throw flagError(
        "MEMORY_TOO_SMALL",
        "--memory",
        `--memory ${options.memory} is less than the least that works, 6m`,
        /^\d+$/.test(options.memory) ? `without a unit it is bytes; ${options.memory}m are megabytes` : undefined,
      );
  }
  if (options.memoryReservation !== undefined) {
    memory.reservation = parseBytes("--memory-reservation", options.memoryReservation);
    if (memory.limit !== undefined && memory.reservation > memory.limit) {
      throw flagError(
        "MEMORY_RESERVATION_TOO_LARGE",
        "--memory-reservation",
        `--memory-reservation ${options.memoryReservation} is more than --memory ${options.memory}`,
      );
    }
  }
  const swap = swapLimit(options, memory.limit);
  if (swap !== undefined) memory.swap = swap;
  if (options.memorySwappiness !== undefined)
    memory.swappiness = parseInteger("--memory-swappiness", options.memorySwappiness, 0, 100);
  if (options.oomKillDisable) {
    if (memory.limit === undefined) {
      throw flagError(
        "OOM_KILL_NEEDS_LIMIT",
        "--oom-kill-disable",
        "--oom-kill-disable without --memory would let the container take the machine's memory and never be stopped",
        "add --memory SIZE",
      );
    }
    memory.disableOOMKiller = true;
  }
  return memory;
}

/** Memory plus swap, as the runtime-spec counts. */
function swapLimit({ memory, memorySwap }: RunOptions, limit: number | undefined): number | undefined {
  const flag = "--memory-swap";
  if (memorySwap === undefined) return limit === undefined ? undefined : 2 * limit;
  if (limit === undefined)
    throw flagError(
      "SWAP_NEEDS_MEMORY",
      flag,
      `${flag} is memory and swap together, so it needs --memory`,
      "add --memory SIZE",
    );
  if (memorySwap === "-1") return UNLIMITED;
  const swap = parseBytes(flag, memorySwap);
  if (swap < limit) {
    throw flagError(
      "SWAP_TOO_SMALL",
      flag,
      `${flag} ${memorySwap} is less than --memory ${memory}`,
      "it is memory and swap together: the same value as --memory means no swap",
    );
  }
  return swap;
}

function cpuLimits(options: RunOptions): CpuResources {
  const cpu: CpuResources = {};
  if (options.cpuShares !== undefined) cpu.shares = parseInteger("--cpu-shares", options.cpuShares, 2, 262_144);
  if (options.cpus !== undefined) {
    for (const flag of ["--cpu-period", "--cpu-quota"] as const) {
      if (options[flag === "--cpu-period" ? "cpuPeriod" : "cpuQuota"] === undefined) continue;
      throw flagError("CPUS_TWICE", "--cpus", `--cpus and ${flag} set the same limit`, "leave one of them away");
    }
    cpu.quota = cpusToQuota(options.cpus);
    cpu.period = CPU_PERIOD_US;
  }
  if (options.cpuPeriod !== undefined) cpu.period = parseInteger("--cpu-period", options.cpuPeriod, 1000, 1_000_000);
  if (options.cpuQuota !== undefined)
    cpu.quota =
      options.cpuQuota === "-1"
        ? UNLIMITED
        : parseInteger("--cpu-quota", options.cpuQuota, 1000, Number.MAX_SAFE_INTEGER);
  if (options.cpusetCpus !== undefined) cpu.cpus = parseList("--cpuset-cpus", options.cpusetCpus);
  if (options.cpusetMems !== undefined) cpu.mems = parseList("--cpuset-mems", options.cpusetMems);
  return cpu;
}

function cpusToQuota(value: string): number {
  const cpus = Number(value);
  if (!/^\d*\.?\d+$/.test(value) || cpus < 0.01 || cpus > 8192) {
    throw flagError("BAD_NUMBER", "--cpus", `--cpus "${value}" is not a number of CPUs`, "0.01 or more, such as 1.5");
  }
  return Math.round(cpus * CPU_PERIOD_US);
}

/** `0-3,5`. cpuset(7), "List format". */
function parseList(flag: string, value: string): string {
  const ranges = value.split(",").map((part) => /^(\d+)(?:-(\d+))?$/.exec(part));
  if (ranges.every((range) => range !== null && Number(range[2] ?? range[1]) >= Number(range[1]))) return value;
  throw flagError("BAD_LIST", flag, `${flag} "${value}" is not a list of numbers`, "such as 0-3,5");
}

function blockIoLimits(options: RunOptions, root: RootFacts): BlockIoResources {
  const throttles = (flag: string, values: readonly string[], parse: (flag: string, value: string) => number) =>
    values.map((value) => {
      const [device, rate] = parseDeviceAmount(flag, value, root);
      return { ...device, rate: parse(flag, rate) };
    });
  const count = (flag: string, value: string) => parseInteger(flag, value, 1, Number.MAX_SAFE_INTEGER);
  const { blkioWeight, blkioWeightDevice, deviceReadBps, deviceWriteBps, deviceReadIops, deviceWriteIops } = options;
  const weight = (flag: string, value: string) => parseInteger(flag, value, 10, 1000);
  return {
    ...(blkioWeight === undefined ? {} : { weight: weight("--blkio-weight", blkioWeight) }),
    ...(blkioWeightDevice === undefined
      ? {}
      : {
          weightDevice: throttles("--blkio-weight-device", blkioWeightDevice, weight).map(({ major, minor, rate }) => ({
            major,
            minor,
            weight: rate,
          })),
        }),
    ...(deviceReadBps === undefined
      ? {}
      : { throttleReadBpsDevice: throttles("--device-read-bps", deviceReadBps, parseBytes) }),
    ...(deviceWriteBps === undefined
      ? {}
      : { throttleWriteBpsDevice: throttles("--device-write-bps", deviceWriteBps, parseBytes) }),
    ...(deviceReadIops === undefined
      ? {}
      : { throttleReadIOPSDevice: throttles("--device-read-iops", deviceReadIops, count) }),
    ...(deviceWriteIops === undefined
      ? {}
      : { throttleWriteIOPSDevice: throttles("--device-write-iops", deviceWriteIops, count) }),
  };
}

/** `/dev/sda:1mb`: the number of a block device, and what follows it. */
function parseDeviceAmount(
  flag: string,
  value: string,
  root: RootFacts,
): [device: { major: number; minor: number }, amount: string] {
  const at = value.lastIndexOf(":");
  const path = value.slice(0, at);
  if (at < 1)
    throw flagError(
      "BAD_DEVICE_LIMIT",
      flag,
      `${flag} "${value}" is not of the form DEVICE:NUMBER`,
      "for example /dev/sda:1mb",
    );
  const device = root.deviceAt(path);
  if (device === undefined || device.type !== "b") {
    throw flagError(
      "NOT_A_BLOCK_DEVICE",
      flag,
      `${flag} "${value}": ${path} is not a block device`,
      "lsblk lists them; the limit is set on a whole disk, not on a partition",
    );
  }
  return [{ major: device.major, minor: device.minor }, value.slice(at + 1)];
}
