/**
 * `planMountsAdd`, `planMountsRemove`: mounts that a running container gets, or loses. crun(8), "mounts"; the specification
 * knows nothing of them.
 *
 * The container runs, and may be hostile: what it gets is taken in the machine's view with all its flags, before the process
 * that places it sees anything of the container; the place is found in the container's root, past no magic link, and held
 * open from then on. A place of this kind may move, so what was added is known by the number of its mount.
 */
import { ContainerError } from "../error.ts";
import type { Config, Mount } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { planMounts } from "./mounts.ts";
import { isNew, isolates, otherUser } from "./namespaces.ts";
import { CONTAINER } from "./plan-exec.ts";
import { cleanPath } from "./proc-files.ts";
import type { InitStep, ParentStep, Plan, Slot } from "./step.ts";

/** The machine's /proc, by which a mount that is known as a descriptor can be taken away. */
export const MACHINE_PROC: Slot = { slot: "proc" };

/** A mount that was added, as it is on record. */
export interface AddedMount {
  /** Clean and absolute. */
  target: string;
  /** As statx(2) says it: of this boot where the kernel can (6.8), else of this moment. */
  mountId: string;
  /** Placing it, or taking it away, was begun, and nobody knows whether it was done. */
  unsure?: true;
}

/** These show the namespaces of who makes them, or belong to what the container was made with. */
const NOT_LIVE: ReadonlySet<string> = new Set(["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"]);

/** `mounts` are placed in their order, all of them or none. Throws MOUNT_NOT_LIVE, and what mounts of a config are refused with. */
export function planMountsAdd(config: Config, host: Host, id: string, mounts: readonly Mount[]): Plan {
  const { sysctl: _, ...linux } = config.linux;
  const live = planMounts({ ...config, mounts: mounts.map(checked), linux }, host, []);
  const take: InitStep[] = [];
  const takeInside: InitStep[] = [];
  const place: InitStep[] = [];
  for (const step of live.take) {
    const isWhole = step.op === "takeFilesystem" || (step.op === "takeTree" && step.link !== "copied");
    if (!isWhole) throw notLive(step.field, "a symbolic link cannot be made anew in a running container");
    take.push(step);
  }
  for (const step of live.place) {
    const field = step.field ?? "mounts";
    const because = "the place is opened in the container's root, past no magic link, and mounted on by descriptor";
    if (step.op === "placeTree" && !step.proc) {
      const { tree, target, nofollow } = step;
      place.push({ op: "placeInside", by: "init", tree, target, ...(nofollow ? { nofollow } : {}), field, because });
    } else if (step.op === "mount" && step.like !== "copy" && !step.flags.includes("remount")) {
      const { source, fstype, data, target, idMap } = step;
      const sealed = live.seal.some((seal) => seal.op === "setMountFlags" && seal.target === target);
      const tree = { slot: `filesystem.${place.length}` };
      // A tmpfs belongs to whoever makes it; others name devices and files of the machine.
      (fstype === "tmpfs" && idMap === undefined ? takeInside : take).push({
        op: "takeFilesystem",
        by: "init",
        source,
        fstype,
        flags: sealed ? [...step.flags, "ro"] : step.flags,
        data,
        tree,
        ...(idMap === undefined ? {} : { idMap }),
        field,
        because: "it is made with all its flags before anything can be done in it",
      });
      place.push({ op: "placeInside", by: "init", tree, target, field, because });
    } else throw notLive(field, "options that change a mount which is there already are for a container that is made");
  }
  return planInside(config, id, { before: live.before, take, act: [...takeInside, ...place] });
}

/** `mounts`: what was added, in the order in which it goes. `fields`: the field that names each. */
export function planMountsRemove(
  config: Config,
  id: string,
  mounts: readonly (AddedMount & { field: string })[],
): Plan {
  const step: InitStep = {
    op: "unmountInside",
    by: "init",
    mounts: [...mounts],
    because: "each is opened and looked at before the first one goes",
  };
  return planInside(config, id, { before: [], take: [], act: [step] });
}

function checked(mount: Mount, index: number): Mount {
  if (mount.type !== undefined && NOT_LIVE.has(mount.type) && !/^r?bind$/m.test((mount.options ?? []).join("\n")))
    throw notLive(`mounts[${index}].type`, `a filesystem of type ${mount.type} cannot be given to a running container`);
  return mount;
}

const notLive = (field: string | undefined, message: string): ContainerError =>
  new ContainerError("MOUNT_NOT_LIVE", message, {
    ...(field === undefined ? {} : { field }),
    hint: "bind mounts, tmpfs and filesystems on devices can; the others belong into config.json",
  });

interface Inside {
  /** What only the parent may take. */
  before: readonly ParentStep[];
  /** In the machine's view. */
  take: readonly InitStep[];
  /** In the container. */
  act: readonly InitStep[];
}

/** A process that goes into the container's mount namespace, does this, and ends. */
function planInside(config: Config, id: string, { before, take, act }: Inside): Plan {
  if (!isNew(config, "mount"))
    throw new ContainerError("MOUNT_NAMESPACE_SHARED", "the container has no mount namespace of its own", {
      field: "linux.namespaces",
      hint: "its root is mounted nowhere, and nothing can be mounted there; give it a mount namespace of its own",
    });
  const withUser = isolates(config, "user");
  const clone: ParentStep = {
    op: "clone",
    by: "parent",
    namespaces: [],
    pid: { slot: "init.pid" },
    sharedMemory: false,
    because:
      "the process that goes into the container; it shares no memory with us, because the container may look into it",
  };
  const init: InitStep[] = [
    { op: "parentDeathSignal", by: "init", signal: "SIGKILL", because: "what is half made must not outlive its maker" },
    { op: "refuseTracing", by: "init", because: "from here on processes of the container can see this one" },
    ...take,
    { op: "takeProc", by: "init", proc: MACHINE_PROC, because: "what is placed can be taken away again by descriptor" },
    {
      op: "joinProcess",
      by: "init",
      process: CONTAINER,
      namespaces: withUser ? ["user", "mount"] : ["mount"],
      because: "the container's mounts are those of its mount namespace",
    },
    ...(withUser
      ? ([
          {
            op: "setUser",
            by: "init",
            uid: 0,
            gid: 0,
            groups: undefined,
            ...otherUser(config),
            because: "only an id that the user namespace maps can own what is made in it",
          },
          { op: "parentDeathSignal", by: "init", signal: "SIGKILL", because: "changing ids cleared it" },
        ] as const)
      : []),
    ...act,
    { op: "reportPlaced", by: "init", because: "what was added is put on record, so that it can be removed" },
  ];
  return { id, steps: [...before, clone, ...init], cleanup: { cgroups: [] }, warnings: [] };
}

/** For each wanted destination the latest mount that was added there. Throws MOUNT_NOT_ADDED. */
export function findAdded(added: readonly AddedMount[], mounts: readonly Mount[]): (AddedMount & { field: string })[] {
  const left = [...added];
  return mounts.map(({ destination }, index) => {
    const target = cleanPath(destination);
    const field = `mounts[${index}].destination`;
    const at = left.findLastIndex((mount) => mount.target === target);
    const [found] = at < 0 ? [] : left.splice(at, 1);
    if (found !== undefined) return { ...found, field };
    throw new ContainerError("MOUNT_NOT_ADDED", `no mount was added at ${target}`, {
      field,
      hint: "`mounts remove` takes away what `mounts add` has placed, not what the config asked for",
    });
  });
}
