// Data: what parseConfig refuses of `process`, and the whole error for each.
import { test } from "node:test";
import { CONFLICT, INVALID, inConfig, inProcess, NO_ID, refuses } from "../../tests/refused-configs.ts";

test("parseConfig refuses a wrong process", () => {
  refuses([
    [inConfig({ process: "sh" }), INVALID, 'process is "sh": it must be an object'],
    [
      inProcess({ args: undefined }),
      INVALID,
      "process.args is missing: it must be a list that begins with the program to run",
    ],
    [inProcess({ args: [] }), INVALID, "process.args is []: it must be a list that begins with the program to run"],
    [inProcess({ args: "sh" }), INVALID, 'process.args is "sh": it must be a list that begins with the program to run'],
    [inProcess({ args: ["sh", null] }), INVALID, "process.args[1] is null: it must be a string"],
    [
      inProcess({ args: ["sh\0"] }),
      INVALID,
      'process.args[0] is "sh\\u0000": it must be a string without NUL characters',
    ],
    [inProcess({ cwd: "" }), INVALID, "process.cwd is missing: it must be an absolute path"],
    [inProcess({ cwd: "tmp" }), INVALID, 'process.cwd is "tmp": it must be an absolute path'],
    [inProcess({ env: ["A=1", true] }), INVALID, "process.env[1] is true: it must be a string"],
    [inProcess({ terminal: 1 }), INVALID, "process.terminal is 1: it must be true or false"],
    [
      inProcess({ terminal: true, consoleSize: { height: 25 } }),
      INVALID,
      "process.consoleSize.width is missing: it must be a whole number from 0 to 65535",
    ],
    [
      inProcess({ terminal: true, consoleSize: { height: 25, width: 70000 } }),
      INVALID,
      "process.consoleSize.width is 70000: it must be a whole number from 0 to 65535",
    ],
    [
      inProcess({ user: { uid: -1, gid: 0 } }),
      INVALID,
      "process.user.uid is -1: it must be a whole number from 0 to 4294967294",
      NO_ID,
    ],
    [
      inProcess({ user: { uid: 4294967295, gid: 0 } }),
      INVALID,
      "process.user.uid is 4294967295: it must be a whole number from 0 to 4294967294",
      NO_ID,
    ],
    [
      inProcess({ user: { uid: 0, gid: 4294967295 } }),
      INVALID,
      "process.user.gid is 4294967295: it must be a whole number from 0 to 4294967294",
      NO_ID,
    ],
    [
      inProcess({ user: { uid: 0, gid: 0, umask: "022" } }),
      INVALID,
      'process.user.umask is "022": it must be a whole number from 0 to 4294967295',
    ],
    [
      inProcess({ user: { uid: 0, gid: 0, additionalGids: [1, 1.5] } }),
      INVALID,
      "process.user.additionalGids[1] is 1.5: it must be a whole number from 0 to 4294967294",
    ],
    [inProcess({ noNewPrivileges: "true" }), INVALID, 'process.noNewPrivileges is "true": it must be true or false'],
    [
      inProcess({ oomScoreAdj: 1001 }),
      INVALID,
      "process.oomScoreAdj is 1001: it must be a whole number from -1000 to 1000",
    ],
    [
      inProcess({ capabilities: ["CAP_CHOWN"] }),
      INVALID,
      'process.capabilities is ["CAP_CHOWN"]: it must be an object',
    ],
    [
      inProcess({ capabilities: { bounding: "CAP_CHOWN" } }),
      INVALID,
      'process.capabilities.bounding is "CAP_CHOWN": it must be a list',
    ],
    [
      inProcess({ capabilities: { ambient: [0] } }),
      INVALID,
      "process.capabilities.ambient[0] is 0: it must be a string",
    ],
    [inProcess({ apparmorProfile: {} }), INVALID, "process.apparmorProfile is {}: it must be a string"],
    [inProcess({ selinuxLabel: 1 }), INVALID, "process.selinuxLabel is 1: it must be a string"],
    [
      inProcess({ execCPUAffinity: { initial: "0-" } }),
      INVALID,
      'process.execCPUAffinity.initial is "0-": it must be a list of numbers and ranges such as 0-3,7',
    ],
    [
      inProcess({ execCPUAffinity: { final: "3-1" } }),
      INVALID,
      'process.execCPUAffinity.final is "3-1": it must be a list of numbers and ranges such as 0-3,7',
    ],
  ]);
});

