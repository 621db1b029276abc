/**
 * `tupper-runtime checkpoint` and `restore`. CRIU itself is another program, and does not work on every kernel: what it is
 * asked for, and what becomes of its success and failure, is shown with a stand-in. The last tests are with the real one,
 * where `criu check` says that it can work.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  startRuntime,
  stateOf,
} from "./bundle.ts";
import { receiver } from "./console-receiver.ts";
import { atEnd, eventually, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { standInCriu } from "./stand-in-criu.ts";
import { countingTrees, StandIn } from "./stand-in-systemd.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "package:busybox-static", "package:python3", ...more) });

type Call = ReturnType<ReturnType<typeof standInCriu>["calls"]>[number];
const CLONE_NEWNET = 0x40000000;

const exists = async (id: string) => (await runtime(["state", id])).code === 0;

test("checkpoint, restore: the container is gone, and runs again under its ID", needs(), async () => {
  const { program, calls, file } = standInCriu();
  const images = join(temporaryDirectory(), "images");
  const data = temporaryDirectory();
  const bind = { type: "bind", source: data, destination: "/tmp", options: ["bind"] };
  const config = makeConfig(root, { linux: { maskedPaths: ["/proc/version", "/proc/fs", "/proc/no-such"] } });
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
  const [[kind, dump]] = calls() as [Call];
  assert.equal(kind, "dump");
  const { freeze_cgroup: [freezer] = [], root: dumpRoot, images_dir_fd: _images, work_dir_fd: _work, ...asked } = dump;
  assert.deepEqual(asked, {
    pid: [pid],
    tcp_established: [1],
    log_level: [4],
    log_file: ["dump.log"],
    notify_scripts: [1],
    track_mem: [0],
    manage_cgroups_mode: [3],
    external: ["mnt[/proc/version]:/dev/null", "mnt[/tmp]:/tmp"],
    empty_ns: [CLONE_NEWNET],
    orphan_pts_master: [0],
  });
  assert.match(String(freezer), new RegExp(`/${id}$`));
  assert.deepEqual(dumpRoot, [root]);
  assert.equal((JSON.parse(readFileSync(join(images, "descriptors.json"), "utf8")) as string[]).length, 3);

  const pidFile = join(temporaryDirectory(), "pid");
  const flags = ["--image-path", images, "--bundle", bundle, "--pid-file", pidFile, "--detach"];
  assert.equal(await runtimePrints(["--criu", program, "restore", ...flags, id]), "");
  const restore = calls()[1]?.[1];
  assert.deepEqual(restore?.external, [`mnt[/tmp]:${data}`, "mnt[/dev/null]:/dev/null"]);
  assert.deepEqual(restore.empty_ns, [CLONE_NEWNET]);
  assert.deepEqual(restore.rst_sibling, [1]);
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

test("restore without control groups: what a CRIU that was killed has made is ended", needs(), async () => {
  const { program, die } = standInCriu();
  const images = temporaryDirectory();
  const bundle = makeBundle(makeConfig(root));
  const id = newId();
  const restore = ["--criu", program, "--cgroup-manager", "disabled", "restore", "--image-path", images];
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  die("late");
  assert.match(await runtimeFails([...restore, "--bundle", bundle, "--detach", id]), /^RESTORE_FAILED: /);
  assert.equal(await exists(id), false);
});

test(
  "restore: a container with run.oci.delegate-cgroup is in its group again, which has its controllers",
  needs("unified"),
  async () => {
    const { program } = standInCriu();
    const images = temporaryDirectory();
    const id = newId();
    const config = makeConfig(root, {
      annotations: { "run.oci.delegate-cgroup": "deep/payload" },
      linux: { cgroupsPath: `/${id}` },
    });
    const bundle = makeBundle(config);
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
    await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
    await runtimePrints(["--criu", program, "restore", "--image-path", images, "--bundle", bundle, "--detach", id]);
    const { pid } = await stateOf(id);
    assert.equal(readFileSync(`/proc/${pid}/cgroup`, "utf8"), `0::/${id}/deep/payload\n`);
    const controllers = (path: string) => readFileSync(join("/sys/fs/cgroup", path, "cgroup.controllers"), "utf8");
    assert.equal(controllers(`${id}/deep/payload`), controllers(id));
    await runtimePrints(["delete", "--force", id]);
  },
);

test("restore in the foreground: the exit code is the process's, and nothing stays", needs(), async () => {
  const { program } = standInCriu();
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
  const { program, calls } = standInCriu();
  const images = temporaryDirectory();
  const id = await running(makeConfig(root));
  mkdirSync(join(images, "next"));
  const checkpoint = (...flags: string[]) => runtimePrints(["--criu", program, "checkpoint", ...flags, id]);
  await checkpoint("--pre-dump", "--image-path", join(images, "first"));
  await checkpoint("--leave-running", "--image-path", join(images, "next"), "--parent-path", "../first");
  assert.equal((await stateOf(id)).status, "running");
  const [[kind, first], [, next]] = calls() as [Call, Call];
  assert.equal(kind, "pre-dump");
  assert.deepEqual([first.track_mem, next.track_mem, next.leave_running], [[1], [1], [1]]);
  assert.deepEqual(next.parent_img, ["../first"]);
  assert.deepEqual(readdirSync(join(images, "first")), []);
});

test("checkpoint: a failure says why, and the container runs on", needs(), async () => {
  const { program, fail } = standInCriu();
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
  fail("endless log");
  assert.match(
    (await runtime(["--criu", program, "checkpoint", "--image-path", images, id])).stderr,
    /^error: criu dump failed: Error \(criu\/mount\.c:1\): mnt: cannot \(CHECKPOINT_FAILED\)\n/,
  );
});

test("restore: a failure says why, and leaves nothing", needs(), async () => {
  const { program, fail } = standInCriu();
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

test("restore: a signal ends it though CRIU does not answer, and nothing is left", needs(), async () => {
  const { program, hang, calls } = standInCriu();
  const images = temporaryDirectory();
  const id = await running(makeConfig(root));
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  hang();
  const bundle = makeBundle(makeConfig(root));
  const restore = startRuntime(["--criu", program, "restore", "--image-path", images, "--bundle", bundle, id]);
  await eventually("CRIU is asked", () => calls().length === 2);
  restore.kill("SIGTERM");
  const { code, stderr } = await restore.ended;
  assert.equal(code, 1);
  assert.match(stderr, /^error: ended by SIGTERM before criu was done \(SETUP_INTERRUPTED\)\n/);
  assert.equal(await exists(id), false);
});

test("checkpoint, restore: what cannot be done is refused with its reason", needs(), async () => {
  const { program } = standInCriu();
  const id = await created(makeConfig(root));
  const call = async (...args: string[]) => {
    const { stderr, code } = await runtime(args);
    assert.equal(code, 1);
    return /\(([A-Z_]+)\)$/m.exec(stderr)?.[1] ?? stderr;
  };
  const criu = ["--criu", program];
  const images = ["--image-path", temporaryDirectory()];
  assert.equal(await call("--criu", "/no/criu", "checkpoint", ...images, id), "CRIU_MISSING");
  const { stderr } = await runtime(["--criu", "/etc/passwd", "checkpoint", ...images, id]);
  assert.match(
    stderr,
    /^error: \/etc\/passwd may not be executed \(CRIU_MISSING\)\n {2}flag: {3}--criu\n {2}kernel: faccessat\(.* = EACCES /,
  );
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
  const cover = { destination: "/", type: "bind", source: root };
  const covered = makeConfig(root, { mounts: [cover, ...(makeConfig(root).mounts ?? [])] });
  const coveredId = await created(covered);
  await runtimePrints(["start", coveredId]);
  assert.equal(await call(...criu, "checkpoint", ...images, coveredId), "MOUNT_ON_ROOT");
  assert.equal((await stateOf(coveredId)).status, "running");
  const terminal = ["restore", "--bundle", makeBundle(makeConfig(root, { process: { terminal: true } })), ...images];
  assert.equal(await call(...criu, ...terminal, "--detach", newId()), "CONSOLE_SOCKET_NEEDED");
  const socket = ["--console-socket", "/no/such/socket"];
  assert.equal(await call(...criu, ...terminal, "--shell-job", ...socket, newId()), "CONSOLE_SOCKET_UNUSED");
  assert.equal(await call(...criu, "restore", ...bundle, ...images, ...socket, newId()), "CONSOLE_SOCKET_UNUSED");
  assert.equal((await stateOf(id)).status, "running");
});

test(
  "checkpoint: without --criu, the program in /usr/local/sbin is found, where CRIU's own install puts it",
  needs(),
  async () => {
    const { program, calls } = standInCriu();
    const id = await running(makeConfig(root, { args: ["sleep", "600"] }));
    const script = 'mount --bind "$1" /usr/local/sbin; shift; exec "$@"';
    const prefix = ["unshare", "--mount", "sh", "-ec", script, "sh", dirname(program)];
    assert.equal(await runtimePrints(["checkpoint", "--image-path", temporaryDirectory(), id], { prefix }), "");
    assert.equal(calls().length, 1);
  },
);

// containerd's bundles have such a link, and so has /var/run.
test("restore: a working directory by way of an absolute link", needs(), async () => {
  const { program } = standInCriu();
  const images = temporaryDirectory();
  writeFileSync(join(images, "inventory.img"), "");
  const work = join(temporaryDirectory(), "work");
  symlinkSync(temporaryDirectory(), work);
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const flags = ["--image-path", images, "--work-path", work, "--bundle", makeBundle(makeConfig(root)), "--detach"];
  assert.equal(await runtimePrints(["--criu", program, "restore", ...flags, id]), "");
});

test("restore: images that name other descriptors than the standard ones get none of them", needs(), async () => {
  const { program } = standInCriu();
  const images = temporaryDirectory();
  writeFileSync(join(images, "inventory.img"), "");
  const restore = ["--criu", program, "restore", "--image-path", images, "--bundle", makeBundle(makeConfig(root))];
  // Number 3 and later ones are the runtime's own, such as the directory of the container's record.
  for (const text of ['["","","","","pipe:[1]"]', "{", "{}", "null", "[1]", '"pipe:[1]"']) {
    writeFileSync(join(images, "descriptors.json"), text);
    const id = newId();
    assert.equal(
      await runtimeFails([...restore, id]),
      `RESTORE_IMAGES: ${images}/descriptors.json does not say what the standard descriptors were`,
    );
    assert.equal(await exists(id), false);
  }
});

/** A config with a terminal, and a devpts for it. */
function withTerminal(script: string): Config {
  const config = makeConfig(root, { args: ["sh", "-c", script], process: { terminal: true } });
  config.mounts?.push({ destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance"] });
  return config;
}

test(
  "checkpoint, restore of a terminal: its master comes to the caller, or to the console socket",
  needs("programs"),
  async () => {
    const { program, calls, file } = standInCriu();
    const images = temporaryDirectory();
    const bundle = makeBundle(withTerminal("read line"));
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    const first = await receiver();
    await runtimePrints(["run", "--detach", "--console-socket", first.socket, "--bundle", bundle, id]);
    await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
    const restore = ["--criu", program, "restore", "--image-path", images, "--bundle", bundle];
    // In the foreground: what the caller types is read in the container. A terminal says it once more.
    const { stdout, stderr, code } = await runtime([...restore, id], { input: "one\n" });
    assert.deepEqual({ stdout, stderr, code }, { stdout: "one\r\ngot one\r\n", stderr: "", code: 7 });
    assert.equal(await exists(id), false);

    const { socket, until, child } = await receiver();
    assert.equal(await runtimePrints([...restore, "--detach", "--console-socket", socket, id]), "");
    await until(/terminal \S+ yes\n/);
    child.stdin.write("two\n");
    await until(/got two\r\nend\n/);
    assert.deepEqual(
      calls().map(([kind, { orphan_pts_master }]) => [kind, orphan_pts_master]),
      [
        ["dump", [1]],
        ["restore", [1]],
        ["restore", [1]],
      ],
    );
    assert.equal(file("answers"), "setup-namespaces 1\norphan-pts-master 1\n".repeat(2));

    const nobody = ["--detach", "--console-socket", join(temporaryDirectory(), "nobody")];
    await runtimePrints(["delete", "--force", id]);
    assert.match(await runtimeFails([...restore, ...nobody, id]), /^CONSOLE_SOCKET: cannot send the terminal /);
    assert.equal(await exists(id), false);
  },
);

test("checkpoint --lazy-pages --status-fd: a zero byte when memory can be fetched", needs(), async () => {
  const { program } = standInCriu();
  const id = await running(makeConfig(root));
  const status = join(temporaryDirectory(), "status");
  const lazy = ["--lazy-pages", "--status-fd", "7", "--page-server", "127.0.0.1:1"];
  const prefix = ["sh", "-c", 'exec 7>"$0"; exec "$@"', status];
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", temporaryDirectory(), ...lazy, id], { prefix });
  assert.deepEqual([...readFileSync(status)], [0]);
});

test("restore: hooks of create run when the namespaces are there, and end it when they fail", needs(), async () => {
  const { program, file } = standInCriu();
  const images = temporaryDirectory();
  const told = join(temporaryDirectory(), "told");
  const hook = (name: string, end = "true") => ({
    path: "/bin/sh",
    args: ["sh", "-c", `printf '${name} %s %s\n' "$PWD" "$(cat)" >>${told}; ${end}`],
  });
  const withHooks = (end: string) =>
    makeBundle(
      makeConfig(root, {
        hooks: {
          prestart: [hook("prestart")],
          createRuntime: [hook("createRuntime", end)],
          createContainer: [hook("createContainer")],
          poststart: [hook("poststart")],
          poststop: [hook("poststop")],
        },
      }),
    );
  const id = await running(makeConfig(root));
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  const restore = (bundle: string) =>
    runtime(["--criu", program, "restore", "--detach", "--image-path", images, "--bundle", bundle, id]);
  const said = () =>
    readFileSync(told, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" "));

  const failing = withHooks("exit 3");
  const { stderr, code } = await restore(failing);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^warning: restore does not run the hooks createContainer: .*\nerror: error running createRuntime hook #0: .*exit status 3 \(HOOK_FAILED\)$/m,
  );
  assert.equal(await exists(id), false);
  assert.equal(file("answers"), "setup-namespaces 0\n");
  assert.deepEqual(
    said().map(([name]) => name),
    ["prestart", "createRuntime", "poststop"],
  );

  writeFileSync(told, "");
  const bundle = withHooks("true");
  assert.equal((await restore(bundle)).code, 0);
  assert.deepEqual(
    said().map(([name]) => name),
    ["prestart", "createRuntime", "poststart"],
  );
  const [, directory, state = ""] = said()[1] ?? [];
  const { pid } = await stateOf(id);
  assert.equal(directory, bundle);
  assert.deepEqual(JSON.parse(state), { ociVersion: "1.2.0", id, status: "creating", pid, bundle });
});

