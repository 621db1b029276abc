/** The words of config.md and config-linux.md that are one of a few: lists for the checks and `features`, types for the rest. */

export const NAMESPACE_TYPES = ["mount", "pid", "network", "ipc", "uts", "user", "cgroup", "time"] as const;
export type NamespaceType = (typeof NAMESPACE_TYPES)[number];

/** In the order in which they run. */
export const HOOK_NAMES = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;
export type HookName = (typeof HOOK_NAMES)[number];

/** getrlimit(2); by number, as asm-generic/resource.h has them. */
export const RLIMIT_TYPES = [
  "RLIMIT_CPU",
  "RLIMIT_FSIZE",
  "RLIMIT_DATA",
  "RLIMIT_STACK",
  "RLIMIT_CORE",
  "RLIMIT_RSS",
  "RLIMIT_NPROC",
  "RLIMIT_NOFILE",
  "RLIMIT_MEMLOCK",
  "RLIMIT_AS",
  "RLIMIT_LOCKS",
  "RLIMIT_SIGPENDING",
  "RLIMIT_MSGQUEUE",
  "RLIMIT_NICE",
  "RLIMIT_RTPRIO",
  "RLIMIT_RTTIME",
] as const;

/** sched_setattr(2); by number. SCHED_ISO is reserved: no kernel has it. */
export const SCHEDULER_POLICIES = [
  "SCHED_OTHER",
  "SCHED_FIFO",
  "SCHED_RR",
  "SCHED_BATCH",
  "SCHED_ISO",
  "SCHED_IDLE",
  "SCHED_DEADLINE",
] as const;
export type SchedulerPolicy = (typeof SCHEDULER_POLICIES)[number];

/** sched_setattr(2): 1, 2, 4 … in this order. */
export const SCHEDULER_FLAGS = [
  "SCHED_FLAG_RESET_ON_FORK",
  "SCHED_FLAG_RECLAIM",
  "SCHED_FLAG_DL_OVERRUN",
  "SCHED_FLAG_KEEP_POLICY",
  "SCHED_FLAG_KEEP_PARAMS",
  "SCHED_FLAG_UTIL_CLAMP_MIN",
  "SCHED_FLAG_UTIL_CLAMP_MAX",
] as const;
export type SchedulerFlag = (typeof SCHEDULER_FLAGS)[number];

/** ioprio_set(2): 1, 2, 3. */
export const IO_PRIORITY_CLASSES = ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"] as const;
export type IoPriorityClass = (typeof IO_PRIORITY_CLASSES)[number];

/** set_mempolicy(2). */
export const MEMORY_POLICY_MODES = [
  "MPOL_DEFAULT",
  "MPOL_BIND",
  "MPOL_INTERLEAVE",
  "MPOL_WEIGHTED_INTERLEAVE",
  "MPOL_PREFERRED",
  "MPOL_PREFERRED_MANY",
  "MPOL_LOCAL",
] as const;
export type MemoryPolicyMode = (typeof MEMORY_POLICY_MODES)[number];

export const MEMORY_POLICY_FLAGS = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"] as const;
export type MemoryPolicyFlag = (typeof MEMORY_POLICY_FLAGS)[number];

/** personality(2). */
export const PERSONALITY_DOMAINS = ["LINUX", "LINUX32"] as const;
export type PersonalityDomain = (typeof PERSONALITY_DOMAINS)[number];

/** The clocks that a time namespace can move. time_namespaces(7). */
export const CLOCKS = ["monotonic", "boottime"] as const;
export type Clock = (typeof CLOCKS)[number];

/** `linux.rootfsPropagation`: the spec's four, and with `r` what runc and crun take beside them. */
export const ROOTFS_PROPAGATIONS = [
  "private",
  "shared",
  "slave",
  "unbindable",
  "rprivate",
  "rshared",
  "rslave",
  "runbindable",
] as const;

/** `mounts[].options` that are no data for the filesystem: config.md, "Linux mount options", and crun's three for links. */
export const MOUNT_OPTIONS: readonly string[] = (
  "async atime bind copy-symlink defaults dest-nofollow dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime noexec " +
  "noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime " +
  "remount rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate " +
  "rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave src-nofollow strictatime suid " +
  "symfollow sync tmpcopyup unbindable"
).split(" ");
