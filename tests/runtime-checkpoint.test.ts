/**
 * `tupper-runtime checkpoint` and `restore`. CRIU itself is another program, and does not work on every kernel: what it is
 * called with, and what becomes of its success and failure, is shown with a stand-in that writes its arguments down. The last
 * test is with the real one, where `criu check` says that it can work.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
import { atEnd, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "package:busybox-static", ...more) });

/** A stand-in: `dump` kills the process, unless it is to be left running; `restore` starts another in its place. */
const STAND_IN = `#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/calls"
command=$1
while [ $# -gt 0 ]; do
  case $1 in
    --tree) tree=$2 ;;
    --images-dir) images=$2 ;;
    --pidfile) pidfile=$2 ;;
    --root) root=$2 ;;
    --leave-running) stay=yes ;;
  esac
  shift
done
if [ -e "$here/fails" ]; then
  [ "$command" = check ] && { echo "Error (criu/vdso.c:381): vdso: too new" >&2; exit 1; }
  printf '(00.000001) fine\\n(00.000002) Error (criu/mount.c:1): mnt: cannot\\n(00.000003) Error (criu/cr-dump.c:2): Dumping FAILED.\\n' >"$images/$command.log"
  exit 1
fi
case $command in
  dump) : >"$images/inventory.img"; [ "$stay" ] || kill -KILL "$tree" ;;
  restore)
    ls "$root" >"$here/root"
    cat /proc/self/cgroup >"$here/cgroup"
    ls -l /proc/self/fd >"$here/fds"
    setsid sleep 600 </dev/null >/dev/null 2>&1 &
    echo $! >"$pidfile" ;;
esac
`;

interface StandIn {
  program: string;
  /** Each call, as words. */
  calls(): string[][];
  file(name: string): string;
  fail(): void;
}

function standIn(): StandIn {
  const directory = temporaryDirectory();
  const program = join(directory, "criu");
  writeFileSync(program, STAND_IN);
  chmodSync(program, 0o755);
  const file = (name: string) => readFileSync(join(directory, name), "utf8");
  return {
    program,
    calls: () =>
      file("calls")
        .trim()
        .split("\n")
        .map((line) => line.split(" ")),
    file,
    fail: () => writeFileSync(join(directory, "fails"), ""),
  };
}

/** The words that follow a flag, each time that it is there. */
const valuesOf = (call: string[] = [], flag: string): string[] =>
  call.flatMap((word, i) => (word === flag ? [call[i + 1] ?? ""] : []));

const exists = async (id: string) => (await runtime(["state", id])).code === 0;

test("checkpoint, restore: the container is gone, and runs again under its ID", needs(), async () => {
  const { program, calls, file } = standIn();
  const images = join(temporaryDirectory(), "images");
  const data = temporaryDirectory();
  const bind = { type: "bind", source: data, destination: "/tmp", options: ["bind"] };
  const config = makeConfig(root, { linux: { maskedPaths: ["/proc/kcore"] } });
  config.mounts?.push(bind);
  const bundle = makeBundle(config);
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  const { pid } = await stateOf(id);
  assert.equal(
    await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, "--tcp-established", id]),
    "",
  );
  assert.equal(await exists(id), false);
  const [dump = []] = calls();
  assert.deepEqual(dump.slice(0, 3), ["dump", "--tree", String(pid)]);
  assert.ok(dump.includes("--tcp-established"));
  assert.deepEqual(valuesOf(dump, "--images-dir"), [images]);
  assert.deepEqual(valuesOf(dump, "--external"), ["mnt[/proc/kcore]:/dev/null", "mnt[/tmp]:/tmp"]);
  assert.equal((JSON.parse(readFileSync(join(images, "descriptors.json"), "utf8")) as string[]).length, 3);

  const pidFile = join(temporaryDirectory(), "pid");
  const flags = ["--image-path", images, "--bundle", bundle, "--pid-file", pidFile, "--detach"];
  assert.equal(await runtimePrints(["--criu", program, "restore", ...flags, id]), "");
  const restore = calls()[1];
  assert.deepEqual(valuesOf(restore, "--external"), [`mnt[/tmp]:${data}`, "mnt[/dev/null]:/dev/null"]);
  assert.deepEqual(valuesOf(restore, "--empty-ns"), ["net"]);
  const again = await stateOf(id);
  assert.equal(again.status, "running");
  assert.equal(readFileSync(pidFile, "utf8"), String(again.pid));
  // criu saw the root as a mount point in a view of its own, and was in the container's groups.
  assert.match(file("root"), /^bin\n/m);
  assert.equal(readFileSync(`/proc/${again.pid}/cgroup`, "utf8"), file("cgroup"));
  assert.match(file("cgroup"), new RegExp(`/${id}$`, "m"));
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8").includes("criu-root"), false);
  await runtimePrints(["kill", id, "KILL"]);
  await runtimePrints(["delete", "--force", id]);
});

test("restore in the foreground: the exit code is the process's, and nothing stays", needs(), async () => {
  const { program } = standIn();
  const images = temporaryDirectory();
  const id = await running(makeConfig(root));
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  const bundle = makeBundle(makeConfig(root));
  const ended = runtime(["--criu", program, "restore", "--image-path", images, "--bundle", bundle, id]);
  while (!(await exists(id)) || (await stateOf(id)).status !== "running");
  await runtimePrints(["kill", id, "TERM"]);
  assert.deepEqual(await ended, { stdout: "", stderr: "", code: 143 });
  assert.equal(await exists(id), false);
});

