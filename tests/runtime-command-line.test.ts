/**
 * The OCI runtime's command line: flags and their order, exit codes, what it says and where, `spec` and `features`. Callers
 * were written against runc and crun, and read these words.
 */
import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  stateOf,
} from "./bundle.ts";
import { atEnd, output, prints, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });
const forceDelete = (id: string) => atEnd(() => runtime(["delete", "--force", id]));
const COMMANDS = [
  "create",
  "start",
  "state",
  "kill",
  "delete",
  "run",
  "exec",
  "list",
  "ps",
  "pause",
  "resume",
  "update",
  "events",
  "spec",
  "features",
  "info",
];

/* ---- help, version, usage ------------------------------------------------------------------- */

test("--version: name and version, commit, spec, features, a line each", async () => {
  for (const flag of ["--version", "-v", "-V"]) {
    const lines = (await runtimePrints([flag])).trimEnd().split("\n");
    assert.match(lines[0] ?? "", /^tupper-runtime version \d+\.\d+\.\d+\S*$/);
    assert.match(lines[1] ?? "", /^commit: \S+$/);
    assert.match(lines[2] ?? "", /^spec: 1\.\d+\.\d+$/);
    assert.match(lines[3] ?? "", /^\+[A-Z]+( \+[A-Z]+)+$/);
    for (const feature of ["+SECCOMP", "+CAP"]) assert.ok(lines[3]?.split(" ").includes(feature), lines[3]);
    assert.equal(lines.length, 4);
  }
});

test("--help: of the program and of each command, on stdout, with exit code 0", async () => {
  const help = await runtimePrints(["--help"]);
  for (const command of COMMANDS) {
    assert.match(help, new RegExp(`^ +${command}\\b`, "m"));
    const text = await runtimePrints([command, "--help"]);
    assert.ok(text.includes(`tupper-runtime ${command}`), text);
    assert.equal(await runtimePrints([command, "-h"]), text);
    assert.equal(await runtimePrints(["help", command]), text);
  }
});

test("--help and help: of a command that does not exist they are errors, of the program and of a group of commands", async () => {
  for (const line of ["creat --help", "creat -h", "help creat", "--debug creat -h"])
    assert.equal(await runtimeFails(line.split(" ")), "UNKNOWN_COMMAND: unknown command 'creat'", line);
  for (const line of ["mounts ad --help", "mounts help ad"])
    assert.equal(await runtimeFails(line.split(" ")), "UNKNOWN_COMMAND: unknown command 'ad'", line);
  assert.equal(await runtimePrints(["help"]), await runtimePrints(["--help"]));
  const group = await runtimePrints(["mounts", "--help"]);
  assert.match(group, /^Usage: tupper-runtime mounts \[OPTIONS\] COMMAND\n/);
  assert.equal(await runtimePrints(["help", "mounts"]), group);
});

test(
  "a command without its ID, with an unknown one, an unknown command or flag: not 0, and a word on stderr",
  needs(),
  async () => {
    const id = newId();
    const bundle = makeBundle(makeConfig(root));
    const withId = COMMANDS.filter((command) => !["list", "spec", "features", "info"].includes(command));
    for (const command of withId) {
      const { stdout, stderr, code } = await runtime([command]);
      assert.deepEqual({ stdout, code }, { stdout: "", code: command === "exec" ? 255 : 1 }, command);
      assert.match(stderr, /^error: /, command);
    }
    const calls = [
      ["start"],
      ["state"],
      ["kill"],
      ["delete"],
      ["exec"],
      ["ps"],
      ["pause"],
      ["resume"],
      ["update", "--pids-limit", "5"],
      ["events"],
    ];
    for (const [command = "", ...flags] of calls)
      assert.match(
        await runtimeFails([command, ...flags, id, ...(command === "exec" ? ["true"] : [])]),
        /does not exist/,
        command,
      );
    assert.equal((await runtime(["nothing"])).code, 1);
    assert.equal((await runtime(["--nothing", "list"])).code, 1);
    assert.equal((await runtime(["run", "--nothing", "--bundle", bundle, id])).code, 1);
    assert.equal((await runtime(["exec", "--nothing", id, "true"])).code, 255);
    assert.equal((await runtime(["start", id, "more"])).code, 1);
  },
);

