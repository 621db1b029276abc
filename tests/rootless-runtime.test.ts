/** tupper-runtime as an ordinary user: every command, what a user namespace forbids, and who has no control groups. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config, Namespace } from "../src/spec/config.ts";
import { makeBundle, makeConfig, newId, type RuntimeOptions, runtime, runtimeFails, runtimePrints } from "./bundle.ts";
import { atEnd, eventually, output, type User, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const root = sharedRootfs();
const needs = { skip: missing("root", "package:passwd", "package:busybox-static") };
const needsMap = { skip: needs.skip || missing("package:uidmap", "file:/etc/subuid") };
const needsV1 = { skip: needs.skip || missing("cgroup1") };

const TYPES = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"] as const;
const namespaces = (...without: string[]): Namespace[] =>
  TYPES.filter((type) => !without.includes(type)).map((type) => ({ type }));

/** Nothing of the machine's is asked for; `user` has no map. */
function config(script: string, change: Parameters<typeof makeConfig>[1] = {}, ...without: string[]): Config {
  const made = makeConfig(root, {
    args: ["sh", "-c", script],
    ...change,
    linux: { namespaces: namespaces(...without), ...change.linux },
  });
  if (change.resources === undefined) delete made.linux.resources;
  return made;
}

/** What it prints as this user, without a warning. */
const shows = (user: User, made: Config, options: RuntimeOptions = {}) =>
  runtimePrints(["run", "--bundle", makeBundle(made), newId()], { user, ...options });

const refused = (user: User, made: Config, options: RuntimeOptions = {}) =>
  runtimeFails(["run", "--bundle", makeBundle(made), newId()], { user, ...options });

/** A running container of the user's. */
async function started(user: User, made: Config, env?: NodeJS.ProcessEnv): Promise<string> {
  const id = newId();
  const as = { user, ...(env === undefined ? {} : { env }) };
  atEnd(() => runtime(["delete", "--force", id], as));
  await runtimePrints(["create", "--bundle", makeBundle(made), id], as);
  await runtimePrints(["start", id], as);
  return id;
}

const state = async (user: User, id: string) =>
  JSON.parse(await runtimePrints(["state", id], { user })) as { status: string; owner: string; pid: number };

const SLEEPS = "trap 'exit 0' TERM; sleep 600 & sleep 600 & wait";

test("create, state, start, exec, list, ps, kill, delete as an ordinary user", needsMap, async () => {
  const { user } = users;
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id], { user }));
  await runtimePrints(["create", "--bundle", makeBundle(config(SLEEPS)), id], { user });
  assert.deepEqual(await state(user, id).then(({ status, owner }) => [status, owner]), ["created", user.name]);
  await runtimePrints(["start", id], { user });
  assert.equal(await runtimePrints(["exec", id, "id", "-u"], { user }), "0\n");
  assert.equal(await runtimePrints(["list", "--quiet"], { user }), `${id}\n`);
  await runtimePrints(["kill", id, "KILL"], { user });
  await eventually("it has stopped", async () => (await state(user, id)).status === "stopped");
  await runtimePrints(["delete", id], { user });
  assert.equal(await runtimePrints(["list", "--quiet"], { user }), "");
});

test(
  "create as an ordinary user: the record is in XDG_RUNTIME_DIR, else in /tmp, for nobody else to read",
  needs,
  async () => {
    const { bare: user } = users;
    const id = await started(user, config(SLEEPS));
    const place = `/tmp/tupper-runtime-${user.uid}`;
    atEnd(() => rmSync(place, { recursive: true, force: true }));
    const other = await started(user, config(SLEEPS), { XDG_RUNTIME_DIR: undefined });
    for (const [directory, name] of [
      [join(user.home, "tupper-runtime"), id],
      [place, other],
    ] as const) {
      assert.deepEqual(readdirSync(directory), [name]);
      const { uid, mode } = statSync(directory);
      assert.deepEqual([uid, mode & 0o066], [user.uid, 0]);
    }
    await runtimePrints(["delete", "--force", other], { user, env: { XDG_RUNTIME_DIR: undefined } });
    // The directory may be there: other suites are root's.
    const ofRoot = existsSync("/run/tupper-runtime") ? readdirSync("/run/tupper-runtime") : [];
    assert.deepEqual([ofRoot.includes(id), ofRoot.includes(other)], [false, false]);
  },
);

