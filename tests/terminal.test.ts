import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  background,
  binary,
  eventually,
  isRunning,
  output,
  pidOf,
  prints,
  start,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { openTerminal, printsOnTerminal, type Terminal } from "./terminal.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static", "package:tmux") };
const run = (...flags: string[]) => `${binary} run ${flags.join(" ")} -e 'PS1=inner# ' ${root}`;

/** A terminal with a container's shell in it. */
async function shellInside(...flags: string[]): Promise<Terminal> {
  const terminal = await openTerminal();
  terminal.line(run(...flags));
  await terminal.until(/^inner#$/m);
  return terminal;
}

/** A command that no other test has. */
const NAP = `sleep 9${process.pid}`;

/** The state of that process, as ps(1) has it: `S+` where it sleeps in the foreground of its terminal. */
const untilNap = (state: RegExp): Promise<void> =>
  eventually(`${NAP} is ${state}`, () =>
    spawnSync("ps", ["-eo", "stat=,args="], { encoding: "utf8" })
      .stdout.split("\n")
      .some((line) => line.endsWith(` ${NAP}`) && state.test(line)),
  );

test("run: a terminal of its own when stdin and stdout are one", needs, async () => {
  const terminal = await shellInside();
  terminal.line("tty; test -t 0 && test -t 1 && test -t 2 && echo all three");
  await terminal.until(/^\/dev\/(pts\/0|console)\nall three$/m);
  terminal.line("ls /dev/pts");
  await terminal.until(/^0 +ptmx$/m);
});

test("run: ps shows a TTY for the shell, which is PID 1", needs, async () => {
  const terminal = await shellInside();
  terminal.line("ps -o pid,tty,comm");
  const [, tty] = await terminal.until(/^ +1 (\S+) +sh$/m);
  assert.notEqual(tty, "?");
});

test("run: the shell says nothing of missing job control", needs, async () => {
  const terminal = await shellInside();
  assert.doesNotMatch(terminal.screen(), /job control|can't access tty/);
});

test("run: ^C interrupts the foreground job and not the shell", needs, async () => {
  const terminal = await shellInside();
  terminal.line(`${NAP}; echo code $?`);
  await untilNap(/^S\S*\+/);
  terminal.press("C-c");
  await terminal.until(/\^C[\s\S]*^inner#$/m);
  terminal.line("echo still $$");
  await terminal.until(/^still 1$/m);
});

test("run: ^Z stops a job, jobs lists it, fg and bg continue it", needs, async () => {
  const terminal = await shellInside();
  terminal.line(NAP);
  await untilNap(/^S\S*\+/);
  terminal.press("C-z");
  await terminal.until(new RegExp(`\\[1\\]\\+ +Stopped +${NAP}$`, "m"));
  terminal.line("bg");
  await terminal.until(new RegExp(`^\\[1\\] ${NAP}$`, "m"));
  terminal.line("jobs");
  await terminal.until(new RegExp(`^\\[1\\]\\+ +Running +${NAP}$`, "m"));
  terminal.line("fg");
  await untilNap(/^S\S*\+/);
  terminal.press("C-c");
  terminal.line("jobs; echo end of $((40 + 2))");
  await terminal.until(/^end of 42$/m);
});

test("run: a job in the background that reads the terminal is stopped", needs, async () => {
  const terminal = await shellInside();
  terminal.line("cat & until grep -q '^State:.T' /proc/$!/status; do sleep 0.1; done; jobs");
  await terminal.until(/^\[1\]\+ +Stopped \(tty input\) +cat$/m);
  terminal.line("kill -9 %1; sleep 0.1");
  await terminal.until(/Killed +cat$/m);
  terminal.line("exit");
  await terminal.until(/^outer\$$/m);
});

test("run: ^D ends the shell", needs, async () => {
  const terminal = await shellInside();
  terminal.press("C-d");
  await terminal.until(/^outer\$$/m);
});

test("run: ^\\ quits the foreground job", needs, async () => {
  const terminal = await shellInside();
  terminal.line(`ulimit -c 0; ${NAP}; echo code $?`);
  await untilNap(/^S\S*\+/);
  terminal.press("C-\\");
  await terminal.until(/Quit[\s\S]*^inner#$|code 131/m);
});

test("run: the size is the window's, and follows it", needs, async () => {
  const terminal = await shellInside();
  terminal.line("stty size");
  await terminal.until(/^30 100$/m);
  terminal.resize(77, 20);
  terminal.line("until test \"$(stty size)\" = '20 77'; do sleep 0.1; done; stty size");
  await terminal.until(/^20 77$/m);
  terminal.line("sh -c 'trap \"stty size; exit\" WINCH; echo waits; while :; do sleep 0.1; done'");
  await terminal.until(/^waits$/m);
  terminal.resize(88, 22);
  await terminal.until(/^22 88$/m);
});

test("run: the command begins with the right size, not with one that comes later", needs, async () => {
  const terminal = await openTerminal(91, 31);
  terminal.line(`${binary} run ${root} stty size`);
  await terminal.until(/^31 91$/m);
});

test("run: TERM is set, colours and full-screen programs arrive", needs, async () => {
  const terminal = await shellInside();
  terminal.line("echo $TERM");
  await terminal.until(/^xterm.*$/m);
  terminal.line("vi /etc/passwd");
  await terminal.until(/^~$/m);
  terminal.line(":q");
  await terminal.until(/^inner#$/m);
});

const settings = async (terminal: Terminal, mark: string): Promise<string> => {
  terminal.line(`clear; stty -a; echo ${mark}`);
  await terminal.until(new RegExp(`^${mark}$`, "m"));
  return terminal
    .screen()
    .replace(/^.*?speed/s, "speed")
    .replace(new RegExp(`${mark}[\\s\\S]*$`), "");
};

test("run: the terminal's settings are restored when the command ends", needs, async () => {
  const terminal = await openTerminal();
  const before = await settings(terminal, "before");
  terminal.line(run());
  await terminal.until(/^inner#$/m);
  terminal.line("stty raw -echo; exit 7");
  await terminal.until(/^outer\$$/m);
  assert.equal(await settings(terminal, "after"), before);
});

test("run: the terminal's settings are restored when the container is killed with SIGKILL", needs, async () => {
  const terminal = await openTerminal();
  const before = await settings(terminal, "before");
  const name = `test-${process.pid}-kill`;
  terminal.line(run("--name", name));
  await terminal.until(/^inner#$/m);
  process.kill(await pidOf(name), "SIGKILL");
  await terminal.until(/outer\$$/m);
  terminal.press("Enter");
  terminal.line("echo code $?");
  assert.equal(await settings(terminal, "after"), before);
});

test("run: the terminal's settings are restored when tupper is told to end", needs, async () => {
  const terminal = await openTerminal();
  const before = await settings(terminal, "before");
  const name = `test-${process.pid}-term`;
  terminal.line(run("--name", name, "--init"));
  await terminal.until(/^inner#$/m);
  const parent = output("ps", "-o", "ppid=", "-p", String(await pidOf(name))).trim();
  process.kill(Number(parent), "SIGHUP");
  await terminal.until(/outer\$$/m);
  assert.equal(await settings(terminal, "after"), before);
});

test("run: the exit code passes through a terminal", needs, async () => {
  const terminal = await openTerminal();
  terminal.line(`${binary} run ${root} sh -c 'exit 42'; echo code $?`);
  await terminal.until(/^code 42$/m);
  terminal.line(`${binary} run --init ${root} sh -c 'kill -9 $$'; echo code $?`);
  await terminal.until(/^code 137$/m);
  terminal.line(`${binary} run ${root} no-such-command; echo code $?`);
  await terminal.until(/^code 127$/m);
  terminal.line(`${binary} run ${root}x true; echo code $?`);
  await terminal.until(/^code 125$/m);
});

test("run: an error is readable in a terminal, its lines at the left", needs, async () => {
  const terminal = await openTerminal();
  terminal.line(`${binary} run ${root} no-such-command`);
  await terminal.until(/^error: .*\n?.*\(COMMAND_NOT_FOUND\)$/m);
  await terminal.until(/^ {2}hint: /m);
});

test("run: all that the command printed arrives, however it ends", needs, async () => {
  const terminal = await openTerminal();
  terminal.line(`${binary} run ${root} sh -c 'seq 1 20000; echo last; kill -9 $$; exit 3' | tail -n 1`);
  await terminal.until(/^last$/m);
  terminal.line(`${binary} run ${root} sh -c 'seq 1 20000; echo end'; echo code $?`);
  await terminal.until(/^20000\nend\ncode 0$/m);
});

test("run: no terminal when stdout is a pipe, though stdin is one", needs, async () => {
  const terminal = await openTerminal();
  terminal.line(`${binary} run ${root} sh -c 'tty; test -t 1 || echo no terminal' </dev/null | cat`);
  await terminal.until(/^not a tty\nno terminal$/m);
  terminal.line(`${binary} run ${root} sh -c 'test -t 1 || echo a pipe' | cat`);
  await terminal.until(/^a pipe$/m);
});

test("run --no-tty: the caller's own terminal, without one of the container's", needs, async () => {
  const terminal = await openTerminal();
  terminal.line(`${binary} run --no-tty ${root} sh -c 'ls /dev/pts | wc -w; echo end'`);
  await terminal.until(/^1\nend$/m);
});

test("run: no terminal when stdin and stdout are none", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  assert.equal(await prints(["run", root, "sh", "-c", "tty; ls /dev/pts; :"]), "not a tty\nptmx\n");
});

test("run --tty: a terminal though stdin and stdout are none; line feeds come without carriage returns added", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  const { stdout, code } = await tupper(["run", "-t", root, "sh", "-c", "tty; test -t 2 && echo yes; exit 6"]);
  assert.match(stdout, /^\/dev\/(pts\/0|console)\r?\nyes\r?\n$/);
  assert.equal(code, 6);
});

test("run --tty: input from a pipe reaches the command, and its end ends it", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  const { stdout, code } = await tupper(
    ["run", "-t", root, "sh", "-c", "stty -echo; read a; echo got $a; cat; echo end"],
    { input: "one\ntwo\n", timeoutMs: 5000 },
  );
  assert.match(stdout, /got one\r?\n/);
  assert.match(stdout, /end\r?\n$/);
  assert.equal(code, 0);
});

const sleeps = (pid: number | string): boolean => /^State:\tS/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));

/** What is pasted, or comes from a file: more than the 64 KiB that a terminal holds unread. */
const more = Array.from({ length: 40_000 }, (_, i) => `${i + 1}\n`).join("");

test("run --tty: more input than a terminal holds arrives while what comes out of it is passed on", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  const { stdout, code } = await tupper(["run", "-t", root, "sh", "-c", "stty -echo; cat; exit 5"], { input: more });
  assert.deepEqual({ whole: stdout.replaceAll("\r", "").endsWith(more), code }, { whole: true, code: 5 });
});

test("run --tty: a command that reads none of it ends as usual, and signals reach it", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  const ends = await tupper(["run", "-t", root, "sh", "-c", "sleep 0.5; exit 5"], { input: more });
  assert.equal(ends.code, 5);
  const script = "trap 'exit 6' TERM; echo trapped; while :; do sleep 0.1; done";
  const running = start(["run", "-t", root, "sh", "-c", script], { input: more });
  await running.until(/trapped/);
  let left = 0;
  await eventually("all is in the way that fits", () => {
    const before = left;
    left = running.child.stdin.writableLength;
    return left > 0 && left === before && sleeps(running.pid);
  });
  running.child.kill("SIGTERM");
  assert.equal((await running.ended).code, 6);
});

test("run --tty: a command that closes its terminal ends as usual, and signals reach one whose output nobody reads", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  const closes = await tupper(["run", "-t", root, "sh", "-c", "exec <&- >&- 2>&-; sleep 0.5; exit 5"], { input: more });
  assert.deepEqual({ stderr: closes.stderr, code: closes.code }, { stderr: "", code: 5 });
  const name = `unread-${process.pid}`;
  const running = start(["run", "--name", name, "-t", root, "sh", "-c", "trap 'exit 6' TERM; yes & seq 10; wait"]);
  await running.until(/10/);
  const pid = await pidOf(name);
  running.child.stdout.pause();
  const writer = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  const isStuck = () => sleeps(running.pid) && sleeps(writer);
  // Twice: who writes and who passes it on may sleep in turn for a moment.
  await eventually("all is in the way that fits", async () => isStuck() && (await sleep(50).then(isStuck)));
  running.child.kill("SIGTERM");
  await eventually("the container has ended", () => !isRunning(pid));
  running.child.stdout.resume();
  assert.equal((await running.ended).code, 6);
});

