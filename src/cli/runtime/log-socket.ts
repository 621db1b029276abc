/**
 * `--log syslog:NAME` and `--log journald:NAME`, as crun has them: a datagram for each line, to syslog or to systemd's journal, with
 * the name of who says it. syslog(3), RFC 3164; systemd's "Native Journal Protocol".
 */
import { printable } from "../../printable.ts";
import { AF_UNIX, POLLOUT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from "../../sys/constants.ts";
import { packPollfds, packTimespec } from "../../sys/structs.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { packUnixAddress } from "../../sys/unix-address.ts";

const PRIORITIES = { error: 3, warning: 4, debug: 7 };
/** As crun's. */
const LOG_USER = 8;

/**
 * For whoever does not read: the queue of a service is full after 11 lines or more (max_dgram_qlen), a pipe after 64 KiB, and we may
 * have a container's lock, or hear no signals. Of a command with much to say not each line waits: it is lost once. unix(7).
 */
export const patience = { ms: 1000 };

/** Undefined where `--log` names a file. */
export const logService = (log: string): { service: string; name: string } | undefined => {
  const [, service, name] = /^(syslog|journald):(.*)$/s.exec(log) ?? [];
  return service === undefined ? undefined : { service, name: printable(name || "tupper-runtime") };
};

/** `text` has no line feed in it. Throws {@link SysError}, EAGAIN where the service does not read. */
export function sendToService(
  { service, name }: { service: string; name: string },
  level: keyof typeof PRIORITIES,
  text: string,
): void {
  const priority = PRIORITIES[level];
  const [path, datagram] =
    service === "syslog"
      ? ["/dev/log", `<${LOG_USER + priority}>${name}: ${text}`]
      : ["/run/systemd/journal/socket", `PRIORITY=${priority}\nSYSLOG_IDENTIFIER=${name}\nMESSAGE=${text}\n`];
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  try {
    check(raw.connect(socket, packUnixAddress(path)), "connect", path);
    const ready = raw.ppoll(packPollfds([{ fd: socket, events: POLLOUT }]), 1, packTimespec(patience.ms), null, 8);
    if (ready === 0) patience.ms = 0;
    sys.write(socket, datagram);
  } finally {
    raw.close(socket);
  }
}
