/** Runs a small program of the machine and returns what it said: newuidmap, newgidmap. */
import { AT_FDCWD, O_CLOEXEC, O_RDWR, SIG_SETMASK } from "../sys/constants.ts";
import { openStandardFiles } from "../sys/standard-files.ts";
import { exitCodeOf } from "../sys/structs.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { keepEnds, waitFor } from "./wait.ts";

/** In the order of the usual PATH: what the administrator installed beside the distribution's, such as a newer CRIU, comes first. */
const DIRECTORIES = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The program's path in the usual directories (never the caller's PATH: it may run with more rights than the caller). */
export function findProgram(name: string): string | undefined {
  const X_OK = 1;
  return DIRECTORIES.map((directory) => `${directory}/${name}`).find(
    (path) => raw.faccessat(AT_FDCWD, path, X_OK) >= 0,
  );
}

interface HelperEnd {
  code: number;
  /** Of stdout and stderr together. */
  output: string;
}

export function runHelper(words: readonly string[]): HelperEnd {
  keepEnds();
  return startHelper(words)();
}

/** Starts it; the result waits for its end. For who has seen to it that ends are kept (wait.ts). */
export function startHelper([name = "", ...args]: readonly string[]): () => HelperEnd {
  const path = findProgram(name);
  if (path === undefined) return () => ({ code: 127, output: `${name} is not installed` });
  openStandardFiles(); // the pipe shall not get their numbers
  const fds = new ArrayBuffer(8);
  sys.pipe2(fds, O_CLOEXEC);
  const [readEnd = -1, writeEnd = -1] = new Int32Array(fds);
  const pid = check(
    raw.spawn(0, 0, writeEnd, readEnd, () => {
      raw.dup3(sys.openat(AT_FDCWD, "/dev/null", O_RDWR, 0), 0, 0);
      raw.dup3(writeEnd, 1, 0);
      raw.dup3(writeEnd, 2, 0);
      raw.rtSigprocmask(SIG_SETMASK, new ArrayBuffer(8), null, 8);
      raw.execve(path, [name, ...args], ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
      raw.exitGroup(127);
    }),
    "clone3",
  );
  return () => {
    const output = sys.readText(readEnd);
    raw.close(readEnd);
    return { code: exitCodeOf(waitFor(pid)) ?? 127, output };
  };
}
