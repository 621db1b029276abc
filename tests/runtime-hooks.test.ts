/**
 * `hooks` through the OCI runtime: when they run, where, what they are told, and what comes of one that fails. config.md,
 * "POSIX-platform Hooks", and runtime.md, "Lifecycle". Hooks are shell scripts that write what they see into a directory
 * of the test, which the container has as /tmp.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config, Hook, Hooks } from "../src/spec/config.ts";
import {
  type ConfigChange,
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
import { withFault } from "./fault-points.ts";
import {
  atEnd,
  binary,
  eventually,
  isSanitizer,
  runDirectory,
  slowness,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });

type Kind = keyof Hooks;
const KINDS: readonly Kind[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];
const OF_CREATE: readonly Kind[] = ["prestart", "createRuntime", "createContainer"];

/** A hook that runs this script; $D is the directory of the test as the hook sees it. */
const script = (directory: string, text: string, more: Partial<Hook> = {}): Hook => ({
  path: "/bin/sh",
  args: ["sh", "-c", text],
  env: [`D=${directory}`, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
  ...more,
});

/** Where hooks of this kind find the directory of the test. */
const placeOf = (kind: Kind, directory: string): string => (kind === "startContainer" ? "/tmp" : directory);

/** What the error of the command says is to be done. */
const hintOf = (stderr: string): string | undefined => /^ {2}hint: {3}(.*)$/m.exec(stderr)?.[1];

test("create: for a hook that is not there the container's root filesystem is no remedy", needs(), async () => {
  const hooks = { createRuntime: [{ path: "/no/such/hook" }] };
  const { stderr } = await runtime(["create", "--bundle", makeBundle(makeConfig(root, { hooks })), newId()]);
  assert.match(stderr, /^error: error running createRuntime hook #0: .* \(HOOK_FAILED\)$/m);
  assert.equal(hintOf(stderr), "look at hooks[].path, and at the program there");
});

test("start: a poststart hook that lacks memory lacks that of tupper, not of the container", {
  skip: asRoot("programs", "arch:x64").skip || (isSanitizer ? "what the sanitizer calls is not ours" : false),
}, async () => {
  const id = await created(makeConfig(root, { hooks: { poststart: [{ path: "/bin/true" }] } }));
  const execution = { process: 1, call: "execve", number: 59, nth: 1 };
  const command = [`${binary}-runtime`, "start", id];
  const { stderr } = await withFault(execution, "ENOMEM", command, temporaryDirectory());
  assert.match(stderr, /^error: error running poststart hook #0: .* \(HOOK_FAILED\)$/m);
  assert.equal(hintOf(stderr), "free memory, or raise the limit of the control group that tupper runs in");
});

interface Written {
  directory: string;
  config: Config;
  read(name: string): string;
  has(name: string): boolean;
}

/** A config whose hooks write into a directory: `texts` has the scripts of each kind. */
function withHooks(texts: Partial<Record<Kind, string[]>>, change: ConfigChange = {}): Written {
  const directory = temporaryDirectory();
  const hooks = Object.fromEntries(
    Object.entries(texts).map(([kind, list]) => [
      kind,
      list.map((text) => script(placeOf(kind as Kind, directory), text)),
    ]),
  );
  const config: Config = { ...makeConfig(root, change), hooks };
  config.mounts?.push({ destination: "/tmp", type: "bind", source: directory, options: ["bind"] });
  return {
    directory,
    config,
    read: (name) => readFileSync(join(directory, name), "utf8"),
    has: (name) => existsSync(join(directory, name)),
  };
}

const everyKind = (text: (kind: Kind) => string[]): Partial<Record<Kind, string[]>> =>
  Object.fromEntries(KINDS.map((kind) => [kind, text(kind)]));

/* ---- when, and what they are told ----------------------------------------------------------- */

test("hooks: run in the listed order, each kind with its command", needs(), async () => {
  const { config, read } = withHooks(everyKind((kind) => [0, 1, 2].map((i) => `echo ${kind} ${i} >>$D/order`)));
  const lines = (...kinds: Kind[]) => kinds.flatMap((kind) => [0, 1, 2].map((i) => `${kind} ${i}\n`)).join("");
  const id = await created(config);
  assert.equal(read("order"), lines(...OF_CREATE));
  await runtimePrints(["start", id]);
  assert.equal(read("order"), lines(...OF_CREATE, "startContainer", "poststart"));
  await runtimePrints(["kill", id, "KILL"]);
  await untilStatus(id, "stopped");
  assert.equal(read("order"), lines(...OF_CREATE, "startContainer", "poststart"));
  await runtimePrints(["delete", id]);
  assert.equal(read("order"), lines(...KINDS));
});

test(
  "hooks: run has them all, startContainer before and poststart after the command, poststop at the end",
  needs(),
  async () => {
    const { config, read } = withHooks(
      everyKind((kind) => [`echo ${kind} >>$D/order`]),
      {
        args: ["sh", "-c", "echo command >>/tmp/order; sleep 0.3"],
      },
    );
    assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "");
    const order = read("order").trim().split("\n");
    assert.deepEqual(
      order.filter((word) => word !== "command"),
      KINDS,
    );
    assert.ok(order.indexOf("command") > order.indexOf("startContainer"));
  },
);

test("hooks: poststart runs once the command does, before start returns", needs(), async () => {
  const { config, read } = withHooks({
    poststart: [`pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); tr '\\0' ' ' </proc/$pid/cmdline >$D/cmdline`],
  });
  await running(config);
  assert.equal(read("cmdline"), "sleep 600 ");
});

test(
  "hooks: the state on stdin is whole, with the status of the moment and the pid as they see it",
  needs(),
  async () => {
    const { config, read, has } = withHooks(everyKind((kind) => [`cat >$D/${kind}`, `cat >$D/${kind}.again`]));
    Object.assign(config, { annotations: { "org.example.a": 'b "c"\n' } });
    const id = newId();
    const bundle = makeBundle(config);
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["create", "--bundle", bundle, id]);
    const { pid } = await stateOf(id);
    await runtimePrints(["start", id]);
    await runtimePrints(["delete", "--force", id]);
    const common = { ociVersion: config.ociVersion, id, bundle, annotations: { "org.example.a": 'b "c"\n' } };
    // Inside, the first process of a PID namespace is 1: runtime.md, "State".
    const expected: Record<Kind, object> = {
      prestart: { ...common, status: "created", pid }, // as crun; runc says creating
      createRuntime: { ...common, status: "creating", pid },
      createContainer: { ...common, status: "creating", pid: 1 },
      startContainer: { ...common, status: "created", pid: 1 },
      poststart: { ...common, status: "running", pid },
      poststop: { ...common, status: "stopped" },
    };
    for (const kind of KINDS) {
      assert.ok(has(kind), kind);
      const { ociVersion, ...state } = JSON.parse(read(kind)) as Record<string, unknown>;
      assert.match(String(ociVersion), /^1\./);
      const { ociVersion: _, ...wanted } = expected[kind] as Record<string, unknown>;
      if (kind === "poststop" && state.pid === 0) delete state.pid;
      assert.deepEqual(state, wanted, kind);
      assert.equal(read(`${kind}.again`), read(kind), "the second one is told the same");
    }
  },
);

test("hooks: one that does not read its stdin is no failure, however long the state is", needs(), async () => {
  const config = makeConfig(root, { args: ["echo", "ran"] });
  const hook = { path: "/bin/true" };
  const hooks = Object.fromEntries(KINDS.map((kind) => [kind, [hook, hook]]));
  const annotations = { long: "x".repeat(300_000) };
  const bundle = makeBundle({ ...config, hooks, annotations });
  assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()]), "ran\n");
});

