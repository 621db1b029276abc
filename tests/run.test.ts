import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  background,
  binary,
  isSanitizer,
  output,
  prints,
  type Result,
  sees as seesIn,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs({
  "bin/fails-to-start": { text: "#!/bin/nothing\n", mode: 0o755 },
  "bin/not-executable": { text: "#!/bin/sh\n", mode: 0o644 },
  "home/alice/": "",
});
const sees = (flags: string[], script: string, options = {}) => seesIn(root, flags, script, options);
const needs = { skip: missing("subuid", "package:busybox-static") };
const ok = (stdout: string): Result => ({ stdout, stderr: "", code: 0, signal: null });

// What a command line means

test("run: the command's output and nothing else is printed", needs, async () => {
  assert.deepEqual(await tupper(["run", root, "echo", "hello"]), ok("hello\n"));
});

test(
  "run: a command without a slash is found by the container's PATH, one with a slash is not searched",
  needs,
  async () => {
    assert.equal(await prints(["run", root, "/bin/echo", "path"]), "path\n");
    assert.equal(await prints(["run", "-w", "/bin", root, "./echo", "relative"]), "relative\n");
    assert.equal((await tupper(["run", "-e", "PATH=/nowhere", root, "echo"])).code, 127);
  },
);

test("run: without a command it runs sh, which reads stdin", needs, async () => {
  assert.equal(await prints(["run", root], { input: "echo $0 $$\n" }), "sh 1\n");
});

test("run: what follows ROOT belongs to the command, flags, -- and quotes too", needs, async () => {
  const words = ["--memory", "-it", "--", "--help", "-v", "a b", "", "$HOME", "'", "ü", "\n"];
  assert.equal(
    await prints(["run", root, "sh", "-c", 'for word; do printf "<%s>" "$word"; done', "sh", ...words]),
    words.map((word) => `<${word}>`).join(""),
  );
});

test("run: -- ends the options before ROOT", needs, async () => {
  assert.equal(await prints(["run", "--", root, "echo", "--", "x"]), "-- x\n");
});

test("run: options may be written with =, and switches with =true and =false", needs, async () => {
  assert.equal(
    await sees(["--hostname=a", "--read-only=true"], "hostname; touch /x 2>/dev/null || echo ro"),
    "a\nro\n",
  );
  assert.equal(await sees(["--hostname", "a", "--read-only=false"], "touch /x && echo rw"), "rw\n");
});

test("run: ROOT may be relative, and . is the current directory", needs, async () => {
  const inRoot = { cwd: root };
  assert.equal(await prints(["run", ".", "cat", "/CONTAINER_ROOT_DIR"], inRoot), "inside\n");
  assert.equal(await prints(["run", "./", "cat", "/CONTAINER_ROOT_DIR"], inRoot), "inside\n");
  assert.equal(await prints(["run", "../..", "true"], { cwd: join(root, "bin") }).catch(() => "failed"), "failed");
});

test("run: bytes that are not UTF-8 reach the command as they are", needs, () => {
  const script = `exec "$0" run "$1" sh -c 'printf %s "$1" | od -An -tx1' sh "$(printf '\\377a\\200')"`;
  assert.equal(output("sh", "-c", script, binary, root).trim(), "ff 61 80");
});

// Exit codes

for (const code of [0, 1, 42, 125, 126, 127, 255]) {
  test(`run: exit code ${code} of the command is tupper's`, needs, async () => {
    assert.deepEqual(await tupper(["run", root, "sh", "-c", `exit ${code}`]), { ...ok(""), code });
  });
}

for (const [signal, number] of [
  ["KILL", 9],
  ["TERM", 15],
  ["SEGV", 11],
  ["ABRT", 6],
] as const) {
  test(`run: a command that dies of SIG${signal} makes exit code ${128 + number}`, needs, async () => {
    // With --init the command is no PID 1, which would ignore a signal of its own that it has no handler for.
    const { code, signal: own } = await tupper(["run", "--init", root, "sh", "-c", `ulimit -c 0; kill -${signal} $$`]);
    assert.deepEqual({ code, own }, { code: 128 + number, own: null });
  });
}

test(
  "run: exit code 127 for a command that is not there, 126 for one that cannot be executed, 125 for a failure of tupper",
  needs,
  async () => {
    const code = async (...args: string[]) => (await tupper(["run", ...args])).code;
    assert.equal(await code(root, "no-such-command"), 127);
    assert.equal(await code(root, "/no/such/command"), 127);
    assert.equal(await code(root, "/bin/not-executable"), 126);
    assert.equal(await code(root, "/bin/fails-to-start"), 126);
    assert.equal(await code(root, "/etc"), 126);
    assert.equal(await code("/no/such/root", "true"), 125);
    assert.equal(await code("--no-such-flag", root, "true"), 125);
  },
);

