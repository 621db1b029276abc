/**
 * `hooks` of create and start (config.md, "POSIX-platform Hooks"). Those of create want to see the finished mounts below the
 * rootfs while the machine's files are still in sight, "before pivot_root". The view is made after pivot_root, where no
 * link of the rootfs can lead outside; so with such hooks it is made in a copy of the mount namespace, taken as one
 * tree, and put over the rootfs in the namespace where the machine can be seen.
 */
import type { Config } from "../spec/config.ts";
import type { HookName } from "../spec/names.ts";
import { commandEnvironment } from "./environment.ts";
import { enterRoot } from "./rootfs.ts";
import type { HookState, InitStep, ParentStep } from "./step.ts";

/** The state that hooks get, as far as it is known before there is a process. */
export function hookState({ ociVersion, annotations }: Config, id: string, bundle: string): HookState {
  return { ociVersion, id, bundle, ...(annotations === undefined ? {} : { annotations }) };
}

interface HooksPlan {
  /** prestart and createRuntime. */
  byParent: ParentStep[];
  /** Before the root is made. */
  setAside: InitStep[];
  /** Once the view is finished. */
  beforeEntering: InitStep[];
}

export function planHooks(config: Config, state: HookState, noPivot: boolean): HooksPlan {
  const { prestart = [], createRuntime = [], createContainer = [] } = config.hooks ?? {};
  if (prestart.length + createRuntime.length + createContainer.length === 0)
    return { byParent: [], setAside: [], beforeEntering: [] };
  const original = { slot: "namespace.original" };
  const tree = { slot: "tree.view" };
  const byParent = (["prestart", "createRuntime"] as const).flatMap((kind): ParentStep[] => {
    const hooks = config.hooks?.[kind] ?? [];
    return hooks.length === 0 ? [] : [{ op: "runHooks", by: "parent", kind, hooks, state, ...why(kind) }];
  });
  const root = config.root.path;
  return {
    byParent,
    setAside: [
      {
        op: "copyMountNamespace",
        by: "init",
        original,
        field: "hooks",
        because: "hooks must find the container's mounts while the machine's files are in sight: those are kept aside",
      },
    ],
    beforeEntering: [
      {
        op: "takeViewBack",
        by: "init",
        original,
        tree,
        field: "hooks",
        because: "the finished view goes to where the machine's files are in sight",
      },
      { op: "placeTree", by: "init", tree, target: root, field: "hooks", because: "hooks look below root.path" },
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
      ...enterRoot(root, noPivot),
    ],
  };
}

/** The hooks that the init process runs, in the container's namespaces. */
export function hooksInside(
  { hooks, process }: Config,
  kind: "createContainer" | "startContainer",
  state: HookState,
): InitStep[] {
  const wanted = hooks?.[kind] ?? [];
  if (wanted.length === 0) return [];
  // The specification leaves open what a hook without `env` has; under runc those inside have what the command has.
  const inherited = kind === "startContainer" ? { inherited: commandEnvironment(process) } : {};
  return [{ op: "runHooks", by: "init", kind, hooks: wanted, state, ...inherited, ...why(kind) }];
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
