/**
 * The steps of the init process, each performed by the function of its name. This process becomes the container: it
 * changes namespaces, root, ids and privileges on the way, so a step can rely only on what the steps before it left.
 */
import { ContainerError } from "../error.ts";
import type { InitStep, Slot } from "../plan/step.ts";
import { CAPABILITIES, capabilityMask } from "../spec/capabilities.ts";
import {
  AF_INET,
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_NEWNS,
  CLOSE_RANGE_CLOEXEC,
  F_SETFD,
  IFF_UP,
  KEYCTL_JOIN_SESSION_KEYRING,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  O_CLOEXEC,
  O_CREAT,
  O_RDONLY,
  O_WRONLY,
  OPEN_TREE_CLONE,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_DUMPABLE,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
  PR_SET_PDEATHSIG,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  SIGNALS,
  SIOCSIFFLAGS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  TIOCSCTTY,
} from "../sys/constants.ts";
import { writeFile } from "../sys/files.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE, type Statx } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { packError, receive, send } from "./channel.ts";
import { copyTree } from "./copy-tree.ts";
import { executeCommand } from "./exec-command.ts";
import { becomeInit, forkCommand, openInitProgram } from "./fork-init.ts";
import { mountAttributeBits, mountAttributes, mountFlags, propagationFlags } from "./mount-flags.ts";
import { namespaceFlag, namespaceFlags } from "./namespace-flags.ts";
import { openPty } from "./pty.ts";
import { explainStep } from "./step-error.ts";
import type { Tracer } from "./tracer.ts";

/** What steps hand on to later ones. */
export interface InitContext {
  channel: number;
  tracer: Tracer;
  /** Values that exist only now, descriptors all of them, by slot name. */
  slots: Map<string, number>;
  /** With --init, in the command's process: reads as end of file once PID 1 is tupper-init. */
  initIsReady?: number;
  /** The slave of the container's terminal: it becomes stdio last of all, so that errors go to the caller until then. */
  terminal?: number;
  /** The first masked directory: later ones are bound from it. */
  maskedDirectory?: string;
}

type StepArguments<Op extends InitStep["op"]> = Extract<InitStep, { op: Op }>;
type PlainStep = Exclude<InitStep, { op: "forkInit" }>;
type Performers = { [Op in PlainStep["op"]]: (step: Extract<PlainStep, { op: Op }>, context: InitContext) => void };

/**
 * Closes what the parent had open, all but standard input, output and error and those in `keep`: from here on a container's
 * path can lead to no descriptor of the machine (CVE-2024-21626).
 */
export function closeInherited(keep: readonly number[]): void {
  let from = 3;
  for (const fd of [...keep].sort((a, b) => a - b)) {
    if (fd > from) closeRange(from, fd - 1);
    from = fd + 1;
  }
  closeRange(from, 0xffffffff);
}

function closeRange(first: number, last: number): void {
  const result = raw.closeRange(first, last, 0);
  // Linux before 5.9, or a seccomp filter around us that does not know it.
  if (result === ENOSYS || result === -1)
    for (let fd = first; fd <= Math.min(last, OLD_KERNEL_DESCRIPTORS); fd++) raw.close(fd);
  else check(result, "close_range", first, last);
}

/** How far descriptors are looked for one by one. */
const OLD_KERNEL_DESCRIPTORS = 65536;

/** Performs the steps in order and becomes the command. What goes wrong is told to the parent; then the process ends. */
export function runInit(steps: readonly InitStep[], context: InitContext): never {
  for (const [i, step] of steps.entries()) {
    try {
      if (step.op === "forkInit") {
        const program = openInitProgram();
        const rest = steps.slice(i + 1);
        const pid = forkCommand((initIsReady) => runInit(rest, { ...context, initIsReady }));
        for (const later of rest)
          if (later.op !== "newSession" && later.op !== "exec" && later.op !== "forkInit") performStep(later, context);
        becomeInit(program, pid);
      } else performStep(step, context);
    } catch (error) {
      raw.sendMessage(context.channel, JSON.stringify(packError(explainStep(step, error))), []);
      break;
    }
  }
  return raw.exitGroup(127) as never;
}