test("run: with a terminal too, only descriptors 0, 1 and 2 are open and one pty is there", needs, async () => {
  const terminal = await shellInside();
  terminal.line("ls /proc/1/fd; ls /dev/pts");
  await terminal.until(/^0 +1 +10 +2\n0 +ptmx$/m); // 10 is the terminal as busybox's shell keeps it
});

test("run: the terminal inside belongs to the container's user", needs, async () => {
  const terminal = await openTerminal();
  terminal.line(`${binary} run --user 1000 ${root} sh -c 'stat -c "%u %a" $(tty); echo x >$(tty)'`);
  await terminal.until(/^1000 6[02]0\nx$/m);
});

test("run: a session that is hung up ends the container", needs, async () => {
  const name = `test-${process.pid}-hangup`;
  const socket = `tupper-test-hangup-${process.pid}`;
  spawnSync("tmux", ["-L", socket, "-f", "/dev/null", "new-session", "-d", run("--name", name)]);
  for (let i = 0; i < 100 && !(await prints(["ps", "-q"])).includes(name); i++) await sleep(20);
  spawnSync("tmux", ["-L", socket, "kill-server"]);
  for (let i = 0; i < 100 && (await prints(["ps", "-q"])).includes(name); i++) await sleep(20);
  const isThere = (await prints(["ps", "-q"])).includes(name);
  if (isThere) await tupper(["kill", name]);
  assert.equal(isThere, false);
});

