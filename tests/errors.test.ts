import assert from "node:assert/strict";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { atEnd, type Failure, fails, output, start, temporaryDirectory, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { type Files, makeRootfs, sharedRootfs } from "./rootfs.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };

/** One sentence: no line feed, no full stop in the middle, no stack, and it says which thing is meant. */
function checkSentence({ message, details }: Failure, thing: string): void {
  assert.ok(message.includes(thing), `"${message}" does not say ${thing}`);
  assert.ok(message.length < 200 && !/\.\s/.test(message) && !message.endsWith("."), message);
  assert.ok(details.hint, `"${message}" has no hint`);
}

async function check(args: readonly string[], code: string, exitCode: number, thing: string): Promise<Failure> {
  const failure = await fails(args);
  assert.deepEqual({ code: failure.code, exitCode: failure.exitCode }, { code, exitCode }, failure.message);
  checkSentence(failure, thing);
  return failure;
}

// ROOT

test("run: a ROOT that is not there", needs, async () => {
  await check(["run", "/no/such/root", "true"], "ROOT_MISSING", 125, "/no/such/root");
});

test("run: a ROOT that is a file", needs, async () => {
  await check(["run", "/etc/passwd", "true"], "ROOT_NOT_A_DIRECTORY", 125, "/etc/passwd");
});

test("run: a ROOT that is a dangling link or a loop of links", needs, async () => {
  const directory = temporaryDirectory();
  output("ln", "-s", "/no/such/target", join(directory, "dangling"));
  output("ln", "-s", "loop", join(directory, "loop"));
  for (const name of ["dangling", "loop"]) {
    const { exitCode, message } = await fails(["run", join(directory, name), "true"]);
    assert.equal(exitCode, 125);
    assert.ok(message.includes(name), message);
  }
});

test("run: a ROOT without a slash is the name of an image, and those are not there yet", needs, async () => {
  await check(["run", "debian", "true"], "IMAGE_UNSUPPORTED", 125, "debian");
  const { details } = await fails(["run", "etc", "true"], { cwd: "/" });
  assert.match(details.hint ?? "", /\.\/etc/);
});

test("run: an empty ROOT", needs, async () => {
  const { exitCode } = await fails(["run", "", "true"]);
  assert.equal(exitCode, 125);
});

test("run: a ROOT that is an empty directory", needs, async () => {
  const { message } = await check(["run", temporaryDirectory(), "sh"], "COMMAND_NOT_FOUND", 127, "sh");
  assert.doesNotMatch(message, /undefined/);
});

test("run: a ROOT that this user may not enter", { skip: missing("root", "package:passwd") }, async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "closed/root"), { recursive: true });
  chmodSync(join(directory, "closed"), 0o700);
  const failure = await fails(["run", join(directory, "closed/root"), "true"], { user: users.user });
  assert.deepEqual([failure.code, failure.exitCode], ["ROOT_NOT_ACCESSIBLE", 125]);
  checkSentence(failure, "closed");
});

// Flags

for (const [flag, nearest] of [
  ["--memori", "--memory"],
  ["--hostnme", "--hostname"],
  ["--readonly", "--read-only"],
  ["--pid-limit", "--pids-limit"],
  ["--cap_add", "--cap-add"],
] as const) {
  test(`run ${flag}: an unknown flag, and ${nearest} is named`, needs, async () => {
    const { code, exitCode, message, details } = await fails(["run", flag, "x", root, "true"]);
    assert.deepEqual({ code, exitCode }, { code: "UNKNOWN_FLAG", exitCode: 125 });
    assert.ok(message.includes(flag));
    assert.match(details.hint ?? "", new RegExp(`${nearest}\\b`));
  });
}