test("delete --force: of an unknown ID is 0 and silent", needs(), async () => {
  for (const flags of [
    ["--force", "nobody"],
    ["nobody", "--force"],
    ["-f", "nobody"],
  ])
    assert.equal(await runtimePrints(["delete", ...flags]), "");
});

/* ---- the order of flags, and relative paths -------------------------------------------------- */

test("flags may stand before and after the ID, with = and without", asRoot("cgroup:pids"), async () => {
  const bundle = makeBundle(makeConfig(root));
  const directory = temporaryDirectory();
  const orders: ((id: string) => string[])[] = [
    (id) => ["create", id, "--bundle", bundle, "--pid-file", join(directory, "p")],
    (id) => ["create", "--bundle", bundle, id, "--pid-file", join(directory, "p")],
    (id) => ["create", `--pid-file=${join(directory, "p")}`, "-b", bundle, id],
    (id) => ["create", id, `--bundle=${bundle}`, `--pid-file=${join(directory, "p")}`],
  ];
  for (const order of orders) {
    const id = newId();
    forceDelete(id);
    assert.equal(await runtimePrints(order(id)), "");
    assert.equal(readFileSync(join(directory, "p"), "utf8"), String((await stateOf(id)).pid));
    assert.equal(await runtimePrints(["update", id, "--pids-limit", "10"]), "");
    assert.equal(await runtimePrints(["kill", id, "KILL", "--all"]), "");
    assert.equal(await runtimePrints(["delete", id, "--force"]), "");
  }
});

// go-runc restores with -no-subreaper, and so do containerd and Docker.
test("a single dash is enough before a flag's whole name, as in Go's programs", needs(), async () => {
  const id = newId();
  forceDelete(id);
  const pidFile = join(temporaryDirectory(), "pid");
  const bundle = makeBundle(makeConfig(root, { args: ["sleep", "600"] }));
  assert.equal(await runtimePrints(["run", "-detach", "-bundle", bundle, "-pid-file", pidFile, id]), "");
  assert.equal(readFileSync(pidFile, "utf8"), String((await stateOf(id)).pid));
  const exec = ["exec", "-cwd", "/etc", "-env", "A=b", id, "sh", "-c", 'echo "$PWD $A $*"', "sh", "-tty", "-cwd"];
  assert.equal(await runtimePrints(exec), "/etc b -tty -cwd\n");
  assert.equal(await runtimePrints(["-root", temporaryDirectory(), "list", "-quiet"]), "");
  assert.equal(await runtimePrints([`-root=${temporaryDirectory()}`, "list", "-quiet=true"]), "");
  const runs = ["exec", "-cwd=/etc", "-env=A=b", "-tty=false", id, "sh", "-c", 'echo "$PWD $A $*"', "sh", "-cwd=/"];
  assert.equal(await runtimePrints(runs), "/etc b -cwd=/\n");
  assert.equal(await runtimePrints(["exec", "-e=A=b", "-t=false", id, "sh", "-c", "echo $A"]), "b\n");
  const restore = ["restore", "-no-subreaper", "-image-path", "/no/such", "-bundle", bundle, newId()];
  assert.match(await runtimeFails(restore), /^(RESTORE_IMAGES|CRIU_MISSING): /);
  assert.match(await runtimeFails(["list", "-quite"]), /^UNKNOWN_FLAG: /);
});

test("exec, ps: what follows the ID belongs to the command and to ps", needs("package:procps"), async () => {
  const id = await running(makeConfig(root));
  assert.equal(await runtimePrints(["exec", id, "echo", "--cwd", "/tmp", "-d", "--help"]), "--cwd /tmp -d --help\n");
  assert.equal(await runtimePrints(["exec", "--cwd", "/tmp", id, "pwd"]), "/tmp\n");
  assert.equal(await runtimePrints(["exec", "--", id, "pwd"]), "/\n");
  assert.match(await runtimePrints(["ps", id, "-f", "-e"]), /PID/);
});