/** The last step, `exec`, comes back only with an error. */
function performStep(step: PlainStep, context: InitContext): void {
  const perform = performers[step.op] as (step: PlainStep, context: InitContext) => void;
  context.tracer.step(step, () => perform(step, context));
}

const ENOENT = -2;
const EINVAL = -22;
const ENOTDIR = -20;
const EEXIST = -17;
const ENOSYS = -38;

const performers: Performers = {
  parentDeathSignal({ signal }) {
    sys.prctl(PR_SET_PDEATHSIG, SIGNALS[signal.replace(/^SIG/, "")] ?? 9, 0, 0, 0);
  },

  joinCgroup({ controller, path }) {
    // "0" is the writer. On v1 `tasks`, not cgroup.procs: that takes a global lock and waits for a grace period (7 ms).
    writeFile(`${path}/${controller === "unified" ? "cgroup.procs" : "tasks"}`, "0");
  },

  joinNamespace({ type, path }) {
    const fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    const result = raw.setns(fd, namespaceFlag(type));
    // The kernel refuses to join the user namespace that one is in already. setns(2)
    const joined =
      result === EINVAL &&
      type === "user" &&
      statOf(fd, "", AT_EMPTY_PATH).ino === statOf(AT_FDCWD, "/proc/self/ns/user", 0).ino;
    raw.close(fd);
    if (!joined) check(result, "setns", path, type);
  },

  joinProcess({ process, namespaces }, { slots }) {
    sys.setns(slotValue(slots, process), namespaceFlags(namespaces));
  },

  refuseTracing() {
    sys.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  },

  becomeMappedRoot(_step, { channel, slots }) {
    send(channel, { kind: "map" });
    const answer = receive(channel);
    if (answer?.message.kind !== "mapped") {
      throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
    }
    for (const [i, slot] of answer.message.trees.entries()) slots.set(slot, answer.fds[i] ?? -1);
    sys.setresgid(0, 0, 0);
    sys.setresuid(0, 0, 0);
    // Changing ids cleared it. prctl(2)
    sys.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0);
  },

  unshare({ namespaces }) {
    sys.unshare(namespaceFlags(namespaces));
  },

  timeOffset({ clock, secs, nanosecs }) {
    writeFile("/proc/self/timens_offsets", `${clock} ${secs} ${nanosecs}`);
  },

  propagation({ target, mode }) {
    sys.mount(null, target, null, propagationFlags(mode), null);
  },

  mount({ source, target, fstype, flags, data }) {
    if (fstype === "proc" || fstype === "sysfs") refuseSymlink(target);
    const bits = mountFlags(flags);
    const options = data === "" ? null : data;
    let result = raw.mount(source, target, fstype, bits, options);
    if (result === ENOENT) {
      makeDirectories(target, 0o755);
      result = raw.mount(source, target, fstype, bits, options);
    }
    check(result, "mount", source, target, fstype, bits, options);
  },

  takeTree(step, { slots }) {
    slots.set(step.tree.slot, takeTree(step));
  },

  takeFilesystem({ source, fstype, flags, data, tree }, { slots }) {
    slots.set(tree.slot, takeFilesystem(source, fstype, flags, data));
  },

  placeTree({ tree, target, exact }, { slots }) {
    if (exact) refuseSymlink(target);
    const fd = slotValue(slots, tree);
    const FOLLOW_TARGET = 0x10; // MOVE_MOUNT_T_SYMLINKS: within the container's own root by now
    const flags = MOVE_MOUNT_F_EMPTY_PATH | FOLLOW_TARGET;
    let result = raw.moveMount(fd, "", AT_FDCWD, target, flags);
    if (result === ENOENT) {
      makeMountPoint(target, fd);
      result = raw.moveMount(fd, "", AT_FDCWD, target, flags);
    }
    check(result, "move_mount", fd, "", AT_FDCWD, target, flags);
    raw.close(fd);
    slots.delete(tree.slot);
  },

  bind({ source, target, recursive, mapped }, { slots }) {
    if (mapped !== undefined) {
      const fd = slotValue(slots, mapped);
      sys.moveMount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
      raw.close(fd);
      return;
    }
    sys.mount(source, target, null, MS_BIND | (recursive ? MS_REC : 0), null);
  },

  setMountFlags({ target, flags, recursive }) {
    setMountFlags(AT_FDCWD, target, flags, recursive);
  },

  copyTree({ source, target }) {
    copyTree(source, target);
  },

  makeDirectory({ path, mode, like }) {
    makeDirectories(path, mode);
    if (like === undefined) return;
    const { mode: likeMode, uid, gid } = statOf(AT_FDCWD, like.path, 0);
    const [UNMAPPED, UNCHANGED] = [65534, -1];
    const known = (owner: number) => (like.userns && owner === UNMAPPED ? UNCHANGED : owner);
    sys.fchownat(AT_FDCWD, path, known(uid), known(gid), 0);
    sys.fchmodat(AT_FDCWD, path, likeMode & 0o7777);
  },

  makeNode({ path, type, major, minor, mode, uid, gid }) {
    const format = { c: S_IFCHR, b: S_IFBLK, p: S_IFIFO }[type];
    // makedev(3): 12 low bits of major above 8 low bits of minor, the rest of minor above them.
    const dev = ((minor & 0xff) | ((major & 0xfff) << 8)) + (minor >> 8) * 2 ** 20;
    let result = raw.mknodat(AT_FDCWD, path, format | mode, dev);
    if (result === ENOENT) {
      makeDirectories(parentOf(path), 0o755);
      result = raw.mknodat(AT_FDCWD, path, format | mode, dev);
    }
    if (result === EEXIST) return;
    check(result, "mknodat", path, format | mode, dev);
    if (uid !== 0 || gid !== 0) sys.fchownat(AT_FDCWD, path, uid, gid, 0);
  },

  makeLink({ target, path }) {
    const result = raw.symlinkat(target, AT_FDCWD, path);
    if (result !== EEXIST) check(result, "symlinkat", target, path);
  },

  changeDirectory({ path, inside }) {
    let result = raw.chdir(path);
    if (result === ENOENT && inside) {
      makeDirectories(path, 0o755);
      result = raw.chdir(path);
    }
    check(result, "chdir", path);
    if (inside) refuseUnreachable(path);
  },

  pivotRoot({ newRoot, putOld }) {
    sys.pivotRoot(newRoot, putOld);
  },

  detach({ target }) {
    sys.umount2(target, MNT_DETACH);
    sys.chdir("/");
  },

  mask({ path }, context) {
    let result = raw.mount("/dev/null", path, null, MS_BIND, null);
    if (result === ENOTDIR) {
      if (context.maskedDirectory === undefined) {
        result = raw.mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k");
        if (result >= 0) context.maskedDirectory = path;
      } else result = raw.mount(context.maskedDirectory, path, null, MS_BIND, null);
    }
    if (result !== ENOENT) check(result, "mount", "/dev/null", path, null, MS_BIND, null);
  },

  makeReadonly({ path }) {
    const result = raw.mount(path, path, null, MS_BIND | MS_REC, null);
    if (result === ENOENT) return;
    check(result, "mount", path, path, null, MS_BIND | MS_REC, null);
    setMountFlags(AT_FDCWD, path, ["ro"], true);
  },

  linkUp({ name }) {
    const socket = sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    // struct ifreq: the name in 16 bytes, then the flags. netdevice(7)
    const request = new ArrayBuffer(40);
    new Uint8Array(request).set([...name].map((letter) => letter.charCodeAt(0)));
    new DataView(request).setInt16(16, IFF_UP, true);
    const result = raw.ioctl(socket, SIOCSIFFLAGS, request);
    raw.close(socket);
    check(result, "ioctl", "SIOCSIFFLAGS", name, "IFF_UP");
  },

  setHostname({ name }) {
    sys.sethostname(name);
  },

  setDomainname({ name }) {
    sys.setdomainname(name);
  },

  write({ path, value }) {
    writeFile(path, value);
  },

  openPty(step, context) {
    context.terminal = openPty(context.channel, step);
  },

  newSession({ controllingTerminal }, { terminal }) {
    sys.setsid();
    if (controllingTerminal && terminal !== undefined) sys.ioctlInt(terminal, TIOCSCTTY, 0);
  },

  newKeyring({ name }) {
    const result = raw.keyctlJoin(KEYCTL_JOIN_SESSION_KEYRING, name);
    // A kernel without keys has none to leak; a seccomp filter around us (EPERM) keeps them from everyone.
    if (result !== ENOSYS && result !== -1) check(result, "keyctl", "KEYCTL_JOIN_SESSION_KEYRING", name);
  },

  setRlimit({ type, soft, hard }) {
    const number = RLIMITS.indexOf(type);
    const limit = new BigInt64Array([BigInt(soft), BigInt(hard)]).buffer as ArrayBuffer;
    check(raw.prlimit64(0, number, limit, null), "prlimit64", type, soft, hard);
  },

  setUmask({ mask }) {
    sys.umask(mask);
  },

  limitBoundingSet({ keep }) {
    for (let number = 0; number < 64; number++) {
      const name = CAPABILITIES[number];
      if (name !== undefined && keep.includes(name)) continue;
      const result = raw.prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
      if (result === EINVAL) return; // the kernel knows no more
      if (result < 0) throw new SysError("prctl", -result, ["PR_CAPBSET_DROP", name ?? number]);
    }
  },

  setUser({ uid, gid, groups }) {
    if (groups !== undefined) sys.setgroups(groups.length, new Uint32Array(groups).buffer as ArrayBuffer);
    sys.setresgid(gid, gid, gid);
    // Leaving uid 0 clears the permitted set, and setCapabilities is still to come.
    if (uid !== 0) sys.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    sys.setresuid(uid, uid, uid);
  },

  setCapabilities({ sets }, { channel }) {
    const missing = setCapabilities(sets.effective ?? [], sets.permitted ?? [], sets.inheritable ?? []);
    if (missing.length > 0)
      send(channel, {
        kind: "warning",
        text: `not given, because tupper does not have them itself: ${missing.join(", ")}`,
      });
    const ambient = sets.ambient ?? [];
    sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (const name of ambient) sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAPABILITIES.indexOf(name), 0, 0);
  },

  noNewPrivileges() {
    sys.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  },

  seccomp({ program, flags }) {
    sys.seccompLoad(flags, program.slice().buffer as ArrayBuffer);
  },

  closeDescriptors({ from }) {
    const result = raw.closeRange(from, 0xffffffff, CLOSE_RANGE_CLOEXEC);
    if (result === ENOSYS || result === -22) closeOneByOne(from);
    else check(result, "close_range", from);
  },

  exec({ args, env }, { channel, terminal, initIsReady }) {
    if (initIsReady !== undefined) raw.read(initIsReady, new ArrayBuffer(1));
    executeCommand(args, env, channel, terminal);
  },
};

