/**
 * The seccomp profile of containers that bring none: equal in effect to Docker's, so that what runs there runs here.
 *
 * It is an allowlist; all else answers EPERM. Docker's profile (moby/profiles, seccomp/default_linux.go, June 2026) is
 * one alphabetical list with conditions; here the calls stand by subject. A name that an architecture lacks is
 * skipped there, so the old, the 64-bit and the time64 variants of a call stand next to each other.
 *
 * Not allowed, and why: io_uring_* (calls that pass the filter by, and a long list of escapes), userfaultfd (holds the
 * kernel still in the middle of a copy), keyctl, add_key and request_key (keyrings are not namespaced), kexec_*,
 * swapon, nfsservctl, quotactl and the like (they are about the host), and all that needs a capability that the
 * container does not have anyway: a second barrier, should the kernel's check have a hole.
 */

import type { LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompArch } from "../../spec/seccomp.ts";
import type { SyscallArch } from "./syscalls.ts";

export interface DefaultProfileOptions {
  /** The process's bounding set, as CAP_* names. */
  capabilities: readonly string[];
  /** The machine's architecture. */
  arch: SyscallArch;
  /** uname(2)'s release, of which the first two numbers count. */
  kernelVersion: string;
}

/** The 14 capabilities that Docker gives to a container. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

/**
 * The default profile for a container with these capabilities on this machine.
 *
 * ```ts
 * defaultSeccompProfile({ capabilities: ["CAP_SYS_ADMIN"], arch: "SCMP_ARCH_X86_64", kernelVersion: "6.18.0" });
 * ```
 */
export function defaultSeccompProfile({ capabilities, arch, kernelVersion }: DefaultProfileOptions): LinuxSeccomp {
  const names = Object.values(ALWAYS).flatMap(words);
  const forArch = BY_ARCH.filter(({ archs }) => archs.includes(arch)).flatMap((group) => words(group.names));
  const forCapabilities = capabilities.flatMap((capability) => words(BY_CAPABILITY[capability] ?? ""));
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: EPERM,
    architectures: [arch, ...(COMPATIBLE_ARCHES[arch] ?? [])],
    syscalls: [
      allow([...names, ...forArch, ...new Set(forCapabilities)]),
      ...(isAtLeast(kernelVersion, 4, 8) ? [allow(words(TRACING))] : []),
      ...SOCKETS,
      ...PERSONALITIES,
      ...(capabilities.includes("CAP_SYS_ADMIN") ? [] : CLONES_WITHOUT_NAMESPACES),
    ],
  };
}

const EPERM = 1;
const ENOSYS = 38;

/** Programs of these run on the same kernel. */
const COMPATIBLE_ARCHES: Partial<Record<SyscallArch, SeccompArch[]>> = {
  SCMP_ARCH_X86_64: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  SCMP_ARCH_AARCH64: ["SCMP_ARCH_ARM"],
};

/** What every container may call, whatever its arguments. */
const ALWAYS = {
  openFiles: `
    open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock ioctl
    name_to_handle_at memfd_create memfd_secret`,
  readAndWrite: `
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek readahead
    sendfile sendfile64 splice tee vmsplice copy_file_range
    truncate truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64
    sync syncfs fsync fdatasync sync_file_range cachestat`,
  inspectFiles: `
    stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx access faccessat faccessat2
    statfs statfs64 fstatfs fstatfs64 statmount listmount readlink readlinkat getdents getdents64 getcwd`,
  changeFiles: `
    chdir fchdir mkdir mkdirat rmdir link linkat symlink symlinkat unlink unlinkat rename renameat renameat2
    mknod mknodat umask chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32
    utime utimes futimesat utimensat utimensat_time64`,
  extendedAttributes: `
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
    listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat`,
  // fanotify_mark works on a descriptor of fanotify_init, which takes CAP_SYS_ADMIN.
  watchFiles: "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark",
  waitForDescriptors: `
    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 pipe pipe2 eventfd eventfd2 signalfd signalfd4
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2`,
  // The asynchronous I/O of before io_uring.
  asynchronousIo: "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64",
  memory: `
    brk mmap mmap2 munmap mremap remap_file_pages mprotect madvise mincore msync membarrier
    mlock mlock2 mlockall munlock munlockall mseal map_shadow_stack pkey_alloc pkey_free pkey_mprotect`,
  // socket itself depends on the family, see SOCKETS. socketcall is i386's way to all of these.
  sockets: `
    socketcall socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt
    send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64`,
  interprocess: `
    ipc semget semop semctl semtimedop semtimedop_time64 msgget msgsnd msgrcv msgctl shmget shmat shmdt shmctl
    mq_open mq_unlink mq_notify mq_getsetattr
    mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64`,
  // clone and clone3 depend on their flags, see CLONES_WITHOUT_NAMESPACES.
  processes: `
    fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid set_tid_address
    getpgrp getpgid setpgid getsid setsid pidfd_open pidfd_send_signal process_mrelease prctl
    set_thread_area get_thread_area uretprobe restart_syscall`,
  threads: `
    futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue set_robust_list get_robust_list rseq`,
  signals: `
    kill tkill tgkill pause sigaltstack sigprocmask sigreturn rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64`,
  // adjtimex and clock_adjtime read the clock's state; to set it they take CAP_SYS_TIME.
  time: `
    time gettimeofday times nanosleep clock_nanosleep clock_nanosleep_time64
    clock_gettime clock_gettime64 clock_getres clock_getres_time64 adjtimex clock_adjtime clock_adjtime64
    alarm getitimer setitimer timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`,
  scheduling: `
    sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getcpu`,
  identity: `
    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32
    getresuid getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32
    setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32
    setgroups setgroups32 capget capset`,
  limitsAndFacts: `
    getrlimit setrlimit ugetrlimit prlimit64 getrusage sysinfo uname getrandom`,
  // A process may always give up more.
  sandboxes: "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
};

