/**
 * `planExec`: one more process in a running container. It takes the container's namespaces and control groups as they
 * are, and gets privileges as if it had been the first.
 */

import type { Config, NamespaceType } from "../spec/config.ts";
import { since } from "./cgroup/request.ts";
import type { Host } from "./host.ts";
import { planKeyring, planLabels } from "./labels.ts";
import { isolates, namespaceOf, otherUser, sharesMounts } from "./namespaces.ts";
import { planPrivileges } from "./process.ts";
import { planResctrl } from "./resctrl.ts";
import { planEveryCpu, planOomScore, planRlimits, planScheduling, UNTRACEABLE } from "./scheduling.ts";
import type { SeccompFilter } from "./seccomp/profile-program.ts";
import type { InitStep, ParentStep, Plan } from "./step.ts";

/** The slot that the caller fills: a pidfd of the container's init process. */
export const CONTAINER = { slot: "container.pidfd" } as const;

/** And this where the container {@link sharesMounts}: its root. */
export const CONTAINER_ROOT = { slot: "container.root" } as const;

const INSIDE: readonly NamespaceType[] = ["ipc", "uts", "network", "cgroup", "time", "mount"];

/**
 * Where the config names a file, such a namespace may belong to another user namespace than the container's, and then only
 * who is not in there yet can join it.
 */
const BESIDE: readonly NamespaceType[] = ["ipc", "uts", "network"];

const ATTACHED = "the container's limits are for all its processes, and systemd may move this one where we may not";

export interface ExecOptions {
  newKeyring?: boolean;
  /** Without `process.execCPUAffinity`: on all processors of the group, whatever those of the caller are. */
  everyCpu?: boolean;
  /** How many descriptors from 3 up the command keeps. */
  preservedFds?: number;
  /** The command lives on when the one that started it is gone, as under runc and crun. */
  outlivesCaller?: boolean;
  /** Lines of its terminal end with \n alone: see {@link PlanOptions.plainNewlines}. */
  plainNewlines?: boolean;
  /** What the profile of the config becomes, where the caller has it already. */
  filter?: SeccompFilter;
  /** The unit of systemd, and the group below it, where the kernel lets the caller put no process into the container's group. */
  attach?: { unit: string; below: string } | undefined;
  /** What cpuset.mems of the v2 group says, where it may differ from the config. */
  memoryNodes?: string | undefined;
}