const RLIMITS = [
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
];

/** What an earlier step, or the caller, has put there. */
export function slotValue(slots: ReadonlyMap<string, number>, { slot }: Slot): number {
  const value = slots.get(slot);
  if (value === undefined) throw new Error(`the plan uses ${slot} before it is there`);
  return value;
}

/**
 * A clone of a mounted tree as a descriptor. Unless it is `tied`, what is mounted on either side later stays there
 * (MS_PRIVATE). open_tree_attr needs Linux 6.15, mount_setattr 5.12.
 */
function takeTree({ source, recursive, flags, recursiveFlags, tied }: StepArguments<"takeTree">): number {
  const how = OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
  const all = mountAttributes(recursive ? recursiveFlags : [...flags, ...recursiveFlags], tied ? 0 : MS_PRIVATE);
  let tree = raw.openTreeAttr(AT_FDCWD, source, how, all);
  if (tree === ENOSYS || tree === EINVAL) {
    tree = openForeignTree(source, how);
    check(raw.mountSetattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), all), "mount_setattr", source);
  }
  check(tree, "open_tree_attr", AT_FDCWD, source, how, all);
  if (recursive && flags.length > 0) setMountFlags(tree, "", flags, false);
  return tree;
}

/** open_tree clones only mounts of the caller's own mount namespace: for /proc/PID/root/… it goes there and comes back. */
function openForeignTree(source: string, how: number): number {
  const [, pid, path] = /^\/proc\/(\d+)\/root(\/.*)$/.exec(source) ?? [];
  if (path === undefined) return sys.openTree(AT_FDCWD, source, how);
  const own = sys.openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
  const other = sys.openat(AT_FDCWD, `/proc/${pid}/ns/mnt`, O_RDONLY | O_CLOEXEC, 0);
  sys.setns(other, CLONE_NEWNS);
  const tree = raw.openTree(AT_FDCWD, path, how);
  sys.setns(own, CLONE_NEWNS);
  raw.close(own);
  raw.close(other);
  return check(tree, "open_tree", source, how);
}

