/** `tupper-runtime update`. */
import { Command, Option } from "commander";
import { flagError, parseBytes, parseInteger } from "../../engine/containers/config/flag-value.ts";
import { didYouMean } from "../../nearest.ts";
import { updateContainer } from "../../runtime/update.ts";
import { updateRdt } from "../../runtime/update-rdt.ts";
import type { CpuResources, Int64, MemoryResources, Resources } from "../../spec/config.ts";
import { parseResources } from "../../spec/parse-config.ts";
import { runtimeContext } from "./global-options.ts";
import { readInput } from "./read-input.ts";

interface UpdateOptions {
  resources?: string;
  blkioWeight?: string;
  cpuPeriod?: string;
  cpuQuota?: string;
  cpuBurst?: string;
  cpuRtPeriod?: string;
  cpuRtRuntime?: string;
  cpuShare?: string;
  cpuIdle?: string;
  cpusetCpus?: string;
  cpusetMems?: string;
  memory?: string;
  memoryReservation?: string;
  memorySwap?: string;
  pidsLimit?: string;
  kernelMemory?: string;
  kernelMemoryTcp?: string;
  l3CacheSchema?: string;
  memBwSchema?: string;
}

export const updateCommand = new Command("update")
  .summary("change the limits of a container")
  .description("Changes the limits of a container. Times are microseconds; -1 is no limit.")
  .argument("<ID>", "a created, running or paused container")
  .option(
    "-r, --resources <FILE>",
    "limits as in linux.resources of a config, - is stdin; other flags do not count then",
  )
  .option("--memory <BYTES>", "memory, such as 512m")
  .option("--memory-reservation <BYTES>", "memory that is left when the machine runs short")
  .option("--memory-swap <BYTES>", "memory and swap together")
  .option("--pids-limit <NUMBER>", "processes and threads")
  .option("--cpu-share <NUMBER>", "the part of the processors, in relation to others")
  .option("--cpu-quota <TIME>", "processor time in each period")
  .option("--cpu-period <TIME>", "the length of a period")
  .option("--cpu-burst <TIME>", "quota left over that may be used at once")
  .option("--cpu-rt-period <TIME>", "the length of a period for realtime processes")
  .option("--cpu-rt-runtime <TIME>", "processor time of realtime processes in each period")
  .option("--cpu-idle <0|1>", "1: only when nobody else wants the processor")
  .option("--cpuset-cpus <LIST>", "processors, such as 0-2,5")
  .option("--cpuset-mems <LIST>", "memory nodes")
  .option("--blkio-weight <NUMBER>", "the part of the disks' time, 10 to 1000")
  .option("--l3-cache-schema <SCHEMA>", "Intel RDT: the schema of the L3 cache")
  .option("--mem-bw-schema <SCHEMA>", "Intel RDT: the schema of memory bandwidth")
  .addOption(new Option("--kernel-memory <BYTES>", "ignored: it counts as memory").hideHelp())
  .addOption(new Option("--kernel-memory-tcp <BYTES>", "ignored: it counts as memory").hideHelp())
  .action((id: string, options: UpdateOptions, command: Command) => {
    const { root, warn } = runtimeContext(command);
    // Nothing is set before all that is asked has been understood.
    const resources = options.resources ? resourcesOfFile(options.resources, warn) : resourcesOf(options);
    const schemata = [options.l3CacheSchema ?? "", options.memBwSchema ?? ""].filter((line) => line !== "");
    const takeBack = schemata.length > 0 ? updateRdt(root, id, schemata) : () => {};
    if (!options.resources && (options.kernelMemory !== undefined || options.kernelMemoryTcp !== undefined))
      warn("limits of kernel memory are ignored: it counts as memory");
    const asksMore = Object.values(resources).some((section) => Object.keys(section).length > 0);
    if (schemata.length > 0 && !asksMore) return;
    try {
      updateContainer(root, id, resources, warn);
    } catch (error) {
      takeBack();
      throw error;
    }
  });

const RESOURCES = { field: "--resources", code: "RESOURCES_UNREADABLE", what: "resources" } as const;

const SECTIONS = ["devices", "memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "rdma", "unified"];

function resourcesOfFile(file: string, warn: (text: string) => void): Resources {
  const { value, warnings } = parseResources(readInput(file, RESOURCES));
  for (const text of warnings) warn(text);
  warnOfNothing(value, warn);
  return value;
}

/** Unknown properties are ignored, as in a config. A text that has no other, a whole config for one, would change nothing without a word. */
function warnOfNothing(resources: Resources, warn: (text: string) => void): void {
  const names = Object.keys(resources);
  if (names.length === 0 || names.some((name) => SECTIONS.includes(name))) return;
  const meant = didYouMean(names[0] ?? "", SECTIONS) ?? "it is to have what linux.resources of a config has";
  warn(`--resources changes nothing: ${names.join(", ")} is no part of it; ${meant}`);
}

const MAX = Number.MAX_SAFE_INTEGER;

function resourcesOf(options: UpdateOptions): Resources {
  const number = (flag: string, value: string | undefined, min = 0, max = MAX) =>
    value === undefined || value === "" ? undefined : parseInteger(flag, value, min, max);
  const bytes = (flag: string, value: string | undefined) =>
    value === undefined || value === "" ? undefined : value === "-1" ? -1 : parseBytes(flag, value);
  const memory: MemoryResources = defined({
    limit: bytes("--memory", options.memory),
    reservation: bytes("--memory-reservation", options.memoryReservation),
    swap: bytes("--memory-swap", options.memorySwap),
  });
  const cpu: CpuResources = defined({
    shares: shares(options.cpuShare),
    quota: number("--cpu-quota", options.cpuQuota, -1),
    period: number("--cpu-period", options.cpuPeriod),
    burst: number("--cpu-burst", options.cpuBurst),
    realtimePeriod: number("--cpu-rt-period", options.cpuRtPeriod),
    realtimeRuntime: number("--cpu-rt-runtime", options.cpuRtRuntime, -1),
    idle: number("--cpu-idle", options.cpuIdle, 0, 1),
    cpus: list("--cpuset-cpus", options.cpusetCpus),
    mems: list("--cpuset-mems", options.cpusetMems),
  });
  const limit = number("--pids-limit", options.pidsLimit, -1);
  const weight = number("--blkio-weight", options.blkioWeight, 0, 65_535);
  return {
    memory,
    cpu,
    ...(limit === undefined ? {} : { pids: { limit } }),
    ...(weight === undefined ? {} : { blockIO: { weight } }),
  };
}

/** Any uint64, as in a config. */
function shares(value: string | undefined): Int64 | undefined {
  if (value === undefined || value === "") return undefined;
  const exact = /^\+?\d+$/.test(value) ? BigInt(value) : -1n;
  if (exact < 0n || exact >= 2n ** 64n)
    throw flagError(
      "BAD_NUMBER",
      "--cpu-share",
      `--cpu-share "${value}" is not a whole number from 0 to 18446744073709551615`,
    );
  return exact <= MAX ? Number(exact) : exact;
}

/** `0-2,5`; what numbers there are, the kernel knows. */
function list(flag: string, value: string | undefined): string | undefined {
  if (value === undefined || /^[\d,-]*$/.test(value)) return value;
  throw flagError("BAD_LIST", flag, `${flag} "${value}" is not a list of numbers`, "such as 0-2,5");
}

type Defined<Values> = { [Name in keyof Values]?: Exclude<Values[Name], undefined> };

/** Without what is undefined. */
const defined = <Values extends object>(values: Values): Defined<Values> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<Values>;
