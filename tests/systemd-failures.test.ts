/**
 * `tupper-runtime --systemd-cgroup` where systemd is absent, slow, restarted or says no. A stand-in plays systemd; how the real
 * one is spoken to, systemd.test.ts shows.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type ConfigChange,
  makeBundle,
  makeConfig,
  newId,
  runtime,
  runtimeFails,
  runtimePrints,
  stateOf,
} from "./bundle.ts";
import { atEnd, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { type Call, countingTrees, StandIn } from "./stand-in-systemd.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = {
  skip:
    missing("root", "cgroup1", "package:busybox-static") ||
    (countingTrees().length === 0 && "missing: a hierarchy for systemd"),
};

const MIB = 1_048_576;
const SLICE = "tupper.slice";

interface Attempt {
  id: string;
  unit: string;
  systemd: StandIn;
  create: string[];
  env: NodeJS.ProcessEnv;
}

async function attempt(change: ConfigChange = {}): Promise<Attempt> {
  const systemd = await StandIn.start();
  const id = newId();
  const unit = `tupper-${id}.scope`;
  const config = makeConfig(root, { ...change, linux: { cgroupsPath: `${SLICE}:tupper:${id}`, ...change.linux } });
  // systemd keeps its slices, and so does what plays it.
  atEnd(() => output("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-name", "tupper*.slice", "-delete"));
  atEnd(() => runtime(["delete", "--force", id], { env: systemd.env }));
  return {
    id,
    unit,
    systemd,
    create: ["--systemd-cgroup", "create", "--bundle", makeBundle(config), id],
    env: systemd.env,
  };
}

/** Nothing of it is left: no record, process, unit. (Groups the harness looks for.) */
async function isGone({ id, systemd, env }: Attempt): Promise<void> {
  assert.deepEqual(systemd.units, []);
  assert.equal(await runtimeFails(["state", id], { env }), `CONTAINER_UNKNOWN: container ${id} does not exist`);
}

const propertiesOf = (call: Call | undefined, at = 2) => new Map(call?.body[at] as [string, unknown][]);

test("create, delete: what is said to the bus, in which order", needs, async () => {
  const { id, unit, systemd, create, env } = await attempt({
    resources: { memory: { limit: 64 * MIB }, pids: { limit: 20 }, devices: [{ allow: false, access: "rwm" }] },
    annotations: {
      "org.systemd.property.TimeoutStopSec": "uint64 3",
      "org.systemd.property.CollectMode": "'inactive'",
    },
  });
  await runtimePrints(create, { env });
  assert.deepEqual(systemd.auth, ["AUTH EXTERNAL 30", "BEGIN"]);
  assert.deepEqual(systemd.members, ["Hello", "AddMatch", "StartTransientUnit"]);
  const [, match, start] = systemd.calls;
  assert.deepEqual(match?.body, [
    `type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved',path='/org/freedesktop/systemd1',arg2='${unit}'`,
  ]);
  assert.equal(start?.signature, "ssa(sv)a(sa(sv))");
  assert.deepEqual(start?.body.slice(0, 2), [unit, "fail"]);
  const properties = propertiesOf(start);
  const { pid } = await stateOf(id);
  assert.deepEqual(properties.get("PIDs"), [pid]);
  for (const [name, value] of [
    ["Slice", SLICE],
    ["Delegate", true],
    ["DefaultDependencies", false],
    ["Description", `tupper container ${id}`],
    ["CollectMode", "inactive"],
    ["TimeoutStopUSec", 3_000_000n],
    ["MemoryMax", BigInt(64 * MIB)],
    ["TasksMax", 20n],
    ["DevicePolicy", "strict"],
  ] as const)
    assert.deepEqual(properties.get(name), value, name);
  const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  for (const controller of ["memory", "pids", "devices", "name=systemd"])
    assert.match(groups, new RegExp(`:${controller}:/${SLICE}/${unit}$`, "m"));
  assert.equal(
    readFileSync(`/sys/fs/cgroup/memory/${SLICE}/${unit}/memory.limit_in_bytes`, "utf8").trim(),
    String(64 * MIB),
  );
  systemd.calls.length = 0;
  await runtimePrints(["delete", "--force", id], { env });
  assert.deepEqual(systemd.members, ["Hello", "AddMatch", "StopUnit", "ResetFailedUnit"]);
  assert.deepEqual(systemd.calls[2]?.body, [unit, "replace"]);
  assert.deepEqual(systemd.calls[3]?.body, [unit]);
});

test("create: without systemd an error that says where it was looked for", needs, async () => {
  const { id, create } = await attempt();
  const bus = join(temporaryDirectory(), "bus");
  const { stderr, code } = await runtime(create, { env: { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}` } });
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^error: there is no systemd at ${bus} \\(SYSTEMD_MISSING\\)$`, "m"));
  assert.match(stderr, /hint: .*leave --systemd-cgroup out/);
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN/);
});