/** A new filesystem as a descriptor. fsopen(2), Linux 5.2. */
function takeFilesystem(source: string, fstype: string, flags: readonly string[], data: string): number {
  const [FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC] = [1, 1];
  const [SET_FLAG, SET_STRING, CREATE] = [0, 1, 6]; // FSCONFIG_*
  const fs = sys.fsopen(fstype, FSOPEN_CLOEXEC);
  sys.fsconfig(fs, SET_STRING, "source", source, 0);
  // As mount(2) has it: the filesystem itself is read-only, not only this mount of it.
  if (flags.includes("ro")) sys.fsconfig(fs, SET_FLAG, "ro", null, 0);
  for (const option of data.split(",").filter((text) => text !== "")) {
    const at = option.indexOf("=");
    if (at < 0) sys.fsconfig(fs, SET_FLAG, option, null, 0);
    else sys.fsconfig(fs, SET_STRING, option.slice(0, at), option.slice(at + 1), 0);
  }
  sys.fsconfig(fs, CREATE, null, null, 0);
  const tree = sys.fsmount(fs, FSMOUNT_CLOEXEC, mountAttributeBits(flags));
  raw.close(fs);
  return tree;
}

function setMountFlags(dirfd: number, path: string, flags: readonly string[], recursive: boolean): void {
  sys.mountSetattr(
    dirfd,
    path,
    (path === "" ? AT_EMPTY_PATH : 0) | (recursive ? AT_RECURSIVE : 0),
    mountAttributes(flags),
  );
}

