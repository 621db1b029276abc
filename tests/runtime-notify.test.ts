/** NOTIFY_SOCKET, as sd_notify(3) has it: what the container gets of it, and what whoever started the runtime gets to know. */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  asUser,
  makeBundle,
  makeConfig,
  newId,
  runtime,
  runtimeFails,
  runtimePrints,
  startRuntime,
  stateOf,
  untilStatus,
} from "./bundle.ts";
import { atEnd, compiled, eventually, isRoot, runDirectory, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { standInCriu } from "./stand-in-criu.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const needsUsers = { skip: missing("root", "package:passwd", "package:uidmap", "file:/etc/subuid") };
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });

interface Listener {
  env: { NOTIFY_SOCKET: string };
  /** What has been told, `PID FDS TEXT` each. */
  told(): string[];
  /** Closes the descriptors that came. */
  letGo(): void;
  child: ChildProcessWithoutNullStreams;
}

async function listener(socket = join(temporaryDirectory(), "notify")): Promise<Listener> {
  const child = spawn(compiled("notify_listener"), [socket]);
  atEnd(() => child.kill("SIGKILL"));
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => {
    text += more;
  });
  await eventually("the manager listens", () => text.startsWith("listening\n"));
  const told = () => text.split("\n").slice(1, -1);
  return { env: { NOTIFY_SOCKET: socket }, told, letGo: () => child.stdin.write("\n"), child };
}

/** A config whose command is a script, which has `notify` and a directory /shared. */
function configOf(script: string, change: Parameters<typeof makeConfig>[1] = {}) {
  const root = makeRootfs({ "bin/notify": { copyOf: compiled("notify"), mode: 0o755 }, "shared/": "" });
  const shared = temporaryDirectory();
  const config = makeConfig(root, { args: ["sh", "-c", script], ...change });
  config.mounts?.push({ destination: "/shared", type: "bind", source: shared, options: ["bind"] });
  return { config, shared };
}

async function createdWith(config: Config, env: NodeJS.ProcessEnv): Promise<string> {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  // Nobody is told anything of it, and it does not wait.
  assert.equal(await runtimePrints(["create", "--bundle", makeBundle(config), id], { env }), "");
  return id;
}

const inside = (id: string, script: string) => runtimePrints(["exec", id, "sh", "-c", script]);
/** In ppoll, by its number on x86-64 and arm64. */
const isPolling = (pid: string) => /^(?:271|73) /.test(readFileSync(`/proc/${pid}/syscall`, "utf8"));
/** A container that is ready when somebody says so, and runs on. */
const WHEN_TOLD = `notify STATUS=warming; echo >/shared/warm; until [ -e /shared/go ]; do sleep 0.02; done
  notify 'X=1\\nREADY=1\\nMAINPID=1\\nFDSTORE=1' </dev/null; echo >/shared/said; sleep 600`;

test(
  "start: returns when the container is ready; that alone is passed on, with its pid, and has been heard",
  needs(),
  async () => {
    const manager = await listener();
    const { config, shared } = configOf(WHEN_TOLD);
    const id = await createdWith(config, manager.env);
    assert.equal((await stateOf(id)).status, "created");
    const start = startRuntime(["start", id], { env: manager.env });
    let isOver = false;
    start.ended.then(() => {
      isOver = true;
    });
    await eventually("the container runs", () => existsSync(join(shared, "warm")));
    // Nobody holds the container meanwhile.
    const { status, pid } = await stateOf(id);
    assert.equal(status, "running");
    assert.equal(await inside(id, "echo there"), "there\n");
    assert.deepEqual(manager.told(), []);
    assert.equal(isOver, false);
    writeFileSync(join(shared, "go"), "");
    await eventually("the manager is told", () => manager.told().length === 2);
    const [ready = "", barrier = ""] = manager.told();
    const [teller = ""] = ready.split(" ");
    assert.deepEqual([ready, barrier], [`${teller} 0 READY=1\\nMAINPID=${pid}`, `${teller} 1 BARRIER=1`]);
    // The manager has not closed what came with the barrier.
    await eventually("start waits to be heard", () => isPolling(teller));
    manager.letGo();
    assert.deepEqual(await start.ended, { stdout: "", stderr: "", code: 0 });
    await eventually("the container goes on", () => existsSync(join(shared, "said")));
    assert.equal((await stateOf(id)).status, "running");
    assert.equal(manager.told().length, 2);
  },
);

