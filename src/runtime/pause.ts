/** `pause` and `resume`: all processes of a container stopped, and going on. */
import { ContainerError } from "../error.ts";
import { type Freezer, freeze, freezerGroup, thaw } from "../execute/freezer.ts";
import { type ContainerRecord, loadContainer, lockContainer, statusOf, unlock } from "./container.ts";
import { requireGroups } from "./processes.ts";

/** Returns when every process stands still. Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING, FREEZER_MISSING, FREEZE_FAILED. */
export function pauseContainer(root: string, id: string): void {
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const status = statusOf(container);
    if (status !== "running" && status !== "created")
      throw new ContainerError("CONTAINER_NOT_RUNNING", `container not running: ${id} is ${status}`);
    freeze(freezerOf(container.record));
  } finally {
    unlock(lock);
  }
}

/** Throws CONTAINER_UNKNOWN, CONTAINER_NOT_PAUSED, FREEZER_MISSING. */
export function resumeContainer(root: string, id: string): void {
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const status = statusOf(container);
    if (status !== "paused")
      throw new ContainerError("CONTAINER_NOT_PAUSED", `container not paused: ${id} is ${status}`);
    thaw(freezerOf(container.record));
  } finally {
    unlock(lock);
  }
}

function freezerOf(record: ContainerRecord): Freezer {
  requireGroups(record, "paused");
  const { id, cgroups } = record;
  const freezer = freezerGroup(cgroups);
  if (freezer !== undefined) return freezer;
  throw new ContainerError("FREEZER_MISSING", `container ${id} has no control group that can be frozen`);
}
