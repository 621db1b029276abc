/**
 * A source of a mount lies on a filesystem that does not answer, as FUSE and NFS have it: whoever makes a container is not deaf to the
 * signals that end it meanwhile, and takes back what it can. The filesystem is one of FUSE whose server is silent (tests/programs/silent_fuse.c).
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import { makeBundle, makeConfig, newId, runtime, runtimePrints, startRuntime, stateOf } from "./bundle.ts";
import {
  atEnd,
  compiled,
  eventually,
  isSanitizer,
  output,
  prints,
  start,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { inUserNamespace } from "./runtime-config.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
const needs = { skip: missing("root", "package:busybox-static", "package:util-linux", "programs", "file:/dev/fuse") };

interface Silent {
  /** A file of it. */
  source: string;
  /** Until somebody waits for its answer. */
  asked(): Promise<void>;
  server: ChildProcess;
}

/** `heard`: who waits for the answer does not even die before the server does. */
async function silent(...heard: ["heard"?]): Promise<Silent> {
  const directory = join(temporaryDirectory(), "silent");
  mkdirSync(directory);
  const server = spawn(compiled("silent_fuse"), [directory, ...heard.flatMap((word) => word ?? [])]);
  let said = "";
  server.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  server.stderr.pipe(process.stderr);
  atEnd(() => output("umount", "--lazy", directory));
  atEnd(() => server.kill("SIGKILL"));
  await eventually("the server is ready", () => said.startsWith("ready\n"));
  return {
    source: join(directory, "file"),
    asked: () => eventually("somebody asks", () => said.endsWith("asked\n"), 20_000),
    server,
  };
}

/** The error, and where it has to stand the step that did not end: in a memory of its own nobody sees it. */
function assertInterrupted(stderr: string, signal: string, source: string, isSeen = !isSanitizer): void {
  assert.match(stderr, new RegExp(`^error: ended by ${signal} before the command ran \\(SETUP_INTERRUPTED\\)$`, "m"));
  if (isSeen) assert.ok(stderr.includes(`\n  found:  the init process was to take ${source}\n`), stderr);
}

for (const signal of ["SIGTERM", "SIGINT"] as const)
  test(`run: ${signal} ends it while a mount hangs, and nothing is left`, needs, async () => {
    const { source, asked } = await silent();
    const name = newId();
    const running = start(["run", "--name", name, "--volume", `${source}:/mnt`, rootfs, "true"]);
    await asked();
    running.child.kill(signal);
    const { stdout, stderr, code } = await running.ended;
    assertInterrupted(stderr, signal, source);
    assert.deepEqual({ stdout, code, left: existsSync(`/run/tupper/${name}`) }, { stdout: "", code: 125, left: false });
  });

test("run --diagnose: SIGTERM ends it while a mount hangs, and nothing is left", needs, async () => {
  const { source, asked } = await silent();
  const running = start(["run", "--diagnose", "--volume", `${source}:/mnt`, rootfs, "true"]);
  await asked();
  running.child.kill("SIGTERM");
  const { stderr, code } = await running.ended;
  assertInterrupted(stderr, "SIGTERM", source, false);
  assert.equal(code, 125);
});

const MAP = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const OWNERS = { uidMappings: MAP, gidMappings: MAP };

const configWith = (source: string, limit?: number) =>
  makeConfig(rootfs, {
    mounts: [{ destination: "/mnt", type: "bind", source, options: ["bind"] }],
    ...(limit === undefined ? {} : { resources: { memory: { limit } } }),
    hooks: { poststop: [{ path: "/bin/sh", args: ["sh", "-c", "cat >/dev/null"] }] },
  });

for (const verb of ["create", "run"] as const)
  test(`${verb}: SIGTERM ends it while a mount hangs, and nothing is left`, needs, async () => {
    const { source, asked } = await silent();
    const id = newId();
    const command = startRuntime([verb, "--bundle", makeBundle(configWith(source)), id]);
    await asked();
    command.kill("SIGTERM");
    const { stdout, stderr, code } = await command.ended;
    assertInterrupted(stderr, "SIGTERM", source);
    assert.deepEqual({ stdout, code }, { stdout: "", code: 1 });
    assert.match((await runtime(["state", id])).stderr, /\(CONTAINER_UNKNOWN\)$/m);
  });

