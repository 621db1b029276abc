/** What the steps of the init process share, and the shape of the functions that perform them. */
import type { LoadedFilter } from "../../explain-failure/seccomp.ts";
import type { InitStep, Slot } from "../../plan/step.ts";
import type { Tracer } from "../tracer.ts";

/** What steps hand on to later ones. */
export interface InitContext {
  channel: number;
  tracer: Tracer | undefined;
  /** Values that exist only now, descriptors all of them, by slot name. */
  slots: Map<string, number>;
  /** With --init, in the command's process: reads as end of file once PID 1 is tupper-init. */
  initIsReady?: number;
  /** The slave of the container's terminal: it becomes stdio when the other descriptors are closed, so that warnings of the C library go to the caller until then. */
  terminal?: number | undefined;
  /** The filter that holds from here on: what it answers is told when a call fails. */
  filter?: LoadedFilter;
  /** The working directory that only the command's user may enter. */
  laterDirectory?: string;
  /** What takeProc has found in the kernel. */
  securityModules?: { apparmor: boolean; selinux: boolean };
  /** The first masked directory, and what its path starts from: later ones are clones of it. */
  maskedDirectory?: { from: number; path: string };
  /** Whether the machine's files are out of sight, and paths are the container's. */
  inside?: boolean;
  /** The roots of what is mounted on /proc and /sys: they are what those paths say, even if somebody renames the directories. */
  kernelRoots?: Map<string, number>;
  /** Where a tmpfs was mounted in which nothing is but what we made. */
  freshMounts: Set<string>;
  /** A clone of the container's null device that was looked at, and one that is mounted nowhere yet. */
  nullDevice?: number;
  nullTree?: number | undefined;
  /** A procfs that is known to be one: the container's, or one of our own. */
  proc?: number;
  /** What was placed in a running container so far. */
  placed?: { target: string; fd: number }[];
  /** What symbolic links say that are to be made anew, by slot name. */
  links?: Map<string, string>;
}

export type StepArguments<Op extends InitStep["op"]> = Extract<InitStep, { op: Op }>;

/** A function for each operation of `Ops`, by its name. */
export type Performers<Ops extends InitStep["op"]> = {
  [Op in Ops]: (step: StepArguments<Op>, context: InitContext) => void;
};

/** Answers of raw calls that are looked at without an exception. */
export const EPERM = -1;
export const ENOENT = -2;
export const EACCES = -13;
export const EBUSY = -16;
export const EEXIST = -17;
export const ENOTDIR = -20;
export const EINVAL = -22;
export const ENOSYS = -38;

/** What an earlier step, or the caller, has put there. */
export function slotValue(slots: ReadonlyMap<string, number>, { slot }: Slot): number {
  const value = slots.get(slot);
  if (value === undefined) throw new Error(`the plan uses ${slot} before it is there`);
  return value;
}
