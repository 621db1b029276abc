/**
 * The copy-on-write root: overlays over a directory and over the filesystems mounted below it.
 *
 * An overlay does not look through mounts, so each filesystem below gets an overlay of its own. What an ordinary user
 * meets on top of that: in a user namespace the mounts that came from outside are locked together, and the kernel
 * refuses an overlay over a directory that has any below it. So the machine's own root is put together from its
 * top-level directories. mount_namespaces(7), "Restrictions on mount namespaces".
 */
import { ContainerError } from "../error.ts";
import type { Config } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { type HostMount, mountsUnder, visibleMountsUnder } from "./mountinfo.ts";
import { isNew } from "./namespaces.ts";
import { type MadeRoot, mapsOwners, stageTmpfs, takeMapped } from "./rootfs.ts";
import type { InitStep, ParentStep } from "./step.ts";

/** Filesystems that show the kernel, not files: never part of a root filesystem. */
const KERNEL_FILESYSTEMS = new Set([
  "proc",
  "sysfs",
  "devtmpfs",
  "devpts",
  "cgroup",
  "cgroup2",
  "mqueue",
  "securityfs",
  "debugfs",
  "tracefs",
  "bpf",
  "pstore",
  "configfs",
  "fusectl",
  "hugetlbfs",
  "binfmt_misc",
  "nsfs",
  "autofs",
  "rpc_pipefs",
  "efivarfs",
  "selinuxfs",
]);

/** Directories of a root that are the running machine's, not files of it. */
const MACHINE_DIRECTORIES = /^\/(dev|proc|sys|run)(\/|$)/;

export function planOverlay(config: Config, host: Host, stage: string): MadeRoot {
  const source = config.root.path;
  const tmpfs = stageTmpfs(config, stage, "writes of the container go to memory of this size and vanish with it");
  const root = `${stage}/root`;
  if (
    host.uid !== 0 &&
    mountsUnder(source === "/" ? "/" : `${source}/`, host.mountinfo).some(({ mountPoint }) => mountPoint !== "/")
  ) {
    if (source !== "/") throw lockedMounts(source);
    return {
      steps: [
        tmpfs,
        makeDirectory(root, "the root is put together here"),
        {
          op: "bind",
          by: "init",
          source: root,
          target: root,
          recursive: false,
          because: "pivot_root wants a mount point",
        },
        ...assembledRoot(host, stage),
      ],
      root,
    };
  }
  const below = mountsBelow(source, host.mountinfo);
  const inside = (mountPoint: string) => (source === "/" ? mountPoint : mountPoint.slice(source.length));
  const layers = [
    { source, target: "root", why: "an overlay shows this directory and keeps it untouched" },
    ...below
      .filter(({ mountPoint }) => !host.fileMounts.includes(mountPoint))
      .map(({ mountPoint }) => ({
        source: mountPoint,
        target: `root${inside(mountPoint)}`,
        why: `another filesystem is mounted at ${inside(mountPoint)}, and an overlay does not look through mounts`,
      })),
  ];
  const files = below
    .filter(({ mountPoint }) => host.fileMounts.includes(mountPoint))
    .flatMap(({ mountPoint }) =>
      shownReadonly(
        mountPoint,
        `${root}${inside(mountPoint)}`,
        "a mounted file has no overlay: it is shown as it is, read-only",
      ),
    );
  const userns = isNew(config, "user");
  const overlays = layers.map((layer, i) =>
    overlayOf({ ...layer, stage, suffix: i === 0 ? "" : `.${i}`, userns, mapped: userns && mapsOwners(host) }),
  );
  return {
    afterClone: overlays.flatMap(({ afterClone }) => afterClone),
    steps: [
      tmpfs,
      makeDirectory(root, "where the overlay is mounted"),
      ...overlays.flatMap(({ steps }) => steps),
      ...files,
    ],
    root,
  };
}

const lockedMounts = (source: string): ContainerError =>
  new ContainerError(
    "ROOT_HAS_MOUNTS",
    `${source} has other filesystems mounted below it, and an ordinary user cannot make an overlay over that`,
    {
      field: "root.path",
      hint: "use --root-kind bind or --root-kind copy, or run as root",
    },
  );

