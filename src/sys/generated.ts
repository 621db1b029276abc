// Generated from host/sys.table by scripts/generate.ts: do not edit.

/** The host's calls as they are: a negative result is -errno. */
export interface RawSys {
  openat(dirfd: number | bigint, path: string, flags: number | bigint, mode: number | bigint): number;
  openat2(dirfd: number | bigint, path: string, how: ArrayBuffer): number;
  close(fd: number | bigint): number;
  closeRange(first: number | bigint, last: number | bigint, flags: number | bigint): number;
  read(fd: number | bigint, buffer: ArrayBuffer): number;
  write(fd: number | bigint, data: string | ArrayBuffer): number;
  lseek(fd: number | bigint, offset: number | bigint, whence: number | bigint): number;
  mkdirat(dirfd: number | bigint, path: string, mode: number | bigint): number;
  mknodat(dirfd: number | bigint, path: string, mode: number | bigint, dev: number | bigint): number;
  unlinkat(dirfd: number | bigint, path: string, flags: number | bigint): number;
  renameat2(olddirfd: number | bigint, oldpath: string, newdirfd: number | bigint, newpath: string, flags: number | bigint): number;
  symlinkat(target: string, dirfd: number | bigint, path: string): number;
  linkat(olddirfd: number | bigint, oldpath: string, newdirfd: number | bigint, newpath: string, flags: number | bigint): number;
  fchownat(dirfd: number | bigint, path: string, uid: number | bigint, gid: number | bigint, flags: number | bigint): number;
  fchmodat(dirfd: number | bigint, path: string, mode: number | bigint): number;
  fchmod(fd: number | bigint, mode: number | bigint): number;
  fchown(fd: number | bigint, uid: number | bigint, gid: number | bigint): number;
  utimensat(dirfd: number | bigint, path: string | null, times: ArrayBuffer | null, flags: number | bigint): number;
  faccessat(dirfd: number | bigint, path: string, mode: number | bigint): number;
  statx(dirfd: number | bigint, path: string, flags: number | bigint, mask: number | bigint, statx: ArrayBuffer): number;
  statfs(path: string, statfs: ArrayBuffer): number;
  fstatfs(fd: number | bigint, statfs: ArrayBuffer): number;
  getdents64(fd: number | bigint, buffer: ArrayBuffer): number;
  sendfile(to: number | bigint, from: number | bigint, offset: ArrayBuffer | null, length: number | bigint): number;
  ftruncate(fd: number | bigint, length: number | bigint): number;
  flock(fd: number | bigint, operation: number | bigint): number;
  fcntl(fd: number | bigint, command: number | bigint, value: number | bigint): number;
  dup3(oldfd: number | bigint, newfd: number | bigint, flags: number | bigint): number;
  pipe2(fds: ArrayBuffer, flags: number | bigint): number;
  ioctl(fd: number | bigint, request: number | bigint, argument: ArrayBuffer): number;
  ioctlInt(fd: number | bigint, request: number | bigint, value: number | bigint): number;
  memfdCreate(name: string, flags: number | bigint): number;
  umask(mask: number | bigint): number;
  chdir(path: string): number;
  getcwd(buffer: ArrayBuffer): number;
  fchdir(fd: number | bigint): number;
  chroot(path: string): number;
  fgetxattr(fd: number | bigint, name: string, value: ArrayBuffer): number;
  fsetxattr(fd: number | bigint, name: string, value: string | ArrayBuffer, flags: number | bigint): number;
  flistxattr(fd: number | bigint, list: ArrayBuffer): number;
  mount(source: string | null, target: string, fstype: string | null, flags: number | bigint, data: string | null): number;
  umount2(target: string, flags: number | bigint): number;
  pivotRoot(newRoot: string, putOld: string): number;
  openTree(dirfd: number | bigint, path: string, flags: number | bigint): number;
  openTreeAttr(dirfd: number | bigint, path: string, flags: number | bigint, attr: ArrayBuffer): number;
  moveMount(fromDirfd: number | bigint, fromPath: string, toDirfd: number | bigint, toPath: string, flags: number | bigint): number;
  mountSetattr(dirfd: number | bigint, path: string, flags: number | bigint, attr: ArrayBuffer): number;
  fsopen(fstype: string, flags: number | bigint): number;
  fsconfig(fd: number | bigint, command: number | bigint, key: string | null, value: string | null, aux: number | bigint): number;
  fsmount(fd: number | bigint, flags: number | bigint, attr: number | bigint): number;
  unshare(flags: number | bigint): number;
  setns(fd: number | bigint, nstype: number | bigint): number;
  sethostname(name: string | ArrayBuffer): number;
  setdomainname(name: string | ArrayBuffer): number;
  uname(utsname: ArrayBuffer): number;
  getpid(): number;
  getppid(): number;
  getuid(): number;
  getgid(): number;
  geteuid(): number;
  getegid(): number;
  getgroups(size: number | bigint, list: ArrayBuffer | null): number;
  setsid(): number;
  setpgid(pid: number | bigint, pgid: number | bigint): number;
  getpgid(pid: number | bigint): number;
  kill(pid: number | bigint, signal: number | bigint): number;
  pidfdOpen(pid: number | bigint, flags: number | bigint): number;
  pidfdSendSignal(pidfd: number | bigint, signal: number | bigint, info: ArrayBuffer | null, flags: number | bigint): number;
  pidfdGetfd(pidfd: number | bigint, targetfd: number | bigint, flags: number | bigint): number;
  ptrace(request: number | bigint, pid: number | bigint, address: number | bigint, data: number | bigint): number;
  ptraceInto(request: number | bigint, pid: number | bigint, address: number | bigint, data: ArrayBuffer | null): number;
  wait4(pid: number | bigint, status: ArrayBuffer, options: number | bigint, rusage: ArrayBuffer | null): number;
  rtSigaction(signal: number | bigint, action: ArrayBuffer | null, old: ArrayBuffer | null, size: number | bigint): number;
  rtSigprocmask(how: number | bigint, set: ArrayBuffer | null, old: ArrayBuffer | null, size: number | bigint): number;
  signalfd4(fd: number | bigint, mask: ArrayBuffer, size: number | bigint, flags: number | bigint): number;
  ppoll(fds: ArrayBuffer, count: number | bigint, timeout: ArrayBuffer | null, sigmask: ArrayBuffer | null, size: number | bigint): number;
  eventfd2(initial: number | bigint, flags: number | bigint): number;
  inotifyInit1(flags: number | bigint): number;
  inotifyAddWatch(fd: number | bigint, path: string, mask: number | bigint): number;
  prctl(option: number | bigint, arg2: number | bigint, arg3: number | bigint, arg4: number | bigint, arg5: number | bigint): number;
  prctlText(option: number | bigint, text: string): number;
  capget(header: ArrayBuffer, data: ArrayBuffer): number;
  capset(header: ArrayBuffer, data: ArrayBuffer): number;
  setgroups(size: number | bigint, list: ArrayBuffer): number;
  setresuid(ruid: number | bigint, euid: number | bigint, suid: number | bigint): number;
  setresgid(rgid: number | bigint, egid: number | bigint, sgid: number | bigint): number;
  prlimit64(pid: number | bigint, resource: number | bigint, limit: ArrayBuffer | null, old: ArrayBuffer | null): number;
  setpriority(which: number | bigint, who: number | bigint, priority: number | bigint): number;
  schedSetattr(pid: number | bigint, attr: ArrayBuffer, flags: number | bigint): number;
  schedSetaffinity(pid: number | bigint, size: number | bigint, mask: ArrayBuffer): number;
  ioprioSet(which: number | bigint, who: number | bigint, priority: number | bigint): number;
  personality(persona: number | bigint): number;
  setMempolicy(mode: number | bigint, mask: ArrayBuffer | null, maxnode: number | bigint): number;
  keyctlJoin(operation: number | bigint, name: string | null): number;
  keyctlSet(operation: number | bigint, key: number | bigint, value: number | bigint): number;
  keyctlDescribe(operation: number | bigint, key: number | bigint, buffer: ArrayBuffer): number;
  execve(path: string, argv: readonly string[], envp: readonly string[]): number;
  execveat(dirfd: number | bigint, path: string, argv: readonly string[], envp: readonly string[], flags: number | bigint): number;
  exitGroup(code: number | bigint): number;
  getrandom(buffer: ArrayBuffer, flags: number | bigint): number;
  clockGettime(clock: number | bigint, timespec: ArrayBuffer): number;
  socket(domain: number | bigint, type: number | bigint, protocol: number | bigint): number;
  socketpair(domain: number | bigint, type: number | bigint, protocol: number | bigint, fds: ArrayBuffer): number;
  bind(fd: number | bigint, address: ArrayBuffer): number;
  connect(fd: number | bigint, address: ArrayBuffer): number;
  sendto(fd: number | bigint, data: string | ArrayBuffer, flags: number | bigint, address: ArrayBuffer | null, size: number | bigint): number;
  readText(fd: number | bigint): string | number;
  readlinkText(dirfd: number | bigint, path: string): string | number;
  encodeText(text: string): unknown;
  decodeText(buffer: ArrayBuffer, start: number | bigint, end: number | bigint): string | number;
  spawn(flags: number | bigint, cgroupFd: number | bigint, childEnd: number | bigint, parentEnd: number | bigint, child: () => void): number;
  sendMessage(fd: number | bigint, text: string, fds: unknown): number;
  receiveMessage(fd: number | bigint): unknown;
  awaitReadable(first: number | bigint, second: number | bigint): number;
  seccompLoad(flags: number | bigint, program: ArrayBuffer): number;
  seccompLoadListener(flags: number | bigint, program: ArrayBuffer, channel: number | bigint): number;
  takeListener(pidfd: number | bigint, fd: number | bigint, channel: number | bigint): number;
  attachDeviceProgram(cgroup: number | bigint, program: ArrayBuffer): number;
  writeInit(fd: number | bigint): number;
  monotonicUs(): unknown;
  environment(): unknown;
  wakeHeap(): number;
  sourceMap(): string | number;
}

