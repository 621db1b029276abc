/**
 * `hooks` of create and start (config.md, "POSIX-platform Hooks"). Those of create want to see the finished mounts below the
 * rootfs while the machine's files are still in sight, "before pivot_root". The view is made after pivot_root, where no
 * link of the rootfs can lead outside; so with such hooks it is made in a copy of the mount namespace, taken as one
 * tree, and put over the rootfs in the namespace where the machine can be seen.
 *
 * A container that shares its mount namespace has its view made in the same way, and enters the tree without it being put
 * anywhere: nobody else sees its mounts, its hooks included, and none is left when it ends.
 */
import type { Config } from "../spec/config.ts";
import type { HookName } from "../spec/names.ts";
import { commandEnvironment } from "./environment.ts";
import { namespaceOf } from "./namespaces.ts";
import { enterRoot } from "./rootfs.ts";
import type { HookOutput, HookState, InitStep, ParentStep } from "./step.ts";

/** crun's annotations for files that hooks write to. */
export const HOOK_FILES = { stdout: "run.oci.hooks.stdout", stderr: "run.oci.hooks.stderr" } as const;

export type HookStream = keyof typeof HOOK_FILES;

/** The state that hooks get, as far as it is known before there is a process. */
export function hookState({ ociVersion, annotations }: Config, id: string, bundle: string): HookState {
  return { ociVersion, id, bundle, ...(annotations === undefined ? {} : { annotations }) };
}

/** The slots of what is open before the clone. */
export function hookOutput({ annotations }: Config): HookOutput {
  const has = (stream: HookStream) => (annotations?.[HOOK_FILES[stream]] ?? "") !== "";
  return {
    ...(has("stdout") ? { stdout: { slot: "hooks.stdout" } } : {}),
    ...(has("stderr") ? { stderr: { slot: "hooks.stderr" } } : {}),
  };
}

interface HooksPlan {
  /** prestart and createRuntime. */
  byParent: ParentStep[];
  /** Before anything is taken. */
  first: InitStep[];
  /** Before the root is made. */
  setAside: InitStep[];
  /** Once the view is finished. */
  beforeEntering: InitStep[];
}

/** `shared`: the mount namespace is not the container's own, see {@link sharesMounts}. */
export function planHooks(
  config: Config,
  state: HookState,
  { noPivot, shared }: { noPivot: boolean; shared: boolean },
): HooksPlan {
  const { prestart = [], createRuntime = [], createContainer = [] } = config.hooks ?? {};
  if (!shared && prestart.length + createRuntime.length + createContainer.length === 0)
    return { byParent: [], first: [], setAside: [], beforeEntering: [] };
  const original = { slot: "namespace.original" };
  const tree = { slot: "tree.view" };
  const byParent = (["prestart", "createRuntime"] as const).flatMap((kind): ParentStep[] => {
    const hooks = config.hooks?.[kind] ?? [];
    return hooks.length === 0
      ? []
      : [{ op: "runHooks", by: "parent", kind, hooks, state, ...outputOf(config), ...why(kind) }];
  });
  const root = config.root.path;
  const copy: InitStep = {
    op: "copyMountNamespace",
    by: "init",
    original,
    field: shared ? "linux.namespaces" : "hooks",
    because: shared
      ? "the mount namespace is shared with others: the container's mounts are made in a copy and never show there"
      : "hooks must find the container's mounts while the machine's files are in sight: those are kept aside",
  };
  const takeBack: InitStep = {
    op: "takeViewBack",
    by: "init",
    original,
    tree,
    field: shared ? "linux.namespaces" : "hooks",
    because: shared
      ? "the config wants this mount namespace and no other"
      : "the finished view goes to where the machine's files are in sight",
  };
  const run: InitStep[] = [
    ...(byParent.length === 0
      ? []
      : [
          {
            op: "awaitHooks",
            by: "init",
            field: "hooks",
            because: "these hooks run in the machine's namespaces",
          } as const,
        ]),
    ...(createContainer.length === 0
      ? []
      : [
          {
            op: "changeDirectory",
            by: "init",
            path: root,
            field: "hooks.createContainer",
            because: "these hooks start in the root filesystem, as under runc",
          } as const,
        ]),
    ...hooksInside(config, "createContainer", state),
  ];
  if (shared) {
    const [mount] = config.mounts ?? [];
    const enter: InitStep = {
      op: "enterTree",
      by: "init",
      tree,
      ...(mount === undefined ? {} : { mount: mount.destination }),
      field: "linux.namespaces",
      because: "pivot_root would change the root of all that share the mount namespace",
    };
    return {
      byParent,
      first: [...returnToBundle(config, state), copy],
      setAside: [],
      beforeEntering: [takeBack, ...run, enter],
    };
  }
  const place: InitStep = {
    op: "placeTree",
    by: "init",
    tree,
    target: root,
    field: "hooks",
    because: "hooks look below root.path",
  };
  return {
    byParent,
    first: [],
    setAside: [copy],
    beforeEntering: [takeBack, place, ...run, ...enterRoot(root, noPivot)],
  };
}

/** Whoever joins a mount namespace is at its root, and relative sources are the bundle's. setns(2) */
function returnToBundle(config: Config, { bundle }: HookState): InitStep[] {
  if (namespaceOf(config, "mount") === undefined) return [];
  return [{ op: "changeDirectory", by: "init", path: bundle, because: "sources of bind mounts may be relative to it" }];
}

/** The hooks that the init process runs, in the container's namespaces. */
export function hooksInside(config: Config, kind: "createContainer" | "startContainer", state: HookState): InitStep[] {
  const { hooks, process } = config;
  const wanted = hooks?.[kind] ?? [];
  if (wanted.length === 0) return [];
  // The specification leaves open what a hook without `env` has: what the runtime has, and under runc those inside what the
  // command has.
  const inherited = kind === "startContainer" ? { inherited: commandEnvironment(process) } : {};
  return [{ op: "runHooks", by: "init", kind, hooks: wanted, state, ...inherited, ...outputOf(config), ...why(kind) }];
}

function outputOf(config: Config): { output?: HookOutput } {
  const output = hookOutput(config);
  return output.stdout === undefined && output.stderr === undefined ? {} : { output };
}

const BECAUSE: Readonly<Record<HookName, string>> = {
  prestart: "the old name of createRuntime: programs that prepare the machine's side, its network for one",
  createRuntime: "programs that prepare the machine's side, its network for one",
  createContainer: "programs that prepare the container's side, before its root is entered",
  startContainer: "programs inside the container, just before the command",
  poststart: "programs to be told that the command runs",
  poststop: "programs to be told that the container is gone",
};

const why = (kind: HookName): { field: string; because: string } => ({
  field: `hooks.${kind}`,
  because: BECAUSE[kind],
});
