/**
 * Flags of tupper-runtime, and its `info`, that engines and scripts know from runc, crun and youki (--pidfd-socket, --regex, exec --process -, spec --file, --log
 * syslog:), and what they say to right and wrong values: empty ones, numbers, paths with slashes at their end.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
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
  stateOf,
} from "./bundle.ts";
import { deafSocket } from "./deaf-socket.ts";
import { atEnd, compiled, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });

/** Somebody who takes a process on a socket. */
async function receiver() {
  const socket = `${temporaryDirectory()}/pidfd`;
  const child = spawn(compiled("pidfd_receiver"), [socket], { stdio: ["ignore", "pipe", "inherit"] });
  atEnd(() => child.kill("SIGKILL"));
  const ended = once(child, "exit");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value as string | undefined;
  assert.equal(await line(), "listening");
  return { socket, line, ended };
}

test("create --pidfd-socket: the receiver has the first process and sees its end", needs("programs"), async () => {
  const { socket, line, ended } = await receiver();
  const id = await created(makeConfig(root), ["--pidfd-socket", socket]);
  assert.equal(await line(), `standard ${(await stateOf(id)).pid}`);
  assert.equal(await runtimePrints(["delete", "--force", id]), "");
  assert.deepEqual(await ended, [0, null]);
});

test("run.oci.pidfd_receiver: the receiver has the first process, and crun's one byte", needs("programs"), async () => {
  const { socket, line, ended } = await receiver();
  const id = await created({ ...makeConfig(root), annotations: { "run.oci.pidfd_receiver": socket } });
  assert.equal(await line(), `  ${(await stateOf(id)).pid}`);
  assert.equal(await runtimePrints(["delete", "--force", id]), "");
  assert.deepEqual(await ended, [0, null]);
});

test("run.oci.pidfd_receiver: nobody listens: nothing is left", needs(), async () => {
  // Relative to the bundle, as crun has it.
  const bundle = makeBundle({ ...makeConfig(root), annotations: { "run.oci.pidfd_receiver": "nobody" } });
  const id = newId();
  const { stderr } = await runtime(["create", "--bundle", bundle, id]);
  assert.deepEqual(stderr.split("\n").slice(0, 2), [
    `error: cannot send the process to the pidfd socket ${bundle}/nobody (PIDFD_SOCKET)`,
    '  config: annotations["run.oci.pidfd_receiver"]',
  ]);
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
});

test("exec --pidfd-socket: the receiver has the new process", needs("programs"), async () => {
  const { socket, line, ended } = await receiver();
  const id = await running(makeConfig(root));
  const pidFile = `${temporaryDirectory()}/pid`;
  const flags = ["--detach", "--pid-file", pidFile, "--pidfd-socket", socket];
  assert.equal(await runtimePrints(["exec", ...flags, id, "sleep", "600"]), "");
  assert.equal(await line(), `setns ${readFileSync(pidFile, "utf8")}`);
  assert.equal(await runtimePrints(["kill", id, "KILL"]), "");
  assert.deepEqual(await ended, [0, null]);
});

test("create --pidfd-socket: nobody listens: nothing is left", needs(), async () => {
  const bundle = makeBundle(makeConfig(root));
  const id = newId();
  const socket = `${temporaryDirectory()}/nobody`;
  assert.equal(
    await runtimeFails(["create", "--bundle", bundle, "--pidfd-socket", socket, id]),
    `PIDFD_SOCKET: cannot send the process to the pidfd socket ${socket}`,
  );
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
});

test("create --pidfd-socket: one who accepts nobody keeps nobody waiting: nothing is left", needs(), async () => {
  const socket = await deafSocket("full");
  const id = newId();
  assert.equal(
    await runtimeFails(["create", "--bundle", makeBundle(makeConfig(root)), "--pidfd-socket", socket, id]),
    `PIDFD_SOCKET: cannot send the process to the pidfd socket ${socket}`,
  );
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
});