test("run, exec: what only docker has is told apart from a slip of the finger", needs, async () => {
  for (const [words, flag, hint] of [
    [["run", "-dit", root], "-d", /foreground/],
    [["run", "-p80:80", root], "-p", /--network host/],
    [["run", "--entrypoint", "sh", root], "--entrypoint", /behind ROOT/],
    [["exec", "--detach", "box", "true"], "--detach", /foreground/],
  ] as const) {
    const { code, exitCode, message, details } = await fails(words);
    assert.deepEqual(
      { code, exitCode, message },
      { code: "UNKNOWN_FLAG", exitCode: 125, message: `tupper ${words[0]} has no flag ${flag}` },
    );
    assert.match(details.hint ?? "", hint);
  }
  for (const [word, hint] of [
    ["logs", /not kept/],
    ["stop", /tupper kill --signal TERM/],
    ["pull", /no images/],
  ] as const) {
    const { code, details } = await fails([word, "box"]);
    assert.equal(code, "UNKNOWN_COMMAND");
    assert.match(details.hint ?? "", hint);
  }
});

test("run: a flag without its value", needs, async () => {
  const { code, exitCode } = await fails(["run", "--memory"]);
  assert.deepEqual({ code, exitCode }, { code: "MISSING_VALUE", exitCode: 125 });
});

test("run: a switch with a value that is none", needs, async () => {
  const { exitCode, message } = await fails(["run", "--read-only=maybe", root, "true"]);
  assert.equal(exitCode, 125);
  assert.match(message, /read-only/);
});

for (const [flag, value, code] of [
  ["--memory", "12x", "BAD_SIZE"],
  ["--memory", "", "BAD_SIZE"],
  ["--memory", "-1m", "BAD_SIZE"],
  ["--memory", "1e3", "BAD_SIZE"],
  ["--memory", "99999999999999999999g", "BAD_SIZE"],
  ["--size", "lots", "BAD_SIZE"],
  ["--shm-size", "1q", "BAD_SIZE"],
  ["--pids-limit", "many", "BAD_NUMBER"],
  ["--pids-limit", "1.5", "BAD_NUMBER"],
  ["--cpu-shares", "-5", "BAD_NUMBER"],
  ["--oom-score-adj", "1001", "BAD_NUMBER"],
  ["--memory-swappiness", "101", "BAD_NUMBER"],
  ["--blkio-weight", "5", "BAD_NUMBER"],
  ["--root-kind", "ovrelay", "BAD_CHOICE"],
  ["--name", "../x", "BAD_NAME"],
  ["--name", "", "BAD_NAME"],
  ["--hostname", "a b", "BAD_HOSTNAME"],
  ["--hostname", "x".repeat(65), "BAD_HOSTNAME"],
] as const) {
  test(`run ${flag} "${value.slice(0, 24)}": ${code}`, needs, async () => {
    const failure = await fails(["run", flag, value, root, "true"]);
    assert.deepEqual([failure.code, failure.exitCode, failure.details.flag], [code, 125, flag]);
    assert.ok(failure.message.includes(value) && failure.message.includes(flag), failure.message);
  });
}

for (const [flag, value] of [
  ["--cpus", "0.5.5"],
  ["--cpus", "-1"],
  ["--cpus", "100000"],
  ["--cpuset-cpus", "0-"],
  ["--cpuset-cpus", "4000"],
  ["--umask", "999"],
  ["--workdir", "relative"],
  ["--sysctl", "no-equals-sign"],
  ["--label", "=x"],
  ["--env", "=x"],
  ["--env-file", "/no/such/file"],
  ["--memory", "1k"],
  ["--memory-swap", "1m"],
  ["--cgroup-parent", "../../x"],
] as const) {
  const isForRoot = flag === "--cgroup-parent" || value === "4000"; // a user without control groups is not asked for them
  test(`run ${flag} ${value}: one sentence about it`, isForRoot ? asRoot : needs, async () => {
    const { exitCode, message, details } = await fails([
      "run",
      ...(flag === "--memory-swap" ? ["--memory", "8m"] : []),
      flag,
      value,
      root,
      "true",
    ]);
    assert.equal(exitCode, 125);
    assert.match(`${message} ${details.flag} ${details.config}`, new RegExp(`${flag}|${flag.slice(2, 5)}`));
  });
}

// User and groups

