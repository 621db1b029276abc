/** The owner of a cgroup v2 group that its container may use as it likes, within its limits. cgroups(7), "Delegation". */
import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../sys/constants.ts";
import { readFile, readFileIfThere, writeFile, writeOnce } from "../sys/files.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { CGROUPS } from "./require-cgroups.ts";

/** What the runtime-spec names for kernels before Linux 4.15, which have no list of their own. */
const ALWAYS_DELEGATED = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

const [ENOENT, EEXIST] = [-2, -17];

const UNCHANGED = -1;

/** Throws {@link SysError}. A file of the list that the group does not have is fine. */
export function delegateCgroup(path: string, uid: number, gid = UNCHANGED): void {
  sys.fchownat(AT_FDCWD, path, uid, gid, 0);
  for (const file of (readFileIfThere("/sys/kernel/cgroup/delegate") ?? ALWAYS_DELEGATED).split("\n")) {
    if (file === "") continue;
    const result = raw.fchownat(AT_FDCWD, `${path}/${file}`, uid, gid, 0);
    if (result !== ENOENT) check(result, "fchownat", `${path}/${file}`, uid);
  }
}

/** What a `delegateBelow` step does; where CRIU has brought the group back, with the container in it, the rest of it. Throws {@link SysError}. */
export function delegateBelow(
  { group, path, owner }: { group: string; path: string; owner?: { uid: number; gid: number } },
  pid: number,
): void {
  const above = [group];
  for (const name of path.slice(group.length + 1).split("/")) {
    const below = `${above.at(-1)}/${name}`;
    const made = raw.mkdirat(AT_FDCWD, below, 0o755);
    if (made !== EEXIST) check(made, "mkdirat", below, 0o755);
    above.push(below);
  }
  above.pop();
  if (!isWithin(pid, path)) writeFile(`${path}/cgroup.procs`, String(pid));
  // Once it has left: a group with processes in it hands nothing down. One by one, as the kernel takes all of a line or nothing.
  const controllers = readFile(`${group}/cgroup.controllers`).trim().split(" ");
  for (const each of above)
    for (const name of controllers) {
      const fd = sys.openat(AT_FDCWD, `${each}/cgroup.subtree_control`, O_WRONLY | O_CLOEXEC, 0);
      writeOnce(fd, `+${name}`);
      raw.close(fd);
    }
  const root = owner ?? mappedRoot(pid);
  if (root !== undefined) delegateCgroup(path, root.uid, root.gid);
}

/** In this group, or in one below. The path in /proc begins at our own cgroup namespace, which may be below the mount's root. */
function isWithin(pid: number, path: string): boolean {
  const own = /^0::(.*)$/m.exec(readFile(`/proc/${pid}/cgroup`))?.[1];
  return own !== undefined && `${CGROUPS}${own}/`.startsWith(`${path}/`);
}

/** Root of a user namespace that was joined: its maps are on no config. */
function mappedRoot(pid: number): { uid: number; gid: number } | undefined {
  if (raw.geteuid() !== 0) return undefined; // who could give nothing away
  const idOf = (map: string) => Number(/^ *0 +(\d+) /m.exec(readFile(`/proc/${pid}/${map}`))?.[1] ?? 0);
  const root = { uid: idOf("uid_map"), gid: idOf("gid_map") };
  return root.uid === 0 && root.gid === 0 ? undefined : root;
}
