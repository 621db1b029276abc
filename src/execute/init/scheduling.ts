/** Steps of the init process: how it and its children compete for processor, memory and disks, and what they may use of each. */
import { ContainerError } from "../../error.ts";
import type { Int64 } from "../../spec/config.ts";
import { IO_PRIORITY_CLASSES, RLIMIT_TYPES, SCHEDULER_FLAGS, SCHEDULER_POLICIES } from "../../spec/names.ts";
import { IOPRIO_WHO_PROCESS, PER_LINUX, PER_LINUX32 } from "../../sys/constants.ts";
import { writeFile } from "../../sys/files.ts";
import { packRlimit, packSchedAttr } from "../../sys/structs.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { type Message, receive, send } from "../channel.ts";
import { setCpuAffinity } from "../cpu-affinity.ts";
import { packNumberList } from "../number-mask.ts";
import type { Performers } from "./context.ts";

type Ops =
  | "setRlimit"
  | "setOomScore"
  | "setScheduler"
  | "setIoPriority"
  | "setCpuAffinity"
  | "setPersonality"
  | "setMemoryPolicy"
  | "joinResctrl";

const EPERM = 1;
const EACCES = 13;

export const schedulingSteps: Performers<Ops> = {
  setRlimit({ type, soft, hard }, { channel }) {
    const resource = RLIMIT_TYPES.indexOf(type as (typeof RLIMIT_TYPES)[number]);
    const result = raw.prlimit64(0, resource, packRlimit({ soft, hard }), null);
    // Raising one takes CAP_SYS_RESOURCE of the initial user namespace, which the parent may still have.
    if (result === -EPERM) askParent(channel, { kind: "rlimit", resource, soft: signed(soft), hard: signed(hard) });
    else check(result, "prlimit64", type, soft, hard);
  },

  setOomScore({ score, mayStay }, { channel }) {
    try {
      writeFile("/proc/self/oom_score_adj", String(score));
    } catch (error) {
      // So does lowering this.
      if (!(error instanceof SysError) || error.errno !== EACCES) throw error;
      askParent(channel, { kind: "oomScore", score, mayStay });
    }
  },

  setScheduler({ policy, flags, ...values }) {
    const attr = packSchedAttr({
      policy: SCHEDULER_POLICIES.indexOf(policy),
      flags: maskOf(SCHEDULER_FLAGS, flags),
      ...values,
    });
    check(raw.schedSetattr(0, attr, 0), "sched_setattr", policy, ...flags);
  },

  setIoPriority({ class: name, priority }) {
    const IOPRIO_CLASS_SHIFT = 13;
    const value = ((IO_PRIORITY_CLASSES.indexOf(name) + 1) << IOPRIO_CLASS_SHIFT) | priority;
    check(raw.ioprioSet(IOPRIO_WHO_PROCESS, 0, value), "ioprio_set", name, priority);
  },

  setCpuAffinity({ cpus }) {
    setCpuAffinity(cpus);
  },

  setPersonality({ domain }) {
    sys.personality(domain === "LINUX32" ? PER_LINUX32 : PER_LINUX);
  },

  setMemoryPolicy({ mode, nodes, flags = [] }) {
    const mask = nodes ? packNumberList(nodes) : null;
    if (mask === undefined) {
      throw new ContainerError("NODE_LIST_INVALID", `${JSON.stringify(nodes)} is no list of memory nodes`, {
        field: "linux.memoryPolicy.nodes",
        hint: "numbers and ranges with commas between them, such as 0-3,7",
      });
    }
    const value = MODES[mode] + flags.reduce((sum, flag) => sum + MODE_FLAGS[flag], 0);
    // The kernel counts one bit less than it is told.
    const maxnode = mask === null ? 0 : mask.byteLength * 8 + 1;
    check(raw.setMempolicy(value, mask, maxnode), "set_mempolicy", mode, nodes ?? null, ...flags);
  },

  joinResctrl({ paths }) {
    // 0 is the writer, as in tasks of a control group.
    for (const path of paths) writeFile(`${path}/tasks`, "0");
  },
};

/** 64 bits as text; a bigint of more than one limb is not for QuickJS to write. */
const signed = (limit: Int64): string => String(BigInt.asIntN(64, BigInt(limit)));

/** linux/mempolicy.h. MPOL_PREFERRED_MANY since Linux 5.15, MPOL_WEIGHTED_INTERLEAVE since 6.9. */
const MODES = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
} as const;

const MODE_FLAGS = {
  MPOL_F_STATIC_NODES: 1 << 15,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_NUMA_BALANCING: 1 << 13,
} as const;

/** Bits by the order of their names. */
const maskOf = (names: readonly string[], wanted: readonly string[]): number =>
  wanted.reduce((mask, name) => mask | (1 << names.indexOf(name)), 0);

/** What this process may not do to itself, its parent does to it. Throws the parent's error. */
function askParent(channel: number, request: Extract<Message, { kind: "rlimit" | "oomScore" }>): void {
  send(channel, request);
  const answer = receive(channel)?.message;
  if (answer?.kind !== "answered") throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
  check(answer.result, request.kind === "rlimit" ? "prlimit64" : "write", ...answer.args);
}