test(
  "run --detach: returns when the container is ready; its process is the main process from then on",
  needs(),
  async () => {
    const manager = await listener();
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    const bundle = makeBundle(configOf("notify READY=1; exec sleep 600").config);
    const run = startRuntime(["run", "--detach", "--bundle", bundle, id], { env: manager.env });
    await eventually("the manager is told", () => manager.told().length === 2);
    manager.letGo();
    assert.deepEqual(await run.ended, { stdout: "", stderr: "", code: 0 });
    const { pid } = await stateOf(id);
    assert.match(manager.told()[0] ?? "", new RegExp(`^\\d+ 0 READY=1\\\\nMAINPID=${pid}$`));
  },
);

test("run --detach: a signal ends the wait for one that is never ready; it stays", needs(), async () => {
  const manager = await listener();
  const { config, shared } = configOf("echo >/shared/warm; exec sleep 600");
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const run = startRuntime(["run", "--detach", "--bundle", makeBundle(config), id], { env: manager.env });
  await eventually("the container runs", () => existsSync(join(shared, "warm")));
  run.kill("SIGTERM");
  assert.equal((await run.ended).code, null);
  assert.equal((await stateOf(id)).status, "running");
});

for (const terminal of [false, true])
  test(
    `run in the foreground${terminal ? " with a terminal" : ""}: tupper stays the main process, and passes signals on before and after`,
    needs(),
    async () => {
      const manager = await listener();
      const { config, shared } = configOf(
        `trap 'echo >/shared/usr1' USR1; trap 'exit 7' TERM; echo >/shared/warm
       until [ -e /shared/usr1 ]; do sleep 0.02; done; notify STATUS=x READY=1; echo >/shared/said; sleep 600 & wait`,
        { process: { terminal } },
      );
      config.mounts?.push({ destination: "/dev/pts", type: "devpts", source: "devpts" });
      const id = newId();
      const run = startRuntime(["run", "--bundle", makeBundle(config), id], { env: manager.env });
      await eventually("the container runs", () => existsSync(join(shared, "warm")));
      run.kill("SIGUSR1");
      await eventually("the manager is told", () => manager.told().length > 0);
      const [ready = ""] = manager.told();
      const [teller = ""] = ready.split(" ");
      assert.equal(ready, `${teller} 0 READY=1\\nMAINPID=${teller}`);
      assert.match(readFileSync(`/proc/${teller}/cmdline`, "utf8"), new RegExp(`\\0run\\0.*\\0${id}\\0$`));
      await eventually("the container goes on", () => existsSync(join(shared, "said")));
      run.kill("SIGTERM");
      assert.equal((await run.ended).code, 7);
      assert.equal(manager.told().length, 1);
    },
  );

test(
  "a container that is ready and ends at once has said so; one that ends without a word ends the wait",
  needs(),
  async () => {
    const manager = await listener();
    const ready = configOf("notify STATUS=a STATUS=b READY=1").config;
    const silent = configOf("exit 3").config;
    const first = await createdWith(ready, manager.env);
    const start = startRuntime(["start", first], { env: manager.env });
    await eventually("the manager is told", () => manager.told().length === 2);
    manager.letGo();
    assert.equal((await start.ended).code, 0);
    const second = await createdWith(silent, manager.env);
    await runtimePrints(["start", second], { env: manager.env });
    await untilStatus(second, "stopped");
    const third = newId();
    const foreground = await runtime(["run", "--bundle", makeBundle(silent), third], { env: manager.env });
    assert.deepEqual(foreground, { stdout: "", stderr: "", code: 3 });
    assert.equal(manager.told().length, 2);
  },
);

