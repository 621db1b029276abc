// Data: what parseConfig refuses of `linux`: resources, resctrl, memory policies, seccomp, and the whole error for each.
import { test } from "node:test";
import {
  CONFLICT,
  INVALID,
  inArgument,
  inLinux,
  inResources,
  inRule,
  inSeccomp,
  refuses,
} from "../../tests/refused-configs.ts";

test("parseConfig refuses what resctrl, set_mempolicy and personality could not take", () => {
  refuses([
    [
      inLinux({ intelRdt: { closID: "." } }),
      INVALID,
      'linux.intelRdt.closID is ".": it must be the name of a directory of resctrl, or "/" for its root',
    ],
    [
      inLinux({ intelRdt: { closID: ".." } }),
      INVALID,
      'linux.intelRdt.closID is "..": it must be the name of a directory of resctrl, or "/" for its root',
    ],
    [
      inLinux({ intelRdt: { closID: "a/b" } }),
      INVALID,
      'linux.intelRdt.closID is "a/b": it must be the name of a directory of resctrl, or "/" for its root',
    ],
    [
      inLinux({ intelRdt: { memBwSchema: "L3:0=f" } }),
      INVALID,
      'linux.intelRdt.memBwSchema is "L3:0=f": it must be one line that begins with MB:',
    ],
    [
      inLinux({ intelRdt: { memBwSchema: "MB:0=20\nL3:0=f" } }),
      INVALID,
      'linux.intelRdt.memBwSchema is "MB:0=20\\nL3:0=f": it must be one line that begins with MB:',
    ],
    [
      inLinux({ intelRdt: { schemata: ["MB:0=20", "L3:0=f\nL2:0=f"] } }),
      INVALID,
      'linux.intelRdt.schemata[1] is "L3:0=f\\nL2:0=f": it must be one line',
    ],
    [inLinux({ intelRdt: { l3CacheSchema: 7 } }), INVALID, "linux.intelRdt.l3CacheSchema is 7: it must be a string"],
    [
      inLinux({ intelRdt: { enableMonitoring: "yes" } }),
      INVALID,
      'linux.intelRdt.enableMonitoring is "yes": it must be true or false',
    ],
    [
      inLinux({ memoryPolicy: { nodes: "0" } }),
      INVALID,
      "linux.memoryPolicy.mode is missing: invalid memory policy mode, it must be one of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY or MPOL_LOCAL",
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_BINT", nodes: "0" } }),
      INVALID,
      'linux.memoryPolicy.mode is "MPOL_BINT": invalid memory policy mode, it must be one of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY or MPOL_LOCAL',
      "did you mean MPOL_BIND?",
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_BIND" } }),
      CONFLICT,
      "linux.memoryPolicy.nodes is missing: MPOL_BIND needs at least one node",
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_INTERLEAVE", nodes: "a" } }),
      INVALID,
      'linux.memoryPolicy.nodes is "a": invalid memory policy nodes, it must be a list of numbers and ranges such as 0-3,7',
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_LOCAL", nodes: "0-2,7" } }),
      CONFLICT,
      'linux.memoryPolicy.nodes is "0-2,7": the MPOL_LOCAL mode requires 0 nodes but got 4',
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC"] } }),
      INVALID,
      'linux.memoryPolicy.flags[0] is "MPOL_F_STATIC": invalid memory policy flag, it must be one of MPOL_F_NUMA_BALANCING, MPOL_F_RELATIVE_NODES or MPOL_F_STATIC_NODES',
    ],
    [
      inLinux({
        memoryPolicy: { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] },
      }),
      CONFLICT,
      'linux.memoryPolicy.flags is ["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]: nodes are either static or relative',
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_INTERLEAVE", nodes: "0", flags: ["MPOL_F_NUMA_BALANCING"] } }),
      CONFLICT,
      'linux.memoryPolicy.flags is ["MPOL_F_NUMA_BALANCING"]: MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not for MPOL_INTERLEAVE',
    ],
    [inLinux({ personality: {} }), INVALID, "linux.personality.domain is missing: it must be one of LINUX or LINUX32"],
    [
      inLinux({ personality: { domain: "LINUX64" } }),
      INVALID,
      'linux.personality.domain is "LINUX64": it must be one of LINUX or LINUX32',
      "did you mean LINUX?",
    ],
  ]);
});

