import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import { test } from "node:test";
import {
  background,
  binary,
  eventually,
  fails,
  isSanitizer,
  output,
  pidOf,
  prints,
  slowness,
  start,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { printsOnTerminal } from "./terminal.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await prints(args)) as T;

// ps

test("ps: nothing runs", asRoot, async () => {
  // Where nothing can run: in a mount namespace with an empty /run.
  const prefix = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$0" "$@"'];
  assert.equal(await prints(["ps"], { prefix }), "NAME  PID  STATUS  AGE  ROOT  COMMAND\n");
  assert.deepEqual(JSON.parse(await prints(["ps", "--format", "json"], { prefix })), []);
  assert.equal(await prints(["ps", "-q"], { prefix }), "");
});

test("ps: a line for each running container", needs, async () => {
  const running = await background(root);
  const pid = await pidOf(running.name);
  const [head, ...lines] = (await prints(["ps"])).trimEnd().split("\n");
  assert.match(head ?? "", /^NAME +PID +STATUS +AGE +ROOT +COMMAND$/);
  const line = lines.find((candidate) => candidate.startsWith(running.name)) ?? "";
  assert.match(line, new RegExp(`^${running.name} +${pid} +running +\\d+s +${root} \\(overlay\\) +sh -c `));
  assert.match(await prints(["ps", "--quiet"]), new RegExp(`^${running.name}$`, "m"));
});

test("ps --format json: id, pid, status, created, command, rootPath, rootKind", needs, async () => {
  const running = await background(root, ["--root-kind", "copy"]);
  const [{ created = "", command = [], ...rest } = {}] = await json<{ created?: string; command?: string[] }[]>(
    "ps",
    "--format",
    "json",
  );
  assert.deepEqual(rest, {
    id: running.name,
    pid: await pidOf(running.name),
    status: "running",
    rootPath: root,
    rootKind: "copy",
  });
  assert.equal(command[0], "sh");
  assert.ok(Math.abs(Date.now() - Date.parse(created)) < 60_000 && created.endsWith("Z"), created);
});

test("ps: control characters of a command line do not reach the terminal", needs, async () => {
  const running = start(["run", root, "sh", "-c", "echo ready; sleep 100", "\u001b[31mred\u0007\n"]);
  await running.until(/ready/);
  const text = await prints(["ps"]);
  assert.equal(text.trimEnd().split("\n").length, 2);
  assert.equal(
    [...text].some((character) => character !== "\n" && character < " "),
    false,
  );
});

test("a name that is none: each command says where to look", needs, async () => {
  const hintOf = async (...args: string[]) => (await fails(args)).details.hint;
  for (const command of ["wait", "inspect"])
    assert.equal(await hintOf(command, "nobody-of-that-name"), "`tupper ps --all` lists those that are still known");
  for (const command of ["kill", "stats"])
    assert.equal(await hintOf(command, "nobody-of-that-name"), "`tupper ps` lists the running ones");
  const meant = "a process number, a name that `tupper ps` lists, or 12 digits or more of an ID of docker or podman";
  assert.equal(await hintOf("explain", "nobody-of-that-name"), meant);
  assert.equal(await hintOf("explain", "1", "nobody-of-that-name"), meant);
  assert.equal(await hintOf("explain", "999999999"), meant);
});

test("run, exec: words in a wrong place, and empty ones", needs, async () => {
  const running = await background(root);
  const flagsFirst = "what follows ROOT, or the container of exec, is the command: flags stand before that";
  for (const words of [
    ["run", root, "-it", "sh"],
    ["exec", running.name, "-it", "sh"],
  ]) {
    const { code, exitCode, details } = await fails(words);
    assert.deepEqual([code, exitCode, details.hint], ["COMMAND_NOT_FOUND", 127, flagsFirst]);
  }
  const empty = await fails(["run", "", "sh"]);
  assert.deepEqual([empty.code, empty.exitCode, empty.details.arg], ["ROOT_MISSING", 125, "ROOT"]);
  assert.match(empty.details.hint ?? "", /^a variable of a shell perhaps that is not set/);
  const relative = await fails(["exec", "--workdir", "tmp", running.name, "true"]);
  assert.deepEqual([relative.code, relative.exitCode], ["BAD_DESTINATION", 125]);
  const bytes = await fails(["run", "--memory", "512", root, "true"]);
  assert.deepEqual(
    [bytes.code, bytes.details.hint],
    ["MEMORY_TOO_SMALL", "without a unit it is bytes; 512m are megabytes"],
  );
});

// inspect

test("inspect: process, groups, namespaces and the OCI config", asRoot, async () => {
  const running = await background(root, ["--memory", "64m", "--hostname", "box", "-l", "key=value", "-e", "A=1"]);
  const [found] = await json<
    {
      id: string;
      status: string;
      pid: number;
      rootPath: string;
      namespaces: Record<string, string>;
      config: {
        ociVersion: string;
        hostname: string;
        annotations: Record<string, string>;
        process: { env: string[]; args: string[] };
        linux: { resources: { memory: { limit: number } } };
      };
    }[]
  >("inspect", running.name);
  assert.ok(found);
  assert.deepEqual([found.id, found.status, found.rootPath], [running.name, "running", root]);
  for (const [type, link] of Object.entries(found.namespaces))
    assert.equal(link, readlinkSync(`/proc/${found.pid}/ns/${type}`));
  assert.equal(Object.keys(found.namespaces).length, 8);
  assert.match(found.config.ociVersion, /^1\.\d+\.\d+$/);
  assert.equal(found.config.hostname, "box");
  assert.equal(found.config.annotations.key, "value");
  assert.ok(found.config.process.env.includes("A=1"));
  assert.equal(found.config.linux.resources.memory.limit, 67_108_864);
});

test("inspect: the process is known as soon as the command runs", needs, async () => {
  for (let i = 0; i < 20; i++) {
    const name = `test-${process.pid}-soon-${i}`;
    const running = start(["run", "--name", name, root, "sh", "-c", "echo ready; read end"], { input: { open: true } });
    await running.until(/ready/);
    const [found] = await json<{ pid: number; status: string }[]>("inspect", name);
    running.child.stdin.end("\n");
    await running.ended;
    assert.ok(
      found !== undefined && found.pid > 0 && found.status === "running",
      `run ${i}: ${JSON.stringify(found?.pid)}`,
    );
  }
});

test("inspect, explain, stats, exec, kill: an unknown container is one sentence", needs, async () => {
  for (const [args, exit] of [
    [["inspect", "nobody"], 1],
    [["explain", "nobody"], 1],
    [["stats", "nobody"], 1],
    [["kill", "nobody"], 1],
    [["exec", "nobody", "true"], 125],
    [["inspect", "../../etc"], 1],
  ] as const) {
    const { code, exitCode, message } = await fails(args);
    assert.deepEqual({ code, exitCode }, { code: "CONTAINER_UNKNOWN", exitCode: exit }, args.join(" "));
    assert.match(message, /nobody|etc/);
  }
});

// kill

test("kill: SIGKILL unless another is named; the run ends with 137", needs, async () => {
  const running = await background(root);
  assert.equal(await prints(["kill", running.name]), `${running.name}\n`);
  assert.equal((await running.ended).code, 137);
});

for (const signal of ["TERM", "SIGTERM", "term", "15"]) {
  test(`kill --signal ${signal}: reaches PID 1`, needs, async () => {
    const running = start([
      "run",
      "--name",
      `test-${process.pid}-${signal}`,
      root,
      "sh",
      "-c",
      "trap 'echo term; exit 4' TERM; echo ready; while :; do sleep 0.05; done",
    ]);
    await running.until(/ready/);
    await eventually(
      "it is on record",
      async () => (await tupper(["kill", "-s", signal, `test-${process.pid}-${signal}`])).code === 0,
    );
    assert.deepEqual(await running.ended, { stdout: "ready\nterm\n", stderr: "", code: 4, signal: null });
  });
}

test("kill: an unknown signal is refused with the nearest right one", needs, async () => {
  const running = await background(root);
  const { code, exitCode, details } = await fails(["kill", "-s", "TREM", running.name]);
  assert.deepEqual({ code, exitCode }, { code: "UNKNOWN_SIGNAL", exitCode: 1 });
  assert.match(details.hint ?? "", /TERM/);
  for (const signal of ["0", "65", "-1", ""])
    assert.notEqual((await tupper(["kill", "-s", signal, running.name])).code, 0);
  assert.equal(await prints(["exec", running.name, "echo", "alive"]), "alive\n");
});

test("kill: a name that is none ends nobody, also where it is a signal, as runc takes it", needs, async () => {
  const running = await background(root);
  for (const words of [
    [running.name, "TERM"],
    [running.name, "nobody"],
    ["-9", running.name],
  ]) {
    const { code, exitCode, details } = await fails(["kill", ...words]);
    assert.deepEqual({ code, exitCode }, { code: "CONTAINER_UNKNOWN", exitCode: 1 }, words.join(" "));
    if (!words.includes("nobody")) assert.match(details.hint ?? "", /--signal (TERM|9)$/);
  }
  assert.equal(await prints(["exec", running.name, "echo", "alive"]), "alive\n");
});

test("exec: of a name that is not there, the nearest one, and what has ended, are told", needs, async () => {
  const running = await background(root);
  const near = await fails(["exec", `${running.name}x`, "true"]);
  assert.deepEqual([near.code, near.details.hint], ["CONTAINER_UNKNOWN", `did you mean ${running.name}?`]);
  await prints(["kill", running.name]);
  await running.ended;
  const ended = await fails(["exec", running.name, "true"]);
  assert.deepEqual(
    [ended.code, ended.details.hint],
    ["CONTAINER_UNKNOWN", `it has ended: \`tupper wait ${running.name}\` tells how`],
  );
});

// exec

test("exec: all namespaces, groups, root, working directory and limits of the container", needs, async () => {
  const running = await background(root, [
    "-w",
    "/home/alice",
    "--hostname",
    "box",
    "--cap-drop",
    "CHOWN",
    "--ulimit",
    "nofile=99",
  ]);
  const pid = await pidOf(running.name);
  const types = readdirSync("/proc/self/ns").filter((type) => !type.includes("_for_"));
  const script = `pwd; hostname; ulimit -n; for type in ${types.join(" ")}; do readlink /proc/self/ns/$type; done`;
  const expected = types.map((type) => readlinkSync(`/proc/${pid}/ns/${type}`));
  assert.deepEqual((await prints(["exec", running.name, "sh", "-c", script])).trim().split("\n"), [
    "/home/alice",
    "box",
    "99",
    ...expected,
  ]);
  const status = "grep -E '^(Cap|Seccomp:|NoNew|Groups|Umask)' /proc";
  assert.equal(
    await prints(["exec", running.name, "sh", "-c", `${status}/self/status`]),
    await prints(["exec", running.name, "sh", "-c", `${status}/1/status`]),
  );
  assert.equal(
    await prints([
      "exec",
      running.name,
      "sh",
      "-c",
      "cmp /proc/self/cgroup /proc/1/cgroup && ls /proc/self/fd | wc -l",
    ]),
    "4\n",
  );
});

test("exec: stdin, stdout, stderr and exit codes", needs, async () => {
  const running = await background(root);
  const { stdout, stderr, code } = await tupper(["exec", running.name, "sh", "-c", "cat; echo err >&2; exit 6"], {
    input: "in\n",
  });
  assert.deepEqual({ stdout, stderr, code }, { stdout: "in\n", stderr: "err\n", code: 6 });
  const codeOf = async (...command: string[]) => (await tupper(["exec", running.name, ...command])).code;
  assert.equal(await codeOf("sh", "-c", "kill -9 $$"), 137);
  assert.equal(await codeOf("no-such-command"), 127);
  assert.equal(await codeOf("/etc/passwd"), 126);
  assert.equal(await prints(["exec", "--", running.name, "echo", "x"]), "x\n");
});

test("exec: what follows the name belongs to the command", needs, async () => {
  const running = await background(root);
  assert.equal(await prints(["exec", running.name, "echo", "-t", "--user", "x"]), "-t --user x\n");
});

test("exec --user, --workdir, --env, --group-add", needs, async () => {
  const running = await background(root, ["-e", "FROM_RUN=1"]);
  const flags = ["--user", "alice", "-w", "/tmp", "-e", "A=b", "--group-add", "77"];
  const text = await prints([
    "exec",
    ...flags,
    running.name,
    "sh",
    "-c",
    "id -un; pwd; echo $A $FROM_RUN $HOME; id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '",
  ]);
  assert.equal(text, "alice\n/tmp\nb 1 /home/alice\n6 50 77 1000 ");
});

test("exec --privileged, --cap-add, --cap-drop, --no-new-privileges", needs, async () => {
  const running = await background(root);
  const effective = async (...flags: string[]) =>
    (await prints(["exec", ...flags, running.name, "grep", "CapEff", "/proc/self/status"])).trim().split("\t")[1];
  assert.equal(await effective(), "00000000a80425fb");
  assert.equal(await effective("--cap-drop", "ALL"), "0000000000000000");
  assert.equal(await effective("--cap-drop", "CHOWN"), "00000000a80425fa");
  assert.equal(await effective("--cap-add", "NET_ADMIN"), "00000000a80435fb");
  assert.ok(BigInt(`0x${await effective("--privileged")}`) > 0xa80425fbn);
  assert.equal(
    await prints(["exec", "--no-new-privileges", running.name, "grep", "NoNewPrivs", "/proc/self/status"]),
    "NoNewPrivs:\t1\n",
  );
});

test("exec -t: a terminal in the container", { skip: missing("subuid", "package:util-linux") }, async () => {
  const running = await background(root);
  const text = printsOnTerminal(
    `${binary} exec ${running.name} sh -c 'tty; ps -o tty,args | grep "[t]ty;"; exit 5'; echo code $?`,
  );
  assert.match(text, /\/dev\/pts\/\d+\r\n136,\d+ +sh -c .*\r\ncode 5\r\n$/s);
});

test("exec: signals reach the command, and a container that ends takes it along", needs, async () => {
  const running = await background(root);
  const first = start([
    "exec",
    running.name,
    "sh",
    "-c",
    "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
  ]);
  await first.until(/ready/);
  first.child.kill("SIGTERM");
  assert.deepEqual(await first.ended, { stdout: "ready\ngot\n", stderr: "", code: 3, signal: null });
  const second = start(["exec", running.name, "sh", "-c", "echo ready; sleep 1000"]);
  await second.until(/ready/);
  running.child.kill("SIGTERM");
  await running.ended;
  assert.equal((await second.ended).code, 137);
});

test("exec: SIGKILL to tupper exec ends its command", needs, async () => {
  const running = await background(root);
  const executing = start(["exec", running.name, "sh", "-c", "echo ready; exec sleep 54321"]);
  await executing.until(/ready/);
  executing.child.kill("SIGKILL");
  await eventually(
    "the command is gone",
    async () => !(await prints(["exec", running.name, "ps", "-o", "args"])).includes("54321"),
  );
});

test("exec: 20 at the same time", needs, async () => {
  const running = await background(root);
  const all = await Promise.all(
    Array.from({ length: 20 }, (_, i) => prints(["exec", running.name, "echo", String(i)])),
  );
  assert.deepEqual(
    all,
    Array.from({ length: 20 }, (_, i) => `${i}\n`),
  );
});

// ns, explain, script, completion, help

test("ns: the container's namespaces are in the tree, with their members", asRoot, async () => {
  const running = await background(root);
  const pid = await pidOf(running.name);
  const { namespaces } = await json<{ namespaces: { type: string; inode: number; members: { pid: number }[] }[] }>(
    "ns",
    "--format",
    "json",
  );
  for (const type of ["mnt", "pid", "net", "ipc", "uts", "cgroup"]) {
    const inode = Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/${type}`))?.[0]);
    const found = namespaces.find((candidate) => candidate.type === type && candidate.inode === inode);
    assert.ok(
      found?.members.some((member) => member.pid === pid),
      type,
    );
  }
  const one = await json<{ pid: number; namespaces: { type: string; differsFromCaller: boolean }[] }>(
    "ns",
    String(pid),
    "--format",
    "json",
  );
  assert.equal(one.pid, pid);
  assert.deepEqual(
    one.namespaces
      .filter(({ differsFromCaller }) => differsFromCaller)
      .map(({ type }) => type)
      .sort(),
    ["cgroup", "ipc", "mnt", "net", "pid", "uts"],
  );
});

test("explain run: each step with its reason and man page, and nothing is done", asRoot, async () => {
  const text = await prints([
    "explain",
    "run",
    "--name",
    "explained",
    "--memory",
    "64m",
    root,
    "echo",
    "never printed",
  ]);
  for (const word of [
    "pivot_root(2)",
    "namespaces",
    "cgroups(7)",
    "capabilities(7)",
    "seccomp(2)",
    "64 MiB",
    "tupperware",
    "execve(2)",
  ])
    assert.ok(text.includes(word), `${word} is not in:\n${text}`);
  assert.doesNotMatch(text, /^never printed$/m);
  assert.equal(await prints(["ps", "-q"]), "");
});

test("explain NAME: how a running container was made, like explain run of the same words", asRoot, async () => {
  const running = await background(root, ["--hostname", "box", "--pids-limit", "33"]);
  const text = await prints(["explain", running.name]);
  assert.ok(text.includes(running.name) && text.includes("box") && text.includes("33"));
  const before = await prints([
    "explain",
    "run",
    "--name",
    "x",
    "--hostname",
    "box",
    "--pids-limit",
    "33",
    root,
    "sh",
    "-c",
    "x",
  ]);
  const count = (of: string) => of.split("\n").filter((line) => /^\d+(-\d+)?\. /.test(line)).length;
  assert.equal(count(text), count(before));
});

test("explain --format json: the plan as data", needs, async () => {
  type Step = Record<"op" | "by" | "because" | "effect" | "without", string> & { man: string[] };
  const steps = await json<Step[]>("explain", "run", "--format", "json", root, "true");
  assert.ok(steps.length > 20);
  for (const { op, by, because, effect, without } of steps) {
    assert.ok(["parent", "init"].includes(by), op);
    for (const text of [op, because, effect, without]) assert.notEqual(text.trim(), "", op);
  }
  assert.ok(steps.some(({ op, man }) => op === "pivotRoot" && man.includes("pivot_root(2)")));
});

test(
  "run --trace: the steps are those of explain, in the same order, so self bind, pivot_root and proc come in theirs",
  asRoot,
  async () => {
    const { stderr } = await tupper(["run", "--trace", "--root-kind", "bind", root, "true"]);
    const at = (pattern: RegExp) => stderr.split("\n").findIndex((line) => pattern.test(line));
    const [bind, pivot, proc] = [at(/bind/), at(/pivot|root/), at(/mount proc/)];
    assert.ok(bind >= 0 && bind < proc && pivot >= 0, stderr);
  },
);

test("script run: a POSIX script, by what sh and its checker say", asRoot, async () => {
  const text = await prints(["script", "run", "--memory", "64m", root, "echo", "it's"]);
  assert.match(text, /^#!\/bin\/sh\n/);
  const { status, stderr } = spawnSync("sh", ["-n"], { input: text, encoding: "utf8" });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
  assert.ok(text.split("\n").filter((line) => /^\s*#/.test(line)).length > 20);
});

for (const [shell, check] of [
  ["bash", ["bash", "-n"]],
  ["zsh", ["zsh", "-n"]],
  ["fish", ["fish", "-n"]],
] as const) {
  test(`completion ${shell}: a script that ${shell} accepts and that knows the words and flags`, {
    skip: missing(`package:${shell}`),
  }, async () => {
    const text = await prints(["completion", shell]);
    const { status, stderr } = spawnSync(check[0], check.slice(1), { input: text, encoding: "utf8" });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
    for (const word of ["explain", "stats", "root-kind"]) assert.ok(text.includes(word));
  });
}

test("completion bash: completes words, flags and the names of containers", {
  skip: missing("subuid", "package:bash"),
}, async () => {
  const running = await background(root);
  const complete = (line: string) =>
    output(
      "bash",
      "-c",
      `source <("$0" completion bash); COMP_LINE=$1; COMP_POINT=\${#COMP_LINE}; read -ra COMP_WORDS <<<"$1"; [[ $1 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); PATH=$(dirname "$0"):$PATH; function=$(complete -p tupper | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $function tupper; printf '%s\\n' "\${COMPREPLY[@]}"`,
      binary,
      line,
    )
      .trim()
      .split("\n")
      .map((word) => word.trim());
  assert.deepEqual(complete("tupper insp"), ["inspect"]);
  assert.deepEqual(complete("tupper run --root-k"), ["--root-kind"]);
  if (binary.endsWith("/tupper"))
    assert.ok(complete("tupper exec ").includes(running.name), complete("tupper exec ").join());
});

for (const word of [
  "",
  "run",
  "exec",
  "ps",
  "kill",
  "inspect",
  "stats",
  "explain",
  "why",
  "learn",
  "script",
  "ns",
  "completion",
]) {
  test(`tupper ${word} --help: usage on stdout, exit code 0`, async () => {
    const text = await prints([...(word === "" ? [] : [word]), "--help"]);
    assert.match(text, new RegExp(`^Usage: tupper ?${word}|^usage: tupper ?${word}`));
    for (const line of text.split("\n")) assert.ok(line.length <= 120, line);
  });
}

test("tupper: without arguments the usage, exit code not 0", async () => {
  const { stdout, stderr, code } = await tupper([]);
  assert.match(stdout + stderr, /usage: tupper/i);
  assert.equal(code, 2);
});

test("tupper run: without ROOT one sentence and the usage", async () => {
  const { stderr, code } = await tupper(["run"]);
  assert.match(stderr, /^error: .*\(MISSING_ARGUMENT\)\n/);
  assert.match(stderr, /^usage: tupper run \[OPTIONS\] ROOT/m);
  assert.equal(code, 125);
});

test("tupper: an unknown word is one sentence with the nearest right one, and the usage", async () => {
  const { code, exitCode, details } = await fails(["rnu", "/x", "true"]);
  assert.deepEqual({ code, exitCode }, { code: "UNKNOWN_COMMAND", exitCode: 2 });
  assert.match(details.hint ?? "", /run/);
  // Several are as near.
  assert.equal((await fails(["xs"])).code, "UNKNOWN_COMMAND");
});

test("tupper --version: name and version", async () => {
  assert.match(await prints(["--version"]), /^tupper version \d+\.\d+\.\d+\n/);
  assert.equal(await prints(["-v"]), await prints(["--version"]));
});

test("tupper --version: starts in a few milliseconds", { skip: isSanitizer && "the sanitizer build is slow" }, () => {
  const times = Array.from({ length: 20 }, () => {
    const started = process.hrtime.bigint();
    spawnSync(binary, ["--version"]);
    return Number(process.hrtime.bigint() - started) / 1e6;
  }).sort((a, b) => a - b);
  assert.ok((times[10] ?? 999) < 15 * slowness, `${times[10]} ms`);
});

test("tupper: output into a full disk or a closed pipe is no crash", { skip: missing("file:/dev/full") }, () => {
  const { stderr, status } = spawnSync("sh", ["-c", `"$0" --help >/dev/full`, binary], { encoding: "utf8" });
  assert.notEqual(status, 0);
  assert.doesNotMatch(stderr, /INTERNAL|at .*\.ts:/);
  const closed = spawnSync("sh", ["-c", `"$0" run --help | head -n 1`, binary], { encoding: "utf8" });
  assert.doesNotMatch(closed.stderr, /INTERNAL/);
});