// stdio

test("run: stdin reaches the command, and its end too", needs, async () => {
  assert.equal(await prints(["run", root, "cat"], { input: "one\ntwo" }), "one\ntwo");
});

test("run: stdout and stderr stay apart", needs, async () => {
  const result = await tupper(["run", root, "sh", "-c", "echo out; echo err >&2"]);
  assert.deepEqual(result, { stdout: "out\n", stderr: "err\n", code: 0, signal: null });
});

test("run: 8 MiB go through stdin and stdout unchanged", needs, async () => {
  const input = "0123456789abcde\n".repeat(512 * 1024);
  assert.equal(await prints(["run", root, "cat"], { input }), input);
});

test("run: a reader that goes away ends the command with SIGPIPE, as in any pipeline", needs, () => {
  const { stdout } = spawnSync("sh", ["-c", `"$0" run "$1" yes | head -n 1`, binary, root], {
    encoding: "utf8",
    timeout: 10_000,
  });
  assert.equal(stdout, "y\n");
});

test("run: files as stdin, stdout and stderr are the command's own", needs, () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "in"), "from a file\n");
  const script = `exec "$0" run "$1" sh -c 'cat; echo error >&2' <in >out 2>err`;
  execFileSync("sh", ["-c", script, binary, root], { cwd: directory });
  assert.equal(output("cat", join(directory, "out"), join(directory, "err")), "from a file\nerror\n");
});

test("run: closed stdin, stdout and stderr do not confuse it", needs, () => {
  const { status } = spawnSync("sh", ["-c", `exec "$0" run "$1" sh -c 'exit 7' <&- >&- 2>&-`, binary, root]);
  assert.equal(status, 7);
});

