/**
 * The end of a process that need not be a child of ours. A pidfd can be read from then on; without pidfd_open (before
 * Linux 5.3) the process's directory in /proc stands for it (host/old_kernels.h), which has to be asked again and again.
 */
import { O_CLOEXEC, O_RDONLY, POLLIN } from "../sys/constants.ts";
import { sleepMs } from "../sys/sleep.ts";
import { packPollfds, packTimespec } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { ENOTDIR } from "./init/context.ts";

export const PAUSE_MS = 10;

/** Waits for the end; false when it has not come within so many milliseconds. Its zombie is an end. */
export function endsWithin(process: number, ms: number): boolean {
  for (let left = ms; ; left -= PAUSE_MS) {
    const fds = packPollfds([{ fd: process, events: POLLIN }]);
    if (sys.ppoll(fds, 1, packTimespec(Math.max(left, 0)), null, 8) === 0) return false;
    if (!stillRuns(process)) return true;
    if (left <= 0) return false;
    sleepMs(PAUSE_MS);
  }
}

/** Asked of what is ready to be read: false for a pidfd. */
export function stillRuns(process: number): boolean {
  const fd = openStat(process);
  if (fd < 0) return false;
  const stat = raw.readText(fd);
  raw.close(fd);
  return typeof stat === "string" && !"ZXx".includes(stat.charAt(stat.lastIndexOf(")") + 2));
}

/** A directory of /proc in the place of a pidfd. */
export function isDirectoryOfProc(process: number): boolean {
  const fd = openStat(process);
  if (fd >= 0) raw.close(fd);
  return fd !== ENOTDIR;
}

const openStat = (process: number): number => raw.openat(process, "stat", O_RDONLY | O_CLOEXEC, 0);
