/**
 * The life of a container through the OCI runtime's commands: runtime.md, and what callers of runc and crun rely on beyond it.
 * Nothing here knows how the runtime is made.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  startRuntime,
  stateOf,
  untilStatus,
} from "./bundle.ts";
import {
  atEnd,
  binary,
  eventually,
  isRunning,
  output,
  runDirectory,
  slowness,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });
/** A first process that can be signalled and ended: process 1 of a PID namespace ignores what it has no handler for. */
const NAPPING = ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"];

const forceDelete = (id: string) => atEnd(() => runtime(["delete", "--force", id]));

/* ---- create, start, state ------------------------------------------------------------------- */

test("create: the container is there and its command has not run; start runs it", needs(), async () => {
  const proof = temporaryDirectory();
  const config = makeConfig(root, { args: ["sh", "-c", "echo ran >/tmp/ran; exec sleep 600"] });
  config.mounts?.push({ destination: "/tmp", type: "bind", source: proof, options: ["bind"] });
  const id = await created(config);
  const { pid, status } = await stateOf(id);
  assert.equal(status, "created");
  assert.ok(isRunning(pid));
  assert.notEqual(output("readlink", `/proc/${pid}/ns/pid`), output("readlink", "/proc/self/ns/pid"));
  assert.deepEqual(readdirSync(proof), []);
  assert.equal(await runtimePrints(["start", id]), "");
  await eventually("the command ran", () => existsSync(join(proof, "ran")));
  assert.deepEqual(await stateOf(id).then(({ pid, status }) => ({ pid, status })), { pid, status: "running" });
  assert.match(await runtimeFails(["start", id]), /cannot start a container in the running state/);
  assert.equal((await stateOf(id)).status, "running");
});

test("create: what changes in config.json afterwards does not affect the container", needs(), async () => {
  const id = newId();
  const bundle = makeBundle(makeConfig(root, { args: ["sh", "-c", "hostname; exit 7"], hostname: "before" }));
  forceDelete(id);
  const creation = startRuntime(["create", "--bundle", bundle, id]);
  assert.deepEqual(await creation.ended, { stdout: "", stderr: "", code: 0 });
  writeFileSync(join(bundle, "config.json"), JSON.stringify(makeConfig(root, { args: ["true"], hostname: "after" })));
  await runtimePrints(["start", id]);
  await untilStatus(id, "stopped");
  assert.equal(creation.stdout(), "before\n");
});

test("create: an ID that is taken or is none is an error, and the container there is stays", needs(), async () => {
  const id = await created(makeConfig(root));
  const before = await stateOf(id);
  const bundle = makeBundle(makeConfig(root));
  assert.match(await runtimeFails(["create", "--bundle", bundle, id]), /already exists|exists already|in use/);
  assert.deepEqual(await stateOf(id), before);
  for (const bad of ["", ".", "..", "a/b", "../x", "a b", "ü", "a\n", "x".repeat(1025)])
    assert.match(await runtimeFails(["create", "--bundle", bundle, bad]), /^ID_INVALID: /, JSON.stringify(bad));
  assert.doesNotMatch(await runtimePrints(["list"]), /a b|\.\./);
});

test("create: IDs may have letters, digits and _ + - . in them", needs(), async () => {
  const id = `${newId()}_A+b-c.d`;
  forceDelete(id);
  await runtimePrints(["create", "--bundle", makeBundle(makeConfig(root)), id]);
  assert.equal((await stateOf(id)).id, id);
});

test("create: returns while the container lives, with no descriptor of the caller's but stdio", needs(), async () => {
  const id = newId();
  forceDelete(id);
  const bundle = makeBundle(
    makeConfig(root, { args: ["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '; exec sleep 600"] }),
  );
  const directory = temporaryDirectory();
  const out = join(directory, "out");
  // Descriptor 7 is a pipe of ours: were it kept, `cat` would not end.
  const script = `exec 3>&1; { exec -a tupper-runtime "$0" create --bundle "$1" "$2" 7>&1 >"$3" 2>"$3" </dev/null; } | cat >&3; echo over`;
  const child = spawn("bash", ["-c", script, binary, bundle, id, out], { stdio: ["ignore", "pipe", "inherit"] });
  const [text] = (await once(child.stdout, "data")) as [Buffer];
  assert.equal(text.toString(), "over\n");
  await once(child, "close");
  await runtimePrints(["start", id]);
  await eventually("it listed its descriptors", () => readFileSync(out, "utf8") !== "");
  assert.equal(readFileSync(out, "utf8"), "0 1 2 3 "); // 3 is the directory that ls reads
});

