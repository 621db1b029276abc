/** What a failed step means to the person who asked for it: reached only when something fails. */

import { ContainerError, isOutOfMemory, outOfMemory } from "../error.ts";
import type { ErrorCode } from "../error-codes.ts";
import { CGROUPS, cgroupsHidden } from "../execute/require-cgroups.ts";
import { describeStep } from "../explain/describe.ts";
import { explainCgroupRefusal } from "../plan/cgroup/refusal.ts";
import { unescapePath } from "../plan/mountinfo.ts";
import { SECCOMP_DATA } from "../plan/seccomp/plan-seccomp.ts";
import type { Step } from "../plan/step.ts";
import { SINCE } from "../sys/generated.ts";
import { mapStack } from "../sys/stack.ts";
import { parseStatfs, STATFS_SIZE } from "../sys/structs.ts";
import { raw, SysError } from "../sys/sys.ts";
import { type Finding, whyFilesystemFails } from "./filesystem.ts";
import { effectiveCapabilities, isDirectory, isThere, read, setting, statAt } from "./machine.ts";
import { apparmorHint, explainNamespaceRefusal, outerFilter } from "./namespace-refusal.ts";
import { readOnly, whyPathFails } from "./paths.ts";
import { whyNoMoreProcesses } from "./processes.ts";
import { whatIsLacking } from "./rights.ts";
import { filterAnswer, type LoadedFilter, mayLook } from "./seccomp.ts";

/**
 * Wraps the kernel's answer once, with the step's purpose and config field. An error that is explained already passes, with
 * the field where it names none.
 * `filter`: the container's own seccomp filter, where it holds already.
 */
export function explainStep(step: Step, error: unknown, filter?: LoadedFilter): ContainerError {
  if (error instanceof ContainerError) {
    const { field = error.field } = step;
    return error.field === undefined ? Object.assign(error, { field }) : error;
  }
  if (isOutOfMemory(error)) return outOfMemory(error, `cannot ${describeStep(step)}`);
  if (!(error instanceof SysError)) {
    return new ContainerError(
      "INTERNAL",
      `cannot ${describeStep(step)}: ${error instanceof Error ? `${error.message}\n${mapStack(error.stack ?? "")}` : String(error)}`,
      { cause: error },
    );
  }
  if (error.code === "ENOENT" && error.args.some((arg) => typeof arg === "string" && arg.startsWith(CGROUPS))) {
    const hidden = cgroupsHidden();
    if (hidden !== undefined) return hidden;
  }
  const details = (finding: Finding) => ({
    cause: error,
    evidence: finding.evidence,
    ...(step.field === undefined ? {} : { field: step.field }),
    ...(finding.hint === undefined ? {} : { hint: finding.hint }),
  });
  const looks = mayLook(filter);
  const refused = looks ? refusalOf(step, error) : undefined;
  if (refused !== undefined) return new ContainerError(refused.code, refused.message, details(refused));
  const { why = reasonFor(step, error), ...finding } =
    filterAnswer(filter, error) ?? (looks ? findingOf(step, error) : {});
  return new ContainerError(codeFor(step, error), `cannot ${describeStep(step)}: ${why}`, details(finding));
}

/** Refusals that have sentences of their own. */
function refusalOf(step: Step, error: SysError): (Finding & { code: ErrorCode; message: string }) | undefined {
  if (step.op === "write" && step.by === "parent") {
    const { path, value } = step;
    if (error.code === "EROFS" || (FORBIDDEN.has(error.code) && whatIsLacking(step) !== undefined)) return undefined;
    const refusal = explainCgroupRefusal(path, value, error.code);
    if (refusal === undefined) return undefined;
    const group = path.slice(0, path.lastIndexOf("/"));
    if (error.code === "ENOENT" && path.startsWith(`${CGROUPS}/`) && !isThere(`${group}/cgroup.procs`)) {
      const { code, message, hint } = cgroupsHidden() ?? {};
      if (code !== undefined && message !== undefined) return { code, message, hint };
      if (isThere(`${CGROUPS}/cgroup.procs`)) return { ...refusal, evidence: `${group} is not there` }; // the v2 tree
      return {
        code: "CGROUP_CONTROLLER_MISSING",
        message: `no control group hierarchy with the controller ${path.split("/")[4]} is mounted at ${path.split("/").slice(0, 5).join("/")}`,
        hint: `mount it: mount -t cgroup -o ${path.split("/")[4]} cgroup ${path.split("/").slice(0, 5).join("/")}`,
        evidence: `${group} is an ordinary directory without cgroup.procs`,
      };
    }
    return { ...refusal, evidence: whatIsAbove(path) };
  }
  if ((step.op === "bind" || step.op === "takeTree") && step.field === "root.path") return noRoot(step, error);
  return step.op === "clone" || step.op === "unshare"
    ? explainNamespaceRefusal(step.namespaces, error.code)
    : undefined;
}