test(
  "relative --bundle, --pid-file, --config, --root, --log are relative to the caller's directory",
  needs(),
  async () => {
    const bundle = makeBundle(makeConfig(root));
    const cwd = temporaryDirectory();
    symlinkSync(bundle, join(cwd, "b"));
    mkdirSync(join(cwd, "sub"));
    writeFileSync(join(cwd, "sub/c.json"), JSON.stringify(makeConfig(root, { hostname: "other" })));
    const id = newId();
    const flags = ["--root", "sub/state", "--log", "sub/log"];
    atEnd(() => runtime([...flags, "delete", "--force", id], { cwd }));
    const create = ["create", "--bundle", "./b", "--pid-file", "sub/p", "--config", "sub/c.json", id];
    assert.equal(await runtimePrints([...flags, ...create], { cwd }), "");
    assert.ok(existsSync(join(cwd, "sub/state", id)));
    const state = JSON.parse(await runtimePrints(["--root", join(cwd, "sub/state"), "state", id])) as Record<
      string,
      unknown
    >;
    assert.equal(readFileSync(join(cwd, "sub/p"), "utf8"), String(state.pid));
    assert.ok([bundle, join(cwd, "b")].includes(String(state.bundle)));
    await runtimePrints([...flags, "start", id], { cwd });
    assert.equal(await runtimePrints([...flags, "exec", id, "hostname"], { cwd }), "other\n");
    assert.equal((await runtime([...flags, "state", "unknown"], { cwd })).code, 1);
    assert.match(readFileSync(join(cwd, "sub/log"), "utf8"), /unknown does not exist/);
    // What is said when the runtime has gone to the bundle already.
    rmSync(join(cwd, "sub/log"));
    writeFileSync(join(cwd, "sub/c.json"), JSON.stringify(makeConfig(root, { args: ["/no/such/command"] })));
    assert.equal((await runtime([...flags, "run", ...create.slice(1, -1), newId()], { cwd })).code, 1);
    assert.match(readFileSync(join(cwd, "sub/log"), "utf8"), /no\/such\/command/);
  },
);

test("run: without --bundle the bundle is the caller's directory", needs(), async () => {
  const cwd = makeBundle(makeConfig(root, { args: ["echo", "here"] }));
  assert.equal(await runtimePrints(["run", newId()], { cwd }), "here\n");
});

test("root.path is relative to the bundle, wherever the caller is", needs(), async () => {
  const rootfs = makeRootfs();
  const config = makeConfig("rootfs", { args: ["cat", "/CONTAINER_ROOT_DIR"] });
  const bundle = makeBundle(config);
  renameSync(rootfs, join(bundle, "rootfs"));
  assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()], { cwd: "/usr" }), "inside\n");
});

test("--root keeps containers apart: the same ID is free below another one", needs(), async () => {
  const id = await created(makeConfig(root));
  const other = join(temporaryDirectory(), "other");
  // Without a path the control group is named after the ID, and two containers in one group are refused.
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: `/${newId()}` } }));
  assert.equal((await runtime(["--root", other, "state", id])).code, 1);
  atEnd(() => runtime(["--root", other, "delete", "--force", id]));
  await runtimePrints(["--root", other, "create", "--bundle", bundle, id]);
  await runtimePrints(["--root", other, "delete", id]);
  assert.equal((await stateOf(id)).status, "created");
});

test("the global flags of runc and crun are accepted", needs(), async () => {
  const flags = [
    ["--debug"],
    ["--log-level", "debug"],
    ["--rootless", "false"],
    ["--rootless=auto"],
    ["--rootless", "true"],
    ["--cgroup-manager", "cgroupfs"],
    ["--cgroup-manager=disabled"],
    ["--log-format", "json"],
  ];
  for (const flag of flags) assert.equal((await runtime([...flag, "list", "-q"])).code, 0, flag.join(" "));
  assert.equal((await runtime(["--cgroup-manager", "other", "list"])).code, 1);
  assert.equal((await runtime(["--log-format", "xml", "list"])).code, 1);
});

