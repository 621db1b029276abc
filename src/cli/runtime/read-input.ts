/** Files that a flag or argument names; `-` is standard input. */

import { ContainerError } from "../../error.ts";
import type { ErrorCode } from "../../error-codes.ts";
import { readFile } from "../../sys/files.ts";
import { SysError, sys } from "../../sys/sys.ts";

/** The text of it. Throws an error with this code when it cannot be read. */
export function readInput(
  file: string,
  { field, code, what }: { field: string; code: ErrorCode; what: string },
): string {
  try {
    return file === "-" ? sys.readText(0) : readFile(file);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new ContainerError(code, `cannot read the ${what} ${file}`, { field, cause: error });
  }
}