/** `config` is the container's, with the process to execute in place of its own. */
export function planExec(
  config: Config,
  host: Host,
  id: string,
  cgroups: readonly { controller: string; path: string }[],
  {
    newKeyring = true,
    everyCpu = false,
    preservedFds = 0,
    outlivesCaller = false,
    plainNewlines = false,
    filter,
    attach,
    memoryNodes = config.linux.resources?.cpu?.mems ?? "",
  }: ExecOptions = {},
): Plan {
  const beside = isolates(config, "user") ? BESIDE.filter((type) => namespaceOf(config, type)?.path !== undefined) : [];
  const inside = INSIDE.filter((type) => isolates(config, type) && !beside.includes(type));
  const unified = cgroups.find(({ controller }) => controller === "unified");
  const before = [...(["user", "pid"] as const).filter((type) => isolates(config, type)), ...beside];
  // Root's files in /proc stay root's when they are nobody else's (UNTRACEABLE), but not for who has joined a user namespace.
  const scoresItself = before.length === 0 || (host.uid === 0 && before.every((type) => type === "pid"));
  const join: ParentStep = {
    op: "joinProcess",
    by: "parent",
    process: CONTAINER,
    namespaces: before,
    because: "a process cannot change its own PID namespace, only that of its children",
  };
  const affinity = config.process.execCPUAffinity;
  const moved = unified !== undefined && attach === undefined && memoryNodes !== "" && !since(host.kernel, 6, 4);
  const born = unified !== undefined && attach === undefined && !moved;
  const cpus =
    affinity === undefined ? planEveryCpu(config, host, { wanted: everyCpu, born }) : { parent: [], init: [] };
  const parent: ParentStep[] = [
    ...(affinity?.initial
      ? [
          {
            op: "setCpuAffinity",
            by: "parent",
            cpus: affinity.initial,
            field: "process.execCPUAffinity.initial",
            because: "where the set-up runs, so that it takes no time of processors that are meant for others",
          } as const,
        ]
      : []),
    ...cpus.parent,
    ...(before.length === 0
      ? []
      : [...(scoresItself ? [] : planOomScore(config, "parent", { mayStay: true })), UNTRACEABLE, join]),
    {
      op: "clone",
      by: "parent",
      namespaces: [],
      pid: { slot: "init.pid" },
      sharedMemory: false,
      ...(born ? { cgroup: unified.path } : {}),
      because:
        "the process that becomes the command; it shares no memory with us, because the container may look into it",
    },
  ];
  if (attach !== undefined)
    parent.push({ op: "attachProcess", by: "parent", ...attach, pid: { slot: "init.pid" }, because: ATTACHED });
  const { process } = config;
  const labels = planLabels(config);
  const init: InitStep[] = [
    {
      op: "parentDeathSignal",
      by: "init",
      signal: "SIGKILL",
      because: outlivesCaller
        ? "what is half made must not outlive its maker"
        : "a command in the foreground must not outlive the one that runs it",
    },
    ...(scoresItself ? planOomScore(config, "init", { mayStay: true }) : []),
    ...(attach === undefined ? [] : [{ op: "awaitScope", by: "init", because: ATTACHED } as const]),
    ...labels.take,
    ...(before.length === 0
      ? [
          {
            op: "refuseTracing",
            by: "init",
            because: "from here on processes of the container can see this one",
          } as const,
        ]
      : []),
    ...planResctrl(config, host, id).join,
    ...cgroups
      .filter(({ controller }) => controller !== "unified" || moved)
      .map(
        ({ controller, path }): InitStep => ({
          op: "joinCgroup",
          by: "init",
          controller,
          path,
          because: "the container's limits are for all its processes",
        }),
      ),
    ...cpus.init,
    ...(affinity?.final
      ? [
          {
            op: "setCpuAffinity",
            by: "init",
            cpus: affinity.final,
            field: "process.execCPUAffinity.final",
            because: "where the command runs; only now, because joining a cpuset group changes it",
          } as const,
        ]
      : []),
    ...(inside.length === 0
      ? []
      : [
          {
            op: "joinProcess",
            by: "init",
            process: CONTAINER,
            namespaces: inside,
            because: "the container is its namespaces",
          } as const,
        ]),
    ...(sharesMounts(config)
      ? [
          {
            op: "enterTree",
            by: "init",
            tree: CONTAINER_ROOT,
            field: "linux.namespaces",
            because: "others share the mount namespace, and only the container's root makes its files",
          } as const,
        ]
      : []),
  ];
  if (isolates(config, "user")) {
    init.push(
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
    );
  }
  if (newKeyring) init.push(planKeyring(config, id, { shared: false }));
  if (process.terminal) {
    const size = process.consoleSize;
    init.push({
      op: "openPty",
      by: "init",
      owner: process.user.uid,
      console: false,
      ...(size === undefined ? {} : { rows: size.height, columns: size.width }),
      ...(plainNewlines ? { plainNewlines } : {}),
      because: "a terminal of the container's own devpts",
    });
  }
  init.push({
    op: "newSession",
    by: "init",
    controllingTerminal: process.terminal === true,
    because: "signals of the terminal go to this command's session only",
  });
  init.push(...planRlimits(config), ...planScheduling(config), ...labels.set);
  init.push(
    ...planPrivileges(config, host, {
      makesCwd: false,
      preservedFds,
      diesWithParent: !outlivesCaller,
      ...(filter === undefined ? {} : { filter }),
    }),
  );
  const exec = init.pop();
  if (outlivesCaller)
    init.push({
      op: "parentDeathSignal",
      by: "init",
      signal: "none",
      because: "the command lives on when the one that started it is gone",
    });
  if (exec?.op === "exec") init.push({ ...exec, awaited: true });
  return { id, steps: [...parent, ...init], cleanup: { cgroups: [] }, warnings: [] };
}
