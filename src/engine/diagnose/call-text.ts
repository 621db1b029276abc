/** System calls of a tracee in words: the name, and the arguments as far as they say something. */
import type { Call } from "../../execute/ptrace.ts";
import { AUDIT_ARCHES } from "../../plan/seccomp/compile.ts";
import { type SyscallArch, syscallNames, syscallNumber } from "../../plan/seccomp/syscalls.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";

const X32_BIT = 0x40000000;

const tables = new Map<SyscallArch, Map<number, string>>();

/** Which of our tables a call is from; undefined for an architecture that has none. */
export function archOf({ arch, nr }: Call): SyscallArch | undefined {
  const isX32 = nr >= X32_BIT;
  return (Object.keys(AUDIT_ARCHES) as SyscallArch[]).find(
    (name) => AUDIT_ARCHES[name] === arch && (name === "SCMP_ARCH_X32") === isX32,
  );
}

/** `openat`; `syscall_999` for a number that is none here. */
export function nameOfCall(call: Call): string {
  const arch = archOf(call);
  if (arch === undefined) return `syscall_${call.nr}`;
  let names = tables.get(arch);
  if (names === undefined) {
    names = new Map(syscallNames(arch).map((name) => [syscallNumber(name, arch) ?? -1, name]));
    tables.set(arch, names);
  }
  return names.get(call.nr) ?? `syscall_${call.nr}`;
}

/**
 * Kinds of arguments: p path or other text, d directory descriptor, i number, o octal, x hexadecimal, a address, s socket
 * address with its length, f flags of open. A call that is not here shows numbers.
 */
const KINDS: ReadonlyMap<string, string> = new Map(
  (
    "open:pfo openat:dpfo openat2:dpa creat:po access:po faccessat:dpo faccessat2:dpox stat:p lstat:p newfstatat:dp statx:dpx statfs:p " +
    "readlink:p readlinkat:dp mkdir:po mkdirat:dpo rmdir:p unlink:p unlinkat:dpx rename:pp renameat:dpdp renameat2:dpdpx link:pp linkat:dpdpx " +
    "symlink:pp symlinkat:pdp chmod:po fchmod:io fchmodat:dpo chown:pii lchown:pii fchown:iii fchownat:dpiix mknod:pox mknodat:dpox " +
    "mount:pppxa umount2:px chroot:p chdir:p fchdir:i pivot_root:pp swapon:px swapoff:p truncate:pi ftruncate:ii utimensat:dpa utime:p " +
    "setxattr:pp lsetxattr:pp fsetxattr:ip removexattr:pp execve:p execveat:dp sethostname:pi setdomainname:pi unshare:x setns:ix clone:x " +
    "clone3:ai ptrace:iiaa kill:ii tkill:ii tgkill:iii setuid:i setgid:i setreuid:ii setregid:ii setresuid:iii setresgid:iii setgroups:ia " +
    "setfsuid:i setfsgid:i capset:aa setpriority:iii sched_setscheduler:iia sched_setaffinity:iia sched_setattr:iax ioprio_set:iii bind:is " +
    "connect:is socket:ixi socketpair:ixi setsockopt:iii ioctl:ixa settimeofday:aa clock_settime:ia adjtimex:a clock_adjtime:ia reboot:xxx " +
    "init_module:aip finit_module:ipx delete_module:px bpf:ia perf_event_open:aiiix keyctl:i add_key:pp request_key:pp prctl:iii personality:x " +
    "iopl:i ioperm:iii io_uring_setup:ia userfaultfd:x quotactl:xp syslog:iai fsopen:px fsconfig:iipp fsmount:ixx open_tree:dpx move_mount:dpdpx " +
    "mount_setattr:dpx pidfd_getfd:iix process_vm_readv:i process_vm_writev:i kcmp:iiii prlimit64:ii setrlimit:ia mlock:ai mlockall:x acct:p " +
    "open_by_handle_at:iax name_to_handle_at:dp fanotify_init:xx getdents64:i write:ia read:ia pwrite64:ia kexec_load:ii vhangup: seccomp:ixa"
  )
    .split(" ")
    .map((entry) => entry.split(":") as [string, string]),
);

const ARG_FLAGS: readonly (readonly [number, string])[] = [
  [0o100, "O_CREAT"],
  [0o200, "O_EXCL"],
  [0o1000, "O_TRUNC"],
  [0o2000, "O_APPEND"],
  [0o200000, "O_DIRECTORY"],
  [0o400000, "O_NOFOLLOW"],
  [0o10000000, "O_PATH"],
];

/** A call with what its arguments point to. */
export interface ToldCall {
  name: string;
  /** `openat(AT_FDCWD, "/etc/shadow", O_RDONLY)`. */
  text: string;
  /** Paths among the arguments, with the descriptor that they start from (AT_FDCWD where there is none). */
  paths: { dirfd: number; path: string }[];
  /** Argument numbers, for what looks at them. */
  numbers: number[];
  /** The arguments as `text` has them, but paths whole and without quotes. */
  args: string[];
}

