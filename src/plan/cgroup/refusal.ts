/**
 * Why the kernel refuses a value for a control group: from the file, the value and the errno to a sentence and a remedy.
 * Whoever performs a `write` step into a group asks here when it fails.
 */

export interface CgroupRefusal {
  code: "CGROUP_FILE_MISSING" | "CGROUP_VALUE_REFUSED" | "CGROUP_BUSY" | "CGROUP_FORBIDDEN";
  message: string;
  hint?: string;
}

/** What the kernel must have for a file to be there, by the beginning of the file's name. */
const NEEDS: readonly (readonly [start: string, need: string])[] = [
  ["memory.memsw.", "swap accounting: boot with swapaccount=1"],
  ["memory.swap.", "swap accounting: boot with swapaccount=1"],
  ["memory.swappiness", "a kernel built with CONFIG_MEMCG_V1"],
  ["blkio.bfq.weight_device", "Linux 5.4 and the BFQ scheduler: modprobe bfq"],
  ["blkio.bfq.", "the BFQ scheduler: modprobe bfq"],
  ["io.bfq.", "the BFQ scheduler (modprobe bfq) or CONFIG_BLK_CGROUP_IOCOST"],
  ["io.weight", "the BFQ scheduler (modprobe bfq) or CONFIG_BLK_CGROUP_IOCOST"],
  ["io.max", "CONFIG_BLK_DEV_THROTTLING"],
  ["blkio.throttle.", "CONFIG_BLK_DEV_THROTTLING"],
  ["cpu.cfs_burst_us", "Linux 5.14"],
  ["cpu.max.burst", "Linux 5.14"],
  ["cpu.idle", "Linux 5.15"],
  ["cpu.rt_", "CONFIG_RT_GROUP_SCHED"],
  ["cpu.cfs_", "CONFIG_CFS_BANDWIDTH"],
  ["cpu.max", "CONFIG_CFS_BANDWIDTH"],
  ["hugetlb.", "huge pages of this size: see /sys/kernel/mm/hugepages"],
];

/** The refusal behind a failed write to `path`; undefined when the errno says it all. `errno` is a name such as `ENOENT`. */
export function explainCgroupRefusal(path: string, value: string, errno: string): CgroupRefusal | undefined {
  const file = path.slice(path.lastIndexOf("/") + 1);
  switch (errno) {
    case "ENOENT": {
      const need = NEEDS.find(([start]) => file.startsWith(start))?.[1];
      const message = `this kernel has no control group file ${file}`;
      return { code: "CGROUP_FILE_MISSING", message, ...(need === undefined ? {} : { hint: `it needs ${need}` }) };
    }
    case "EOPNOTSUPP":
      if (file === "cgroup.subtree_control") {
        const message = `the control group ${path.slice(0, path.lastIndexOf("/"))} has threaded groups in it or is one`;
        return {
          code: "CGROUP_BUSY",
          message,
          hint: "a container needs a domain: name a group elsewhere (cgroups(7))",
        };
      }
      if (!file.includes("weight")) return undefined;
      return {
        code: "CGROUP_VALUE_REFUSED",
        message: `disk ${value.split(" ", 1)[0]} takes no weights`,
        hint: "weights are for the BFQ scheduler: echo bfq > /sys/dev/block/MAJOR:MINOR/queue/scheduler",
      };
    case "ENODEV":
      return {
        code: "CGROUP_VALUE_REFUSED",
        message: `there is no disk ${value.split(" ", 1)[0]}`,
        hint: "name a whole disk that is there (lsblk), not a partition",
      };
    case "EBUSY":
      if (file !== "cgroup.subtree_control") {
        return { code: "CGROUP_BUSY", message: `${file} cannot go down to ${value}: more than that is in use` };
      }
      return {
        code: "CGROUP_BUSY",
        message: `the control group ${path.slice(0, path.lastIndexOf("/"))} has processes in it, so it cannot hand controllers down`,
        hint: "move its processes into a group below it, or name another linux.cgroupsPath",
      };
    case "EPERM":
    case "EACCES":
      return {
        code: "CGROUP_FORBIDDEN",
        message: `${value} is more than the group above allows in ${file}`,
        hint: "a container in a container gets no more than the outer one has",
      };
    case "EINVAL":
    case "ERANGE":
      return { code: "CGROUP_VALUE_REFUSED", message: `${file} does not take the value ${value}`, ...rangeHint(file) };
    default:
      return undefined;
  }
}

function rangeHint(file: string): { hint?: string } {
  const hint = RANGES.find(([start]) => file.startsWith(start))?.[1];
  return hint === undefined ? {} : { hint };
}

const RANGES: readonly (readonly [start: string, hint: string])[] = [
  ["blkio.bfq.weight", "weights are 1 to 1000"],
  ["io.bfq.weight", "weights are 1 to 1000"],
  ["cpu.shares", "shares cannot be set together with cpu.idle"],
  ["cpu.cfs_quota_us", "a quota is at least 1000 microseconds, or -1; a group above may have less"],
  ["cpu.cfs_period_us", "a period is 1000 to 1000000 microseconds"],
  ["cpu.cfs_burst_us", "the burst may not exceed the quota"],
  ["cpu.max.burst", "the burst may not exceed the quota"],
  ["cpu.rt_", "realtime runtime may not exceed its period, nor what the group above has"],
  ["cpuset.", "see cpuset.cpus and cpuset.mems of the group above for what there is"],
  ["memory.memsw.", "memory and swap together cannot be less than memory alone"],
  ["memory.swappiness", "swappiness is 0 to 200, before Linux 5.8 to 100"],
  ["pids.max", "the limit is 0 to 4194304, or -1 for none"],
];
