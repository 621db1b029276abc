/** Why the directory that containers are on record in cannot be made, or a record not be written there. */
import { ContainerError } from "../error.ts";
import type { SysError } from "../sys/sys.ts";
import type { Finding } from "./filesystem.ts";
import { followPath } from "./machine.ts";
import { above, noRoom, readOnly } from "./paths.ts";

/** `field`: the flag that names it, where one does. */
export function stateRootRefused(path: string, error: SysError, field?: string): ContainerError {
  const { why, evidence, hint } = find(path, error);
  return new ContainerError(
    "STATE_ROOT",
    `cannot make the state directory ${path}${why === undefined ? "" : `: ${why}`}`,
    {
      cause: error,
      evidence,
      hint: `${hint ?? "make it writable"}, or name another${field === undefined ? "" : ` with ${field}`} (XDG_RUNTIME_DIR for ordinary users)`,
      ...(field === undefined ? {} : { field }),
    },
  );
}

/** A file in the directory of a container, which is removed when this is told: what is full is the one above. */
export function recordRefused(path: string, cause: SysError, field?: string): ContainerError {
  const { why, evidence, hint } = isFull(cause) ? noRoom(above(path), cause.code) : {};
  return new ContainerError(
    "RECORD_FAILED",
    `cannot record the container in ${path}${why === undefined ? "" : `: ${why}`}`,
    { cause, evidence, ...(hint === undefined ? {} : { hint }), ...(field === undefined ? {} : { field }) },
  );
}

const isFull = ({ code }: SysError): boolean => code === "ENOSPC" || code === "EDQUOT";

function find(path: string, error: SysError): Finding {
  const { code } = error;
  if (code === "EROFS") return { ...readOnly(path), hint: undefined };
  if (isFull(error)) return noRoom(path, code);
  const trouble = followPath(above(path));
  if (trouble !== undefined) return { why: trouble.why, evidence: trouble.evidence };
  return code === "EACCES" ? { why: "this user may not write there" } : {};
}