test("exec: a terminal of its own in the same container, job control and exit code", needs, async () => {
  const running = await background(root);
  const terminal = await openTerminal();
  terminal.line(`${binary} exec -e 'PS1=inner# ' ${running.name} sh`);
  await terminal.until(/^inner#$/m);
  terminal.line("tty; stty size");
  await terminal.until(/^\/dev\/pts\/0\n30 100$/m);
  terminal.line(NAP);
  await untilNap(/^S\S*\+/);
  terminal.press("C-c");
  await terminal.until(/\^C\n(.*\n)?inner#$/m);
  terminal.line("exit 9");
  await terminal.until(/^outer\$$/m);
  terminal.line("echo code $?");
  await terminal.until(/^code 9$/m);
});

test("ps, --help: colours on a terminal, none in a pipe or with NO_COLOR", {
  skip: missing("subuid", "package:util-linux"),
}, async () => {
  await background(root);
  const onTerminal = (env: string) => printsOnTerminal(`${env} ${binary} ps; ${env} ${binary} run /no/such true; true`);
  const escapeCode = new RegExp(String.fromCharCode(27));
  assert.match(onTerminal("TERM=xterm"), escapeCode);
  assert.doesNotMatch(onTerminal("NO_COLOR=1"), escapeCode);
  assert.doesNotMatch((await tupper(["ps"])).stdout, escapeCode);
  assert.doesNotMatch((await tupper(["run", "/no/such", "true"])).stderr, escapeCode);
});

test("run: ^C at tupper without a terminal of the container's reaches the command once", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  const running = start([
    "run",
    root,
    "sh",
    "-c",
    "trap 'echo int' INT; echo ready; for i in 1 2 3 4 5 6; do sleep 0.1; done",
  ]);
  await running.until(/ready/);
  running.child.kill("SIGINT");
  const { stdout, code } = await running.ended;
  assert.deepEqual({ stdout, code }, { stdout: "ready\nint\n", code: 0 });
});