test("hooks: how much one has printed does not matter", needs(), async () => {
  const config = makeConfig(root, { args: ["echo", "ran"] });
  // Two gigabytes, of which none is in memory.
  const hook = script("", "truncate -s 2G /proc/self/fd/1");
  const hooks = { createRuntime: [hook], createContainer: [hook] };
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle({ ...config, hooks }), newId()]), "ran\n");
});

test("hooks: get their arguments and their environment, and nothing else", needs(), async () => {
  const { config, directory, read } = withHooks({}, { args: ["true"] });
  const text =
    'tr \'\\0\' \'\\n\' </proc/self/environ >$D/$K.env; for word in "$0" "$@"; do echo "$word"; done >$D/$K.args';
  config.hooks = Object.fromEntries(
    KINDS.map((kind) => [
      kind,
      [
        {
          path: "/bin/sh",
          args: ["sh", "-c", text, "", "two words", "three"],
          env: [`D=${placeOf(kind, directory)}`, `K=${kind}`, "EMPTY=", "E=a=b c"],
        },
      ],
    ]),
  );
  await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
  for (const kind of KINDS) {
    assert.equal(read(`${kind}.env`), `D=${placeOf(kind, directory)}\nK=${kind}\nEMPTY=\nE=a=b c\n`);
    assert.equal(read(`${kind}.args`), "\ntwo words\nthree\n");
  }
});