/** The first thing that goes wrong with a bundle: its root filesystem is not there. `tupper run` has looked at ROOT before. */
function noRoot(step: Step & { source: string }, error: SysError): ReturnType<typeof refusalOf> {
  const { source } = step;
  const there = statAt(source);
  if (error.code === "ENOENT" && typeof there === "number")
    return {
      code: "ROOT_MISSING",
      message: `there is no root filesystem at ${source}`,
      hint: "unpack or mount one there, or name another directory; a relative root.path begins at the bundle",
      evidence: whyPathFails(step, error)?.evidence,
    };
  if (error.code === "ENOTDIR" && typeof there !== "number" && !isDirectory(there))
    return {
      code: "ROOT_NOT_A_DIRECTORY",
      message: `the root filesystem ${source} is not a directory`,
      hint: "an archive has to be unpacked into a directory first",
    };
  return undefined;
}

/** The same file one group up, which has the limits of what this one may have. */
function whatIsAbove(path: string): string | undefined {
  const at = path.lastIndexOf("/");
  const above = `${path.slice(0, path.lastIndexOf("/", at - 1))}${path.slice(at)}`;
  const value = /\/(cpuset|pids|cpu|memory)\.[a-z_.]+$/.test(path) ? read(above)?.trim() : undefined;
  return value === undefined || value === "" || value.length > 80 ? undefined : `${above} is ${value}`;
}

function findingOf(step: Step, error: SysError): Finding {
  const { code } = error;
  const older = whatIsOlder(error);
  if (older !== undefined) return { hint: older };
  if (step.op === "clone" && code === "EAGAIN") return whyNoMoreProcesses(step.cgroup);
  if (code === "ENOSPC" && MOUNT_CALLS.has(error.syscall) && !(step.op === "mount" && step.fstype === "overlay"))
    return tooManyMounts() ?? { why: NO_MORE_MOUNTS, hint: FEWER_MOUNTS };
  if (step.op === "takeFilesystem" || step.op === "mount") {
    const found = whyFilesystemFails(step, error);
    if (found !== undefined) return found;
  }
  const by = whyByStep(step, error);
  const path = whyPathFails(step, error) ?? (code === "EROFS" ? readOnly("/") : undefined);
  const hint = by?.hint ?? hintFor(step, error);
  if (by !== undefined || hint !== undefined || path !== undefined) {
    const lacks = code === "EPERM" ? whatIsLacking(step) : undefined;
    return {
      ...path,
      ...lacks,
      ...by,
      ...(lacks === undefined && hint !== undefined && path?.why === undefined ? { hint } : {}),
    };
  }
  if (!FORBIDDEN.has(code)) return { hint: GENERAL[code] };
  const apparmor = step.by === "init" ? apparmorHint() : undefined;
  if (apparmor !== undefined) return { hint: apparmor };
  const lacks = code === "EPERM" ? whatIsLacking(step) : undefined;
  const [why, around] = outerFilter() ?? [];
  if (lacks !== undefined) return lacks;
  return why === undefined ? { hint: GENERAL[code] } : { why, hint: around };
}

/** Where nothing on the machine explains it. */
const GENERAL: Readonly<Record<string, string>> = {
  ENOMEM: "free memory, or raise the limit of the control group that tupper runs in",
  EMFILE: "raise the limit: ulimit -n",
  ENFILE: "raise /proc/sys/fs/file-max",
  EPERM: "a security module or a setting of the machine may forbid it: see dmesg",
  EACCES: "look at the modes of the directories on the way, and at dmesg for a security module",
  EINVAL: "tupper explain shows the step; an older kernel may not know the value: docs/kernel.md",
};