// Signals

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCONT", "SIGWINCH"] as const) {
  test(`run: ${signal} to tupper reaches the command`, needs, async () => {
    const script = `trap 'echo got it; exit 3' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
    const running = start(["run", root, "sh", "-c", script]);
    await running.until(/ready/);
    running.child.kill(signal);
    assert.deepEqual(await running.ended, { stdout: "ready\ngot it\n", stderr: "", code: 3, signal: null });
  });
}

test("run: the command begins with no signal blocked or ignored, whatever the caller ignores", needs, async () => {
  const none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
  const command = ["run", root, "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
  assert.equal(await prints(command), none);
  const prefix = ["env", "--ignore-signal=QUIT", "--ignore-signal=TERM", "--block-signal=USR1"];
  assert.equal(await prints(command, { prefix }), none);
});

test("run: the exit code is found even when the caller ignores SIGCHLD or blocks it", needs, async () => {
  for (const how of ["--ignore-signal=CHLD", "--block-signal=CHLD"]) {
    const { code } = await tupper(["run", root, "sh", "-c", "exit 9"], { prefix: ["env", how], timeoutMs: 5000 });
    assert.equal(code, 9, how);
  }
});

test("run: SIGKILL to tupper kills the container too", needs, async () => {
  const running = await background(root);
  running.child.kill("SIGKILL");
  assert.equal((await running.ended).signal, "SIGKILL");
  // That no process is left is looked at after each test; the next command cleans up the rest.
  assert.equal(await prints(["ps", "--quiet"]), "");
});

// Names

test("run: hostname and NIS domain name are the container's own", needs, async () => {
  const host = output("hostname");
  assert.equal(await sees([], "hostname; cat /proc/sys/kernel/domainname"), "tupperware\n(none)\n");
  assert.equal(
    await sees(
      ["--hostname", "box.example", "--domainname", "nis.example"],
      "uname -n; dnsdomainname -y 2>&-; cat /proc/sys/kernel/domainname",
    ),
    "box.example\nnis.example\n",
  );
  assert.equal(output("hostname"), host);
});

test("run: HOSTNAME holds the host name", needs, async () => {
  assert.equal(await sees(["-h", "box"], "echo $HOSTNAME"), "box\n");
});

test("run: hostname changed inside stays inside", needs, async () => {
  const host = output("hostname");
  assert.equal(await sees(["--cap-add", "SYS_ADMIN"], "hostname changed; hostname"), "changed\n");
  assert.equal(output("hostname"), host);
});

// Environment, working directory, umask

test("run: the environment is PATH, HOME and HOSTNAME, and nothing of the caller's", needs, async () => {
  const variables = (await prints(["run", root, "env"], { env: { SECRET: "x" } })).trim().split("\n").sort();
  assert.deepEqual(variables, [
    "HOME=/root",
    "HOSTNAME=tupperware",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  ]);
});

test("run --env: sets, passes the caller's on, and a later value wins", needs, async () => {
  const flags = [
    "-e",
    "A=1",
    "--env",
    "B",
    "-e",
    "C=x=y",
    "-e",
    "UNSET_OUTSIDE",
    "-e",
    "A=2",
    "-e",
    "EMPTY=",
    "-e",
    "HOME=/h",
  ];
  const variables = await prints(["run", ...flags, root, "env"], { env: { B: "caller's" } });
  const shown = variables.split("\n").filter((line) => /^([ABC]|UNSET|EMPTY|HOME=)/.test(line));
  assert.deepEqual(shown.sort(), ["A=2", "B=caller's", "C=x=y", "EMPTY=", "HOME=/h"]);
});

test("run --env-file: comments and empty lines are skipped, --env wins over it", needs, async () => {
  const file = join(temporaryDirectory(), "env");
  writeFileSync(file, "# comment\n\nA=from file\nB= spaced \nFROM_CALLER\n");
  const script = 'printf "<%s>" "$A" "$B" "$FROM_CALLER"';
  assert.equal(await sees(["--env-file", file], script, { env: { FROM_CALLER: "c" } }), "<from file>< spaced ><c>");
  assert.equal(await sees(["--env-file", file, "-e", "A=flag"], 'echo "$A"'), "flag\n");
});

test("run --workdir: where the command starts; / unless named, and made when it is not there", needs, async () => {
  assert.equal(await sees([], "pwd; readlink /proc/self/cwd"), "/\n/\n");
  assert.equal(await sees(["--workdir", "/home/alice"], "pwd"), "/home/alice\n");
  assert.equal(await sees(["-w", "/new/place"], "pwd"), "/new/place\n");
});

test("run --umask: 022 unless named", needs, async () => {
  assert.equal(await sees([], "umask"), "0022\n");
  assert.equal(await sees(["--umask", "077"], "umask; touch /f; stat -c %a /f"), "0077\n600\n");
  const { stdout } = spawnSync("sh", ["-c", `umask 0; exec "$0" run "$1" sh -c umask`, binary, root], {
    encoding: "utf8",
  });
  assert.equal(stdout, "0022\n");
});

// User and groups, by the root's own files

for (const [user, expected] of [
  ["alice", "uid=1000(alice) gid=1000(alice) groups=1000(alice),6(disk),50(staff)"],
  ["1000", "uid=1000(alice) gid=1000(alice) groups=1000(alice),6(disk),50(staff)"],
  ["bob", "uid=1001(bob) gid=100(users) groups=100(users),50(staff)"],
  ["alice:users", "uid=1000(alice) gid=100(users) groups=100(users)"],
  ["1234:5678", "uid=1234 gid=5678 groups=5678"],
  ["1234", "uid=1234 gid=0(root) groups=0(root)"],
  ["0:50", "uid=0(root) gid=50(staff) groups=50(staff)"],
] as const) {
  test(`run --user ${user}: the command is ${expected.split(" ")[0]}`, needs, async () => {
    const text = await sees(["--user", user], "id");
    // The order of supplementary groups means nothing.
    const sorted = (line: string) =>
      line.trim().replace(/groups=(.*)/, (_, list: string) => `groups=${list.split(",").sort()}`);
    assert.equal(sorted(text), sorted(expected));
  });
}

test("run --user: HOME is the one in the root's passwd", needs, async () => {
  assert.equal(await sees(["-u", "alice"], "echo $HOME"), "/home/alice\n");
  assert.equal(await sees(["-u", "4321"], "echo $HOME"), "/\n");
});

test("run --group-add: further groups by name and number", needs, async () => {
  assert.match(
    await sees(["-u", "4321:4321", "--group-add", "staff", "--group-add", "77"], "id -G"),
    /^4321 (50 77|77 50)\n$/,
  );
});

// What kind of process it is

test("run: the command is PID 1, and it and ps are all there is", needs, async () => {
  assert.equal(
    await prints(["run", root, "sh", "-c", "ps -o pid,comm; echo $$"]),
    "PID   COMMAND\n    1 sh\n    2 ps\n1\n",
  );
});

test("run: only descriptors 0, 1 and 2 are open, whatever the caller has open", needs, () => {
  const script = `exec 7</etc/passwd 8</ 9>/dev/null; exec "$0" run "$1" sh -c 'ls /proc/1/fd; readlink /proc/self/cwd'`;
  assert.equal(output("sh", "-c", script, binary, root), "0\n1\n2\n/\n");
});

test("run: the command begins a session of its own", needs, async () => {
  const [pid, session] = (await sees([], "cut -d' ' -f1,6 /proc/1/stat")).trim().split(" ");
  assert.deepEqual([pid, session], ["1", "1"]);
});

test("run: processes that the command leaves behind end with it", needs, async () => {
  const { code } = await tupper(["run", root, "sh", "-c", "sleep 1000 & (setsid sleep 1000 &) ; exit 4"]);
  assert.equal(code, 4); // and see watchForLeftovers
});

test("run --rm, -i: accepted, since they are what it does anyway", needs, async () => {
  assert.equal(await prints(["run", "--rm", "-i", root, "cat"], { input: "x" }), "x");
});

test("run host: the machine's own root, copy-on-write", needs, async () => {
  assert.equal(
    await prints([
      "run",
      "host",
      "sh",
      "-c",
      "hostname; id -u; echo x >/etc/of-the-container; cat /etc/of-the-container",
    ]),
    "tupperware\n0\nx\n",
  );
  assert.equal(spawnSync("test", ["-e", "/etc/of-the-container"]).status, 1);
});

test("run: two containers at the same time do not see each other", needs, async () => {
  const one = await background(root, ["--hostname", "one"]);
  const two = await background(root, ["--hostname", "two"]);
  assert.equal(await prints(["exec", one.name, "sh", "-c", "hostname; ps -o comm | grep -c sleep"]), "one\n1\n");
  assert.equal(await prints(["exec", two.name, "sh", "-c", "hostname; ps -o comm | grep -c sleep"]), "two\n1\n");
});

test("run --name: the container is known by it, and a second of the name is refused", needs, async () => {
  const running = await background(root);
  const { code, stderr } = await tupper(["run", "--name", running.name, root, "true"]);
  assert.equal(code, 125);
  assert.match(stderr, /^error: .*\(CONTAINER_EXISTS\)$/m);
  assert.equal(await prints(["exec", running.name, "echo", "unharmed"]), "unharmed\n");
});

test("run: the host's namespaces and working directory are what they were", needs, async () => {
  const types = ["mnt", "pid", "net", "uts", "ipc", "cgroup", "user", "time"];
  const links = () => types.map((type) => readlinkSync(`/proc/self/ns/${type}`));
  const before = links();
  await sees([], "true");
  assert.deepEqual(links(), before);
});

test("run --trace: each step with its microseconds on stderr, the output is unchanged", needs, async () => {
  const { stdout, stderr, code } = await tupper(["run", "--trace", root, "echo", "x"]);
  assert.deepEqual({ stdout, code }, { stdout: "x\n", code: 0 });
  const lines = stderr.trimEnd().split("\n");
  assert.ok(lines.length > 10, stderr);
  for (const line of lines) assert.match(line, /^ *\d+ µs +(parent|init) +\S/);
  assert.match(stderr, /pivot/);
});

test("run --trace=syscalls: each system call by name, in order, more than a hundred", needs, async () => {
  const { stdout, stderr, code } = await tupper(["run", "--trace=syscalls", root, "echo", "x"]);
  assert.deepEqual({ stdout, code }, { stdout: "x\n", code: 0 });
  for (const name of ["clone", "pivot_root", "sethostname", "mount", "execve"])
    assert.match(stderr, new RegExp(`\\b${name}`));
});

test("run: a directory whose name has spaces, colons, commas and backslashes is a ROOT too", needs, async () => {
  const directory = join(temporaryDirectory(), "a b:c,d\\e=f");
  execFileSync("cp", ["-a", root, directory]);
  for (const kind of ["overlay", "bind", "copy"])
    assert.equal(await prints(["run", "--root-kind", kind, directory, "cat", "/CONTAINER_ROOT_DIR"]), "inside\n");
});

test("run: 400 system calls are enough for a directory with true", {
  skip: isSanitizer ? "the sanitizer build makes calls of its own" : missing("root", "package:strace"),
}, () => {
  const log = join(temporaryDirectory(), "trace");
  execFileSync("strace", ["-f", "-o", log, binary, "run", root, "true"]);
  const calls = output("grep", "-cvE", "\\+\\+\\+|---|resumed>", log);
  assert.ok(Number(calls) < 400, `${calls.trim()} system calls`);
});