test("restore: places of mounts are made, also within one another, and named past links", needs(), async () => {
  const { program, calls, file } = standInCriu();
  const images = temporaryDirectory();
  const own = makeRootfs();
  symlinkSync("/var", join(own, "link"));
  const config = makeConfig(own);
  config.mounts?.push({ type: "tmpfs", source: "tmpfs", destination: "/scratch" });
  const bundle = makeBundle(config);
  const outer = temporaryDirectory();
  mkdirSync(join(bundle, "inner"));
  config.mounts?.push(
    { type: "bind", source: outer, destination: "/link/outer", options: ["bind"] },
    { type: "bind", source: "inner", destination: "/link/outer/of/inner", options: ["bind"] },
  );
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  rmSync(join(own, "var/outer"), { recursive: true });
  for (const name of ["tmp", "scratch"]) rmSync(join(own, name), { recursive: true });
  rmSync(join(outer, "of"), { recursive: true });
  await runtimePrints(["--criu", program, "restore", "--detach", "--image-path", images, "--bundle", bundle, id]);
  assert.deepEqual(
    calls().map(([, { external }]) => external),
    [
      ["mnt[/var/outer]:/var/outer", "mnt[/var/outer/of/inner]:/var/outer/of/inner"],
      [`mnt[/var/outer]:${outer}`, `mnt[/var/outer/of/inner]:${bundle}/inner`],
    ],
  );
  assert.ok(existsSync(join(outer, "of/inner")));
  // Where CRIU puts the old root, when the new one is read-only.
  assert.match(file("root"), /^tmp$/m);
  assert.match(file("root"), /^scratch$/m);
});

