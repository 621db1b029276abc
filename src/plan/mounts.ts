/**
 * `mounts` of the config, in its order. Bind sources are taken before pivot_root and placed after it; everything
 * else is mounted after it, by paths that can only mean the container's own tree.
 */
import { ContainerError } from "../error.ts";
import type { Config, Mount } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { parseMountOptions } from "./mount-options.ts";
import { isNew, isolates } from "./namespaces.ts";
import type { InitStep, MountFlag } from "./step.ts";

export function planMounts(config: Config, host: Host): { take: InitStep[]; place: InitStep[] } {
  const take: InitStep[] = [];
  const place: InitStep[] = [];
  const userns = isolates(config, "user");
  for (const [i, mount] of (config.mounts ?? []).entries()) {
    const options = parseMountOptions(mount.options ?? []);
    const field = `mounts[${i}]`;
    const target = mount.destination.startsWith("/") ? mount.destination : `/${mount.destination}`;
    if (options.bind) {
      if (mount.source === undefined)
        throw new ContainerError("MOUNT_SOURCE_NEEDED", `the bind mount on ${target} has no source`, {
          field: `${field}.source`,
        });
      const tree = { slot: `tree.${i}` };
      take.push({
        op: "takeTree",
        by: "init",
        source: mount.source,
        recursive: options.recursiveBind,
        flags: options.flags,
        recursiveFlags: options.recursiveFlags,
        tied: /^r?(shared|slave)$/.test(options.propagation ?? ""),
        tree,
        field: `${field}.source`,
        because: "the source is a path of the machine: it is taken while the machine's files are in sight",
      });
      place.push({
        op: "placeTree",
        by: "init",
        tree,
        target,
        field: `${field}.destination`,
        because: `shows ${mount.source} of the machine at ${target}`,
      });
    } else if (mount.type === "cgroup" || mount.type === "cgroup2") {
      place.push(...planCgroupMount(config, host, target, options.flags, field));
    } else {
      const fstype = mount.type ?? "none";
      const filesystem = { source: mount.source ?? fstype, fstype, flags: options.flags, data: options.data };
      const because = mountPurpose(mount);
      if (userns && (fstype === "proc" || fstype === "sysfs")) {
        const tree = { slot: `filesystem.${i}` };
        take.push({ op: "takeFilesystem", by: "init", ...filesystem, tree, field, because });
        place.push({
          op: "placeTree",
          by: "init",
          tree,
          target,
          exact: true,
          field,
          because: `${fstype} was made while the machine's was in sight, as the kernel demands`,
        });
      } else place.push({ op: "mount", by: "init", ...filesystem, target, field, because });
    }
    if (options.propagation !== undefined) {
      place.push({
        op: "propagation",
        by: "init",
        target,
        mode: options.propagation,
        field: `${field}.options`,
        because: "the config says how mounts below it spread",
      });
    }
  }
  for (const [i, [key, value]] of Object.entries(config.linux.sysctl ?? {}).entries()) {
    void i;
    place.push({
      op: "write",
      by: "init",
      path: `/proc/sys/${sysctlPath(key)}`,
      value,
      field: `linux.sysctl["${key}"]`,
      because: "a kernel setting that belongs to one of the container's namespaces",
    });
  }
  return { take, place };
}

/** `net.ipv4.conf.eth0/1.x`: dots separate, a slash stands for a dot within a name. sysctl(8). */
const sysctlPath = (key: string): string =>
  [...key].map((letter) => (letter === "." ? "/" : letter === "/" ? "." : letter)).join("");

function mountPurpose({ type, destination }: Mount): string {
  switch (type) {
    case "proc":
      return "ps, /proc/self and much of the C library need it; it shows the processes of the container's PID namespace";
    case "sysfs":
      return "devices and drivers as files; its network part is the container's own";
    case "devpts":
      return "pseudo-terminals of the container alone (newinstance)";
    case "mqueue":
      return "POSIX message queues of the container's IPC namespace";
    case "tmpfs":
      if (destination === "/dev") return "a /dev of the container's own: nothing of the machine's devices is in it";
      if (destination === "/dev/shm") return "POSIX shared memory of the container's own, limited in size";
      return "files in memory that vanish with the container";
    default:
      return `the config asks for a ${type ?? "filesystem"} there`;
  }
}

/** The container's control groups: the one tree of v2, or on v1 a tmpfs with a directory per hierarchy. */
function planCgroupMount(config: Config, host: Host, target: string, flags: MountFlag[], field: string): InitStep[] {
  const { cgroups } = host;
  const because = "programs read their limits and usage there";
  if (cgroups.mode === "none") return [];
  // Without a cgroup namespace the mount would show the machine's whole tree: nothing is better.
  if (!isNew(config, "cgroup")) return [];
  if (cgroups.mode === "v2") {
    return [{ op: "mount", by: "init", source: "cgroup", target, fstype: "cgroup2", flags, data: "", field, because }];
  }
  const steps: InitStep[] = [
    {
      op: "mount",
      by: "init",
      source: "tmpfs",
      target,
      fstype: "tmpfs",
      flags: flags.filter((flag) => flag !== "ro"),
      data: "mode=755,size=1m",
      field,
      because,
    },
  ];
  for (const { controllers } of cgroups.hierarchies) {
    const name = (controllers[0] ?? "").startsWith("name=") ? (controllers[0] ?? "").slice(5) : controllers.join(",");
    steps.push({
      op: "mount",
      by: "init",
      source: "cgroup",
      target: `${target}/${name}`,
      fstype: "cgroup",
      flags,
      data: controllers.join(","),
      field,
      because,
    });
    if (controllers.length > 1) {
      for (const controller of controllers) {
        steps.push({
          op: "makeLink",
          by: "init",
          target: name,
          path: `${target}/${controller}`,
          field,
          because: "each controller is also found under its own name",
        });
      }
    }
  }
  if (cgroups.unified !== undefined) {
    steps.push({
      op: "mount",
      by: "init",
      source: "cgroup",
      target: `${target}/unified`,
      fstype: "cgroup2",
      flags,
      data: "",
      field,
      because,
    });
  }
  if (flags.includes("ro")) {
    steps.push({
      op: "setMountFlags",
      by: "init",
      target,
      flags: ["ro"],
      recursive: false,
      field,
      because: "the container must not change its own limits",
    });
  }
  return steps;
}
