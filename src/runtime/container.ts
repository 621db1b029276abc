/**
 * What is on record about the OCI runtime's containers: a directory each below the root.
 *
 *     <id>/state.json   what every command needs; written before anything is made, and replaced as a whole
 *     <id>/config.json  the bytes of the config that the container was made from
 *     <id>/init         pid and start time of the init process, once it can live on its own: what a symbolic link says, which
 *                       is made and read whole by one call
 *     <id>/start        the socket of a container that waits for `start`
 *     <id>/notify/      what the container sees of NOTIFY_SOCKET (notify.ts)
 *
 * Commands that change a container hold flock(2) on its directory; the kernel drops it however they end. Nothing on record
 * says that a container runs: that is asked of the kernel each time.
 */
import { ContainerError } from "../error.ts";
import { freezerGroup, isFrozen } from "../execute/freezer.ts";
import { environmentValue } from "../execute/probe.ts";
import { isAwaited } from "../execute/start-socket.ts";
import { isInUserNamespace } from "../execute/user-namespace.ts";
import { recordRefused, stateRootRefused } from "../explain-failure/state-root.ts";
import type { HookState } from "../plan/step.ts";
import { isObject } from "../spec/check.ts";
import type { Hook, IdMaps } from "../spec/config.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
} from "../sys/constants.ts";
import { readDirectory, readFileIfThere, readSmallFile, replaceFile } from "../sys/files.ts";
import { sleepMs } from "../sys/sleep.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import type { HookFiles } from "./hook-files.ts";
import { isRecord } from "./record-schema.ts";
import { findProcess, startTimeOf } from "./start-time.ts";

/** runtime.md, "State"; `paused` is what engines know from runc. */
export type Status = "creating" | "created" | "running" | "paused" | "stopped";

/** state.json. Fields are only ever added. Version 2: `init` is a link, which older programs would take for missing. */
export interface ContainerRecord extends HookState {
  version: 1 | 2;
  rootfs: string;
  /** RFC 3339. */
  created: string;
  /** The name of the user who made it. */
  owner: string;
  cgroups: { controller: string; path: string }[];
  /** Groups to remove at the end, in this order, where they are not just those of `cgroups`. */
  remove?: string[];
  /** The unit of systemd that they belong to; `user`: of the owner's own manager. */
  unit?: { name: string; user: boolean };
  /** It has the session keyring of who made it, and so have its later processes. */
  noNewKeyring?: true;
  /** Its config has no `process`. */
  noProcess?: true;
  /** Maps that its config does not name, of a user namespace that it may not name either. */
  idMaps?: IdMaps;
  /** CRIU has brought it back in a time namespace of its own, which its config does not name. */
  timeNamespace?: true;
  /** It has a place for NOTIFY_SOCKET. */
  notify?: true;
  /** What these write to. */
  hookFiles?: HookFiles;
  poststart?: Hook[];
  poststop?: Hook[];
}

/** What `list` tells of a record: the fields that come first. */
export type RecordHead = Pick<
  ContainerRecord,
  "version" | "ociVersion" | "id" | "bundle" | "annotations" | "rootfs" | "created" | "owner"
>;

interface OnRecord<Record> {
  path: string;
  record: Record;
  /** The whole of state.json. */
  text: string;
  /** Undefined until there is a process that can live on its own. */
  init: { pid: number; startTime: string } | undefined;
}

export type Container = OnRecord<ContainerRecord>;
/** One whose record has perhaps been read no further. */
export type ListedContainer = OnRecord<RecordHead & { cgroups?: ContainerRecord["cgroups"] }>;

/** The lock on a container's directory, and with it the right to change it. */
export interface Lock {
  fd: number;
  path: string;
}

const [ENOENT, EWOULDBLOCK, EEXIST, ENOTDIR, EINVAL, ENOTEMPTY] = [-2, -11, -17, -20, -22, -39];
const OF_A_DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
/** ENOENT; ENOTDIR and ELOOP: something else has the name. */
const GONE: ReadonlySet<number> = new Set([ENOENT, ENOTDIR, -40]);
export const VERSION = 2;
const DT_DIR = 4;

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
  if (uid === 0) return "/run/tupper-runtime";
  const path = `${IN_TMP}${uid}`;
  requireOwn(path, uid);
  return path;
}

/** Everybody may write to /tmp, and whoever made the directory chooses the hooks of what is on record there. */
function requireOwn(path: string, uid: number): void {
  const buffer = new ArrayBuffer(STATX_SIZE);
  if (raw.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer) === ENOENT) return;
  const stat = parseStatx(buffer);
  if (stat.uid === uid && (stat.mode & S_IFMT) === S_IFDIR && (stat.mode & 0o022) === 0) return;
  throw new ContainerError(
    "STATE_ROOT",
    `the state directory ${path} belongs to somebody else or is writable for others`,
    { hint: "set XDG_RUNTIME_DIR to a directory of your own, or use --root" },
  );
}

