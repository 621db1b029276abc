/**
 * The points at which a command can be given a fault: each system call that it and its init process make, and the errors
 * that the kernel gives there when memory, descriptors, space, rights or the call itself are lacking.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { SHARED, X86_64 } from "../src/plan/seccomp/syscall-tables.ts";
import { compiled, slowness } from "./harness.ts";

export interface Point {
  /** 0 is the command, 1 the first process that it clones. */
  process: number;
  call: string;
  number: number;
  /** Which of the process's calls of that name, from 1. */
  nth: number;
}

/** What cannot fail, or fails only for a caller who asks for nonsense; and what ends a process. */
const UNFAILING = new Set(
  "exit exit_group getpid gettid getppid getuid getgid geteuid getegid umask rt_sigreturn rt_sigprocmask rt_sigaction set_tid_address set_robust_list arch_prctl rseq clock_gettime munmap futex".split(
    " ",
  ),
);

const OPEN = ["ENOENT", "EACCES", "EMFILE", "ENOMEM", "EIO"];
const MOUNT = ["EPERM", "EINVAL", "ENOMEM", "ENOSYS"];
const OTHERWISE = ["EPERM", "EINVAL", "ENOMEM"];
/** By name of the call. */
const ERRNOS: Readonly<Record<string, readonly string[]>> = {
  open: OPEN,
  openat: OPEN,
  openat2: [...OPEN, "EAGAIN", "EXDEV", "ENOSYS"],
  read: ["EIO", "EINTR", "ENOMEM"],
  pread64: ["EIO", "EINTR"],
  write: ["EIO", "ENOSPC", "EPERM", "EINVAL", "EBUSY", "EINTR"],
  close: ["EIO", "EINTR"],
  mmap: ["ENOMEM"],
  mprotect: ["ENOMEM"],
  mremap: ["ENOMEM"],
  brk: ["ENOMEM"],
  madvise: ["EINVAL", "ENOMEM"],
  mkdirat: ["EACCES", "ENOSPC", "EROFS"],
  mkdir: ["EACCES", "ENOSPC", "EROFS"],
  mknodat: ["EPERM", "ENOSPC"],
  symlinkat: ["EACCES", "ENOSPC"],
  unlinkat: ["EBUSY", "EROFS", "EIO"],
  renameat: ["ENOSPC", "EIO"],
  renameat2: ["ENOSPC", "EIO"],
  newfstatat: ["EACCES", "ENOENT", "EIO"],
  statx: ["EACCES", "ENOENT", "ENOSYS"],
  faccessat: ["EACCES", "EIO"],
  statfs: ["EIO", "ENOSYS"],
  fstatfs: ["EIO", "ENOSYS"],
  getdents64: ["EIO", "ENOENT"],
  readlinkat: ["EACCES", "ENOENT", "EIO"],
  flock: ["EINTR", "ENOLCK"],
  fcntl: ["EMFILE", "EINVAL"],
  dup3: ["EMFILE", "EBADF"],
  pipe2: ["EMFILE", "ENFILE"],
  memfd_create: ["EMFILE", "ENOMEM", "ENOSYS"],
  ioctl: ["ENOTTY", "EIO", "EPERM"],
  mount: ["EPERM", "EINVAL", "ENOMEM", "EBUSY", "ENOSPC"],
  umount2: ["EBUSY", "EINVAL", "EPERM"],
  pivot_root: ["EINVAL", "EPERM", "EBUSY"],
  chroot: ["EPERM", "ENOENT"],
  chdir: ["EACCES", "ENOENT"],
  fchdir: ["EACCES", "ENOTDIR"],
  open_tree: [...MOUNT, "EMFILE"],
  open_tree_attr: [...MOUNT, "EMFILE"],
  move_mount: [...MOUNT, "ENOSPC"],
  mount_setattr: MOUNT,
  fsopen: [...MOUNT, "EMFILE"],
  fsconfig: [...MOUNT, "EBUSY"],
  fsmount: [...MOUNT, "EMFILE"],
  unshare: ["EPERM", "ENOMEM", "ENOSPC", "EINVAL"],
  setns: ["EPERM", "ENOMEM", "EINVAL"],
  clone: ["EAGAIN", "ENOMEM", "ENOSPC", "EPERM"],
  clone3: ["EAGAIN", "ENOMEM", "ENOSPC", "EPERM", "ENOSYS", "EINVAL", "EBUSY"],
  execve: ["ENOENT", "EACCES", "ENOMEM", "E2BIG", "EIO"],
  execveat: ["ENOENT", "EACCES", "ENOMEM", "E2BIG", "EIO"],
  wait4: ["EINTR", "ECHILD"],
  waitid: ["EINTR", "ECHILD"],
  kill: ["EPERM", "ESRCH"],
  pidfd_open: ["ESRCH", "EMFILE", "ENOMEM", "ENOSYS"],
  pidfd_send_signal: ["ESRCH", "EPERM", "ENOSYS"],
  signalfd4: ["EMFILE", "ENOMEM"],
  ppoll: ["EINTR", "ENOMEM"],
  poll: ["EINTR", "ENOMEM"],
  socket: ["EMFILE", "ENOBUFS", "EACCES", "EAFNOSUPPORT"],
  socketpair: ["EMFILE", "ENOBUFS"],
  bind: ["EADDRINUSE", "EACCES", "ENOSPC"],
  connect: ["ECONNREFUSED", "EACCES", "EAGAIN"],
  sendto: ["ENOBUFS", "EPIPE", "EINTR"],
  sendmsg: ["ENOBUFS", "EPIPE", "ETOOMANYREFS", "EINTR"],
  recvmsg: ["ENOMEM", "EINTR", "EMFILE", "ECONNRESET"],
  recvfrom: ["ENOMEM", "EINTR"],
  close_range: ["ENOSYS", "EPERM"],
  seccomp: ["EINVAL", "ENOMEM", "EACCES", "ENOSYS"],
  prctl: ["EPERM", "ENOMEM"],
  keyctl: ["EDQUOT", "ENOMEM", "ENOSYS", "EPERM"],
  getrandom: ["EINTR", "ENOSYS"],
  setsid: ["EPERM"],
  setgroups: ["EPERM", "ENOMEM"],
  setresuid: ["EPERM", "EAGAIN"],
  setresgid: ["EPERM"],
  prlimit64: ["EPERM", "EINVAL"],
};

