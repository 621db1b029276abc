/** Which descriptors the set-up leaves open. close_range(2). */
import { F_GETFD, F_SETFD } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";

/**
 * Closes what the parent had open, all but those below `first` (standard input, output and error, and what the command is to
 * have) and those in `keep`: from here on a container's path can lead to no descriptor of the machine (CVE-2024-21626).
 */
export function closeInherited(keep: readonly number[], first = 3): void {
  let from = first;
  for (const fd of [...keep].sort((a, b) => a - b)) {
    if (fd < first) continue;
    if (fd > from) closeRange(from, fd - 1);
    from = fd + 1;
  }
  closeRange(from, 0xffffffff);
}

function closeRange(first: number, last: number): void {
  const result = raw.closeRange(first, last, 0);
  // Linux before 5.9, or a seccomp filter around us that does not know it; whatever the reason, none may stay open.
  if (result < 0) for (let fd = first; fd <= Math.min(last, OLD_KERNEL_DESCRIPTORS); fd++) raw.close(fd);
}

/** How far descriptors are looked for one by one. */
const OLD_KERNEL_DESCRIPTORS = 65536;

/** For kernels below 5.11, which have no CLOSE_RANGE_CLOEXEC. */
export function closeOneByOne(from: number): void {
  const F_SETFD_CLOEXEC = 1;
  for (let fd = from; fd < OLD_KERNEL_DESCRIPTORS; fd++) raw.fcntl(fd, F_SETFD, F_SETFD_CLOEXEC);
}

/** The first of `count` descriptors from 3 up that is not open; undefined when all are. Before anything else is opened. */
export function missingDescriptor(count: number): number | undefined {
  for (let fd = 3; fd < 3 + count; fd++) if (raw.fcntl(fd, F_GETFD, 0) < 0) return fd;
  return undefined;
}
