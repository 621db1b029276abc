/** A program of the container or of the machine that runs with a text for its input, and whose output is kept, both in memory: nothing blocks. */
import { MFD_CLOEXEC, O_CLOEXEC, SIG_SETMASK } from "../sys/constants.ts";
import { writeAll } from "../sys/files.ts";
import { openStandardFiles } from "../sys/standard-files.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { keepEnds } from "./wait.ts";

export interface CapturedProgram {
  /** To be waited for by the caller. */
  pid: number;
  /** What execve(2) answered, when the program could not be executed. */
  errno: number | undefined;
  /** Stdout and stderr together, or what of them goes nowhere else: a file in memory, the caller's to read and to close. */
  output: number;
}

/** Where a program's output goes, each a descriptor; what is not there is captured. */
export interface Streams {
  stdout?: number | undefined;
  stderr?: number | undefined;
}

/** Returns when the program runs, or cannot. Throws {@link SysError}. memfd_create(2). */
export function startCaptured(
  path: string,
  argv: readonly string[],
  env: readonly string[],
  inputText = "",
  { stdout, stderr }: Streams = {},
): CapturedProgram {
  // The files below shall not get these numbers, which the program gets copies at.
  openStandardFiles();
  const input = sys.memfdCreate("input", MFD_CLOEXEC);
  const output = sys.memfdCreate("output", MFD_CLOEXEC);
  writeAll(input, inputText);
  sys.lseek(input, 0, 0);
  const fds = new ArrayBuffer(8);
  sys.pipe2(fds, O_CLOEXEC);
  const [failureEnd = -1, childEnd = -1] = new Int32Array(fds);
  keepEnds();
  const pid = check(
    raw.spawn(0, 0, childEnd, failureEnd, () => {
      raw.dup3(input, 0, 0);
      raw.dup3(stdout ?? output, 1, 0);
      raw.dup3(stderr ?? output, 2, 0);
      raw.rtSigprocmask(SIG_SETMASK, new ArrayBuffer(8), null, 8);
      const result = raw.execve(path, argv, env);
      raw.write(childEnd, new Int32Array([-result]).buffer as ArrayBuffer);
      raw.exitGroup(127);
    }),
    "clone3",
  );
  raw.close(input);
  const errno = new ArrayBuffer(4);
  const notExecuted = raw.read(failureEnd, errno) === 4;
  raw.close(failureEnd);
  return { pid, errno: notExecuted ? (new Int32Array(errno)[0] ?? 0) : undefined, output };
}
