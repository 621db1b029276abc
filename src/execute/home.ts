/** HOME as login would set it: runc and crun give it to a command that has none, and images rely on that. */
import { AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC, O_NONBLOCK, O_RDONLY, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";

/** `env` with HOME from the container's own /etc/passwd, or `/` where that does not know the user. */
export function withHome(env: readonly string[], uid: number): string[] {
  return [...env.filter((entry) => !entry.startsWith("HOME=")), `HOME=${homeIn(readPasswd(), uid)}`];
}

/** passwd(5): `name:password:uid:gid:comment:home:shell`. */
export function homeIn(passwd: string, uid: number): string {
  for (const line of passwd.split("\n")) {
    const [, , id, , , home] = line.split(":");
    if (id === String(uid)) return home || "/";
  }
  return "/";
}

/** The file is the container's to choose: neither a pipe that nobody writes to nor a device without end is read. */
function readPasswd(): string {
  const fd = raw.openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) return "";
  const stat = new ArrayBuffer(STATX_SIZE);
  const known = raw.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat) >= 0;
  const text = known && (parseStatx(stat).mode & S_IFMT) === S_IFREG ? raw.readText(fd) : "";
  raw.close(fd);
  return typeof text === "string" ? text : "";
}
