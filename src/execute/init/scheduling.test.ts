import assert from "node:assert/strict";
import { test } from "node:test";
import type { InitStep } from "../../plan/step.ts";
import { type RecordedCall, recordingSys, type Script } from "../../sys/recording.ts";
import { replaceSys, SysError } from "../../sys/sys.ts";
import { makeTracer } from "../tracer.ts";
import type { InitContext } from "./context.ts";
import { schedulingSteps } from "./scheduling.ts";

const context = (): InitContext => ({
  channel: 9,
  tracer: makeTracer("off"),
  slots: new Map(),
  freshMounts: new Set(),
});

/** The calls of one step, with buffers as hex. */
function calls(perform: (context: InitContext) => void, script: Script = {}): string[] {
  const recorder = recordingSys(script);
  const before = replaceSys(recorder);
  try {
    perform(context());
  } finally {
    replaceSys(before);
  }
  return recorder.calls.map(shown);
}

const shown = ({ name, args }: RecordedCall): string =>
  `${name} ${args.map((arg) => (arg instanceof ArrayBuffer ? Buffer.from(arg).toString("hex") : Array.isArray(arg) ? "" : String(arg))).join(" ")}`.trimEnd();

const why = { by: "init", because: "" } as const;
type StepOf<Op extends InitStep["op"]> = Extract<InitStep, { op: Op }>;

test("setScheduler: struct sched_attr with policy, flags, nice, priority and times", () => {
  const step: StepOf<"setScheduler"> = {
    op: "setScheduler",
    policy: "SCHED_DEADLINE",
    nice: -5,
    priority: 2,
    flags: ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"],
    runtime: 42_000,
    deadline: 100_000,
    period: 2n ** 63n,
    ...why,
  };
  assert.deepEqual(
    calls((it) => schedulingSteps.setScheduler(step, it)),
    [
      `schedSetattr 0 ${[
        "30000000" + "06000000" + "4100000000000000",
        "fbffffff" + "02000000",
        "10a4000000000000" + "a086010000000000" + "0000000000000080",
      ].join("")} 0`,
    ],
  );
});

test("setIoPriority: the class above thirteen bits of priority", () => {
  const values = (["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"] as const).map(
    (name) =>
      calls((it) => schedulingSteps.setIoPriority({ op: "setIoPriority", class: name, priority: 4, ...why }, it))[0],
  );
  assert.deepEqual(values, [
    `ioprioSet 1 0 ${(1 << 13) | 4}`,
    `ioprioSet 1 0 ${(2 << 13) | 4}`,
    `ioprioSet 1 0 ${(3 << 13) | 4}`,
  ]);
});

test("setMemoryPolicy: mode, flags and a mask whose length the kernel counts one too short", () => {
  const policy = (step: Omit<StepOf<"setMemoryPolicy">, "op" | "by" | "because">) =>
    calls((it) => schedulingSteps.setMemoryPolicy({ op: "setMemoryPolicy", ...step, ...why }, it))[0];
  assert.equal(
    policy({ mode: "MPOL_INTERLEAVE", nodes: "0,2", flags: ["MPOL_F_STATIC_NODES"] }),
    "setMempolicy 32771 0500000000000000 65",
  );
  assert.equal(policy({ mode: "MPOL_LOCAL" }), "setMempolicy 4 null 0");
  assert.equal(policy({ mode: "MPOL_DEFAULT", nodes: "" }), "setMempolicy 0 null 0");
});

test("setCpuAffinity: a list as a mask; one that is none is said", () => {
  const affinity = (cpus: string) => () =>
    calls((it) => schedulingSteps.setCpuAffinity({ op: "setCpuAffinity", cpus, ...why }, it));
  assert.deepEqual(affinity("0-1")(), ["schedSetaffinity 0 8 0300000000000000"]);
  assert.throws(affinity("x"), /"x" is no list of processors/);
});

test("setRlimit: numbers of 64 bits, -1 for none", () => {
  const limit = (soft: number | bigint, hard: number | bigint) =>
    calls((it) => schedulingSteps.setRlimit({ op: "setRlimit", type: "RLIMIT_NOFILE", soft, hard, ...why }, it));
  assert.deepEqual(limit(1, -1), ["prlimit64 0 7 0100000000000000ffffffffffffffff null"]);
  assert.deepEqual(limit(2n ** 53n + 1n, 2n ** 64n - 2n), ["prlimit64 0 7 0100000000002000feffffffffffffff null"]);
});

test("setRlimit: what this process may not do its parent does, and says how it went", () => {
  const step: StepOf<"setRlimit"> = { op: "setRlimit", type: "RLIMIT_CORE", soft: 2n ** 64n - 2n, hard: -1, ...why };
  const answer = (result: number): Script => ({
    prlimit64: -1,
    receiveMessage: () => ({ text: JSON.stringify({ kind: "answered", result, args: [4] }), fds: [] }),
  });
  assert.deepEqual(calls((it) => schedulingSteps.setRlimit(step, it), answer(0)).slice(1), [
    'sendMessage 9 {"kind":"rlimit","resource":4,"soft":"-2","hard":"-1"}',
    "receiveMessage 9",
  ]);
  assert.throws(
    () => calls((it) => schedulingSteps.setRlimit(step, it), answer(-1)),
    (error) => error instanceof SysError && error.code === "EPERM" && error.syscall === "prlimit64",
  );
});

test("setOomScore: lowering it is asked of the parent where it is denied", () => {
  const step: StepOf<"setOomScore"> = { op: "setOomScore", score: -500, ...why };
  const answered = () => ({ text: '{"kind":"answered","result":0,"args":[]}', fds: [] });
  assert.deepEqual(
    calls((it) => schedulingSteps.setOomScore(step, it), { openat: 5, write: -13, receiveMessage: answered }),
    [
      "openat -100 /proc/self/oom_score_adj 524289 0",
      "write 5 -500",
      "close 5",
      'sendMessage 9 {"kind":"oomScore","score":-500}',
      "receiveMessage 9",
    ],
  );
});
