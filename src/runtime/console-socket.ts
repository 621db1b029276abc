/** `--console-socket`: the master of a container's terminal goes to whoever serves it. runc's docs/terminals.md. */
import { ContainerError } from "../error.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM } from "../sys/constants.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { withUnixAddress } from "../sys/unix-address.ts";

/** Connects to a stream socket and sends the descriptor, with a name for it. Throws CONSOLE_SOCKET. */
export function sendToConsoleSocket(path: string, master: number): void {
  try {
    const socket = sys.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    withUnixAddress(path, (address) => sys.connect(socket, address));
    sys.sendMessage(socket, "/dev/ptmx", [master]);
    raw.close(socket);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new ContainerError("CONSOLE_SOCKET", `cannot send the terminal to the console socket ${path}`, {
      field: "--console-socket",
      cause: error,
      hint: "it must be a listening unix stream socket",
    });
  }
}
