/**
 * The limits that hold for a process: of its own control groups and of those above them, of which the smallest counts.
 * cgroup-v1/memory.rst, devices.rst, pids.rst, cgroup-v2.rst.
 */
import type { HostCgroups } from "../../plan/host.ts";
import { parseValue } from "../containers/stats.ts";
import type { Limit } from "./portrait.ts";

type Groups = Pick<HostCgroups, "hierarchies"> & { unified?: { mountPoint: string; ownPath: string } };
type Read = (path: string) => string | undefined;
type Value = (directory: string) => number | undefined;

export function readLimits({ hierarchies, unified }: Groups, read: Read): Limit[] {
  const v1 = (name: string) => hierarchies.find(({ controllers }) => controllers.includes(name));
  const number =
    (file: string): Value =>
    (directory) =>
      parseValue(read(`${directory}/${file}`));
  const smallest = (what: string, controller: string, ofV1: Value, ofV2: Value): Limit => {
    const group = v1(controller);
    return group === undefined ? leastOf(what, unified, ofV2) : leastOf(what, group, ofV1);
  };
  const cpuset = v1("cpuset");
  const devices = v1("devices");
  return [
    smallest("memory", "memory", number("memory.limit_in_bytes"), number("memory.max")),
    smallest("swap", "memory", swapOfV1(read), number("memory.swap.max")),
    smallest("processes", "pids", number("pids.max"), number("pids.max")),
    smallest("cpu", "cpu", cpuOfV1(read), cpuOfV2(read)),
    textOf("cpuset", cpuset ?? unified, read, cpuset ? "cpuset.cpus" : "cpuset.cpus.effective"),
    textOf("devices", devices, read, "devices.list"),
  ];
}

/** The smallest value on the way from the group up to the root of the mount. */
function leastOf(what: string, group: { mountPoint: string; ownPath: string } | undefined, valueIn: Value): Limit {
  const found: Limit = { what, value: undefined };
  if (group === undefined) return found;
  for (let path = group.ownPath; ; path = path.slice(0, path.lastIndexOf("/"))) {
    const value = valueIn(`${group.mountPoint}${path === "/" ? "" : path}`);
    const before = found.value;
    if (value !== undefined && (before === undefined || before === -1 || (value >= 0 && value < Number(before)))) {
      found.value = value;
      if (value >= 0) found.group = path || "/";
    }
    if (path === "/" || path === "")
      return found.value === undefined && group.ownPath === "/" ? { what, value: -1 } : found;
  }
}

/** Memory and swap together, less the memory. */
const swapOfV1 =
  (read: Read): Value =>
  (directory) => {
    const both = parseValue(read(`${directory}/memory.memsw.limit_in_bytes`));
    const memory = parseValue(read(`${directory}/memory.limit_in_bytes`));
    if (both === undefined || memory === undefined) return undefined;
    return both < 0 || memory < 0 ? -1 : both - memory;
  };

/** In processors. */
const cpuOfV1 =
  (read: Read): Value =>
  (directory) => {
    const quota = parseValue(read(`${directory}/cpu.cfs_quota_us`));
    const period = parseValue(read(`${directory}/cpu.cfs_period_us`));
    return quota === undefined || period === undefined ? undefined : quota < 0 ? -1 : quota / period;
  };

const cpuOfV2 =
  (read: Read): Value =>
  (directory) => {
    const [quota, period] = read(`${directory}/cpu.max`)?.trim().split(" ") ?? [];
    return quota === undefined || period === undefined
      ? undefined
      : quota === "max"
        ? -1
        : Number(quota) / Number(period);
  };

function textOf(
  what: string,
  group: { mountPoint: string; ownPath: string } | undefined,
  read: Read,
  file: string,
): Limit {
  const directory = group && `${group.mountPoint}${group.ownPath === "/" ? "" : group.ownPath}`;
  const value = directory === undefined ? undefined : read(`${directory}/${file}`)?.trim();
  return { what, value: value === "" ? undefined : value, ...(group === undefined ? {} : { group: group.ownPath }) };
}