/** The kernel's name of each call. */
export const CALL_NAMES = {
  openat: "openat",
  openat2: "openat2",
  close: "close",
  closeRange: "close_range",
  read: "read",
  write: "write",
  lseek: "lseek",
  mkdirat: "mkdirat",
  mknodat: "mknodat",
  unlinkat: "unlinkat",
  renameat2: "renameat2",
  symlinkat: "symlinkat",
  linkat: "linkat",
  fchownat: "fchownat",
  fchmodat: "fchmodat",
  fchmod: "fchmod",
  fchown: "fchown",
  utimensat: "utimensat",
  faccessat: "faccessat",
  statx: "statx",
  statfs: "statfs",
  fstatfs: "fstatfs",
  getdents64: "getdents64",
  sendfile: "sendfile",
  ftruncate: "ftruncate",
  flock: "flock",
  fcntl: "fcntl",
  dup3: "dup3",
  pipe2: "pipe2",
  ioctl: "ioctl",
  ioctlInt: "ioctl",
  memfdCreate: "memfd_create",
  umask: "umask",
  chdir: "chdir",
  getcwd: "getcwd",
  fchdir: "fchdir",
  chroot: "chroot",
  fgetxattr: "fgetxattr",
  fsetxattr: "fsetxattr",
  flistxattr: "flistxattr",
  mount: "mount",
  umount2: "umount2",
  pivotRoot: "pivot_root",
  openTree: "open_tree",
  openTreeAttr: "open_tree_attr",
  moveMount: "move_mount",
  mountSetattr: "mount_setattr",
  fsopen: "fsopen",
  fsconfig: "fsconfig",
  fsmount: "fsmount",
  unshare: "unshare",
  setns: "setns",
  sethostname: "sethostname",
  setdomainname: "setdomainname",
  uname: "uname",
  getpid: "getpid",
  getppid: "getppid",
  getuid: "getuid",
  getgid: "getgid",
  geteuid: "geteuid",
  getegid: "getegid",
  getgroups: "getgroups",
  setsid: "setsid",
  setpgid: "setpgid",
  getpgid: "getpgid",
  kill: "kill",
  pidfdOpen: "pidfd_open",
  pidfdSendSignal: "pidfd_send_signal",
  pidfdGetfd: "pidfd_getfd",
  ptrace: "ptrace",
  ptraceInto: "ptrace",
  wait4: "wait4",
  rtSigaction: "rt_sigaction",
  rtSigprocmask: "rt_sigprocmask",
  signalfd4: "signalfd4",
  ppoll: "ppoll",
  eventfd2: "eventfd2",
  inotifyInit1: "inotify_init1",
  inotifyAddWatch: "inotify_add_watch",
  prctl: "prctl",
  prctlText: "prctl",
  capget: "capget",
  capset: "capset",
  setgroups: "setgroups",
  setresuid: "setresuid",
  setresgid: "setresgid",
  prlimit64: "prlimit64",
  setpriority: "setpriority",
  schedSetattr: "sched_setattr",
  schedSetaffinity: "sched_setaffinity",
  ioprioSet: "ioprio_set",
  personality: "personality",
  setMempolicy: "set_mempolicy",
  keyctlJoin: "keyctl",
  keyctlSet: "keyctl",
  keyctlDescribe: "keyctl",
  execve: "execve",
  execveat: "execveat",
  exitGroup: "exit_group",
  getrandom: "getrandom",
  clockGettime: "clock_gettime",
  socket: "socket",
  socketpair: "socketpair",
  bind: "bind",
  connect: "connect",
  sendto: "sendto",
  readText: "read_text",
  readlinkText: "readlink_text",
  encodeText: "encode_text",
  decodeText: "decode_text",
  spawn: "spawn",
  sendMessage: "send_message",
  receiveMessage: "receive_message",
  awaitReadable: "await_readable",
  seccompLoad: "seccomp_load",
  seccompLoadListener: "seccomp_load_listener",
  takeListener: "take_listener",
  attachDeviceProgram: "attach_device_program",
  writeInit: "write_init",
  monotonicUs: "monotonic_us",
  environment: "environment",
  wakeHeap: "wake_heap",
  sourceMap: "source_map",
} as const satisfies Record<keyof RawSys, string>;

/** The first Linux that has a call. */
export const SINCE: Readonly<Record<string, string>> = {
  openat2: "5.6",
  close_range: "5.9",
  statx: "4.11",
  open_tree: "5.2",
  open_tree_attr: "6.15",
  move_mount: "5.2",
  mount_setattr: "5.12",
  fsopen: "5.2",
  fsconfig: "5.2",
  fsmount: "5.2",
  pidfd_open: "5.3",
  pidfd_send_signal: "5.1",
  pidfd_getfd: "5.6",
};
