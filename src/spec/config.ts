/**
 * config.json of the OCI runtime-spec 1.3, config.md and config-linux.md: the only model of a container.
 * The flags of `tupper run` become one of these, or `parseConfig` reads one, and a plan is made from it. Unset is
 * `undefined`; 0 and -1 are values. Fields of other platforms (`commandLine`, `windows` …) are not here: they are ignored.
 */
import type {
  Clock,
  HookName,
  IoPriorityClass,
  MemoryPolicyFlag,
  MemoryPolicyMode,
  NamespaceType,
  PersonalityDomain,
  SchedulerFlag,
  SchedulerPolicy,
} from "./names.ts";
import type { LinuxSeccomp } from "./seccomp.ts";

export type { NamespaceType } from "./names.ts";

/** A whole number of 64 bits: a number where that is exact, a bigint beyond 2^53. */
export type Int64 = number | bigint;

export interface Config {
  ociVersion: string;
  root: Root;
  mounts?: Mount[];
  process: Process;
  hostname?: string;
  domainname?: string;
  hooks?: Hooks;
  annotations?: Record<string, string>;
  linux: Linux;
}

export interface Root {
  path: string;
  readonly?: boolean;
}

export interface Mount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
}

export interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** Both maps of a user namespace. */
export interface IdMaps {
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
}

export interface Process {
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  user: User;
  /** Empty where the config has no `process`: such a container can be created, not started. */
  args: string[];
  env?: string[];
  cwd: string;
  capabilities?: Capabilities;
  rlimits?: Rlimit[];
  noNewPrivileges?: boolean;
  oomScoreAdj?: number;
  apparmorProfile?: string;
  selinuxLabel?: string;
  scheduler?: Scheduler;
  ioPriority?: IoPriority;
  /** For processes of `exec`, not for the first one. */
  execCPUAffinity?: { initial?: string; final?: string };
}

/** sched_setattr(2). `runtime`, `deadline` and `period` in nanoseconds, for SCHED_DEADLINE alone. */
export interface Scheduler {
  policy: SchedulerPolicy;
  nice?: number;
  priority?: number;
  flags?: SchedulerFlag[];
  runtime?: Int64;
  deadline?: Int64;
  period?: Int64;
}

/** ioprio_set(2). 0 is the highest priority of a class, 7 the lowest. */
export interface IoPriority {
  class: IoPriorityClass;
  priority: number;
}

export interface User {
  uid: number;
  gid: number;
  umask?: number;
  additionalGids?: number[];
}

/** Each set lists names such as `CAP_CHOWN`. capabilities(7). */
export interface Capabilities {
  bounding?: string[];
  effective?: string[];
  permitted?: string[];
  inheritable?: string[];
  ambient?: string[];
}

export interface Rlimit {
  /** `RLIMIT_NOFILE` … */
  type: string;
  /** -1 is no limit; `parseConfig` makes it of RLIM_INFINITY. */
  soft: Int64;
  hard: Int64;
}

export interface Hook {
  path: string;
  args?: string[];
  env?: string[];
  /** Seconds. */
  timeout?: number;
}

export type Hooks = Partial<Record<HookName, Hook[]>>;

export interface Namespace {
  type: NamespaceType;
  /** Join the namespace behind this file instead of making one. */
  path?: string;
}