test("run --user: a name that is not in the root's passwd, with the nearest that is", needs, async () => {
  const { details } = await check(["run", "--user", "alcie", root, "true"], "UNKNOWN_USER", 125, "alcie");
  assert.match(details.hint ?? "", /alice/);
  await check(["run", "--user", "alice:stuff", root, "true"], "UNKNOWN_GROUP", 125, "stuff");
  await check(["run", "--group-add", "stuff", root, "true"], "UNKNOWN_GROUP", 125, "stuff");
});

test("run --user: a root without a passwd, and numbers that are none", needs, async () => {
  const directory = makeRootfs();
  output("rm", join(directory, "etc/passwd"));
  const { exitCode } = await fails(["run", "--user", "alice", directory, "true"]);
  assert.equal(exitCode, 125);
  for (const user of ["4294967296", "-1", "", ":", "0:0:0"])
    assert.equal((await fails(["run", "--user", user, root, "true"])).exitCode, 125, user);
});

test("run --user: a passwd that is broken, a directory, a FIFO or a link out of ROOT does no harm", needs, async () => {
  for (const make of [
    "printf 'x\\n:::\\nroot:x:zero:0\\n\\0\\377\\n' >passwd",
    "mkdir passwd",
    "mkfifo passwd",
    "ln -s /etc/passwd passwd",
    "ln -s /proc/self/environ passwd",
  ]) {
    const directory = makeRootfs();
    output("sh", "-c", `cd ${directory}/etc && rm passwd && ${make}`);
    const { code } = await tupper(["run", directory, "true"], { timeoutMs: 5000 });
    assert.equal(code, 0, make);
  }
});

// Commands

test("run: a command that is in no directory of PATH", needs, async () => {
  await check(["run", root, "no-such-command"], "COMMAND_NOT_FOUND", 127, "no-such-command");
});

test("run: a path that does not exist", needs, async () => {
  await check(["run", root, "/no/such/command"], "COMMAND_NOT_FOUND", 127, "/no/such/command");
});

test("run: an empty command", needs, async () => {
  await check(["run", root, ""], "COMMAND_NOT_FOUND", 127, '""');
});

const broken: Files = {
  "srv/not-executable": { text: "#!/bin/sh\n", mode: 0o644 },
  "srv/missing-interpreter": { text: "#!/usr/bin/python9\n", mode: 0o755 },
  "srv/dos-line-ends": { text: "#!/bin/sh\r\necho x\r\n", mode: 0o755 },
  "srv/no-interpreter": { text: "#!\n", mode: 0o755 },
  "srv/no-program": { text: "just text\n", mode: 0o755 },
  "srv/empty": { text: "", mode: 0o755 },
};

for (const [file, code, thing] of [
  ["/srv/not-executable", "COMMAND_NOT_EXECUTABLE", "/srv/not-executable"],
  ["/srv/missing-interpreter", "SHEBANG_MISSING", "/usr/bin/python9"],
  ["/srv/dos-line-ends", "SHEBANG_CRLF", "carriage return"],
  ["/srv/no-program", "COMMAND_FORMAT", "/srv/no-program"],
] as const) {
  test(`run ${file}: ${code}`, needs, async () => {
    await check(["run", makeRootfs(broken), file], code, 126, thing);
  });
}

test("run: an empty file, a shebang without a name, a directory, a device", needs, async () => {
  const directory = makeRootfs(broken);
  for (const file of ["/srv/empty", "/srv/no-interpreter", "/srv", "/dev/null"]) {
    const { exitCode, message } = await fails(["run", directory, file]);
    assert.equal(exitCode, 126);
    assert.ok(message.includes(file), message);
  }
});

/** An ELF header of a program for another machine: e_machine is at byte 18. */
function foreignProgram(machine: number): Buffer {
  const header = Buffer.alloc(4096);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  return header;
}

test("run: a program for another architecture", needs, async () => {
  const directory = makeRootfs();
  const [machine, name] = process.arch === "arm64" ? [62, "x86_64"] : [183, "arm64"];
  writeFileSync(join(directory, "bin/foreign"), foreignProgram(machine), { mode: 0o755 });
  const { message } = await check(["run", directory, "foreign"], "WRONG_ARCHITECTURE", 126, "foreign");
  assert.match(message, new RegExp(name));
});

