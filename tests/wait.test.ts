/** `tupper wait`, and `inspect` of what has ended: each way to end, told to who waits and to who comes later. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  background,
  eventually,
  fails,
  isRoot,
  isSanitizer,
  pidOf,
  prints,
  type Running,
  runDirectory,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static") };
const stateRoot =
  isRoot || process.env.XDG_RUNTIME_DIR ? join(runDirectory, "tupper") : `/tmp/tupper-${process.getuid?.()}`;
const asRoot = (...more: string[]) => ({ skip: missing("root", ...more) || needs.skip });

interface End {
  id: string;
  pid: number;
  exitCode: number;
  cause: string;
  why?: string;
  signal?: string;
  sender?: number;
  syscall?: string;
  outOfMemory?: { cgroup: string; kills: number; limitBytes?: number; peakBytes?: number };
}

/** Starts `tupper wait`, and comes back when it sleeps in flock. */
async function waiting(...args: string[]): Promise<Running> {
  const waiter = start(["wait", ...args], { timeoutMs: 60_000 });
  const isBlocked = () => {
    const locks = readFileSync("/proc/locks", "utf8");
    return locks.split("\n").some((line) => line.includes(" -> FLOCK") && line.includes(` ${waiter.pid} `));
  };
  await eventually("wait sleeps", isBlocked, 20_000);
  return waiter;
}

const parse = (line: string): End => JSON.parse(line) as End;

/** The end as a waiter is told, and as it is told to `wait` and `inspect` later: the same each time. */
async function endOf(running: Running & { name: string }, act: () => unknown): Promise<End> {
  const waiter = await waiting("--format", "json", running.name);
  await act();
  await running.ended;
  const { stdout, stderr, code } = await waiter.ended;
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
  assert.equal(await prints(["wait", "--format", "json", running.name]), stdout);
  const [inspected] = JSON.parse(await prints(["inspect", running.name])) as { status: string; end: End }[];
  const { id, created, command, ...end } = parse(stdout) as End & { created: string; command?: string[] };
  // What a sweep puts on record does not tell the command.
  assert.deepEqual(inspected, { id, status: "stopped", created, ...(command === undefined ? {} : { command }), end });
  assert.equal(command?.[0], end.cause === "runner-died" ? undefined : "sh");
  assert.ok(new Date(created).getTime() > 0, created);
  return parse(stdout);
}

test("wait: the exit code, to two who wait and to one who comes later", needs, async () => {
  const running = await background(root, [], { script: "trap 'exit 7' TERM" });
  const waiters = [await waiting(running.name), await waiting(running.name)];
  const pid = await pidOf(running.name);
  running.child.kill("SIGTERM");
  for (const waiter of [...waiters, start(["wait", running.name])])
    assert.deepEqual(await waiter.ended, { stdout: "7\n", stderr: "", code: 0, signal: null });
  const later = parse(await prints(["wait", "--format", "json", running.name]));
  assert.deepEqual([later.id, later.pid, later.cause], [running.name, pid, "exited"]);
});

test("wait: of several containers a line each, in the order in which they were named", needs, async () => {
  const [first, second] = [await background(root), await background(root, [], { script: "trap 'exit 3' TERM" })];
  const waiter = await waiting(first.name, second.name);
  second.child.kill("SIGTERM");
  await second.ended;
  assert.equal(waiter.stdout(), "");
  first.child.kill("SIGTERM");
  assert.deepEqual(await waiter.ended, { stdout: "0\n3\n", stderr: "", code: 0, signal: null });
});

test("wait: a name that was never there, beside one that runs, is an error at once", needs, async () => {
  const running = await background(root);
  const failure = await fails(["wait", running.name, "nobody-of-that-name"]);
  assert.deepEqual([failure.code, failure.exitCode], ["CONTAINER_UNKNOWN", 1]);
  assert.equal((await fails(["inspect", "nobody-of-that-name"])).code, "CONTAINER_UNKNOWN");
  assert.equal((await fails(["wait", "../etc"])).code, "CONTAINER_UNKNOWN");
});

test("wait: SIGINT ends it, and the container goes on", needs, async () => {
  const running = await background(root);
  const waiter = await waiting(running.name);
  waiter.child.kill("SIGINT");
  assert.equal((await waiter.ended).signal, "SIGINT");
  assert.match(await prints(["ps"]), new RegExp(`^${running.name} .* running`, "m"));
});

test("wait, inspect: a signal that tupper passed on, and who sent it", needs, async () => {
  // Nothing else of it may stay: without a PID namespace and control groups nobody ends that.
  const running = await background(root, ["--pid", "host"], { script: "trap - TERM; echo ready; exec sleep 600" });
  const end = await endOf(running, () => running.child.kill("SIGTERM"));
  assert.deepEqual(
    [end.exitCode, end.cause, end.signal, end.sender],
    [143, "passed-on", "SIGTERM", process.pid],
    end.why,
  );
});

