/** `pause` and `resume`: all processes of a container stopped, and going on. */
import { ContainerError } from "../error.ts";
import { freeze, freezerGroup, thaw } from "../execute/freezer.ts";

export interface Pausable {
  id: string;
  status: string;
  cgroups: readonly { controller: string; path: string }[];
}

/** Returns when every process stands still. Throws CONTAINER_NOT_RUNNING, FREEZER_MISSING, FREEZE_FAILED. */
export function pauseContainer({ id, status, cgroups }: Pausable): void {
  if (status !== "running" && status !== "created") {
    throw new ContainerError("CONTAINER_NOT_RUNNING", `container not running: ${id} is ${status}`);
  }
  freeze(freezerOf(id, cgroups));
}

/** Throws CONTAINER_NOT_PAUSED, FREEZER_MISSING. */
export function resumeContainer({ id, status, cgroups }: Pausable): void {
  if (status !== "paused") throw new ContainerError("CONTAINER_NOT_PAUSED", `container not paused: ${id} is ${status}`);
  thaw(freezerOf(id, cgroups));
}

function freezerOf(id: string, cgroups: Pausable["cgroups"]) {
  const freezer = freezerGroup(cgroups);
  if (freezer !== undefined) return freezer;
  throw new ContainerError("FREEZER_MISSING", `container ${id} has no control group that can be frozen`);
}
