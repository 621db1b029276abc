/**
 * What is on record about the OCI runtime's containers: a directory each below the root.
 *
 *     <id>/state.json   what every command needs; written before anything is made, and replaced as a whole
 *     <id>/config.json  the bytes of the config that the container was made from
 *     <id>/init         pid and start time of the init process, once it can live on its own
 *     <id>/start        the socket of a container that waits for `start`
 *
 * Commands that change a container hold flock(2) on its directory; the kernel drops it however they end. Nothing on record
 * says that a container runs: that is asked of the kernel each time.
 */
import { ContainerError } from "../error.ts";
import { freezerGroup, isFrozen } from "../execute/freezer.ts";
import { environmentValue } from "../execute/probe.ts";
import { isInUserNamespace } from "../execute/user-namespace.ts";
import type { HookState } from "../plan/step.ts";
import type { Hook } from "../spec/config.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  LOCK_EX,
  LOCK_NB,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
} from "../sys/constants.ts";
import { readDirectory, readFileIfThere, replaceFile } from "../sys/files.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { startTimeOf } from "./start-time.ts";

/** runtime.md, "State"; `paused` is what engines know from runc. */
export type Status = "creating" | "created" | "running" | "paused" | "stopped";

/** state.json. Fields are only ever added. */
export interface ContainerRecord extends HookState {
  version: 1;
  rootfs: string;
  /** RFC 3339. */
  created: string;
  /** The name of the user who made it. */
  owner: string;
  cgroups: { controller: string; path: string }[];
  /** Control groups to remove at the end, in this order. */
  remove: string[];
  /** It has the session keyring of who made it, and so have its later processes. */
  noNewKeyring?: true;
  poststart?: Hook[];
  poststop?: Hook[];
}

export interface Container {
  path: string;
  record: ContainerRecord;
  /** Undefined until there is a process that can live on its own. */
  init: { pid: number; startTime: string } | undefined;
}

/** The lock on a container's directory, and with it the right to change it. */
export interface Lock {
  fd: number;
  path: string;
}

const [ENOENT, EWOULDBLOCK, EEXIST] = [-2, -11, -17];
const VERSION = 1;

/**
 * Where containers are on record: `--root`, else a directory of the caller's own. Root of a user namespace, as under rootless
 * Podman, has XDG_RUNTIME_DIR as an ordinary user has; root of the machine has not, whatever sudo left in its environment.
 */
export function runtimeRoot(flag: string | undefined): string {
  if (flag !== undefined) return flag;
  const uid = raw.geteuid();
  const runtime = environmentValue("XDG_RUNTIME_DIR");
  const hasOwn = runtime?.startsWith("/") === true && (uid !== 0 || isRootOfUserNamespace());
  if (hasOwn) return `${runtime}/tupper-runtime`;
  return uid === 0 ? "/run/tupper-runtime" : `/tmp/tupper-runtime-${uid}`;
}

/** As runc tells it: in a user namespace where the user is not called root. */
const isRootOfUserNamespace = (): boolean => environmentValue("USER") !== "root" && isInUserNamespace();

/** Others may pass but not look: root of a user namespace is another user, and mounts its root on the directory. */
const MODE = 0o711;

/** Makes and locks the directory of a new container. Throws ID_INVALID, CONTAINER_EXISTS, STATE_ROOT. */
export function claimContainer(root: string, id: string): Lock {
  checkId(id);
  const path = `${root}/${id}`;
  let made = raw.mkdirat(AT_FDCWD, path, MODE);
  if (made === ENOENT) {
    makeRoot(root);
    made = raw.mkdirat(AT_FDCWD, path, MODE);
  }
  if (made < 0 && made !== EEXIST)
    throw new ContainerError("STATE_ROOT", `cannot make the state directory ${path}`, {
      field: "--root",
      cause: new SysError("mkdirat", -made, [path, MODE]),
    });
  const lock = tryLock(path);
  // A directory without a record is what a crash left before anything was made.
  if (lock !== undefined && (made !== EEXIST || readFileIfThere(`${path}/state.json`) === undefined)) return lock;
  if (lock !== undefined) unlock(lock);
  throw new ContainerError("CONTAINER_EXISTS", `a container with the ID ${id} already exists`, {
    hint: "choose another ID, or delete it",
  });
}

function checkId(id: string): void {
  if (/^[\w+.-]+$/.test(id) && id !== "." && id !== ".." && id.length <= 255) return;
  throw new ContainerError("ID_INVALID", `invalid container ID ${JSON.stringify(id)}`, {
    hint: "letters, digits, and the characters _ + - .",
  });
}

