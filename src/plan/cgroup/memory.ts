/**
 * `linux.resources.memory`. cgroup-v1/memory.rst, cgroup-v2.rst.
 *
 * The runtime-spec counts as cgroup v1 did: `swap` is memory plus swap. Cgroup v2 counts swap alone, so memory.swap.max
 * is `swap - limit`. `reservation` is memory.low; memory.high, which throttles, is left alone.
 */
import type { Int64, MemoryResources } from "../../spec/config.ts";
import {
  type CgroupRequest,
  type CgroupWrite,
  type Controller,
  harmlessGap,
  invalid,
  orMax,
  orMinusOne,
  since,
  unlessZero,
} from "./request.ts";

const FIELD = "linux.resources.memory";
const BECAUSE = {
  limit: "memory beyond this is reclaimed, and when that does not suffice a process of the container is killed",
  swap: "memory and swap together may not exceed this",
  reservation: "when the machine runs short, memory above this is reclaimed first",
  kernelTCP: "buffers of TCP connections may not exceed this",
} as const;

export const memory: Controller = {
  v1: "memory",
  v2: "memory",
  requestsV1({ memory = {} }, kernel) {
    const { limit, swap, reservation } = limitsOf(memory);
    const { kernelTCP, disableOOMKiller, useHierarchy } = memory;
    const requests: CgroupRequest[] = [];
    // limit before memsw: the kernel answers EINVAL to a memsw limit below the memory limit, and a new group's memory
    // limit is infinite. (Raising both in a group that has limits needs the other order: see write-limits.ts.)
    if (limit !== undefined) requests.push(write("limit", "memory.limit_in_bytes", limit));
    if (swap !== undefined) {
      requests.push({
        ...write("swap", "memory.memsw.limit_in_bytes", swap),
        ...(swap < 0 ? { mayBeMissing: true } : {}),
      });
    }
    if (reservation !== undefined) requests.push(write("reservation", "memory.soft_limit_in_bytes", reservation));
    if (kernelTCP !== undefined) requests.push(write("kernelTCP", "memory.kmem.tcp.limit_in_bytes", kernelTCP));
    const swappiness = swappinessOf(memory);
    if (swappiness !== undefined) {
      requests.push({
        file: "memory.swappiness",
        value: String(swappiness),
        field: `${FIELD}.swappiness`,
        because: "how readily anonymous memory is swapped out, 0 to 100 (200 since Linux 5.8)",
      });
    }
    if (disableOOMKiller !== undefined) {
      requests.push({
        file: "memory.oom_control",
        value: disableOOMKiller ? "1" : "0",
        field: `${FIELD}.disableOOMKiller`,
        because: disableOOMKiller
          ? "at the limit processes wait for memory instead of being killed"
          : "at the limit a process is killed, whatever the parent group does",
      });
    }
    const alwaysHierarchical = since(kernel, 5, 11);
    if (useHierarchy === false && alwaysHierarchical) {
      requests.push(harmlessGap(`${FIELD}.useHierarchy`, "since Linux 5.11 memory is always counted hierarchically"));
    } else if (useHierarchy !== undefined && !alwaysHierarchical) {
      requests.push({
        file: "memory.use_hierarchy",
        value: useHierarchy ? "1" : "0",
        field: `${FIELD}.useHierarchy`,
        because: "whether groups below count towards this one",
      });
    }
    return [...requests, ...kernelMemory(memory)];
  },
  requestsV2({ memory = {} }) {
    const { limit, swap, reservation } = limitsOf(memory);
    const { kernelTCP, disableOOMKiller, useHierarchy } = memory;
    const requests: CgroupRequest[] = [];
    if (limit !== undefined) requests.push(writeMax("limit", "memory.max", limit));
    if (swap !== undefined) {
      const swapAlone = swap < 0 || limit === undefined || limit < 0 ? swap : difference(swap, limit);
      requests.push({
        ...writeMax("swap", "memory.swap.max", swapAlone),
        ...(swapAlone <= 0 ? { mayBeMissing: true } : {}),
      });
    }
    if (reservation !== undefined) requests.push(writeMax("reservation", "memory.low", reservation));
    if (kernelTCP !== undefined) {
      requests.push(harmlessGap(`${FIELD}.kernelTCP`, "cgroup v2 counts TCP buffers towards memory.limit"));
    }
    if (swappinessOf(memory) !== undefined) {
      requests.push({ field: `${FIELD}.swappiness`, gap: "cgroup v2 has no swappiness per group" });
    }
    if (disableOOMKiller) {
      requests.push({ field: `${FIELD}.disableOOMKiller`, gap: "cgroup v2 cannot switch the OOM killer off" });
    }
    if (useHierarchy === false) {
      requests.push(harmlessGap(`${FIELD}.useHierarchy`, "cgroup v2 always counts memory hierarchically"));
    }
    return [...requests, ...kernelMemory(memory)];
  },
};

/** Memory without a limit has swap without one, unless the config says otherwise: as docker and runc have it. */
function limitsOf(memory: MemoryResources): Pick<MemoryResources, "limit" | "swap" | "reservation"> {
  const limit = unlessZero(memory.limit);
  const asked = unlessZero(memory.swap);
  const swap = asked === undefined && limit !== undefined && limit < 0 ? -1 : asked;
  const reservation = unlessZero(memory.reservation);
  checkSwap(limit, swap);
  return {
    ...(limit === undefined ? {} : { limit }),
    ...(swap === undefined ? {} : { swap }),
    ...(reservation === undefined ? {} : { reservation }),
  };
}

/** Neither version can hold a swap limit without a memory limit, or one below it. */
function checkSwap(limit: Int64 | undefined, swap: Int64 | undefined): void {
  if (swap === undefined || swap < 0) return;
  if (limit === undefined) {
    throw invalid(
      `${FIELD}.swap`,
      `a swap limit of ${swap} bytes needs a memory limit`,
      "swap is memory plus swap: set memory.limit too",
    );
  }
  if (swap < limit) {
    throw invalid(
      `${FIELD}.swap`,
      `the swap limit of ${swap} bytes is below the memory limit of ${limit} bytes`,
      "swap is memory plus swap, so it cannot be less than memory.limit",
    );
  }
}

/** docker writes -1, as an unsigned number, for unset. */
const swappinessOf = ({ swappiness }: MemoryResources): number | undefined =>
  swappiness === undefined || swappiness < 0 || swappiness >= 2 ** 63 ? undefined : swappiness;

function kernelMemory({ kernel }: MemoryResources): CgroupRequest[] {
  if (kernel === undefined) return [];
  return [
    harmlessGap(`${FIELD}.kernel`, "since Linux 5.16 kernel memory has no limit of its own: it counts as memory"),
  ];
}

const difference = (a: Int64, b: Int64): Int64 =>
  typeof a === "number" && typeof b === "number" ? a - b : BigInt(a) - BigInt(b);

function write(name: keyof typeof BECAUSE, file: string, value: Int64): CgroupWrite {
  return { file, value: orMinusOne(value), field: `${FIELD}.${name}`, because: BECAUSE[name] };
}

function writeMax(name: keyof typeof BECAUSE, file: string, value: Int64): CgroupWrite {
  return { file, value: orMax(value), field: `${FIELD}.${name}`, because: BECAUSE[name] };
}