test("checkpoint, restore: pipes of the container become ours", needs(), async () => {
  const { program, file } = standInCriu();
  const images = temporaryDirectory();
  const id = await running(makeConfig(root));
  await runtimePrints(["--criu", program, "checkpoint", "--image-path", images, id]);
  writeFileSync(join(images, "descriptors.json"), '["/dev/null","pipe:[7]","/dev/null"]');
  const bundle = makeBundle(makeConfig(root));
  const prefix = ["sh", "-c", '"$@" | cat', "sh"];
  const restore = ["--criu", program, "restore", "--detach", "--image-path", images, "--bundle", bundle, id];
  assert.equal((await runtime(restore, { prefix })).code, 0);
  assert.match(file("inherited"), /^pipe:\[7\] pipe:\[\d+\]\n$/);
});

test("checkpoint: a criu that ends without a word is a failure", needs(), async () => {
  const { program, die } = standInCriu();
  const id = await running(makeConfig(root));
  die();
  // Of a child's end, who ignores SIGCHLD is not told.
  for (const prefix of [[], ["env", "--ignore-signal=CHLD"]])
    assert.match(
      await runtimeFails(["--criu", program, "checkpoint", "--image-path", temporaryDirectory(), id], { prefix }),
      /^CHECKPOINT_FAILED: criu dump failed: exit code 137/,
    );
  assert.equal((await stateOf(id)).status, "running");
});

