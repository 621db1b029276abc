/** Bind mounts of the config: how their sources are taken, by whom, and how they are placed. mount_setattr(2), open_tree(2). */
import { ContainerError } from "../error.ts";
import { didYouMean } from "../nearest.ts";
import { MOUNT_OPTIONS } from "../spec/names.ts";
import { planIdMap } from "./id-mapped-mounts.ts";
import { BY_PARENT, IN_PLACE, IN_SIGHT, NOT_AGAIN } from "./mount-order.ts";
import type { MountsPlan, Request } from "./mounts.ts";
import { isolates } from "./namespaces.ts";
import { cleanPath } from "./proc-files.ts";
import { planPropagation, spread } from "./propagation.ts";
import type { InitStep, Slot, TakenTree } from "./step.ts";

export interface HowTaken {
  how: Omit<TakenTree, "source" | "tree">;
  /** The same, where that is all there is to it, as nearly always. */
  plain: PlainlyTaken | undefined;
  /** Propagation that is set in its place. */
  later: string[];
}

type PlainlyTaken = Required<Pick<TakenTree, "recursive" | "flags" | "recursiveFlags" | "propagation">>;

/** A bind mount: its source is taken, with its flags changed, and placed. */
export function bind(request: Request, plan: MountsPlan, bundle: string | undefined): void {
  const { mount, options, target, index, order } = request;
  const { source } = mount;
  if (source === undefined)
    throw new ContainerError("MOUNT_SOURCE_NEEDED", `the bind mount on ${target} has no source`, {
      field: `${request.field}.source`,
    });
  const { how, plain, later } = howTaken(request);
  const inView = bundle === undefined ? undefined : placeInView(request, source, bundle);
  const idMap = planIdMap(request);
  const tree = { slot: `tree.${index}` };
  if (inView !== undefined)
    plan.place.push({
      op: "takeTree",
      by: "init",
      source: inView,
      ...how,
      tree,
      inside: true,
      ...(idMap === undefined ? {} : { idMap }),
      field: `mounts[${index}].source`,
      because: "the source lies below the root filesystem, and an earlier mount of the config makes it what it is",
    });
  else if (idMap === undefined) plan.take.push(takeSource(source, how, plain, tree, `mounts[${index}].source`));
  else
    plan.before.push({
      op: "takeIdMappedTree",
      by: "parent",
      source,
      ...how,
      tree,
      ...idMap,
      field: request.field,
      because: "the mount shows files under other owners than they have, and only root of the machine may map that",
    });
  const again = order.next(inView !== undefined ? IN_PLACE : idMap === undefined ? IN_SIGHT : BY_PARENT);
  const field = `mounts[${index}].destination`;
  const because = `shows ${source} of the machine at ${target}`;
  if (again === NOT_AGAIN && !options.destNofollow && target !== "/proc")
    plan.place.push({ op: "placeTree", by: "init", tree, target, field, because });
  else
    plan.place.push({
      op: "placeTree",
      by: "init",
      tree,
      target,
      ...(options.destNofollow ? { nofollow: true } : {}),
      ...(target === "/proc" ? { proc: true } : {}),
      ...again,
      field,
      because,
    });
  if (later.length > 0) plan.place.push(...spread(later, target, request.field));
}

/** A literal costs a third of what a copy of `how` does. */
function takeSource(
  source: string,
  how: HowTaken["how"],
  plain: PlainlyTaken | undefined,
  tree: Slot,
  field: string,
): InitStep {
  const because = "the source is a path of the machine: it is taken while the machine's files are in sight";
  if (plain === undefined) return { op: "takeTree", by: "init", source, ...how, tree, field, because };
  const { recursive, flags, recursiveFlags, propagation } = plain;
  return { op: "takeTree", by: "init", source, recursive, flags, recursiveFlags, propagation, tree, field, because };
}

/** What the options of a bind mount say of its tree, and of how it spreads once it is in place. */
function howTaken(request: Request): HowTaken {
  const { options, view } = request;
  const known = view.howTaken.get(options);
  if (known !== undefined) return known;
  const { config, host, field } = request;
  const meaningless = options.copyUp ? "tmpcopyup" : unknownWord(options.data);
  if (meaningless !== undefined)
    throw new ContainerError(
      "BAD_MOUNT_OPTION",
      `a bind mount takes no option ${meaningless}: it is no filesystem of its own`,
      {
        field: `${field}.options`,
        hint: didYouMean(meaningless, MOUNT_OPTIONS) ?? "options of a filesystem belong to the mount that made it",
      },
    );
  if (options.copySymlink && (options.srcNofollow || options.destNofollow))
    throw new ContainerError("BAD_MOUNT_OPTION", "copy-symlink cannot go together with src-nofollow or dest-nofollow", {
      field: `${field}.options`,
    });
  const { taken, later } = planPropagation(options, config.linux.rootfsPropagation);
  const { recursiveBind: recursive, flags, clear, recursiveFlags, recursiveClear, srcNofollow, copySymlink } = options;
  const outside = !recursive && host.privileged && isolates(config, "user");
  const isPlain = clear.length + recursiveClear.length === 0 && !srcNofollow && !copySymlink && !outside;
  const made: HowTaken = {
    how: {
      recursive,
      flags,
      ...(clear.length === 0 ? {} : { clear }),
      recursiveFlags,
      ...(recursiveClear.length === 0 ? {} : { recursiveClear }),
      ...(taken === undefined ? {} : { propagation: taken }),
      ...(srcNofollow ? { link: "bound" } : copySymlink ? { link: "copied" } : {}),
      ...(outside ? { outside } : {}),
    },
    plain: isPlain && taken !== undefined ? { recursive, flags, recursiveFlags, propagation: taken } : undefined,
    later,
  };
  view.howTaken.set(options, made);
  return made;
}

/**
 * Where in the container a source is that lies below the root filesystem, if an earlier mount of the config covers it or, for a
 * recursive bind, stands in it. There links can lead to nothing but the container's own, whoever made them.
 */
function placeInView(request: Request, named: string, bundle: string): string | undefined {
  const { config, options, index, view } = request;
  const source = cleanPath(named.startsWith("/") ? named : `${bundle}/${named}`);
  if (!source.startsWith(view.root)) return undefined;
  const inside = source.slice(view.root.length - 1);
  // Each mount is looked at once, however many ask: configs may have ten thousand.
  for (; view.seen < index; view.seen++) {
    const target = cleanPath(config.mounts?.[view.seen]?.destination ?? "/");
    view.targets.add(target);
    for (const path of aboveOrAt(target)) view.above.add(path);
  }
  const isMade = view.targets.has("/") || aboveOrAt(inside).some((path) => view.targets.has(path));
  return isMade || (options.recursiveBind && view.above.has(inside)) ? inside : undefined;
}

/** `/a/b`: `/a/b`, `/a` */
function aboveOrAt(path: string): string[] {
  const paths: string[] = [];
  for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) paths.push(path.slice(0, at));
  return paths;
}

/**
 * The kernel ignores what a bind mount cannot take, and configs have `mode=` and `size=` there, which runc and crun let pass.
 * A word without a value may be a misspelt flag.
 */
const unknownWord = (data: string): string | undefined =>
  data.split(",").find((word) => word !== "" && !word.includes("="));
