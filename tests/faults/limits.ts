/** Data: faults of control groups and of limits. */
import { existsSync } from "node:fs";
import type { Resources } from "../../src/spec/config.ts";
import { type Fault, inUserNamespace, withLinux, withProcess } from "./fault.ts";

const v1 = !existsSync("/sys/fs/cgroup/pids/cgroup.procs") && "missing: cgroup1";
const limits =
  (resources: Resources, cgroupsPath = "/tupper-fault") =>
  (config: Parameters<typeof withLinux>[0]) =>
    withLinux(config, { resources, cgroupsPath });

/** A group of pids with this limit, and what comes next in it. */
const inPidsGroup = (max: number) => () => [
  "sh",
  "-c",
  `g=/sys/fs/cgroup/pids$(sed -n 's/^[0-9]*:pids://p' /proc/self/cgroup | sed 's|^/$||')/tupper-fault-few; mkdir -p $g; echo 0 >$g/cgroup.procs; echo ${max} >$g/pids.max; exec "$@"`,
  "sh",
];

export const LIMIT_FAULTS: readonly Fault[] = [
  {
    name: "processors that the machine does not have",
    cause: /cpuset\.cpus.*4000|CPUs are not available.*4000/,
    remedy: /cpuset\.cpus of the group above|0-\d|there (is|are)/,
    config: limits({ cpu: { cpus: "4000-4001" } }),
    skip: v1,
  },
  {
    name: "memory nodes that the machine does not have",
    cause: /cpuset\.mems.*63|memory nodes are not available.*63/,
    remedy: /cpuset\.mems of the group above|node/,
    config: limits({ cpu: { mems: "63" } }),
    skip: v1,
  },
  {
    name: "a period of the processor quota that is too short",
    cause: /cpu\.cfs_period_us.*\b10\b|cfs period (cannot|can not) be less/,
    remedy: /1000/,
    config: limits({ cpu: { period: 10, quota: 5000 } }),
    skip: v1,
  },
  {
    name: "a limit of memory and swap that is less than that of memory",
    cause: /(memory\.memsw|swap).*(less|smaller|below|not take|should be larger)/,
    remedy: /less than|at least|cannot be|should be larger/,
    config: limits({ memory: { limit: 67_108_864n, swap: 33_554_432n } } as never),
    skip: v1,
  },
  {
    name: "a memory limit that leaves no room for the start",
    cause: /memory limit|65536|64 KiB/,
    remedy: /raise|more|at least|MiB|memory\.limit/,
    config: limits({ memory: { limit: 65_536n } } as never),
    skip: v1,
  },
  {
    name: "a limit of processes that is no number",
    cause: /pids[.-]limit/,
    remedy: /number|integer/,
    config: limits({ pids: { limit: "many" } } as never),
  },
  {
    name: "huge pages of a size that the machine does not have",
    cause: /3MB|hugetlb/,
    // Where the controller is in the v2 tree and the tests' own group has processes, that is in the way first.
    remedy: /hugepages|mount|move its processes/,
    config: limits({ hugepageLimits: [{ pageSize: "3MB", limit: 0n }] } as never),
  },
  {
    name: "a limit of a disk that is not there",
    cause: /(disk|device) 254:77|254:77|\/dev\/nodisk/,
    remedy: /lsblk/,
    config: limits({ blockIO: { throttleReadBpsDevice: [{ major: 254, minor: 77, rate: 1000n }] } } as never),
    skip: v1,
  },
  {
    name: "a setting of cgroup v2 on a machine with v1",
    cause: /unified/,
    remedy: /v2|linux\.resources/,
    config: limits({ unified: { "memory.high": "1000000" } }),
    skip: v1,
  },
  {
    name: "a file of cgroup v2 settings that leads out of the group",
    cause: /\.\.\/|unified/,
    remedy: /name|file|path/,
    config: limits({ unified: { "../memory.max": "1" } }),
  },
  {
    name: "a device rule of a kind that there is not",
    cause: /resources\.devices|device type.* x|device-cgroup-rule.*x 1:3/,
    remedy: /\ba\b.*\bb\b.*\bc\b|a, b|one of/,
    config: limits({ devices: [{ allow: true, type: "x", access: "rwm" }] } as never),
  },
  {
    name: "a device rule with an access that there is not",
    cause: /resources\.devices|"x"/,
    remedy: /r.*w.*m/,
    config: limits({ devices: [{ allow: true, type: "c", access: "x" }] } as never),
  },
  {
    name: "a controller that is mounted nowhere",
    cause: /(controller|cgroup|hierarchy).*memory|memory.*(controller|hierarchy)/,
    remedy: /mount -t cgroup|mount/,
    config: limits({ memory: { limit: 67_108_864n } } as never),
    before: () => "umount -l /sys/fs/cgroup/memory",
    skip: v1,
  },
  {
    name: "control groups that are mounted read-only",
    cause: /read-only/,
    remedy: /privileged|remount|writable|-v \/sys\/fs\/cgroup/,
    config: limits({ pids: { limit: 50 } }),
    before: () => "for d in /sys/fs/cgroup/*/; do mount -o remount,bind,ro $d 2>/dev/null || :; done",
    skip: v1,
  },
  {
    name: "a group that is frozen",
    // Others wait in it for ever.
    only: "tupper",
    cause: /frozen|FROZEN/,
    remedy: /thaw|THAWED|unfreeze|resume/,
    config: limits({ pids: { limit: 50 } }, "/tupper-fault-frozen"),
    before: () =>
      "mkdir -p /sys/fs/cgroup/freezer/tupper-fault-frozen && echo FROZEN >/sys/fs/cgroup/freezer/tupper-fault-frozen/freezer.state",
    skip: v1,
  },
  {
    name: "a group that has other processes in it",
    cause: /process(es)? in it|in use|not empty/,
    remedy: /cgroupsPath|another|move/,
    config: limits({ pids: { limit: 50 } }, "/tupper-fault-used"),
    before: () =>
      "mkdir -p /sys/fs/cgroup/pids/tupper-fault-used && { sleep 5 <&- >&- 2>&- & echo $! >/sys/fs/cgroup/pids/tupper-fault-used/cgroup.procs; }",
    skip: v1,
  },
  {
    name: "control groups by systemd on a machine without it",
    cause: /no systemd|systemd (is )?not running/,
    remedy: /--systemd-cgroup|cgroupfs/,
    config: limits({ pids: { limit: 50 } }, "/plain/path"),
    globals: ["--systemd-cgroup"],
  },
  {
    name: "pids.max around the runtime is reached",
    cause: /pids\.max/,
    remedy: /pids\.max|raise|end/,
    prefix: inPidsGroup(1),
    skip: v1,
  },
  {
    name: "RLIMIT_NPROC of the user is reached",
    cause: /RLIMIT_NPROC|max user processes|processes of (this|the) user/i,
    remedy: /ulimit -u|raise/,
    user: 1999,
    config: (config) => inUserNamespace(config, 1999),
    prefix: () => ["prlimit", "--nproc=0"],
  },
  {
    name: "a limit of open files that is reached",
    cause: /too many (open )?files/i,
    remedy: /ulimit -n/,
    prefix: () => ["prlimit", "--nofile=4"],
  },
  {
    name: "raising a hard limit without CAP_SYS_RESOURCE",
    cause: /CAP_SYS_RESOURCE/,
    remedy: /rlimits|hard|lower|--privileged|cap-add/,
    config: (config) => withProcess(config, { rlimits: [{ type: "RLIMIT_NOFILE", soft: 900, hard: 900 }] as never }),
    prefix: () => ["prlimit", "--nofile=500", "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"],
  },
  {
    name: "a soft limit above the hard one",
    cause: /soft.*hard|900.*500/,
    remedy: /lower|at most|more than|above/,
    config: (config) => withProcess(config, { rlimits: [{ type: "RLIMIT_NOFILE", soft: 900, hard: 500 }] as never }),
  },
  {
    name: "nofile above fs.nr_open",
    cause: /nr_open/,
    remedy: /sysctl|lower|nr_open/,
    config: (config) =>
      withProcess(config, { rlimits: [{ type: "RLIMIT_NOFILE", soft: 4_000_000_000, hard: 4_000_000_000 }] as never }),
  },
  {
    name: "a limit of a name that there is not",
    cause: /RLIMIT_NOFILES|ulimit type: nofiles/,
    remedy: /RLIMIT_NOFILE\b/,
    config: (config) => withProcess(config, { rlimits: [{ type: "RLIMIT_NOFILES", soft: 1, hard: 1 }] as never }),
  },
  {
    name: "an oom_score_adj lower than the caller's, without CAP_SYS_RESOURCE",
    cause: /CAP_SYS_RESOURCE/,
    remedy: /oomScoreAdj|--privileged|cap-add|at least/,
    config: (config) => withProcess(config, { oomScoreAdj: -500 } as never),
    prefix: () => ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"],
  },
  {
    name: "a real-time priority without CAP_SYS_NICE",
    cause: /CAP_SYS_NICE/,
    remedy: /cap-add|--privileged|scheduler/,
    config: (config) => withProcess(config, { scheduler: { policy: "SCHED_FIFO", priority: 10 } } as never),
    prefix: () => ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice"],
    only: "tupper",
  },
];