export const errnosOf = ({ call }: Point): readonly string[] => ERRNOS[call] ?? OTHERWISE;

export function errnoNumber(name: string): number {
  const number = (constants.errno as Readonly<Record<string, number>>)[name] ?? { ENOLCK: 37, ETOOMANYREFS: 109 }[name];
  if (number === undefined) throw new Error(`the number of ${name} is not known`);
  return number;
}

const names = new Map<number, string>();
for (const table of [X86_64, SHARED]) {
  let number = 0;
  for (const word of table.trim().split(/\s+/)) {
    if (/^\d+$/.test(word)) number = Number(word);
    else names.set(number++, word);
  }
}

const TIMEOUT_MS = 20_000 * slowness;

export interface Traced {
  code: number | null;
  /** What the tracer says about it. */
  report: string;
  stdout: string;
  stderr: string;
}

/** Runs a command under the tracer, with `out`, `err` and `report` in the directory; `wanted` is the tracer's arguments before the file. */
async function traced(
  wanted: readonly string[],
  command: readonly string[],
  directory: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Traced> {
  const file = (name: string) => join(directory, name);
  // Files and no pipes: a created container keeps its output open.
  const fds = [openSync("/dev/null", "r"), openSync(file("out"), "w"), openSync(file("err"), "w")];
  const arguments_ = wanted.length === 0 ? ["list", file("report")] : [...wanted, file("report")];
  const child = spawn(compiled("inject_fault"), [...arguments_, ...command], {
    stdio: fds,
    cwd: "/",
    env: { ...process.env, ...env },
  });
  let late = "";
  const timer = setTimeout(() => {
    late = `did not end within ${TIMEOUT_MS} ms\n`;
    child.kill("SIGKILL");
  }, TIMEOUT_MS);
  const code = await new Promise<number | null>((done) => child.on("exit", done));
  clearTimeout(timer);
  for (const fd of fds) closeSync(fd);
  const read = (name: string) => readFileSync(file(name), "utf8");
  return { code, report: late + read("report"), stdout: read("out"), stderr: read("err") };
}

/** All points of a command that succeeds, in their order. */
export async function pointsOf(
  command: readonly string[],
  directory: string,
  env?: NodeJS.ProcessEnv,
): Promise<{ points: Point[]; outcome: Traced }> {
  const outcome = await traced([], command, directory, env);
  const points = outcome.report
    .trim()
    .split("\n")
    .map((line): Point => {
      const [process = 0, number = 0, nth = 0] = line.split(" ").map(Number);
      return { process, number, nth, call: names.get(number) ?? `call ${number}` };
    })
    .filter(({ call }) => !UNFAILING.has(call));
  return { points, outcome };
}

/** Runs a command of which the call at this point fails. */
export const withFault = (
  { process: of, number, nth }: Point,
  errno: string,
  command: readonly string[],
  directory: string,
  env?: NodeJS.ProcessEnv,
): Promise<Traced> => traced([of, number, nth, errnoNumber(errno)].map(String), command, directory, env);

/** Runs a command and sends SIGKILL before the call at this point: to the command, to what it cloned last, to a process of this number. */
export const withKill = (
  { process: of, number, nth }: Point,
  whom: readonly ("parent" | "child" | number)[],
  command: readonly string[],
  directory: string,
  env?: NodeJS.ProcessEnv,
): Promise<Traced> => traced([...[of, number, nth].map(String), `kill:${whom.join()}`], command, directory, env);
