/**
 * `process.scheduler`, `process.ioPriority`, `linux.personality`, `linux.memoryPolicy`: what children inherit and a seccomp
 * filter of the container often forbids, so it is set before that one.
 */
import type { Config } from "../spec/config.ts";
import { since } from "./cgroup/request.ts";
import type { Host } from "./host.ts";
import type { InitStep, ParentStep, Step } from "./step.ts";

/** What a process may run on outlives the move to another group (Linux 6.2), so it is given up before. */
const EVERY_CPU: ParentStep = {
  op: "setCpuAffinity",
  by: "parent",
  cpus: "all",
  because: "where the caller may run says nothing of the container: its group does",
};

/**
 * Who gives up the processors of the caller. Who is born in a group (CLONE_INTO_CGROUP) runs where its parent ran, whatever
 * cpuset.cpus of the group says, until it says itself where it runs: seen with Linux 5.10; mended in cpuset_fork in 2023.
 */
export function planEveryCpu(
  { linux }: Config,
  { kernel }: Host,
  { wanted, born }: { wanted: boolean; born: boolean },
): { parent: ParentStep[]; init: InitStep[] } {
  if (!born || since(kernel, 6, 4)) return { parent: wanted ? [EVERY_CPU] : [], init: [] };
  const { cpus = "" } = linux.resources?.cpu ?? {};
  return { parent: [], init: wanted || cpus !== "" ? [CPUS_OF_GROUP] : [] };
}

const CPUS_OF_GROUP: InitStep = {
  op: "setCpuAffinity",
  by: "init",
  cpus: "all",
  because: "this kernel lets who is born in a group run on other processors than the group's until it names some",
};

export function planScheduling({ process, linux }: Config): InitStep[] {
  const steps: InitStep[] = [];
  const { scheduler, ioPriority } = process;
  if (scheduler !== undefined) {
    steps.push({
      op: "setScheduler",
      by: "init",
      policy: scheduler.policy,
      nice: scheduler.nice ?? 0,
      priority: scheduler.priority ?? 0,
      flags: scheduler.flags ?? [],
      runtime: scheduler.runtime ?? 0,
      deadline: scheduler.deadline ?? 0,
      period: scheduler.period ?? 0,
      field: "process.scheduler",
      because: "the config says how the container's processes compete for the processor",
    });
  }
  if (ioPriority !== undefined) {
    steps.push({
      op: "setIoPriority",
      by: "init",
      class: ioPriority.class,
      priority: ioPriority.priority,
      field: "process.ioPriority",
      because: "the config says how the container's processes compete for disks",
    });
  }
  if (linux.personality !== undefined) {
    steps.push({
      op: "setPersonality",
      by: "init",
      domain: linux.personality.domain,
      field: "linux.personality",
      because: "the config says which kind of machine programs believe to be on",
    });
  }
  if (linux.memoryPolicy !== undefined) {
    steps.push({
      op: "setMemoryPolicy",
      by: "init",
      ...linux.memoryPolicy,
      field: "linux.memoryPolicy",
      because: "the config says which memory nodes pages come from",
    });
  }
  return steps;
}

/**
 * `process.oomScoreAdj`: first of all, while /proc is the machine's. A command of exec that cannot get so low stays where its
 * caller is, as under crun: Podman as a user's service, whose score is 200, hands it the 0 of the container that began with 200.
 */
export function planOomScore<By extends Step["by"]>(
  { process }: Config,
  by: By,
  { mayStay = false } = {},
): (OomScoreStep & { by: By })[] {
  if (process.oomScoreAdj === undefined) return [];
  return [
    {
      op: "setOomScore",
      by,
      score: process.oomScoreAdj,
      ...(mayStay ? { mayStay } : {}),
      field: "process.oomScoreAdj",
      because: "the kernel kills the process with the highest score first when memory runs out",
    },
  ];
}

type OomScoreStep = Omit<Extract<InitStep, { op: "setOomScore" }>, "by">;

/**
 * Before namespaces are joined in which others are: from its first moment on the process that is cloned into them is in sight of those
 * who may have all capabilities there (CVE-2016-9962). What may not be traced does not own its files in /proc, root's excepted: the score comes first.
 */
export const UNTRACEABLE: ParentStep = {
  op: "refuseTracing",
  by: "parent",
  because: "others see this process, and what it clones, from here on",
};

export function planRlimits({ process }: Config): InitStep[] {
  return (process.rlimits ?? []).map(({ type, soft, hard }, i) => ({
    op: "setRlimit",
    by: "init",
    type,
    soft,
    hard,
    field: `process.rlimits[${i}]`,
    because: "the config limits this resource of each process",
  }));
}
