/**
 * What is on record about containers: a directory each below the state root.
 *
 *     <id>/state.json   the config and where its control groups are; written before anything is made, never changed.
 *                       Fields are only ever added, or the version goes up
 *     <id>/init         pid and start time of the init process, once there is one
 *     <id>/killed       the last signal that a `tupper kill` sent, and its pid: a link's target (ends.ts)
 *
 * The process that runs the container holds flock(2) on the directory; the kernel drops it when that process dies,
 * however it dies. A directory without a lock is what a crash left: the next command cleans it up.
 */
import { ContainerError } from "../../error.ts";
import { cleanUp } from "../../execute/clean-up.ts";
import { stateRoot } from "../../execute/probe.ts";
import { fits, GROUPS, PATHS } from "../../execute/record-checks.ts";
import { removeCgroups } from "../../execute/remove-cgroups.ts";
import { recordRefused, stateRootRefused } from "../../explain-failure/state-root.ts";
import { didYouMean } from "../../nearest.ts";
import { DEFAULT_PROFILE } from "../../plan/seccomp/profile-program.ts";
import type { Plan } from "../../plan/step.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import { isObject, list, record as map, object, text } from "../../spec/check.ts";
import type { Config } from "../../spec/config.ts";
import { CONFIG } from "../../spec/config-schema.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  LOCK_EX,
  LOCK_NB,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
} from "../../sys/constants.ts";
import { createFile, readDirectory, readFileIfThere } from "../../sys/files.ts";
import { sleepMs } from "../../sys/sleep.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../../sys/structs.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { type End, findEnd, isEnd, pruneEnds, recordEnd } from "./ends.ts";

export interface ContainerState {
  id: string;
  /** 0 until the init process exists. */
  pid: number;
  /** Start time of the init process in clock ticks since boot, which tells it from a later process of the same pid. */
  startTime: string;
  /** ISO 8601. */
  created: string;
  config: Config;
  cgroups: { controller: string; path: string }[];
}

export interface StateLock {
  fd: number;
  path: string;
  /** Tells the directory from a later one of the name. */
  inode: number;
  /** ISO 8601, once the container is on record. */
  created?: string;
}

/** Others may pass root's but not look: root of a user namespace is another user, and mounts its root on the directory. */
const stateMode = (): number => (raw.geteuid() === 0 ? 0o711 : 0o700);

const VERSION = 1;
const EEXIST = -17;
const EWOULDBLOCK = -11;
const ENOENT = -2;
const DT_DIR = 4;

/** Makes and locks the directory of a new container. Throws CONTAINER_EXISTS, STATE_ROOT, STATE_NEWER. */
export function claimState(id: string): StateLock {
  const root = stateRoot();
  const path = `${root}/${id}`;
  // In /tmp somebody else could have made it.
  if (root !== "/run/tupper") makeStateRoot(root);
  for (let attempt = 0; attempt < 50; attempt++) {
    const made = raw.mkdirat(AT_FDCWD, path, stateMode());
    if (made === ENOENT) {
      makeStateRoot(root);
      continue;
    }
    if (made < 0 && made !== EEXIST) throw stateRootRefused(path, new SysError("mkdirat", -made, [path, stateMode()]));
    let lock: StateLock | undefined;
    try {
      lock = tryLock(path);
    } catch (error) {
      if (made >= 0) raw.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
      throw error;
    }
    if (lock === undefined) {
      if (made === EEXIST)
        throw new ContainerError("CONTAINER_EXISTS", `a container named ${id} is running already`, {
          field: "--name",
          hint: "choose another name, or `tupper kill` it",
        });
      continue; // somebody cleans up what looked abandoned for a moment: again
    }
    if (made === EEXIST) {
      discard(lock); // what a crash left
      continue;
    }
    return lock;
  }
  throw new ContainerError("STATE_BUSY", `the state directory ${path} cannot be had`, {
    hint: "other commands work on the same name all the time",
  });
}

/** ENOENT, ENOTDIR, ELOOP, EACCES: gone, or somebody else's. */
export const NOT_OURS: ReadonlySet<number> = new Set([-2, -20, -40, -13]);