/** Evidence that only one operation needs. */
function whyByStep(step: Step, { code, syscall }: SysError): Finding | undefined {
  switch (step.op) {
    case "placeTree":
    case "placeInside": {
      if (code !== "EINVAL" && code !== "ENOTDIR") return undefined;
      const there = statAt(step.target);
      return {
        hint: "choose another destination, or a source of the same kind",
        ...(typeof there === "number"
          ? {}
          : { evidence: `${step.target} is ${isDirectory(there) ? "a directory" : "no directory"}` }),
      };
    }
    case "setRlimit": {
      const most = setting("fs.nr_open");
      if (code !== "EPERM" || step.type !== "RLIMIT_NOFILE" || most === undefined || BigInt(step.hard) <= BigInt(most))
        return undefined;
      return {
        why: `fs.nr_open of the machine is ${most}, and no process may have more open files`,
        hint: `lower it in process.rlimits (--ulimit nofile=), or as root: sysctl -w fs.nr_open=${step.hard}`,
      };
    }
    case "joinNamespace": {
      if (code === "EINVAL" && !isNamespaceFile(step.path))
        return {
          why: `${step.path} is not a namespace file`,
          hint: `the file is not a ${step.type} namespace: name one such as /proc/PID/ns/${step.type === "network" ? "net" : step.type}`,
        };
      if (code === "ENOMEM" && step.type === "pid")
        return {
          why: "the first process of that PID namespace has ended, and it takes no other",
          hint: "join one whose process 1 still runs",
        };
      return undefined;
    }
    case "write": {
      if (!step.path.startsWith("/proc/sys/")) return undefined;
      const value = code === "EINVAL" ? read(step.path)?.trim() : undefined;
      return value === undefined
        ? undefined
        : {
            hint: "sysctl -a on the machine shows what is usual; the value is out of the setting's range",
            evidence: `${step.path} is ${value} now`,
          };
    }
    case "mount":
    case "takeTree":
    case "unshare":
    case "copyMountNamespace":
      return code === "ENOSPC" ? tooManyMounts() : undefined;
    case "setUser": // a namespace that is joined has maps of its own, which no config says
      if (code !== "EINVAL") return undefined;
      return syscall === "setgroups" && (step.groups?.length ?? 0) > NGROUPS_MAX
        ? { why: `a process has ${NGROUPS_MAX} supplementary groups at most`, hint: "see process.user.additionalGids" }
        : { why: "the user namespace has no such id", hint: "see its uid_map and gid_map" };
    default:
      return undefined;
  }
}

const NGROUPS_MAX = 65536;
const NSFS_MAGIC = 0x6e736673n;

function isNamespaceFile(path: string): boolean {
  const buffer = new ArrayBuffer(STATFS_SIZE);
  return raw.statfs(path, buffer) >= 0 && BigInt(parseStatfs(buffer).type) === NSFS_MAGIC;
}

/** They need no space on a disk; an overlay makes directories there. */
const MOUNT_CALLS: ReadonlySet<string> = new Set(["mount", "move_mount", "open_tree", "open_tree_attr"]);
/** Where the setting cannot be read: on the way into the new root. */
const NO_MORE_MOUNTS = "there are as many mounts as fs.mount-max lets a mount namespace have";
const FEWER_MOUNTS =
  "unmount some, bind fewer trees (bind in place of rbind), or as root: sysctl -w fs.mount-max=200000";

/** mount_namespaces(7); /proc/sys/fs/mount-max, since Linux 4.9. */
export function tooManyMounts(): Finding | undefined {
  const most = setting("fs.mount-max");
  if (most === undefined) return undefined;
  const count = (read("/proc/self/mountinfo") ?? "").split("\n").length - 1;
  if (count * 2 < Number(most)) return undefined;
  return {
    why: `fs.mount-max is ${most}: a mount namespace can have no more mounts`,
    hint: FEWER_MOUNTS,
    evidence: `there are ${count} mounts here`,
  };
}

