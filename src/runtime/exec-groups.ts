/** The control groups that a process of `exec` goes into. */
import { ContainerError } from "../error.ts";
import { parseSelfCgroup } from "../execute/probe-cgroups.ts";
import type { ControlGroup } from "../plan/cgroup/limits.ts";
import { subGroups } from "../plan/cgroup/sub-group.ts";
import type { Host } from "../plan/host.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";

/**
 * The container's own, or what `--cgroup` names below them. On v2 a group that hands controllers down takes no processes
 * (EBUSY): where the container has made its own into such a one, as systemd does, or its group is gone, because its processes
 * moved away, the group of its first process is taken. Throws CGROUP_FLAG_INVALID, CGROUP_MISSING.
 */
export function execGroups(
  groups: readonly ControlGroup[],
  flags: readonly string[],
  init: number,
  host: Host,
): readonly ControlGroup[] {
  if (flags.length > 0) {
    const asked = subGroups(groups, flags);
    const missing = asked.find(({ path }) => raw.faccessat(AT_FDCWD, path, 0) < 0);
    if (missing === undefined) return asked;
    throw new ContainerError("CGROUP_MISSING", `there is no control group ${missing.path}`, {
      field: "--cgroup",
      hint: "the process goes into a group that is there: make it first",
    });
  }
  const own = groups.at(-1);
  const hasV1 = groups.some(({ controller }) => controller !== "unified" && !controller.startsWith("name="));
  if (hasV1 || own?.controller !== "unified") return groups;
  if (readFileIfThere(`${own.path}/cgroup.subtree_control`)?.trim() === "") return groups;
  const { mode, unified } = host.cgroups;
  if (mode !== "v2" || unified === undefined) return groups;
  const current = parseSelfCgroup(readFileIfThere(`/proc/${init}/cgroup`) ?? "").unifiedPath;
  return current === undefined ? groups : [...groups.slice(0, -1), { ...own, path: `${unified.mountPoint}${current}` }];
}

/**
 * Where systemd must put a process, because the kernel lets us not: on v2 whoever moves a process must own the group that lies
 * above both places, and that of a login's session and of a user's manager is root's. cgroup-v2.rst, "Delegation Containment".
 */
export function attachment(
  groups: readonly ControlGroup[],
  unit: string,
  { privileged, cgroups: { mode, unified } }: Host,
): { unit: string; below: string } | undefined {
  const path = groups.at(-1)?.path;
  if (privileged || mode !== "v2" || unified === undefined || path === undefined) return undefined;
  const { mountPoint, ownPath } = unified;
  const own = ownPath.split("/");
  const parts = path.slice(mountPoint.length).split("/");
  const apart = parts.findIndex((part, i) => part !== own[i]);
  const common = apart < 0 ? path : `${mountPoint}${parts.slice(0, apart).join("/")}`;
  if (raw.faccessat(AT_FDCWD, `${common}/cgroup.procs`, W_OK) >= 0) return undefined;
  const at = path.indexOf(`/${unit}`);
  return at < 0 ? undefined : { unit, below: path.slice(at + unit.length + 1) };
}

const W_OK = 2;