/** The lock on an existing state directory, or undefined while its owner lives (or when it is gone). */
function tryLock(path: string): StateLock | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (NOT_OURS.has(fd)) return undefined;
  check(fd, "openat", path);
  const locked = raw.flock(fd, LOCK_EX | LOCK_NB);
  try {
    const { nlink, ino } = locked < 0 ? GONE : statusOf(fd);
    if (nlink > 0) return { fd, path, inode: ino };
  } catch (error) {
    raw.close(fd);
    throw error;
  }
  raw.close(fd);
  if (locked < 0 && locked !== EWOULDBLOCK) throw new SysError("flock", -locked, [path]);
  return undefined;
}

const GONE = { nlink: 0, ino: 0 };

/** A directory that was removed after it was opened has no link. */
export function statusOf(fd: number): { nlink: number; ino: number } {
  const buffer = new ArrayBuffer(STATX_SIZE);
  sys.statx(fd, "", 0x1000, STATX_BASIC_STATS, buffer);
  return parseStatx(buffer);
}

/** A directory that belongs to the caller alone. In /tmp somebody else could have made it first. */
function makeStateRoot(root: string): void {
  const made = raw.mkdirat(AT_FDCWD, root, stateMode());
  if (made < 0 && made !== EEXIST) {
    throw stateRootRefused(root, new SysError("mkdirat", -made, [root, stateMode()]));
  }
  requireOwn(root);
}

/** In /tmp a record may be somebody else's, who would have us kill the process that it names. */
export function ownStateRoot(): string {
  const root = stateRoot();
  if (root.startsWith("/tmp/")) requireOwn(root);
  return root;
}

function requireOwn(root: string): void {
  const buffer = new ArrayBuffer(STATX_SIZE);
  const AT_SYMLINK_NOFOLLOW = 0x100;
  const result = raw.statx(AT_FDCWD, root, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer);
  if (result === ENOENT) return;
  check(result, "statx", AT_FDCWD, root);
  const { uid, mode } = parseStatx(buffer);
  if (uid !== raw.geteuid() || (mode & S_IFMT) !== S_IFDIR || (mode & 0o022) !== 0) {
    throw new ContainerError(
      "STATE_ROOT",
      `the state directory ${root} belongs to somebody else or is writable for others`,
      { hint: "set XDG_RUNTIME_DIR to a directory of your own" },
    );
  }
}

/** Puts on record what is about to be made, before it is made. */
export function recordContainer(lock: StateLock, plan: Plan, config: Config): void {
  lock.created = now();
  const cgroups = plan.steps.flatMap((step) =>
    step.op === "makeCgroup" ? [{ controller: step.controller, path: step.path }] : [],
  );
  const record = {
    version: VERSION,
    id: plan.id,
    created: lock.created,
    config: packConfig(config),
    cgroups,
    remove: plan.cleanup.cgroups,
  };
  createFile(`${lock.path}/state.json`, JSON.stringify(record));
}

/** The default profile is named, not stored: it is most of a config. */
function packConfig(config: Config): unknown {
  if (config.linux.seccomp !== DEFAULT_PROFILE) return config;
  return { ...config, linux: { ...config.linux, seccomp: "default" } };
}

/** Puts the init process on record. Throws RECORD_FAILED. */
export function recordInit({ path }: StateLock, pid: number): void {
  const text = `${pid} ${startTimeOf(pid) ?? "0"}`;
  try {
    createFile(`${path}/init`, text);
  } catch (error) {
    throw error instanceof SysError ? recordRefused(path, error) : error;
  }
}

/** Removes the record of a container that has ended. */
export function releaseState({ fd, path }: StateLock): void {
  remove(`${path}/init`, 0);
  remove(`${path}/state.json`, 0);
  let removed = raw.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
  for (let attempt = 0; removed < 0 && attempt < 10; attempt++) {
    // Somebody's `tupper kill` has left its note, perhaps only now.
    raw.unlinkat(AT_FDCWD, `${path}/killed`, 0);
    removed = raw.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
  }
  check(removed, "unlinkat", AT_FDCWD, path, AT_REMOVEDIR);
  raw.close(fd);
}

function remove(path: string, how: number): void {
  const result = raw.unlinkat(AT_FDCWD, path, how);
  if (result < 0 && result !== ENOENT) throw new SysError("unlinkat", -result, [path]);
}