test("run: a program whose loader is not in ROOT", { skip: missing("subuid", "package:gcc") }, async () => {
  const directory = makeRootfs({ "bin/dynamic": { copyOf: "/bin/ls", mode: 0o755 } });
  const { message } = await check(["run", directory, "dynamic"], "LOADER_MISSING", 126, "/bin/dynamic");
  assert.match(message, /\/ld-|\/lib/);
});

test("run: a program in a directory that the user may not enter", needs, async () => {
  const directory = makeRootfs({ "srv/closed/program": { copyOf: "/bin/busybox", mode: 0o755 } });
  chmodSync(join(directory, "srv/closed"), 0o700);
  const { exitCode } = await fails(["run", "--user", "1000", directory, "/srv/closed/program"]);
  assert.equal(exitCode, 126);
});

test("run: a program on a filesystem that is noexec", needs, async () => {
  const directory = temporaryDirectory();
  output("cp", "/bin/busybox", join(directory, "echo"));
  await check(["run", "-v", `${directory}:/data:noexec`, root, "/data/echo"], "COMMAND_ON_NOEXEC", 126, "/data/echo");
});

test("run: arguments that are too long", needs, async () => {
  const { exitCode } = await fails([
    "run",
    "-e",
    `A=${"x".repeat(130_000)}`,
    "-e",
    `B=${"x".repeat(130_000)}`,
    "--ulimit",
    "stack=262144",
    root,
    "true",
  ]);
  assert.equal(exitCode, 126);
});

test("run --workdir: one that cannot be made or is a file", needs, async () => {
  for (const directory of ["/etc/passwd", "/etc/passwd/x"]) {
    const { exitCode, message } = await fails(["run", "--workdir", directory, root, "true"]);
    assert.ok(exitCode === 125 || exitCode === 126);
    assert.ok(message.includes(directory), message);
  }
});

// The machine

test("run: a full disk for the state: one sentence, nothing left", asRoot, async () => {
  // A namespace of mounts of our own, in which /run is a full tmpfs.
  const script = `mount -t tmpfs -o size=4k,nr_inodes=4 none /run && mkdir /run/a /run/b /run/c 2>/dev/null; exec "$0" "$@"`;
  const { code, stderr } = await tupper(["run", root, "true"], { prefix: ["unshare", "--mount", "sh", "-c", script] });
  assert.equal(code, 125, stderr);
  assert.match(stderr, /^error: .*(space|full|ENOSPC).* \([A-Z_]+\)$/im);
  assert.doesNotMatch(stderr, /fault of tupper/);
});

test("run --size: a full root is the command's error, and tupper goes on to clean up", needs, async () => {
  const { stderr, code } = await tupper([
    "run",
    "--size",
    "1m",
    root,
    "dd",
    "if=/dev/zero",
    "of=/x",
    "bs=1M",
    "count=4",
  ]);
  assert.match(stderr, /No space left on device/);
  assert.equal(code, 1);
});

test("run: too few descriptors: one sentence", needs, async () => {
  const { code, stderr } = await tupper(["run", root, "true"], { prefix: ["prlimit", "--nofile=4"] });
  if (code !== 0) assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
  assert.doesNotMatch(stderr, /fault of tupper/);
});

test("run: no more processes: one sentence", { skip: missing("root", "cgroup1", "cgroup:pids") }, async () => {
  const group = `/sys/fs/cgroup/pids/tupper-test-few-${process.pid}`;
  mkdirSync(group);
  atEnd(() => output("rmdir", group));
  writeFileSync(join(group, "pids.max"), "2");
  const { code, stderr } = await tupper(["run", "--cgroup-parent", "/", root, "true"], {
    prefix: ["sh", "-c", `echo 0 >${group}/cgroup.procs; exec "$0" "$@"`],
  });
  if (code !== 0) {
    assert.equal(code, 125, stderr);
    assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
    assert.doesNotMatch(stderr, /fault of tupper/);
  }
});

