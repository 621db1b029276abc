/**
 * The arguments of a process, as lists of processes tell them. proc_pid_cmdline(5).
 *
 * Where they lie in its memory any process says of itself (PR_SET_MM_MAP), and that may be gigabytes of nothing, or any bytes: what is
 * read and looked at has an end, as in ps(1).
 */
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { raw } from "../sys/sys.ts";

const MOST_BYTES = 128 << 10;
let room: ArrayBuffer | undefined;

/** In one line; empty for a zombie and for a kernel thread. Undefined when the process is gone. */
export function commandLine(pid: number): string | undefined {
  const fd = raw.openat(AT_FDCWD, `/proc/${pid}/cmdline`, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  room ??= new ArrayBuffer(MOST_BYTES);
  let length = raw.read(fd, room);
  raw.close(fd);
  if (length < 0) return undefined;
  const bytes = new Uint8Array(room);
  while (length > 0 && bytes[length - 1] === 0) length--;
  return (raw.decodeText(room, 0, length) as string).replaceAll("\0", " ");
}
