/**
 * crun's annotations `run.oci.hooks.stdout` and `run.oci.hooks.stderr`: files that hooks write to. crun(1).
 *
 * Hooks of `start` and `delete` run when the container has lived. Where it may write to the directory of such a file, a volume of logs, a
 * symbolic link there must not lead what is written to another file of the machine: those commands open the file that
 * `create` found, by a path without links, and follow none.
 */
import { ContainerError } from "../error.ts";
import type { Streams } from "../execute/captured-program.ts";
import { followPath } from "../explain-failure/machine.ts";
import { HOOK_FILES, type HookStream } from "../plan/hooks.ts";
import type { Config } from "../spec/config.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  F_SETFL,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_WRONLY,
  RESOLVE_NO_SYMLINKS,
  S_IFMT,
  S_IFREG,
} from "../sys/constants.ts";
import { packOpenHow, parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import type { ContainerRecord } from "./container.ts";

/** Regular files by their paths without links: what later commands open. */
export type HookFiles = Partial<Record<HookStream, string>>;

const ENOSYS = -38;

/** For the hooks of `create`, which starts in the bundle. To be closed by the caller. Throws HOOK_OUTPUT. */
export function openHookFiles({ hooks = {}, annotations }: Config): {
  streams: Streams;
  /** For the steps of a plan. */
  slots: Map<string, number>;
  files: HookFiles | undefined;
} {
  const files: HookFiles = {};
  const slots = new Map<string, number>();
  if (Object.values(hooks).every((list) => list.length === 0)) return { streams: {}, slots, files: undefined };
  const streams = openStreams(annotations, (path, stream) => {
    const fd = open(path);
    slots.set(`hooks.${stream}`, fd);
    const found = raw.readlinkText(AT_FDCWD, `/proc/self/fd/${fd}`);
    if (isRegular(fd) && typeof found === "string") files[stream] = found;
    return fd;
  });
  return { streams, slots, files: files.stdout === undefined && files.stderr === undefined ? undefined : files };
}

/** Runs `act` with the files that hooks of later commands write to. Throws HOOK_OUTPUT. */
export function withHookFiles({ annotations, hookFiles = {} }: ContainerRecord, act: (streams: Streams) => void): void {
  const streams = openStreams(annotations, (path, stream) => {
    const found = hookFiles[stream];
    return found === undefined ? open(path) : openWithoutLinks(found, stream);
  });
  try {
    act(streams);
  } finally {
    closeStreams(streams);
  }
}

export function closeStreams({ stdout, stderr }: Streams): void {
  for (const fd of [stdout, stderr]) if (fd !== undefined) raw.close(fd);
}

function openStreams(annotations: Config["annotations"] = {}, openOne: (path: string, stream: HookStream) => number) {
  const streams: Streams = {};
  for (const stream of ["stdout", "stderr"] as const) {
    const path = annotations[HOOK_FILES[stream]] ?? "";
    if (path === "") continue;
    try {
      streams[stream] = openOne(path, stream);
      // What a hook writes waits for its reader as ever.
      sys.fcntl(streams[stream] ?? -1, F_SETFL, O_APPEND);
    } catch (error) {
      closeStreams(streams);
      throw error instanceof SysError ? cannotOpen(path, stream, error) : error;
    }
  }
  return streams;
}

// O_NONBLOCK: a pipe without a reader is an error, and not a command that waits for ever. open(2), ENXIO.
const FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
const MODE = 0o700;

const open = (path: string): number => sys.openat(AT_FDCWD, path, FLAGS, MODE);

/** Before Linux 5.6 only the last name is looked at. */
function openWithoutLinks(path: string, stream: HookStream): number {
  const how = packOpenHow({ flags: FLAGS, mode: MODE, resolve: RESOLVE_NO_SYMLINKS });
  const opened = raw.openat2(AT_FDCWD, path, how);
  const fd = opened === ENOSYS ? raw.openat(AT_FDCWD, path, FLAGS | O_NOFOLLOW, MODE) : opened;
  check(fd, "openat2", path, "RESOLVE_NO_SYMLINKS");
  if (isRegular(fd)) return fd;
  raw.close(fd);
  throw new ContainerError("HOOK_OUTPUT", `cannot have hooks write to ${path}: it is no regular file any more`, {
    field: fieldOf(stream),
    hint: "the container may have put something else there: give the file a directory of its own",
  });
}

function isRegular(fd: number): boolean {
  const stat = new ArrayBuffer(STATX_SIZE);
  sys.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat);
  return (parseStatx(stat).mode & S_IFMT) === S_IFREG;
}

function cannotOpen(path: string, stream: HookStream, cause: SysError): ContainerError {
  const trouble = followPath(path);
  return new ContainerError("HOOK_OUTPUT", `cannot have hooks write to ${path}`, {
    field: fieldOf(stream),
    cause,
    evidence: trouble === undefined || trouble.at === path ? undefined : trouble.why,
    hint: HINTS[cause.code] ?? "name a file: it is made if it is missing, its directory is not",
  });
}

const fieldOf = (stream: HookStream): string => `annotations["${HOOK_FILES[stream]}"]`;

const HINTS: Readonly<Record<string, string>> = {
  ENXIO: "it is a pipe that nobody reads, or a socket",
  ELOOP: "a symbolic link on the way was not there at create: none is followed that the container may have made",
};