// Its init process has a memory of its own.
test("create with a limit of 900 kB: SIGTERM ends it while a mount hangs, and nothing is left", needs, async () => {
  const { source, asked } = await silent();
  const id = newId();
  const command = startRuntime(["create", "--bundle", makeBundle(configWith(source, 900_000)), id]);
  await asked();
  command.kill("SIGTERM");
  const { stderr, code } = await command.ended;
  assert.match(stderr, /^error: ended by SIGTERM before the command ran \(\w+\)$/m);
  assert.equal(code, 1);
  assert.match((await runtime(["state", id])).stderr, /\(CONTAINER_UNKNOWN\)$/m);
});

// There it is the runtime itself that hangs, or waits for who does.
for (const [how, change] of [
  ["with owners mapped", (config: Config) => Object.assign(config.mounts?.[0] ?? {}, OWNERS)],
  [
    "that root of its user namespace may not reach",
    (config: Config) => {
      config.root.path = makeRootfs();
      inUserNamespace(config);
      const closed = dirname(dirname(config.mounts?.[0]?.source ?? ""));
      chmodSync(closed, 0o700);
      chownSync(closed, 1234, 1234);
    },
  ],
] as const)
  test(
    `create: SIGTERM ends it while a mount ${how} hangs, and delete --force removes what there is`,
    needs,
    async () => {
      const { source, asked } = await silent();
      const config = configWith(source);
      change(config);
      const id = newId();
      const command = startRuntime(["create", "--bundle", makeBundle(config), id]);
      await asked();
      command.kill("SIGTERM");
      const { stderr, code } = await command.ended;
      assert.deepEqual({ stderr, code }, { stderr: "", code: null });
      assert.equal(await runtimePrints(["delete", "--force", id]), "");
    },
  );

test(
  "create: SIGTERM ends it though the kernel lets nobody end the mount; delete --force removes what is left when it does",
  needs,
  async () => {
    const { source, asked, server } = await silent("heard");
    const id = newId();
    const command = startRuntime(["create", "--bundle", makeBundle(configWith(source)), id]);
    await asked();
    command.kill("SIGTERM");
    const { stdout, stderr, code } = await command.ended;
    assertInterrupted(stderr, "SIGTERM", source);
    assert.match(stderr, /^warning: cannot remove the control groups again: .*; left: /m);
    assert.deepEqual({ stdout, code }, { stdout: "", code: 1 });
    assert.equal((await stateOf(id)).status, "stopped");
    server.kill("SIGKILL");
    await eventually("it is gone", () => server.signalCode !== null);
    assert.equal(await runtimePrints(["delete", "--force", id]), "");
  },
);

test(
  "run: SIGTERM ends it though the kernel lets nobody end the mount; the next command removes what is left",
  needs,
  async () => {
    const { source, asked, server } = await silent("heard");
    const name = newId();
    const running = start(["run", "--name", name, "--volume", `${source}:/mnt`, rootfs, "true"]);
    await asked();
    // The init process still has its output.
    const ended = new Promise((done) => running.child.on("exit", done));
    running.child.kill("SIGTERM");
    assert.equal(await ended, 125);
    assert.ok(readFileSync(`/run/tupper/${name}/state.json`, "utf8").includes(name));
    server.kill("SIGKILL");
    await eventually("it is gone", () => server.signalCode !== null);
    assertInterrupted((await running.ended).stderr, "SIGTERM", source);
    assert.doesNotMatch(await prints(["ps", "--quiet"]), new RegExp(name));
    assert.ok(!existsSync(`/run/tupper/${name}`));
  },
);

test("create: where a hook in the container does not end, no mount is blamed", needs, async () => {
  const begun = join(temporaryDirectory(), "begun");
  const args = ["sh", "-c", `: >${begun}; exec sleep 600`];
  const hooks = { createContainer: [{ path: "/bin/sh", args }] };
  const { kill, ended } = startRuntime(["create", "--bundle", makeBundle(makeConfig(rootfs, { hooks })), newId()]);
  await eventually("the hook runs", () => existsSync(begun));
  kill("SIGTERM");
  const { stderr } = await ended;
  assert.match(stderr, /^error: ended by SIGTERM before the command ran \(SETUP_INTERRUPTED\)$/m);
  if (!isSanitizer) assert.doesNotMatch(stderr, /FUSE/);
});