test("restore --systemd-cgroup: criu and all that it makes is in the scope", {
  skip: needs("cgroup1").skip || (countingTrees().length === 0 && "missing: a hierarchy for systemd"),
}, async () => {
  const { program, file } = standInCriu();
  const images = temporaryDirectory();
  const systemd = await StandIn.start();
  atEnd(() => output("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-name", "tupper*.slice", "-delete"));
  const id = newId();
  const unit = `tupper-${id}.scope`;
  const bundle = makeBundle(makeConfig(root, { linux: { cgroupsPath: `tupper.slice:tupper:${id}` } }));
  const env = systemd.env;
  atEnd(() => runtime(["delete", "--force", id], { env }));
  writeFileSync(join(images, "inventory.img"), "");
  const call = ["--systemd-cgroup", "--criu", program, "restore", "--detach", "--image-path", images];
  await runtimePrints([...call, "--bundle", bundle, id], { env });
  assert.deepEqual(systemd.members, ["Hello", "AddMatch", "StartTransientUnit"]);
  for (const controller of ["memory", "devices", "name=systemd"])
    assert.match(file("cgroup"), new RegExp(`:${controller}:/tupper.slice/${unit}$`, "m"));
  assert.equal(readFileSync(`/proc/${(await stateOf(id)).pid}/cgroup`, "utf8"), file("cgroup"));
  await runtimePrints(["delete", "--force", id], { env });
  assert.deepEqual(systemd.units, []);
});