test("create: a bus without systemd on it is no systemd", needs, async () => {
  const tried = await attempt();
  tried.systemd.answer = ({ member }) =>
    member === "StartTransientUnit"
      ? { error: "org.freedesktop.DBus.Error.ServiceUnknown", message: "The name is not activatable" }
      : undefined;
  assert.match(await runtimeFails(tried.create, { env: tried.env }), /^SYSTEMD_MISSING: there is no systemd at /);
  await isGone(tried);
});

test("create: a bus that does not let us in", needs, async () => {
  const tried = await attempt();
  tried.systemd.letsIn = false;
  assert.match(
    await runtimeFails(tried.create, { env: tried.env }),
    /^SYSTEMD_REFUSED: .*does not let us in: REJECTED/,
  );
  await isGone(tried);
});

test(
  "create: systemd that does not answer in time is named with the unit, and the unit is taken back",
  needs,
  async () => {
    const tried = await attempt();
    const env = { ...tried.env, SYSTEMD_BUS_TIMEOUT: "300ms" };
    for (const silent of ["StartTransientUnit", "Hello"]) {
      tried.systemd.calls.length = 0;
      tried.systemd.answer = ({ member }) => (member === silent || silent === "Hello" ? "silence" : undefined);
      const began = Date.now();
      assert.equal(
        await runtimeFails(tried.create, { env }),
        `SYSTEMD_SLOW: systemd did not start ${tried.unit} within 0.3 s`,
      );
      assert.ok(Date.now() - began < 5000);
      assert.equal(tried.systemd.members.at(-1), "StopUnit");
      await isGone(tried);
    }
  },
);

test("create: a job that does not end in time", needs, async () => {
  const tried = await attempt();
  tried.systemd.result = undefined;
  const env = { ...tried.env, SYSTEMD_BUS_TIMEOUT: "0.3" };
  assert.match(await runtimeFails(tried.create, { env }), /^SYSTEMD_SLOW: /);
  assert.equal(tried.systemd.members.at(-1), "StopUnit");
  await isGone(tried);
});

test("create: a bus that has something else to say without end, to a call or before it lets us in", needs, async () => {
  const tried = await attempt();
  tried.systemd.answer = ({ member }) => (member === "StartTransientUnit" ? "endless signals" : undefined);
  const env = { ...tried.env, SYSTEMD_BUS_TIMEOUT: "0.3" };
  assert.match(await runtimeFails(tried.create, { env }), /^SYSTEMD_SLOW: /);
  tried.systemd.greeting = "OK, but ".repeat(100);
  assert.match(await runtimeFails(tried.create, { env }), /^SYSTEMD_REFUSED: .* it does not let us in: OK, but /);
  tried.systemd.greeting = "OK\r\nand no D-Bus from here on";
  assert.match(
    await runtimeFails(tried.create, { env }),
    /^SYSTEMD_REFUSED: .*: what it says is no message of D-Bus: /,
  );
  await isGone(tried);
});

test("create: a job that fails", needs, async () => {
  const tried = await attempt();
  tried.systemd.result = "failed";
  assert.equal(
    await runtimeFails(tried.create, { env: tried.env }),
    `SYSTEMD_FAILED: systemd could not start ${tried.unit}: failed`,
  );
  assert.ok(tried.systemd.members.includes("ResetFailedUnit"));
  await isGone(tried);
});

test("create: what systemd refuses, in its own words", needs, async () => {
  const tried = await attempt();
  tried.systemd.answer = ({ member }) =>
    member === "StartTransientUnit"
      ? { error: "org.freedesktop.DBus.Error.AccessDenied", message: "Permission denied" }
      : undefined;
  assert.equal(
    await runtimeFails(tried.create, { env: tried.env }),
    `SYSTEMD_REFUSED: systemd refuses to start ${tried.unit}: Permission denied`,
  );
  await isGone(tried);
});