// The specification leaves it open. runc and crun hand on their own, and scripts count on its PATH.
test(
  "hooks: without env those on the machine have the runtime's environment, and the one inside the command's",
  needs(),
  async () => {
    const { config, directory, read } = withHooks({}, { args: ["true"] });
    config.process.env = ["WHO=command"];
    config.hooks = Object.fromEntries(
      KINDS.map((kind) => [
        kind,
        [{ path: "/bin/sh", args: ["sh", "-c", `echo $WHO >${placeOf(kind, directory)}/${kind}`] }],
      ]),
    );
    await runtimePrints(["run", "--bundle", makeBundle(config), newId()], { env: { ...process.env, WHO: "runtime" } });
    for (const kind of KINDS) assert.equal(read(kind), kind === "startContainer" ? "command\n" : "runtime\n", kind);
  },
);

test("hooks: lists that are empty are none, and null too", needs(), async () => {
  for (const hooks of [{}, Object.fromEntries(KINDS.map((kind) => [kind, []])), { prestart: null }, null]) {
    const config = { ...makeConfig(root, { args: ["echo", "ran"] }), hooks };
    assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "ran\n");
  }
});

/* ---- where ------------------------------------------------------------------------------------ */

const NAMESPACES = ["mnt", "net", "pid", "uts", "ipc"];
const LIST = NAMESPACES.map((type) => `readlink /proc/self/ns/${type}`).join("; ");
const machine = () => NAMESPACES.map((type) => `${readlinkSync(`/proc/self/ns/${type}`)}\n`).join("");
const ofProcess = (pid: number) => NAMESPACES.map((type) => `${readlinkSync(`/proc/${pid}/ns/${type}`)}\n`).join("");

test(
  "hooks: prestart, createRuntime, poststart, poststop run in the machine's namespaces, the others in the container's",
  needs(),
  async () => {
    const { config, read } = withHooks(everyKind((kind) => [`(${LIST}) >$D/${kind}`]));
    const id = await running(config);
    const inside = ofProcess((await stateOf(id)).pid);
    await runtimePrints(["delete", "--force", id]);
    assert.notEqual(inside, machine());
    for (const kind of ["prestart", "createRuntime", "poststart", "poststop"])
      assert.equal(read(kind), machine(), kind);
    assert.equal(read("startContainer"), inside);
    // The parts that are certain of createContainer: the mounts and all that they do not need.
    assert.equal(read("createContainer"), inside);
  },
);

test("hooks: createRuntime sees the machine's files and none of the container's mounts", needs(), async () => {
  const count = `grep -c " ${root}/" /proc/self/mountinfo`;
  const { config, read } = withHooks({ createRuntime: [`${count} >$D/mounts; ls / >$D/ls; true`] });
  await created(config);
  assert.equal(read("mounts"), "0\n");
  assert.deepEqual(
    read("ls").trim().split("\n").sort(),
    readdirSync("/")
      .filter((name) => !name.startsWith("."))
      .sort(),
  );
});

test(
  "hooks: createContainer sees the finished mounts below root.path, and the machine's files beside it",
  needs(),
  async () => {
    const secret = temporaryDirectory();
    const { config, read } = withHooks({
      createContainer: [
        `awk -v root=${root} '$5 == root || index($5, root "/") == 1 { print substr($5, length(root) + 1) }' /proc/self/mountinfo | sort -u >$D/mounts`,
        `ls -d ${secret} >$D/seen; cat ${root}/CONTAINER_ROOT_DIR >$D/inside; ls ${root}/dev >$D/dev; hostname >$D/hostname`,
      ],
    });
    await created(config);
    const mounts = read("mounts").trimEnd().split("\n");
    for (const path of ["", "/proc", "/dev", "/sys", "/tmp"])
      assert.ok(mounts.includes(path), `${path}: ${mounts.join(" ")}`);
    assert.equal(read("seen"), `${secret}\n`);
    assert.equal(read("inside"), "inside\n");
    for (const name of ["null", "zero", "random", "fd", "stdin", "ptmx"])
      assert.ok(read("dev").split("\n").includes(name), name);
  },
);

