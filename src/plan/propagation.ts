/**
 * How mounts of the container and of the machine spread to each other: `linux.rootfsPropagation` and the propagation
 * among a mount's options. mount_namespaces(7), "Shared subtrees".
 *
 * As under runc, a mount namespace begins with what rootfsPropagation makes of the machine's mounts, `rslave` when it is
 * not set: what the machine mounts below a bind mount's source shows inside, what the container mounts does not show
 * outside. A mount's own options change that, in their order.
 */
import { ContainerError } from "../error.ts";
import type { Config } from "../spec/config.ts";
import type { MountOptions } from "./mount-options.ts";
import type { InitStep } from "./step.ts";

/** What the machine's mounts become in the container's namespace. */
export function inheritedPropagation(rootfsPropagation: string | undefined): "rslave" | "rprivate" | undefined {
  switch (rootfsPropagation) {
    case undefined:
    case "":
    case "slave":
    case "rslave":
      return "rslave";
    case "shared":
    case "rshared":
      return undefined;
    default:
      return "rprivate";
  }
}

/** What a taken tree becomes, and what is left to do once it is in place. */
export function planPropagation(
  { propagation, recursiveBind }: Pick<MountOptions, "propagation" | "recursiveBind">,
  rootfsPropagation: string | undefined,
): { taken: string | undefined; later: string[] } {
  const inherited = inheritedPropagation(rootfsPropagation);
  const [first, ...rest] = propagation;
  // Of a single mount `slave` and `rslave` are the same.
  const covers = (mode: string) => first === mode || (!recursiveBind && first === mode.slice(1));
  if (covers("rprivate")) return { taken: "rprivate", later: rest };
  if (covers("rslave")) return { taken: inherited ?? "rslave", later: rest };
  return { taken: inherited, later: propagation };
}

/** The propagation that the options of the mount at `target` say. */
export const spread = (modes: readonly string[], target: string, field: string): InitStep[] =>
  modes.map((mode) => ({
    op: "propagation",
    by: "init",
    target,
    mode,
    field: `${field}.options`,
    because: "the config says how mounts below it spread",
  }));

/**
 * rootfsPropagation of the container's own root. Only at the end: mounts made under a shared one would be shared too, and
 * pivot_root refuses a shared root.
 */
export function planRootPropagation({ linux: { rootfsPropagation } }: Config): InitStep[] {
  if (rootfsPropagation === undefined || !/^r?(shared|unbindable)$/.test(rootfsPropagation)) return [];
  return [
    {
      op: "propagation",
      by: "init",
      target: "/",
      mode: rootfsPropagation,
      field: "linux.rootfsPropagation",
      because: "the config says how mounts of the container's root spread",
    },
  ];
}

/** Throws a {@link ContainerError} for a word that is none of the eight. */
export function checkRootPropagation({ linux: { rootfsPropagation } }: Config): void {
  if (rootfsPropagation === undefined || /^(r?(private|slave|shared|unbindable))?$/.test(rootfsPropagation)) return;
  throw new ContainerError("BAD_PROPAGATION", `rootfsPropagation "${rootfsPropagation}" is not a propagation`, {
    field: "linux.rootfsPropagation",
    hint: "private, slave, shared, unbindable, or one of them with r before it for all mounts below",
  });
}