test("parseConfig refuses wrong and repeated rlimits", () => {
  refuses([
    [
      inProcess({ rlimits: [{ type: "RLIMIT_NOFILES", soft: 1, hard: 1 }] }),
      INVALID,
      'process.rlimits[0].type is "RLIMIT_NOFILES": it must be one of RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO or RLIMIT_RTTIME',
      "did you mean RLIMIT_NOFILE?",
    ],
    [
      inProcess({ rlimits: [{ type: "NOFILE", soft: 1, hard: 1 }] }),
      INVALID,
      'process.rlimits[0].type is "NOFILE": it must be one of RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO or RLIMIT_RTTIME',
    ],
    [
      inProcess({ rlimits: [{ type: "RLIMIT_AS", soft: 1 }] }),
      INVALID,
      "process.rlimits[0].hard is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inProcess({ rlimits: [{ type: "RLIMIT_AS", soft: -1, hard: 1 }] }),
      INVALID,
      "process.rlimits[0].soft is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inProcess({ rlimits: [{ type: "RLIMIT_AS", soft: 2, hard: 1 }] }),
      CONFLICT,
      "process.rlimits[0].soft is 2: it is above the hard limit of 1",
    ],
    [
      inProcess({
        rlimits: [
          { type: "RLIMIT_AS", soft: 1, hard: 1 },
          { type: "RLIMIT_AS", soft: 1, hard: 1 },
        ],
      }),
      CONFLICT,
      'process.rlimits[1].type is "RLIMIT_AS": each limit may be set only once',
    ],
  ]);
});

test("parseConfig refuses schedulers and I/O priorities that the kernel would", () => {
  refuses([
    [
      inProcess({ scheduler: {} }),
      INVALID,
      "process.scheduler.policy is missing: it must be one of SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE or SCHED_DEADLINE",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_FIF" } }),
      INVALID,
      'process.scheduler.policy is "SCHED_FIF": it must be one of SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE or SCHED_DEADLINE',
      "did you mean SCHED_FIFO?",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_OTHER", nice: 20 } }),
      INVALID,
      "process.scheduler.nice is 20: it must be a whole number from -20 to 19 for SCHED_OTHER",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_BATCH", nice: -21 } }),
      INVALID,
      "process.scheduler.nice is -21: it must be a whole number from -20 to 19 for SCHED_BATCH",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_FIFO" } }),
      INVALID,
      "process.scheduler.priority is 0: it must be a whole number from 1 to 99 for SCHED_FIFO",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_RR", priority: 100 } }),
      INVALID,
      "process.scheduler.priority is 100: it must be a whole number from 1 to 99 for SCHED_RR",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_IDLE", priority: 1 } }),
      CONFLICT,
      "process.scheduler.priority is 1: only SCHED_FIFO and SCHED_RR have a priority, SCHED_IDLE has none",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_OTHER", flags: ["SCHED_FLAG_RESET"] } }),
      INVALID,
      'process.scheduler.flags[0] is "SCHED_FLAG_RESET": it must be one of SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_UTIL_CLAMP_MIN or SCHED_FLAG_UTIL_CLAMP_MAX',
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_OTHER", period: 1000000 } }),
      CONFLICT,
      "process.scheduler.period is 1000000: only SCHED_DEADLINE has it, SCHED_OTHER does not",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_DEADLINE" } }),
      INVALID,
      "process.scheduler.runtime is 0: it must be at least 1024 nanoseconds for SCHED_DEADLINE",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_DEADLINE", runtime: 2000, deadline: 1500 } }),
      INVALID,
      "process.scheduler.deadline is 1500: it must be at least the runtime of 2000 nanoseconds for SCHED_DEADLINE",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_DEADLINE", runtime: 2000, deadline: 3000, period: 2500 } }),
      INVALID,
      "process.scheduler.period is 2500: it must be 0, or at least the deadline of 3000 nanoseconds",
    ],
    [
      inProcess({ ioPriority: { priority: 4 } }),
      INVALID,
      "process.ioPriority.class is missing: it must be one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE",
    ],
    [
      inProcess({ ioPriority: { class: "IOPRIO_CLASS_NONE", priority: 4 } }),
      INVALID,
      'process.ioPriority.class is "IOPRIO_CLASS_NONE": it must be one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE',
      "did you mean IOPRIO_CLASS_BE?",
    ],
    [
      inProcess({ ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } }),
      INVALID,
      "process.ioPriority.priority is 8: it must be a whole number from 0 to 7",
    ],
  ]);
});
