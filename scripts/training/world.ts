/**
 * A make-believe machine for the training build: it stands in the kernel's place while the build watches which parts of
 * the heap a command touches (scripts/placement.ts). Evaluated on the finished heap, before the command.
 *
 * Whatever a set-up asks of it succeeds, and it answers the same each time, so that two builds are equal. Only the init
 * process is real, and the messages to and from it: the two share the heap in turn, as they do outside.
 */
import type { RawSys } from "../../src/sys/generated.ts";
import { bundleConfig } from "./bundle.ts";

declare const __sys: RawSys;
declare const __main: (argv: string[]) => number;
/**
 * Whether what happens is marked as the command's doing; without an argument nothing ever is; a function of the host is
 * marked as called with these arguments (host/training.h).
 */
declare const __observe: (on?: boolean | AnyCall, ...args: unknown[]) => void;

const ENOENT = -2;
const EAGAIN = -11;
const EBUSY = -16;
const EINVAL = -22;
const ENOTTY = -25;
const ENOTDIR = -20;
const EROFS = -30;
const SIGCHLD = 17;
const AT_FDCWD = -100;
const CLONE_VM = 0x100;
const CLONE_PARENT = 0x8000;
const O_WRONLY = 1;
const O_CREAT = 0o100;
const O_PATH = 0o10000000;
const LOCK_NB = 4;
const FIRST_FD = 1000;
const ENVIRONMENT = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8"];
const OWN_FILE = "/proc/self/exe";
const INIT = 4242;
const OWN_PID = 4000;
const [S_IFDIR, S_IFREG, S_IFCHR] = [0o040000, 0o100000, 0o020000];

/** The host's functions are not enumerable. */
const CALLS = Object.getOwnPropertyNames(__sys) as (keyof RawSys)[];
type AnyCall = (...args: unknown[]) => unknown;
const calls = __sys as unknown as Record<string, AnyCall>;
/** The host's own function, which is observed, called by the machine, which is not. */
const observed =
  (call: AnyCall): AnyCall =>
  (...args) => {
    __observe(true);
    const result = call(...args);
    __observe(false);
    return result;
  };
const unobserved =
  (original: AnyCall, call: AnyCall): AnyCall =>
  (...args) => {
    __observe(original, ...args);
    const result = call(...args);
    __observe(true);
    return result;
  };
const real = Object.fromEntries(CALLS.map((name) => [name, calls[name] && observed(calls[name])])) as unknown as RawSys;
const variable = (name: string): string =>
  (real.environment() as string[]).find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";

/** `hybrid`: control groups of both versions, as on the oldest machines; `v2`: as on all later ones. */
const layout = variable("TRAINING_CGROUPS");
const CONTROLLERS = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "name=systemd"];
const directoryOf = (controller: string) => `/sys/fs/cgroup/${controller.replace("name=", "")}`;
const tree = layout === "v2" ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";

/** What symbolic links say that were made. */
const links = new Map<string, string>();

const files = new Map<string, string>([
  [
    "/proc/self/mountinfo",
    [
      "22 27 0:21 / /proc rw,relatime - proc proc rw",
      "23 27 0:22 / /sys rw,relatime - sysfs sysfs rw",
      "24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334432k,nr_inodes=3083608,mode=755",
      "25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24683656k",
      "26 24 0:24 / /dev/pts rw,relatime - devpts devpts rw,mode=600,ptmxmode=000",
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
      ...(layout === "v2" ? [] : CONTROLLERS).map(
        (one, i) => `${32 + i} 31 0:${29 + i} / ${directoryOf(one)} rw,relatime - cgroup cgroup rw,${one}`,
      ),
      `41 31 0:38 / ${tree} rw,relatime - cgroup2 cgroup2 rw`,
      "",
    ].join("\n"),
  ],
  [
    "/proc/self/cgroup",
    `${layout === "v2" ? "" : CONTROLLERS.map((one, i) => `${i + 1}:${one}:/\n`).join("")}0::/user.slice\n`,
  ],
  [`${tree}/cgroup.controllers`, layout === "v2" ? "cpuset cpu io memory hugetlb pids rdma misc\n" : "\n"],
  [`${tree}/engine/box/cgroup.controllers`, layout === "v2" ? "cpuset cpu io memory pids\n" : "\n"],
  [`${tree}/engine/box/cgroup.events`, "populated 1\nfrozen 1\n"],
  [`${tree}/cgroup.subtree_control`, ""],
  ["/proc/self/status", "Name:\ttupper\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"],
  // Its clock stands at 1970: so the container is of today.
  ["/proc/uptime", "1200.00 2500.00\n"],
  ["/proc/sys/kernel/pid_max", "4194304\n"],
  [`/proc/${INIT}/status`, "Name:\ttrue\nUid:\t0\t0\t0\t0\n"],
  [`/proc/${INIT}/cmdline`, "true\0"],
  [`/proc/${INIT}/stat`, `${INIT} (true) S 1 ${"4242 ".repeat(17)}123456 4096 1`],
  ["/bundle/config.json", bundleConfig(layout === "v2")],
  ["/bundle-mounts/config.json", bundleConfig(layout === "v2", "mounts")],
  ["/bundle-user/config.json", bundleConfig(layout === "v2", "user")],
  ["/etc/hosts", ""],
  ...["/rootfs/etc/", "/etc/"].flatMap((etc): [string, string][] => [
    [`${etc}passwd`, "root:x:0:0:root:/root:/bin/sh\nbox:x:1000:1000::/home/box:/bin/sh\n\n"],
    [`${etc}group`, "root:x:0:\nusers:x:100:box,root\n\n"],
  ]),
  ["/sys/fs/cgroup/cpuset/cpuset.cpus", "0-1\n"],
  ["/sys/fs/cgroup/cpuset/cpuset.mems", "0\n"],
]);