/** Puts on record how the container ended. 0, or the kernel's answer where it has no place for that. */
export function recordEndOf(
  { path, inode, created }: StateLock,
  end: Omit<End, "id" | "created" | "finished">,
): number {
  const slash = path.lastIndexOf("/");
  return recordEnd(path.slice(0, slash), inode, { id: path.slice(slash + 1), created: created ?? now(), ...end });
}

/** Cleans up after a container whose runner died: its processes, control groups, record. Throws STATE_NEWER; the lock is dropped. */
export function discard(lock: StateLock): void {
  try {
    discardLocked(lock);
  } catch (error) {
    raw.close(lock.fd); // else the container would look alive as long as we are
    throw error;
  }
}

function discardLocked(lock: StateLock): void {
  const text = readFileIfThere(`${lock.path}/state.json`);
  const record = text === undefined ? undefined : parseRecord(text, lock.path);
  const init = readInit(lock.path);
  if (init !== undefined && startTimeOf(init.pid) === init.startTime) {
    const pidfd = raw.pidfdOpen(init.pid, 0);
    if (pidfd >= 0) {
      if (startTimeOf(init.pid) === init.startTime) raw.pidfdSendSignal(pidfd, 9, null, 0);
      raw.close(pidfd);
    }
  }
  // Whatever else it says, perhaps of another version's making.
  if (saysWhatToRemove(record)) {
    removeCgroups(record.remove);
    if (init !== undefined) recordRunnerDied(lock, record, init.pid);
  }
  // Files of other versions, too.
  for (const { name, type } of readDirectory(lock.path))
    if (name !== "state.json") remove(`${lock.path}/${name}`, type === DT_DIR ? AT_REMOVEDIR : 0);
  releaseState(lock);
}

/** Unless it had said how the container ended, and died over the rest. */
function recordRunnerDied(lock: StateLock, { id, created }: Removable, pid: number): void {
  const root = lock.path.slice(0, lock.path.lastIndexOf("/"));
  if (findEnd(root, stateNames(root), id, lock.inode) !== undefined) return;
  const why = "the tupper that ran the container was killed, and the container with it";
  recordEnd(root, lock.inode, { id, created, pid, exitCode: 137, cause: "runner-died", why, signal: "SIGKILL" });
}

/**
 * Cleans up what crashed runs left, and the oldest of too many ends. What is still running is not touched, nor what a newer
 * version made. `warn` hears of what cannot be removed: the rest is done all the same.
 */
export function sweepStates(warn: (text: string) => void): void {
  const root = ownStateRoot();
  const names = stateNames(root);
  for (const id of names) {
    if (isEnd(id)) continue;
    const lock = tryLock(`${root}/${id}`);
    if (lock !== undefined)
      cleanUp(
        `remove what is left of the container ${id}`,
        () => discardUnlessNewer(lock),
        () => lock.path,
        warn,
      );
  }
  pruneEnds(root, names);
}

function discardUnlessNewer(lock: StateLock): void {
  try {
    discard(lock);
  } catch (error) {
    if (!(error instanceof ContainerError) || error.code !== "STATE_NEWER") throw error;
  }
}

export function stateNames(root: string): string[] {
  try {
    return readDirectory(root).map(({ name }) => name);
  } catch (error) {
    if (error instanceof SysError && error.code === "ENOENT") return [];
    throw error;
  }
}

interface StateRecord {
  id: string;
  created: string;
  config: Config;
  cgroups: { controller: string; path: string }[];
  remove: string[];
}

/** Undefined for what is no JSON: a record that was being written when its writer died. Throws STATE_NEWER. */
function parseRecord(text: string, path: string): unknown {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (isObject(record) && typeof record.version === "number" && record.version > VERSION)
    throw new ContainerError("STATE_NEWER", `${path}/state.json was written by a newer version of tupper`, {
      hint: "use that version for this container",
    });
  const linux = (record as { config?: { linux?: { seccomp?: unknown } } } | null)?.config?.linux;
  if (linux?.seccomp === "default") linux.seccomp = DEFAULT_PROFILE;
  return record;
}

const RECORD = object<StateRecord>({ id: text, created: text, config: CONFIG, cgroups: GROUPS, remove: PATHS }, [
  "id",
  "created",
  "config",
  "cgroups",
  "remove",
]);
type Removable = Pick<StateRecord, "id" | "created" | "remove">;
const REMOVABLE = object<Removable>({ id: text, created: text, remove: PATHS }, ["id", "created", "remove"]);

