/**
 * The root filesystem: a copy-on-write view (`overlay`), the directory itself (`bind`) or a copy in memory (`copy`),
 * and pivot_root into it.
 *
 * Everything is mounted on the container's state directory, or on the rootfs itself, in the container's own mount
 * namespace: the machine never sees it, and no directory is made in the rootfs.
 */
import { ANNOTATION, type Config } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { isNew, isolates, namespaceOf } from "./namespaces.ts";
import { planOverlay } from "./overlay.ts";
import { checkRootPropagation, inheritedPropagation } from "./propagation.ts";
import type { InitStep, ParentStep, Slot } from "./step.ts";

const DEFAULT_SIZE_BYTES = 500 * 1024 * 1024;

/** Whether the root of this config is a copy-on-write view, a bind mount or a copy, from {@link ANNOTATION}. */
export function rootKind(config: Pick<Config, "annotations">): "overlay" | "bind" | "copy" {
  const kind = config.annotations?.[ANNOTATION.rootKind];
  return kind === "overlay" || kind === "copy" ? kind : "bind";
}

interface RootfsPlan {
  /** Before all that is taken of the machine. */
  take: InitStep[];
  /** By the parent, once the user namespace has its maps. */
  afterClone: ParentStep[];
  /** First of all: what is mounted from here on stays in the container's namespace. */
  cutTies: InitStep;
  prepare: InitStep[];
  /** Where the root stands before {@link enterRoot}. */
  root: string;
}

/** A root made of steps, and where it stands before pivot_root. */
export interface MadeRoot {
  take?: InitStep[];
  afterClone?: ParentStep[];
  steps: InitStep[];
  root: string;
}

/** `apart`: the root is made before it is placed, as the mounts in it are; see mount-order.ts. */
export function planRootfs(config: Config, host: Host, stage: string, apart = false): RootfsPlan {
  checkRootPropagation(config);
  const kind = rootKind(config);
  const cutTies: InitStep = {
    op: "propagation",
    by: "init",
    target: "/",
    mode: tiesCut(config),
    ...(config.linux.rootfsPropagation === undefined ? {} : { field: "linux.rootfsPropagation" }),
    because: "mounts made here must not spread to the machine, and pivot_root refuses a shared parent",
  };
  const make = { overlay: planOverlay, bind: planBind, copy: planCopy }[kind];
  const { steps, root, take = [], afterClone = [] } = make(config, host, stage, apart);
  return { take, afterClone, cutTies, prepare: steps, root };
}

const tiesCut = (config: Config): string => inheritedPropagation(config.linux.rootfsPropagation) ?? "rslave";

/** pivot_root into a mounted directory, and the old root away; with `noPivot` it is moved onto the old one. */
export function enterRoot(root: string, noPivot = false): InitStep[] {
  if (noPivot)
    return [
      {
        op: "moveRoot",
        by: "init",
        root,
        because: "pivot_root is not wanted: the machine's root may be one that it refuses, as that of an initramfs",
      },
    ];
  return [
    { op: "changeDirectory", by: "init", path: root, because: "pivot_root is called from inside the new root" },
    {
      op: "pivotRoot",
      by: "init",
      newRoot: ".",
      putOld: ".",
      because:
        "the new root becomes /, and the old one is stacked on it: no directory for it is needed, and unlike chroot it can be left for good",
    },
    {
      // At once: while the old root lies on the new one, `..` at the root leads up into it.
      op: "detach",
      by: "init",
      target: ".",
      because: "the old root is stacked on the new one: before any path of the rootfs is followed, it must be gone",
    },
  ];
}

/** A mount that lies on the root becomes it: `..` at the root leads up into what is mounted on it. */
export const enterCover = (noPivot: boolean): InitStep[] =>
  noPivot
    ? [
        {
          op: "moveRoot",
          by: "init",
          root: COVER,
          there: true,
          because: "what lies on the root is the root from here on",
        },
      ]
    : enterRoot(COVER);

/** The mount that lies on the root. */
export const COVER = "/..";

function planBind(config: Config, _host: Host, stateDirectory: string, apart: boolean): MadeRoot {
  const { rootfsPropagation } = config.linux;
  // Root of a user namespace may not reach the state directory: Docker's with --userns-remap lies in one of mode 0700. In a
  // mount namespace that is joined it may not be there.
  const elsewhere = isolates(config, "user") || namespaceOf(config, "mount")?.path !== undefined;
  const stage = elsewhere && config.root.path !== "/" ? config.root.path : stateDirectory;
  const tree = { slot: "root" };
  const take: InitStep = {
    op: "takeTree",
    by: "init",
    source: config.root.path,
    recursive: true,
    flags: [],
    recursiveFlags: [],
    propagation: tiesCut(config),
    tree,
    field: "root.path",
    because: "the root is made before the mounts in it: mounts are listed in the order in which they were made",
  };
  return {
    take: apart ? [take] : [],
    steps: [
      {
        op: "bind",
        by: "init",
        source: config.root.path,
        target: stage,
        recursive: true,
        ...(apart ? { tree } : {}),
        field: "root.path",
        because: "pivot_root wants a mount point, and a bind mount makes one of any directory",
      },
      // As under runc: what is mounted below follows the machine, the root itself only where the config says so.
      ...(/private$|slave$/.test(rootfsPropagation ?? "")
        ? []
        : [
            {
              op: "propagation",
              by: "init",
              target: stage,
              mode: "private",
              because: "what the machine mounts into this directory later is not the container's",
            } as const,
          ]),
    ],
    root: stage,
  };
}

function planCopy(config: Config, host: Host, stage: string): MadeRoot {
  const source = config.root.path;
  // Owners must be read through the id map: a mapped view of ROOT covers it, in the container's own mount namespace.
  const mapped = isNew(config, "user") && mapsOwners(host) && source !== "/" ? { slot: "root" } : undefined;
  return {
    afterClone: mapped === undefined ? [] : [takeMapped(source, mapped)],
    steps: [
      ...(mapped === undefined
        ? []
        : [
            {
              op: "bind",
              by: "init",
              source,
              target: source,
              recursive: false,
              tree: mapped,
              field: "root.path",
              because: "its files are read with the owners that the container is to see",
            } as const,
          ]),
      stageTmpfs(config, stage, "the whole root lives in memory, limited to this size"),
      {
        op: "copyTree",
        by: "init",
        source,
        target: stage,
        field: "root.path",
        because: "the container gets files of its own; the directory it came from is not touched",
      },
    ],
    root: stage,
  };
}

/** Id-mapped mounts: Linux 5.12, under an overlay 5.19, and only the machine's root may map. */
export const mapsOwners = ({ privileged, kernel: [major, minor] }: Host): boolean =>
  privileged && (major > 5 || (major === 5 && minor >= 19));

export function takeMapped(source: string, tree: Slot): ParentStep {
  return {
    op: "takeMappedTree",
    by: "parent",
    source,
    pid: { slot: "init.pid" },
    tree,
    field: "linux.uidMappings",
    because: "files of root are to be files of the container's root; only root may map that",
  };
}

/** The tmpfs that holds what the container writes, mounted on the container's state directory. */
export function stageTmpfs(config: Config, stage: string, because: string): InitStep {
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