/** In /tmp somebody else could have made it first. */
function makeRoot(root: string): void {
  const above = root.slice(0, root.lastIndexOf("/"));
  let made = raw.mkdirat(AT_FDCWD, root, MODE);
  if (made === ENOENT && above !== "") {
    makeRoot(above);
    made = raw.mkdirat(AT_FDCWD, root, MODE);
  }
  if (made < 0 && made !== EEXIST)
    throw new ContainerError("STATE_ROOT", `cannot make the state directory ${root}`, {
      field: "--root",
      cause: new SysError("mkdirat", -made, [root, MODE]),
    });
}

/** The lock on a directory of ours; undefined while somebody else has it, or when the directory is gone. */
function tryLock(path: string): Lock | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const locked = raw.flock(fd, LOCK_EX | LOCK_NB);
  if (locked >= 0 && isLinked(fd)) return { fd, path };
  raw.close(fd);
  if (locked < 0 && locked !== EWOULDBLOCK) throw new SysError("flock", -locked, [path]);
  return undefined;
}

/** False for a directory that was removed after it was opened. */
function isLinked(fd: number): boolean {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, buffer);
  return parseStatx(buffer).nlink > 0;
}

/** Waits for the right to change a container. Throws CONTAINER_UNKNOWN. */
export function lockContainer(root: string, id: string): Lock {
  const path = `${root}/${id}`;
  for (;;) {
    const fd = isId(id) ? raw.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0) : ENOENT;
    if (fd < 0) throw unknown(id);
    sys.flock(fd, LOCK_EX);
    if (isLinked(fd)) return { fd, path };
    raw.close(fd); // deleted while we waited; perhaps there is a new one of the name
  }
}

/** Drops a lock; one that is dropped already stays so. */
export function unlock(lock: Lock): void {
  if (lock.fd >= 0) raw.close(lock.fd);
  lock.fd = -1;
}

const isId = (id: string): boolean => /^[\w+.-]+$/.test(id) && id !== "." && id !== "..";

const unknown = (id: string): ContainerError =>
  new ContainerError("CONTAINER_UNKNOWN", `container ${id} does not exist`, { hint: "`list` shows those there are" });

/** A container's record. Throws CONTAINER_UNKNOWN. */
export function loadContainer(root: string, id: string): Container {
  const container = isId(id) ? readContainer(`${root}/${id}`) : undefined;
  if (container === undefined) throw unknown(id);
  return container;
}

/** All containers on record, by ID. */
export function loadContainers(root: string): Container[] {
  const names = raw.faccessat2(AT_FDCWD, root, 0, 0) < 0 ? [] : readDirectory(root).map(({ name }) => name);
  return names.sort().flatMap((name) => readContainer(`${root}/${name}`) ?? []);
}

function readContainer(path: string): Container | undefined {
  const text = readFileIfThere(`${path}/state.json`);
  if (text === undefined) return undefined;
  const record = JSON.parse(text) as ContainerRecord;
  if (record.version > VERSION)
    throw new ContainerError("STATE_NEWER", `${path}/state.json was written by a newer version of tupper-runtime`);
  const [pid, startTime] = readFileIfThere(`${path}/init`)?.split(" ") ?? [];
  const init = pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
  return { path, record, init };
}

/** Puts on record what is about to be made. */
export function writeRecord({ path }: Lock, record: ContainerRecord): void {
  replaceFile(`${path}/state.json`, JSON.stringify(record));
}

/** Puts the init process on record: from here on the container lives by itself. */
export function writeInit({ path }: Lock, pid: number): { pid: number; startTime: string } {
  const startTime = startTimeOf(pid) ?? "0";
  replaceFile(`${path}/init`, `${pid} ${startTime}`);
  return { pid, startTime };
}

/** What the kernel says of a container now. */
export function statusOf({ path, record, init }: Container): Status {
  if (init === undefined) return isBusy(path) ? "creating" : "stopped";
  if (startTimeOf(init.pid) !== init.startTime) return "stopped";
  const freezer = freezerGroup(record.cgroups);
  // First: a created container that is frozen cannot be started either.
  if (freezer !== undefined && isFrozen(freezer.path)) return "paused";
  return raw.faccessat2(AT_FDCWD, `${path}/start`, 0, 0) >= 0 ? "created" : "running";
}

/** Somebody holds the lock: `create` is at work. */
function isBusy(path: string): boolean {
  const lock = tryLock(path);
  if (lock === undefined) return true;
  unlock(lock);
  return false;
}

/** Removes the record, and with it the lock: the container is gone. */
export function removeRecord(lock: Lock): void {
  const { path } = lock;
  for (const { name } of readDirectory(path)) {
    const result = raw.unlinkat(AT_FDCWD, `${path}/${name}`, 0);
    if (result < 0 && result !== ENOENT) throw new SysError("unlinkat", -result, [`${path}/${name}`]);
  }
  sys.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
  unlock(lock);
}
