/**
 * The root filesystem: a copy-on-write view (`overlay`), the directory itself (`bind`) or a copy in memory (`copy`),
 * and pivot_root into it.
 *
 * Everything is mounted on the container's state directory, in the container's own mount namespace: the machine never
 * sees it, and no directory is made in the rootfs.
 */
import { ANNOTATION, type Config } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { type HostMount, mountsUnder } from "./mountinfo.ts";
import { isolates } from "./namespaces.ts";
import type { InitStep } from "./step.ts";

const DEFAULT_SIZE_BYTES = 500 * 1024 * 1024;

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

/** Whether the root of this config is a copy-on-write view, a bind mount or a copy, from {@link ANNOTATION}. */
export function rootKind(config: Config): "overlay" | "bind" | "copy" {
  const kind = config.annotations?.[ANNOTATION.rootKind];
  return kind === "overlay" || kind === "copy" ? kind : "bind";
}

export function planRootfs(config: Config, host: Host, stage: string): { prepare: InitStep[]; enter: InitStep[] } {
  const propagation = config.linux.rootfsPropagation ?? "rprivate";
  const kind = rootKind(config);
  const prepare: InitStep[] = [
    {
      op: "propagation",
      by: "init",
      target: "/",
      mode: propagation.endsWith("slave") ? "rslave" : "rprivate",
      ...(config.linux.rootfsPropagation === undefined ? {} : { field: "linux.rootfsPropagation" }),
      because: "mounts made here must not spread to the machine, and pivot_root refuses a shared parent",
    },
  ];
  const make = { overlay: planOverlay, bind: planBind, copy: planCopy }[kind];
  const { steps, root } = make(config, host, stage);
  prepare.push(...steps);
  return {
    prepare,
    enter: [
      { op: "changeDirectory", by: "init", path: root, because: "pivot_root is called from inside the new root" },
      {
        op: "pivotRoot",
        by: "init",
        newRoot: ".",
        putOld: ".",
        because:
          "the new root becomes /, and the old one is stacked on it: no directory for it is needed, and unlike chroot it can be left for good",
      },
    ],
  };
}

interface Made {
  steps: InitStep[];
  root: string;
}

function planOverlay(config: Config, host: Host, stage: string): Made {
  const source = config.root.path;
  const steps: InitStep[] = [
    stageTmpfs(config, stage, "writes of the container go to memory of this size and vanish with it"),
    ...overlayOf(source, source, stage, "", host.uid !== 0 || isolates(config, "user")),
  ];
  for (const [i, mount] of mountsBelow(source, host.mountinfo).entries()) {
    const inside = mount.mountPoint.slice(source === "/" ? 0 : source.length);
    const name = `.${i + 1}`;
    steps.push(
      ...overlayOf(
        mount.mountPoint,
        `${source} has another filesystem mounted at ${inside}`,
        stage,
        name,
        host.uid !== 0,
        `root${inside}`,
      ),
    );
  }
  return { steps, root: `${stage}/root` };
}

/** One overlay: lower layer, upper layer, work directory and mount point are directories of the stage, and the working directory. */
function overlayOf(
  source: string,
  why: string,
  stage: string,
  suffix: string,
  unprivileged: boolean,
  target = "root",
): InitStep[] {
  const lower = `lower${suffix}`;
  const upper = `upper${suffix}`;
  const work = `work${suffix}`;
  const because =
    why === source
      ? "an overlay shows this directory and keeps it untouched"
      : `${why}, and an overlay does not look through mounts`;
  return [
    { op: "makeDirectory", by: "init", path: `${stage}/${lower}`, mode: 0o755, because },
    {
      op: "makeDirectory",
      by: "init",
      path: `${stage}/${upper}`,
      mode: 0o755,
      like: source,
      because: "what the container writes; its mode and owner are those that / will show",
    },
    {
      op: "makeDirectory",
      by: "init",
      path: `${stage}/${work}`,
      mode: 0o755,
      because: "the overlay prepares files here before they appear",
    },
    ...(suffix === ""
      ? [
          {
            op: "makeDirectory",
            by: "init",
            path: `${stage}/root`,
            mode: 0o755,
            because: "where the overlay is mounted",
          } as const,
        ]
      : []),
    {
      // In a user namespace mounts from outside are locked to each other: only the whole tree may be bound.
      op: "bind",
      by: "init",
      source,
      target: `${stage}/${lower}`,
      recursive: unprivileged,
      field: "root.path",
      because: "gives the lower layer a short name, so that `mount` inside shows no path of the machine",
    },
    { op: "changeDirectory", by: "init", path: stage, because: "the layers are named relative to here" },
    {
      op: "mount",
      by: "init",
      source: "overlay",
      target,
      fstype: "overlay",
      flags: [],
      data: `lowerdir=${lower},upperdir=${upper},workdir=${work}${unprivileged ? ",userxattr" : ""}`,
      field: "root.path",
      because: "copy-on-write: reads come from the lower layer, writes go to the upper one",
    },
  ];
}

function planBind(config: Config, _host: Host, stage: string): Made {
  return {
    steps: [
      {
        op: "bind",
        by: "init",
        source: config.root.path,
        target: stage,
        recursive: true,
        field: "root.path",
        because: "pivot_root wants a mount point, and a bind mount makes one of any directory",
      },
    ],
    root: stage,
  };
}

function planCopy(config: Config, _host: Host, stage: string): Made {
  return {
    steps: [
      stageTmpfs(config, stage, "the whole root lives in memory, limited to this size"),
      {
        op: "copyTree",
        by: "init",
        source: config.root.path,
        target: stage,
        field: "root.path",
        because: "the container gets files of its own; the directory it came from is not touched",
      },
    ],
    root: stage,
  };
}

function stageTmpfs(config: Config, stage: string, because: string): InitStep {
  const size = Number(config.annotations?.[ANNOTATION.rootSize] ?? DEFAULT_SIZE_BYTES);
  return {
    op: "mount",
    by: "init",
    source: "tmpfs",
    target: stage,
    fstype: "tmpfs",
    flags: [],
    data: `mode=755,size=${size}`,
    field: `annotations["${ANNOTATION.rootSize}"]`,
    because,
  };
}

/** Filesystems with files, mounted below a root. The machine's own /run, /tmp … as tmpfs are not part of its root. */
function mountsBelow(root: string, mountinfo: string): HostMount[] {
  const last = new Map<string, HostMount>();
  for (const mount of mountsUnder(root === "/" ? "/" : `${root}/`, mountinfo)) {
    if (mount.mountPoint !== root) last.set(mount.mountPoint, mount);
  }
  return [...last.values()].filter(
    ({ fstype, mountPoint }) =>
      !KERNEL_FILESYSTEMS.has(fstype) &&
      !(root === "/" && (fstype === "tmpfs" || /^\/(dev|proc|sys|run)(\/|$)/.test(mountPoint))),
  );
}
