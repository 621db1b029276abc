/**
 * `process.terminal` through the OCI runtime: the master goes to --console-socket, or the foreground runtime passes bytes,
 * sizes and signals on. The other end of the socket is tests/programs/console_receiver.c; people's terminals are tmux's.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { Process } from "../src/spec/config.ts";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  untilStatus,
} from "./bundle.ts";
import { receiver } from "./console-receiver.ts";
import { deafSocket } from "./deaf-socket.ts";
import { atEnd, binary, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { openTerminal, printsOnTerminal } from "./terminal.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const onSocket = needs("programs");
const inTerminal = needs("package:tmux", "package:util-linux");

/** A config with a terminal, and a devpts for it. */
function withTerminal(script: string, process: Partial<Process> = {}) {
  const config = makeConfig(root, { args: ["sh", "-c", script], process: { terminal: true, ...process } });
  config.process.args = ["sh", "-c", script];
  config.mounts?.push({
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["newinstance", "ptmxmode=0666"],
  });
  return config;
}

/** Text for a shell: the runtime with these arguments. */
const command = (...args: string[]): string =>
  `bash -c 'exec -a tupper-runtime "$@"' bash ${[binary, ...args].map((word) => `'${word}'`).join(" ")}`;

/* ---- console sockets -------------------------------------------------------------------------- */

test(
  "create --console-socket: the master of the container's terminal comes, which is its stdio and /dev/console",
  onSocket,
  async () => {
    const { socket, text, until, child } = await receiver();
    const script =
      "tty; test -t 0 && test -t 1 && test -t 2 && echo all three; readlink -f /dev/stdin; [ -c /dev/console ] && echo console; read line; echo got $line";
    const id = await created(withTerminal(script), ["--console-socket", socket]);
    await until(/terminal \S+ yes\n/);
    await runtimePrints(["start", id]);
    await until(/console\r?\n/);
    child.stdin.write("typed\n");
    await until(/end\n$/);
    const lines = text().replaceAll("\r", "").split("\n");
    assert.match(
      lines.slice(2).join("\n"),
      /^\/dev\/(pts\/0|console)\nall three\n\/dev\/(pts\/0|console)\nconsole\ntyped\ngot typed\nend\n$/,
    );
    await untilStatus(id, "stopped");
  },
);

test(
  "run --detach --console-socket: relative to the caller's directory; the process leads a session of its terminal",
  onSocket,
  async () => {
    const { socket, text, until } = await receiver();
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    const bundle = makeBundle(
      withTerminal("ps -o pid,tty,comm | grep ' sh'; cut -d' ' -f5,6,8 /proc/1/stat; exec sleep 600"),
    );
    const cwd = join(socket, "..");
    assert.equal(
      await runtimePrints(["run", "-d", "--console-socket", "console", "--bundle", bundle, id], { cwd }),
      "",
    );
    await until(/1 1 \d+\r?\n/);
    assert.match(text(), /^ +1 136,0 +sh\r?$/m);
  },
);

test(
  "process.terminal in the background without a console socket: an error that names --console-socket",
  needs(),
  async () => {
    const bundle = makeBundle(withTerminal("true"));
    for (const args of [["create"], ["run", "--detach"]])
      assert.match(await runtimeFails([...args, "--bundle", bundle, newId()]), /use --console-socket/);
  },
);

test(
  "--console-socket for a process without a terminal, or where nobody listens: an error, and nothing is left",
  needs(),
  async () => {
    const socket = join(temporaryDirectory(), "nobody");
    const id = newId();
    const plain = makeBundle(makeConfig(root));
    assert.match(await runtimeFails(["create", "--console-socket", socket, "--bundle", plain, id]), /--console-socket/);
    const failure = await runtimeFails([
      "create",
      "--console-socket",
      socket,
      "--bundle",
      makeBundle(withTerminal("true")),
      id,
    ]);
    assert.ok(failure.includes(socket), failure);
    assert.match(await runtimeFails(["state", id]), /does not exist/);
  },
);

test("create --console-socket: one who accepts nobody keeps nobody waiting: nothing is left", needs(), async () => {
  const socket = await deafSocket("full");
  const id = newId();
  assert.equal(
    await runtimeFails(["create", "--bundle", makeBundle(withTerminal("true")), "--console-socket", socket, id]),
    `CONSOLE_SOCKET: cannot send the terminal to the console socket ${socket}`,
  );
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
});

test("consoleSize: the terminal has it from the start", onSocket, async () => {
  const { socket, text, until } = await receiver();
  const id = await created(withTerminal("stty size", { consoleSize: { height: 31, width: 117 } }), [
    "--console-socket",
    socket,
  ]);
  await runtimePrints(["start", id]);
  await until(/end\n$/);
  assert.match(text(), /^31 117\r?$/m);
});

test("exec --tty --console-socket: a terminal of its own", onSocket, async () => {
  const id = await running(
    makeConfig(root, {
      mounts: withTerminal("true").mounts ?? [],
    }),
  );
  const { socket, text, until } = await receiver();
  const args = [
    "exec",
    "--tty",
    "--detach",
    "--console-socket",
    socket,
    id,
    "sh",
    "-c",
    "tty; test -t 0 && test -t 2 && echo both",
  ];
  assert.equal(await runtimePrints(args), "");
  await until(/end\n$/);
  assert.match(text().replaceAll("\r", ""), /^terminal \S+ yes\n\/dev\/pts\/0\nboth\nend\n$/m);
});

