/**
 * A container that gets its cgroup v2 tree writable owns its group, as far as that is safe: systemd in a container needs
 * it. config-linux.md, "Cgroup ownership": only on v2, only with a cgroup namespace of its own, only with a writable mount
 * of source `cgroup` at /sys/fs/cgroup, and to the user that the container's process is on the machine.
 */
import type { Config, IdMapping } from "../../spec/config.ts";
import type { Host } from "../host.ts";
import type { ParentStep } from "../step.ts";

export function delegateGroup({ linux, mounts = [], process }: Config, { cgroups }: Host, path: string): ParentStep[] {
  if (cgroups.mode !== "v2") return [];
  const ownNamespace = linux.namespaces?.some(
    (namespace) => namespace.type === "cgroup" && namespace.path === undefined,
  );
  if (!ownNamespace) return [];
  const at = mounts.findIndex(({ destination, source }) => destination === "/sys/fs/cgroup" && source === "cgroup");
  if (at < 0 || mounts[at]?.options?.includes("ro")) return [];
  const joined = linux.namespaces?.some(({ type, path }) => type === "user" && path !== undefined);
  // The maps of a namespace that others made are not in the config.
  if (joined) return [];
  const uid = hostId(process.user.uid, linux.uidMappings);
  // The group is root's already.
  if (uid === undefined || uid === 0) return [];
  const because = "the container may make groups below its own, but not change its own limits";
  return [{ op: "delegateCgroup", by: "parent", path, uid, field: `mounts[${at}]`, because }];
}

/** What an id of the container is on the machine; undefined when nothing maps it. */
export function hostId(id: number, mappings: readonly IdMapping[] | undefined): number | undefined {
  if (mappings === undefined || mappings.length === 0) return id;
  const mapping = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return mapping === undefined ? undefined : mapping.hostID + id - mapping.containerID;
}
