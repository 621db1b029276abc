/**
 * Stream sockets of others that are to get a descriptor of ours: whoever serves a terminal, a seccomp agent. One who does not accept, or
 * does not read, is an error: signals to us may be blocked meanwhile.
 */
import { AF_UNIX, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "./constants.ts";
import { canBeWritten } from "./files.ts";
import { sleepMs } from "./sleep.ts";
import { check, EAGAIN, raw, sys } from "./sys.ts";
import { withUnixAddress } from "./unix-address.ts";

const PATIENCE_MS = 2000;
const PAUSE_MS = 10;

/** Throws {@link SysError}, EAGAIN where the queue of those who wait to be accepted stays full. */
export function connectStream(path: string): number {
  const socket = sys.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  try {
    for (let left = PATIENCE_MS; ; left -= PAUSE_MS) {
      const connected = withUnixAddress(path, (address) => raw.connect(socket, address));
      if (connected !== EAGAIN || left <= 0) {
        check(connected, "connect", path);
        return socket;
      }
      sleepMs(PAUSE_MS);
    }
  } catch (error) {
    raw.close(socket);
    throw error;
  }
}

/** The descriptor, with all of the text, which may be more than the socket has room for. Throws {@link SysError}, EAGAIN where nobody reads. */
export function sendDescriptor(socket: number, fd: number, text: string): void {
  const bytes = sys.encodeText(text) as ArrayBuffer;
  let rest = bytes.slice(check(raw.sendMessage(socket, text, [fd]), "sendmsg", socket, bytes, fd));
  while (rest.byteLength > 0) {
    const sent = raw.sendto(socket, rest, MSG_NOSIGNAL, null, 0);
    if (sent === EAGAIN && canBeWritten(socket, PATIENCE_MS)) continue;
    rest = rest.slice(check(sent, "sendto", socket, rest));
  }
}
