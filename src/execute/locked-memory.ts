/** The limit of locked memory, which is counted for BPF programs too before Linux 5.11: for all of the user's together. */
import { packRlimit, parseRlimit, RLIM_INFINITY } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";

const RLIMIT_MEMLOCK = 8;

/** Does something without that limit, or with no more than the hard one where raising that is refused; then it is as it was. */
export function withLockedMemory(work: () => number): number {
  const before = new ArrayBuffer(16);
  if (raw.prlimit64(0, RLIMIT_MEMLOCK, packRlimit({ soft: RLIM_INFINITY, hard: RLIM_INFINITY }), before) < 0) {
    raw.prlimit64(0, RLIMIT_MEMLOCK, null, before);
    const { hard } = parseRlimit(before);
    raw.prlimit64(0, RLIMIT_MEMLOCK, packRlimit({ soft: hard, hard }), null);
  }
  const result = work();
  raw.prlimit64(0, RLIMIT_MEMLOCK, before, null);
  return result;
}