interface OpenFile {
  path: string;
  text: string;
  at: number;
}
const open = new Map<number, OpenFile>();
/** Who holds the lock on a path. */
const locked = new Map<string, number>();
/** What a set-up has to make before it can mount there. */
const missing = new Set<string>();
/** Not everything that is to be hidden is there, or a file. */
const [ABSENT, DIRECTORIES] = ["/proc/asound", ["/proc/acpi", "/proc/scsi", "/sys/firmware"]];
/** Where commands are looked for and are not. */
const ELSEWHERE = /^\/usr\/local\//;
let nextFd = FIRST_FD;
let keepsFiles = false;
let busy = true;

const absolute = (dirfd: number | bigint, path: string): string => {
  if (path.startsWith("/")) return path;
  const directory = open.get(Number(dirfd))?.path ?? "/rootfs";
  return path === "" || path === "." ? directory : `${directory}/${path}`;
};

function openFile(dirfd: number | bigint, path: string, flags: number): number {
  const name = absolute(dirfd, path);
  const writes = (flags & (O_WRONLY | O_CREAT)) !== 0;
  const text = files.get(name);
  if (missing.has(name)) return ENOENT;
  const isDirectory = !/\/(etc|proc\/self\/[a-z_]+$)|\.[a-z]+$/.test(name);
  // O_PATH: what is mounted upon is there.
  if (text === undefined && !writes && (flags & O_PATH) === 0 && !isDirectory && !name.includes("/cpuset."))
    return ENOENT;
  while (open.has(nextFd)) nextFd++;
  open.set(nextFd, { path: name, text: text ?? "", at: 0 });
  return nextFd++;
}

/** What `read` and `readText` take from a file. */
function take(fd: number | bigint, limit: number): string {
  const file = open.get(Number(fd));
  if (file === undefined) return "";
  const text = file.text.slice(file.at, file.at + limit);
  file.at += text.length;
  return text;
}

function fill(buffer: ArrayBuffer, text: string): number {
  new Uint8Array(buffer).set(Array.from(text, (character) => character.charCodeAt(0)));
  return text.length;
}

/** The magic numbers of procfs and sysfs, whose roots are inode 1. */
const ROOTS: Readonly<Record<string, bigint>> = { "/proc": 0x9fa0n, "/sys": 0x62656572n };

function statx(dirfd: number | bigint, path: string, buffer: ArrayBuffer): number {
  const name = absolute(dirfd, path);
  // Standard input, output and error are the null device, as engines give it.
  const isStandard = path === "" && dirfd >= 0 && dirfd <= 2;
  const kind = isStandard || name.startsWith("/dev/") ? S_IFCHR : files.has(name) ? S_IFREG : S_IFDIR;
  const view = new DataView(buffer);
  view.setUint32(16, 2, true); // stx_nlink
  view.setUint16(28, kind | 0o755, true); // stx_mode
  view.setBigUint64(32, name in ROOTS ? 1n : 2n, true); // stx_ino
  view.setUint32(128, 1, true); // stx_rdev_major and _minor: every device is the null device
  view.setUint32(132, 3, true);
  view.setBigUint64(40, BigInt(files.get(name)?.length ?? 0), true); // stx_size
  return 0;
}