/** What is told of a container in a list. */
interface ListedConfig extends Pick<Config, "annotations"> {
  process: Pick<Config["process"], "args">;
  root: Pick<Config["root"], "path">;
}
type ListedRecord = Pick<StateRecord, "id" | "created"> & { config: ListedConfig };
const LISTED = object<ListedRecord>(
  {
    id: text,
    created: text,
    config: object<ListedConfig>(
      {
        process: object<ListedConfig["process"]>({ args: list(text) }, ["args"]),
        root: object<ListedConfig["root"]>({ path: text }, ["path"]),
        annotations: map(text),
      },
      ["process", "root"],
    ),
  },
  ["id", "created", "config"],
);

const isRecord = (value: unknown): value is StateRecord => fits(RECORD, value);
const isListed = (value: unknown): value is ListedRecord => fits(LISTED, value);
const saysWhatToRemove = (value: unknown): value is Removable => fits(REMOVABLE, value);

type Init = Pick<ContainerState, "pid" | "startTime">;

function readInit(path: string): Init | undefined {
  const text = readFileIfThere(`${path}/init`);
  const [pid, startTime] = text?.split(" ") ?? [];
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
}

export const CONTAINER_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Longer than a busy machine takes from the command's first instruction to its pid on record. */
const STARTING_MS = 2000;

/** A running container's record. Waits for one that is just being started to have a process. Throws CONTAINER_UNKNOWN, STATE_NEWER, STATE_BROKEN. */
export function loadState(id: string, otherwise?: string): ContainerState {
  const path = `${ownStateRoot()}/${id}`;
  let state = CONTAINER_NAME.test(id) ? readState(path, isRecord) : undefined;
  for (let waitedMs = 0; state?.pid === 0 && waitedMs < STARTING_MS; waitedMs += 2) {
    sleepMs(2);
    const isOver = raw.faccessat(AT_FDCWD, `${path}/state.json`, 0) < 0;
    if (isOver || readInit(path) !== undefined) state = readState(path, isRecord);
  }
  if (state !== undefined) return state;
  throw unknownContainer(id, otherwise);
}

const RUNNING = "`tupper ps` lists the running ones";

/** What has ended lately is told apart from what was never there. `otherwise`: the hint where no name is near. */
export function unknownContainer(id: string, otherwise = RUNNING): ContainerError {
  const isName = CONTAINER_NAME.test(id);
  const root = ownStateRoot();
  const names = stateNames(root);
  const nearest = didYouMean(
    id,
    names.filter((name) => !isEnd(name)),
  );
  const hasEnded = isName && findEnd(root, names, id) !== undefined;
  return new ContainerError("CONTAINER_UNKNOWN", `the container ${isName ? id : JSON.stringify(id)} does not exist`, {
    hint: hasEnded ? `it has ended: \`tupper wait ${id}\` tells how` : (nearest ?? otherwise),
  });
}

/** Throws STATE_NEWER, STATE_BROKEN. */
function readState<R extends ListedRecord>(
  path: string,
  isWhole: (record: unknown) => record is R,
): (R & Init) | undefined {
  const text = readFileIfThere(`${path}/state.json`);
  const record = text === undefined ? undefined : parseRecord(text, path);
  if (record === undefined) return undefined;
  if (!isWhole(record) || !CONTAINER_NAME.test(record.id) || !path.endsWith(`/${record.id}`))
    throw new ContainerError("STATE_BROKEN", `${path}/state.json is not a container's record`, {
      hint: "it is damaged, or of a version of tupper that knows more: `tupper kill` of that version ends it",
    });
  return { ...record, ...(readInit(path) ?? { pid: 0, startTime: "0" }) };
}

/** All containers on record that are alive, after cleaning up those that are not. `warn` hears of those whose record cannot be read. */
export function loadStates(warn: (text: string) => void): (ListedRecord & Init)[] {
  sweepStates(warn);
  const root = ownStateRoot();
  return stateNames(root).flatMap((id) => {
    try {
      return isEnd(id) ? [] : (readState(`${root}/${id}`, isListed) ?? []);
    } catch (error) {
      if (error instanceof SysError) warn(`container ${id}: ${error.message}`);
      else if (error instanceof ContainerError) warn(error.message);
      else throw error;
      return [];
    }
  });
}

function now(): string {
  return new Date().toISOString();
}
