/** What a failed step means to the person who asked for it. */
import { ContainerError } from "../error.ts";
import { describeStep } from "../explain/describe.ts";
import { explainCgroupRefusal } from "../plan/cgroup/refusal.ts";
import { unescapePath } from "../plan/mountinfo.ts";
import type { Step } from "../plan/step.ts";
import { readFileIfThere } from "../sys/files.ts";
import { SINCE } from "../sys/generated.ts";
import { mapStack } from "../sys/stack.ts";
import { SysError } from "../sys/sys.ts";
import { apparmorHint, explainNamespaceRefusal } from "./namespace-refusal.ts";

/** Wraps the kernel's answer once, with the step's purpose and config field. An error that is explained already passes. */
export function explainStep(step: Step, error: unknown): ContainerError {
  if (error instanceof ContainerError) return error;
  if (!(error instanceof SysError)) {
    return new ContainerError(
      "INTERNAL",
      `cannot ${describeStep(step)}: ${error instanceof Error ? `${error.message}\n${mapStack(error.stack ?? "")}` : String(error)}`,
      { cause: error },
    );
  }
  const refusal =
    step.op === "write" && step.by === "parent" ? explainCgroupRefusal(step.path, step.value, error.code) : undefined;
  if (refusal !== undefined) {
    const { code, message, hint } = refusal;
    return new ContainerError(code, message, {
      cause: error,
      ...(step.field === undefined ? {} : { field: step.field }),
      ...(hint === undefined ? {} : { hint }),
    });
  }
  const refused = step.op === "clone" ? explainNamespaceRefusal(step.namespaces, error.code) : undefined;
  if (refused !== undefined)
    return new ContainerError(refused.code, refused.message, {
      cause: error,
      hint: refused.hint,
      ...(step.field === undefined ? {} : { field: step.field }),
    });
  const hint =
    whatIsOlder(error) ??
    hintFor(step, error) ??
    (FORBIDDEN.has(error.code) && step.by === "init" ? apparmorHint() : undefined);
  return new ContainerError(codeFor(step, error), `cannot ${describeStep(step)}: ${reasonFor(step, error)}`, {
    cause: error,
    ...(step.field === undefined ? {} : { field: step.field }),
    ...(hint === undefined ? {} : { hint }),
  });
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
function codeFor(step: Step, error: SysError): string {
  if (step.op === "takeTree" && error.code === "ENOENT") return "MOUNT_SOURCE_MISSING";
  if (step.op === "mount" && step.fstype === "overlay") return "OVERLAY_REFUSED";
  // Half of a mount, as people see it.
  if (step.op === "takeFilesystem") return "MOUNT_FAILED";
  if (step.op === "copyTree" && error.code === "ENOSPC") return "ROOT_TOO_LARGE";
  return `${step.op.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}_FAILED`;
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

/** Directories that the kernel keeps empty for mounts: those hide nothing. */
const EMPTY_PLACES = /^\/(sys\/(fs|kernel)|proc\/sys\/fs)\//;

/** A whole one is one without anything mounted over a part of it. mount_too_revealing() of the kernel. */
function covered(fstype: string): string | undefined {
  if (fstype !== "proc" && fstype !== "sysfs") return undefined;
  const place = fstype === "proc" ? "/proc" : "/sys";
  const over = (readFileIfThere("/proc/self/mountinfo") ?? "").split("\n").flatMap((line) => {
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
      return step.policy === "SCHED_DEADLINE"
        ? "a deadline is a promise on every processor: the process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus), and it needs CAP_SYS_NICE"
        : "a higher priority than the caller's needs CAP_SYS_NICE, which tupper does not have here";
    case "setIoPriority":
      return error.code === "EPERM" ? "IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN" : undefined;
    case "setMemoryPolicy":
      return error.code === "EINVAL"
        ? "some modes need nodes, MPOL_DEFAULT and MPOL_LOCAL none; the nodes must be there and be allowed by the cpuset; set_mempolicy(2)"
        : undefined;
    case "moveNetDevice":
      return error.code === "EPERM"
        ? "moving network devices takes CAP_NET_ADMIN and CAP_SYS_ADMIN: ordinary users cannot"
        : undefined;
    case "seccomp":
      if (error.code === "EACCES") return "without CAP_SYS_ADMIN a filter needs process.noNewPrivileges";
      if (error.code === "EBUSY")
        return "an agent decides already about calls of tupper itself: a process can have one";
      if (error.code === "EINVAL")
        return "this kernel does not know a flag of the profile, or SCMP_ACT_NOTIFY (since Linux 5.0)";
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
