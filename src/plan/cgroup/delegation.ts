/**
 * A container that gets its cgroup v2 tree writable owns its group, as far as that is safe: systemd in a container needs
 * it. config-linux.md, "Cgroup ownership": only on v2, only with a cgroup namespace of its own, only with a writable mount
 * of source `cgroup` at /sys/fs/cgroup, and to the user that the container's process is on the machine.
 */
import { ContainerError } from "../../error.ts";
import { ANNOTATION, type Config, type IdMapping } from "../../spec/config.ts";
import type { Host } from "../host.ts";
import type { InitStep, ParentStep, Why } from "../step.ts";
import { answerUnmet, type ControlGroup } from "./limits.ts";
import { isBelow } from "./sub-group.ts";

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

const DELEGATED = `annotations["${ANNOTATION.delegatedGroup}"]`;

/**
 * crun's `run.oci.delegate-cgroup`: a group below the container's, in which it lives. Its limits stay with the group above, which
 * is the root of its cgroup namespace, so the process moves when it has that; on v1 whoever may make groups could leave theirs.
 * Undefined where none is asked for. Throws CONFIG_INVALID.
 */
export function delegatedName({ annotations = {} }: Config): string | undefined {
  const name = annotations[ANNOTATION.delegatedGroup] ?? "";
  if (name === "") return undefined;
  if (isBelow(name)) return name;
  throw new ContainerError(
    "CONFIG_INVALID",
    `${DELEGATED} is ${JSON.stringify(name)}: it must name a group below the container's own, such as payload`,
    { field: DELEGATED },
  );
}

/** What makes the group `name` below `group`, the container's own, and moves the container there. Throws CGROUP_FIELD_UNSUPPORTED. */
export function planDelegation(
  config: Config,
  host: Host,
  group: ControlGroup | undefined,
  name: string,
  strict: boolean,
): { afterClone: ParentStep[]; leave: InitStep[]; warnings: string[] } {
  if (host.cgroups.mode !== "v2" || group === undefined)
    return { afterClone: [], leave: [], warnings: refuseDelegation(OLD_GROUPS, strict) };
  const owner = rootOnMachine(config, host);
  const make: ParentStep = {
    op: "delegateBelow",
    by: "parent",
    group: group.path,
    path: `${group.path}/${name}`,
    pid: { slot: "init.pid" },
    ...(owner === undefined ? {} : { owner }),
    field: DELEGATED,
    because: "the container does with it what it likes; its limits are those of the group above",
  };
  const wait: InitStep = {
    op: "awaitDelegation",
    by: "init",
    field: DELEGATED,
    because: "the group that it leaves is the root of its cgroup namespace",
  };
  return { afterClone: [make], leave: [wait], warnings: [] };
}

export const NO_MANAGER = "the container has no control groups of its own (--cgroup-manager disabled)";
const OLD_GROUPS =
  "this machine has control groups of version 1, where whoever may make groups could leave the container's";

/** Warnings; `strict`: throws CGROUP_FIELD_UNSUPPORTED. */
export const refuseDelegation = (why: string, strict: boolean): string[] =>
  answerUnmet(
    [
      {
        code: "CGROUP_FIELD_UNSUPPORTED",
        field: DELEGATED,
        why: `no control group can be delegated to the container: ${why}`,
        hint: "leave the annotation away, or run it on a machine with cgroup v2 alone",
        harmless: false,
      },
    ],
    strict,
  );

/** A group of v1 that has no controllers, and no limits that somebody could leave. */
export function ownedByRoot(config: Config, host: Host, path: string, why: Why): ParentStep[] {
  const owner = rootOnMachine(config, host);
  return owner === undefined ? [] : [{ op: "delegateCgroup", by: "parent", path, uid: owner.uid, ...why }];
}

/** Root of the container, where that is somebody else on the machine; an ordinary user can give nothing away. */
function rootOnMachine({ linux }: Config, { uid }: Host): { uid: number; gid: number } | undefined {
  const root = { uid: hostId(0, linux.uidMappings) ?? 0, gid: hostId(0, linux.gidMappings) ?? 0 };
  return uid === 0 && (root.uid !== 0 || root.gid !== 0) ? root : undefined;
}

/** What an id of the container is on the machine; undefined when nothing maps it. */
export function hostId(id: number, mappings: readonly IdMapping[] | undefined): number | undefined {
  if (mappings === undefined || mappings.length === 0) return id;
  const mapping = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return mapping === undefined ? undefined : mapping.hostID + id - mapping.containerID;
}
