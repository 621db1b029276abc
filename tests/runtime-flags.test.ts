/** Flags of tupper-runtime that engines and scripts know from runc and crun: --pidfd-socket, --regex, exec --process -. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
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
import { atEnd, compiled, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });

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
  assert.match(await runtimeFails(["exec", "--process", "/nowhere.json", id]), /^PROCESS_UNREADABLE: /);
});
