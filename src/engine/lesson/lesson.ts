/**
 * What a lesson is: a plan of `tupper run`, cut down to the steps that it is about, performed for real; what the reader is shown
 * between the steps is asked of the machine. `--without` leaves one thing out of the plan. Pure.
 */
import type { Op, Plan, Step } from "../../plan/step.ts";
import type { NamespaceType } from "../../spec/config.ts";
import type { RunOptions } from "../containers/run-options.ts";

/**
 * A shell command whose answer the reader sees: `machine` outside of the container, where INIT is the number of its first
 * process and GROUP its control group; `container` in that process as it is at that moment.
 */
export interface Look {
  where: "machine" | "container";
  command: string;
  /** What to look for in the answer. */
  note?: string;
}

/** What is looked at before and after a step. */
export interface StepLooks {
  at: (step: Step) => boolean;
  before?: readonly Look[];
  after?: readonly Look[];
}

export interface Omission {
  /** What the reader will see. */
  says: string;
  /** Steps that are left out. */
  drop?: (step: Step) => boolean;
  /** A namespace that is not made. */
  namespace?: NamespaceType;
  /** It would change the machine: so it is done to a copy of its names, mounts and message queues. */
  standIn?: true;
  /** The system call that a filter refuses. */
  refuses?: string;
  /** The plan ends with an error, which is what there is to see. */
  fails?: true;
  /** An ordinary user cannot do without it. */
  root?: true;
}

export interface Lesson {
  name: string;
  /** One line. */
  title: string;
  /** What of the notes it is. */
  notes: string;
  text: string;
  /** As flags of `tupper run`. */
  options?: Partial<RunOptions>;
  /** The same for root: an ordinary user has no choice in them. */
  rootOptions?: Partial<RunOptions>;
  /** The namespaces of the plan that stay in it. */
  namespaces: readonly NamespaceType[];
  /** Its steps, beside those that every container has. */
  keeps: (step: Step, plan: Plan) => boolean;
  /** Steps that are performed and not shown. */
  hides?: (step: Step) => boolean;
  looks: readonly StepLooks[];
  /** Commands of the finished container. */
  inside: readonly Omit<Look, "where">[];
  /** On the machine, when the container has ended. */
  afterwards?: readonly Omit<Look, "where">[];
  without: Readonly<Record<string, Omission>>;
  /** The whole of it needs root. */
  root?: true;
  /** It is about a control group. */
  group?: true;
  /** A process in a UTS namespace of its own, to be joined: NEIGHBOUR is its number. */
  neighbour?: true;
  /** The system calls of the command are counted. */
  counts?: true;
  /** On a terminal the command is a shell for the reader. */
  shell?: true;
}

const ALWAYS: ReadonlySet<Op> = new Set(["recordState", "clone", "parentDeathSignal", "mapIds", "becomeMappedRoot"]);
const SILENT: ReadonlySet<Op> = new Set(["recordState", "parentDeathSignal", "closeDescriptors"]);

export const isShown = (lesson: Lesson, step: Step): boolean => !SILENT.has(step.op) && lesson.hides?.(step) !== true;

/** The plan of a lesson. An ordinary user's keeps its user namespace: without it nothing of it could be done. */
export function cutPlan(whole: Plan, lesson: Lesson, omission?: Omission): Plan {
  const stays = (type: NamespaceType) =>
    (type === "user" || lesson.namespaces.includes(type)) && type !== omission?.namespace;
  const steps = whole.steps
    .filter(
      (step) =>
        ALWAYS.has(step.op) ||
        step.op === "exec" ||
        lesson.keeps(step, whole) ||
        (step.op === "seccomp" && omission?.refuses !== undefined),
    )
    .filter((step) => omission?.drop?.(step) !== true);
  const groups = new Set(steps.flatMap((step) => (step.op === "makeCgroup" ? [step.path] : [])));
  const cut = steps.flatMap((step): Step[] => {
    if (step.op === "clone") {
      const { cgroup, ...rest } = step;
      const isBornInside = cgroup !== undefined && groups.has(cgroup) && omission?.drop?.(BORN_INSIDE) !== true;
      return [{ ...rest, namespaces: step.namespaces.filter(stays), ...(isBornInside ? { cgroup } : {}) }];
    }
    if (step.op === "unshare") {
      const namespaces = step.namespaces.filter(stays);
      return namespaces.length === 0 ? [] : [{ ...step, namespaces }];
    }
    return [step];
  });
  return {
    ...whole,
    steps: cut,
    cleanup: { ...whole.cleanup, cgroups: whole.cleanup.cgroups.filter((path) => groups.has(path)) },
    warnings: [],
  };
}

/** Stands for joining a group by being born in it, as `clone` does on cgroup v2. */
const BORN_INSIDE: Step = { op: "joinCgroup", by: "init", controller: "unified", path: "", because: "" };