test("checkpoint --leave-running, --pre-dump: the container goes on", needs(), async () => {
  const { program, calls } = standIn();
  const images = temporaryDirectory();
  const id = await running(makeConfig(root));
  mkdirSync(join(images, "next"));
  const checkpoint = (...flags: string[]) => runtimePrints(["--criu", program, "checkpoint", ...flags, id]);
  await checkpoint("--pre-dump", "--image-path", join(images, "first"));
  await checkpoint("--leave-running", "--image-path", join(images, "next"), "--parent-path", "../first");
  assert.equal((await stateOf(id)).status, "running");
  const [first = [], next = []] = calls();
  assert.equal(first[0], "pre-dump");
  assert.ok(first.includes("--track-mem") && next.includes("--track-mem") && next.includes("--leave-running"));
  assert.deepEqual(valuesOf(next, "--prev-images-dir"), ["../first"]);
  assert.deepEqual(readdirSync(join(images, "first")), []);
});

test("checkpoint: a failure says why, and the container runs on", needs(), async () => {
  const { program, fail } = standIn();
  fail();
  const images = temporaryDirectory();
  const id = await running(makeConfig(root));
  const { stderr, code } = await runtime(["--criu", program, "checkpoint", "--image-path", images, id]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^error: criu dump failed: Error \(criu\/mount\.c:1\): mnt: cannot; Error \(criu\/cr-dump\.c:2\): Dumping FAILED\. \(CHECKPOINT_FAILED\)\n/,
  );
  assert.match(
    stderr,
    /hint: +CRIU does not work on this machine: `criu check` says Error \(criu\/vdso\.c:381\): vdso: too new; the whole log is \S+\/dump\.log\n/,
  );
  assert.equal((await stateOf(id)).status, "running");
});

test("restore: a failure says why, and leaves nothing", needs(), async () => {
  const { program, fail } = standIn();
  fail();
  const images = temporaryDirectory();
  writeFileSync(join(images, "inventory.img"), "");
  const id = newId();
  const restore = ["--criu", program, "restore", "--image-path", images, "--bundle", makeBundle(makeConfig(root)), id];
  assert.match(
    (await runtime(restore)).stderr,
    /^error: criu restore failed: Error \(criu\/mount\.c:1\): mnt: cannot; .*\(RESTORE_FAILED\)$/m,
  );
  assert.equal(await exists(id), false);
});

test("checkpoint, restore: what cannot be done is refused with its reason", needs(), async () => {
  const { program } = standIn();
  const id = await created(makeConfig(root));
  const call = async (...args: string[]) => {
    const { stderr, code } = await runtime(args);
    assert.equal(code, 1);
    return /\(([A-Z_]+)\)$/m.exec(stderr)?.[1] ?? stderr;
  };
  const criu = ["--criu", program];
  const images = ["--image-path", temporaryDirectory()];
  assert.equal(await call("--criu", "/no/criu", "checkpoint", ...images, id), "CRIU_MISSING");
  assert.equal(await call(...criu, "checkpoint", ...images, "no-such"), "CONTAINER_UNKNOWN");
  assert.equal(await call(...criu, "checkpoint", ...images, id), "CONTAINER_NOT_RUNNING");
  assert.equal(await call(...criu, "checkpoint", ...images, "--empty-ns", "mount", id), "BAD_NAMESPACE");
  await runtimePrints(["start", id]);
  assert.equal(await call(...criu, "checkpoint", ...images, "--parent-path", "/first", id), "CHECKPOINT_PARENT");
  assert.equal(await call(...criu, "checkpoint", ...images, "--parent-path", "first", id), "CHECKPOINT_PARENT");
  assert.equal(await call(...criu, "checkpoint", ...images, "--status-fd", "77", id), "STATUS_FD");
  assert.equal(await call(...criu, "checkpoint", "--image-path", "/no/such/directory", id), "CHECKPOINT_DIRECTORY");
  const bundle = ["--bundle", makeBundle(makeConfig(root))];
  assert.equal(await call(...criu, "restore", ...bundle, "--image-path", "/no/such", newId()), "RESTORE_IMAGES");
  assert.equal(await call("--systemd-cgroup", ...criu, "restore", ...bundle, ...images, newId()), "CGROUP_MANAGER");
  const terminal = ["--bundle", makeBundle(makeConfig(root, { process: { terminal: true } }))];
  assert.equal(await call(...criu, "restore", ...terminal, ...images, newId()), "CRIU_TERMINAL");
  assert.equal((await stateOf(id)).status, "running");
});

test("checkpoint with the real CRIU: it works, or the error says why not", needs("package:criu"), async () => {
  const images = temporaryDirectory();
  const config = makeConfig(root);
  const id = await running(config);
  // It locks the container's network with iptables.
  const works = spawnSync("sh", ["-c", "criu check && command -v iptables-restore"]).status === 0;
  if (!works) {
    const message = await runtimeFails(["checkpoint", "--image-path", images, id]);
    assert.match(message, /^CHECKPOINT_FAILED: criu dump failed: Error \(criu\//);
    assert.equal((await stateOf(id)).status, "running");
    return;
  }
  await runtimePrints(["checkpoint", "--image-path", images, id]);
  assert.ok(existsSync(join(images, "inventory.img")));
  await runtimePrints(["restore", "--detach", "--image-path", images, "--bundle", makeBundle(config), id]);
  assert.equal((await stateOf(id)).status, "running");
});