test("run: /proc that is not mounted on the machine: one sentence", asRoot, async () => {
  const { code, stderr } = await tupper(["run", root, "true"], {
    prefix: ["unshare", "--mount", "sh", "-c", `umount -l /proc; exec "$0" "$@"`],
  });
  if (code !== 0) assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
  assert.doesNotMatch(stderr, /fault of tupper|INTERNAL/);
});

test("run: no capabilities at all, though uid 0: one sentence", {
  skip: missing("root", "package:util-linux"),
}, async () => {
  const { code, stderr } = await tupper(["run", root, "true"], {
    prefix: ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
  });
  assert.equal(code, 125);
  assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
  assert.doesNotMatch(stderr, /fault of tupper|INTERNAL/);
});

test("run: HOME, PATH and TERM unset, LANG wild: all as usual", needs, async () => {
  assert.equal((await tupper(["run", root, "true"], { prefix: ["env", "-i", "LANG=xx_YY.nonsense"] })).code, 0);
});

// For programs

test(
  "--error-format json: one object with code, message, field, kernel, evidence, hint; exit codes as ever",
  needs,
  async () => {
    const directory = makeRootfs(broken);
    const { stdout, stderr, code } = await tupper(["--error-format", "json", "run", directory, "/srv/missing/program"]);
    assert.equal(stderr.split("\n").length, 2, stderr);
    const { kernel, ...rest } = JSON.parse(stderr) as Record<string, string>;
    assert.match(kernel ?? "", /^execve\("\/srv\/missing\/program".*= ENOENT \(No such file or directory\)$/);
    assert.deepEqual(
      { ...rest, evidence: rest.evidence?.slice(0, 20), hint: typeof rest.hint },
      {
        code: "COMMAND_NOT_FOUND",
        message: "the command /srv/missing/program does not exist in the container: /srv/missing is not there",
        field: "process.args[0]",
        syscall: "execve",
        errno: "ENOENT",
        evidence: "/srv is there and ho",
        hint: "string",
      },
    );
    assert.deepEqual({ stdout, code }, { stdout: "", code: 127 });
  },
);

test("--error-format json: a command line that is wrong, before and after the command's name", async () => {
  for (const [args, expected, exitCode] of [
    [["--error-format=json", "rnu"], "UNKNOWN_COMMAND", 2],
    [["--error-format=json", "run", "--memori", "1"], "UNKNOWN_FLAG", 125],
    [["inspect", "--format", "json", "nobody"], "CONTAINER_UNKNOWN", 1],
  ] as const) {
    const { stdout, stderr, code } = await tupper(args);
    assert.deepEqual({ stdout, code }, { stdout: "", code: exitCode }, stderr);
    const found = JSON.parse(stderr) as Record<string, string>;
    assert.deepEqual([found.code, typeof found.message], [expected, "string"]);
  }
});

// Ends

test(
  "run: a signal that tupper passed on, one from outside, and a fault of the command are told apart",
  needs,
  async () => {
    const sh = (script: string) => start(["run", "--pid", "host", root, "sh", "-c", script]);
    const relayed = sh("echo ready; exec sleep 600");
    await relayed.until(/ready/);
    relayed.child.kill("SIGTERM");
    const ended = await relayed.ended;
    assert.equal(ended.code, 143);
    assert.match(
      ended.stderr,
      new RegExp(
        `^warning: the container's command was ended by SIGTERM, which process ${process.pid} sent to tupper\n$`,
      ),
    );
    const killed = await sh("kill -KILL $$").ended;
    assert.equal(killed.code, 137);
    assert.match(
      killed.stderr,
      /^warning: the container's command was killed by SIGKILL: not by tupper, and not for want/,
    );
    const broke = await sh("kill -SEGV $$").ended;
    assert.equal(broke.code, 139);
    assert.match(broke.stderr, /ended by SIGSEGV: it used memory that it does not have/);
    const own = await sh("exit 137").ended;
    assert.deepEqual([own.code, own.stderr], [137, ""]);
  },
);
