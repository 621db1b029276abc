/** What `process` of config.json must look like: config.md, "Process". `exec --process` has one of these alone. */
import { editDistance, nearest } from "../nearest.ts";
import { CAPABILITIES } from "./capabilities.ts";
import {
  absolutePath,
  accountId,
  boolean,
  type Check,
  clash,
  integer,
  list,
  object,
  oneOf,
  table,
  text,
  uint16,
  uint32,
  uint64,
  within,
  wrong,
} from "./check.ts";
import type { Capabilities, IoPriority, Process, Rlimit, Scheduler, User } from "./config.ts";
import { stringifyExactly } from "./json-text.ts";
import { IO_PRIORITY_CLASSES, RLIMIT_TYPES, SCHEDULER_FLAGS, SCHEDULER_POLICIES } from "./names.ts";
import { numberList } from "./number-list.ts";

const ALL_BITS = 2n ** 64n - 1n;

const KNOWN_CAPABILITIES = table(Object.fromEntries(CAPABILITIES.map((name) => [name, true])));

const meant = (name: string): string => {
  const near = nearest(name, CAPABILITIES);
  return near === undefined || editDistance(name, near) > 2 ? "" : ` (did you mean ${near}?)`;
};

/** Capabilities that nobody can grant are a warning and are left out: config.md, "Linux Process". */
const capabilitySet: Check = (value, pass) => {
  const problem = list(text)(value, pass);
  if (problem !== undefined || !Array.isArray(value)) return problem;
  let unknown = false;
  for (const name of value) {
    if (KNOWN_CAPABILITIES[name] === true) continue;
    unknown = true;
    const warning = `process.capabilities names ${name}, which is no capability: it is left out${meant(name)}`;
    if (!pass.warnings.includes(warning)) pass.warnings.push(warning);
  }
  if (unknown) value.splice(0, value.length, ...value.filter((name) => KNOWN_CAPABILITIES[name] === true));
  return undefined;
};

const args: Check = (value, pass) =>
  Array.isArray(value) && value.length > 0
    ? list(text)(value, pass)
    : wrong(value, "a list that begins with the program to run");

const rlimit = object<Rlimit>(
  { type: oneOf(RLIMIT_TYPES), soft: uint64, hard: uint64 },
  ["type", "soft", "hard"],
  (limit) => {
    if (limit.soft > limit.hard)
      return clash(".soft", limit.soft, `it is above the hard limit of ${stringifyExactly(limit.hard)}`);
    if (limit.soft === ALL_BITS) limit.soft = -1;
    if (limit.hard === ALL_BITS) limit.hard = -1;
    return undefined;
  },
);

/** config.md: "If `rlimits` contains duplicated entries with same `type`, the runtime MUST generate an error". */
const rlimits = list<Rlimit>(rlimit, (limits) => {
  for (let i = 1; i < limits.length; i++) {
    const type = limits[i]?.type;
    if (limits.findIndex((limit) => limit.type === type) < i)
      return clash(`[${i}].type`, type, "each limit may be set only once");
  }
  return undefined;
});

const user = object<User>(
  { uid: accountId, gid: accountId, umask: uint32, additionalGids: list(accountId) },
  [],
  (user) => {
    // Go writes both always; who leaves one out means root, as for runc and crun.
    user.uid ??= 0;
    user.gid ??= 0;
    return undefined;
  },
);

/** sched_setattr(2), and what runc and crun check before the kernel answers EINVAL. */
const scheduler = object<Scheduler>(
  {
    policy: oneOf(SCHEDULER_POLICIES),
    nice: integer(-2_147_483_648, 2_147_483_647),
    priority: integer(-2_147_483_648, 2_147_483_647),
    flags: list(oneOf(SCHEDULER_FLAGS)),
    runtime: uint64,
    deadline: uint64,
    period: uint64,
  },
  ["policy"],
  ({ policy, nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0 }) => {
    if ((policy === "SCHED_OTHER" || policy === "SCHED_BATCH") && (nice < -20 || nice > 19))
      return within("nice", wrong(nice, `a whole number from -20 to 19 for ${policy}`));
    if (policy === "SCHED_FIFO" || policy === "SCHED_RR") {
      if (priority < 1 || priority > 99)
        return within("priority", wrong(priority, `a whole number from 1 to 99 for ${policy}`));
    } else if (priority !== 0) {
      return clash(".priority", priority, `only SCHED_FIFO and SCHED_RR have a priority, ${policy} has none`);
    }
    if (policy !== "SCHED_DEADLINE") {
      for (const [name, value] of Object.entries({ runtime, deadline, period }))
        if (BigInt(value) !== 0n) return clash(`.${name}`, value, `only SCHED_DEADLINE has it, ${policy} does not`);
      return undefined;
    }
    if (runtime < 1024) return within("runtime", wrong(runtime, "at least 1024 nanoseconds for SCHED_DEADLINE"));
    if (deadline < runtime)
      return within(
        "deadline",
        wrong(deadline, `at least the runtime of ${stringifyExactly(runtime)} nanoseconds for SCHED_DEADLINE`),
      );
    if (BigInt(period) !== 0n && period < deadline)
      return within(
        "period",
        wrong(period, `0, or at least the deadline of ${stringifyExactly(deadline)} nanoseconds`),
      );
    return undefined;
  },
);

const ioPriority = object<IoPriority>(
  { class: oneOf(IO_PRIORITY_CLASSES), priority: integer(0, 7) },
  ["class"],
  (priority) => {
    priority.priority ??= 0;
    return undefined;
  },
);

const consoleSize = object<NonNullable<Process["consoleSize"]>>({ height: uint16, width: uint16 }, ["height", "width"]);

export const PROCESS = object<Process>(
  {
    terminal: boolean,
    consoleSize: () => undefined, // looked at where it counts
    user,
    args,
    env: list(text),
    cwd: absolutePath,
    capabilities: object<Capabilities>({
      bounding: capabilitySet,
      effective: capabilitySet,
      permitted: capabilitySet,
      inheritable: capabilitySet,
      ambient: capabilitySet,
    }),
    rlimits,
    noNewPrivileges: boolean,
    // proc_pid_oom_score_adj(5)
    oomScoreAdj: integer(-1000, 1000),
    apparmorProfile: text,
    selinuxLabel: text,
    scheduler,
    ioPriority,
    execCPUAffinity: object<NonNullable<Process["execCPUAffinity"]>>({ initial: numberList, final: numberList }),
  },
  ["args", "cwd"],
  (process, pass) => {
    process.user ??= { uid: 0, gid: 0 };
    // config.md: "Runtimes MUST ignore `consoleSize` if `terminal` is `false` or unset", whatever it is.
    if (process.terminal !== true) delete process.consoleSize;
    if (process.consoleSize === undefined) return undefined;
    const problem = consoleSize(process.consoleSize, pass);
    return problem && within("consoleSize", problem);
  },
);
