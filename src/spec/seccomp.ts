/**
 * `linux.seccomp` of the runtime-spec 1.3 (config-linux.md, "Seccomp").
 *
 * The names are the spec's, which took them from libseccomp. `value` and `valueTwo` are uint64: a number where it is
 * exact, a bigint beyond 2^53.
 */

/** What the kernel does with a system call. `SCMP_ACT_KILL` is the old name of `SCMP_ACT_KILL_THREAD`. */
export const SECCOMP_ACTIONS = [
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
  "SCMP_ACT_NOTIFY",
] as const;
export type SeccompAction = (typeof SECCOMP_ACTIONS)[number];

/** How an argument is compared with `value`; for `SCMP_CMP_MASKED_EQ` that is the mask and `valueTwo` the value. */
export const SECCOMP_OPERATORS = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
] as const;
export type SeccompOperator = (typeof SECCOMP_OPERATORS)[number];

export const SECCOMP_ARCHES = [
  "SCMP_ARCH_X86",
  "SCMP_ARCH_X86_64",
  "SCMP_ARCH_X32",
  "SCMP_ARCH_ARM",
  "SCMP_ARCH_AARCH64",
  "SCMP_ARCH_LOONGARCH64",
  "SCMP_ARCH_M68K",
  "SCMP_ARCH_MIPS",
  "SCMP_ARCH_MIPS64",
  "SCMP_ARCH_MIPS64N32",
  "SCMP_ARCH_MIPSEL",
  "SCMP_ARCH_MIPSEL64",
  "SCMP_ARCH_MIPSEL64N32",
  "SCMP_ARCH_PPC",
  "SCMP_ARCH_PPC64",
  "SCMP_ARCH_PPC64LE",
  "SCMP_ARCH_S390",
  "SCMP_ARCH_S390X",
  "SCMP_ARCH_PARISC",
  "SCMP_ARCH_PARISC64",
  "SCMP_ARCH_RISCV64",
  "SCMP_ARCH_SH",
  "SCMP_ARCH_SHEB",
] as const;
export type SeccompArch = (typeof SECCOMP_ARCHES)[number];

/** Flags of seccomp(2). */
export const SECCOMP_FLAGS = [
  "SECCOMP_FILTER_FLAG_TSYNC",
  "SECCOMP_FILTER_FLAG_LOG",
  "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
  "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
] as const;
export type SeccompFlag = (typeof SECCOMP_FLAGS)[number];

export interface LinuxSeccomp {
  defaultAction: SeccompAction;
  /** For a `defaultAction` of ERRNO or TRACE; EPERM where unset. */
  defaultErrnoRet?: number;
  /** Beside the native architecture, which is always meant. */
  architectures?: SeccompArch[];
  flags?: SeccompFlag[];
  /** Path of the socket that receives the descriptor of `SCMP_ACT_NOTIFY`. */
  listenerPath?: string;
  /** Handed to that socket uninterpreted. */
  listenerMetadata?: string;
  syscalls?: LinuxSyscall[];
}

export interface LinuxSyscall {
  names: string[];
  action: SeccompAction;
  /** For an action of ERRNO or TRACE; EPERM where unset. */
  errnoRet?: number;
  /** All must hold, unless two are about one argument: then each is a rule of its own, as in runc and crun. */
  args?: LinuxSeccompArg[];
}

export interface LinuxSeccompArg {
  /** Which argument of the call, from 0 to 5. */
  index: number;
  value: number | bigint;
  valueTwo?: number | bigint;
  op: SeccompOperator;
}