test("exec --pidfd-socket: nobody listens: the process does not live on", needs(), async () => {
  const id = await running(makeConfig(root));
  const socket = `${temporaryDirectory()}/nobody`;
  assert.match(
    await runtimeFails(["exec", "--detach", "--pidfd-socket", socket, id, "sleep", "601"]),
    /^PIDFD_SOCKET: /,
  );
  const { stdout } = await runtime(["exec", id, "ps", "-o", "args"]);
  assert.deepEqual(
    stdout.split("\n").filter((line) => line.startsWith("sleep")),
    ["sleep 600"],
  );
});

test("kill --regex, delete --regex: all containers whose ID matches, and no others", needs(), async () => {
  const stateRoot = temporaryDirectory();
  const call = (...args: string[]) => runtimePrints(["--root", stateRoot, ...args]);
  const bundle = makeBundle(makeConfig(root));
  const ids = ["web-1", "web-2", "database"];
  for (const id of ids) {
    atEnd(() => runtime(["--root", stateRoot, "delete", "--force", id]));
    await call("run", "--detach", "--bundle", bundle, id);
  }
  assert.equal(await call("kill", "--regex", "^web-[0-9]$", "KILL"), "");
  const status = async (id: string) => (JSON.parse(await call("state", id)) as { status: string }).status;
  while ((await status("web-1")) !== "stopped" || (await status("web-2")) !== "stopped");
  assert.equal(await status("database"), "running");
  // One that does not let itself be deleted is a warning, the others go.
  const deleted = await runtime(["--root", stateRoot, "delete", "--regex", "a"]);
  assert.deepEqual(deleted, {
    stdout: "",
    stderr: "warning: cannot delete container database that is not stopped: running\n",
    code: 0,
  });
  assert.equal(await call("delete", "--regex", "web"), "");
  assert.equal(await call("list", "--quiet"), "database\n");
  assert.equal(await call("delete", "--force", "--regex", "."), "");
  assert.equal(await call("list", "--quiet"), "");
  assert.match(
    (await runtime(["delete", "--regex", "("])).stderr,
    /^error: "\(" is not a regular expression \(REGEX_INVALID\)$/m,
  );
});

test("exec --process -: the process comes on standard input", needs(), async () => {
  const id = await running(makeConfig(root));
  const process = { user: { uid: 7, gid: 8 }, args: ["id", "-u"], env: ["PATH=/bin"], cwd: "/" };
  assert.equal(await runtimePrints(["exec", "--process", "-", id], { input: JSON.stringify(process) }), "7\n");
  for (const file of ["/nowhere.json", "/dev/zero"])
    assert.match(await runtimeFails(["exec", "--process", file, id]), /^PROCESS_UNREADABLE: /);
});

test("an ID that is none is an error, of delete --force too: a variable may be empty", needs(), async () => {
  for (const id of ["", ".", "..", "a/b", "../x", "a b", "x".repeat(256)])
    for (const command of [["delete", "--force"], ["delete"], ["state"], ["kill"], ["start"], ["exec"]])
      assert.equal(
        await runtimeFails([...command, id, ...(command[0] === "exec" ? ["true"] : [])]),
        `ID_INVALID: invalid container ID ${JSON.stringify(id)}`,
        command.join(" "),
      );
});

test("an empty value of a flag is none, as for runc", needs(), async () => {
  const [cwd, id] = [makeBundle(makeConfig(root, { process: { cwd: "/tmp" } })), newId()];
  atEnd(() => runtime(["--root", "", "delete", "--force", id]));
  const none = ["--pid-file", "", "--console-socket", "", "--pidfd-socket", ""];
  assert.equal(await runtimePrints(["--root", "", "--log", "", "run", "-d", ...none, "--config", "", id], { cwd }), "");
  assert.deepEqual(readdirSync(cwd), ["config.json"]);
  const more = ["--process", "", "--user", "", "--cwd", "", "--apparmor", "", "--process-label", ""];
  assert.equal(await runtimePrints(["exec", ...none, ...more, id, "sh", "-c", "pwd; id -u"], { cwd }), "/tmp\n0\n");
});