test("create --config, exec --env, update --cpu-share: the error names the flag and its value", needs(), async () => {
  assert.match(
    (await runtime(["create", "--bundle", makeBundle(makeConfig(root)), "--config", "/no/such.json", newId()])).stderr,
    /^error: cannot read the config \/no\/such\.json \(BUNDLE_UNREADABLE\)\n {2}flag: {3}--config\n/,
  );
  assert.match(
    (await runtime(["exec", "-it", "box", "sh"])).stderr,
    /^error: tupper-runtime exec has no flag -i \(UNKNOWN_FLAG\)\n {2}hint: {3}stdin is always passed on\n/,
  );
  const id = await running(makeConfig(root));
  for (const variable of ["FOO", "=x"])
    assert.deepEqual(await runtime(["exec", "--env", variable, id, "true"]), {
      code: 255,
      stdout: "",
      stderr: `error: --env "${variable}" is not of the form NAME=VALUE (BAD_VARIABLE)\n  flag:   --env\n`,
    });
  for (const wrong of ["-1", "1.5", "18446744073709551616"])
    assert.match(
      (await runtime(["update", "--cpu-share", wrong, id])).stderr,
      /^error: --cpu-share ".*" is not a whole number from 0 to 18446744073709551615 \(BAD_NUMBER\)\n/,
    );
});

/* ---- the log ---------------------------------------------------------------------------------- */

test("--debug: each step is logged before it is performed, to the log file or else to stderr", asRoot(), async () => {
  const log = join(temporaryDirectory(), "log");
  const bundle = makeBundle(
    makeConfig(root, {
      args: ["echo", "ran"],
      linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_LOG"] } },
    }),
  );
  const bare = await runtime(["--debug", "run", "--bundle", bundle, newId()]);
  assert.deepEqual([bare.code, bare.stdout], [0, "ran\n"]);
  const lines = bare.stderr.trimEnd().split("\n");
  for (const line of lines) assert.match(line, /^time="[^"]+Z" level=debug msg=".+"$/);
  const said = (text: string) => lines.findIndex((line) => line.includes(` msg="${text}`));
  assert.equal(said("run rt-"), 0);
  assert.ok(said("parent: clone") < said("init: mount proc") && said("init: mount proc") < said("init: execute echo"));
  assert.ok(said('seccomp filter flags: 2"') > 0, bare.stderr);

  const id = newId();
  const flags = ["--log", log, "--log-format", "json"];
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints([...flags, "--log-level", "debug", "create", "--bundle", bundle, id]);
  await runtimePrints([...flags, "--debug", "exec", id, "true"]);
  const entries = readFileSync(log, "utf8").trimEnd().split("\n");
  const parsed = entries.map((line) => JSON.parse(line) as Record<string, string>);
  assert.deepEqual([...new Set(parsed.map(({ level }) => level))], ["debug"]);
  const messages = parsed.map(({ msg = "" }) => msg);
  assert.equal(messages[0], `create ${id}`);
  assert.ok(messages.indexOf(`exec ${id} true`) > messages.indexOf("init: wait for start"));
  assert.equal(messages.at(-1), "init: execute true");
  const size = readFileSync(log, "utf8").length;
  await runtimePrints([...flags, "kill", id, "KILL"]);
  assert.equal(readFileSync(log, "utf8").length, size);
});