const IN_TMP = "/tmp/tupper-runtime-";

/** As runc tells it: in a user namespace where the user is not called root. */
export const isRootOfUserNamespace = (): boolean => environmentValue("USER") !== "root" && isInUserNamespace();

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
  if (made < 0 && made !== EEXIST) throw stateRootRefused(path, new SysError("mkdirat", -made, [path, MODE]), "--root");
  let lock: ReturnType<typeof tryLock>;
  try {
    lock = tryLock(path);
  } catch (error) {
    if (made >= 0) raw.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
    throw error;
  }
  // Deleted between the two calls: what a crash left, by a `delete` at the same time.
  if (lock === "gone") return claimContainer(root, id);
  // A directory without a record is what a crash left before anything was made.
  if (lock !== "busy") {
    if (made !== EEXIST) return lock;
    if (readFileIfThere(`${path}/state.json`) === undefined) {
      // Nor does what else it left, or what a `delete` left that was killed behind the record.
      for (const name of USUAL) raw.unlinkat(AT_FDCWD, `${path}/${name}`, 0);
      removeDirectory(path, NOTIFY);
      return lock;
    }
    unlock(lock);
  }
  throw new ContainerError("CONTAINER_EXISTS", `a container with the ID ${id} already exists`, {
    hint: "choose another ID, or delete it",
  });
}

function checkId(id: string): void {
  if (!isId(id)) throw invalid(id);
}

/** What a directory can be named, in its 255 bytes. */
export const isId = (id: string): boolean => /^[\w+.-]{1,255}$/.test(id) && id !== "." && id !== "..";

const invalid = (id: string): ContainerError =>
  new ContainerError("ID_INVALID", `invalid container ID ${JSON.stringify(id)}`, {
    hint: "letters, digits, and the characters _ + - .",
  });

/** With the directories above it. */
function makeRoot(root: string): void {
  const above = root.slice(0, root.lastIndexOf("/"));
  let made = raw.mkdirat(AT_FDCWD, root, MODE);
  if (made === ENOENT && above !== "") {
    makeRoot(above);
    made = raw.mkdirat(AT_FDCWD, root, MODE);
  }
  if (made < 0 && made !== EEXIST) throw stateRootRefused(root, new SysError("mkdirat", -made, [root, MODE]), "--root");
  if (made === EEXIST && root.startsWith(IN_TMP)) requireOwn(root, raw.geteuid());
}

/** The lock on a directory of ours, unless somebody else has it or the directory is gone. */
function tryLock(path: string, how = LOCK_EX): Lock | "busy" | "gone" {
  const fd = raw.openat(AT_FDCWD, path, OF_A_DIRECTORY, 0);
  if (fd === ENOENT) return "gone";
  check(fd, "openat", path);
  const locked = raw.flock(fd, how | LOCK_NB);
  try {
    if (locked >= 0 && isLinked(fd)) return { fd, path };
  } catch (error) {
    raw.close(fd);
    throw error;
  }
  raw.close(fd);
  if (locked >= 0) return "gone";
  if (locked !== EWOULDBLOCK) throw new SysError("flock", -locked, [path]);
  return "busy";
}

/** False for a directory that was removed after it was opened. */
export function isLinked(fd: number): boolean {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, buffer);
  return parseStatx(buffer).nlink > 0;
}

/**
 * Waits for the right to change a container. `whenHeld` is called where somebody has it for longer than commands do that nobody holds
 * up, with a descriptor of the container's directory; no other container is meant then than the one that has the ID now. Throws
 * CONTAINER_UNKNOWN, ID_INVALID.
 */
export function lockContainer(root: string, id: string, whenHeld?: (fd: number) => void): Lock {
  const path = `${root}/${id}`;
  for (;;) {
    const fd = isId(id) ? raw.openat(AT_FDCWD, path, OF_A_DIRECTORY, 0) : ENOENT;
    if (GONE.has(fd)) throw unknown(id);
    check(fd, "openat", path);
    if (whenHeld === undefined) sys.flock(fd, LOCK_EX);
    else if (!locksWithin(fd, path, PATIENCE_MS)) {
      whenHeld(fd);
      sys.flock(fd, LOCK_EX);
    }
    if (isLinked(fd)) return { fd, path };
    raw.close(fd); // deleted while we waited; perhaps there is a new one of the name
    if (whenHeld !== undefined) throw unknown(id);
  }
}