test("create --pid-file: of a file that cannot be replaced nothing is left", needs(), async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "pid"));
  const create = ["create", "--bundle", makeBundle(makeConfig(root)), "--pid-file", join(directory, "pid"), newId()];
  assert.match(await runtimeFails(create), /^PID_FILE: /);
  assert.deepEqual(readdirSync(directory), ["pid"]);
});

test("kill ID TRM: the ID may be a number that is a signal too", needs(), async () => {
  const state = temporaryDirectory();
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: `/${newId()}` } }));
  atEnd(() => runtime(["--root", state, "delete", "--force", "12"]));
  await runtimePrints(["--root", state, "create", "--bundle", bundle, "12"]);
  for (const [args, hint] of [
    [["12", "TRM"], "did you mean TERM?"],
    [["12", "-9"], "without the dash: 9"],
    [["13", "box"], "the ID comes first: kill box 13"],
  ] as const)
    assert.deepEqual(await runtime(["--root", state, "kill", ...args]), {
      code: 1,
      stdout: "",
      stderr: `error: there is no signal "${args[1]}" (UNKNOWN_SIGNAL)\n  arg:    SIGNAL\n  hint:   ${hint}\n`,
    });
});

test(
  "--log syslog:NAME, journald:NAME: a datagram for each line, to the machine's services; file:PATH is a path",
  asRoot("programs", "package:util-linux"),
  async () => {
    const config = makeConfig(root, { args: ["true"], process: { capabilities: { bounding: ["CAP_FLY"] } } });
    const bundle = makeBundle(config);
    const unknown = "container unknown does not exist (hint: `list` shows those there are; CONTAINER_UNKNOWN)";
    const journal = "/run/systemd/journal/socket";
    /** What the command sends to the socket, in a /dev and /run of its own. */
    const sent = async (socket: string, args: readonly string[]) => {
      const script = `mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3; exec "$@"`;
      const prefix = ["unshare", "-m", "sh", "-c", script, "sh", compiled("receive_datagrams"), socket];
      const { stdout, stderr, code } = await runtime(args, { prefix });
      return { datagrams: stdout.split("\n").slice(0, -1), stderr, code };
    };
    for (const [log, socket, datagram] of [
      ["syslog:", "/dev/log", `<11>tupper-runtime: ${unknown}`],
      ["syslog:box", "/dev/log", `<11>box: ${unknown}`],
      ["journald:", journal, `PRIORITY=3\\nSYSLOG_IDENTIFIER=tupper-runtime\\nMESSAGE=${unknown}\\n`],
      ["journald:a:b\nX=y", journal, `PRIORITY=3\\nSYSLOG_IDENTIFIER=a:b?X=y\\nMESSAGE=${unknown}\\n`],
    ] as const)
      assert.deepEqual(await sent(socket, ["--log", log, "state", "unknown"]), {
        datagrams: [datagram],
        stderr: `error: ${unknown}\n`,
        code: 1,
      });
    const json = await sent(journal, ["--log-format", "json", "--log", "journald:", "state", "unknown"]);
    const [, message = ""] = /MESSAGE=(.*)\\n$/.exec(json.datagrams[0] ?? "") ?? [];
    assert.equal((JSON.parse(message) as { msg: string }).msg, unknown);
    const warned = await sent("/dev/log", ["--log", "syslog:box", "run", "--bundle", bundle, newId()]);
    assert.deepEqual([warned.datagrams.length, warned.stderr, warned.code], [1, "", 0]);
    assert.match(warned.datagrams[0] ?? "", /^<12>box: process\.capabilities names CAP_FLY, /);

    const nobody = await sent("/dev/other", ["--log", "syslog:box", "state", "unknown"]);
    const [warning = "", ...more] = nobody.stderr.split("\n");
    assert.match(
      warning,
      /^warning: cannot write the log file syslog:box: connect\("\/dev\/log"\) = ENOENT .*LOG_FILE\)$/,
    );
    assert.deepEqual([nobody.datagrams, more], [[], [`error: ${unknown}`, ""]]);

    const cwd = temporaryDirectory();
    for (const log of ["file:log", "file:", "other:log"])
      assert.equal((await runtime(["--log", log, "state", "unknown"], { cwd })).code, 1);
    assert.deepEqual(readdirSync(cwd).sort(), ["log", "other:log"]);
  },
);