test("hooks: startContainer is a program of the container's, in the container", needs(), async () => {
  const { config, directory, read } = withHooks({
    startContainer: [
      "cat /CONTAINER_ROOT_DIR >$D/inside; hostname >$D/hostname; ls -d $O >$D/outside 2>&1; pwd >$D/pwd",
    ],
  });
  config.hooks?.startContainer?.[0]?.env?.push(`O=${directory}`);
  const busybox = { path: "/bin/busybox", args: ["busybox", "touch", "/tmp/busybox"] };
  config.hooks?.startContainer?.push(busybox);
  const id = await created(config);
  assert.deepEqual(readdirSync(directory), []);
  await runtimePrints(["start", id]);
  assert.equal(read("inside"), "inside\n");
  assert.equal(read("hostname"), "box\n");
  assert.match(read("outside"), /No such file/);
  assert.ok(readdirSync(directory).includes("busybox"));
});

for (const kind of ["prestart", "createRuntime"] as const) {
  test(
    `hooks: what ${kind} mounts below the root in the container's mount namespace is in the container`,
    asRoot("package:util-linux"),
    async () => {
      const enter = `pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')`;
      const mount = `${enter}; nsenter -t $pid -m sh -c 'mount -t tmpfs -o size=64k of-a-hook ${root}/var && echo hello >${root}/var/file'`;
      const { config } = withHooks(
        { [kind]: [mount] },
        { args: ["sh", "-c", "cat /var/file; grep -c of-a-hook /proc/mounts"] },
      );
      assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "hello\n1\n");
      assert.equal(existsSync(join(root, "var/file")), false);
    },
  );
}

test("hooks: what createContainer mounts below the root is in the container", needs("package:util-linux"), async () => {
  const { config } = withHooks(
    { createContainer: [`mount -t tmpfs -o size=64k of-a-hook ${root}/var && echo hello >${root}/var/file`] },
    { args: ["cat", "/var/file"] },
  );
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "hello\n");
});

test(
  "hooks: createContainer, and createRuntime in its mount namespace, write into a root that is read-only for the command",
  asRoot("package:util-linux"),
  async () => {
    const own = makeRootfs();
    const { config } = withHooks(
      {
        createRuntime: [
          `pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -m sh -c 'echo first >${own}/etc/first'`,
        ],
        createContainer: [`echo second >${own}/etc/second`],
      },
      { args: ["sh", "-c", "cat /etc/first /etc/second; touch /etc/third 2>&1 || true"] },
    );
    Object.assign(config, { root: { path: own, readonly: true } });
    const output = await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
    assert.equal(output, "first\nsecond\ntouch: /etc/third: Read-only file system\n");
  },
);

test("hooks: a network that createRuntime sets up is the command's", asRoot("package:iproute2"), async () => {
  const up = `pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip address add 10.9.8.7/32 dev lo`;
  const { config } = withHooks(
    { createRuntime: [up] },
    { args: ["sh", "-c", "ip -o -4 address show dev lo | grep -o 10.9.8.7"] },
  );
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "10.9.8.7\n");
});