function makeDirectory(path: string, because: string, like?: { path: string; userns: boolean }): InitStep {
  return { op: "makeDirectory", by: "init", path, mode: 0o755, ...(like === undefined ? {} : { like }), because };
}

interface Layer {
  stage: string;
  /** Tells the layers of one overlay from those of another. */
  suffix: string;
  source: string;
  /** Below the stage. */
  target: string;
  why: string;
  /** The mount is made in a user namespace. */
  userns: boolean;
  /** Owners of the lower layer are seen through the id map. */
  mapped: boolean;
}

/** One overlay: lower layer, upper layer, work directory and mount point are directories of the stage, and the working directory. */
function overlayOf({ stage, suffix, source, target, why, userns, mapped }: Layer): {
  afterClone: ParentStep[];
  steps: InitStep[];
} {
  const [lower, upper, work] = [`lower${suffix}`, `upper${suffix}`, `work${suffix}`];
  const tree = { slot: `root${suffix}` };
  const afterClone = mapped ? [takeMapped(source, tree)] : [];
  const steps: InitStep[] = [
    makeDirectory(`${stage}/${lower}`, why),
    {
      op: "bind",
      by: "init",
      source,
      target: `${stage}/${lower}`,
      recursive: false,
      ...(mapped ? { tree } : {}),
      field: "root.path",
      because: "gives the lower layer a short name, so that `mount` inside shows no path of the machine",
    },
    makeDirectory(
      `${stage}/${upper}`,
      "what the container writes; its mode and owner are those that the mount will show",
      { path: `${stage}/${lower}`, userns },
    ),
    makeDirectory(`${stage}/${work}`, "the overlay prepares files here before they appear"),
    { op: "changeDirectory", by: "init", path: stage, because: "the layers are named relative to here" },
    {
      op: "mount",
      by: "init",
      source: "overlay",
      target,
      fstype: "overlay",
      flags: [],
      data: `lowerdir=${lower},upperdir=${upper},workdir=${work}${userns ? ",userxattr" : ""}`,
      field: "root.path",
      because: "copy-on-write: reads come from the lower layer, writes go to the upper one",
    },
  ];
  return { afterClone, steps };
}

/** The machine's root from its top-level entries: an overlay for each directory that may have one. */
function assembledRoot({ rootEntries, mountinfo }: Host, stage: string): InitStep[] {
  return rootEntries.flatMap(({ name, link }, i): InitStep[] => {
    const path = `/${name}`;
    const target = `${stage}/root/${name}`;
    if (link !== undefined)
      return [{ op: "makeLink", by: "init", target: link, path: target, because: `${path} is a link on the machine` }];
    const below = mountsUnder(`${path}/`, mountinfo);
    if (MACHINE_DIRECTORIES.test(path))
      return [makeDirectory(target, `${path} is the running machine's: the container gets its own`)];
    if (below.length > 0) {
      const because = `${path} has other filesystems mounted below it, which an ordinary user cannot overlay: it is shown as it is, read-only`;
      return [makeDirectory(target, because), ...shownReadonly(path, target, because)];
    }
    const layer = {
      stage,
      suffix: `.${i}`,
      source: path,
      target: `root/${name}`,
      why: "an overlay shows this directory and keeps it untouched",
      userns: true,
      mapped: false,
    };
    return [makeDirectory(target, "where the overlay is mounted"), ...overlayOf(layer).steps];
  });
}

/** What is not copy-on-write must not be written. */
function shownReadonly(source: string, target: string, because: string): InitStep[] {
  return [
    { op: "bind", by: "init", source, target, recursive: true, field: "root.path", because },
    {
      op: "setMountFlags",
      by: "init",
      target,
      flags: ["ro"],
      recursive: true,
      field: "root.path",
      because: "what is not copy-on-write must not be written",
    },
  ];
}

/** Filesystems with files, mounted below a root. The machine's own /run, /tmp … as tmpfs are not part of its root. */
function mountsBelow(root: string, mountinfo: string): HostMount[] {
  return visibleMountsUnder(root === "/" ? "/" : `${root}/`, mountinfo).filter(
    ({ fstype, mountPoint }) =>
      mountPoint !== root &&
      !KERNEL_FILESYSTEMS.has(fstype) &&
      !(root === "/" && (fstype === "tmpfs" || MACHINE_DIRECTORIES.test(mountPoint))),
  );
}
