/** Why the directory that containers are on record in cannot be made. */
import { ContainerError } from "../error.ts";
import type { SysError } from "../sys/sys.ts";
import type { Finding } from "./filesystem.ts";
import { followPath } from "./machine.ts";
import { noRoom, readOnly } from "./paths.ts";

/** `field`: the flag that names it, where one does. */
export function stateRootRefused(path: string, error: SysError, field?: string): ContainerError {
  const { why, evidence } = find(path, error);
  return new ContainerError(
    "STATE_ROOT",
    `cannot make the state directory ${path}${why === undefined ? "" : `: ${why}`}`,
    {
      cause: error,
      evidence,
      hint: `make it writable, or name another${field === undefined ? "" : ` with ${field}`} (XDG_RUNTIME_DIR for ordinary users)`,
      ...(field === undefined ? {} : { field }),
    },
  );
}

function find(path: string, { code }: SysError): Finding {
  if (code === "EROFS") return readOnly(path);
  if (code === "ENOSPC" || code === "EDQUOT") return noRoom(path, code);
  const trouble = followPath(path.slice(0, path.lastIndexOf("/")) || "/");
  if (trouble !== undefined) return { why: trouble.why, evidence: trouble.evidence };
  return code === "EACCES" ? { why: "this user may not write there" } : {};
}