const PATIENCE_MS = 2000;
const PAUSE_MS = 10;

function locksWithin(fd: number, path: string, ms: number): boolean {
  for (let left = ms; ; left -= PAUSE_MS) {
    const locked = raw.flock(fd, LOCK_EX | LOCK_NB);
    if (locked !== EWOULDBLOCK) return check(locked, "flock", path) >= 0;
    if (left <= 0) return false;
    sleepMs(PAUSE_MS);
  }
}

/** Drops a lock; one that is dropped already stays so. */
export function unlock(lock: Lock): void {
  if (lock.fd >= 0) raw.close(lock.fd);
  lock.fd = -1;
}

const unknown = (id: string): ContainerError =>
  isId(id)
    ? new ContainerError("CONTAINER_UNKNOWN", `container ${id} does not exist`, {
        hint: "`list` shows those there are",
      })
    : invalid(id);

/** A container's record. Throws CONTAINER_UNKNOWN, ID_INVALID. */
export function loadContainer(root: string, id: string): Container {
  const container = isId(id) ? readContainer(`${root}/${id}`, parseRecord) : undefined;
  if (container === undefined) throw unknown(id);
  return container;
}

/** Undefined where there is none. Throws {@link SysError}, STATE_BROKEN for the record of another one, and what `parse` throws. */
export function readContainer<Record extends { id: string }>(
  path: string,
  parse: (text: string, path: string) => Record,
): OnRecord<Record> | undefined {
  const text = readSmallFile(`${path}/state.json`);
  if (text === undefined) return undefined;
  const init = readInit(path);
  // Removed meanwhile: the record goes first.
  if (init === undefined && raw.faccessat(AT_FDCWD, `${path}/state.json`, 0) < 0) return undefined;
  const record = parse(text, path);
  if (record.id !== path.slice(path.lastIndexOf("/") + 1)) throw broken(path);
  return { path, record, text, init };
}

function readInit(path: string): Container["init"] {
  const file = `${path}/init`;
  const link = raw.readlinkText(AT_FDCWD, file);
  // Older versions of this program wrote a file.
  if (typeof link === "number" && link !== EINVAL && !GONE.has(link))
    throw new SysError("readlinkat", -link, [AT_FDCWD, file]);
  const text = link === EINVAL ? readSmallFile(file) : typeof link === "string" ? link : undefined;
  const space = text?.indexOf(" ") ?? -1;
  if (text === undefined || space < 0) return undefined;
  return { pid: Number(text.slice(0, space)), startTime: text.slice(space + 1) };
}

/** Throws STATE_NEWER, STATE_BROKEN. */
export function parseRecord(text: string, path: string): ContainerRecord {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (isObject(record) && typeof record.version === "number" && record.version > VERSION)
    throw new ContainerError("STATE_NEWER", `${path}/state.json was written by a newer version of tupper-runtime`, {
      hint: "use that version for this container",
    });
  if (isRecord(record, text)) return record;
  throw broken(path);
}

export const broken = (path: string): ContainerError =>
  new ContainerError("STATE_BROKEN", `${path}/state.json is not a container's record`, {
    hint: "`delete --force` ends its process, as far as it is known, and removes the record",
  });

/** What can be known of a container whose record cannot be read: its first process. */
export function salvageContainer({ path }: Lock, id: string): Container {
  const nothing = { ociVersion: "", id, bundle: "", rootfs: "", created: "", owner: "", cgroups: [] };
  return { path, record: { version: VERSION, ...nothing }, text: "", init: readInit(path) };
}

/** Puts on record what is about to be made. */
export function writeRecord({ path }: Lock, record: ContainerRecord): void {
  replaceFile(`${path}/state.json`, JSON.stringify(record));
}

/** Writes another file of the record. Throws RECORD_FAILED: the disk is full, or worse. */
export function recordFile(lock: Lock, name: string, text: string): void {
  inRecord(lock.path, () => replaceFile(`${lock.path}/${name}`, text));
}

/** What is made in the directory of a container. Throws RECORD_FAILED. */
export function inRecord<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw error instanceof SysError ? recordRefused(path, error, "--root") : error;
  }
}

/** Of a process that had ended before it could be put on record. */
export const UNKNOWN_START = "0";

/** Puts the init process on record: from here on the container lives by itself. */
export function writeInit(lock: Lock, pid: number): { pid: number; startTime: string } {
  const startTime = startTimeOf(pid) ?? UNKNOWN_START;
  const file = `${lock.path}/init`;
  const made = raw.symlinkat(`${pid} ${startTime}`, AT_FDCWD, file);
  if (made < 0)
    throw recordRefused(lock.path, new SysError("symlinkat", -made, [`${pid} ${startTime}`, file]), "--root");
  return { pid, startTime };
}

