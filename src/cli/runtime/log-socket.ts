/**
 * `--log syslog:NAME` and `--log journald:NAME`, as crun has them: a datagram for each line, to syslog or to systemd's journal, with
 * the name of who says it. syslog(3), RFC 3164; systemd's "Native Journal Protocol".
 */
import { printable } from "../../printable.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "../../sys/constants.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { packUnixAddress } from "../../sys/unix-address.ts";

const PRIORITIES = { error: 3, warning: 4, debug: 7 };
/** As crun's. */
const LOG_USER = 8;

/** Undefined where `--log` names a file. */
export const logService = (log: string): { service: string; name: string } | undefined => {
  const [, service, name] = /^(syslog|journald):(.*)$/s.exec(log) ?? [];
  return service === undefined ? undefined : { service, name: printable(name || "tupper-runtime") };
};

/** `text` has no line feed in it. Throws {@link SysError}. */
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
  const socket = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    check(raw.connect(socket, packUnixAddress(path)), "connect", path);
    sys.write(socket, datagram);
  } finally {
    raw.close(socket);
  }
}
