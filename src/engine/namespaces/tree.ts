/**
 * The machine's namespaces and how they hang together, as the kernel itself says: namespaces(7), ioctl_ns(2).
 *
 * /proc/PID/ns names the namespaces that have processes; an owner or a parent can be without any, and is found by
 * asking (NS_GET_USERNS, NS_GET_PARENT); one that only a file holds (`ip netns add`) is found in our mountinfo.
 * Processes end while we look, and those of other users may not be looked into: both are normal.
 */
import type { ContainerError } from "../../error.ts";
import { commandLine } from "../../execute/command-line.ts";
import { notFound, notReadable } from "../../explain-failure/process-access.ts";
import { unescapePath } from "../../plan/mountinfo.ts";
import {
  AT_FDCWD,
  NS_GET_NSTYPE,
  NS_GET_OWNER_UID,
  NS_GET_PARENT,
  NS_GET_USERNS,
  O_CLOEXEC,
  O_RDONLY,
} from "../../sys/constants.ts";
import { readDirectory, readFileIfThere, readIfReadable } from "../../sys/files.ts";
import { raw } from "../../sys/sys.ts";

/** Kinds of namespaces as /proc/PID/ns spells them, with the CLONE_NEW* flag that NS_GET_NSTYPE gives. */
const TYPE_FLAGS = {
  mnt: 0x20000,
  pid: 0x20000000,
  net: 0x40000000,
  ipc: 0x8000000,
  uts: 0x4000000,
  user: 0x10000000,
  cgroup: 0x2000000,
  time: 0x80,
} as const;
export type NsType = keyof typeof TYPE_FLAGS;
export const NS_TYPES = Object.keys(TYPE_FLAGS) as NsType[];

/** What a process's children will be in; different from the process's own after unshare(2) or setns(2). */
const FOR_CHILDREN = ["pid_for_children", "time_for_children"];

const EPERM = 1;
const ENOENT = 2;
const ESRCH = 3;
const EACCES = 13;

export interface Namespace {
  type: NsType;
  /** The number in `mnt:[4026531841]`: unique on the machine while the namespace lives. */
  inode: number;
  /** Inode of the user namespace that owns it; of a user namespace, its parent. Undefined beyond what we may see. */
  userNamespace: number | undefined;
  /** Inode of the namespace it was made in: only user and pid namespaces nest. */
  parent: number | undefined;
  /** Who made it, as a uid in our own user namespace. Only user namespaces have one. */
  ownerUid: number | undefined;
  /** How many of the processes that we can see are in it. */
  processes: number;
  /** The first of them, by pid. */
  members: { pid: number; command: string }[];
  /** A mount that keeps it, when we can see one. */
  file: string | undefined;
}

export interface NamespaceList {
  /** By type in the order of {@link NS_TYPES}, then by inode. */
  namespaces: Namespace[];
  /** Processes that we may not look into. */
  hiddenProcesses: number;
}

interface Found extends Namespace {
  pids: number[];
  asked: boolean;
}

/** How many members are listed by name. */
const MEMBERS_SHOWN = 3;

/** Every namespace that can be seen from here. Needs no privilege; without it, it sees less and says how much. */
export function listNamespaces(): NamespaceList {
  const found = new Map<number, Found>();
  let hiddenProcesses = 0;
  for (const pid of listPids()) {
    if (!addProcess(found, pid)) hiddenProcesses++;
  }
  addMountedNamespaces(found);
  for (const namespace of found.values()) {
    for (const pid of namespace.pids.slice(0, MEMBERS_SHOWN)) {
      const command = readCommand(pid);
      if (command !== undefined) namespace.members.push({ pid, command });
    }
  }
  const order = (ns: Namespace) => NS_TYPES.indexOf(ns.type) * 2 ** 40 + ns.inode;
  return { namespaces: [...found.values()].sort((a, b) => order(a) - order(b)).map(strip), hiddenProcesses };
}

