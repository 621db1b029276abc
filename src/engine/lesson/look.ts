/** A shell command whose output the reader of a lesson sees: run by whoever calls, in the namespaces and under the root that it has. */

import { waitFor } from "../../execute/wait.ts";
import { MFD_CLOEXEC, O_CLOEXEC, SIG_SETMASK } from "../../sys/constants.ts";
import { errnoText } from "../../sys/errno.ts";
import { check, raw, sys } from "../../sys/sys.ts";

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_LENGTH = 4000;

/** Stdout and stderr together. `variables`: `NAME=value` for the command. */
export function look(command: string, variables: readonly string[] = []): string {
  const input = sys.memfdCreate("input", MFD_CLOEXEC);
  const output = sys.memfdCreate("output", MFD_CLOEXEC);
  const fds = new ArrayBuffer(8);
  sys.pipe2(fds, O_CLOEXEC);
  const [failureEnd = -1, childEnd = -1] = new Int32Array(fds);
  const pid = check(
    raw.spawn(0, 0, childEnd, failureEnd, () => {
      raw.dup3(input, 0, 0);
      raw.dup3(output, 1, 0);
      raw.dup3(output, 2, 0);
      raw.rtSigprocmask(SIG_SETMASK, new ArrayBuffer(8), null, 8);
      const result = raw.execve("/bin/sh", ["sh", "-c", command], [PATH, "LC_ALL=C", ...variables]);
      raw.write(childEnd, new Int32Array([-result]).buffer as ArrayBuffer);
      raw.exitGroup(127);
    }),
    "clone3",
  );
  raw.close(input);
  const errno = new ArrayBuffer(4);
  const notExecuted = raw.read(failureEnd, errno) === 4;
  raw.close(failureEnd);
  waitFor(pid);
  const text = notExecuted ? `/bin/sh: ${errnoText(new Int32Array(errno)[0] ?? 0)}` : readBack(output);
  raw.close(output);
  return text;
}

/** All that was written to a file in memory, without the line feed at its end. */
export function readBack(fd: number): string {
  sys.lseek(fd, 0, 0);
  const text = sys.readText(fd).replace(/\n$/, "");
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
}