/** One entry for each state root, a container's own directory and control groups; nothing elsewhere. getdents64(2). */
function readEntries(fd: number | bigint, buffer: ArrayBuffer): number {
  const file = open.get(Number(fd));
  const isOwn = file?.path === "/run/tupper-runtime/box";
  const isRoot = file?.path === "/run/tupper" || file?.path === "/run/tupper-runtime";
  const isGroup = file?.path.startsWith("/sys/fs/cgroup/") === true;
  if (file === undefined || !(isRoot || isOwn || isGroup) || file.at > 0) return 0;
  file.at = 1;
  const view = new DataView(buffer);
  const [DT_DIR, DT_REG] = [4, 8];
  const name = isGroup ? "tasks\0" : isOwn ? "init\0" : "box\0";
  const size = 24 + (name.length > 5 ? 8 : 0);
  view.setUint16(16, size, true);
  view.setUint8(18, isRoot ? DT_DIR : DT_REG);
  for (let i = 0; i < name.length; i++) view.setUint8(19 + i, name.charCodeAt(i));
  return size;
}

const number = (value: number | bigint): number => Number(value);
const isReal = (fd: number | bigint): boolean => number(fd) < FIRST_FD;

const fakes: { [K in keyof RawSys]?: RawSys[K] } = {
  openat: (dirfd, path, flags) => openFile(dirfd, path, number(flags)),
  openat2: (dirfd, path) => openFile(dirfd, path, 0),
  openTree: (dirfd, path) => {
    open.set(nextFd, { path: absolute(dirfd, path), text: "", at: 0 });
    return nextFd++;
  },
  openTreeAttr: () => nextFd++,
  fsopen: () => nextFd++,
  fsmount: () => nextFd++,
  pidfdOpen: () => nextFd++,
  socket: () => nextFd++,
  memfdCreate: () => nextFd++,
  signalfd4: () => nextFd++,
  mkdirat: (dirfd, path) => {
    missing.delete(absolute(dirfd, path));
    return 0;
  },
  // The container's root has less in it than the machine's.
  pivotRoot: () => {
    for (const name of ["pts", "shm", "mqueue"]) missing.add(`/dev/${name}`);
    if (layout !== "v2") for (const controller of CONTROLLERS) missing.add(directoryOf(controller));
    return 0;
  },
  moveMount: (from, _fromPath, dirfd, name) => {
    const [path, isFile] = [absolute(dirfd, name), open.get(number(from))?.path === "/dev/null"];
    return path === ABSENT ? ENOENT : isFile && DIRECTORIES.includes(path) ? EINVAL : 0;
  },
  close: (fd) => {
    if (isReal(fd)) return real.close(fd);
    const path = open.get(number(fd))?.path ?? "";
    if (locked.get(path) === number(fd)) locked.delete(path);
    open.delete(number(fd));
    return 0;
  },
  read: (fd, buffer) => {
    if (open.has(number(fd))) return fill(buffer, take(fd, buffer.byteLength));
    new DataView(buffer).setUint32(0, SIGCHLD, true);
    return 128;
  },
  readText: (fd) => take(fd, 1 << 20),
  write: (fd, data) => {
    if (number(fd) === 2) return real.write(fd, data);
    const file = open.get(number(fd));
    const text = typeof data === "string" ? data : (real.decodeText(data, 0, data.byteLength) as string);
    if (file !== undefined) {
      file.text = file.path.endsWith("freezer.state") ? `${text}\n` : file.text + text;
      files.set(file.path, file.text);
    }
    return text.length;
  },
  statx: (dirfd, path, _flags, _mask, buffer) => statx(dirfd, path, buffer),
  fstatfs: (fd, buffer) => {
    const EXT4 = 0xef53n;
    new DataView(buffer).setBigInt64(0, ROOTS[open.get(number(fd))?.path ?? ""] ?? EXT4, true);
    return 0;
  },
  getdents64: readEntries,
  // LOCK_NB says no where LOCK_EX alone would wait.
  flock: (fd, operation) => {
    const path = open.get(number(fd))?.path ?? "";
    if (locked.has(path) && (number(operation) & LOCK_NB) !== 0) return EAGAIN;
    locked.set(path, number(fd));
    return 0;
  },
  renameat2: (_olddirfd, oldpath, _newdirfd, newpath) => {
    files.set(newpath, files.get(oldpath) ?? "");
    files.delete(oldpath);
    return 0;
  },
  // A control group stays busy for a moment after its last process.
  unlinkat: (dirfd, path) => {
    const name = absolute(dirfd, path);
    if (name.startsWith("/run/tupper-runtime/") && !files.has(name) && /\.|socket$/.test(name)) return ENOENT;
    if (!keepsFiles) {
      files.delete(name);
      links.delete(name);
    }
    if (!busy || !path.startsWith("/sys/")) return 0;
    busy = false;
    return EBUSY;
  },
  symlinkat: (target, _dirfd, path) => {
    links.set(path, target);
    return 0;
  },
  readlinkText: (_dirfd, path) => {
    if (path === "/proc/self") return String(OWN_PID);
    if (path === "/proc/self/cwd") return "/root";
    if (path === OWN_FILE) return "/usr/bin/tupper-runtime";
    if (path === "/proc/self/ns/user") return "user:[4026531837]";
    if (path === "/proc/self/ns/time") return "time:[4026531834]";
    if (missing.has(path)) return ENOENT;
    if (path.endsWith("/init")) return links.get(path) ?? ENOENT;
    return open.get(Number(path.slice(path.lastIndexOf("/") + 1)))?.path ?? EINVAL;
  },
  getcwd: (buffer) => fill(buffer, "/\0"),
  ioctl: (_fd, request) => (number(request) === 0x5401 ? ENOTTY : 0),
  capget: (_header, data) => {
    new Uint32Array(data).fill(0xffffffff);
    return 0;
  },
  uname: (buffer) => {
    for (const [i, text] of ["Linux", "machine", "6.18.0", "#1", "x86_64"].entries())
      new Uint8Array(buffer).set(
        Array.from(text, (character) => character.charCodeAt(0)),
        65 * i,
      );
    return 0;
  },
  keyctlDescribe: (_operation, _key, buffer) => fill(buffer, "keyring;0;0;3f1b0000;_ses.box\0"),
  // An array of the command's own realm.
  environment: () => {
    const entries = real.environment() as string[];
    entries.length = ENVIRONMENT.length;
    for (const [i, entry] of ENVIRONMENT.entries()) entries[i] = entry;
    return entries;
  },
  monotonicUs: () => 1000,
  getpid: () => OWN_PID,
  execve: () => real.exitGroup(0),
  execveat: () => real.exitGroup(0),
  // The runtime executes itself once more from where its file cannot be written; TRAINING_FIRST: before that.
  faccessat: (_dirfd, path) => {
    if (path === OWN_FILE && variable("TRAINING_FIRST") === "") return EROFS;
    if (path.endsWith("/.")) return ENOTDIR; // the command is a file
    return ELSEWHERE.test(path) ? ENOENT : 0;
  },
  exitGroup: real.exitGroup,
  socketpair: real.socketpair,
  // The init process of `create` waits on a socket with a name for `start`, and here gets it at once.
  receiveMessage: (fd) => (isReal(fd) ? real.receiveMessage(fd) : { text: '{"kind":"start"}', fds: [nextFd++] }),
  // `start` sends the socket for its answers with the message, and gets the last of them.
  sendMessage: (fd, text, fds) => {
    if (isReal(fd)) return real.sendMessage(fd, text, (fds as number[]).filter(isReal));
    const [answers] = fds as number[];
    return answers === undefined ? 0 : real.sendMessage(answers, '{"kind":"exec"}', []);
  },
  // Whatever is waited for has come; without descriptors it is a pause.
  ppoll: (fds, count) => {
    for (let i = 0; i < number(count); i++) new DataView(fds).setInt16(8 * i + 6, 1, true);
    return number(count);
  },
  spawn: (flags, _cgroup, childEnd, parentEnd, child) => {
    const pid = real.spawn(number(flags) & (CLONE_VM | CLONE_PARENT), 0, childEnd, parentEnd, child);
    return pid < 0 ? pid : INIT;
  },
  // Whichever child it is, it ends by itself, and there is no other.
  wait4: (_pid, status) => (real.wait4(-1, status, 0, null) > 0 ? INIT : -10),
  encodeText: real.encodeText,
  decodeText: real.decodeText,
  sourceMap: real.sourceMap,
};