test(
  "run of a config without a user namespace, or without its maps: an ordinary user is its root",
  needsMap,
  async () => {
    const script = "id -u; readlink /proc/self/ns/user; cat /proc/self/uid_map";
    for (const without of [[], ["user"]]) {
      const [id, link, first, second] = (await shows(users.user, config(script, {}, ...without))).split("\n");
      assert.equal(id, "0");
      assert.notEqual(link, output("readlink", "/proc/self/ns/user").trim());
      assert.deepEqual(first?.trim().split(/ +/).map(Number), [0, users.user.uid, 1]);
      assert.ok(Number(second?.trim().split(/ +/)[2]) >= 65_535, second);
    }
    const single = await shows(users.bare, config("cat /proc/self/uid_map", {}, "user"));
    assert.deepEqual(single.trim().split(/ +/).map(Number), [0, users.bare.uid, 1]);
  },
);

test("exec into a container whose config names no user namespace joins the one that it got", needsMap, async () => {
  const id = await started(users.user, config(SLEEPS, {}, "user"));
  const script = "test $(readlink /proc/1/ns/user) = $(readlink /proc/self/ns/user) && id -u";
  assert.equal(await runtimePrints(["exec", id, "sh", "-c", script], { user: users.user }), "0\n");
});

test("spec --rootless: its config runs as it is", needs, async () => {
  const directory = makeBundle({});
  rmSync(join(directory, "config.json"));
  output("chown", String(users.bare.uid), directory);
  const as = { user: users.bare, cwd: directory };
  await runtimePrints(["spec", "--rootless"], as);
  const file = join(directory, "config.json");
  const made = JSON.parse(readFileSync(file, "utf8")) as Config;
  const process = { ...made.process, terminal: false, args: ["id", "-u"] };
  writeFileSync(file, JSON.stringify({ ...made, root: { ...made.root, path: root }, process }));
  assert.equal(await runtimePrints(["run", newId()], as), "0\n");
});

test("features as an ordinary user", needs, async () => {
  assert.match(await runtimePrints(["features"], { user: users.bare }), /"ociVersionMin"/);
});

test("ps, kill --all of a container without control groups: the processes of its PID namespace", needsV1, async () => {
  const { bare: user } = users;
  const id = await started(user, config("trap '' TERM; sleep 600 & sleep 600 & wait; wait; sleep 600"));
  const pids = async () => JSON.parse(await runtimePrints(["ps", "--format", "json", id], { user })) as number[];
  await eventually("shell and two sleeps", async () => (await pids()).length === 3);
  const { pid } = await state(user, id);
  assert.equal((await pids())[0], pid);
  assert.match(await runtimePrints(["ps", id], { user }), new RegExp(`^\\S+ +${pid} `, "m"));
  await runtimePrints(["kill", "--all", id, "TERM"], { user });
  // The shell ignores it, those that it has made inherit that: the signal has reached nobody who minds.
  assert.equal((await pids()).length, 3);
  await runtimePrints(["kill", "--all", id, "KILL"], { user });
  await eventually("it has stopped", async () => (await state(user, id)).status === "stopped");
  assert.deepEqual(await pids(), []);
});

test("kill --all of a container without control groups reaches every process", needsV1, async () => {
  const { bare: user } = users;
  const id = await started(user, config("sleep 600 & sleep 601 & exec sleep 602"));
  const pids = async () => JSON.parse(await runtimePrints(["ps", "--format", "json", id], { user })) as number[];
  await eventually("three sleeps", async () => (await pids()).length === 3);
  await runtimePrints(["kill", "--all", id, "TERM"], { user });
  // To the first process of a PID namespace a signal without a handler means nothing.
  await eventually("one is left", async () => (await pids()).length === 1);
});

test("pause, update, events of a container without control groups: refused with how to get some", needsV1, async () => {
  const { bare: user } = users;
  const id = await started(user, config(SLEEPS));
  for (const args of [
    ["pause", id],
    ["update", "--memory", "64000000", id],
    ["events", "--stats", id],
  ]) {
    const { stdout, stderr, code } = await runtime(args, { user });
    assert.deepEqual([stdout, code], ["", 1]);
    assert.match(stderr, /^error: container \S+ has no control group, and so cannot be \w+ \(CGROUP_MISSING\)$/m);
    assert.match(stderr, /systemd-run --user --scope --property=Delegate=yes/);
  }
  assert.equal((await state(user, id)).status, "running");
});

test(
  "run with limits and without control groups: an error that names the field; without limits none",
  needsV1,
  async () => {
    assert.match(
      await refused(users.bare, config("true", { resources: { memory: { limit: 64_000_000 } } })),
      /^CGROUP_CONTROLLER_MISSING: .*version 1.*root/,
    );
    assert.match(
      await refused(users.bare, config("true", { linux: { namespaces: namespaces(), cgroupsPath: "/box" } })),
      /^CGROUP_FORBIDDEN: /,
    );
    // Rules for devices change nothing for who can make none.
    await shows(users.bare, config("true", { resources: { devices: [{ allow: false, access: "rwm" }] } }));
  },
);

