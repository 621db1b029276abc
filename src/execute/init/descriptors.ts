/** Which descriptors the set-up leaves open. close_range(2). */
import { F_SETFD } from "../../sys/constants.ts";
import { check, raw } from "../../sys/sys.ts";
import { ENOSYS } from "./context.ts";

/**
 * Closes what the parent had open, all but standard input, output and error and those in `keep`: from here on a container's
 * path can lead to no descriptor of the machine (CVE-2024-21626).
 */
export function closeInherited(keep: readonly number[]): void {
  let from = 3;
  for (const fd of [...keep].sort((a, b) => a - b)) {
    if (fd > from) closeRange(from, fd - 1);
    from = fd + 1;
  }
  closeRange(from, 0xffffffff);
}

function closeRange(first: number, last: number): void {
  const result = raw.closeRange(first, last, 0);
  // Linux before 5.9, or a seccomp filter around us that does not know it.
  if (result === ENOSYS || result === -1)
    for (let fd = first; fd <= Math.min(last, OLD_KERNEL_DESCRIPTORS); fd++) raw.close(fd);
  else check(result, "close_range", first, last);
}

/** How far descriptors are looked for one by one. */
const OLD_KERNEL_DESCRIPTORS = 65536;

/** For kernels below 5.11, which have no CLOSE_RANGE_CLOEXEC. */
export function closeOneByOne(from: number): void {
  const F_SETFD_CLOEXEC = 1;
  for (let fd = from; fd < OLD_KERNEL_DESCRIPTORS; fd++) raw.fcntl(fd, F_SETFD, F_SETFD_CLOEXEC);
}
