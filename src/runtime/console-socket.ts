/** `--console-socket`: the master of a container's terminal goes to whoever serves it. runc's docs/terminals.md. */
import { ContainerError } from "../error.ts";
import { connectStream, sendDescriptor } from "../sys/stream-socket.ts";
import { raw, SysError } from "../sys/sys.ts";

/** Connects to a stream socket and sends the descriptor, with a name for it. Throws CONSOLE_SOCKET. */
export function sendToConsoleSocket(path: string, master: number): void {
  try {
    const socket = connectStream(path);
    sendDescriptor(socket, master, "/dev/ptmx");
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
