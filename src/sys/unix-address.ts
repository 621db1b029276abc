/** struct sockaddr_un. unix(7). */
import { AF_UNIX, AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./constants.ts";
import { raw, SysError, sys } from "./sys.ts";

const PATH_BYTES = 108;
const ENAMETOOLONG = 36;

/** The address of a socket in the file system; its path has at most 107 bytes. Throws {@link SysError} ENAMETOOLONG. */
export function packUnixAddress(path: string): ArrayBuffer {
  const bytes = new Uint8Array(sys.encodeText(path) as ArrayBuffer);
  if (bytes.length >= PATH_BYTES) throw new SysError("connect", ENAMETOOLONG, [path]);
  const address = new Uint8Array(2 + bytes.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, 2);
  return address.buffer;
}

/** connect(2) to a path, or to NUL and an abstract name. Throws {@link SysError} when there is no such directory. */
export function connectUnix(socket: number, name: string): number {
  const connect = (address: ArrayBuffer) => raw.connect(socket, address);
  // The NUL at the end of a path would be part of an abstract name.
  return name.startsWith("\0") ? connect(packUnixAddress(name).slice(0, -1)) : withUnixAddress(name, connect);
}

/**
 * Calls `act` with an address for any path: through a descriptor of its directory, `/proc/self/fd/N/name` always fits.
 * Throws {@link SysError} when there is no such directory.
 */
export function withUnixAddress<R>(path: string, act: (address: ArrayBuffer) => R): R {
  const at = path.lastIndexOf("/");
  const directory = sys.openat(AT_FDCWD, path.slice(0, at) || "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  try {
    return act(packUnixAddress(`/proc/self/fd/${directory}${path.slice(at)}`));
  } finally {
    raw.close(directory);
  }
}