test("create below directories of cgroup v1 that are given to a user: limits, exec, ps, pause, update, delete; no more is made", {
  skip: needsV1.skip || missing("cgroup:memory", "cgroup:pids", "cgroup:freezer", "cgroup:cpu"),
}, async () => {
  const { bare: user } = users;
  const top = `tupper-given-${process.pid}`;
  const given = ["memory", "pids", "freezer"].map((name) => `/sys/fs/cgroup/${name}/${top}`);
  for (const directory of given) {
    mkdirSync(directory);
    atEnd(() => rmdirSync(directory));
    chownSync(directory, user.uid, user.gid);
  }
  const id = newId();
  const cgroupsPath = `/${top}/${id}`;
  const file = (controller: string, name: string) => `/sys/fs/cgroup/${controller}${cgroupsPath}/${name}`;
  const read = (controller: string, name: string) => readFileSync(file(controller, name), "utf8").trim();
  const resources = { memory: { limit: 67_108_864 }, pids: { limit: 20 } };
  const made = config(SLEEPS, { resources, linux: { namespaces: namespaces(), cgroupsPath } });
  atEnd(() => runtime(["delete", "--force", id], { user }));
  await runtimePrints(["create", "--bundle", makeBundle(made), id], { user });
  assert.deepEqual([read("memory", "memory.limit_in_bytes"), read("pids", "pids.max")], ["67108864", "20"]);
  await runtimePrints(["start", id], { user });
  const { pid } = await state(user, id);
  const groups = (of: number | "self") =>
    readFileSync(`/proc/${of}/cgroup`, "utf8")
      .split("\n")
      .sort((a, b) => a.localeCompare(b));
  const isGiven = (line: string) => /:(memory|pids|freezer):/.test(line);
  assert.deepEqual(
    groups(pid),
    groups("self").map((line) => (isGiven(line) ? `${line.slice(0, line.lastIndexOf(":"))}:${cgroupsPath}` : line)),
  );
  const inside = await runtimePrints(["exec", id, "cat", "/proc/self/cgroup"], { user });
  assert.deepEqual(
    inside
      .split("\n")
      .filter(isGiven)
      .map((line) => line.slice(line.lastIndexOf(":"))),
    [":/", ":/", ":/"],
  );
  await eventually(
    "shell and two sleeps",
    async () => (await runtimePrints(["ps", "-f", "json", id], { user })).split(",").length === 3,
  );
  await runtimePrints(["pause", id], { user });
  assert.deepEqual([read("freezer", "freezer.state"), (await state(user, id)).status], ["FROZEN", "paused"]);
  await runtimePrints(["resume", id], { user });
  await runtimePrints(["update", "--pids-limit", "30", id], { user });
  assert.equal(read("pids", "pids.max"), "30");
  // What is not given is not his.
  const elsewhere = { namespaces: namespaces(), cgroupsPath: `/${top}-not/x` };
  assert.match(await refused(user, config("true", { linux: elsewhere })), /^CGROUP_FORBIDDEN: /);
  const cpu = config("true", {
    resources: { cpu: { quota: 5000 } },
    linux: { ...elsewhere, cgroupsPath: `/${top}/x` },
  });
  assert.match(await refused(user, cpu), /^CGROUP_CONTROLLER_MISSING: .*cpu/);
  await runtimePrints(["delete", "--force", id], { user });
  assert.deepEqual(
    given.filter((directory) => readdirSync(directory, { withFileTypes: true }).some((entry) => entry.isDirectory())),
    [],
  );
});

test("run: ids and groups that the user namespace does not have are refused by their field", needs, async () => {
  const own = [{ containerID: 0, hostID: users.bare.uid, size: 1 }];
  const linux = { namespaces: namespaces(), uidMappings: own, gidMappings: own };
  const as = (user: Partial<Config["process"]["user"]>) =>
    config("true", { linux, process: { user: { uid: 0, gid: 0, ...user } } });
  assert.match(await refused(users.bare, as({ uid: 5 })), /^CONFIG_CONFLICT: process\.user\.uid is 5/);
  assert.match(await refused(users.bare, as({ additionalGids: [5] })), /additionalGids\[0\] is 5/);
});

