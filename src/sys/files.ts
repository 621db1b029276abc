/** Small files of the kernel and of ours: read whole, written at once. */
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_WRONLY, POLLOUT } from "./constants.ts";
import { packPollfds, packTimespec } from "./structs.ts";
import { check, EAGAIN, EINTR, raw, SysError, sys } from "./sys.ts";

/** A whole file as text. Bytes that are not UTF-8 become lone surrogates and turn back when written. Throws {@link SysError}. */
export function readFile(path: string, dirfd = AT_FDCWD): string {
  const fd = sys.openat(dirfd, path, O_RDONLY | O_CLOEXEC, 0);
  try {
    return sys.readText(fd);
  } finally {
    raw.close(fd);
  }
}

/** Like {@link readFile}, or undefined when there is no such file (or no such process). */
export function readFileIfThere(path: string, dirfd = AT_FDCWD): string | undefined {
  const fd = raw.openat(dirfd, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    if (fd === -2 || fd === -20 || fd === -3) return undefined;
    throw new SysError("openat", -fd, [dirfd, path, O_RDONLY | O_CLOEXEC, 0]);
  }
  const text = raw.readText(fd);
  raw.close(fd);
  if (typeof text === "string") return text;
  if (text === -3 || text === -19) return undefined; // ESRCH, ENODEV: the process or cgroup went away meanwhile
  throw new SysError("read", -text, [path]);
}

/** Like {@link readFileIfThere}, or undefined where it cannot be read for whatever reason: for what is looked at to explain something. */
export function readIfReadable(path: string): string | undefined {
  try {
    return readFileIfThere(path);
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}

const EEXIST = -17;

let small: ArrayBuffer | undefined;

/**
 * Like {@link readFileIfThere}, in one read where the file is small: the call that finds its end is saved. For what comes whole, as
 * our own files do and those of the kernel that have one record (/proc/PID/stat), not tables (mountinfo).
 */
export function readSmallFile(path: string): string | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return readFileIfThere(path);
  small ??= new ArrayBuffer(4096);
  const length = raw.read(fd, small);
  raw.close(fd);
  return length < 0 || length === small.byteLength
    ? readFileIfThere(path)
    : (raw.decodeText(small, 0, length) as string);
}

/** Writes a value into a file that exists: of a cgroup, of /proc. One write, as the kernel wants it. Throws {@link SysError}. */
export function writeFile(path: string, value: string, dirfd = AT_FDCWD): void {
  const fd = sys.openat(dirfd, path, O_WRONLY | O_CLOEXEC, 0);
  const written = writeOnce(fd, value);
  raw.close(fd);
  // The kernel said no to the value, not to the file: name both.
  if (written < 0) throw new SysError("write", -written, [path, value]);
}

/** A value as the kernel wants it. EINTR: v1 sets no limit on memory while we are to be stopped, by SIGSTOP or the freezer. memcg_resize_max() */
export function writeOnce(fd: number, value: string): number {
  let written: number;
  do written = raw.write(fd, value);
  while (written === EINTR);
  return written;
}

/** Replaces a file of ours: written beside and renamed, so that a reader sees the old one or the new one. Throws {@link SysError}. */
export function replaceFile(path: string, text: string, mode = 0o600): void {
  const beside = `${path}.new`;
  const make = () => raw.openat(AT_FDCWD, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  let fd = make();
  if (fd === EEXIST) {
    // What a crash left. Or a link, where others may write too: what it leads to is not for us to write to.
    sys.unlinkat(AT_FDCWD, beside, 0);
    fd = make();
  }
  check(fd, "openat", AT_FDCWD, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  try {
    writeAll(fd, text);
    sys.renameat2(AT_FDCWD, beside, AT_FDCWD, path, 0);
  } catch (error) {
    raw.unlinkat(AT_FDCWD, beside, 0);
    throw error;
  } finally {
    raw.close(fd);
  }
}

/** Creates a file that must not exist. */
export function createFile(path: string, text: string | ArrayBuffer, mode = 0o600): void {
  const fd = sys.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  writeAll(fd, text);
  raw.close(fd);
}

/** Writes everything, in as many writes as it takes. Closes nothing. `patienceMs`: as long as one who reads slowly may pause. */
export function writeAll(fd: number, data: string | ArrayBuffer, patienceMs?: number): void {
  let rest = typeof data === "string" ? (sys.encodeText(data) as ArrayBuffer) : data;
  while (rest.byteLength > 0) {
    const written = raw.write(fd, rest);
    // A caller's output may be O_NONBLOCK, by whoever else has it open: one that is slow is no failure.
    if (written === EAGAIN && canBeWritten(fd, patienceMs)) continue;
    rest = rest.slice(check(written, "write", fd, rest));
  }
}

/** Whether it is worth another try; false when nobody has read anything for so long. */
export function canBeWritten(fd: number, ms: number | undefined): boolean {
  const timeout = ms === undefined ? null : packTimespec(ms);
  return raw.ppoll(packPollfds([{ fd, events: POLLOUT }]), 1, timeout, null, 8) !== 0;
}

/** To standard error. One that takes nothing (a full disk) changes neither what is done nor the exit code: nobody could be told. */
export function writeErr(text: string): void {
  try {
    writeAll(2, text);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
}

/** Names in a directory, without `.` and `..`, with the kernel's file type (`DT_*`). Throws {@link SysError}. */
export function readDirectory(path: string, dirfd = AT_FDCWD): { name: string; type: number }[] {
  const fd = sys.openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  try {
    return readDirectoryFd(fd);
  } finally {
    raw.close(fd);
  }
}

/** Like {@link readDirectory}, of an open directory. getdents(2). */
export function readDirectoryFd(fd: number): { name: string; type: number }[] {
  const entries: { name: string; type: number }[] = [];
  const buffer = new ArrayBuffer(32768);
  const view = new DataView(buffer);
  const bytes = new Uint8Array(buffer);
  for (;;) {
    const length = sys.getdents64(fd, buffer);
    if (length === 0) return entries;
    for (let at = 0; at < length; ) {
      const size = view.getUint16(at + 16, true);
      const start = at + 19;
      const end = bytes.indexOf(0, start);
      const name = sys.decodeText(buffer, start, end) as string;
      if (name !== "." && name !== "..") entries.push({ name, type: view.getUint8(at + 18) });
      at += size;
    }
  }
}
