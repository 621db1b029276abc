/** `--pidfd-socket`: a descriptor of the new process goes to whoever watches it. runc(8), "run"; pidfd_open(2). */
import { ContainerError } from "../error.ts";
import { isDirectoryOfProc } from "../execute/process-end.ts";
import { whatIsOlder } from "../explain-failure/step.ts";
import { connectStream, sendDescriptor } from "../sys/stream-socket.ts";
import { raw, SysError, sys } from "../sys/sys.ts";

/**
 * Connects to a stream socket and sends the descriptor. `kind` goes with it, in runc's words: `standard` for a container's
 * first process, `setns` for one of exec. The process must be a child of ours that nobody has waited for. Throws PIDFD_SOCKET.
 */
export function sendToPidfdSocket(
  path: string,
  pid: number,
  kind: "standard" | "setns" | " ",
  field = "--pidfd-socket",
): void {
  try {
    const socket = connectStream(path);
    const pidfd = sys.pidfdOpen(pid, 0);
    if (isDirectoryOfProc(pidfd)) throw new SysError("pidfd_open", 38, [pid]);
    sendDescriptor(socket, pidfd, kind);
    raw.close(pidfd);
    raw.close(socket);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new ContainerError("PIDFD_SOCKET", `cannot send the process to the pidfd socket ${path}`, {
      field,
      cause: error,
      hint: whatIsOlder(error) ?? "it must be a listening unix stream socket",
    });
  }
}