test(
  "run as an ordinary user: gid=5 of devpts and owners of a tmpfs that nothing maps are left out",
  needs,
  async () => {
    const directory = makeRootfs();
    output("chown", "-R", `${users.bare.uid}:${users.bare.gid}`, directory);
    const mounts = [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "gid=5", "mode=620"] },
      { destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["uid=1000", "gid=0"] },
    ];
    const made = config("stat -c %g /dev/pts/ptmx; stat -c %u:%g /mnt", { mounts, root: { path: directory } });
    const { stdout, stderr, code } = await runtime(["run", "--bundle", makeBundle(made), newId()], {
      user: users.bare,
    });
    assert.deepEqual({ stdout, code }, { stdout: "0\n0:0\n", code: 0 }, stderr);
    assert.match(stderr, /^warning: mounts\[2\]\.options: uid=1000 is left out, .*\n$/);
  },
);

test(
  "run as an ordinary user: with the machine's PID and network namespaces its /proc and /sys are shown, with a warning that nobody finds all its processes",
  needs,
  async () => {
    const script = `test -d /proc/${process.pid} && echo proc; ls /sys/class/net; grep -c ' /sys .*ro,' /proc/self/mountinfo; echo x 2>/dev/null >/sys/kernel/profiling || echo closed`;
    const made = config(script, {}, "pid", "network");
    const { stdout, stderr } = await runtime(["run", "--bundle", makeBundle(made), newId()], { user: users.bare });
    const devices = readdirSync("/sys/class/net").sort().join("\n");
    assert.equal(stdout, `proc\n${devices}\n1\nclosed\n`, stderr);
    assert.match(stderr, /^warning: the container has neither control groups nor a PID namespace: .*\n$/);
  },
);

test("run as an ordinary user: with the machine's IPC namespace its message queues are shown", needs, async () => {
  const mounts = [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  ];
  if (existsSync("/dev/mqueue")) {
    assert.equal(await shows(users.bare, config("ls -d /dev/mqueue", { mounts }, "ipc")), "/dev/mqueue\n");
  } else {
    assert.match(
      await refused(users.bare, config("true", { mounts }, "ipc")),
      /^MOUNT_FAILED: cannot make a filesystem mqueue/,
    );
  }
});

const NESTED_MOUNTS = [
  { destination: "/proc", type: "proc", source: "proc" },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] },
  { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "gid=5"] },
];

test("run as root of a user namespace that the user has made, with one id and with many", needsMap, async () => {
  const made = config("id -u", { mounts: NESTED_MOUNTS }, "user");
  made.process.user.additionalGids = [];
  for (const flags of ["-Ur", "-Urm"])
    for (const more of [[], ["--map-auto"]])
      assert.equal(await shows(users.user, made, { prefix: ["unshare", flags, ...more] }), "0\n");
});

test("exec as root of a user namespace, who may not join the machine's PID namespace again", needsMap, async () => {
  const id = newId();
  const script = `"$@" --detach </dev/null >/dev/null 2>&1; "$1" exec ${id} id -u; "$1" delete --force ${id}`;
  const prefix = ["unshare", "-Urm", "--map-auto", "sh", "-c", script, "sh"];
  const made = config(SLEEPS, { mounts: NESTED_MOUNTS }, "user");
  made.process.user.additionalGids = [];
  const bundle = makeBundle(made);
  assert.equal(
    await runtimePrints(["run", "--bundle", bundle, id], { user: users.user, prefix, isDirect: true }),
    "0\n",
  );
});

test(
  "update, run of limits by root of a user namespace: control groups that it may not write are no error without limits",
  needsV1,
  async () => {
    const prefix = ["unshare", "-Ur"];
    const limited = config("true", { resources: { pids: { limit: 5 } } }, "user");
    assert.match(await refused(users.bare, limited, { prefix }), /^CGROUP_CONTROLLER_MISSING: /);
  },
);

test(
  "run as an ordinary user: flags of a mount from outside stay, and taking one back is refused with its reason",
  needs,
  async () => {
    const place = makeBundle({});
    spawnSync("mount", ["-t", "tmpfs", "-o", "nosuid,nodev,noexec", "tmpfs", place]);
    atEnd(() => spawnSync("umount", [place]));
    const bound = (...options: string[]) =>
      config("grep ' /tmp ' /proc/self/mountinfo | cut -d' ' -f6", {
        mounts: [
          { destination: "/proc", type: "proc", source: "proc" },
          { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] },
          { destination: "/tmp", type: "bind", source: place, options: ["rbind", ...options] },
        ],
      });
    assert.equal(await shows(users.bare, bound()), "rw,nosuid,nodev,noexec,relatime\n");
    assert.equal(await shows(users.bare, bound("ro")), "ro,nosuid,nodev,noexec,relatime\n");
    const { stderr, code } = await runtime(["run", "--bundle", makeBundle(bound("exec")), newId()], {
      user: users.bare,
    });
    assert.equal(code, 1);
    assert.match(stderr, /^ {2}hint: +ro, nosuid, nodev, noexec .* are locked/m);
  },
);