/** What only some machines have. The calls of arm are for its programs on arm64 too. */
const BY_ARCH: readonly { archs: readonly SyscallArch[]; names: string }[] = [
  {
    archs: ["SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"],
    names: "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
  },
  // The thread pointer of 64-bit programs.
  { archs: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"], names: "arch_prctl" },
  // Segments of 16-bit programs: Wine.
  { archs: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_X86"], names: "modify_ldt" },
];

/**
 * Before Linux 4.8 a tracer could change the call of a traced process behind the filter, and so pass it by.
 * Reading and writing another's memory goes with it: both ask the kernel for the same permission.
 */
const TRACING = "ptrace process_vm_readv process_vm_writev";

/** What a capability in the bounding set opens beside. */
const BY_CAPABILITY: Readonly<Record<string, string>> = {
  CAP_BPF: "bpf",
  CAP_DAC_READ_SEARCH: "open_by_handle_at",
  CAP_PERFMON: "perf_event_open",
  CAP_SYS_ADMIN: `
    clone clone3 setns unshare mount umount umount2 mount_setattr move_mount open_tree
    fsopen fsconfig fsmount fspick fanotify_init quotactl quotactl_fd sethostname setdomainname
    bpf perf_event_open syslog lookup_dcookie lsm_get_self_attr lsm_set_self_attr lsm_list_modules`,
  CAP_SYS_BOOT: "reboot",
  CAP_SYS_CHROOT: "chroot",
  CAP_SYS_MODULE: "init_module finit_module delete_module",
  CAP_SYS_NICE: "get_mempolicy set_mempolicy set_mempolicy_home_node mbind",
  CAP_SYS_PACCT: "acct",
  CAP_SYS_PTRACE: `${TRACING} kcmp pidfd_getfd process_madvise`,
  CAP_SYS_RAWIO: "iopl ioperm",
  CAP_SYS_TIME: "settimeofday stime clock_settime clock_settime64",
  CAP_SYS_TTY_CONFIG: "vhangup",
  CAP_SYSLOG: "syslog",
};

const AF_ALG = 38;
const AF_VSOCK = 40;

/**
 * All address families but two: AF_VSOCK reaches the hypervisor's host past every network namespace, and AF_ALG is a
 * wide door to kernel code that hardly any program needs. i386 programs get them through socketcall, whose arguments
 * lie in memory.
 */
const SOCKETS: readonly LinuxSyscall[] = [
  allow(["socket"], { index: 0, op: "SCMP_CMP_LT", value: AF_ALG }),
  allow(["socket"], { index: 0, op: "SCMP_CMP_EQ", value: AF_ALG + 1 }),
  allow(["socket"], { index: 0, op: "SCMP_CMP_GT", value: AF_VSOCK }),
];

const UNAME26 = 0x20000;
const PER_LINUX32 = 0x0008;
const QUERY = 0xffffffff;

/** The harmless ones: not those that switch address randomization or the ban on mapping page 0 off. */
const PERSONALITIES: readonly LinuxSyscall[] = [0, PER_LINUX32, UNAME26, UNAME26 | PER_LINUX32, QUERY].map((value) =>
  allow(["personality"], { index: 0, op: "SCMP_CMP_EQ", value }),
);

const CLONE_NEWNS = 0x00020000;
const CLONE_NEWCGROUP = 0x02000000;
const CLONE_NEWUTS = 0x04000000;
const CLONE_NEWIPC = 0x08000000;
const CLONE_NEWUSER = 0x10000000;
const CLONE_NEWPID = 0x20000000;
const CLONE_NEWNET = 0x40000000;

/** CLONE_NEWTIME (0x80) is missing because clone(2) cannot take it: those bits are the exit signal. */
const CLONE_NAMESPACES =
  CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/**
 * Threads and processes, but no namespaces: a user namespace gives all capabilities over what lies in it, and with them
 * the code paths that most of the kernel's published escalations are in.
 *
 * clone3 takes its flags in memory, where no filter sees them. ENOSYS and not EPERM: glibc then falls back to clone.
 */
const CLONES_WITHOUT_NAMESPACES: readonly LinuxSyscall[] = [
  allow(["clone"], { index: 0, op: "SCMP_CMP_MASKED_EQ", value: CLONE_NAMESPACES, valueTwo: 0 }),
  { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS },
];

function allow(names: string[], ...args: LinuxSeccompArg[]): LinuxSyscall {
  return { names, action: "SCMP_ACT_ALLOW", ...(args.length > 0 && { args }) };
}

function words(text: string): string[] {
  return text
    .trim()
    .split(/\s+/)
    .filter((word) => word !== "");
}

function isAtLeast(release: string, major: number, minor: number): boolean {
  const [runningMajor = 0, runningMinor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  return runningMajor > major || (runningMajor === major && runningMinor >= minor);
}
