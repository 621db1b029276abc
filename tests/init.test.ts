import assert from "node:assert/strict";
import { test } from "node:test";
import { binary, eventually, prints, sees as seesIn, slowness, start, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { printsOnTerminal } from "./terminal.ts";

watchForLeftovers();
const root = sharedRootfs();
const sees = (flags: string[], script: string) => seesIn(root, flags, script);
const needs = { skip: missing("subuid", "package:busybox-static") };

test("run --init: PID 1 is tupper's, the command is another process", needs, async () => {
  const [pid, parent] = (await sees(["--init"], "echo $$ $PPID")).trim().split(" ");
  assert.equal(parent, "1");
  assert.notEqual(pid, "1");
});

test("run: without --init the command is PID 1", needs, async () => {
  assert.equal(await sees([], "echo $$ $PPID"), "1 0\n");
});

test("run --init: orphans that end are reaped; without it they stay zombies", needs, async () => {
  // The inner shell ends at once and leaves its child to PID 1. sleep as the command reaps nobody.
  const script = "sh -c '(sh -c \"sleep 0.1\" &) '; exec sleep 60";
  const zombies = async (flags: string[]) => {
    const name = `test-${process.pid}-init-${flags.length}`;
    const running = start(["run", "--name", name, ...flags, root, "sh", "-c", `echo ready; ${script}`]);
    await running.until(/ready/);
    let seen = "";
    await eventually("a look after the orphan's end", async () => {
      seen = (await tupper(["exec", name, "sh", "-c", "sleep 0.25; ps -o stat,comm"])).stdout;
      return seen !== "";
    });
    await tupper(["kill", name]);
    await running.ended;
    return [...seen.matchAll(/^Z/gm)].length;
  };
  assert.equal(await zombies([]), 1);
  assert.equal(await zombies(["--init"]), 0);
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT"] as const) {
  test(`run --init: ${signal} is passed on to the command`, needs, async () => {
    const script = `trap 'echo got it; exit 3' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
    const running = start(["run", "--init", root, "sh", "-c", script]);
    await running.until(/ready/);
    running.child.kill(signal);
    assert.deepEqual(await running.ended, { stdout: "ready\ngot it\n", stderr: "", code: 3, signal: null });
  });
}

test("run --init: a command without a handler dies of SIGTERM, which as PID 1 it would ignore", needs, async () => {
  const running = start(["run", "--init", root, "sh", "-c", "echo ready; exec sleep 1000"]);
  await running.until(/ready/);
  await eventually("sleep runs", async () => (await prints(["ps"])).includes("exec sleep"));
  running.child.kill("SIGTERM");
  assert.equal((await running.ended).code, 143);
});

for (const code of [0, 7, 255]) {
  test(`run --init: exit code ${code} passes on`, needs, async () => {
    assert.equal((await tupper(["run", "--init", root, "sh", "-c", `exit ${code}`])).code, code);
  });
}

test("run --init: 128 + n for a signal, 127 and 126 for what does not start", needs, async () => {
  const code = async (...command: string[]) => (await tupper(["run", "--init", root, ...command])).code;
  assert.equal(await code("sh", "-c", "kill -9 $$"), 137);
  assert.equal(await code("no-such-command"), 127);
  assert.equal(await code("/etc/passwd"), 126);
});

test("run --init: the container ends with the command, whatever else runs", needs, async () => {
  const started = Date.now();
  const { code } = await tupper(["run", "--init", root, "sh", "-c", "setsid sleep 1000 & sleep 1000 & exit 5"]);
  assert.equal(code, 5);
  assert.ok(Date.now() - started < 5000 * slowness);
});

test("run --init: PID 1 has no descriptors of the machine's but 0, 1, 2 and its own kind", needs, async () => {
  const links = (await sees(["--init", "--privileged"], "sleep 1; ls -l /proc/1/fd | awk 'NR > 1 { print $NF }'"))
    .trim()
    .split("\n");
  for (const link of links)
    assert.match(link, /^(pipe:\[\d+\]|\/dev\/null|socket:\[\d+\]|anon_inode:\[(signalfd|eventpoll|pidfd|eventfd)\])$/);
});

test("run --init: when the command begins, PID 1 has closed what the set-up had open", needs, async () => {
  for (let i = 0; i < 10; i++) {
    const text = await sees(["--init"], "echo /proc/1/fd/*; sleep 0.1; echo /proc/1/fd/*");
    const [atFirst, later] = text.trim().split("\n");
    assert.equal(atFirst, later);
  }
});

test("run --init: the user's privileges are the command's, not more in PID 1", needs, async () => {
  const script =
    "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; grep -E '^(CapBnd):' /proc/1/status; ls -ld /proc/1/root >/dev/null 2>&1 && echo may look || echo may not look";
  const text = await sees(["--init", "--user", "1000"], script);
  assert.match(text, /^CapEff:\t0+\nCapBnd:\t(\w+)\nSeccomp:\t2\nCapBnd:\t\1\n/m);
});

test("run --init -t: job control works as without", { skip: missing("subuid", "package:util-linux") }, () => {
  const text = printsOnTerminal(`${binary} run --init ${root} sh -c 'test -t 0 && tty; ps -o pid,tty,comm'`);
  assert.match(text, /^\/dev\/(pts\/0|console)\r?$/m);
});
