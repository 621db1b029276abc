/** Standard output and error that take nothing, or not at once. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { binary, binaryFor, compiled, environmentOf, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const root = sharedRootfs();

test("tupper: the exit code says what failed, also where stderr takes nothing", {
  skip: missing("file:/dev/full"),
}, () => {
  const codes = ["run /nowhere true", "nosuch", "kill nosuch"].map(
    (words) => spawnSync("sh", ["-c", `"$0" ${words} 2>/dev/full`, binary]).status,
  );
  assert.deepEqual(codes, [125, 2, 1]);
});

/** Both outputs into one pipe that is full and does not block; what arrives there behind the filling, and the exit code. */
function intoFullPipe(words: string, readyWhen = "true"): { printed: string; code: string } {
  const code = join(temporaryDirectory(), "code");
  // Whoever reads begins when the program has been refused: it sleeps, and so does the last that it has started, if any.
  const last =
    "p=$1; while c=$(cat /proc/$p/task/$p/children 2>/dev/null) && test -n \"$c\"; do p=$(echo $c | cut -d' ' -f1); done";
  const asleep =
    "grep -q '^Name:.tupper' /proc/$1/status && grep -q '^State:.S' /proc/$1/status && grep -q '^State:.S' /proc/$p/status";
  const refused = `refused() { ${last}; ${readyWhen} && ${asleep} && sleep 0.05 && ${asleep}; }`;
  const reader = `read program <"$2.pid"; until refused $program; do sleep 0.01; done; tr -d '.\\r'`;
  const script = `mkfifo "$2.pid"; { "$0" "$1" ${words} & echo $! >"$2.pid"; wait $!; echo $? >"$2"; } 2>&1 | (${refused}; ${reader})`;
  const { stdout } = spawnSync("sh", ["-c", script, compiled("full_output"), binary, code], {
    encoding: "utf8",
    timeout: 20_000,
  });
  return { printed: stdout, code: readFileSync(code, "utf8") };
}

test("tupper: output into a full pipe that does not block waits for who reads it, and all of it arrives", {
  skip: missing("subuid", "package:busybox-static", "programs"),
}, () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join("");
  assert.deepEqual(
    intoFullPipe(`run --tty ${root} sh -c "seq 20000; exit 7" </dev/null`, "grep -q '^Name:.seq' /proc/$p/status"),
    {
      printed: lines,
      code: "7\n",
    },
  );
  const error = spawnSync(binary, ["run", "/nowhere", "true"], { encoding: "utf8" }).stderr.replaceAll(".", "");
  assert.deepEqual(intoFullPipe("run /nowhere true"), { printed: error, code: "125\n" });
});

/**
 * Runs a command whose output nobody reads, on a terminal or a pipe; when that is full, and the command sleeps because it is, sends it
 * SIGTERM, `ended`: when its own child has been killed and is gone. Prints the exit code.
 */
const UNREAD = `
import os, select, signal, subprocess, sys, time
kind, when, *command = sys.argv[1:]
reader, writer = os.pipe() if kind == 'pipe' else os.openpty()
if kind == 'closed terminal': os.fchmod(writer, 0)
child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
def children(pid): return open(f'/proc/{pid}/task/{pid}/children').read().split()
def sleeps(pid): return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] == 'S'
def last(pid): return last(children(pid)[0]) if children(pid) else pid
poll = select.poll()
poll.register(writer, select.POLLOUT)
end = time.monotonic() + 20
def wait(what, condition):
    while not condition():
        if time.monotonic() > end: child.kill(); sys.exit('never: ' + what)
        time.sleep(0.01)
def stuck(): return not poll.poll(0) and children(child.pid) and sleeps(child.pid) and sleeps(last(child.pid))
# Twice: who writes and who passes it on may sleep in turn for a moment.
wait('full', lambda: stuck() and not time.sleep(0.05) and stuck())
if when == 'ended':
    os.kill(int(children(child.pid)[0]), signal.SIGKILL)
    wait('ended', lambda: not children(child.pid) and sleeps(child.pid))
child.send_signal(signal.SIGTERM)
try: print(child.wait(20))
except subprocess.TimeoutExpired: child.kill(); sys.exit('SIGTERM did not end it')
`;

function unread(kind: string, when: string, ...command: string[]): string {
  const { stdout, stderr } = spawnSync("python3", ["-c", UNREAD, kind, when, ...command], { encoding: "utf8" });
  return stdout + stderr;
}

test("run --tty: SIGTERM reaches the command and ends tupper though nobody reads its output, a terminal or a pipe", {
  skip: missing("subuid", "package:busybox-static", "package:python3"),
}, () => {
  for (const kind of ["terminal", "pipe"]) {
    const run = (...flags: string[]) => [binary, "run", "--tty", ...flags, root, "sh", "-c"];
    assert.equal(unread(kind, "full", ...run(), "trap 'exit 6' TERM; yes & wait"), "6\n", kind);
    // There is something to be said of this end, where nothing can be said.
    assert.equal(unread(kind, "full", ...run("--init"), "yes"), "143\n", kind);
    // What it has written is more than fits, and it has ended.
    assert.equal(unread(kind, "ended", ...run(), "yes"), "137\n", kind);
  }
});

test("run --tty: the same on a terminal that may not be opened, as another user's after su", {
  skip: missing("root", "package:passwd", "package:uidmap", "package:python3", "package:setpriv"),
}, () => {
  const { user } = users;
  const environment = Object.entries(environmentOf(user)).map(([name, value]) => `${name}=${value}`);
  const asOther = ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "env", ...environment];
  const run = ["run", "--tty", root, "sh", "-c", "trap 'exit 6' TERM; yes & wait"];
  assert.equal(unread("closed terminal", "full", ...asOther, binaryFor(user), ...run), "6\n");
});