test("--log: the last line holds the whole sentence, as JSON or text; stderr says it too", needs(), async () => {
  const log = join(temporaryDirectory(), "log");
  const last = () => readFileSync(log, "utf8").trimEnd().split("\n").at(-1) ?? "";
  const config = makeConfig(root, { args: ["/no/such"] });
  config.mounts?.push({ destination: "/tmp", type: "bind", source: '/nowhere/to be "found"', options: ["bind"] });
  const bundle = makeBundle(config);
  const json = await runtime(["--log", log, "--log-format", "json", "create", "--bundle", bundle, newId()]);
  assert.equal(json.code, 1);
  const entry = JSON.parse(last()) as Record<string, string>;
  for (const field of ["level", "msg", "time", "code", "field", "kernel", "hint"])
    assert.equal(typeof entry[field], "string", field);
  assert.equal(entry.level, "error");
  assert.match(entry.time ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  const [first = ""] = json.stderr.split("\n");
  const sentence = first.replace(/^error: /, "").replace(/ \([A-Z_]+\)$/, "");
  assert.match(sentence, /\/nowhere\/to be "found"/);
  assert.ok(entry.msg?.includes(sentence), entry.msg);
  assert.match(entry.msg ?? "", /no such file or directory/i);
  assert.match(entry.msg ?? "", /mounts\[3\]/);

  const text = await runtime(["--log", log, "create", "--bundle", bundle, newId()]);
  assert.equal(text.code, 1);
  assert.match(last(), /^time="?\S+"? level=error msg=".*\/nowhere\/to be \\"found\\".*"$/);
});

test("--log: nothing is written when all is well, warnings go there, and usage errors do", needs(), async () => {
  const directory = temporaryDirectory();
  const log = join(directory, "log");
  const flags = ["--log", log, "--log-format=json"];
  const lines = () =>
    (existsSync(log) ? readFileSync(log, "utf8").split("\n").slice(0, -1) : []).map(
      (line) => JSON.parse(line) as { level: string; msg: string },
    );
  const bundle = makeBundle(makeConfig(root, { args: ["true"] }));
  assert.equal(await runtimePrints([...flags, "run", "--bundle", bundle, newId()]), "");
  assert.deepEqual(lines(), []);
  const config = makeConfig(root, { args: ["true"], process: { capabilities: { bounding: ["CAP_FLY"] } } });
  assert.equal(await runtimePrints([...flags, "run", "--bundle", makeBundle(config), newId()]), "");
  assert.deepEqual(
    lines().map(({ level }) => level),
    ["warning"],
  );
  assert.match(lines()[0]?.msg ?? "", /CAP_FLY/);
  assert.equal((await runtime([...flags, "create", "--no-such-flag", newId()])).code, 1);
  assert.match(lines().at(-1)?.msg ?? "", /--no-such-flag/);
  assert.equal(lines().at(-1)?.level, "error");
});

/** One that is open, and that nobody reads. */
function fullFifo(): string {
  const path = join(temporaryDirectory(), "full");
  output("mkfifo", path);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  atEnd(() => closeSync(fd));
  for (const length of [4096, 1])
    assert.throws(() => {
      for (;;) writeSync(fd, ".".repeat(length));
    }, /EAGAIN/);
  return path;
}

test(
  "--log: a file that cannot be opened or written is told on stderr, beside what should have been in it",
  needs(),
  async () => {
    const config = makeConfig(root, { args: ["echo", "ran"], process: { capabilities: { bounding: ["CAP_FLY"] } } });
    const bundle = makeBundle(config);
    const unread = join(temporaryDirectory(), "fifo");
    output("mkfifo", unread);
    const full = fullFifo();
    for (const [log, call] of [
      [full, /write\(.*\) = EAGAIN \(/],
      [unread, /openat\(.*\) = ENXIO \(no such device or address\)/],
      ["/no/such/log", /openat\(.*\) = ENOENT \(no such file or directory\)/],
      ["/dev/full", /write\(.*\) = ENOSPC \(no space left on device\)/],
    ] as const) {
      for (const format of ["text", "json"]) {
        const flags = ["--log", log, "--log-format", format];
        const failed = await runtime([...flags, "state", "unknown"]);
        assert.deepEqual([failed.code, failed.stdout], [1, ""]);
        const [warning = "", error = "", ...more] = failed.stderr.split("\n");
        assert.ok(warning.startsWith(`warning: cannot write the log file ${log}: `), warning);
        assert.match(warning, call);
        assert.match(warning, /flag: --log; .*LOG_FILE\)$/);
        assert.match(error, /^error: container unknown does not exist \(hint: .*; CONTAINER_UNKNOWN\)$/);
        assert.deepEqual(more, [""]);

        const ran = await runtime([...flags, "run", "--bundle", bundle, newId()]);
        assert.deepEqual([ran.code, ran.stdout], [0, "ran\n"]);
        assert.match(
          ran.stderr,
          /^warning: cannot write the log file .*\nwarning: process\.capabilities names CAP_FLY, .*\n$/,
        );
      }
      const debug = await runtime(["--log", log, "--debug", "list", "-q"]);
      assert.equal(debug.code, 0);
      assert.match(debug.stderr, /^warning: cannot write .*\ntime="\S+" level=debug msg="list "\n$/);
    }
    // An empty name is none, as for runc.
    assert.match(
      (await runtime(["--log", "", "state", "unknown"])).stderr,
      /^error: container unknown does not exist \(CONTAINER_UNKNOWN\)\n/,
    );
  },
);

test("--log: of exec, and of start, whose command is not there", needs(), async () => {
  const log = join(temporaryDirectory(), "log");
  const flags = ["--log", log, "--log-format", "json"];
  const last = () => (JSON.parse(readFileSync(log, "utf8").trimEnd().split("\n").at(-1) ?? "") as { msg: string }).msg;
  const id = await running(makeConfig(root));
  assert.equal((await runtime([...flags, "exec", id, "no-such-command"])).code, 255);
  assert.match(last(), /no-such-command/);
  assert.equal((await runtime([...flags, "exec", id, "/etc/passwd"])).code, 255);
  assert.match(last(), /\/etc\/passwd.*permission denied/);
});

/* ---- spec, features --------------------------------------------------------------------------- */

const specOf = (directory: string): Config =>
  JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as Config;

test("spec: an indented config.json with what runc's has; it does not replace one", needs(), async () => {
  const cwd = temporaryDirectory();
  assert.equal(await runtimePrints(["spec"], { cwd }), "");
  const text = readFileSync(join(cwd, "config.json"), "utf8");
  assert.match(text, /^\{\n(\t| +)"ociVersion": "1\./);
  const config = specOf(cwd);
  const { process, linux } = config;
  assert.deepEqual(
    {
      args: process.args,
      terminal: process.terminal,
      cwd: process.cwd,
      noNewPrivileges: process.noNewPrivileges,
      user: process.user,
    },
    { args: ["sh"], terminal: true, cwd: "/", noNewPrivileges: true, user: { uid: 0, gid: 0 } },
  );
  assert.deepEqual(process.capabilities?.bounding, ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
  assert.deepEqual(process.capabilities?.effective, process.capabilities?.bounding);
  assert.deepEqual(process.capabilities?.permitted, process.capabilities?.bounding);
  assert.deepEqual(process.rlimits, [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }]);
  assert.deepEqual(config.root, { path: "rootfs", readonly: true });
  assert.deepEqual(
    config.mounts?.map(({ destination }) => destination),
    ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"],
  );
  assert.deepEqual(
    linux.namespaces
      ?.map(({ type }) => type)
      .filter((type) => type !== "cgroup")
      .sort(),
    ["ipc", "mount", "network", "pid", "uts"],
  );
  assert.ok(linux.maskedPaths?.includes("/proc/kcore"));
  assert.ok(linux.readonlyPaths?.includes("/proc/sys"));
  assert.match(await runtimeFails(["spec"], { cwd }), /exists/);
  assert.equal(readFileSync(join(cwd, "config.json"), "utf8"), text);
});

test("spec: edited as JSON, it runs", needs(), async () => {
  const bundle = temporaryDirectory();
  await runtimePrints(["spec", "--bundle", bundle]);
  const config = specOf(bundle);
  config.process.terminal = false;
  config.process.args = ["sh", "-c", "cat /CONTAINER_ROOT_DIR; ulimit -n; touch /x 2>/dev/null || echo read-only"];
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  renameSync(makeRootfs(), join(bundle, "rootfs"));
  assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()]), "inside\n1024\nread-only\n");
});