test("wait, inspect: tupper kill, and not a signal from elsewhere after another one of it", needs, async () => {
  const running = await background(root);
  const end = await endOf(running, () => prints(["kill", running.name]));
  assert.deepEqual([end.exitCode, end.cause, end.signal], [137, "tupper-kill", "SIGKILL"]);
  assert.match(end.why ?? "", new RegExp(`which tupper kill sent to it \\(process ${end.sender}\\)$`));
  assert.match((await running.ended).stderr, /^warning: .* which tupper kill sent to it \(process \d+\)\n$/);

  const other = await background(root, [], { script: "trap '' USR1" });
  const outside = await endOf(other, async () => {
    await prints(["kill", "--signal", "USR1", other.name]);
    process.kill(await pidOf(other.name), "SIGKILL");
  });
  assert.deepEqual([outside.exitCode, outside.cause, outside.sender], [137, "signal", undefined]);
  assert.match(outside.why ?? "", /killed by SIGKILL: not by tupper, and not for want of memory/);
});

test("wait: in words, what the exit code does not say is told on stderr", needs, async () => {
  const running = await background(root);
  const waiter = await waiting(running.name);
  await prints(["kill", running.name]);
  const { stdout, stderr } = await waiter.ended;
  assert.equal(stdout, "137\n");
  assert.match(
    stderr,
    new RegExp(`^${running.name}: the container's command was ended by SIGKILL, which tupper kill .*\n$`),
  );
});

test("wait, inspect: for want of memory, with group, limit and peak", {
  skip: missing("cgroups", "cgroup:memory") || needs.skip,
}, async () => {
  const directory = temporaryDirectory();
  const script = "until [ -e /go/on ]; do sleep 0.05; done; exec dd if=/dev/zero of=/dev/null bs=100M count=1";
  const flags = ["--memory", "32m", "--memory-swap", "32m", "--volume", `${directory}:/go`];
  const name = `oom-${process.pid}`;
  const running = start(["run", "--name", name, ...flags, root, "sh", "-c", `echo ready; ${script}`], {
    timeoutMs: 60_000,
  });
  await running.until(/ready/);
  const end = await endOf({ ...running, name }, () => writeFileSync(join(directory, "on"), ""));
  assert.deepEqual([end.exitCode, end.cause, end.signal], [137, "out-of-memory", "SIGKILL"]);
  const { cgroup = "", kills = 0, limitBytes = 0, peakBytes } = end.outOfMemory ?? {};
  assert.deepEqual([kills >= 1, limitBytes], [true, 33_554_432]);
  assert.ok(cgroup.startsWith("/sys/fs/cgroup/") && cgroup.includes(name), cgroup);
  // memory.peak is there since Linux 5.19.
  assert.ok(peakBytes === undefined || (peakBytes > 20_000_000 && peakBytes <= limitBytes), String(peakBytes));
});

test("wait, inspect: the seccomp filter", asRoot(), async () => {
  const profile = join(temporaryDirectory(), "profile.json");
  const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS" };
  writeFileSync(profile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }));
  const running = await background(root, ["--security-opt", `seccomp=${profile}`], {
    script: "trap 'exec mkdir /tmp/x' TERM",
  });
  const end = await endOf(running, () => running.child.kill("SIGTERM"));
  assert.deepEqual([end.exitCode, end.cause, end.signal], [159, "seccomp", "SIGSYS"]);
  assert.match(end.why ?? "", /the profile kills for mkdir, mkdirat|does not allow the system call mkdir/);
});

test("wait, inspect: the tupper that ran it was killed", needs, async () => {
  const running = await background(root);
  const end = await endOf(running, () => running.child.kill("SIGKILL"));
  assert.deepEqual([end.exitCode, end.cause, end.signal], [137, "runner-died", "SIGKILL"]);
  // Where others swept it before anybody waited.
  const other = await background(root);
  other.child.kill("SIGKILL");
  await other.ended;
  assert.doesNotMatch(await prints(["ps"]), new RegExp(other.name));
  assert.equal((await tupper(["wait", other.name])).stdout, "137\n");
});

test("wait, inspect: a command that could not be started", needs, async () => {
  const name = `unstarted-${process.pid}`;
  assert.equal((await fails(["run", "--name", name, root, "no-such-command"])).exitCode, 127);
  const end = parse(await prints(["wait", "--format", "json", name]));
  assert.deepEqual([end.exitCode, end.cause, end.pid], [127, "not-started", 0]);
  assert.match(end.why ?? "", /no-such-command.*\(COMMAND_NOT_FOUND\)$/);
});