export interface Device {
  path: string;
  type: "c" | "b" | "u" | "p";
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface Linux {
  namespaces?: Namespace[];
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
  timeOffsets?: Partial<Record<Clock, { secs?: number; nanosecs?: number }>>;
  devices?: Device[];
  /** By the device's name in the runtime's network namespace; `name` is the one in the container, if it changes. */
  netDevices?: Record<string, { name?: string }>;
  cgroupsPath?: string;
  resources?: Resources;
  rootfsPropagation?: string;
  maskedPaths?: string[];
  readonlyPaths?: string[];
  mountLabel?: string;
  sysctl?: Record<string, string>;
  seccomp?: LinuxSeccomp;
  intelRdt?: IntelRdt;
  memoryPolicy?: MemoryPolicy;
  personality?: { domain: PersonalityDomain; flags?: string[] };
}

/** resctrl. Without `closID` the group has the container's ID; `/` is the root group. */
export interface IntelRdt {
  closID?: string;
  /** Lines of the file schemata, written after the two below. */
  schemata?: string[];
  l3CacheSchema?: string;
  memBwSchema?: string;
  enableMonitoring?: boolean;
}

/** set_mempolicy(2). `nodes` is a list such as `0-3,7`. */
export interface MemoryPolicy {
  mode: MemoryPolicyMode;
  nodes?: string;
  flags?: MemoryPolicyFlag[];
}

export interface Resources {
  devices?: DeviceRule[];
  memory?: MemoryResources;
  cpu?: CpuResources;
  pids?: { limit: number };
  blockIO?: BlockIoResources;
  hugepageLimits?: { pageSize: string; limit: Int64 }[];
  network?: { classID?: number; priorities?: { name: string; priority: number }[] };
  rdma?: Record<string, { hcaHandles?: number; hcaObjects?: number }>;
  unified?: Record<string, string>;
}

export interface DeviceRule {
  allow: boolean;
  type?: "a" | "c" | "b";
  major?: number;
  minor?: number;
  /** Any of `r`, `w`, `m`. */
  access?: string;
}

/** Bytes. `swap` is memory plus swap, as cgroup v1 counts. */
export interface MemoryResources {
  limit?: Int64;
  reservation?: Int64;
  swap?: Int64;
  /** Obsolete since Linux 5.4. */
  kernel?: Int64;
  kernelTCP?: Int64;
  swappiness?: number;
  disableOOMKiller?: boolean;
  useHierarchy?: boolean;
  checkBeforeUpdate?: boolean;
}

/** `quota` and `period` in microseconds. */
export interface CpuResources {
  shares?: Int64;
  quota?: number;
  burst?: number;
  period?: number;
  realtimeRuntime?: number;
  realtimePeriod?: number;
  idle?: number;
  cpus?: string;
  mems?: string;
}

export interface BlockIoResources {
  weight?: number;
  leafWeight?: number;
  weightDevice?: { major: number; minor: number; weight?: number; leafWeight?: number }[];
  throttleReadBpsDevice?: Throttle[];
  throttleWriteBpsDevice?: Throttle[];
  throttleReadIOPSDevice?: Throttle[];
  throttleWriteIOPSDevice?: Throttle[];
}

export interface Throttle {
  major: number;
  minor: number;
  rate: Int64;
}

/**
 * What the runtime-spec has no field for, as annotations: how `tupper run` makes the root filesystem, and PID 1.
 * A foreign config.json has none of these and gets its root as it is (`bind`).
 */
export const ANNOTATION = {
  /** `overlay`, `bind` or `copy`. */
  rootKind: "tupper.root.kind",
  /** Size limit in bytes of the tmpfs that holds writes (`overlay`) or the tree (`copy`). */
  rootSize: "tupper.root.size",
  /** `true`: a zombie-reaping, signal-forwarding PID 1. */
  init: "tupper.init",
  /** crun's: there (whatever the value is), a system call in the seccomp profile that is not known here is an error. */
  failUnknownSyscall: "run.oci.seccomp_fail_unknown_syscall",
  /** crun's: where `linux.seccomp` names no listenerPath. */
  seccompReceiver: "run.oci.seccomp.receiver",
  /** crun's: a filter in base64, which holds in place of `linux.seccomp`. */
  seccompData: "run.oci.seccomp_bpf_data",
  /** crun's: on cgroup v2 the container lives in this group below its own, and may do with it what it likes. */
  delegatedGroup: "run.oci.delegate-cgroup",
  /** crun's: the mount at this path becomes a tmpfs with `systemd` in it, the container's group in v1's hierarchy of that name. */
  systemdV1: "run.oci.systemd.force_cgroup_v1",
  /** crun's: as `--pidfd-socket`. */
  pidfdReceiver: "run.oci.pidfd_receiver",
} as const;

/** crun's variable of the caller's environment: where neither `linux.seccomp` nor an annotation names the agent. */
export const SECCOMP_RECEIVER = "RUN_OCI_SECCOMP_RECEIVER";