const strip = ({ pids: _pids, asked: _asked, ...namespace }: Found): Namespace => namespace;

function listPids(): number[] {
  return readDirectory("/proc")
    .map(({ name }) => Number(name))
    .filter((pid) => Number.isInteger(pid) && pid > 0)
    .sort((a, b) => a - b);
}

/** False when the process may not be looked into. One that is gone counts as seen. */
function addProcess(found: Map<number, Found>, pid: number): boolean {
  for (const name of [...NS_TYPES, ...FOR_CHILDREN]) {
    const path = `/proc/${pid}/ns/${name}`;
    const link = raw.readlinkText(AT_FDCWD, path);
    // ENOENT, ESRCH: the process is gone, or a zombie, which keeps only its user namespace and pid namespace.
    if (link === -EACCES || link === -EPERM) return false;
    const namespace = typeof link === "string" ? namespaceOf(found, link) : undefined;
    if (namespace === undefined) continue;
    if (!FOR_CHILDREN.includes(name)) {
      namespace.pids.push(pid);
      namespace.processes++;
    }
    if (!namespace.asked) askFile(found, namespace, path);
  }
  return true;
}

/** The record of `mnt:[4026531841]`, made when it is new. */
function namespaceOf(found: Map<number, Found>, link: string): Found | undefined {
  const match = /^(\w+):\[(\d+)\]$/.exec(link);
  const type = NS_TYPES.find((name) => name === match?.[1]?.replace("_for_children", ""));
  if (type === undefined) return undefined;
  const inode = Number(match?.[2]);
  const known = found.get(inode);
  if (known !== undefined) return known;
  const namespace: Found = {
    type,
    inode,
    userNamespace: undefined,
    parent: undefined,
    ownerUid: undefined,
    processes: 0,
    members: [],
    file: undefined,
    pids: [],
    asked: false,
  };
  found.set(inode, namespace);
  return namespace;
}

/** Asks the kernel about the namespace behind a file. The file may lead elsewhere by now, and then nothing is learnt. */
function askFile(found: Map<number, Found>, namespace: Found, path: string): void {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return;
  if (inodeOf(fd) === namespace.inode && raw.ioctlInt(fd, NS_GET_NSTYPE, 0) === TYPE_FLAGS[namespace.type])
    ask(found, namespace, fd);
  raw.close(fd);
}

/** Fills in owner and parent, and adds those that have no process of their own. */
function ask(found: Map<number, Found>, namespace: Found, fd: number): void {
  namespace.asked = true;
  namespace.userNamespace = related(found, fd, NS_GET_USERNS);
  if (namespace.type === "user" || namespace.type === "pid") namespace.parent = related(found, fd, NS_GET_PARENT);
  if (namespace.type !== "user") return;
  const uid = new Uint32Array(1);
  if (raw.ioctl(fd, NS_GET_OWNER_UID, uid.buffer) >= 0) namespace.ownerUid = uid[0];
}

/** The inode of the owner or parent. The kernel says EPERM for what lies outside of our own user or pid namespace. */
function related(found: Map<number, Found>, fd: number, request: number): number | undefined {
  const other = raw.ioctlInt(fd, request, 0);
  if (other < 0) return undefined;
  const link = raw.readlinkText(AT_FDCWD, `/proc/self/fd/${other}`);
  const namespace = typeof link === "string" ? namespaceOf(found, link) : undefined;
  if (namespace !== undefined && !namespace.asked) ask(found, namespace, other);
  raw.close(other);
  return namespace?.inode;
}

function inodeOf(fd: number): number | undefined {
  const link = raw.readlinkText(AT_FDCWD, `/proc/self/fd/${fd}`);
  return typeof link === "string" ? Number(/\[(\d+)\]$/.exec(link)?.[1]) : undefined;
}