test(
  "hooks: poststop comes when process, record and control group are gone, also after delete --force",
  asRoot("cgroup:pids"),
  async () => {
    const hierarchy = existsSync("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";
    for (const make of [created, running]) {
      const group = `/hooks-${newId()}`;
      const { config, directory, read } = withHooks(
        { poststop: ["for p in $(cat $D/things); do [ ! -e $p ] || echo $p; done >$D/there"] },
        { linux: { cgroupsPath: group } },
      );
      const id = await make(config);
      const things = [
        `/proc/${(await stateOf(id)).pid}/exe`,
        join(runDirectory, "tupper-runtime", id),
        join(hierarchy, group),
      ];
      assert.deepEqual(
        things.filter((path) => !existsSync(path)),
        [],
      );
      writeFileSync(join(directory, "things"), things.join("\n"));
      await runtimePrints(["delete", "--force", id]);
      assert.equal(read("there"), "");
    }
  },
);

/* ---- those that fail --------------------------------------------------------------------------- */

const failing = "echo out of luck >&2; echo and more; exit 3";

for (const kind of OF_CREATE) {
  test(`hooks: ${kind} that fails is named with its output, ends create, and poststop runs`, needs(), async () => {
    const state = join(temporaryDirectory(), "state");
    const { config, read, has } = withHooks({
      [kind]: ["true", failing, "touch $D/never"],
      startContainer: ["touch $D/never"],
      poststop: ["cat >$D/poststop"],
    });
    const id = newId();
    const { stdout, stderr, code } = await runtime(["--root", state, "create", "--bundle", makeBundle(config), id]);
    assert.deepEqual({ stdout, code }, { stdout: "", code: 1 });
    assert.match(stderr, new RegExp(`^error: error running ${kind} hook #1: .*exit status 3.*out of luck.*and more`));
    assert.match(stderr, new RegExp(`hooks\\.${kind}\\[1\\]`));
    assert.equal(has("never"), false);
    assert.deepEqual(readdirSync(state), []);
    assert.deepEqual((JSON.parse(read("poststop")) as { id: string; status: string }).status, "stopped");
    const run = await runtime(["--root", state, "run", "--bundle", makeBundle(config), id]);
    assert.equal(run.code, 1);
    assert.match(run.stderr, new RegExp(`error running ${kind} hook #1: `));
  });
}

for (const kind of ["startContainer", "poststart"] as const) {
  test(
    `hooks: ${kind} that fails is an error of start, and the container is destroyed, with poststop`,
    needs(),
    async () => {
      const { config, has } = withHooks(
        {
          [kind]: ["true", failing, "touch $D/never"],
          poststop: ["touch $D/poststop"],
        },
        { args: ["sh", "-c", "touch /tmp/command; exec sleep 600"] },
      );
      const id = await created(config);
      const { pid } = await stateOf(id);
      assert.match(
        await runtimeFails(["start", id]),
        new RegExp(`error running ${kind} hook #1: .*exit status 3.*out of luck.*and more`),
      );
      assert.equal(existsSync(`/proc/${pid}`) && !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8")), false);
      assert.equal(has("never"), false);
      if (kind === "startContainer") assert.equal(has("command"), false);
      assert.match(await runtimeFails(["state", id]), /does not exist/);
      assert.ok(has("poststop"));
      const run = await runtime(["run", "--bundle", makeBundle(config), newId()]);
      assert.equal(run.code, 1);
      assert.match(run.stderr, new RegExp(`error running ${kind} hook #1: `));
    },
  );
}

test("hooks: poststop that fails is a warning, the others run, and the container is gone", needs(), async () => {
  const { config, has } = withHooks({ poststop: [failing, "touch $D/second", "kill -9 $$", "touch $D/fourth"] });
  const id = await created(config);
  const { stdout, stderr, code } = await runtime(["delete", id]);
  assert.deepEqual({ stdout, code }, { stdout: "", code: 0 });
  const [first = "", second = "", ...rest] = stderr.trimEnd().split("\n");
  assert.match(first, /^warning: error running poststop hook #0: .*exit status 3.*out of luck/);
  assert.match(second, /^warning: error running poststop hook #2: .*signal 9/);
  assert.deepEqual(rest, []);
  assert.ok(has("second") && has("fourth"));
  assert.match(await runtimeFails(["state", id]), /does not exist/);
});

test("hooks: one that is not there, or that may not be executed, is named", needs(), async () => {
  for (const [path, words] of [
    ["/no/such/hook", "no such file"],
    ["/etc/passwd", "permission denied"],
  ] as const) {
    for (const kind of KINDS.filter((name) => name !== "poststop")) {
      const config = { ...makeConfig(root, { args: ["true"] }), hooks: { [kind]: [{ path }] } };
      const failure = await runtimeFails(["run", "--bundle", makeBundle(config), newId()]);
      assert.match(failure, new RegExp(`error running ${kind} hook #0: .*${path}.*${words}`), kind);
    }
  }
});

test("hooks: the failure of one is seen even when the caller ignores SIGCHLD", needs(), async () => {
  const ignoring = { prefix: ["env", "--ignore-signal=CHLD"] };
  const fails = (kind: Kind): Config => withHooks({ [kind]: ["exit 3"] }, { args: ["sleep", "600"] }).config;
  const id = await created(fails("poststart"));
  assert.match(
    await runtimeFails(["start", id], ignoring),
    /^HOOK_FAILED: error running poststart hook #0: .*exit status 3/,
  );
  const { stderr } = await runtime(["delete", "--force", await running(fails("poststop"))], ignoring);
  assert.match(stderr, /^warning: error running poststop hook #0: .*exit status 3/);
});

test("ps: a ps(1) that fails is seen even when the caller ignores SIGCHLD", needs("package:procps"), async () => {
  const id = await running(makeConfig(root));
  const ignoring = { prefix: ["env", "--ignore-signal=CHLD"] };
  assert.match(await runtimeFails(["ps", id, "--no-such"], ignoring), /^PS_FAILED: ps ended with 1: /);
  assert.match(await runtimePrints(["ps", id, "-eo", "pid"], ignoring), /^ +PID\n +\d+\n$/);
});

test("hooks: a timeout kills, in every namespace; within it nothing happens", needs(), async () => {
  const began = Date.now();
  for (const kind of ["createRuntime", "createContainer", "startContainer", "poststart"] as const) {
    const { config, directory } = withHooks({}, { args: ["sleep", "600"] });
    const place = placeOf(kind, directory);
    config.hooks = {
      [kind]: [
        script(place, "exit 0", { timeout: 100 }),
        script(place, "echo waiting; exec sleep 100", { timeout: 1 }),
      ],
    };
    const failure = await runtimeFails(["run", "--bundle", makeBundle(config), newId()]);
    assert.match(failure, new RegExp(`error running ${kind} hook #1: .*timeout of 1 s.*waiting`));
  }
  assert.ok(Date.now() - began < 20_000 * slowness);
});

test(
  "hooks: a signal ends create and run though a hook does not end, and nothing is left of them",
  needs(),
  async () => {
    for (const kind of ["prestart", "createRuntime", "poststart"] as const) {
      const { config, directory, has } = withHooks(
        { [kind]: ["echo here; : >$D/began; exec sleep 600"], poststop: [": >$D/stopped"] },
        { args: ["sleep", "600"] },
      );
      const id = newId();
      const { kill, ended } = startRuntime([
        kind === "poststart" ? "run" : "create",
        "--bundle",
        makeBundle(config),
        id,
      ]);
      await eventually("the hook runs", () => existsSync(join(directory, "began")));
      kill("SIGTERM");
      const { code, stderr } = await ended;
      assert.equal(code, 1);
      assert.match(
        stderr,
        new RegExp(
          `^error: error running ${kind} hook #0: /bin/sh: did not end after SIGTERM and was killed, output: here \\(HOOK_FAILED\\)\n`,
        ),
      );
      assert.ok(has("stopped"));
      assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
    }
  },
);

test(
  "hooks: a signal ends none that cleans up, and none in the container, which the signal is for",
  needs(),
  async () => {
    for (const kind of ["createContainer", "startContainer", "poststop"] as const) {
      const { config } = withHooks({ [kind]: ["kill -TERM $PPID; sleep 2; echo >&2 done"] }, { args: ["true"] });
      const hooks = join(temporaryDirectory(), "hooks");
      const annotations = { "run.oci.hooks.stderr": hooks };
      const { code, stderr } = await runtime(["run", "--bundle", makeBundle({ ...config, annotations }), newId()]);
      assert.deepEqual({ kind, code, stderr }, { kind, code: 0, stderr: "" });
      assert.equal(readFileSync(hooks, "utf8"), "done\n");
    }
  },
);

test("hooks: a wrong value is an error with its field", needs(), async () => {
  const wrong: [object, string][] = [
    [{ path: "relative" }, "path"],
    [{}, "path"],
    [{ path: "/bin/true", timeout: 0 }, "timeout"],
    [{ path: "/bin/true", timeout: -1 }, "timeout"],
    [{ path: "/bin/true", timeout: "1" }, "timeout"],
    [{ path: "/bin/true", args: "true" }, "args"],
    [{ path: "/bin/true", env: [1] }, "env"],
  ];
  for (const [hook, field] of wrong) {
    const config = { ...makeConfig(root, { args: ["true"] }), hooks: { poststart: [{ path: "/bin/true" }, hook] } };
    const { code, stderr } = await runtime(["create", "--bundle", makeBundle(config), newId()]);
    assert.equal(code, 1, stderr);
    assert.ok(stderr.includes(`hooks.poststart[1].${field}`), stderr);
  }
});
