import assert from "node:assert/strict";
import { test } from "node:test";
import type { Resources } from "../../spec/config.ts";
import { planCgroups } from "./groups.ts";
import { normalizeCgroupsPath } from "./location.ts";
import { codeOf, HYBRID, limits, makeConfig, makeHost, NONE, show, V1, V2 } from "./machines-for-tests.ts";

test("planCgroups: on v1 a group in every hierarchy, whole steps", () => {
  const made = { by: "parent", because: "a control group of its own counts and limits the container" };
  const inherits = {
    op: "inheritCgroupValue",
    by: "parent",
    because: "a new cpuset of cgroup v1 is empty, and no process can join an empty one",
  };
  const joins = {
    op: "joinCgroup",
    by: "init",
    because:
      "the container is counted and limited there; a single-threaded process that moves itself spares the wait for all others",
  };
  const cpuset = "/cg/cpuset/tupper-a";
  const cpu = "/cg/cpu,cpuacct/tupper-a";
  const memory = "/cg/memory/tupper-a";
  assert.deepEqual(planCgroups(makeConfig({ memory: { limit: 1 } }), makeHost(V1), "a"), {
    afterClone: [],
    create: [
      { op: "makeCgroup", controller: "cpuset", path: cpuset, ...made },
      { path: `${cpuset}/cpuset.cpus`, ...inherits },
      { path: `${cpuset}/cpuset.mems`, ...inherits },
      { op: "makeCgroup", controller: "cpu,cpuacct", path: cpu, ...made },
      { op: "makeCgroup", controller: "memory", path: memory, ...made },
      {
        op: "write",
        by: "parent",
        path: `${memory}/memory.limit_in_bytes`,
        value: "1",
        field: "linux.resources.memory.limit",
        because: "memory beyond this is reclaimed, and when that does not suffice a process of the container is killed",
      },
    ],
    join: [
      { controller: "cpuset", path: cpuset, ...joins },
      { controller: "cpu,cpuacct", path: cpu, ...joins },
      { controller: "memory", path: memory, ...joins },
    ],
    leave: [],
    cleanup: [cpuset, cpu, memory],
    groups: [
      { controller: "cpuset", path: cpuset },
      { controller: "cpu,cpuacct", path: cpu },
      { controller: "memory", path: memory },
    ],
    warnings: [],
  });
});

test("planCgroups: a relative path is below our own groups; cpusets on the way are filled too", () => {
  const { create, join } = planCgroups(makeConfig({ cpu: { cpus: "0" } }, "pod/../pods//c"), makeHost(V1), "a");
  assert.deepEqual(create.map(show), [
    "makeCgroup cpuset /cg/cpuset/pods (may exist)",
    "inherit /cg/cpuset/pods/cpuset.cpus",
    "inherit /cg/cpuset/pods/cpuset.mems",
    "makeCgroup cpuset /cg/cpuset/pods/c",
    "inherit /cg/cpuset/pods/c/cpuset.mems",
    "/cg/cpuset/pods/c/cpuset.cpus = 0",
    "makeCgroup cpu,cpuacct /cg/cpu,cpuacct/own/pods/c",
    "makeCgroup memory /cg/memory/own/pods/c",
  ]);
  assert.deepEqual(join.map(show), [
    "joinCgroup cpuset /cg/cpuset/pods/c",
    "joinCgroup cpu,cpuacct /cg/cpu,cpuacct/own/pods/c",
    "joinCgroup memory /cg/memory/own/pods/c",
  ]);
});

