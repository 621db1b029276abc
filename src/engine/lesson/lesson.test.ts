import assert from "node:assert/strict";
import { test } from "node:test";
import type { Plan, Step } from "../../plan/step.ts";
import { cutPlan, isShown, type Lesson } from "./lesson.ts";
import { LESSONS, lessonNamed } from "./lessons.ts";

const because = "";
const GROUP = "/sys/fs/cgroup/tupper-x";
const clone = (more: Partial<Extract<Step, { op: "clone" }>> = {}): Step => ({
  op: "clone",
  by: "parent",
  namespaces: ["user", "mount", "uts", "cgroup"],
  cgroup: GROUP,
  pid: { slot: "init.pid" },
  sharedMemory: true,
  because,
  ...more,
});
const record: Step = { op: "recordState", by: "parent", path: "/run/tupper/x", because };
const group: Step = { op: "makeCgroup", by: "parent", controller: "unified", path: GROUP, because };
const name: Step = { op: "setHostname", by: "init", name: "tupperware", because };
const unshare: Step = { op: "unshare", by: "init", namespaces: ["time"], because };
const exec: Step = { op: "exec", by: "init", args: ["sh"], env: [], because };
const WHOLE: Plan = {
  id: "x",
  steps: [record, group, clone(), unshare, name, exec],
  cleanup: { cgroups: [GROUP], state: "/run/tupper/x" },
  warnings: ["of no interest"],
};
const LESSON: Lesson = {
  name: "x",
  title: "",
  notes: "",
  text: "",
  namespaces: ["uts"],
  keeps: ({ op }) => op === "setHostname",
  looks: [],
  inside: [],
  without: {},
};

test("cutPlan: keeps the steps and namespaces of the lesson, an ordinary user's namespace, and no group that is not made", () => {
  const { cgroup: _, ...unborn } = clone({ namespaces: ["user", "uts"] }) as Extract<Step, { op: "clone" }>;
  assert.deepEqual(cutPlan(WHOLE, LESSON), {
    ...WHOLE,
    steps: [record, unborn, name, exec],
    cleanup: { cgroups: [], state: "/run/tupper/x" },
    warnings: [],
  });
});

test("cutPlan: leaves out a step, a namespace, or being born in a group", () => {
  const drop = ({ op }: Step) => op === "setHostname";
  assert.deepEqual(
    cutPlan(WHOLE, LESSON, { says: "", drop }).steps.map(({ op }) => op),
    ["recordState", "clone", "exec"],
  );
  const namespacesIn = ({ steps }: Plan) => steps.flatMap((step) => (step.op === "clone" ? step.namespaces : []));
  assert.deepEqual(namespacesIn(cutPlan(WHOLE, LESSON, { says: "", namespace: "uts" })), ["user"]);

  const about = { ...LESSON, keeps: ({ op }: Step) => op === "makeCgroup" };
  const groupsIn = ({ steps }: Plan) => steps.flatMap((step) => (step.op === "clone" ? [step.cgroup] : []));
  const born = cutPlan(WHOLE, about);
  assert.deepEqual([groupsIn(born), born.cleanup.cgroups], [[GROUP], [GROUP]]);
  const beside = cutPlan(WHOLE, about, { says: "", drop: ({ op }) => op === "joinCgroup" });
  assert.deepEqual([groupsIn(beside), beside.cleanup.cgroups], [[undefined], [GROUP]]);
});

test("LESSONS: have names of their own, and words for each thing that can be left out; nothing drops what every container has", () => {
  assert.equal(new Set(LESSONS.map((lesson) => lesson.name)).size, LESSONS.length);
  for (const [i, lesson] of LESSONS.entries()) {
    assert.equal(lessonNamed(lesson.name), lesson);
    assert.equal(lessonNamed(String(i + 1)), lesson);
    assert.ok(lesson.text !== "" && lesson.title !== "" && lesson.notes !== "");
    assert.ok(lesson.inside.length > 0);
    for (const omission of Object.values(lesson.without)) {
      assert.match(omission.says, /^Without .+\.$/);
      assert.ok(omission.drop !== undefined || omission.namespace !== undefined || omission.refuses !== undefined);
      for (const step of [record, clone(), exec]) assert.notEqual(omission.drop?.(step), true);
    }
  }
  assert.equal(lessonNamed("0"), undefined);
  assert.equal(lessonNamed("nothing"), undefined);
});

test("LESSONS: whoever mounts does it where it spreads to nobody, or on a stand-in", () => {
  const cut: Step = { op: "propagation", by: "init", target: "/", mode: "rslave", because };
  const mount: Step = {
    op: "mount",
    by: "init",
    source: "",
    target: "/mnt",
    fstype: "tmpfs",
    flags: [],
    data: "",
    because,
  };
  const plan = { ...WHOLE, steps: [record, clone(), cut, mount, name, exec] };
  for (const lesson of LESSONS)
    for (const omission of [undefined, ...Object.values(lesson.without)]) {
      const { steps } = cutPlan(plan, lesson, omission);
      const mounts = steps.includes(mount) || lesson.inside.some(({ command }) => command.startsWith("mount -t"));
      if (!mounts || omission?.standIn) continue;
      assert.ok(steps.includes(cut), lesson.name);
      assert.ok(
        steps.some((step) => step.op === "clone" && step.namespaces.includes("mount")),
        lesson.name,
      );
    }
});

test("isShown: not what every container does for itself", () => {
  assert.equal(isShown(LESSON, record), false);
  assert.equal(isShown(LESSON, name), true);
  assert.equal(isShown({ ...LESSON, hides: ({ op }) => op === "setHostname" }, name), false);
});