test(
  "the container's socket: in a directory that it cannot change, for each of its users, in a user namespace too",
  needs(),
  async () => {
    const manager = await listener();
    const script = `echo $NOTIFY_SOCKET; mkdir /run/notify/x; rm /run/notify/notify.sock; su alice -c 'notify READY=1' && echo told; sleep 600`;
    const { config } = configOf(`(${script}) >/shared/out 2>&1`);
    const { config: mapped } = configOf(`(${script}) >/shared/out 2>&1`);
    const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    if (isRoot) {
      mapped.linux.namespaces = [...(mapped.linux.namespaces ?? []), { type: "user" }];
      mapped.linux.uidMappings = mapped.linux.gidMappings = map;
      mapped.mounts?.push({ destination: "/run", type: "tmpfs", source: "tmpfs" });
    }
    for (const one of isRoot ? [config, mapped] : [config]) {
      one.process.env = ["PATH=/bin", "NOTIFY_SOCKET=/of/the/config"];
      const shared = one.mounts?.find(({ destination }) => destination === "/shared")?.source ?? "";
      if (one === mapped) writeFileSync(join(shared, "out"), "");
      const told = manager.told().length;
      const id = await createdWith(one, manager.env);
      if (one === mapped) chmodSync(join(shared, "out"), 0o666);
      const start = startRuntime(["start", id], { env: manager.env });
      await eventually("the manager is told", () => manager.told().length === told + 2);
      manager.letGo();
      assert.equal((await start.ended).code, 0);
      await eventually("the script is through", () => readFileSync(join(shared, "out"), "utf8").endsWith("told\n"));
      assert.deepEqual(readFileSync(join(shared, "out"), "utf8").split("\n"), [
        "/run/notify/notify.sock",
        "mkdir: can't create directory '/run/notify/x': Read-only file system",
        "rm: can't remove '/run/notify/notify.sock': Read-only file system",
        "told",
        "",
      ]);
      await runtimePrints(["delete", "--force", id]);
    }
  },
);

test("whatever a privileged container makes of the directory of its socket, delete removes it", needs(), async () => {
  const deep = "d/".repeat(1500);
  const { config, shared } = configOf(
    `mount -o remount,bind,rw /run/notify && cd /run/notify && mkdir -p ${deep} 0/0/1 1/0/x && : >0/0/1/0 && : >1/file &&
     : >"$(printf '2\\377')" && ln -s / 3 && mkfifo 1/0/4; echo $? >/shared/made`,
  );
  const { capabilities = {} } = config.process;
  for (const kind of ["bounding", "effective", "permitted"] as const)
    config.process.capabilities = {
      ...config.process.capabilities,
      [kind]: [...(capabilities[kind] ?? []), "CAP_SYS_ADMIN"],
    };
  const id = await createdWith(config, { NOTIFY_SOCKET: "/nowhere" });
  await runtimePrints(["start", id], { env: { NOTIFY_SOCKET: "/nowhere" } });
  assert.equal(readFileSync(join(shared, "made"), "utf8"), "0\n");
  await untilStatus(id, "stopped");
  assert.equal(await runtimePrints(["delete", id]), "");
  assert.equal(existsSync(join(runDirectory, "tupper-runtime", id)), false);
});

test("a container that floods its socket holds up nobody", needs(), async () => {
  const manager = await listener();
  const { config, shared } = configOf("trap 'exit 5' TERM; notify --flood STATUS=x & echo >/shared/warm; wait");
  const id = newId();
  const run = startRuntime(["run", "--bundle", makeBundle(config), id], { env: manager.env });
  await eventually("the container runs", () => existsSync(join(shared, "warm")));
  run.kill("SIGTERM");
  assert.equal((await run.ended).code, 5);
  assert.deepEqual(manager.told(), []);
});

/** Fills the queue of a socket, over as many as that takes: each may send so much only. */
const FILL = `
import socket, sys
while True:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    one.connect(sys.argv[1])
    try:
        for _ in range(64): one.send(b'x')
    except BlockingIOError: break
`;

test("run in the foreground: a manager that does not read holds up nobody, and is told when he does", {
  skip: missing("package:python3") || needs().skip,
}, async () => {
  const manager = await listener();
  manager.child.kill("SIGSTOP");
  execFileSync("python3", ["-c", FILL, manager.env.NOTIFY_SOCKET]);
  const { config, shared } = configOf(
    "trap 'echo >/shared/usr1' USR1; trap 'exit 7' TERM; notify READY=1; echo >/shared/said; while :; do sleep 0.02; done",
  );
  const run = startRuntime(["run", "--bundle", makeBundle(config), newId()], { env: manager.env });
  await eventually("the container has said that it is ready", () => existsSync(join(shared, "said")));
  run.kill("SIGUSR1");
  // As long as the old patience with him, after which it was a warning.
  await eventually("the signal is passed on", () => existsSync(join(shared, "usr1")), 20_000);
  manager.child.kill("SIGCONT");
  await eventually("the manager is told", () => manager.told().some((text) => text.includes("READY=1")));
  run.kill("SIGTERM");
  assert.deepEqual(await run.ended, { stdout: "", stderr: "", code: 7 });
});