test("wait, inspect: a container that runs is meant, and not an earlier one of its name", needs, async () => {
  const name = `again-${process.pid}`;
  const run = (script: string) => start(["run", "--name", name, root, "sh", "-c", script], { timeoutMs: 60_000 });
  assert.equal((await run("exit 5").ended).code, 5);
  const second = run("trap 'exit 6' TERM; echo ready; sleep 600 & wait");
  await second.until(/ready/);
  const [inspected] = JSON.parse(await prints(["inspect", name])) as { status: string }[];
  assert.equal(inspected?.status, "running");
  const waiter = await waiting(name);
  second.child.kill("SIGTERM");
  assert.equal((await waiter.ended).stdout, "6\n");
});

test(
  "ps --all: those that have ended too, each name once, with code, cause and command; ps without it does not",
  needs,
  async () => {
    const running = await background(root);
    const killed = await background(root);
    await prints(["kill", killed.name]);
    await killed.ended;
    const [again, unstarted] = [`again-all-${process.pid}`, `unstarted-all-${process.pid}`];
    for (const code of [5, 7]) await tupper(["run", "--name", again, root, "sh", "-c", `exit ${code}`, "é".repeat(60)]);
    await tupper(["run", "--name", unstarted, root, "no-such-command"]);

    const table = await prints(["ps", "--all"]);
    const rows = new Map(table.split("\n").map((line) => [line.split(" ")[0] ?? "", line]));
    assert.match(rows.get(running.name) ?? "", / running +\d+s +\S+ \(overlay\) +sh -c /);
    assert.match(rows.get(killed.name) ?? "", /^\S+ +ended \(137, tupper-kill\) \d+s ago +\d+s +sh -c /);
    assert.match(rows.get(again) ?? "", /^\S+ +exited \(7\) \d+s ago +\d+s +sh -c exit 7 é+…$/);
    assert.match(rows.get(unstarted) ?? "", /^\S+ +not started \(127\) \d+s ago +\d+s +no-such-command$/);

    const names = (await prints(["ps", "-aq"])).split("\n");
    for (const name of [running.name, killed.name, again, unstarted])
      assert.equal(names.filter((other) => other === name).length, 1, name);
    const listed = JSON.parse(await prints(["ps", "-a", "--format", "json"])) as { id: string; end?: End }[];
    const { end, ...rest } = listed.find(({ id }) => id === again) ?? {};
    const [inspected] = JSON.parse(await prints(["inspect", again])) as { created: string; end: End }[];
    assert.deepEqual(end, inspected?.end);
    const command = ["sh", "-c", "exit 7", `${"é".repeat(47)}…`];
    assert.deepEqual(rest, { id: again, pid: 0, status: "stopped", created: inspected?.created, command });
    assert.deepEqual([end?.exitCode, end?.cause], [7, "exited"]);
    assert.ok(!(await prints(["ps"])).includes(again));
  },
);

test("run: the last ends stay on record, older ones go", needs, async () => {
  if (!existsSync(stateRoot)) mkdirSync(stateRoot, { mode: 0o700 });
  const old = (i: number) => `.ended-${1_000_000_000_000 + i}-1`;
  const record = { id: "old", created: "x", finished: "x", pid: 1, exitCode: 9, cause: "exited", state: 1 };
  for (let i = 0; i < 70; i++) symlinkSync(JSON.stringify({ ...record, id: `old-${i}` }), join(stateRoot, old(i)));
  await prints(["run", "--name", `newest-${process.pid}`, root, "true"]);
  const left = readdirSync(stateRoot).filter((name) => name.startsWith(".ended-"));
  // 32, and the one that ended after the others were looked at.
  assert.equal(left.length, 33);
  assert.ok(!left.includes(old(0)));
  assert.equal(await prints(["wait", `newest-${process.pid}`]), "0\n");
  assert.equal((await fails(["wait", "old-0"])).code, "CONTAINER_UNKNOWN");
});

test("wait: what stands in the way of a record is no record", needs, async () => {
  const running = await background(root);
  for (const [i, target] of ["{", "[]", '{"id":"broken"}', "/etc/passwd", "null"].entries())
    symlinkSync(target, join(stateRoot, `.ended-99999999999${i}0-1`));
  assert.equal((await fails(["wait", "broken"])).code, "CONTAINER_UNKNOWN");
  running.child.kill("SIGTERM");
  assert.equal(await prints(["wait", running.name]), "0\n");
  spawnSync("sh", ["-c", `rm ${stateRoot}/.ended-99999999999*`]);
});

test("run: a system call is all that the record of an end costs", {
  skip: (isSanitizer && "it makes calls of its own") || missing("root", "package:strace") || needs.skip,
}, async () => {
  const trace = join(temporaryDirectory(), "trace");
  const { code } = await tupper(["run", root, "true"], { prefix: ["strace", "-o", trace] });
  assert.equal(code, 0);
  const calls = readFileSync(trace, "utf8")
    .split("\n")
    .filter((line) => /\.ended-|killed"/.test(line));
  assert.equal(calls.length, 1, calls.join("\n"));
  assert.match(calls[0] ?? "", /^symlinkat\("\{/);
});
