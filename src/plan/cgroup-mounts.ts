/**
 * A mount of type `cgroup`: the container's control groups, to read limits and usage. cgroups(7), cgroup_namespaces(7).
 *
 * With a cgroup namespace it is a new mount, which begins at the container's groups. Without one such a mount would begin
 * at the machine's root, so on v1 the container's group of each hierarchy is bound in its place. On v2 the whole tree is
 * shown, as under runc and crun: who asks for the machine's cgroup namespace there means to see it. Such a mount sets the
 * options of the tree for everybody (cgroup-v2.rst, "Mounting"): it repeats those that the machine has.
 */
import { ContainerError } from "../error.ts";
import { ANNOTATION, type Config } from "../spec/config.ts";
import type { ControlGroup } from "./cgroup/limits.ts";
import type { Host } from "./host.ts";
import { isolates } from "./namespaces.ts";
import type { InitStep, MountFlag } from "./step.ts";

interface CgroupMount {
  config: Config;
  host: Host;
  target: string;
  flags: MountFlag[];
  data: string;
  field: string;
  index: number;
  /** Where the container's groups lie, as far as it has its own. */
  groups: readonly ControlGroup[];
}

interface Steps {
  take: InitStep[];
  place: InitStep[];
}

const BECAUSE = "programs read their limits and usage there";

export function planCgroupMount(mount: CgroupMount): Steps {
  const { config, host, target, flags, field } = mount;
  const { mode, unified } = host.cgroups;
  if (mode === "none") return { take: [], place: [] };
  if (mode !== "v2") return planHierarchies(mount);
  // Only who owns the cgroup namespace may mount it (EPERM).
  if (unified !== undefined && !isolates(config, "cgroup") && (isolates(config, "user") || !host.privileged))
    return bound(mount, unified.mountPoint, target, "unified");
  const kept = isolates(config, "cgroup") ? undefined : unified?.mountedWith;
  const data = [kept ?? "", mount.data].filter((text) => text !== "").join(",");
  return {
    take: [],
    place: [
      { op: "mount", by: "init", source: "cgroup", target, fstype: "cgroup2", flags, data, field, because: BECAUSE },
    ],
  };
}

/** Where crun's annotation wants no more than v1's hierarchy `name=systemd`. */
export const systemdV1Place = ({ annotations }: Config): string | undefined =>
  annotations?.[ANNOTATION.systemdV1] || undefined;

/**
 * What stands at {@link systemdV1Place}: a tmpfs with the directory `systemd`, for a systemd in the container that knows no v2. Of
 * the hierarchy the container sees its own group, not all of it as under crun: at its root is release_agent, a command of the machine's.
 */
export function planSystemdV1(mount: CgroupMount): Steps {
  const { systemdV1, hierarchies } = mount.host.cgroups;
  const all = systemdV1 === undefined ? hierarchies : [...hierarchies, systemdV1];
  if (all.some(({ controllers: [first] }) => first === SYSTEMD)) return planHierarchies(mount, SYSTEMD);
  throw new ContainerError(
    "CGROUP_CONTROLLER_MISSING",
    `no control group hierarchy ${SYSTEMD} is mounted on this machine`,
    {
      field: `annotations["${ANNOTATION.systemdV1}"]`,
      hint: `mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,${SYSTEMD},xattr cgroup /sys/fs/cgroup/systemd`,
    },
  );
}

const SYSTEMD = "name=systemd";

/** A v1 hierarchy, or the v2 tree beside them. */
interface Hierarchy {
  /** Of its directory: `cpu,cpuacct`, `systemd`, `unified`. */
  name: string;
  controllers: readonly string[];
  fstype: "cgroup" | "cgroup2";
  /** The container's group, or where there is none that in which it starts. */
  group: string;
}

/** v1: a tmpfs with a directory per hierarchy, and a link for each controller that shares one. */
function planHierarchies(mount: CgroupMount, only?: string): Steps {
  const { config, target, field } = mount;
  const flags = [...new Set([...mount.flags, "nosuid", "nodev", "noexec"])];
  const take: InitStep[] = [];
  const place: InitStep[] = [
    {
      op: "mount",
      by: "init",
      source: "tmpfs",
      target,
      fstype: "tmpfs",
      flags: flags.filter((flag) => flag !== "ro"),
      data: "mode=755,size=1m",
      field,
      because: BECAUSE,
    },
  ];
  for (const { name, controllers, fstype, group } of hierarchiesOf(mount)) {
    if (only !== undefined && controllers[0] !== only) continue;
    const path = `${target}/${name}`;
    if (isolates(config, "cgroup")) {
      const data = controllers.join(",");
      place.push({
        op: "mount",
        by: "init",
        source: "cgroup",
        target: path,
        fstype,
        flags,
        data,
        field,
        because: BECAUSE,
      });
    } else {
      const steps = bound({ ...mount, flags }, group, path, name);
      take.push(...steps.take);
      place.push(...steps.place);
    }
    if (controllers.length < 2) continue;
    for (const controller of controllers)
      place.push({
        op: "makeLink",
        by: "init",
        target: name,
        path: `${target}/${controller}`,
        field,
        because: "each controller is also found under its own name",
      });
  }
  if (flags.includes("ro"))
    place.push({
      op: "setMountFlags",
      by: "init",
      target,
      flags: ["ro"],
      recursive: false,
      field,
      because: "the container must not change its own limits",
    });
  return { take, place };
}

function hierarchiesOf({ host, groups }: CgroupMount): Hierarchy[] {
  const { hierarchies, unified, systemdV1 } = host.cgroups;
  const own = new Map(groups.map(({ controller, path }) => [controller, path]));
  const groupOf = (controller: string, mountPoint: string, ownPath: string): string =>
    own.get(controller) ?? (ownPath === "/" ? mountPoint : `${mountPoint}${ownPath}`);
  const all = [...hierarchies, ...(systemdV1 === undefined ? [] : [systemdV1])].map(
    ({ controllers, mountPoint, ownPath }): Hierarchy => {
      const joined = controllers.join(",");
      return {
        name: joined.startsWith("name=") ? joined.slice(5) : joined,
        controllers,
        fstype: "cgroup",
        group: groupOf(joined, mountPoint, ownPath),
      };
    },
  );
  if (unified !== undefined)
    all.push({
      name: "unified",
      controllers: [],
      fstype: "cgroup2",
      group: groupOf("unified", unified.mountPoint, unified.ownPath),
    });
  return all;
}

/** A directory of the machine's cgroupfs, bound. */
function bound(mount: CgroupMount, source: string, target: string, name: string): Steps {
  const { flags, field, index } = mount;
  const tree = { slot: `tree.${index}.${name}` };
  return {
    take: [
      {
        op: "takeTree",
        by: "init",
        source,
        recursive: false,
        flags,
        recursiveFlags: [],
        propagation: "rprivate",
        tree,
        field,
        because: "without a cgroup namespace a new mount would begin at the machine's root",
      },
    ],
    place: [{ op: "placeTree", by: "init", tree, target, field, because: BECAUSE }],
  };
}