test("NOTIFY_SOCKET: an abstract name; one that nobody listens at is a warning", needs(), async () => {
  const manager = await listener(`@tupper-${newId()}`);
  const bundle = makeBundle(configOf("notify READY=1; exit 4").config);
  const heard = await runtime(["run", "--bundle", bundle, newId()], { env: manager.env });
  assert.deepEqual(heard, { stdout: "", stderr: "", code: 4 });
  assert.match(manager.told().join("\n"), /^\d+ 0 READY=1\\nMAINPID=\d+$/);
  for (const nobody of ["/nowhere/notify", "relative", "@nobody-there"]) {
    const { stderr, code } = await runtime(["run", "--bundle", bundle, newId()], { env: { NOTIFY_SOCKET: nobody } });
    assert.equal(code, 4);
    assert.match(stderr, new RegExp(`^warning: .*NOTIFY_SOCKET.*${nobody}: .+\n$`));
  }
});

test("NOTIFY_SOCKET counts where create and start have it; exec does not", needs(), async () => {
  const manager = await listener();
  const without = await createdWith(configOf("exec sleep 600").config, {});
  await runtimePrints(["start", without], { env: manager.env });
  const offered = configOf("notify READY=1 2>/shared/err; echo >/shared/done; exec sleep 600");
  const id = await createdWith(offered.config, manager.env);
  await runtimePrints(["start", id]);
  await eventually("it cannot tell anybody", () => existsSync(join(offered.shared, "done")));
  assert.match(readFileSync(join(offered.shared, "err"), "utf8"), /No such file/);
  assert.equal(await inside(id, "env | grep NOTIFY_SOCKET || echo none"), "none\n");
  assert.deepEqual(manager.told(), []);
});

test("what a crash left of it is no hindrance", needs(), async () => {
  const manager = await listener();
  const id = newId();
  const left = join(runDirectory, "tupper-runtime", id, "notify");
  mkdirSync(left, { recursive: true });
  writeFileSync(join(left, "notify.sock"), "");
  const bundle = makeBundle(configOf("notify READY=1").config);
  assert.equal((await runtime(["run", "--bundle", bundle, id], { env: manager.env })).code, 0);
  // What has its name and is no directory is nothing of ours.
  mkdirSync(join(left, ".."));
  writeFileSync(left, "");
  assert.match(
    await runtimeFails(["run", "--bundle", bundle, id], { env: manager.env }),
    /^RECORD_FAILED: cannot record the container in /,
  );
  assert.equal(existsSync(join(runDirectory, "tupper-runtime", id)), false);
});

test("an ordinary user's container says that it is ready too", { skip: needsUsers.skip || needs().skip }, async () => {
  const { user } = users;
  const manager = await listener(join(user.home, "notify"));
  chmodSync(join(user.home, "notify"), 0o777);
  const { config } = configOf("notify READY=1; exit 6");
  const made = asUser({ ...config, mounts: config.mounts?.filter(({ type }) => type !== "bind") ?? [] });
  delete made.linux.resources;
  made.mounts?.push({ destination: "/run", type: "tmpfs", source: "tmpfs" });
  const run = await runtime(["run", "--bundle", makeBundle(made), newId()], { user, env: manager.env });
  assert.deepEqual(run, { stdout: "", stderr: "", code: 6 });
  assert.match(manager.told().join("\n"), /^\d+ 0 READY=1\\nMAINPID=\d+$/);
});

test("checkpoint, restore: CRIU is told of the directory", {
  skip: missing("root", "package:python3") || needs().skip,
}, async () => {
  const manager = await listener();
  const { program, calls } = standInCriu();
  const images = join(temporaryDirectory(), "images");
  const { config } = configOf("notify READY=1; exec sleep 600");
  const bundle = makeBundle(config);
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const run = startRuntime(["run", "--detach", "--bundle", bundle, id], { env: manager.env });
  await eventually("the manager is told", () => manager.told().length === 2);
  manager.letGo();
  assert.equal((await run.ended).code, 0);
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  const restore = ["restore", "--detach", "--image-path", images, "--bundle", bundle, id];
  await runtimePrints(["--criu", program, ...restore], { env: manager.env });
  const [dump, back] = calls().map(([, { external = [] }]) => external.filter((each) => /notify/.test(String(each))));
  assert.deepEqual(dump, ["mnt[/run/notify]:/run/notify"]);
  assert.deepEqual(back, [`mnt[/run/notify]:/run/tupper-runtime/${id}/notify`]);
});