test("planCgroups: on a hybrid machine the container is born in the v2 group, which limits what it can", () => {
  const resources: Resources = { pids: { limit: 20 }, hugepageLimits: [{ pageSize: "2MB", limit: 0 }] };
  const plan = planCgroups(makeConfig(resources), makeHost(HYBRID), "a");
  assert.deepEqual(plan.create.map(show), [
    "makeCgroup pids /cg/pids/tupper-a",
    "/cg/pids/tupper-a/pids.max = 20",
    "makeCgroup name=systemd /cg/systemd/tupper-a",
    "/cg/unified/cgroup.subtree_control = +hugetlb",
    "makeCgroup unified /cg/unified/tupper-a",
    "/cg/unified/tupper-a/hugetlb.2MB.rsvd.max = 0",
    "/cg/unified/tupper-a/hugetlb.2MB.max = 0",
  ]);
  assert.deepEqual(plan.join.map(show), [
    "joinCgroup pids /cg/pids/tupper-a",
    "joinCgroup name=systemd /cg/systemd/tupper-a",
  ]);
  assert.equal(plan.into, "/cg/unified/tupper-a");
  assert.deepEqual(plan.cleanup, ["/cg/pids/tupper-a", "/cg/systemd/tupper-a", "/cg/unified/tupper-a"]);
});

test("planCgroups: on a hybrid machine nothing is handed down that nobody asks for", () => {
  assert.deepEqual(planCgroups(makeConfig(), makeHost(HYBRID), "a").create.map(show), [
    "makeCgroup pids /cg/pids/tupper-a",
    "makeCgroup name=systemd /cg/systemd/tupper-a",
    "makeCgroup unified /cg/unified/tupper-a",
  ]);
});

test("planCgroups: on v2 every group above hands controllers down", () => {
  const plan = planCgroups(makeConfig({ cpu: { mems: "0" } }, "/pods/c"), makeHost(V2), "a");
  assert.deepEqual(plan.create.map(show), [
    "/cg/cgroup.subtree_control = +cpu +io +memory +pids +cpuset",
    "makeCgroup unified /cg/pods (may exist)",
    "/cg/pods/cgroup.subtree_control = +cpu +io +memory +pids +cpuset",
    "makeCgroup unified /cg/pods/c",
    "/cg/pods/c/cpuset.mems = 0",
  ]);
  assert.deepEqual([plan.join, plan.into, plan.cleanup], [[], "/cg/pods/c", ["/cg/pods/c"]]);
});

test("planCgroups: on v2 a relative path is beside our own group", () => {
  const { into } = planCgroups(makeConfig({}, "c"), makeHost(V2), "a");
  assert.equal(into, "/cg/user.slice/c");
});

test("planCgroups: on v2 a user's groups lie in the delegated part, and nothing above it is written", () => {
  const unified = { mountPoint: "/cg", ownPath: "/user.slice/app.slice/run-1.scope", controllers: ["memory", "pids"] };
  const plan = planCgroups(
    makeConfig({ pids: { limit: 5 } }),
    makeHost({ ...V2, unified }, { uid: 1000, privileged: false }),
    "a",
  );
  assert.deepEqual(plan.create.map(show), [
    "/cg/user.slice/app.slice/cgroup.subtree_control = +memory +pids",
    "makeCgroup unified /cg/user.slice/app.slice/tupper-a",
    "/cg/user.slice/app.slice/tupper-a/pids.max = 5",
  ]);
});

test("planCgroups: on v2 with pids.limit 0, before Linux 5.7, with cpu.mems before 6.4, the process joins instead of being born there", () => {
  const zero = planCgroups(makeConfig({ pids: { limit: 0 } }), makeHost(V2), "a");
  assert.deepEqual([zero.join.map(show), zero.into], [["joinCgroup unified /cg/tupper-a"], undefined]);
  const old = planCgroups(makeConfig(), makeHost(V2, { kernel: [5, 6] }), "a");
  assert.deepEqual([old.join.map(show), old.into], [["joinCgroup unified /cg/tupper-a"], undefined]);
  const nodes = (kernel: [number, number], cpu = { mems: "0" }) =>
    planCgroups(makeConfig({ cpu }), makeHost(V2, { kernel }), "a");
  assert.deepEqual(
    [nodes([6, 3]).join.map(show), nodes([6, 3]).into],
    [["joinCgroup unified /cg/tupper-a"], undefined],
  );
  assert.deepEqual([nodes([6, 4]).into, nodes([6, 3], { mems: "" }).into], ["/cg/tupper-a", "/cg/tupper-a"]);
  // Where v1 counts processes, the v2 group does not.
  assert.equal(planCgroups(makeConfig({ pids: { limit: 0 } }), makeHost(HYBRID), "a").into, "/cg/unified/tupper-a");
});