const nothing = () => 0;
for (const name of CALLS) {
  const original = calls[name];
  if (original !== undefined) calls[name] = unobserved(original, (fakes[name] ?? nothing) as AnyCall);
}

// What another command has to have left: containers that run, or wait to be started. In a process of its own, so that the
// heap is as the build left it when the command begins.
const before = variable("TRAINING_BEFORE");
if (before !== "") {
  keepsFiles = true;
  const left = real.memfdCreate("left", 0);
  real.spawn(0, 0, -1, -1, () => {
    __observe();
    __main(before.split(" "));
    real.write(left, `${JSON.stringify([...files])}\n${JSON.stringify([...links])}`);
    real.exitGroup(0);
  });
  real.wait4(-1, new ArrayBuffer(4), 0, null);
  const again = real.openat(AT_FDCWD, `/proc/self/fd/${left}`, 0, 0);
  const [filesLeft = "", linksLeft = ""] = (real.readText(again) as string).split("\n");
  for (const [path, text] of JSON.parse(filesLeft) as [string, string][]) files.set(path, text);
  for (const [path, text] of JSON.parse(linksLeft) as [string, string][]) links.set(path, text);
  // Its group has a process, for who lists them; whoever waits for its end need not wait.
  if (variable("TRAINING_WORDS").includes(" ps "))
    for (const { path } of JSON.parse(files.get("/run/tupper-runtime/box/state.json") ?? "").cgroups as {
      path: string;
    }[])
      files.set(`${path}/cgroup.procs`, `${INIT}\n`);
}
