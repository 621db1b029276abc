/** Which capability the kernel asks for where it answers EPERM or EACCES to a call. capabilities(7), and the source of Linux 6.18. */
import type { ToldCall } from "./call-text.ts";

const NEEDS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    SYS_ADMIN:
      "mount umount2 pivot_root setns unshare clone clone3 sethostname setdomainname swapon swapoff fsopen fsconfig fsmount fspick move_mount " +
      "open_tree mount_setattr quotactl quotactl_fd fanotify_init lookup_dcookie",
    SYS_CHROOT: "chroot",
    SYS_BOOT: "reboot kexec_load kexec_file_load",
    SYS_TIME: "settimeofday clock_settime adjtimex clock_adjtime stime",
    SYS_MODULE: "init_module finit_module delete_module",
    SYS_PTRACE: "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise",
    SETUID: "setuid setreuid setresuid setfsuid",
    SETGID: "setgid setregid setresgid setfsgid setgroups",
    SETPCAP: "capset",
    CHOWN: "chown fchown lchown fchownat",
    FOWNER: "chmod fchmod fchmodat fchmodat2 utimensat utime utimes futimesat setxattr lsetxattr fsetxattr",
    MKNOD: "mknod mknodat",
    KILL: "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal",
    SYS_NICE:
      "setpriority sched_setscheduler sched_setparam sched_setattr sched_setaffinity ioprio_set mbind migrate_pages move_pages",
    SYS_RESOURCE: "setrlimit prlimit64",
    IPC_LOCK: "mlock mlock2 mlockall",
    SYS_RAWIO: "iopl ioperm",
    SYSLOG: "syslog",
    SYS_PACCT: "acct",
    SYS_TTY_CONFIG: "vhangup",
    DAC_READ_SEARCH: "open_by_handle_at",
    BPF: "bpf",
    PERFMON: "perf_event_open",
  }).flatMap(([capability, calls]) => calls.split(" ").map((call) => [call, capability] as const)),
);

const [AF_PACKET, SOCK_RAW, SOCK_PACKET] = [17, 3, 10];
const PRIVILEGED_PORTS = 1024;

/** Without `CAP_`; undefined where no capability is what the call lacks. `port`: what bind(2) was asked for. */
export function capabilityFor({ name, numbers }: ToldCall, port: number | undefined): string | undefined {
  const [first = 0, second = 0] = numbers;
  if (name === "socket") {
    const type = second & 0xf;
    return first === AF_PACKET || type === SOCK_RAW || type === SOCK_PACKET ? "NET_RAW" : undefined;
  }
  if (name === "bind")
    return port !== undefined && port > 0 && port < PRIVILEGED_PORTS ? "NET_BIND_SERVICE" : undefined;
  // SIOC* that set: interfaces, routes, ARP, bridges. netdevice(7)
  if (name === "ioctl") return second >> 8 === 0x89 && second !== 0x8910 ? "NET_ADMIN" : undefined;
  if (name === "setsockopt") return "NET_ADMIN";
  return NEEDS.get(name);
}

/** Calls that change the directory above what they name. */
export const CHANGES_PARENT: ReadonlySet<string> = new Set(
  "creat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat".split(
    " ",
  ),
);

const [R, W, X] = [4, 2, 1];

/** What is asked of the file itself: bits of R, W, X; 0 where its mode does not matter. */
export function accessFor({ name, numbers }: ToldCall, call: { args: readonly bigint[] }): number {
  const flagsOf = (i: number): number => [R, W, R | W, R | W][(numbers[i] ?? 0) & 3] ?? 0;
  const at = (i: number): number => Number((call.args[i] ?? 0n) & 7n);
  switch (name) {
    case "open":
      return flagsOf(1);
    case "openat":
      return flagsOf(2);
    case "creat":
    case "truncate":
      return W;
    case "access":
      return at(1);
    case "faccessat":
    case "faccessat2":
      return at(2);
    case "execve":
    case "execveat":
    case "chdir":
    case "chroot":
      return X;
    default:
      return 0;
  }
}
