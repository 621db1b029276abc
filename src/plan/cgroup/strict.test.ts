/** What planCgroups does as an OCI runtime: errors instead of warnings, and what engines write for "unset". */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import type { Config, Resources } from "../../spec/config.ts";
import type { Host, HostCgroups } from "../host.ts";
import type { Step } from "../step.ts";
import { type CgroupOptions, planCgroups } from "./groups.ts";
import { makeHost } from "./machines-for-tests.ts";

const V1: HostCgroups = {
  mode: "hybrid",
  hierarchies: "cpu cpuset memory pids blkio devices"
    .split(" ")
    .map((controller) => ({ controllers: [controller], mountPoint: `/cg/${controller}`, ownPath: "/own" })),
  unified: { mountPoint: "/cg/unified", ownPath: "/own", controllers: ["hugetlb"] },
  writable: true,
};

const V2: HostCgroups = {
  mode: "v2",
  hierarchies: [],
  unified: {
    mountPoint: "/cg",
    ownPath: "/system.slice/engine",
    controllers: ["cpuset", "cpu", "io", "memory", "pids"],
  },
  writable: true,
};

function makeConfig(resources: Resources, more: Partial<Config["linux"]> = {}): Config {
  return {
    ociVersion: "1.3.0",
    root: { path: "/rootfs" },
    process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
    linux: { cgroupsPath: "/c", resources: { devices: [{ allow: true, access: "rwm" }], ...resources }, ...more },
  };
}

const STRICT: CgroupOptions = { strict: true };
const DELEGATE = "run.oci.delegate-cgroup";
const FIELD = `annotations["${DELEGATE}"]`;

function show(step: Step): string {
  switch (step.op) {
    case "makeCgroup":
      return `makeCgroup ${step.path}${step.unused ? " (may exist unused)" : step.mayExist ? " (may exist)" : ""}`;
    case "write": {
      const { path, value } = step;
      return `${path} = ${value}${"ifPossible" in step && step.ifPossible ? ` (${step.ifPossible} is fine)` : ""}`;
    }
    case "delegateCgroup":
      return `delegate ${step.path} to ${step.uid}`;
    default:
      return step.op;
  }
}

const stepsOf = (cgroups: HostCgroups, resources: Resources, more?: Partial<Config["linux"]>): string[] =>
  planCgroups(makeConfig(resources, more), makeHost(cgroups), "id", STRICT).create.map(show);

