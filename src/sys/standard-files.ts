/**
 * Standard input, output and error of a caller who has closed them. What is opened next would take their numbers: a command that sets
 * out to write to its output would write there, and the container's first process would keep the lock on its own record. So they become
 * /dev/null, as with programs in Go, runc for one.
 */
import { AT_FDCWD, O_RDWR } from "./constants.ts";
import { packPollfds, packTimespec, parsePollfds } from "./structs.ts";
import { raw } from "./sys.ts";

const POLLNVAL = 0x20;
const STANDARD = [0, 1, 2].map((fd) => ({ fd, events: 0 }));

/** To be called before anything is opened that stays open. One system call where all are there. */
export function openStandardFiles(): void {
  const polled = packPollfds(STANDARD);
  if (raw.ppoll(polled, STANDARD.length, packTimespec(0), null, 8) <= 0) return;
  if (!parsePollfds(polled).some((events) => (events & POLLNVAL) !== 0)) return;
  // Each gets the lowest number that is free. A machine without /dev/null has them closed.
  let fd: number;
  do fd = raw.openat(AT_FDCWD, "/dev/null", O_RDWR, 0);
  while (fd >= 0 && fd < 2);
  if (fd > 2) raw.close(fd);
}
