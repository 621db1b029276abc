/** `update --l3-cache-schema`, `--mem-bw-schema`: another share of caches and memory bandwidth for a container's class of service. */
import { ContainerError } from "../error.ts";
import { changeSchemata } from "../execute/resctrl.ts";
import { resctrlGroup } from "../plan/resctrl.ts";
import { readFile } from "../sys/files.ts";
import { recordedConfig } from "./bundle.ts";
import { loadContainer, lockContainer, statusOf, unlock } from "./container.ts";

/** Returns what takes it back. Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING, RDT_UNSUPPORTED, RESCTRL_MISSING, RESCTRL_REFUSED. */
export function updateRdt(root: string, id: string, schemata: readonly string[]): () => void {
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const status = statusOf(container);
    if (status === "stopped" || status === "creating")
      throw new ContainerError("CONTAINER_NOT_RUNNING", `container not running: ${id} is ${status}`);
    const { intelRdt } = recordedConfig(container).linux;
    // Its processes are in no class of its own, and those that it has by now would all have to be moved: as runc since 1.4.
    if (intelRdt === undefined)
      throw new ContainerError("RDT_UNSUPPORTED", `Intel RDT of ${id} cannot be changed: it was made without`, {
        field: "linux.intelRdt",
      });
    return changeSchemata(resctrlGroup(intelRdt, readFile("/proc/self/mountinfo"), id), schemata);
  } finally {
    unlock(lock);
  }
}
