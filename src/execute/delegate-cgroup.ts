/** The owner of a cgroup v2 group that its container may use as it likes, within its limits. cgroups(7), "Delegation". */
import { AT_FDCWD } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { check, raw, sys } from "../sys/sys.ts";

/** What the runtime-spec names for kernels before Linux 4.15, which have no list of their own. */
const ALWAYS_DELEGATED = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

const ENOENT = -2;

/** Throws {@link SysError}. A file of the list that the group does not have is fine. */
export function delegateCgroup(path: string, uid: number): void {
  const UNCHANGED = -1;
  sys.fchownat(AT_FDCWD, path, uid, UNCHANGED, 0);
  for (const file of (readFileIfThere("/sys/kernel/cgroup/delegate") ?? ALWAYS_DELEGATED).split("\n")) {
    if (file === "") continue;
    const result = raw.fchownat(AT_FDCWD, `${path}/${file}`, uid, UNCHANGED, 0);
    if (result !== ENOENT) check(result, "fchownat", `${path}/${file}`, uid);
  }
}
