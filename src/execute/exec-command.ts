/** The last step: the set-up becomes the command. execve(2). */
import { SIG_SETMASK } from "../sys/constants.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { send } from "./channel.ts";
import { commandNotFound, explainExecFailure } from "./exec-failure.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ENOENT = -2;
const EACCES = -13;
const ENOTDIR = -20;

/** Replaces this process, or throws a ContainerError that says why not. A name without a slash is looked up in PATH. */
export function executeCommand(
  args: readonly string[],
  env: readonly string[],
  channel: number,
  terminal: number | undefined,
): never {
  const [name = ""] = args;
  send(channel, { kind: "exec" });
  if (terminal !== undefined) for (const fd of [0, 1, 2]) sys.dup3(terminal, fd, 0);
  // The parent blocked all signals before it cloned us.
  sys.rtSigprocmask(SIG_SETMASK, new ArrayBuffer(8), null, 8);
  if (name.includes("/")) throw explainExecFailure(name, failure(name, args, env));

  const path = env.find((entry) => entry.startsWith("PATH="))?.slice(5) || DEFAULT_PATH;
  let found: { file: string; error: SysError } | undefined;
  for (const directory of path.split(":")) {
    const file = `${directory || "."}/${name}`;
    const error = failure(file, args, env);
    if (error.errno === -EACCES) found ??= { file, error };
    else if (error.errno === -ENOENT || error.errno === -ENOTDIR) {
      // There, but not executable for want of its interpreter: that is what to explain, not "not found".
      const F_OK = 0;
      if (raw.faccessat2(-100, file, F_OK, 0) >= 0) found ??= { file, error };
    } else throw explainExecFailure(file, error);
  }
  throw found === undefined ? commandNotFound(name, path) : explainExecFailure(found.file, found.error);
}

/** execve comes back only when it failed. */
function failure(file: string, args: readonly string[], env: readonly string[]): SysError {
  return new SysError("execve", -raw.execve(file, args, env), [file, args]);
}