/* ---- in the foreground ------------------------------------------------------------------------ */

test(
  "run: a terminal in the foreground works, its lines end as they should, and the caller's is as before afterwards",
  inTerminal,
  async () => {
    const bundle = makeBundle(withTerminal("tty; echo one; echo two; read line; echo got $line; exit 5"));
    const terminal = await openTerminal();
    terminal.line("stty -a >/tmp/before-$$; clear");
    terminal.line(
      `${command("run", "--bundle", bundle, newId())}; echo code $?; stty -a | cmp - /tmp/before-$$ && echo same; rm /tmp/before-$$`,
    );
    await terminal.until(/\/dev\/(pts\/0|console)\none\ntwo$/m);
    terminal.line("typed");
    await terminal.until(/typed\ngot typed\ncode 5\nsame$/m);
  },
);

test("run: the size is the caller's, and follows it", inTerminal, async () => {
  const bundle = makeBundle(withTerminal("trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done"));
  const id = newId();
  const terminal = await openTerminal(91, 23);
  terminal.line(command("run", "--bundle", bundle, id));
  await terminal.until(/^23 91$/m);
  terminal.resize(103, 27);
  await terminal.until(/^27 103$/m);
  await runtimePrints(["kill", id, "KILL"]);
  await terminal.until(/^outer\$$/m);
});

test("run: ^C goes to the foreground job of the container", inTerminal, async () => {
  const bundle = makeBundle(withTerminal("trap 'echo interrupted' INT; echo ready; sleep 600; exit 6"));
  const terminal = await openTerminal();
  terminal.line(`${command("run", "--bundle", bundle, newId())}; echo code $?`);
  await terminal.until(/^ready$/m);
  terminal.press("C-c");
  await terminal.until(/interrupted\ncode 6$/m);
});

test("run: the caller's terminal is as before when the container is killed", inTerminal, async () => {
  const bundle = makeBundle(withTerminal("echo ready; exec sleep 600"));
  const id = newId();
  const terminal = await openTerminal();
  terminal.line("stty -a >/tmp/before-$$; clear");
  terminal.line(
    `${command("run", "--bundle", bundle, id)}; echo code $?; stty -a | cmp - /tmp/before-$$ && echo same; rm /tmp/before-$$`,
  );
  await terminal.until(/^ready$/m);
  await runtimePrints(["kill", id, "KILL"]);
  await terminal.until(/^code 137\nsame$/m);
});

test("run: ps of the container names its terminal", inTerminal, async () => {
  const bundle = makeBundle(withTerminal("ps -o pid,tty,comm; echo over"));
  const terminal = await openTerminal();
  terminal.line(command("run", "--bundle", bundle, newId()));
  await terminal.until(/^over$/m);
  assert.match(terminal.screen(), /^ +1 136,0 +sh$/m);
});

test(
  "run: the output of a terminal that is passed on to a file has no \\r, and stdin may be /dev/null",
  inTerminal,
  () => {
    const bundle = makeBundle(withTerminal("echo one; echo two; test -t 0 && test -t 1 && echo terminal; exit 0"));
    const directory = temporaryDirectory();
    const text = printsOnTerminal(
      `${command("run", "--bundle", bundle, newId())} </dev/null >${directory}/out; od -c ${directory}/out`,
    );
    assert.doesNotMatch(text, /\\r/);
    const other = printsOnTerminal(`${command("run", "--bundle", bundle, newId())} </dev/null`);
    assert.equal(other, "one\r\ntwo\r\nterminal\r\n");
  },
);

test("run: without any terminal outside, the container has one all the same", needs(), async () => {
  const bundle = makeBundle(withTerminal("tty; echo over"));
  const { stdout, stderr, code } = await runtime(["run", "--bundle", bundle, newId()]);
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
  assert.match(stdout, /^\/dev\/(pts\/0|console)\nover\n$/);
});

test(
  "exec --tty: a terminal for the process, with the caller's size; exit code and sizes pass",
  inTerminal,
  async () => {
    const id = await running(makeConfig(root, { mounts: withTerminal("true").mounts ?? [] }));
    const terminal = await openTerminal(90, 20);
    terminal.line(
      `${command("exec", "--tty", id, "sh", "-c", "tty; stty size; read line; stty size; exit 7")}; echo code $?`,
    );
    await terminal.until(/^\/dev\/pts\/0\n20 90$/m);
    terminal.resize(80, 25);
    await new Promise((done) => setTimeout(done, 200));
    terminal.line("");
    await terminal.until(/^25 80\ncode 7$/m);
  },
);

test("exec: without --tty there is none, also when the caller has one", inTerminal, async () => {
  const id = await running(makeConfig(root));
  const text = printsOnTerminal(command("exec", id, "sh", "-c", "tty; echo over"));
  assert.match(text, /over\r\n$/);
  assert.doesNotMatch(text, /^\/dev\/pts\/0\r$/m);
});
