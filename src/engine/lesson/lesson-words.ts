/** What the lessons are written in: looks, tests for steps of a plan, and the shell commands that several of them run. */
import type { Op, Plan, Step } from "../../plan/step.ts";
import type { NamespaceType } from "../../spec/config.ts";
import type { Look } from "./lesson.ts";

export const machine = (command: string, note?: string): Look => ({
  where: "machine",
  command,
  ...(note === undefined ? {} : { note }),
});
export const container = (command: string, note?: string): Look => ({ ...machine(command, note), where: "container" });

export const is =
  (...ops: Op[]) =>
  ({ op }: Step): boolean =>
    ops.includes(op);

export const either =
  (...tests: ((step: Step) => boolean)[]) =>
  (step: Step): boolean =>
    tests.some((test) => test(step));

/** Nothing that is mounted in the container's view spreads to the machine: so no lesson with a view is without it, unless a stand-in is there. */
export const isPrivate = (step: Step): boolean => step.op === "propagation" && step.target === "/";
export const mounts = (fstype: string) => (step: Step) => step.op === "mount" && step.fstype === fstype;
/** In a user namespace it is made while the machine's is in sight, and placed later. */
export const isProcMade = (step: Step): boolean => step.op === "takeFilesystem" && step.fstype === "proc";
export const isProcMounted = (step: Step): boolean =>
  (step.op === "mount" && step.fstype === "proc") || (step.op === "placeTree" && step.target === "/proc");
export const isProc = either(isProcMade, isProcMounted);

/** Other filesystems of the machine, such as /home, have views of their own in the root `host`; an ordinary user's is made of parts. */
export const isFurtherView = (step: Step): boolean =>
  /"[^"]*\b(lower|upper|work)\.\d+/.test(JSON.stringify(step)) ||
  (step.op === "bind" && /\/root\/./.test(step.target)) ||
  (step.op === "mount" && step.target.startsWith("root/"));

/** The last one before the root is changed. */
export const isNewRoot = (step: Step): boolean => step.op === "changeDirectory" && step.path.endsWith("/root");

/** From the first step of the root filesystem to the one that ends the old root's time. */
export function makesRoot(step: Step, { steps }: Plan): boolean {
  const at = steps.indexOf(step);
  const last = steps.findIndex(is("detach"));
  return (step.by === "init" && at >= steps.findIndex(isPrivate) && at <= last) || step.op === "takeMappedTree";
}

export const hasPids = ({ steps }: Plan): boolean =>
  steps.some((step) => step.op === "makeCgroup" && step.controller === "pids");

/** The control group with the pids controller, and how the container comes into it. On cgroup v2 there is one hierarchy. */
export function isGroup(step: Step, plan: Plan): boolean {
  if (step.op === "makeCgroup" || step.op === "joinCgroup")
    return step.controller === (hasPids(plan) ? "pids" : "unified");
  if (step.op === "write") return step.by === "parent" && step.path.endsWith("/cgroup.subtree_control");
  return is("startScope", "attachProcess", "moveProcess", "awaitScope", "vacateCgroup")(step);
}

export const isPidsLimit = (step: Step): boolean => step.op === "write" && step.path.endsWith("/pids.max");

export const EVERY: readonly NamespaceType[] = ["mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time"];
export const GROUP_LINE = "grep -E ':pids:|^0::' /proc/self/cgroup | head -n 1";
export const QUEUES = "tail -n +2 /proc/sysvipc/msg | wc -l";
export const MOUNTED = "grep ' /mnt ' /proc/self/mounts || echo nothing is mounted on /mnt";
export const MOUNT = "mount -t tmpfs none /mnt && echo mounted";
export const CONNECT = "bash -c ': </dev/tcp/127.0.0.1/9'";
export const MARKER = "CONTAINER_ROOT_DIR";

/** The way out of a chroot: the working directory stays outside of the second one, and .. ends only at the root. */
export const ESCAPE = `echo 'mkdir "x"; chroot "x"; chdir ".." for 1..9; print -e "${MARKER}" ? "still inside" : "outside"' | chroot . perl`;
