/**
 * `linux.intelRdt` as directories of resctrl: cache and memory bandwidth by class of service (CLOS), and monitoring.
 * config-linux.md, "IntelRdt"; Documentation/filesystems/resctrl.rst.
 */
import { ContainerError } from "../error.ts";
import type { Config, IntelRdt } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { unescapePath } from "./mountinfo.ts";
import type { InitStep, ParentStep } from "./step.ts";

interface ResctrlPlan {
  create: ParentStep[];
  join: InitStep[];
  /** Directories to remove when the container has ended. */
  cleanup: string[];
}

/** Throws RESCTRL_MISSING where no resctrl is mounted: the spec wants an error for whoever asks for it. */
export function planResctrl({ linux }: Config, host: Pick<Host, "mountinfo">, id: string): ResctrlPlan {
  const { intelRdt } = linux;
  if (intelRdt === undefined) return { create: [], join: [], cleanup: [] };
  const { closID, l3CacheSchema, memBwSchema, enableMonitoring } = intelRdt;
  const path = resctrlGroup(intelRdt, host.mountinfo, id);
  const schemata = [l3CacheSchema, memBwSchema, ...(intelRdt.schemata ?? [])].filter((line) => line !== undefined);
  const monitor = enableMonitoring ? `${path}/mon_groups/${id}` : undefined;
  const whose = closID === undefined ? "own" : schemata.length === 0 ? "given" : "shared";
  return {
    create: [
      {
        op: "makeResctrlGroup",
        by: "parent",
        path,
        whose,
        schemata,
        ...(monitor === undefined ? {} : { monitor }),
        field: "linux.intelRdt",
        because: "which part of the caches and of the memory bandwidth the container may use",
      },
    ],
    join: [
      {
        op: "joinResctrl",
        by: "init",
        // The class first: changing it takes a process out of its monitoring group.
        paths: [path, ...(monitor === undefined ? [] : [monitor])],
        field: "linux.intelRdt",
        because: "a class of service is for the processes that are in it",
      },
    ],
    // Removing a class removes its monitoring groups; a class with a name of its own is not ours to remove.
    cleanup: whose === "own" ? [path] : monitor === undefined ? [] : [monitor],
  };
}

/** The directory of a container's class of service. Throws RESCTRL_MISSING. */
export function resctrlGroup({ closID }: IntelRdt, mountinfo: string, id: string): string {
  const root = resctrlMount(mountinfo);
  if (root !== undefined) return closID === "/" ? root : `${root}/${closID ?? id}`;
  throw new ContainerError("RESCTRL_MISSING", "no resctrl is mounted: this machine cannot divide its caches", {
    field: "linux.intelRdt",
    hint: "mount -t resctrl resctrl /sys/fs/resctrl, where processor and kernel have it",
  });
}

/** Where resctrl is mounted. */
function resctrlMount(mountinfo: string): string | undefined {
  const line = mountinfo.split("\n").find((entry) => entry.includes(" - resctrl "));
  const path = line?.split(" ", 5)[4];
  return path === undefined ? undefined : unescapePath(path);
}