test("planCgroups: processes at a v2 root that is not the machine's move out of the way first", () => {
  const unified = { mountPoint: "/cg", ownPath: "/", controllers: ["memory"], occupied: true };
  const plan = planCgroups(makeConfig({ memory: { limit: 1 } }), makeHost({ ...V2, unified }), "a");
  assert.deepEqual(
    [...plan.create.slice(0, 2).map(show), ...plan.warnings],
    ["vacate /cg into /cg/init", "/cg/cgroup.subtree_control = +memory"],
  );
});

test("planCgroups: without control groups no steps, and a warning for each limit", () => {
  const resources: Resources = {
    memory: { limit: 1, swap: 2 },
    hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
    unified: { "memory.high": "1" },
    devices: [{ allow: false, access: "rwm" }],
  };
  const fields = ["memory.limit", "memory.swap", "hugepageLimits[0]", 'unified["memory.high"]'];
  const expect = (names: string[], gap: string) => ({
    ...{ create: [], afterClone: [], join: [], leave: [], cleanup: [], groups: [] },
    warnings: names.map((name) => `linux.resources.${name} is ignored: ${gap}`),
  });
  const user = { uid: 1000, privileged: false };
  const config = makeConfig(resources);
  assert.deepEqual(
    planCgroups(config, makeHost(NONE), "a"),
    expect([...fields, "devices"], "no control group filesystem is mounted"),
  );
  assert.deepEqual(
    planCgroups(config, makeHost({ ...V1, writable: false }), "a"),
    expect([...fields, "devices"], "the control group filesystem is mounted read-only"),
  );
  assert.deepEqual(
    planCgroups(config, makeHost({ ...HYBRID, writable: false }, user), "a"),
    expect(
      fields,
      "this machine has control groups of version 1, and only root can make those (or who is given the directory that linux.cgroupsPath leads to)",
    ),
  );
  assert.deepEqual(
    planCgroups(config, makeHost({ ...V2, writable: false }, user), "a"),
    expect(
      fields,
      "no part of the control group tree is delegated to this user (systemd-run --user --scope gives one)",
    ),
  );
  assert.deepEqual(planCgroups(makeConfig(), makeHost(NONE), "a").warnings, []);
});

test("planCgroups: a controller that is in no hierarchy is a warning", () => {
  assert.deepEqual(limits(HYBRID, { cpu: { shares: 2 }, blockIO: { weight: 10 }, network: { classID: 1 } }), {
    writes: [],
    warnings: [
      "linux.resources.cpu.shares is ignored: this machine's control groups have no cpu controller",
      "linux.resources.blockIO.weight is ignored: this machine's control groups have no io controller",
      "linux.resources.network.classID is ignored: this machine's control groups have no net_cls controller",
    ],
  });
});

test("planCgroups: the root of the hierarchies is no group for a container", () => {
  assert.equal(
    codeOf(() => planCgroups(makeConfig({}, "/.."), makeHost(V1), "a")),
    "CGROUP_VALUE_INVALID linux.cgroupsPath",
  );
});

test("normalizeCgroupsPath: never leads above the root", () => {
  assert.deepEqual(["/a/b", "a//b/", "../../a", "/a/../../b", "./a/.", "/"].map(normalizeCgroupsPath), [
    "/a/b",
    "/a/b",
    "/a",
    "/b",
    "/a",
    "",
  ]);
});
