/**
 * `--init`: the command becomes a child, and this process, PID 1 of the container, becomes tupper-init (host/init.c).
 * It is executed from a sealed memfd, so that /proc/1/exe is nothing of the machine (CVE-2019-5736).
 */
import {
  AT_EMPTY_PATH,
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  O_CLOEXEC,
} from "../sys/constants.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { openChannel } from "./channel.ts";

/**
 * Forks the process that goes on to become the command, and returns its pid. It gets a descriptor that ends (reads as end
 * of file) when this process has become tupper-init: before that, the command would find the set-up's descriptors in it.
 */
export function forkCommand(goOn: (initIsReady: number) => never): number {
  const [parentEnd, childEnd] = openChannel();
  const fds = new ArrayBuffer(8);
  sys.pipe2(fds, O_CLOEXEC);
  const [readEnd = -1, writeEnd = -1] = new Int32Array(fds);
  const pid = check(
    raw.spawn(0, 0, childEnd, parentEnd, () => {
      raw.close(writeEnd);
      raw.close(childEnd); // wakes the parent, which has its own steps to do
      goOn(readEnd);
    }),
    "clone3",
  );
  raw.close(readEnd);
  raw.close(parentEnd);
  return pid;
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