test(
  "--log syslog:NAME: a service that does not read holds nobody up; it is told in a warning",
  asRoot("programs", "package:util-linux"),
  async () => {
    // In a new network namespace its queue takes 11 datagrams, and nobody reads them before the commands have ended.
    const script = `mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3; socket=$1; shift; exec "$socket" /dev/log sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "$@"; done' sh "$@"`;
    const prefix = ["unshare", "-m", "-n", "sh", "-c", script, "sh", compiled("receive_datagrams")];
    const { stdout, stderr, code } = await runtime(["--log", "syslog:box", "state", "unknown"], { prefix });
    const lines = (text: string, what: RegExp) => text.match(what)?.length;
    assert.deepEqual(
      [
        lines(stdout, /^<11>box: container unknown does not exist .*$/gm),
        lines(stderr, /^warning: cannot write the log file syslog:box: write\(.* = EAGAIN .*LOG_FILE\)$/gm),
        lines(stderr, /^error: container unknown does not exist .*$/gm),
        code,
      ],
      [11, 1, 12, 1],
      stderr,
    );
  },
);

test("spec --file: another name, which is written over; a link such as /dev/stdout stays one", needs(), async () => {
  const [cwd, other] = [temporaryDirectory(), temporaryDirectory()];
  const names = [join(cwd, "a.json"), join(other, "b.json"), join(cwd, "c.json")];
  for (const args of [
    ["--file", "a.json"],
    ["-b", other, "-f", "b.json"],
    ["-b", other, "-f", join(cwd, "c.json")],
    ["-f", "a.json"],
  ])
    assert.equal(await runtimePrints(["spec", ...args], { cwd }), "");
  await runtimePrints(["spec"], { cwd });
  for (const name of names) assert.equal(readFileSync(name, "utf8"), readFileSync(join(cwd, "config.json"), "utf8"));
  assert.deepEqual(readdirSync(other), ["b.json"]);
  assert.match(await runtimeFails(["spec", "-f", cwd]), /^SPEC_UNWRITABLE: /);
  const link = join(cwd, "stdout");
  symlinkSync("/proc/self/fd/1", link);
  assert.equal(await runtimePrints(["spec", "-f", link]), readFileSync(join(cwd, "config.json"), "utf8"));
  assert.equal(readlinkSync(link), "/proc/self/fd/1");
});

test(
  "create, spec: a bundle that is named with slashes at its end, and the root directory, are told plainly",
  needs(),
  async () => {
    const cwd = temporaryDirectory();
    const sentence = /^error: cannot read the config (.*) \(BUNDLE_UNREADABLE\)$/m;
    const told = async (bundle: string) =>
      sentence.exec((await runtime(["create", "--bundle", bundle, newId()], { cwd })).stderr)?.[1];
    for (const bundle of [".", "./", ".//", "././", cwd, `${cwd}/`])
      assert.equal(await told(bundle), `${cwd}/config.json`, bundle);
    for (const bundle of ["./b", "b/", ".//b//"]) assert.equal(await told(bundle), `${cwd}/b/config.json`, bundle);
    for (const bundle of ["/", "//"]) assert.equal(await told(bundle), "/config.json", bundle);
  },
);

/* ---- of crun and youki ------------------------------------------------------------------------ */

test("-V behind other flags, -?, --usage: as crun has them", async () => {
  const version = await runtimePrints(["--version"]);
  for (const flag of ["-V", "-v"]) assert.equal(await runtimePrints(["--debug", flag]), version);
  assert.equal(await runtimePrints(["-?"]), await runtimePrints(["--help"]));
  assert.equal(await runtimePrints(["exec", "-?"]), await runtimePrints(["exec", "--help"]));
  assert.equal(await runtimePrints(["--usage"]), "Usage: tupper-runtime [OPTIONS] COMMAND [ARG…]\n");
  assert.equal(await runtimePrints(["run", "-d", "--usage"]), "Usage: tupper-runtime run [OPTIONS] ID\n");
  for (const flag of ["-V", "-v"]) assert.match(await runtimeFails(["list", flag]), /^UNKNOWN_FLAG: /);
});

