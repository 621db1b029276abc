/** EAGAIN of clone: which of the limits on processes is reached. fork(2), cgroups(7), setrlimit(2). */
import { parseCgroupMounts, parseSelfCgroup } from "../execute/probe-cgroups.ts";
import type { Finding } from "./filesystem.ts";
import { read, setting } from "./machine.ts";

/** `into`: the v2 group that it was to be born in, where that is not ours. */
export function whyNoMoreProcesses(into?: string): Finding {
  const mounts = parseCgroupMounts(read("/proc/self/mountinfo") ?? "");
  const { hierarchies, unifiedPath } = parseSelfCgroup(read("/proc/self/cgroup") ?? "");
  const ours = hierarchies.find(({ controllers }) => controllers.includes("pids"));
  const v1 = ours && mounts.find(({ options }) => options.includes("pids"));
  const v2 = mounts.find(({ fstype }) => fstype === "cgroup2");
  const mount = v1 ?? v2;
  const own = v1 === undefined ? unifiedPath : ours?.ownPath;
  if (into !== undefined && v2 !== undefined) {
    const full = fullGroup(v2.mountPoint, into.slice(v2.mountPoint.length), "the process was to be in");
    if (full !== undefined) return full;
  }
  if (mount !== undefined && own !== undefined) {
    const below = own.startsWith(mount.root) && mount.root !== "/" ? own.slice(mount.root.length) : own;
    const full = fullGroup(mount.mountPoint, below.replace(/\/$/, ""), "tupper is in");
    if (full !== undefined) return full;
  }
  const limit = /^Max processes +(\S+)/m.exec(read("/proc/self/limits") ?? "")?.[1];
  if (limit !== undefined && limit !== "unlimited")
    return {
      why: "RLIMIT_NPROC is reached: the user may have no more processes",
      hint: "raise it (ulimit -u, limits.conf(5), systemd's LimitNPROC=), or end some of the user's processes",
      evidence: `/proc/self/limits: Max processes ${limit}`,
    };
  return {
    why: "the machine can have no more processes",
    hint: "end some, or raise kernel.pid_max and kernel.threads-max",
    evidence: `kernel.pid_max ${setting("kernel.pid_max")}, kernel.threads-max ${setting("kernel.threads-max")}`,
  };
}

/** The group, or one of those above it. */
function fullGroup(mountPoint: string, below: string, whose: string): Finding | undefined {
  for (let path = below; ; path = path.slice(0, path.lastIndexOf("/"))) {
    const group = `${mountPoint}${path}`;
    const [max, current] = [read(`${group}/pids.max`)?.trim(), read(`${group}/pids.current`)?.trim()];
    if (max !== undefined && max !== "max" && Number(current) >= Number(max))
      return {
        why: `pids.max of the control group ${group}, which ${whose}, is reached`,
        hint: `end processes in it, or raise the limit: echo 1000 > ${group}/pids.max (systemd: TasksMax=)`,
        evidence: `pids.current ${current}, pids.max ${max}`,
      };
    if (path === "") return undefined;
  }
}
