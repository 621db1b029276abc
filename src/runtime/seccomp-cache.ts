/**
 * Compiled seccomp filters of earlier containers, on disk. Engines give every container the same profile, and checking and
 * compiling it is the larger part of what a start computes.
 *
 * The whole text of the section stands in the file beside the program and is compared: a hit never depends on a digest,
 * and no file can answer for another section. The name is only where to look. Files belong to the caller, in a directory
 * that nobody else can write to; whatever else is found there is passed over. All failures here are silent: without a
 * cache the filter is compiled.
 *
 *     flags (4 bytes) | program length (4) | program | COMPILER ARCHITECTURE \n section \n JSON of the ignored names
 */
import { environmentValue } from "../execute/probe.ts";
import type { Host } from "../plan/host.ts";
import { COMPILER_VERSION } from "../plan/seccomp/compiler-version.ts";
import { compileProfile, type SeccompFilter } from "../plan/seccomp/profile-program.ts";
import { parseSeccomp } from "../spec/parse-config.ts";
import type { LinuxSeccomp } from "../spec/seccomp.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
} from "../sys/constants.ts";
import { readDirectoryFd } from "../sys/files.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE, type Statx } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";

/** The oldest goes when there are more. */
const MAX_ENTRIES = 64;
/** Nobody's profile is longer; the text is read at every start. */
const MAX_SECTION = 1 << 18;
const HEADER = 8;

/**
 * The filter of a section `linux.seccomp` that has not been checked: from the cache, or compiled and put there. Throws a
 * {@link ContainerError} where the section is none.
 */
export function seccompFilter(section: LinuxSeccomp, architecture: Host["architecture"]): SeccompFilter {
  const directory = cacheDirectory();
  const text = directory === undefined ? undefined : textOf(section);
  if (directory === undefined || text === undefined) return compileProfile(parseSeccomp(section), architecture);
  const key = `${COMPILER_VERSION} ${architecture}\n${text}\n`;
  const fd = raw.openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  const ours = fd >= 0 && isOurs(statOf(fd));
  const name = nameOf(text);
  let filter = ours ? quietly(() => load(fd, name, key)) : undefined;
  if (filter === undefined) {
    const compiled = compileProfile(parseSeccomp(section), architecture);
    if (ours) quietly(() => store(fd, name, key, compiled));
    else if (fd < 0) quietly(() => storeFirst(directory, name, key, compiled));
    filter = compiled;
  }
  if (fd >= 0) raw.close(fd);
  return filter;
}

function quietly<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

/** Apart from the runtime's roots, which hold a directory for each container ID and nothing else. */
function cacheDirectory(): string | undefined {
  if (raw.geteuid() === 0) return "/run/tupper-cache/seccomp";
  const runtime = environmentValue("XDG_RUNTIME_DIR");
  return runtime?.startsWith("/") ? `${runtime}/tupper-cache/seccomp` : undefined;
}

/** The section in one way of writing it; undefined where it is too long, or has numbers that JSON cannot write. */
function textOf(section: LinuxSeccomp): string | undefined {
  try {
    const text = JSON.stringify(section);
    return text.length <= MAX_SECTION ? text : undefined;
  } catch (error) {
    if (error instanceof TypeError) return undefined; // a bigint
    throw error;
  }
}

/** Sections with one name replace each other, so some letters of the text are enough. */
function nameOf(text: string): string {
  let hash = 0;
  const stride = Math.max(1, text.length >> 7);
  for (let at = text.length - 1; at >= 0; at -= stride) hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0;
  return `${text.length}-${(hash >>> 0).toString(16)}`;
}

function statOf(fd: number): Statx | undefined {
  const buffer = new ArrayBuffer(STATX_SIZE);
  return raw.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, buffer) < 0 ? undefined : parseStatx(buffer);
}

const OTHERS_MAY_WRITE = 0o022;

const isOurs = (stat: Statx | undefined): stat is Statx =>
  stat !== undefined && stat.uid === raw.geteuid() && (stat.mode & OTHERS_MAY_WRITE) === 0;

function load(directory: number, name: string, key: string): SeccompFilter | undefined {
  const fd = raw.openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  try {
    const stat = statOf(fd);
    if (!isOurs(stat) || stat.size <= HEADER || stat.size > 4 * MAX_SECTION) return undefined;
    const bytes = new ArrayBuffer(stat.size);
    return raw.read(fd, bytes) === stat.size ? unpack(bytes, key) : undefined;
  } finally {
    raw.close(fd);
  }
}

function unpack(bytes: ArrayBuffer, key: string): SeccompFilter | undefined {
  const view = new DataView(bytes);
  const length = view.getUint32(4, true);
  if (length === 0 || length % 8 !== 0 || HEADER + length >= bytes.byteLength) return undefined;
  const text = sys.decodeText(bytes, HEADER + length, bytes.byteLength) as string;
  // The names come last and end with a bracket: a file that was cut has none.
  if (!text.startsWith(key) || !text.endsWith("]")) return undefined;
  const ignored = text.length === key.length + 2 ? [] : (JSON.parse(text.slice(key.length)) as string[]);
  return { program: new Uint8Array(bytes, HEADER, length), flags: view.getUint32(0, true), ignored };
}

function storeFirst(path: string, name: string, key: string, filter: SeccompFilter): void {
  raw.mkdirat(AT_FDCWD, path.slice(0, path.lastIndexOf("/")), 0o700);
  raw.mkdirat(AT_FDCWD, path, 0o700);
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return;
  if (isOurs(statOf(fd))) store(fd, name, key, filter);
  raw.close(fd);
}

/** Written beside and renamed: a reader sees all of it or nothing. */
function store(directory: number, name: string, key: string, { program, flags, ignored }: SeccompFilter): void {
  const text = new Uint8Array(sys.encodeText(key + JSON.stringify(ignored)) as ArrayBuffer);
  const bytes = new Uint8Array(HEADER + program.length + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, flags, true);
  view.setUint32(4, program.length, true);
  bytes.set(program, HEADER);
  bytes.set(text, HEADER + program.length);

  const beside = `${name}.${raw.getpid()}`;
  const fd = raw.openat(directory, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600);
  if (fd < 0) return;
  const written = raw.write(fd, bytes.buffer);
  raw.close(fd);
  if (written !== bytes.length || raw.renameat2(directory, beside, directory, name, 0) < 0) {
    raw.unlinkat(directory, beside, 0);
    return;
  }
  dropOldest(directory);
}

function dropOldest(directory: number): void {
  const names = readDirectoryFd(directory).map((entry) => entry.name);
  if (names.length <= MAX_ENTRIES) return;
  const buffer = new ArrayBuffer(STATX_SIZE);
  const aged = names.map((name) => {
    const known = raw.statx(directory, name, 0, STATX_BASIC_STATS, buffer) >= 0;
    const { sec, nsec } = known ? parseStatx(buffer).mtime : { sec: 0, nsec: 0 };
    return { name, sec, nsec };
  });
  aged.sort((a, b) => a.sec - b.sec || a.nsec - b.nsec);
  for (const { name } of aged.slice(0, names.length - MAX_ENTRIES)) raw.unlinkat(directory, name, 0);
}
