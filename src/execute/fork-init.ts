/**
 * `--init`: the command becomes a child, and this process, PID 1 of the container, becomes tupper-init (host/init.c).
 * It is executed from a sealed memfd, so that /proc/1/exe is nothing of the machine (CVE-2019-5736).
 */
import {
  AT_EMPTY_PATH,
  CLONE_VM,
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
} from "../sys/constants.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { openChannel } from "./channel.ts";

/** Forks the process that goes on to become the command; returns in PID 1, once the command runs, with its pid. */
export function forkCommand(sharedMemory: boolean, goOn: () => never): number {
  const [parentEnd, childEnd] = openChannel();
  // Nothing is said here: childEnd closes when the child executes the command, and that wakes us.
  return check(raw.spawn(sharedMemory ? CLONE_VM : 0, 0, childEnd, parentEnd, goOn), "clone3");
}

/** A descriptor of tupper-init that nothing can change. Taken while the set-up is still privileged. */
export function openInitProgram(): number {
  const fd = sys.memfdCreate("tupper-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  sys.writeInit(fd);
  sys.fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

/** This process becomes tupper-init, which watches over `pid`. Comes back only with an error. */
export function becomeInit(program: number, pid: number): void {
  sys.execveat(program, "", ["tupper-init", String(pid)], [], AT_EMPTY_PATH);
}
