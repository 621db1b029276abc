/** A v2 group has the controllers that every group above it hands down, which those with processes in them do not. cgroups(7). */
import type { Host } from "../host.ts";
import type { ParentStep, Why } from "../step.ts";
import type { Limits } from "./limits.ts";
import { ancestors } from "./location.ts";

/** Enabled on v2 even where nothing is limited: `stats` reads their files. */
const COUNTED = ["cpu", "io", "memory", "pids"];

/** A controller that groups above the container's hand down; `extra`: no limit needs it, and it may be refused. */
export interface HandedDown {
  name: string;
  extra: boolean;
}

export function controllersToHandDown(
  { needed }: Limits,
  offered: readonly string[],
  mode: Host["cgroups"]["mode"],
  strict: boolean,
): HandedDown[] {
  const names = new Set([...COUNTED.filter((name) => offered.includes(name)), ...needed]);
  const all = strict && mode === "v2" ? offered.filter((name) => !names.has(name)) : [];
  return [...[...names].map((name) => ({ name, extra: false })), ...all.map((name) => ({ name, extra: true }))];
}

/** Where processes at the root of our own tree go: the name that podman and Docker's dind give it. */
const OUT_OF_THE_WAY = "/init";

/** Where those go that are in a group that is delegated to a user. */
export const CALLERS = "/tupper-callers";

/** In a container of cgroup v2 the root of the tree has processes, ours among them, and so has a user's scope: EBUSY for whoever hands down. */
export function vacate({ mountPoint, ownPath, occupied, base }: NonNullable<Host["cgroups"]["unified"]>): ParentStep[] {
  const delegated = base === ownPath && ownPath !== "/";
  if (!delegated && !occupied) return [];
  const path = delegated ? `${mountPoint}${ownPath}` : mountPoint;
  const because =
    "a group of cgroup v2 that has processes in it, and is not the machine's root, hands no controllers down";
  const into = `${path}${delegated ? CALLERS : OUT_OF_THE_WAY}`;
  return [{ op: "vacateCgroup", by: "parent", path, into, because }];
}

/** A v2 group has the controllers that every group above it hands down. */
export function handDown(
  mountPoint: string,
  path: string,
  enable: readonly HandedDown[],
  top: string,
  why: Why,
): ParentStep[] {
  if (enable.length === 0) return []; // mkdir of the group itself makes what is missing above it
  const steps: ParentStep[] = [];
  const topPath = top === "/" ? mountPoint : `${mountPoint}${top}`;
  const needed = enable.filter(({ extra }) => !extra).map(({ name }) => `+${name}`);
  const extra = enable.filter(({ extra }) => extra).map(({ name }) => `+${name}`);
  for (const above of [mountPoint, ...ancestors(mountPoint, path)]) {
    if (above.length > topPath.length) {
      steps.push({ op: "makeCgroup", by: "parent", controller: "unified", path: above, mayExist: true, ...why });
    }
    if (above.length < topPath.length) continue;
    const { field } = why;
    const file = `${above}/cgroup.subtree_control`;
    const write = { op: "write", by: "parent", path: file, ...(field === undefined ? {} : { field }) } as const;
    if (needed.length > 0) {
      steps.push({
        ...write,
        value: needed.join(" "),
        because: "a group of cgroup v2 has only the controllers that the group above hands down",
      });
    }
    // One by one: the kernel takes all of a line or nothing.
    for (const value of extra) {
      steps.push({
        ...write,
        value,
        ifPossible: "refused",
        because: "the container may limit groups of its own with it",
      });
    }
  }
  return steps;
}