/** What to do where the kernel lacks a call; undefined for any other failure. */
export function whatIsOlder({ code, syscall }: SysError): string | undefined {
  const since = SINCE[syscall];
  return code === "ENOSYS" && since !== undefined
    ? `${syscall} needs Linux ${since}, and no seccomp filter around tupper that hides it; docs/kernel.md says what works without`
    : undefined;
}

const FORBIDDEN = new Set(["EPERM", "EACCES"]);

/** `MOUNT_FAILED`, but a name of its own for what people meet often. */
function codeFor(step: Step, error: SysError): ErrorCode {
  if (step.op === "takeTree" && error.code === "ENOENT") return "MOUNT_SOURCE_MISSING";
  if (step.op === "mount" && step.fstype === "overlay") return "OVERLAY_REFUSED";
  // Half of a mount, as people see it.
  if (step.op === "takeFilesystem") return "MOUNT_FAILED";
  if (step.op === "copyTree" && error.code === "ENOSPC") return "ROOT_TOO_LARGE";
  return `${step.op.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}_FAILED` as ErrorCode;
}

function reasonFor(step: Step, error: SysError): string {
  if ((step.op === "placeTree" || step.op === "placeInside") && (error.code === "EINVAL" || error.code === "ENOTDIR"))
    return "a file can be mounted only over a file, and a directory only over a directory";
  if (step.op === "takeTree" && error.code === "ENOENT") return "the source does not exist";
  if (step.op === "copyTree" && error.code === "ENOSPC") return "it does not fit into the size of the root";
  switch (error.code) {
    case "ENOENT":
      return "there is no such file or directory";
    case "EPERM":
      return "the kernel does not permit it";
    case "EACCES":
      return "access is denied";
    case "ENOSPC":
      return "there is no space left";
    case "EROFS":
      return "the filesystem is read-only";
    case "EINVAL":
      return "the kernel takes no such value";
    case "EBUSY":
      return "it is in use";
    case "ENOSYS":
      return `this kernel has no ${error.syscall}`;
    default:
      return error.message.slice(error.message.lastIndexOf("(") + 1, -1).toLowerCase();
  }
}

/** mount_namespaces(7), "Restrictions on mount namespaces". */
const LOCKED =
  "ro, nosuid, nodev, noexec and how access times are kept are locked where a mount comes from outside a user namespace: leave away the option that takes one of them back";

/** The same, of what `bind` leaves behind; and mount(8), "unbindable". */
const NOT_ALONE =
  "a user namespace has mounts from outside only together with those below them, which rbind takes along; and an unbindable mount cannot be taken";

/** Directories that the kernel keeps empty for mounts: those hide nothing. */
const EMPTY_PLACES = /^\/(sys\/(fs|kernel)|proc\/sys\/fs)\//;

/** A whole one is one without anything mounted over a part of it. mount_too_revealing() of the kernel. */
function covered(fstype: string): string | undefined {
  if (fstype !== "proc" && fstype !== "sysfs") return undefined;
  const place = fstype === "proc" ? "/proc" : "/sys";
  const over = (read("/proc/self/mountinfo") ?? "").split("\n").flatMap((line) => {
    const path = unescapePath(line.split(" ", 5)[4] ?? "");
    return path.startsWith(`${place}/`) && !EMPTY_PLACES.test(path) ? [path] : [];
  });
  const allowed = `in a user namespace a new ${fstype} is made only where a whole one is in sight`;
  if (over.length === 0) return `${allowed}, and for a namespace that belongs to it`;
  return `${allowed}, and here ${over.slice(0, 3).join(", ")}${over.length > 3 ? " …" : ""} ${over.length > 1 ? "are" : "is"} mounted over: start the container around this one with --security-opt systempaths=unconfined (Docker), unmask=ALL (Podman)${fstype === "proc" ? ", or share its processes (--pid host)" : ""}`;
}

