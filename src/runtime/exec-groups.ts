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
 * (EBUSY): where the container has made its own into such a one, as systemd does, the group of its first process is taken.
 * Throws CGROUP_FLAG_INVALID, CGROUP_MISSING.
 */
export function execGroups(
  groups: readonly ControlGroup[],
  flags: readonly string[],
  init: number,
  { cgroups: { mode, unified } }: Host,
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
  const [own] = groups;
  if (mode !== "v2" || unified === undefined || own === undefined) return groups;
  if ((readFileIfThere(`${own.path}/cgroup.subtree_control`) ?? "").trim() === "") return groups;
  const current = parseSelfCgroup(readFileIfThere(`/proc/${init}/cgroup`) ?? "").unifiedPath;
  return current === undefined ? groups : [{ ...own, path: `${unified.mountPoint}${current}` }];
}
