/** Whether we are in the machine's own user namespace: root of another may make no device nodes, and no proc without one in sight. */
import { AT_FDCWD } from "../sys/constants.ts";
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