test(
  "-r, -l, -s before the command, create -c and -p, exec -tfalse: as youki and crun have them",
  asRoot(),
  async () => {
    const records = temporaryDirectory();
    const log = join(records, "log");
    const pidFile = join(records, "pid");
    const id = newId();
    const before = ["-r", join(records, "containers"), "-l", log];
    await runtimePrints([...before, "create", "-p", pidFile, "--bundle", makeBundle(makeConfig(root)), id]);
    atEnd(() => runtime([...before, "delete", "--force", id]));
    const state = JSON.parse(await runtimePrints([...before, "state", id])) as { pid: number };
    assert.equal(readFileSync(pidFile, "utf8"), String(state.pid));
    await runtimePrints([...before, "start", id]);
    for (const flag of ["-tfalse", "-tno", "--tty=no", "--tty=false"])
      assert.equal((await runtime([...before, "exec", flag, id, "tty"])).stdout, "not a tty\n", flag);
    const socket = ["create", "-c", "/no/socket", "--bundle", makeBundle(makeConfig(root))];
    assert.match((await runtime([...before, ...socket, newId()])).stderr, /--console-socket .*CONSOLE_SOCKET_UNUSED/);
    assert.match(readFileSync(log, "utf8"), /CONSOLE_SOCKET_UNUSED/);
    assert.match(
      (
        await runtime([
          "-s",
          "create",
          "--bundle",
          makeBundle(makeConfig(root, { linux: { cgroupsPath: "x" } })),
          newId(),
        ])
      ).stderr,
      /SYSTEMD_MISSING|cgroupsPath/,
    );
  },
);

test("info: what the machine has, as text and as JSON", async () => {
  const info = JSON.parse(await runtimePrints(["info", "--format", "json"])) as Record<string, unknown>;
  const status = readFileSync("/proc/self/status", "utf8");
  const inBounding = BigInt(`0x${/^CapBnd:\s*(\w+)/m.exec(status)?.[1]}`)
    .toString(2)
    .replaceAll("0", "").length;
  const { bounding, missing } = info.capabilities as Record<string, string[]>;
  assert.equal(bounding?.length, inBounding);
  const last = Number(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8"));
  if (last <= 40) assert.equal(new Set([...(bounding ?? []), ...(missing ?? [])]).size, last + 1);
  const mounts = Object.values((info.cgroups as { mounts: Record<string, string> }).mounts).sort();
  const mounted = output("awk", '$3 ~ "^cgroup" { print $2 }', "/proc/self/mounts").trim().split("\n");
  assert.deepEqual(
    mounts.filter((path) => !mounted.includes(path)),
    [],
  );
  assert.deepEqual(info.kernel, {
    release: output("uname", "-r").trimEnd(),
    version: output("uname", "-v").trimEnd(),
  });
  assert.equal(info.architecture, output("uname", "-m").trimEnd());
  assert.equal(info.processors, Number(output("grep", "-c", "^processor", "/proc/cpuinfo")));
  assert.equal(info.memoryBytes, 1024 * Number(output("awk", '$1 == "MemTotal:" { print $2 }', "/proc/meminfo")));
  assert.deepEqual(info.namespaces, ["mount", "pid", "network", "ipc", "uts", "user", "cgroup", "time"]);
  const text = await runtimePrints(["info"]);
  const line = (name: string) => new RegExp(`^${name} +(.*)$`, "m").exec(text)?.[1];
  assert.equal(line(" {2}release"), output("uname", "-r").trimEnd());
  assert.equal(line("namespaces"), "mount pid network ipc uts user cgroup time");
  assert.equal(line(" {2}bounding"), bounding?.join(" ") || "none");
  assert.equal(line("operating system"), info.operatingSystem ?? "unknown");
});