/** It locks the container's network with iptables. */
const works = () => spawnSync("sh", ["-c", "criu check && command -v iptables-restore"]).status === 0;

test(
  "checkpoint of a terminal with the real CRIU, twice, and with a process of exec",
  needs("package:criu", "programs"),
  async (t) => {
    if (!works()) return t.skip("missing: a CRIU that works here");
    const bundle = makeBundle(withTerminal("while read line; do echo got $line; done"));
    const id = newId();
    const exec = (script: string) => runtimePrints(["exec", id, "sh", "-c", script]);
    atEnd(() => runtime(["delete", "--force", id]));
    const first = await receiver();
    await runtimePrints(["run", "--detach", "--console-socket", first.socket, "--bundle", bundle, id]);
    for (const word of ["one", "two"]) {
      const images = temporaryDirectory();
      const { socket, until, child } = await receiver();
      await runtimePrints(["checkpoint", "--image-path", images, id]);
      await runtimePrints([
        ...["restore", "--detach", "--image-path", images, "--bundle", bundle, "--console-socket", socket, id],
      ]);
      child.stdin.write(`${word}\n`);
      await until(new RegExp(`got ${word}\r\n`));
      // Where criu has made a time namespace, the new process is in it, or the next checkpoint would be refused.
      await exec("sleep 600 >/dev/null 2>&1 &");
      await exec("pidof sleep >/dev/null");
    }
  },
);

test(
  "restore with the real CRIU: what a createContainer hook mounted is there again, once, and the hook does not run",
  needs("package:criu"),
  async (t) => {
    if (!works()) return t.skip("missing: a CRIU that works here");
    const rootfs = makeRootfs();
    const ran = join(temporaryDirectory(), "ran");
    const script = `mount -t tmpfs hook ${rootfs}/tmp && echo kept >${rootfs}/tmp/file && echo ran >>${ran}`;
    const config = makeConfig(rootfs, {
      args: ["sh", "-c", "exec sleep 600 </dev/null >/dev/null 2>&1"],
      hooks: { createContainer: [{ path: "/bin/sh", args: ["sh", "-c", script] }] },
    });
    const id = await running(config);
    const seen = () => runtimePrints(["exec", id, "sh", "-c", "grep -c ' /tmp ' /proc/self/mountinfo; cat /tmp/file"]);
    const { pid } = await stateOf(id);
    await eventually("sleep runs", () => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n");
    assert.equal(await seen(), "1\nkept\n");
    const images = temporaryDirectory();
    await runtimePrints(["checkpoint", "--image-path", images, id]);
    const { stderr, code } = await runtime([
      ...["restore", "--detach", "--image-path", images, "--bundle", makeBundle(config), id],
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^warning: restore does not run the hooks createContainer: [^\n]*\n$/);
    assert.equal(await seen(), "1\nkept\n");
    assert.equal(readFileSync(ran, "utf8"), "ran\n");
  },
);

test("checkpoint with the real CRIU: it works, or the error says why not", needs("package:criu"), async () => {
  const images = temporaryDirectory();
  // What is open must be in sight in the container, and our files are not.
  const config = makeConfig(root, { args: ["sh", "-c", "exec sleep 600 </dev/null >/dev/null 2>&1"] });
  const id = await running(config);
  const { pid } = await stateOf(id);
  await eventually("sleep runs", () => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n");
  if (!works()) {
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