/** To be asked while the tracee is stopped. */
export function tellCall(tid: number, call: Call): ToldCall {
  const name = nameOfCall(call);
  const kinds = KINDS.get(name);
  const paths: ToldCall["paths"] = [];
  const numbers = call.args.map((arg) => Number(BigInt.asIntN(32, arg)));
  const whole = new Map<number, string>();
  let dirfd = AT_FDCWD;
  const shown = [...(kinds ?? "xxx")].map((kind, i) => {
    const arg = call.args[i] ?? 0n;
    const number = numbers[i] ?? 0;
    switch (kind) {
      case "p": {
        if (arg === 0n) return "NULL";
        const text = readText(tid, arg);
        if (text === undefined) return `0x${arg.toString(16)}`;
        paths.push({ dirfd, path: text });
        whole.set(i, text);
        dirfd = AT_FDCWD;
        return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
      }
      case "d":
        dirfd = number;
        return number === AT_FDCWD ? "AT_FDCWD" : String(number);
      case "s":
        return addressText(tid, arg, numbers[i + 1] ?? 0);
      case "i":
        return String(number);
      case "o":
        return `0${(number >>> 0).toString(8)}`;
      case "f":
        return openFlags(number);
      case "a":
        return arg === 0n ? "NULL" : "…";
      default:
        return `0x${arg.toString(16)}`;
    }
  });
  const text = `${name}(${shown.join(", ")}${kinds === undefined ? ", …" : ""})`;
  return { name, text, paths, numbers, args: shown.map((arg, i) => whole.get(i) ?? arg) };
}

function openFlags(flags: number): string {
  const mode = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDWR"][flags & 3] ?? "";
  return [mode, ...ARG_FLAGS.filter(([bit]) => flags & bit).map(([, name]) => name)].join("|");
}

/** The bytes at an address of the tracee, up to `length` of them; undefined where there are none to be had. */
export function readMemory(tid: number, address: bigint, length: number): Uint8Array | undefined {
  const fd = raw.openat(AT_FDCWD, `/proc/${tid}/mem`, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const buffer = new ArrayBuffer(length);
  const got = raw.lseek(fd, address, 0) < 0 ? -1 : raw.read(fd, buffer);
  raw.close(fd);
  return got > 0 ? new Uint8Array(buffer, 0, got) : undefined;
}

const PAGE = 4096n;

/** A NUL-terminated text. The page behind it may not be there, so no read goes past the end of a page. */
function readText(tid: number, address: bigint): string | undefined {
  let text = new Uint8Array();
  for (let at = address; text.length < 4096; ) {
    const part = readMemory(tid, at, Number(PAGE - (at % PAGE)));
    if (part === undefined) return text.length === 0 ? undefined : decode(text);
    const end = part.indexOf(0);
    const joined = new Uint8Array(text.length + (end < 0 ? part.length : end));
    joined.set(text);
    joined.set(end < 0 ? part : part.subarray(0, end), text.length);
    text = joined;
    if (end >= 0) break;
    at += BigInt(part.length);
  }
  return decode(text);
}

const decode = (bytes: Uint8Array): string =>
  raw.decodeText(bytes.slice().buffer as ArrayBuffer, 0, bytes.length) as string;

/** struct sockaddr of the families that people meet. */
function addressText(tid: number, address: bigint, length: number): string {
  const bytes = address === 0n ? undefined : readMemory(tid, address, Math.min(Math.max(length, 2), 110));
  if (bytes === undefined || bytes.length < 2) return "…";
  const family = (bytes[0] ?? 0) + 256 * (bytes[1] ?? 0);
  if (family === 1) {
    const path = bytes.subarray(2, length);
    const end = path.indexOf(0, 1);
    const text = decode(end < 0 ? path : path.subarray(0, end));
    return `{AF_UNIX, ${JSON.stringify(text.replace(/^\0/, "@"))}}`;
  }
  if (family === 2 || family === 10) return `{AF_INET${family === 10 ? "6" : ""}, port ${portOf(bytes)}}`;
  return `{family ${family}}`;
}

const portOf = (bytes: Uint8Array): number => (bytes[2] ?? 0) * 256 + (bytes[3] ?? 0);

/** The port of an address for bind(2); undefined where it has none. */
export function portIn(tid: number, address: bigint): number | undefined {
  const bytes = readMemory(tid, address, 4);
  if (bytes === undefined || bytes.length < 4) return undefined;
  const family = (bytes[0] ?? 0) + 256 * (bytes[1] ?? 0);
  return family === 2 || family === 10 ? portOf(bytes) : undefined;
}
