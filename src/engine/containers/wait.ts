/**
 * `tupper wait`: the end of containers that run, and of those whose end is still on record.
 *
 * Whoever runs a container holds flock(2) on its state directory until the end is on record and all is removed; the kernel drops the
 * lock however the runner dies. So the lock is what is waited for, and nothing is polled.
 */
import { ContainerError } from "../../error.ts";
import { AT_FDCWD, LOCK_EX, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../../sys/constants.ts";
import { check, EINTR, raw } from "../../sys/sys.ts";
import { type End, findEnd } from "./ends.ts";
import {
  CONTAINER_NAME,
  discard,
  NOT_OURS,
  ownStateRoot,
  type StateLock,
  stateNames,
  statusOf,
  unknownContainer,
} from "./state.ts";

/** The hint of commands that also tell of what has ended. */
export const KNOWN = "`tupper ps --all` lists those that are still known";

/** Returns what waits for the container's end, which throws END_UNKNOWN. Throws CONTAINER_UNKNOWN. */
export function watchEnd(id: string): () => End {
  const path = `${ownStateRoot()}/${id}`;
  const fd = CONTAINER_NAME.test(id)
    ? raw.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
    : -2;
  if (!NOT_OURS.has(fd)) {
    const lock = { fd: check(fd, "openat", path), path, inode: statusOf(fd).ino };
    return () => awaitEnd(lock, id);
  }
  const end = loadEnd(id);
  if (end === undefined) throw unknownContainer(id, KNOWN);
  return () => end;
}

/** How the last container of this name ended, as far as it is still on record. */
export function loadEnd(id: string, state?: number): End | undefined {
  const root = ownStateRoot();
  return findEnd(root, stateNames(root), id, state);
}

function awaitEnd(lock: StateLock, id: string): End {
  let locked: number;
  do locked = raw.flock(lock.fd, LOCK_EX);
  while (locked === EINTR);
  check(locked, "flock", lock.path);
  // The runner died, and its container with it.
  if (statusOf(lock.fd).nlink > 0) discard(lock);
  else raw.close(lock.fd);
  const end = loadEnd(id, lock.inode);
  if (end !== undefined) return end;
  throw new ContainerError("END_UNKNOWN", `the container ${id} has ended, and how is not on record`, {
    hint: "a warning of the tupper that ran it says why; of many that end at once the records of the first are dropped",
  });
}