test("create: a failed unit of the name is forgotten; one that is in use is an error", needs, async () => {
  const tried = await attempt();
  let failed = true;
  const exists = { error: "org.freedesktop.systemd1.UnitExists", message: `Unit ${tried.unit} was already loaded` };
  tried.systemd.answer = ({ member }) => {
    if (member === "ResetFailedUnit") failed = false;
    return member === "StartTransientUnit" && failed ? exists : undefined;
  };
  await runtimePrints(tried.create, { env: tried.env });
  assert.deepEqual(tried.systemd.members.slice(2), ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
  await runtimePrints(["delete", "--force", tried.id], { env: tried.env });

  tried.systemd.answer = ({ member }) => (member === "StartTransientUnit" ? exists : undefined);
  tried.systemd.calls.length = 0;
  assert.match(await runtimeFails(tried.create, { env: tried.env }), /^SYSTEMD_REFUSED: .*already loaded$/);
  assert.ok(!tried.systemd.members.includes("StopUnit"), "somebody else's unit was stopped");
  await isGone(tried);
});

test("create: a property that an older systemd does not know is left out, the file has the value", needs, async () => {
  const tried = await attempt({ resources: { pids: { limit: 20 } } });
  tried.systemd.answer = ({ member, body }) =>
    member === "StartTransientUnit" &&
    JSON.stringify(body, (_, v) => (typeof v === "bigint" ? `${v}` : v)).includes("TasksMax")
      ? {
          error: "org.freedesktop.DBus.Error.PropertyReadOnly",
          message: "Cannot set property TasksMax, or unknown property.",
        }
      : undefined;
  await runtimePrints(tried.create, { env: tried.env });
  assert.equal(propertiesOf(tried.systemd.calls.at(-1)).has("TasksMax"), false);
  assert.equal(readFileSync(`/sys/fs/cgroup/pids/${SLICE}/${tried.unit}/pids.max`, "utf8").trim(), "20");
});

test("create: a property of an annotation that systemd does not know is an error", needs, async () => {
  const tried = await attempt({ annotations: { "org.systemd.property.Nonsense": "true" } });
  tried.systemd.answer = ({ member }) =>
    member === "StartTransientUnit"
      ? {
          error: "org.freedesktop.DBus.Error.PropertyReadOnly",
          message: "Cannot set property Nonsense, or unknown property.",
        }
      : undefined;
  assert.match(await runtimeFails(tried.create, { env: tried.env }), /^SYSTEMD_REFUSED: .*Nonsense/);
  await isGone(tried);
});

test("create: systemd is executed anew while it makes the unit, before or after it was made", needs, async () => {
  for (const made of [false, true]) {
    const tried = await attempt();
    const { systemd, unit } = tried;
    systemd.answer = ({ member, body }, connection) => {
      if (member === "GetUnitByPID") {
        const path = unit.replace(/[^a-z\d]/g, (c) => `_${c.charCodeAt(0).toString(16)}`);
        return made
          ? { returns: ["o", `/org/freedesktop/systemd1/unit/${path}`] }
          : { error: "org.freedesktop.systemd1.NoUnitForPID", message: "no unit" };
      }
      if (member !== "StartTransientUnit" || connection > 1) return undefined;
      if (made) systemd.makeScope(unit, SLICE, propertiesOf({ body } as Call).get("PIDs") as number[]);
      return "close";
    };
    await runtimePrints(tried.create, { env: tried.env });
    const asked = ["Hello", "AddMatch", "StartTransientUnit", "Hello", "GetUnitByPID"];
    assert.deepEqual(systemd.members, made ? asked : [...asked, "AddMatch", "StartTransientUnit"]);
    assert.deepEqual(systemd.units, [unit]);
    await runtimePrints(["delete", "--force", tried.id], { env: tried.env });
    await isGone(tried);
  }
});

test("create: the signal of a job's end is lost, but the process is in its unit", needs, async () => {
  const tried = await attempt();
  tried.systemd.result = undefined;
  tried.systemd.answer = ({ member }) => {
    const path = tried.unit.replace(/[^a-z\d]/g, (c) => `_${c.charCodeAt(0).toString(16)}`);
    return member === "GetUnitByPID" ? { returns: ["o", `/org/freedesktop/systemd1/unit/${path}`] } : undefined;
  };
  await runtimePrints(tried.create, { env: tried.env });
  tried.systemd.result = "done";
});

test("create: what fails after the unit was made takes it back", needs, async () => {
  const hook = { path: "/bin/false" };
  for (const [change, code] of [
    [{ args: ["/no/such/command"] }, "COMMAND_NOT_FOUND"],
    [{ hooks: { createRuntime: [hook] } }, "HOOK_FAILED"],
    [{ resources: { memory: { limit: 64 * MIB, swap: 64 * MIB }, cpu: { cpus: "4000" } } }, "CGROUP_VALUE_REFUSED"],
  ] as const) {
    const tried = await attempt(structuredClone(change) as ConfigChange);
    assert.match(await runtimeFails(tried.create, { env: tried.env }), new RegExp(`^${code}: `));
    assert.deepEqual(tried.systemd.members.slice(3), ["AddMatch", "StopUnit", "ResetFailedUnit"]);
    await isGone(tried);
  }
});

test("create: a unit that lies elsewhere than its name says is taken back", needs, async () => {
  const tried = await attempt();
  const { systemd, unit } = tried;
  systemd.answer = ({ member, body }) => {
    if (member !== "StartTransientUnit") return undefined;
    systemd.makeScope(unit, "tupper-other.slice", propertiesOf({ body } as Call).get("PIDs") as number[]);
    return { returns: ["o", "/job"], afterwards: () => systemd.jobRemoved("/job", unit, "done") };
  };
  assert.match(await runtimeFails(tried.create, { env: tried.env }), /^SYSTEMD_ELSEWHERE: /);
  await isGone(tried);
});

test(
  "create: cgroupsPath of another form, and annotations that are no GVariant, are refused before anything is made",
  needs,
  async () => {
    for (const [change, code] of [
      [{ linux: { cgroupsPath: "/tupper/a" } }, "CGROUP_UNIT_INVALID"],
      [{ annotations: { "org.systemd.property.Wants": "a b" } }, "SYSTEMD_PROPERTY"],
    ] as const) {
      const tried = await attempt(structuredClone(change) as ConfigChange);
      assert.match(await runtimeFails(tried.create, { env: tried.env }), new RegExp(`^${code}: `));
      assert.ok(!tried.systemd.members.includes("StartTransientUnit"));
      await isGone(tried);
    }
  },
);

test(
  "delete: without systemd, or when it does not answer, the container goes all the same, with a warning",
  needs,
  async () => {
    for (const how of ["gone", "slow"]) {
      const tried = await attempt();
      await runtimePrints(tried.create, { env: tried.env });
      if (how === "gone") tried.systemd.stop();
      else tried.systemd.answer = () => "silence";
      const env = { ...tried.env, SYSTEMD_BUS_TIMEOUT: "300ms" };
      const { stderr, code } = await runtime(["delete", "--force", tried.id], { env });
      assert.match(stderr, /^warning: (there is no systemd at|systemd did not stop tupper-.*\.scope within 0\.3 s)/);
      assert.equal(code, 0);
      assert.match(await runtimeFails(["state", tried.id]), /^CONTAINER_UNKNOWN/);
      assert.ok(!existsSync(`/sys/fs/cgroup/memory/${SLICE}/${tried.unit}`));
    }
  },
);

test(
  "update: systemd hears the limits that it keeps; when a file takes no value it hears the old ones again",
  needs,
  async () => {
    const { id, unit, systemd, create, env } = await attempt({
      resources: { memory: { limit: 64 * MIB }, pids: { limit: 20 } },
    });
    await runtimePrints(create, { env });
    systemd.calls.length = 0;
    await runtimePrints(["update", "--memory", String(32 * MIB), "--pids-limit", "-1", id], { env });
    assert.deepEqual(systemd.members, ["Hello", "SetUnitProperties"]);
    const [, set] = systemd.calls;
    assert.equal(set?.signature, "sba(sv)");
    assert.deepEqual(set?.body, [
      unit,
      true,
      [
        ["MemoryMax", BigInt(32 * MIB)],
        ["TasksMax", 2n ** 64n - 1n],
      ],
    ]);
    const group = (controller: string, file: string) =>
      readFileSync(`/sys/fs/cgroup/${controller}/${SLICE}/${unit}/${file}`, "utf8").trim();
    assert.deepEqual([group("memory", "memory.limit_in_bytes"), group("pids", "pids.max")], [String(32 * MIB), "max"]);
    assert.equal(group("freezer", "freezer.state"), "THAWED");

    systemd.calls.length = 0;
    const failed = await runtimeFails(["update", "--memory", String(16 * MIB), "--cpuset-cpus", "4000", id], { env });
    assert.match(failed, /^CGROUP_/);
    assert.deepEqual(systemd.members, ["Hello", "SetUnitProperties", "SetUnitProperties"]);
    assert.deepEqual(systemd.calls.at(-1)?.body[2], [["MemoryMax", BigInt(32 * MIB)]]);
    assert.equal(group("memory", "memory.limit_in_bytes"), String(32 * MIB));

    systemd.answer = ({ member }) =>
      member === "SetUnitProperties" ? { error: "org.freedesktop.DBus.Error.InvalidArgs", message: "no" } : undefined;
    const refused = await runtimeFails(["update", "--memory", String(16 * MIB), id], { env });
    assert.equal(refused, `SYSTEMD_REFUSED: systemd refuses to change ${unit}: no`);
    assert.equal(group("memory", "memory.limit_in_bytes"), String(32 * MIB));
  },
);

test("cgroupfs: systemd is not spoken to", needs, async () => {
  const { systemd, env } = await attempt();
  const config = makeConfig(root, { args: ["true"] });
  assert.equal((await runtime(["run", "--bundle", makeBundle(config), newId()], { env })).code, 0);
  assert.deepEqual([systemd.auth, systemd.calls], [[], []]);
  assert.ok(readdirSync("/sys/fs/cgroup").length > 0);
});