test(
  "create: where the caller has closed his standard descriptors they are /dev/null, and the record's lock is free",
  needs(),
  async () => {
    const closed = { prefix: ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"] };
    const id = newId();
    forceDelete(id);
    assert.equal((await runtime(["create", "--bundle", makeBundle(makeConfig(root)), id], closed)).code, 0);
    const { pid } = await stateOf(id);
    const standard = () => [0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    const none = ["/dev/null", "/dev/null", "/dev/null"];
    assert.deepEqual(standard(), none);
    await runtimePrints(["start", id]);
    assert.deepEqual(standard(), none);
  },
);

test(
  "delete: where the caller has closed his standard descriptors hooks still get the state on stdin",
  needs(),
  async () => {
    const told = join(temporaryDirectory(), "told");
    const hook = { path: "/bin/sh", args: ["sh", "-c", `cat >${told}; echo said; echo said >&2`] };
    const id = newId();
    forceDelete(id);
    await runtimePrints(["create", "--bundle", makeBundle({ ...makeConfig(root), hooks: { poststop: [hook] } }), id]);
    const closed = { prefix: ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"] };
    assert.equal((await runtime(["delete", "--force", id], closed)).code, 0);
    assert.equal((JSON.parse(readFileSync(told, "utf8")) as { id: string }).id, id);
  },
);

test("create: takes a directory over in which a delete was killed behind the record", asRoot(), async () => {
  const id = newId();
  forceDelete(id);
  const directory = join(runDirectory, "tupper-runtime", id);
  mkdirSync(directory, { recursive: true, mode: 0o711 });
  symlinkSync("4194303 1", join(directory, "init"));
  writeFileSync(join(directory, "start"), "");
  await runtimePrints(["create", "--bundle", makeBundle(makeConfig(root)), id]);
  assert.equal((await stateOf(id)).status, "created");
});

test(
  "create: --pid-file holds the number alone, is complete whenever it is there, and replaces a file",
  needs(),
  async () => {
    const directory = temporaryDirectory();
    const file = join(directory, "pid");
    writeFileSync(file, "a longer text that was there before\n");
    const id = newId();
    forceDelete(id);
    await runtimePrints(["create", "--bundle", makeBundle(makeConfig(root)), "--pid-file", file, id]);
    assert.equal(readFileSync(file, "utf8"), String((await stateOf(id)).pid));
    assert.deepEqual(readdirSync(directory), ["pid"]);
  },
);

test("create: a pid file that cannot be written is an error, and nothing is left", needs(), async () => {
  const id = newId();
  const bundle = makeBundle(makeConfig(root));
  const failure = await runtimeFails(["create", "--bundle", bundle, "--pid-file", "/nowhere/at/all/pid", id]);
  assert.match(failure, /\/nowhere\/at\/all\/pid/);
  assert.match(await runtimeFails(["state", id]), /does not exist/);
});

test(
  "create: what fails leaves no directory, group, mount or process, and the ID is free again",
  asRoot(),
  async () => {
    const state = join(temporaryDirectory(), "state");
    const id = newId();
    const group = `/tupper-left-${id}`;
    const groups = () => output("sh", "-c", `find /sys/fs/cgroup -name 'tupper-left-${id}*'`);
    const faults: [string, (config: ReturnType<typeof makeConfig>) => void][] = [
      [
        "a mount's source",
        (config) => config.mounts?.push({ destination: "/tmp", type: "bind", source: "/nowhere", options: ["bind"] }),
      ],
      ["the root", (config) => Object.assign(config.root, { path: "/nowhere" })],
      ["a sysctl", (config) => Object.assign(config.linux, { sysctl: { "net.nothing": "1" } })],
      ["a hook", (config) => Object.assign(config, { hooks: { createRuntime: [{ path: "/bin/false" }] } })],
      ["a namespace", (config) => config.linux.namespaces?.splice(0, 1, { type: "pid", path: "/nowhere" })],
      ["a file system", (config) => config.mounts?.push({ destination: "/tmp", type: "nosuchfs", source: "x" })],
    ];
    for (const [what, change] of faults) {
      const config = makeConfig(root, { linux: { cgroupsPath: group }, resources: { pids: { limit: 10 } } });
      change(config);
      const result = await runtime(["--root", state, "create", "--bundle", makeBundle(config), id]);
      assert.equal(result.code, 1, what);
      assert.notEqual(result.stderr, "", what);
      assert.deepEqual(readdirSync(state), [], what);
      assert.equal(groups(), "", what);
    }
    const good = makeConfig(root, { linux: { cgroupsPath: group } });
    assert.equal((await runtime(["--root", state, "create", "--bundle", makeBundle(good), id])).code, 0);
    assert.notEqual(groups(), "");
    assert.equal((await runtime(["--root", state, "delete", id])).code, 0);
    assert.equal(groups(), "");
  },
);

test(
  "create: a command that is not there is an error of start at the latest, which leaves it stopped",
  needs(),
  async () => {
    const bundle = makeBundle(makeConfig(root, { args: ["/no/such/command"] }));
    const id = newId();
    forceDelete(id);
    const create = await runtime(["create", "--bundle", bundle, id]);
    if (create.code === 0) {
      assert.match(await runtimeFails(["start", id]), /\/no\/such\/command/);
      await untilStatus(id, "stopped");
    } else {
      assert.match(create.stderr, /\/no\/such\/command/);
      assert.match(await runtimeFails(["state", id]), /does not exist/);
    }
    const ran = await runtime(["run", "--bundle", bundle, newId()]);
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /\/no\/such\/command/);
  },
);

test("create: a directory is no command", needs(), async () => {
  const id = newId();
  forceDelete(id);
  const { code, stderr } = await runtime(["create", "--bundle", makeBundle(makeConfig(root, { args: ["/etc"] })), id]);
  assert.equal(code, 1);
  assert.match(stderr, /\/etc/);
  assert.match(await runtimeFails(["state", id]), /does not exist/);
});

test("state: the fields of runtime.md, with two spaces of indent", needs(), async () => {
  const config = { ...makeConfig(root), annotations: { "org.example.who": "me" } };
  const id = newId();
  const bundle = makeBundle(config);
  forceDelete(id);
  await runtimePrints(["create", "--bundle", bundle, id]);
  const text = await runtimePrints(["state", id]);
  const state = JSON.parse(text) as Record<string, unknown>;
  assert.equal(text, `${JSON.stringify(state, null, 2)}\n`);
  assert.ok(text.includes(`\n  "id": "${id}",\n`));
  const { ociVersion, pid, created: time, ...others } = state;
  assert.match(String(ociVersion), /^1\.\d+\.\d+$/);
  assert.ok(typeof pid === "number" && pid > 0);
  assert.ok(Math.abs(Date.now() - Date.parse(String(time))) < 30_000);
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  assert.deepEqual(others, {
    id,
    status: "created",
    bundle,
    rootfs: root,
    annotations: { "org.example.who": "me" },
    owner: others.owner,
  });
});

test("state: created, running, paused, stopped; the pid is 0 at the end", asRoot("cgroup:freezer"), async () => {
  const id = await created(makeConfig(root, { args: NAPPING }));
  const status = async () => (await stateOf(id)).status;
  const seen = [await status()];
  await runtimePrints(["start", id]);
  seen.push(await status());
  await runtimePrints(["pause", id]);
  seen.push(await status());
  await runtimePrints(["resume", id]);
  seen.push(await status());
  await runtimePrints(["kill", id, "KILL"]);
  await untilStatus(id, "stopped");
  assert.deepEqual(seen, ["created", "running", "paused", "running"]);
  assert.equal((await stateOf(id)).pid, 0);
});

test("pause, resume: of a container that is not in the state for it are errors", asRoot("cgroup:freezer"), async () => {
  const id = await running(makeConfig(root));
  assert.match(await runtimeFails(["resume", id]), /not paused/);
  await runtimePrints(["pause", id]);
  await runtimePrints(["kill", id, "KILL"]);
  await runtimePrints(["delete", "--force", id]);
  for (const command of ["pause", "resume"]) assert.match(await runtimeFails([command, id]), /does not exist/);
});

/* ---- list, ps ------------------------------------------------------------------------------- */

test("list: a table, IDs with -q, the states of all as JSON; nothing where there is none", needs(), async () => {
  const state = temporaryDirectory();
  const prints = (...args: string[]) => runtimePrints(["--root", state, ...args]);
  assert.match(await prints("list"), /^ID +PID +STATUS +BUNDLE +CREATED +OWNER\s*\n$/);
  assert.equal(await prints("list", "-q"), "");
  assert.match(await prints("list", "--format", "json"), /^(null|\[\])\n?$/);
  // What a record is cut at when only its beginning is read, where it does not belong.
  const annotations = { a: ',"cgroups":[{"controller":"freezer",', '","cgroups":[': "]" };
  const bundle = makeBundle(makeConfig(root, { annotations }));
  const ids = [newId(), newId()];
  for (const id of ids) {
    atEnd(() => runtime(["--root", state, "delete", "--force", id]));
    await prints("create", "--bundle", bundle, id);
  }
  const states = await Promise.all(ids.map(async (id) => JSON.parse(await prints("state", id)) as { pid: number }));
  assert.equal(await prints("list", "-q"), `${ids.join("\n")}\n`);
  assert.equal(await prints("list", "--quiet"), `${ids.join("\n")}\n`);
  assert.deepEqual(JSON.parse(await prints("list", "-f", "json")), states);
  const [head = "", ...rows] = (await prints("list")).trimEnd().split("\n");
  assert.deepEqual(head.trim().split(/ +/), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
  assert.deepEqual(
    rows.map((row) => row.split(/ +/).slice(0, 4)),
    ids.map((id, i) => [id, String(states[i]?.pid), "created", bundle]),
  );
});

test(
  "ps: a table with PID, numbers as JSON, and ps's own arguments after the ID",
  needs("package:procps"),
  async () => {
    const id = await running(makeConfig(root, { args: ["sh", "-c", "sleep 599 & exec sleep 598"] }));
    const { pid } = await stateOf(id);
    await eventually("both sleep", async () => !/ sh /.test(await runtimePrints(["ps", id])));
    const lines = (await runtimePrints(["ps", id])).trimEnd().split("\n");
    assert.match(lines[0] ?? "", /\bPID\b/);
    assert.equal(lines.length, 3);
    const pids = JSON.parse(await runtimePrints(["ps", "--format", "json", id])) as number[];
    assert.equal(pids.length, 2);
    assert.ok(pids.includes(pid));
    const narrow = (await runtimePrints(["ps", id, "-eo", "pid,args"])).trimEnd().split("\n");
    assert.deepEqual(
      narrow
        .slice(1)
        .map((line) => line.trim().replace(/^\d+ /, ""))
        .sort(),
      ["sleep 598", "sleep 599"],
    );
  },
);

test("ps: without arguments the table is that of ps -ef", needs("package:procps"), async () => {
  const names = "sh -c 'exec sleep 597' & sleep 599 'a  b' 2>/dev/null & exec sleep 598";
  const id = await running(makeConfig(root, { args: ["sh", "-c", names] }));
  const { pid } = await stateOf(id);
  // The share of the processor, and perhaps the minute of the start, change between two looks at a young process.
  const steady = (text: string) => text.replace(/ *\d+ \d\d:\d\d (?=\?)/gm, " C STIME ");
  let table = "";
  await eventually("ps says the same", async () => {
    table = await runtimePrints(["ps", id]);
    const others = [await runtimePrints(["ps", id, "-ef"]), await runtimePrints(["ps", id, "-e", "-f"])];
    return table.includes("sleep 597") && others.every((other) => steady(other) === steady(table));
  });
  assert.match(table, /^UID +PID +PPID +C STIME TTY +TIME CMD\n/);
  assert.match(table, new RegExp(`^root +${pid} +\\d+ +\\d+ \\d\\d:\\d\\d \\? +00:00:00 sleep 598$`, "m"));
});

/* ---- kill, delete --------------------------------------------------------------------------- */

test("kill: SIGTERM unless told otherwise, names with and without SIG in any case, numbers", needs(), async () => {
  const out = temporaryDirectory();
  const args = [
    "sh",
    "-c",
    'for s in TERM USR1 USR2 HUP WINCH; do trap "echo $s >>/tmp/got" $s; done; : >/tmp/got; while :; do sleep 600 & wait; done',
  ];
  const config = makeConfig(root, { args });
  config.mounts?.push({ destination: "/tmp", type: "bind", source: out, options: ["bind"] });
  const id = await running(config);
  const got = () =>
    existsSync(join(out, "got")) ? readFileSync(join(out, "got"), "utf8").split("\n").slice(0, -1) : undefined;
  await eventually("it listens", () => got() !== undefined);
  const expected: string[] = [];
  const sent = { USR1: "USR1", SIGUSR2: "USR2", hup: "HUP", 10: "USR1", 28: "WINCH", "": "TERM" };
  for (const [signal, name] of Object.entries(sent)) {
    assert.equal(await runtimePrints(["kill", id, ...(signal === "" ? [] : [signal])]), "");
    expected.push(name);
    await eventually(`it got ${name}`, () => got()?.length === expected.length);
  }
  assert.deepEqual(got(), expected);
  for (const bad of ["SIGNOTHING", "999", "-1x", ""]) assert.equal((await runtime(["kill", id, bad])).code, 1, bad);
  assert.equal((await stateOf(id)).status, "running");
});

test("kill: a created container too; a stopped one is `container not running`", needs(), async () => {
  const id = await created(makeConfig(root));
  await runtimePrints(["kill", id, "SIGKILL"]);
  await untilStatus(id, "stopped");
  assert.match(await runtimeFails(["kill", id, "KILL"]), /container not running/);
  assert.match(await runtimeFails(["start", id]), /cannot start a container in the stopped state/);
  assert.equal(await runtimePrints(["delete", id]), "");
});

test("kill --all: reaches every process, also those that share the machine's PID namespace", needs(), async () => {
  const config = makeConfig(root, {
    args: ["sh", "-c", "sleep 597 & sleep 596 & exec sleep 595"],
    linux: { namespaces: [{ type: "mount" }, { type: "uts" }] },
  });
  const id = await running(config);
  const pids = async () => JSON.parse(await runtimePrints(["ps", "-f", "json", id])) as number[];
  await eventually("three processes", async () => (await pids()).length === 3);
  const all = await pids();
  await runtimePrints(["kill", "--all", id, "KILL"]);
  await untilStatus(id, "stopped");
  await eventually("all have ended", () => all.every((pid) => !isRunning(pid)));
});

test(
  "delete: kills what init left in the control group of a shared PID namespace",
  asRoot("package:procps"),
  async () => {
    const config = makeConfig(root, {
      args: ["sh", "-c", "sleep 594 & exec sleep 593"],
      linux: { namespaces: [{ type: "mount" }, { type: "uts" }] },
    });
    const id = await running(config);
    const pids = async () => JSON.parse(await runtimePrints(["ps", "-f", "json", id])) as number[];
    await eventually("two processes", async () => (await pids()).length === 2);
    const { pid } = await stateOf(id);
    const other = (await pids()).find((number) => number !== pid) ?? 0;
    process.kill(pid, "SIGKILL");
    await untilStatus(id, "stopped");
    assert.ok(isRunning(other));
    assert.equal(await runtimePrints(["delete", id]), "");
    await eventually("the other ended", () => !isRunning(other));
  },
);

test("delete: a created container yes, a running one only with --force, whatever it ignores", needs(), async () => {
  const first = await created(makeConfig(root));
  const { pid } = await stateOf(first);
  assert.equal(await runtimePrints(["delete", first]), "");
  assert.ok(!isRunning(pid));
  assert.match(await runtimeFails(["state", first]), /does not exist/);

  const second = await running(makeConfig(root, { args: ["sh", "-c", "trap '' TERM INT HUP; sleep 592 & wait"] }));
  const state = await stateOf(second);
  assert.match(await runtimeFails(["delete", second]), /not stopped/);
  assert.deepEqual(await stateOf(second), state);
  assert.equal(await runtimePrints(["delete", "-f", second]), "");
  assert.match(await runtimeFails(["state", second]), /does not exist/);
});

test("delete: a stopped container; then its ID is free", needs(), async () => {
  const id = await running(makeConfig(root, { args: ["true"] }));
  await untilStatus(id, "stopped");
  assert.equal(await runtimePrints(["delete", id]), "");
  assert.match(await runtimeFails(["delete", id]), /does not exist/);
  await runtimePrints(["create", "--bundle", makeBundle(makeConfig(root)), id]);
  assert.equal((await stateOf(id)).status, "created");
});

test("delete: removes the control groups it made and not those that were there", asRoot("cgroup:pids"), async () => {
  const hierarchy = existsSync("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";
  const parent = join(hierarchy, `lifecycle-${process.pid}`);
  mkdirSync(parent);
  // The runtime made it in every other hierarchy.
  atEnd(() =>
    output(
      "sh",
      "-c",
      `rmdir /sys/fs/cgroup/*/${basename(parent)} /sys/fs/cgroup/${basename(parent)} 2>/dev/null; true`,
    ),
  );
  const id = await created(makeConfig(root, { linux: { cgroupsPath: `/${basename(parent)}/${newId()}` } }));
  const groups = () => readdirSync(parent, { withFileTypes: true }).filter((entry) => entry.isDirectory()).length;
  assert.equal(groups(), 1);
  await runtimePrints(["delete", id]);
  assert.equal(groups(), 0);
});

/* ---- run ------------------------------------------------------------------------------------ */

test(
  "run: passes on the exit code, 128 and the number of a signal, stdin and stdout; nothing is left",
  needs(),
  async () => {
    const run = (script: string, input = "") =>
      runtime(["run", "--bundle", makeBundle(makeConfig(root, { args: ["sh", "-c", script] })), newId()], { input });
    assert.deepEqual(await run("cat; echo to stderr >&2; exit 42", "typed\n"), {
      stdout: "typed\n",
      stderr: "to stderr\n",
      code: 42,
    });
    assert.deepEqual(await run("exit 0"), { stdout: "", stderr: "", code: 0 });
    assert.equal((await run("exit 255")).code, 255);
    // Process 1 cannot kill itself: somebody outside has to.
    const id = newId();
    const killed = startRuntime(["run", "--bundle", makeBundle(makeConfig(root)), id]);
    await untilRunning(id);
    await runtimePrints(["kill", id, "KILL"]);
    const { stderr, ...ended } = await killed.ended;
    assert.deepEqual(ended, { stdout: "", code: 137 });
    assert.match(stderr, /^warning: the container's command was killed by SIGKILL: .*\n$/);
    assert.match(await runtimeFails(["state", id]), /does not exist/);
  },
);

const untilRunning = (id: string) =>
  eventually(`${id} runs`, async () => /"status": "running"/.test((await runtime(["state", id])).stdout));

test("run: signals to the foreground runtime are the container's", needs(), async () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const) {
    const id = newId();
    const script = `trap 'echo got ${signal}; exit 9' ${signal.slice(3)}; echo ready; sleep 600 & wait`;
    const started = startRuntime(["run", "--bundle", makeBundle(makeConfig(root, { args: ["sh", "-c", script] })), id]);
    await eventually("it listens", () => started.stdout() === "ready\n");
    await untilRunning(id);
    started.kill(signal);
    assert.deepEqual(await started.ended, { stdout: `ready\ngot ${signal}\n`, stderr: "", code: 9 });
  }
});

test("run --detach: returns when the command runs, which goes on by itself; --pid-file names it", needs(), async () => {
  const id = newId();
  forceDelete(id);
  const file = join(temporaryDirectory(), "pid");
  const bundle = makeBundle(makeConfig(root));
  assert.equal(await runtimePrints(["run", "--detach", "--pid-file", file, "--bundle", bundle, id]), "");
  const { status, pid } = await stateOf(id);
  assert.equal(status, "running");
  assert.equal(readFileSync(file, "utf8"), String(pid));
  assert.match(readFileSync(`/proc/${pid}/cmdline`, "utf8"), /^sleep\0/);
});

test("run --keep: the container stays on record, stopped, and delete ends it", needs(), async () => {
  const id = newId();
  forceDelete(id);
  const bundle = makeBundle(makeConfig(root, { args: ["sh", "-c", "exit 3"] }));
  assert.equal((await runtime(["run", "--keep", "--bundle", bundle, id])).code, 3);
  assert.equal((await stateOf(id)).status, "stopped");
  assert.equal(await runtimePrints(["delete", id]), "");
});

test(
  "run: orphans of the container become its children, and are reaped; --no-subreaper: not",
  needs("package:procps"),
  async () => {
    const orphan = `sleep ${0.4 * slowness}`;
    const config = makeConfig(root, {
      args: ["sh", "-c", `(sh -c '${orphan} & :' &); sleep ${0.8 * slowness}; exit 4`],
      linux: { namespaces: [{ type: "mount" }] },
    });
    delete (config as Partial<typeof config>).hostname;
    const bundle = makeBundle(config);
    const children = async (...flags: string[]) => {
      const child = spawn(binary, ["run", ...flags, "--bundle", bundle, newId()], {
        argv0: "tupper-runtime",
        stdio: "ignore",
      });
      const ended = once(child, "exit");
      const seen = new Set<string>();
      const look = setInterval(() => {
        for (const line of output("sh", "-c", `ps -o stat=,args= --ppid ${child.pid} || true`).trim().split("\n"))
          seen.add(line.startsWith("Z") ? "zombie" : line.replace(/^\S+ +/, ""));
      }, 60);
      assert.deepEqual(await ended, [4, null]);
      clearInterval(look);
      return seen;
    };
    const usual = await children();
    assert.ok(usual.has(orphan), [...usual].join());
    assert.ok(!(await children("--no-subreaper")).has(orphan));
  },
);

test(
  "run: a config that cannot be read or is wrong is the runtime's own failure, with exit code 1",
  needs(),
  async () => {
    const empty = temporaryDirectory();
    assert.match(await runtimeFails(["run", "--bundle", empty, newId()]), /config\.json/);
    const broken = temporaryDirectory();
    writeFileSync(join(broken, "config.json"), "{");
    assert.match(await runtimeFails(["run", "--bundle", broken, newId()]), /config\.json/);
    assert.match(await runtimeFails(["run", "--bundle", "/nowhere", newId()]), /\/nowhere/);
    const { process: _, ...noProcess } = makeConfig(root);
    assert.match(await runtimeFails(["run", "--bundle", makeBundle(noProcess), newId()]), /process/);
    const config = { ...makeConfig(root, { args: ["echo", "fine"] }), unknownProperty: { a: 1 } };
    assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "fine\n");
    for (const ociVersion of ["2.0.0", "0.5.0", "one"]) {
      const { code, stderr } = await runtime(["run", "--bundle", makeBundle({ ...config, ociVersion }), newId()]);
      assert.equal(code, 1, ociVersion);
      assert.match(stderr, /ociVersion/);
    }
    for (const ociVersion of ["1.0.0", "1.0.2-dev", "1.99.0"])
      assert.equal(await runtimePrints(["run", "--bundle", makeBundle({ ...config, ociVersion }), newId()]), "fine\n");
  },
);
