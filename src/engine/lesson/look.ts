/** A shell command whose output the reader of a lesson sees: run by whoever calls, in the namespaces and under the root that it has. */

import { startCaptured } from "../../execute/captured-program.ts";
import { reap } from "../../execute/wait.ts";
import { errnoText } from "../../sys/errno.ts";
import { raw, sys } from "../../sys/sys.ts";

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_LENGTH = 4000;

/** Stdout and stderr together. `variables`: `NAME=value` for the command. */
export function look(command: string, variables: readonly string[] = []): string {
  const env = [PATH, "LC_ALL=C", ...variables];
  const { pid, errno, output } = startCaptured("/bin/sh", ["sh", "-c", command], env);
  reap(pid);
  const text = errno === undefined ? readBack(output) : `/bin/sh: ${errnoText(errno)}`;
  raw.close(output);
  return text;
}

/** All that was written to a file in memory, without the line feed at its end. */
export function readBack(fd: number): string {
  sys.lseek(fd, 0, 0);
  const text = sys.readText(fd).replace(/\n$/, "");
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
}