/** What the kernel says of a container now. */
export function statusOf(container: ListedContainer): Status {
  const { path } = container;
  if (container.init === undefined && isBusy(path)) return "creating";
  // It may have been put on record since we looked.
  container.init ??= readInit(path);
  const { init } = container;
  if (init === undefined) return "stopped";
  // Before the process: who deletes a created container ends that first, and then removes the socket.
  const waits = raw.faccessat(AT_FDCWD, `${path}/start`, 0);
  const found = findProcess(init.pid, init.startTime);
  if (found?.startTime !== init.startTime) return "stopped";
  // First: a created container that is frozen cannot be started either. On v1 who runs or sleeps is not.
  const isAwake = (found.state === "R" || found.state === "S") && hasFreezerOfV1(container);
  const freezer = isAwake ? undefined : freezerGroup(groupsOf(container));
  if (freezer !== undefined && isFrozen(freezer.path)) return "paused";
  if (waits === ENOENT) return "running";
  check(waits, "faccessat", `${path}/start`);
  if (isAwaited(`${path}/start`)) return "created";
  // A `start` that was killed leaves the socket's file behind, and so does a container that has died since we looked.
  const now = findProcess(init.pid, init.startTime);
  return now?.startTime === init.startTime && !now.isExiting ? "running" : "stopped";
}

/** Throws STATE_BROKEN. */
export const groupsOf = ({ path, record, text }: ListedContainer): ContainerRecord["cgroups"] =>
  record.cgroups ?? parseRecord(text, path).cgroups;

/** In a string of the text the quotes would be escaped. */
const hasFreezerOfV1 = ({ record, text }: ListedContainer): boolean =>
  record.cgroups === undefined
    ? text.includes('{"controller":"freezer",')
    : freezerGroup(record.cgroups)?.version === 1;

/** Somebody holds the lock: `create` is at work. Others who look do not count, so the lock is a shared one. */
function isBusy(path: string): boolean {
  const lock = tryLock(path, LOCK_SH);
  if (typeof lock !== "string") unlock(lock);
  return lock === "busy";
}

const USUAL = ["state.json", "init", "config.json", "start"];
/** A directory, and the socket in it. */
export const [NOTIFY, NOTIFY_NAME] = ["notify", "notify.sock"];

/** Removes the record, and with it the lock: the container is gone. */
export function removeRecord(lock: Lock): void {
  const { path } = lock;
  // First, so that nobody who looks meanwhile takes what is left for a container.
  for (const name of USUAL) raw.unlinkat(AT_FDCWD, `${path}/${name}`, 0);
  // Mostly that is all, and it takes no descriptor: there may be none left.
  if (raw.unlinkat(AT_FDCWD, path, AT_REMOVEDIR) < 0) {
    for (const { name, type } of readDirectory(path)) {
      const result = type === DT_DIR ? removeDirectory(path, name) : raw.unlinkat(AT_FDCWD, `${path}/${name}`, 0);
      if (result < 0 && result !== ENOENT) throw new SysError("unlinkat", -result, [`${path}/${name}`]);
    }
    sys.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
  }
  unlock(lock);
}

/**
 * And what is in it, by no name that could lead elsewhere: a privileged container can write to its directory for NOTIFY_SOCKET. What is
 * deep in there comes up first, so that few descriptors will do.
 */
function removeDirectory(path: string, name: string): number {
  const directory = `${path}/${name}`;
  const fd = raw.openat(AT_FDCWD, directory, OF_A_DIRECTORY, 0);
  if (fd < 0) return fd;
  let moved = 0;
  const moveUp = (below: number, what: string): boolean => {
    let result: number;
    do result = raw.renameat2(below, what, fd, `${moved++}`, 0);
    while (result === ENOTEMPTY || result === ENOTDIR);
    return result >= 0;
  };
  for (let again = true; again; ) {
    again = false;
    for (const each of readDirectory(".", fd)) {
      if (raw.unlinkat(fd, each.name, each.type === DT_DIR ? AT_REMOVEDIR : 0) !== ENOTEMPTY) continue;
      const below = raw.openat(fd, each.name, OF_A_DIRECTORY, 0);
      if (below < 0) continue;
      for (const one of readDirectory(".", below))
        if (one.type !== DT_DIR) raw.unlinkat(below, one.name, 0);
        else if (moveUp(below, one.name)) again = true;
      raw.close(below);
      raw.unlinkat(fd, each.name, AT_REMOVEDIR);
    }
  }
  raw.close(fd);
  return raw.unlinkat(AT_FDCWD, directory, AT_REMOVEDIR);
}