/** A /proc or /sys that is a link would put the kernel's files elsewhere, and later writes to it too (CVE-2019-16884, CVE-2023-27561). */
function refuseSymlink(path: string): void {
  const target = raw.readlinkText(AT_FDCWD, path);
  if (typeof target !== "string") return;
  throw new ContainerError("MOUNT_TARGET_IS_A_LINK", `${path} of the root filesystem is a symbolic link to ${target}`, {
    hint: "make it a directory: nothing that the kernel shows there may be redirected",
  });
}

/**
 * A path such as /proc/self/fd/7, or a link to it, may lead to a directory of the machine that somebody left open; from
 * there `..` climbs to the machine's root (CVE-2024-21626). The kernel calls such a place unreachable. getcwd(2)
 */
function refuseUnreachable(path: string): void {
  const buffer = new ArrayBuffer(4096);
  const length = sys.getcwd(buffer);
  const where = sys.decodeText(buffer, 0, length - 1) as string;
  if (where.startsWith("/")) return;
  throw new ContainerError("CWD_OUTSIDE", `the working directory ${path} leads out of the container's root`, {
    hint: "it goes through a link or descriptor to a directory of the machine: name a directory of the root filesystem",
  });
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

/** mkdir -p. Where a link on the way leads nowhere yet, what it leads to is made: within the root, like all paths by now. */
function makeDirectories(path: string, mode: number): void {
  const result = raw.mkdirat(AT_FDCWD, path, mode);
  if (result >= 0 || result === EEXIST) return;
  if (result !== ENOENT || path === "" || path === "/") throw new SysError("mkdirat", -result, [path, mode]);
  const parent = parentOf(path);
  makeDirectories(parent, 0o755);
  const again = raw.mkdirat(AT_FDCWD, path, mode);
  const link = again === ENOENT ? raw.readlinkText(AT_FDCWD, parent) : undefined;
  if (typeof link !== "string") {
    if (again !== EEXIST) check(again, "mkdirat", path, mode);
    return;
  }
  makeDirectories(link.startsWith("/") ? link : `${parentOf(parent)}/${link}`, 0o755);
  check(raw.mkdirat(AT_FDCWD, path, mode), "mkdirat", path, mode);
}

/** A directory for a tree whose root is one, else an empty file. */
function makeMountPoint(target: string, tree: number): void {
  if ((statOf(tree, "", AT_EMPTY_PATH).mode & S_IFMT) === S_IFDIR) return makeDirectories(target, 0o755);
  makeDirectories(parentOf(target), 0o755);
  raw.close(sys.openat(AT_FDCWD, target, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644));
}

function statOf(dirfd: number, path: string, flags: number): Statx {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(dirfd, path, flags, STATX_BASIC_STATS, buffer);
  return parseStatx(buffer);
}

/**
 * capset(2), as far as this process may: a capability that it does not have itself cannot be given. The runtime-spec
 * (1.1) wants a warning then, not a failure. Returns the names that could not be given.
 */
function setCapabilities(
  effective: readonly string[],
  permitted: readonly string[],
  inheritable: readonly string[],
): string[] {
  const wanted = [capabilityMask(effective), capabilityMask(permitted), capabilityMask(inheritable)] as const;
  if (raw.capset(capabilityHeader(), capabilityData(...wanted)) >= 0) return [];
  const data = new ArrayBuffer(24);
  sys.capget(capabilityHeader(), data);
  const view = new DataView(data);
  const have = BigInt(view.getUint32(4, true)) | (BigInt(view.getUint32(16, true)) << 32n);
  const [e, p, i] = wanted;
  sys.capset(capabilityHeader(), capabilityData(e & have, p & have, i & have));
  return [...new Set([...permitted, ...effective, ...inheritable])].filter(
    (name) => (capabilityMask([name]) & have) === 0n,
  );
}

/** struct __user_cap_header_struct of version 3, for this thread. */
const capabilityHeader = (): ArrayBuffer => new Uint32Array([0x20080522, 0]).buffer as ArrayBuffer;

/** Two of struct __user_cap_data_struct: low halves, then high halves. */
function capabilityData(effective: bigint, permitted: bigint, inheritable: bigint): ArrayBuffer {
  const sets = [effective, permitted, inheritable];
  const low = sets.map((set) => Number(set & 0xffffffffn));
  const high = sets.map((set) => Number(set >> 32n));
  return new Uint32Array([...low, ...high]).buffer as ArrayBuffer;
}

/** For kernels below 5.11, which have no CLOSE_RANGE_CLOEXEC. */
function closeOneByOne(from: number): void {
  const F_SETFD_CLOEXEC = 1;
  for (let fd = from; fd < OLD_KERNEL_DESCRIPTORS; fd++) raw.fcntl(fd, F_SETFD, F_SETFD_CLOEXEC);
}