test("parseConfig refuses wrong resources", () => {
  refuses([
    [
      inResources({ devices: [{ allow: "no" }] }),
      INVALID,
      'linux.resources.devices[0].allow is "no": it must be true or false',
    ],
    [
      inResources({ devices: [{ allow: true, type: "p" }] }),
      INVALID,
      'linux.resources.devices[0].type is "p": it must be one of a, c or b',
    ],
    [
      inResources({ devices: [{ allow: true, access: "x" }] }),
      INVALID,
      'linux.resources.devices[0].access is "x": it must be made of the letters r, w and m',
    ],
    [
      inResources({ devices: [{ allow: true, type: "c", major: -2 }] }),
      INVALID,
      "linux.resources.devices[0].major is -2: it must be a device number, or -1 for all",
    ],
    [
      inResources({ memory: { limit: -2 } }),
      INVALID,
      "linux.resources.memory.limit is -2: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ memory: { limit: "1g" } }),
      INVALID,
      'linux.resources.memory.limit is "1g": it must be a whole number from 0 to 9223372036854775807, or -1 for none',
    ],
    [
      inResources({ memory: { swap: 1.5 } }),
      INVALID,
      "linux.resources.memory.swap is 1.5: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ memory: { reservation: 2 ** 63 } }),
      INVALID,
      "linux.resources.memory.reservation is 9223372036854776000: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ memory: { swappiness: 201 } }),
      INVALID,
      "linux.resources.memory.swappiness is 201: it must be a whole number from 0 to 200",
    ],
    [
      inResources({ memory: { disableOOMKiller: 1 } }),
      INVALID,
      "linux.resources.memory.disableOOMKiller is 1: it must be true or false",
    ],
    [
      inResources({ memory: { kernel: true } }),
      INVALID,
      "linux.resources.memory.kernel is true: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ cpu: { shares: -1 } }),
      INVALID,
      "linux.resources.cpu.shares is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ cpu: { quota: "50%" } }),
      INVALID,
      'linux.resources.cpu.quota is "50%": it must be a whole number, or -1 for no limit',
    ],
    [
      inResources({ cpu: { quota: 1000, burst: 2000 } }),
      CONFLICT,
      "linux.resources.cpu.burst is 2000: it may be no larger than the quota of 1000",
    ],
    [
      inResources({ cpu: { period: 1e300 } }),
      INVALID,
      "linux.resources.cpu.period is 1e+300: it must be a whole number from 0 to 9007199254740991",
    ],
    [
      inResources({ cpu: { cpus: "0,x" } }),
      INVALID,
      'linux.resources.cpu.cpus is "0,x": it must be a list of numbers and ranges such as 0-3,7',
    ],
    [
      inResources({ cpu: { mems: "," } }),
      INVALID,
      'linux.resources.cpu.mems is ",": it must be a list of numbers and ranges such as 0-3,7',
    ],
    [inResources({ cpu: { idle: 2 } }), INVALID, "linux.resources.cpu.idle is 2: it must be 0, or 1 for SCHED_IDLE"],
    [
      inResources({ pids: { limit: -2 } }),
      INVALID,
      "linux.resources.pids.limit is -2: it must be a whole number, or -1 for no limit",
    ],
    [inResources({ pids: 5 }), INVALID, "linux.resources.pids is 5: it must be an object"],
    [
      inResources({ blockIO: { weight: 65536 } }),
      INVALID,
      "linux.resources.blockIO.weight is 65536: it must be a whole number from 0 to 65535",
    ],
    [
      inResources({ blockIO: { weightDevice: [{ major: 8, weight: 10 }] } }),
      INVALID,
      "linux.resources.blockIO.weightDevice[0].minor is missing: it must be a whole number from 0 to 4294967295",
    ],
    [
      inResources({ blockIO: { weightDevice: [{ major: 8, minor: 0 }] } }),
      CONFLICT,
      "linux.resources.blockIO.weightDevice[0].weight is missing: a device needs a weight or a leafWeight",
    ],
    [
      inResources({ blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0 }] } }),
      INVALID,
      "linux.resources.blockIO.throttleReadBpsDevice[0].rate is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ blockIO: { throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: -1 }] } }),
      INVALID,
      "linux.resources.blockIO.throttleWriteIOPSDevice[0].rate is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ hugepageLimits: [{ pageSize: "64kB", limit: 1 }] }),
      INVALID,
      'linux.resources.hugepageLimits[0].pageSize is "64kB": it must be a size such as 64KB, 2MB or 1GB',
    ],
    [
      inResources({ hugepageLimits: [{ pageSize: "2MB" }] }),
      INVALID,
      "linux.resources.hugepageLimits[0].limit is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ network: { classID: 4294967296 } }),
      INVALID,
      "linux.resources.network.classID is 4294967296: it must be a whole number from 0 to 4294967295",
    ],
    [
      inResources({ network: { priorities: [{ name: "eth0" }] } }),
      INVALID,
      "linux.resources.network.priorities[0].priority is missing: it must be a whole number from 0 to 4294967295",
    ],
    [
      inResources({ network: { priorities: [{ name: "eth 0", priority: 1 }] } }),
      INVALID,
      'linux.resources.network.priorities[0].name is "eth 0": it must be a name without spaces',
    ],
    [
      inResources({ rdma: { mlx5_1: { hcaHandles: "not a uint32" } } }),
      INVALID,
      'linux.resources.rdma.mlx5_1.hcaHandles is "not a uint32": it must be a whole number from 0 to 4294967295',
    ],
    [
      inResources({ rdma: { mlx5_1: {} } }),
      CONFLICT,
      "linux.resources.rdma.mlx5_1.hcaHandles is missing: a device needs hcaHandles or hcaObjects",
    ],
    [
      inResources({ rdma: { "mlx5 1": { hcaHandles: 1 } } }),
      INVALID,
      'linux.resources.rdma["mlx5 1"] is "mlx5 1": it must be a name without spaces',
    ],
    [
      inResources({ unified: { "memory.high": 5 } }),
      INVALID,
      'linux.resources.unified["memory.high"] is 5: it must be a string',
    ],
    [
      inResources({ unified: { memory: "5" } }),
      INVALID,
      'linux.resources.unified.memory is "memory": it must be a file of cgroup v2, such as memory.high',
    ],
    [
      inResources({ unified: { "../memory.high": "5" } }),
      INVALID,
      'linux.resources.unified["../memory.high"] is "../memory.high": it must be a file of cgroup v2, such as memory.high',
    ],
  ]);
});

