/** Whether we are in the machine's own user namespace: root of another may make no device nodes, and no proc without one in sight. */
import type { IdMaps } from "../spec/config.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFile } from "../sys/files.ts";
import { SysError, sys } from "../sys/sys.ts";

/** Its inode number is the same on every machine. include/linux/proc_ns.h, PROC_USER_INIT_INO, since Linux 3.8 */
const INITIAL = "user:[4026531837]";

export function isInUserNamespace(): boolean {
  try {
    return sys.readlinkText(AT_FDCWD, "/proc/self/ns/user") !== INITIAL;
  } catch (error) {
    if (error instanceof SysError) return false; // no /proc, or a kernel without user namespaces
    throw error;
  }
}

/** The ids that there are in our own user namespace, each mapped to itself. user_namespaces(7), "/proc/PID/uid_map". */
export const ownIdMaps = (): IdMaps => ({ uidMappings: sameIds("uid_map"), gidMappings: sameIds("gid_map") });

function sameIds(file: "uid_map" | "gid_map"): IdMaps["uidMappings"] {
  const lines = readFile(`/proc/self/${file}`).trim().split("\n");
  return lines.map((line) => {
    const [first = 0, , size = 0] = line.trim().split(/\s+/).map(Number);
    return { containerID: first, hostID: first, size };
  });
}
