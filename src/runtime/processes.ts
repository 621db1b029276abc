/**
 * The processes of a container, by our numbers. One without control groups, as an ordinary user's mostly is, has those of its
 * PID namespace and their children; where it shares the machine's, only what its first process has made is known.
 */
import { ContainerError } from "../error.ts";
import { cgroupProcesses } from "../execute/cgroup-processes.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readDirectory, readFileIfThere } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";
import type { Container, ContainerRecord } from "./container.ts";
import { startTimeOf } from "./start-time.ts";

/** In ascending order. */
export function processesOf({ record, init }: Container): number[] {
  if (record.cgroups.length > 0 || init === undefined) return cgroupProcesses(record.cgroups);
  return startTimeOf(init.pid) === init.startTime ? processesWith(init.pid) : [];
}

function processesWith(init: number): number[] {
  const own = pidNamespace("self");
  const theirs = pidNamespace(init);
  const processes = readDirectory("/proc")
    .flatMap(({ name }) => (/^\d+$/.test(name) ? [Number(name)] : []))
    .sort((a, b) => a - b);
  const found = new Set(processes.filter((pid) => pid === init || (theirs !== own && pidNamespace(pid) === theirs)));
  const live = processes.map((pid) => ({ pid, ...statOf(pid) })).filter(({ state }) => state !== "Z");
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const { pid, parent } of live) if (found.has(parent)) found.add(pid);
  }
  return live.map(({ pid }) => pid).filter((pid) => found.has(pid));
}

const pidNamespace = (pid: number | "self"): string | number => raw.readlinkText(AT_FDCWD, `/proc/${pid}/ns/pid`);

/** The third and fourth field of /proc/PID/stat; the second may hold anything. */
function statOf(pid: number): { state: string | undefined; parent: number } {
  const stat = readFileIfThere(`/proc/${pid}/stat`) ?? "";
  const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state, parent: Number(parent) };
}

/** `what` cannot be done without a control group. Throws CGROUP_MISSING. */
export function requireGroups({ id, cgroups }: ContainerRecord, what: string): void {
  if (cgroups.length > 0) return;
  throw new ContainerError("CGROUP_MISSING", `container ${id} has no control group, and so cannot be ${what}`, {
    hint: "an ordinary user has control groups of version 2 where some are delegated: --systemd-cgroup, or systemd-run --user --scope --property=Delegate=yes tupper-runtime …",
  });
}