test("parseConfig refuses wrong seccomp sections", () => {
  refuses([
    [inLinux({ seccomp: [] }), INVALID, "linux.seccomp is []: it must be an object"],
    [
      inLinux({ seccomp: { architectures: [], syscalls: [{ names: ["a"], action: "SCMP_ACT_LOG" }] } }),
      INVALID,
      "linux.seccomp.defaultAction is missing: it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY",
    ],
    [
      inSeccomp({ defaultAction: "SCMP_ACT_KILL_ALL" }),
      INVALID,
      'linux.seccomp.defaultAction is "SCMP_ACT_KILL_ALL": it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY',
    ],
    [
      inSeccomp({ defaultAction: "SCMP_ACT_NOTIFY" }),
      CONFLICT,
      "linux.seccomp.listenerPath is missing: SCMP_ACT_NOTIFY needs the socket of the agent that is asked",
    ],
    [
      inSeccomp({ defaultErrnoRet: 1 }),
      CONFLICT,
      "linux.seccomp.defaultErrnoRet is 1: SCMP_ACT_ALLOW has no errno: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one",
    ],
    [
      inSeccomp({ defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 4096 }),
      INVALID,
      "linux.seccomp.defaultErrnoRet is 4096: it must be at most 4095 for SCMP_ACT_ERRNO",
    ],
    [
      inSeccomp({ architectures: ["SCMP_ARCH_X86_65"] }),
      INVALID,
      'linux.seccomp.architectures[0] is "SCMP_ARCH_X86_65": it must be an architecture of libseccomp, such as SCMP_ARCH_X86_64',
      "did you mean SCMP_ARCH_X86_64?",
    ],
    [
      inSeccomp({ flags: ["SECCOMP_FILTER_FLAG_LGO"] }),
      INVALID,
      'linux.seccomp.flags[0] is "SECCOMP_FILTER_FLAG_LGO": it must be one of SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW or SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
      "did you mean SECCOMP_FILTER_FLAG_LOG?",
    ],
    [
      inSeccomp({ listenerPath: "agent.sock" }),
      INVALID,
      'linux.seccomp.listenerPath is "agent.sock": it must be an absolute path',
    ],
    [
      inSeccomp({ listenerMetadata: "a" }),
      CONFLICT,
      'linux.seccomp.listenerMetadata is "a": it is for the socket at listenerPath, which is not set',
    ],
    [
      inRule({ names: [] }),
      INVALID,
      "linux.seccomp.syscalls[0].names is []: it must be a list of system calls, not empty",
    ],
    [
      inRule({ names: undefined }),
      INVALID,
      "linux.seccomp.syscalls[0].names is missing: it must be a list of system calls, not empty",
    ],
    [inRule({ names: [5] }), INVALID, "linux.seccomp.syscalls[0].names[0] is 5: it must be a string"],
    [
      inRule({ action: undefined }),
      INVALID,
      "linux.seccomp.syscalls[0].action is missing: it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY",
    ],
    [
      inRule({ action: "ALLOW" }),
      INVALID,
      'linux.seccomp.syscalls[0].action is "ALLOW": it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY',
    ],
    [
      inRule({ action: "SCMP_ACT_NOTIFY" }),
      CONFLICT,
      "linux.seccomp.listenerPath is missing: SCMP_ACT_NOTIFY needs the socket of the agent that is asked",
    ],
    [
      inRule({ errnoRet: 1 }),
      CONFLICT,
      "linux.seccomp.syscalls[0].errnoRet is 1: SCMP_ACT_LOG has no errno: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one",
    ],
    [
      inRule({ action: "SCMP_ACT_ERRNO", errnoRet: 5000 }),
      INVALID,
      "linux.seccomp.syscalls[0].errnoRet is 5000: it must be at most 4095 for SCMP_ACT_ERRNO",
    ],
    [
      inRule({ action: "SCMP_ACT_TRACE", errnoRet: 65536 }),
      INVALID,
      "linux.seccomp.syscalls[0].errnoRet is 65536: it must be a whole number from 0 to 65535",
    ],
    [
      inArgument({ index: 6 }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].index is 6: it must be a whole number from 0 to 5",
    ],
    [
      inArgument({ value: "0" }),
      INVALID,
      'linux.seccomp.syscalls[0].args[0].value is "0": it must be a whole number from 0 to 18446744073709551615',
    ],
    [
      inArgument({ value: undefined }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].value is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inArgument({ value: -1 }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].value is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inArgument({ valueTwo: 2 ** 64 }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].valueTwo is 18446744073709552000: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inArgument({ op: "SCMP_CMP_EG" }),
      INVALID,
      'linux.seccomp.syscalls[0].args[0].op is "SCMP_CMP_EG": it must be one of SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT or SCMP_CMP_MASKED_EQ',
      "did you mean SCMP_CMP_EQ?",
    ],
  ]);
});
