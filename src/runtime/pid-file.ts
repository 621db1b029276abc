/** `--pid-file`: callers wait for the file to be there and read it at once, so it comes last and as a whole. */
import { ContainerError } from "../error.ts";
import { replaceFile } from "../sys/files.ts";
import { SysError } from "../sys/sys.ts";

/** Throws PID_FILE. */
export function writePidFile(path: string, pid: number): void {
  try {
    replaceFile(path, String(pid), 0o644);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new ContainerError("PID_FILE", `cannot write the pid file ${path}`, { field: "--pid-file", cause: error });
  }
}