test(
  "spec --rootless: edited as JSON, it runs for an ordinary user, who is root in it",
  asRoot("package:uidmap"),
  async () => {
    const { user } = users;
    const as = { user, cwd: user.home, prefix: ["bash", "-c", 'exec -a tupper-runtime "$@"', "bash"] };
    assert.equal(await prints(["spec", "--rootless"], as), "");
    const config = specOf(user.home);
    assert.deepEqual(config.linux.uidMappings, [{ containerID: 0, hostID: user.uid, size: 1 }]);
    assert.deepEqual(config.linux.gidMappings, [{ containerID: 0, hostID: user.gid, size: 1 }]);
    assert.equal(config.linux.resources, undefined);
    assert.ok(config.linux.namespaces?.every(({ type }) => type !== "network"));
    config.process.terminal = false;
    config.process.args = ["sh", "-c", "id -u; cat /CONTAINER_ROOT_DIR"];
    config.root.path = root;
    writeFileSync(join(user.home, "config.json"), JSON.stringify(config));
    assert.equal(await prints(["run", "rootless"], as), "0\ninside\n");
  },
);

test("features: what features.md of the spec asks for", async () => {
  const features = JSON.parse(await runtimePrints(["features"])) as Record<string, unknown>;
  const list = (value: unknown, pattern: RegExp): string[] => {
    assert.ok(
      Array.isArray(value) && value.every((item) => typeof item === "string" && pattern.test(item)),
      JSON.stringify(value),
    );
    assert.deepEqual(value, [...new Set(value as string[])], "no word twice");
    return value as string[];
  };
  assert.deepEqual(
    Object.keys(features).filter(
      (key) =>
        ![
          "ociVersionMin",
          "ociVersionMax",
          "hooks",
          "mountOptions",
          "annotations",
          "potentiallyUnsafeConfigAnnotations",
          "linux",
        ].includes(key),
    ),
    [],
  );
  assert.match(String(features.ociVersionMin), /^1\.0\.0/);
  assert.match(String(features.ociVersionMax), /^1\.\d+\.\d+(-[\w.+-]+)?$/);
  assert.deepEqual(list(features.hooks, /^\w+$/), [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
  ]);
  for (const option of ["ro", "rw", "bind", "rbind", "nosuid", "idmap", "rro", "rprivate"])
    assert.ok(list(features.mountOptions, /^[\w-]+$/).includes(option), option);
  for (const value of Object.values((features.annotations ?? {}) as object)) assert.equal(typeof value, "string");
  const linux = features.linux as Record<string, Record<string, unknown>>;
  assert.deepEqual(list(linux.namespaces, /^\w+$/).toSorted?.() ?? [], [
    "cgroup",
    "ipc",
    "mount",
    "network",
    "pid",
    "time",
    "user",
    "uts",
  ]);
  assert.equal(list(linux.capabilities, /^CAP_[A-Z_]+$/).length, 41);
  for (const key of ["v1", "v2", "systemd", "systemdUser", "rdma"])
    assert.equal(typeof linux.cgroup?.[key], "boolean", key);
  const { seccomp } = linux;
  assert.equal(seccomp?.enabled, true);
  assert.ok(list(seccomp?.actions, /^SCMP_ACT_[A-Z_]+$/).includes("SCMP_ACT_NOTIFY"));
  assert.ok(list(seccomp?.operators, /^SCMP_CMP_[A-Z_]+$/).includes("SCMP_CMP_MASKED_EQ"));
  assert.ok(list(seccomp?.archs, /^SCMP_ARCH_\w+$/).includes("SCMP_ARCH_X86_64"));
  const known = list(seccomp?.knownFlags, /^SECCOMP_FILTER_FLAG_[A-Z_]+$/);
  for (const flag of list(seccomp?.supportedFlags, /^SECCOMP_FILTER_FLAG_[A-Z_]+$/))
    assert.ok(known.includes(flag), flag);
  for (const key of ["apparmor", "selinux", "intelRdt"]) assert.equal(typeof linux[key]?.enabled, "boolean", key);
  const mountExtensions = linux.mountExtensions as Record<string, { enabled: unknown }>;
  assert.equal(typeof mountExtensions.idmap?.enabled, "boolean");
});