function hintFor(step: Step, error: SysError): string | undefined {
  switch (step.op) {
    case "takeTree":
      if (error.code === "ENOENT") return "create it on the host first; a bind mount never creates its source";
      if (error.code === "EINVAL" && !step.recursive) return NOT_ALONE;
      return error.code === "EPERM" ? LOCKED : undefined;
    case "setMountFlags":
      return error.code === "EPERM" ? LOCKED : undefined;
    case "takeFilesystem":
    case "mount":
      if (step.op === "takeFilesystem" && error.code === "EPERM") return covered(step.fstype);
      if (step.op === "mount" && step.fstype === "overlay" && error.code === "EPERM")
        return "an overlay in a user namespace needs Linux 5.11: use --root-kind copy or --root-kind bind";
      if (step.op === "mount" && step.fstype === "overlay")
        return "this directory's filesystem cannot be the lower layer of an overlay (or two overlays are stacked on it already): use --root-kind copy or --root-kind bind";
      if (error.code === "EPERM")
        return "in a user namespace, a filesystem of this kind may be mounted only where the caller sees a whole one already";
      if (error.code === "ENODEV") return `this kernel has no filesystem ${step.fstype}`;
      return undefined;
    case "copyTree":
      return error.code === "ENOSPC"
        ? "give it more with --size, or use --root-kind overlay, which copies nothing"
        : undefined;
    case "setRlimit":
      return error.code === "EPERM"
        ? "raising a hard limit needs CAP_SYS_RESOURCE, which tupper does not have here"
        : undefined;
    case "setOomScore":
      return error.code === "EACCES" || error.code === "EPERM"
        ? "lowering it needs CAP_SYS_RESOURCE, which tupper does not have here"
        : undefined;
    case "setScheduler":
      if (error.code !== "EPERM") return undefined;
      if (step.policy === "SCHED_DEADLINE")
        return "a deadline is a promise on every processor: the process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus), and it needs CAP_SYS_NICE";
      // sched_setscheduler() of the kernel, with CONFIG_RT_GROUP_SCHED.
      return (step.policy === "SCHED_FIFO" || step.policy === "SCHED_RR") &&
        effectiveCapabilities().includes("CAP_SYS_NICE")
        ? "its control group has no realtime runtime: linux.resources.cpu.realtimeRuntime gives it some, of what the groups above have (cpu.rt_runtime_us)"
        : "a higher priority than the caller's needs CAP_SYS_NICE, which tupper does not have here";
    case "setIoPriority":
      return error.code === "EPERM" ? "IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN" : undefined;
    case "setMemoryPolicy":
      return error.code === "EINVAL"
        ? "some modes need nodes, MPOL_DEFAULT and MPOL_LOCAL none; the nodes must be there and be allowed by the cpuset; set_mempolicy(2)"
        : undefined;
    case "moveNetDevice":
      if (error.code === "EPERM")
        return "moving network devices takes CAP_NET_ADMIN and CAP_SYS_ADMIN: ordinary users cannot";
      return error.code === "EINVAL"
        ? "some devices stay in the network namespace that they were made in: bridges and lo, for example"
        : undefined;
    case "seccomp":
      if (error.code === "EACCES") return "without CAP_SYS_ADMIN a filter needs process.noNewPrivileges";
      if (error.code === "EBUSY")
        return "an agent decides already about calls of tupper itself: a process can have one";
      if (error.code === "EINVAL")
        return step.field === SECCOMP_DATA
          ? "the kernel takes it for no filter: classic BPF that reads struct seccomp_data and ends by a return; seccomp(2)"
          : "this kernel does not know a flag of the profile, or SCMP_ACT_NOTIFY (since Linux 5.0)";
      return undefined;
    case "clone":
      return error.code === "EPERM" ? "new namespaces need root, or a user namespace" : undefined;
    case "setLabels":
      return error.code === "EACCES"
        ? "the label that tupper itself has does not allow it; a profile of AppArmor does by a rule change_profile"
        : undefined;
    case "unshare":
      return error.code === "EINVAL" && step.namespaces.includes("time")
        ? "time namespaces need Linux 5.6, and CONFIG_TIME_NS"
        : undefined;
    case "write":
      if (step.path.startsWith("/proc/sys/") && error.code === "ENOENT")
        return "this kernel has no such setting, or not in a namespace of its own";
      return undefined;
    case "joinNamespace":
      if (error.code === "ENOENT") return "is the process or container still running?";
      if (error.code === "EINVAL") return `the file is not a ${step.type} namespace`;
      return undefined;
    default:
      return undefined;
  }
}