/** Namespaces that a bind mount of their file keeps. proc_pid_mountinfo(5): root, mount point, …, `-`, type. */
function addMountedNamespaces(found: Map<number, Found>): void {
  for (const line of (readFileIfThere("/proc/self/mountinfo") ?? "").split("\n")) {
    if (!line.includes(" - nsfs ")) continue;
    const [, , , root = "", mountPoint = ""] = line.split(" ");
    const namespace = namespaceOf(found, root);
    if (namespace === undefined) continue;
    const path = unescapePath(mountPoint);
    namespace.file ??= path;
    if (!namespace.asked) askFile(found, namespace, path);
  }
}

/** Arguments in one line, or `[name]` for a kernel thread and for a zombie; undefined when the process is gone. */
function readCommand(pid: number): string | undefined {
  const args = commandLine(pid);
  if (args !== undefined && args !== "") return args;
  const name = readIfReadable(`/proc/${pid}/comm`);
  return name === undefined ? undefined : `[${name.trimEnd()}]`;
}

/* ---- the tree ------------------------------------------------------------------------------ */

export interface NamespaceNode {
  namespace: Namespace;
  children: NamespaceNode[];
}

/**
 * The list as trees. User and pid namespaces hang below their parent, the rest, and the topmost pid namespace, below
 * the user namespace that owns them. What would hang below something that is not in the list becomes a root.
 */
export function arrangeNamespaces(namespaces: readonly Namespace[]): NamespaceNode[] {
  const nodes = new Map<number, NamespaceNode>(
    namespaces.map((namespace) => [namespace.inode, { namespace, children: [] }]),
  );
  const roots: NamespaceNode[] = [];
  for (const node of nodes.values()) {
    const { type, parent, userNamespace } = node.namespace;
    const above = nodes.get(parent ?? -1) ?? (type === "user" ? undefined : nodes.get(userNamespace ?? -1));
    (above?.children ?? roots).push(node);
  }
  return roots;
}

/* ---- one process --------------------------------------------------------------------------- */

export interface ProcessNamespace extends Namespace {
  /** Whether the caller is in another one; undefined when that cannot be seen. */
  differsFromCaller: boolean | undefined;
  /** Whether process 1 is in another one; undefined when that cannot be seen. */
  differsFromInit: boolean | undefined;
}

export interface ProcessNamespaces extends Omit<NamespaceList, "namespaces"> {
  pid: number;
  command: string;
  namespaces: ProcessNamespace[];
}

/**
 * The namespaces of one process, in the order of {@link NS_TYPES}.
 * Throws a {@link ContainerError}: `PROCESS_NOT_FOUND`, `PROCESS_NOT_READABLE`.
 */
export function listNamespacesOf(pid: number): ProcessNamespaces {
  const links = NS_TYPES.map((type) => readLink(pid, type));
  const failure = links.find((link) => typeof link === "number" && link !== -ENOENT);
  if (typeof failure === "number") throw unreadable(pid, -failure);
  const command = readCommand(pid);
  if (command === undefined || links.every((link) => typeof link === "number")) throw unreadable(pid, ESRCH);
  const { namespaces, hiddenProcesses } = listNamespaces();
  const differs = (inode: number, type: NsType, other: number | "self") => {
    const link = readLink(other, type);
    return typeof link === "string" ? link !== `${type}:[${inode}]` : undefined;
  };
  const own = namespaces.filter(({ type, inode }) => links.includes(`${type}:[${inode}]`));
  return {
    pid,
    command,
    namespaces: own.map((namespace) => ({
      ...namespace,
      differsFromCaller: differs(namespace.inode, namespace.type, "self"),
      differsFromInit: differs(namespace.inode, namespace.type, 1),
    })),
    hiddenProcesses,
  };
}

const readLink = (pid: number | "self", type: NsType) => raw.readlinkText(AT_FDCWD, `/proc/${pid}/ns/${type}`);

const unreadable = (pid: number, errno: number): ContainerError =>
  errno === EACCES || errno === EPERM ? notReadable(pid, errno) : notFound(pid, errno);
