/** The last step: the set-up becomes the command. execve(2). */

import { commandNotFound, explainExecFailure } from "../explain-failure/exec.ts";
import type { LoadedFilter } from "../explain-failure/seccomp.ts";
import { AT_FDCWD, SIG_SETMASK } from "../sys/constants.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import type { Message } from "./channel.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ENOENT = -2;
const EACCES = -13;
const ENOTDIR = -20;
const EPIPE = -32;

/** Replaces this process, or throws a ContainerError that says why not. A name without a slash is looked up in PATH. */
export function executeCommand(
  args: readonly string[],
  env: readonly string[],
  channel: number,
  { filter, awaited = false }: { filter?: LoadedFilter | undefined; awaited?: boolean | undefined } = {},
): never {
  const [name = ""] = args;
  const told = raw.sendMessage(channel, JSON.stringify({ kind: "exec" } satisfies Message), []);
  // Whoever started us may be gone by now. That is no reason not to start, unless somebody in the container has held us until then.
  if (awaited && told === EPIPE) raw.exitGroup(127);
  // The parent blocked all signals before it cloned us.
  sys.rtSigprocmask(SIG_SETMASK, new ArrayBuffer(8), null, 8);
  const explain = (file: string, result: number): never => {
    throw explainExecFailure(file, new SysError("execve", -result, [file, args]), { args, env, filter });
  };
  // execve first: what explains failures is not even looked at before it has failed (ADR 24).
  if (name.includes("/")) {
    const result = raw.execve(name, args, env);
    return explain(name, result);
  }

  const { files, path } = candidates(name, env);
  let denied: string | undefined;
  for (const file of files) {
    const result = raw.execve(file, args, env);
    if (result === ENOENT || result === ENOTDIR) continue;
    if (result !== EACCES) explain(file, result);
    denied ??= file;
  }
  // There, but not executable for want of its interpreter: that is to be explained, not "not found".
  const incomplete = files.find((file) => raw.faccessat(AT_FDCWD, file, 0) >= 0);
  if (denied !== undefined) explain(denied, EACCES);
  if (incomplete !== undefined) explain(incomplete, ENOENT);
  throw commandNotFound(name, path);
}

/**
 * Whether there is a file that could be executed, without executing it: what is wrong inside the file shows only later.
 * `cwd`: where the command will start. Throws a ContainerError like {@link executeCommand}.
 */
export function findCommand(args: readonly string[], env: readonly string[], cwd: string): void {
  const [name = ""] = args;
  const { files, path } = name.includes("/") ? { files: [name], path: "" } : candidates(name, env);
  const X_OK = 1;
  let denied: { file: string; error: SysError } | undefined;
  for (const file of files) {
    const place = file.startsWith("/") ? file : `${cwd}/${file}`;
    const result = raw.faccessat(AT_FDCWD, place, X_OK);
    if (result >= 0 && raw.faccessat(AT_FDCWD, `${place}/.`, 0) < 0) return;
    const isMissing = result === ENOENT || result === ENOTDIR;
    // An error is made only where it is told: its stack costs more than the call.
    if (isMissing && !name.includes("/")) continue;
    // A directory may be executed as far as faccessat(2) goes, and not by execve(2).
    const error =
      result < 0 ? new SysError("faccessat", -result, [place, "X_OK"]) : new SysError("execve", -EACCES, [place]);
    if (isMissing) throw explainExecFailure(place, error);
    denied ??= { file: place, error };
  }
  throw denied === undefined ? commandNotFound(name, path) : explainExecFailure(denied.file, denied.error);
}

/** Where a name without a slash is looked for: nowhere, if it is empty. */
function candidates(name: string, env: readonly string[]): { files: string[]; path: string } {
  const path = env.find((entry) => entry.startsWith("PATH="))?.slice(5) || DEFAULT_PATH;
  return { files: name === "" ? [] : path.split(":").map((directory) => `${directory || "."}/${name}`), path };
}