/** The values for the container's own group `/c`. */
const writesOf = (cgroups: HostCgroups, resources: Resources): string[] =>
  stepsOf(cgroups, resources)
    .filter((line) => / = /.test(line) && !line.includes("subtree_control"))
    .map((line) => line.replace(/^\/cg(\/\w+)?\/c\//, ""));

function refusal(cgroups: HostCgroups, resources: Resources, more: Partial<Host> = {}): string {
  try {
    planCgroups(makeConfig(resources), makeHost(cgroups, more), "id", STRICT);
  } catch (error) {
    if (error instanceof ContainerError) return `${error.code} ${error.field}: ${error.message}`;
    throw error;
  }
  return "no error";
}

test("planCgroups strict: a controller that is nowhere is an error", () => {
  assert.equal(
    refusal(V1, { rdma: { mlx5_1: { hcaHandles: 3 } } }),
    "CGROUP_CONTROLLER_MISSING linux.resources.rdma.mlx5_1: this machine's control groups have no rdma controller",
  );
  assert.equal(
    refusal(V2, { hugepageLimits: [{ pageSize: "2MB", limit: 0 }] }),
    "CGROUP_CONTROLLER_MISSING linux.resources.hugepageLimits[0]: this machine's control groups have no hugetlb controller",
  );
  assert.equal(refusal(V1, { hugepageLimits: [{ pageSize: "2MB", limit: 0 }] }), "no error");
});

test("planCgroups strict: what v2 cannot express is an error, what makes no difference is a warning", () => {
  const code = (resources: Resources) => refusal(V2, resources).split(":")[0];
  assert.deepEqual(
    [
      code({ memory: { swappiness: 60 } }),
      code({ memory: { disableOOMKiller: true } }),
      code({ cpu: { realtimeRuntime: 1 } }),
      code({ network: { classID: 1 } }),
      code({ blockIO: { leafWeight: 100 } }),
    ],
    [
      "CGROUP_FIELD_UNSUPPORTED linux.resources.memory.swappiness",
      "CGROUP_FIELD_UNSUPPORTED linux.resources.memory.disableOOMKiller",
      "CGROUP_FIELD_UNSUPPORTED linux.resources.cpu.realtimeRuntime",
      "CGROUP_FIELD_UNSUPPORTED linux.resources.network.classID",
      "CGROUP_FIELD_UNSUPPORTED linux.resources.blockIO.leafWeight",
    ],
  );
  const harmless = { memory: { useHierarchy: false, disableOOMKiller: false, kernel: 5, kernelTCP: 6 } };
  assert.deepEqual(planCgroups(makeConfig(harmless), makeHost(V2), "id", STRICT).warnings, [
    "linux.resources.memory.kernelTCP is ignored: cgroup v2 counts TCP buffers towards memory.limit",
    "linux.resources.memory.useHierarchy is ignored: cgroup v2 always counts memory hierarchically",
    "linux.resources.memory.kernel is ignored: since Linux 5.16 kernel memory has no limit of its own: it counts as memory",
  ]);
});

test("planCgroups strict: a limit where no group can be made is an error, no limit is none", () => {
  const none: HostCgroups = { mode: "none", hierarchies: [], writable: false };
  assert.equal(
    refusal(none, { pids: { limit: 5 } }),
    "CGROUP_CONTROLLER_MISSING linux.resources.pids.limit: no control group filesystem is mounted",
  );
  assert.equal(refusal(none, {}), "no error");
  // An ordinary user's devices are restricted by their permissions.
  const user = makeHost({ ...V2, writable: false }, { uid: 1000, privileged: false });
  const devices = makeConfig({ devices: [{ allow: false, access: "rwm" }] }, { cgroupsPath: "" });
  assert.deepEqual(planCgroups(devices, user, "id", STRICT).create, []);
  // A place that is named, as under runc and crun, must be had.
  assert.throws(() => planCgroups(makeConfig({}), user, "id", STRICT), {
    code: "CGROUP_FORBIDDEN",
    field: "linux.cgroupsPath",
  });
});

test("planCgroups strict: a user's group lies in the hierarchies that are given to him; a warning tells who has none and no PID namespace", () => {
  const given = { ...V1, delegated: V1.hierarchies.slice(3, 4) };
  const ordinary = { uid: 1000, privileged: false };
  const change = { cgroupsPath: "/given/c" };
  const { cleanup, join } = planCgroups(makeConfig({}, change), makeHost(given, ordinary), "id", STRICT);
  assert.deepEqual(cleanup, ["/cg/pids/given/c"]);
  assert.deepEqual(
    join.map((step) => step.op === "joinCgroup" && step.path),
    ["/cg/pids/given/c"],
  );
  assert.throws(
    () => planCgroups(makeConfig({ cpu: { shares: 5 } }, change), makeHost(given, ordinary), "id", STRICT),
    {
      code: "CGROUP_CONTROLLER_MISSING",
      field: "linux.resources.cpu.shares",
    },
  );
  const without = (type: string) => {
    const config = makeConfig({}, { cgroupsPath: "", namespaces: [{ type: "pid" }, { type: "user" }] });
    config.linux.namespaces = config.linux.namespaces?.filter((one) => one.type !== type) ?? [];
    return planCgroups(config, makeHost({ ...V1, writable: false }, ordinary), "id", STRICT).warnings.length;
  };
  assert.deepEqual([without("pid"), without("user")], [1, 0]);
});

test("planCgroups strict: a group that is there is taken when it is unused; without cgroupsPath it is /ID", () => {
  assert.deepEqual(stepsOf({ ...V1, hierarchies: V1.hierarchies.slice(2, 3) }, {}, { cgroupsPath: "" }), [
    "makeCgroup /cg/memory/id (may exist unused)",
    "makeCgroup /cg/unified/id (may exist unused)",
  ]);
  assert.deepEqual(stepsOf({ ...V1, hierarchies: V1.hierarchies.slice(2, 3) }, {}, { cgroupsPath: "pod/c" }), [
    "makeCgroup /cg/memory/own/pod/c (may exist unused)",
    "makeCgroup /cg/unified/pod/c (may exist unused)",
  ]);
});

test("planCgroups strict: on v2 all controllers are handed down, those that nobody asked for if possible", () => {
  assert.deepEqual(stepsOf(V2, { cpu: { cpus: "0" } }, { cgroupsPath: "/a/c" }), [
    "/cg/cgroup.subtree_control = +cpu +io +memory +pids +cpuset",
    "makeCgroup /cg/a (may exist)",
    "/cg/a/cgroup.subtree_control = +cpu +io +memory +pids +cpuset",
    "makeCgroup /cg/a/c (may exist unused)",
    "/cg/a/c/cpuset.cpus = 0",
  ]);
  assert.deepEqual(stepsOf(V2, {}), [
    "/cg/cgroup.subtree_control = +cpu +io +memory +pids",
    "/cg/cgroup.subtree_control = +cpuset (refused is fine)",
    "makeCgroup /cg/c (may exist unused)",
  ]);
});

test("planCgroups: with the manager `disabled` there is no group and no error", () => {
  assert.deepEqual(planCgroups(makeConfig({ pids: { limit: 1 } }), makeHost(V1), "id", { manager: "disabled" }), {
    create: [],
    afterClone: [],
    join: [],
    leave: [],
    cleanup: [],
    groups: [],
    warnings: [],
  });
});

test("planCgroups: zero and the empty string are unset, as engines write it", () => {
  const unset: Resources = {
    memory: { limit: 0, swap: 0, reservation: 0, swappiness: 2 ** 64 },
    cpu: { shares: 0, quota: 0, period: 0, realtimePeriod: 0, realtimeRuntime: 0, cpus: "", mems: "" },
    blockIO: { weight: 0, leafWeight: 0, weightDevice: [{ major: 8, minor: 0, weight: 0, leafWeight: 0 }] },
    network: { classID: 0, priorities: [] },
  };
  assert.deepEqual(writesOf(V1, unset), []);
  assert.deepEqual(writesOf(V2, unset), []);
  const values: Resources = { cpu: { burst: 0, idle: 0 }, pids: { limit: 0 }, memory: { swappiness: 0 } };
  assert.deepEqual(writesOf(V1, values), [
    "cpu.cfs_burst_us = 0",
    "cpu.idle = 0",
    "memory.swappiness = 0",
    "pids.max = 1",
  ]);
  // A cpuset that nobody asked for is inherited all the same.
  assert.equal(stepsOf(V1, unset).filter((line) => line === "inheritCgroupValue").length, 2);
});

test("planCgroups: no limit in 64 bits is no limit", () => {
  const resources: Resources = {
    memory: { limit: 9_223_372_036_854_775_807n, reservation: 18_446_744_073_709_551_615n },
    hugepageLimits: [{ pageSize: "2MB", limit: 18_446_744_073_709_551_615n }],
  };
  assert.deepEqual(writesOf(V1, resources), [
    "memory.limit_in_bytes = 9223372036854775807",
    "memory.soft_limit_in_bytes = -1",
    "hugetlb.2MB.rsvd.max = max",
    "hugetlb.2MB.max = max",
  ]);
});

test("memory: no limit takes the swap limit with it; where there is no swap accounting nothing is to do", () => {
  assert.deepEqual(writesOf(V1, { memory: { limit: -1 } }), [
    "memory.limit_in_bytes = -1",
    "memory.memsw.limit_in_bytes = -1 (missing is fine)",
  ]);
  assert.deepEqual(writesOf(V2, { memory: { limit: -1 } }), [
    "memory.max = max",
    "memory.swap.max = max (missing is fine)",
  ]);
  assert.deepEqual(writesOf(V2, { memory: { limit: 5, swap: 5 } }), [
    "memory.max = 5",
    "memory.swap.max = 0 (missing is fine)",
  ]);
  assert.deepEqual(writesOf(V2, { memory: { limit: -1, swap: 7 } }), ["memory.max = max", "memory.swap.max = 7"]);
});

test("delegateCgroup: to the user on the machine, only with a cgroup namespace and a writable cgroup mount", () => {
  const mount = { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw", "nosuid"] };
  const delegation = (change: Partial<Config>, linux: Partial<Config["linux"]>, cgroups = V2): string[] => {
    const config = { ...makeConfig({}, { namespaces: [{ type: "cgroup" }, { type: "user" }], ...linux }), ...change };
    const { create } = planCgroups({ mounts: [mount], ...config }, makeHost(cgroups), "id", STRICT);
    return create.filter(({ op }) => op === "delegateCgroup").map(show);
  };
  const maps = { uidMappings: [{ containerID: 0, hostID: 100_000, size: 1000 }] };
  const process = { user: { uid: 7, gid: 0 }, args: ["true"], cwd: "/" };
  assert.deepEqual(delegation({}, maps), ["delegate /cg/c to 100000"]);
  assert.deepEqual(delegation({ process }, maps), ["delegate /cg/c to 100007"]);
  assert.deepEqual(delegation({ process }, { namespaces: [{ type: "cgroup" }] }), ["delegate /cg/c to 7"]);
  assert.deepEqual(delegation({}, { namespaces: [{ type: "cgroup" }] }), []);
  assert.deepEqual(delegation({ mounts: [{ ...mount, options: ["ro"] }] }, maps), []);
  assert.deepEqual(delegation({ mounts: [] }, maps), []);
  assert.deepEqual(delegation({}, { ...maps, namespaces: [{ type: "user" }] }), []);
  assert.deepEqual(delegation({}, { ...maps, namespaces: [{ type: "cgroup", path: "/x" }, { type: "user" }] }), []);
  assert.deepEqual(delegation({}, maps, V1), []);
});

test("run.oci.delegate-cgroup: a group below the container's, for its root, once it has its namespaces", () => {
  const found = (name: string, linux: Partial<Config["linux"]> = {}, cgroups = V2) =>
    planCgroups({ ...makeConfig({}, linux), annotations: { [DELEGATE]: name } }, makeHost(cgroups), "id", STRICT);
  const own = { op: "delegateBelow", by: "parent", group: "/cg/c", pid: { slot: "init.pid" } };
  const why = {
    field: FIELD,
    because: "the container does with it what it likes; its limits are those of the group above",
  };
  const { into, afterClone, leave, cleanup } = found("a/b");
  assert.deepEqual([into, cleanup, leave.map(show)], ["/cg/c", ["/cg/c"], ["awaitDelegation"]]);
  assert.deepEqual(afterClone, [{ ...own, path: "/cg/c/a/b", ...why }]);
  const maps = (hostID: number) => [{ containerID: 0, hostID, size: 1000 }];
  const mapped = found("payload", { uidMappings: maps(100_000), gidMappings: maps(200_000) });
  assert.deepEqual(mapped.afterClone, [
    { ...own, path: "/cg/c/payload", owner: { uid: 100_000, gid: 200_000 }, ...why },
  ]);
  assert.deepEqual([found("").afterClone, found("").leave], [[], []]);
});

test("run.oci.delegate-cgroup: what is not below the container's group, and what cannot be delegated, is refused", () => {
  const refused = (name: string, cgroups: HostCgroups, options: CgroupOptions = STRICT) => {
    const config = { ...makeConfig({}), annotations: { [DELEGATE]: name } };
    try {
      return planCgroups(config, makeHost(cgroups), "id", options).warnings;
    } catch (error) {
      if (!(error instanceof ContainerError)) throw error;
      return [error.code, error.field, error.message];
    }
  };
  for (const name of ["..", ".", "/", "/a", "../victim", "a/../b", "a/..", "a/", "a//b", "./a"])
    assert.deepEqual(refused(name, V2), [
      "CONFIG_INVALID",
      FIELD,
      `${FIELD} is "${name}": it must name a group below the container's own, such as payload`,
    ]);
  const OLD = "this machine has control groups of version 1, where whoever may make groups could leave the container's";
  const NONE = "no control group filesystem is mounted";
  const none: HostCgroups = { mode: "none", hierarchies: [], writable: false };
  const message = (why: string) => `no control group can be delegated to the container: ${why}`;
  for (const [cgroups, why] of [
    [V1, OLD],
    [none, NONE],
  ] as const) {
    assert.deepEqual(refused("a", cgroups), ["CGROUP_FIELD_UNSUPPORTED", FIELD, message(why)]);
    assert.ok(refused("a", cgroups, {}).includes(`${FIELD} is ignored: ${message(why)}`));
  }
  const disabled = "the container has no control groups of its own (--cgroup-manager disabled)";
  assert.deepEqual(refused("a", V2, { ...STRICT, manager: "disabled" }), [
    "CGROUP_FIELD_UNSUPPORTED",
    FIELD,
    message(disabled),
  ]);
});

test("run.oci.systemd.force_cgroup_v1: a group in the hierarchy name=systemd too, of which the process is no child", () => {
  const systemdV1 = { controllers: ["name=systemd"], mountPoint: "/v1", ownPath: "/own" };
  const maps = [{ containerID: 0, hostID: 100_000, size: 1000 }];
  const found = (annotations: Record<string, string>, linux: Partial<Config["linux"]> = {}) =>
    planCgroups({ ...makeConfig({}, linux), annotations }, makeHost({ ...V2, systemdV1 }), "id", STRICT);
  const annotations = { "run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup" };
  const { into, create, join, cleanup, groups } = found(annotations, { uidMappings: maps });
  const { create: without, ...plain } = found({}, { uidMappings: maps });
  const shown = create.map(show);
  assert.deepEqual(
    shown,
    ["makeCgroup /v1/c (may exist unused)", "delegate /v1/c to 100000", ...without.map(show)].sort(
      (a, b) => shown.indexOf(a) - shown.indexOf(b),
    ),
  );
  assert.deepEqual([into, plain.into], ["/cg/c", "/cg/c"]);
  assert.deepEqual([join.map((step) => "path" in step && step.path), plain.join], [["/v1/c"], []]);
  assert.deepEqual([cleanup, plain.cleanup], [["/cg/c", "/v1/c"], ["/cg/c"]]);
  assert.deepEqual(groups, [
    { controller: "name=systemd", path: "/v1/c" },
    { controller: "unified", path: "/cg/c" },
  ]);
});

test("devices strict: /dev/net/tun is allowed too", () => {
  const lines = writesOf(V1, { devices: [{ allow: false, access: "rwm" }] });
  assert.deepEqual([lines[0], lines.at(-1), lines.length], ["devices.deny = a", "devices.allow = c 10:200 rwm", 13]);
});

test("devices strict: without rules a container has what every container has, and that is no error where it cannot be", () => {
  const none: Resources = {};
  const lines = (resources: Resources, cgroups: HostCgroups) =>
    stepsOf(cgroups, {}, { resources }).filter((line) => /devices\.|Device/.test(line));
  assert.deepEqual(lines(none, V1).slice(0, 2), [
    "/cg/devices/c/devices.deny = a",
    "/cg/devices/c/devices.allow = c *:* m",
  ]);
  assert.deepEqual(lines({ devices: [] }, V2), ["attachDeviceProgram"]);
  const without = { ...V1, hierarchies: V1.hierarchies.slice(0, 2) };
  const { unified: __, ...noTree } = without;
  assert.deepEqual(lines(none, noTree), []);
  assert.equal(
    refusal(noTree, { devices: [{ allow: false, access: "rwm" }] }),
    "CGROUP_CONTROLLER_MISSING linux.resources.devices: this machine's control groups have no devices controller",
  );
});

test("planCgroups: where our own group is what is delegated, its processes make room first", () => {
  const path = "/app.slice/run-1.scope";
  const unified = { mountPoint: "/cg", ownPath: path, base: path, controllers: ["pids"] };
  const host = makeHost({ ...V2, unified }, { uid: 1000, privileged: false });
  const { create, into } = planCgroups(makeConfig({ pids: { limit: 5 } }, { cgroupsPath: "c" }), host, "a");
  assert.deepEqual(create.slice(0, 1), [
    {
      op: "vacateCgroup",
      by: "parent",
      path: `/cg${path}`,
      into: `/cg${path}/tupper-callers`,
      because:
        "a group of cgroup v2 that has processes in it, and is not the machine's root, hands no controllers down",
    },
  ]);
  assert.deepEqual(create.slice(1).map(show), [
    `/cg${path}/cgroup.subtree_control = +pids`,
    `makeCgroup /cg${path}/c`,
    `/cg${path}/c/pids.max = 5`,
  ]);
  assert.equal(into, `/cg${path}/c`);
});
