/** Ways out of containers of the OCI runtime, tried. Each attack is first shown to have something to reach. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  type ConfigChange,
  makeBundle,
  makeConfig,
  newId,
  runtime,
  runtimeFails,
  runtimePrints,
  stateOf,
} from "./bundle.ts";
import {
  atEnd,
  binary,
  compiled,
  eventually,
  isSanitizer,
  output,
  runDirectory,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
const needsCompiler = {
  skip:
    missing("root", "package:busybox-static", "programs") ||
    (isSanitizer ? "the sanitizer build is not what is installed" : false),
};

// A tmpfs has the flag since Linux 6.6.
const needsChattr = { skip: needsCompiler.skip || missing("package:e2fsprogs", "kernel:6.6") };

const withHooks = (config: Config, hooks: NonNullable<Config["hooks"]>): Config => ({ ...config, hooks });
const hook = (script: string) => ({ path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/usr/bin:/bin:/sbin"] });

/** Runs a command with descriptors from 3 up, as a caller that leaves them open. */
function withDescriptors(paths: readonly string[], args: readonly string[]) {
  const fds = paths.map((path) => openSync(path, "r"));
  const { status, stdout, stderr } = spawnSync(binary, args, {
    argv0: "tupper-runtime",
    encoding: "utf8",
    timeout: 30_000,
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe", ...fds],
  });
  for (const fd of fds) closeSync(fd);
  return { code: status, stdout, stderr };
}

/** The copy of the runtime at `path`, attacked by its own container: what the attacker says, and whether the file is changed. */
async function attackedRuntime(path: string, { immutable = false } = {}): Promise<{ says: string; changed: boolean }> {
  mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  copyFileSync(binary, path);
  if (immutable) output("chattr", "+i", path);
  const root = makeRootfs({ "bin/overwrite_exe": { copyOf: compiled("overwrite_exe"), mode: 0o755 } });
  writeFileSync(join(root, "bin/again"), "#!/proc/self/exe\n", { mode: 0o755 });
  const said = join(temporaryDirectory(), "said");
  const bundle = makeBundle(makeConfig(root, { args: ["overwrite_exe", "10"] }));
  const id = newId();
  const call = (...args: string[]) => spawnSync(path, args, { stdio: "ignore", timeout: 20_000 });
  atEnd(() => call("delete", "--force", id));
  // In the background: the runtime of a container in the foreground executes the file all the time, and the kernel refuses.
  const out = openSync(said, "w");
  const started = spawnSync(path, ["run", "--detach", "--bundle", bundle, id], {
    stdio: ["ignore", out, out],
    timeout: 20_000,
  });
  closeSync(out);
  assert.equal(started.status, 0, readFileSync(said, "utf8"));
  const lines = () => readFileSync(said, "utf8").split("\n");
  await eventually("the attacker is ready", () => lines()[0] === "ready", 10_000);
  // What people do to a container: a command that its image has replaced.
  for (let round = 0; round < 100 && (lines()[1] ?? "") === ""; round++) {
    call("exec", id, round % 2 === 0 ? "/proc/self/exe" : "/bin/again", "--help");
    await new Promise((done) => setTimeout(done, 20));
  }
  await eventually("the attacker has done its work", () => (lines()[1] ?? "") !== "", 15_000);
  return { says: lines()[1] ?? "", changed: !readFileSync(path).equals(readFileSync(binary)) };
}

const [EPERM, EROFS] = [1, 30];

test("CVE-2019-5736: a runtime that does not protect its file is overwritten from inside", needsCompiler, async () => {
  // The runtime takes a file of this name for its own sealed copy in memory.
  const directory = "/memfd:tupper-runtime test";
  atEnd(() => rmSync(directory, { recursive: true, force: true }));
  assert.deepEqual(await attackedRuntime(`${directory}/tupper-runtime`), { says: "wrote", changed: true });
});

test("CVE-2019-5736: the runtime's file cannot be written from inside", needsCompiler, async () => {
  const path = join(temporaryDirectory(), "tupper-runtime");
  assert.deepEqual(await attackedRuntime(path), { says: `refused ${EROFS}`, changed: false });
});

test("CVE-2019-5736: nor where it must run from a copy in memory", needsCompiler, async () => {
  // The colon stands between directories in the option of an overlay.
  const path = join(temporaryDirectory(), "a:b", "tupper-runtime");
  assert.deepEqual(await attackedRuntime(path), { says: `refused ${EPERM}`, changed: false });
});

test("CVE-2019-5736: nor where it is immutable, which root of the container could undo", needsChattr, async () => {
  const path = join(temporaryDirectory(), "tupper-runtime");
  try {
    assert.deepEqual(await attackedRuntime(path, { immutable: true }), { says: `refused ${EROFS}`, changed: false });
  } finally {
    output("chattr", "-i", path);
  }
});

test("CVE-2024-21626: no descriptor of the caller or the runtime is a way to the machine", needs, async () => {
  const secret = temporaryDirectory();
  writeFileSync(join(secret, "marker"), "the machine's\n");
  const script = "cat marker ../marker; ls ../../../../..; ls /proc/self/fd";
  const open = Array.from({ length: 8 }, () => secret);
  for (let fd = 3; fd <= 14; fd++) {
    const config = makeConfig(makeRootfs(), {
      args: ["sh", "-c", script],
      process: { cwd: `/proc/self/fd/${fd}` },
    });
    const { stdout, code } = withDescriptors(open, ["run", "--bundle", makeBundle(config), newId()]);
    assert.deepEqual({ stdout, code }, { stdout: "", code: 1 }, `descriptor ${fd}`);
  }
  const plain = makeConfig(makeRootfs(), { args: ["sh", "-c", "ls /proc/self/fd"] });
  // 3 is the directory that ls reads.
  assert.equal(withDescriptors(open, ["run", "--bundle", makeBundle(plain), newId()]).stdout, "0\n1\n2\n3\n");
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["run", "--detach", "--bundle", makeBundle(makeConfig(makeRootfs())), id]);
  for (let fd = 3; fd <= 14; fd++) {
    const { stdout, code } = withDescriptors(open, ["exec", "--cwd", `/proc/self/fd/${fd}`, id, "sh", "-c", script]);
    assert.deepEqual({ stdout, code }, { stdout: "", code: 255 }, `exec, descriptor ${fd}`);
  }
  assert.equal(withDescriptors(open, ["exec", id, "ls", "/proc/self/fd"]).stdout, "0\n1\n2\n3\n");
});

test("--preserve-fds: a directory that is handed on is no working directory", needs, () => {
  const secret = temporaryDirectory();
  const config = makeConfig(makeRootfs(), { args: ["ls", "/proc/self/fd"], process: { cwd: "/proc/self/fd/3" } });
  const args = ["run", "--preserve-fds", "1", "--bundle", makeBundle(config), newId()];
  const { stdout, stderr, code } = withDescriptors([secret], args);
  assert.deepEqual({ stdout, code }, { stdout: "", code: 1 });
  assert.match(stderr, /\(CWD_OUTSIDE\)/);
  // Two are open, one is asked for.
  const one = makeConfig(makeRootfs(), { args: ["ls", "/proc/self/fd"] });
  const listed = withDescriptors(
    [secret, secret],
    ["run", "--preserve-fds", "1", "--bundle", makeBundle(one), newId()],
  );
  assert.equal(listed.stdout, "0\n1\n2\n3\n4\n"); // 4 is the directory that ls reads
});

test("the records of a container are closed to others, and so is the socket that starts it", asRoot, async () => {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", makeBundle(makeConfig(makeRootfs())), id]);
  const directory = join(runDirectory, "tupper-runtime", id);
  const modes = Object.fromEntries(
    ["", ...readdirSync(directory).sort()].map((name) => [
      name,
      (lstatSync(join(directory, name)).mode & 0o7777).toString(8),
    ]),
  );
  // A link has no mode; it says a pid and its start time, which /proc tells everybody.
  assert.deepEqual(modes, { "": "711", "config.json": "600", init: "777", start: "600", "state.json": "600" });
  const nobody = { uid: 65534, gid: 65534 };
  for (const name of ["start", "state.json", "config.json"])
    for (const right of ["-r", "-w"])
      assert.equal(spawnSync("test", [right, join(directory, name)], nobody).status, 1, `${right} ${name}`);
  // From a process of the machine that is in no way the container's, by the protocol itself.
  const connect = `import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect("${directory}/start")`;
  assert.equal(spawnSync("python3", ["-c", connect]).status, 0);
  assert.equal(spawnSync("python3", ["-c", connect], nobody).status, 1);
  // What is no message of ours does not start it.
  const send = `${connect.replace("socket.socket", "s = socket.socket").replace(").connect", "); s.connect")}`;
  for (const bytes of ['b"{\\"kind\\":\\"start\\"}"', 'b"{}"'])
    spawnSync("python3", ["-c", `${send}; s.send(${bytes})`]);
  assert.equal((await stateOf(id)).status, "created");
  await runtimePrints(["start", id]);
  assert.equal((await stateOf(id)).status, "running");
});

test("hooks get the environment of the config and no other", needs, async () => {
  const seen = join(temporaryDirectory(), "env");
  const config = withHooks(makeConfig(makeRootfs(), { args: ["true"] }), {
    createRuntime: [{ path: "/bin/sh", args: ["sh", "-c", `tr '\\0' '\\n' </proc/$$/environ >${seen}`], env: ["A=1"] }],
  });
  await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
  assert.equal(readFileSync(seen, "utf8"), "A=1\n");
});

test("hooks: where the machine's mounts are shared, none of the container's reaches it", asRoot, async () => {
  const place = temporaryDirectory();
  const bundle = makeBundle(
    withHooks(
      makeConfig(makeRootfs({ "data/": "" }), {
        mounts: [...(makeConfig("/").mounts ?? []), { destination: "/data", type: "tmpfs", source: "inside" }],
      }),
      { createRuntime: [hook("true")], createContainer: [hook(`grep -c inside /proc/self/mountinfo >${place}/seen`)] },
    ),
  );
  const id = newId();
  const script = `mount --make-rshared /
    cat /proc/self/mountinfo >${bundle}/before
    "$0" create --bundle ${bundle} ${id} >${bundle}/out 2>&1 || cat ${bundle}/out
    cat /proc/self/mountinfo >${bundle}/during
    "$0" delete ${id}
    cat /proc/self/mountinfo >${bundle}/after`;
  const { stdout, stderr, status } = spawnSync("unshare", ["-m", "sh", "-c", script, `${binary}-runtime`], {
    encoding: "utf8",
    timeout: 30_000,
  });
  assert.deepEqual({ stdout, stderr, status }, { stdout: "", stderr: "", status: 0 });
  const mounts = (name: string) => readFileSync(join(bundle, name), "utf8");
  assert.equal(readFileSync(join(place, "seen"), "utf8"), "1\n");
  assert.equal(mounts("during"), mounts("before"));
  assert.equal(mounts("after"), mounts("before"));
});

for (const hooks of [{}, { createRuntime: [hook("true")] }]) {
  const how = Object.keys(hooks).length === 0 ? "" : " with hooks";
  const refusalOf = (root: string, change: ConfigChange = {}) =>
    runtimeFails(["create", "--bundle", makeBundle(withHooks(makeConfig(root, change), hooks)), newId()]);

  test(`a root with links in the place of /proc, /sys${how}: refused`, needs, async () => {
    for (const path of ["proc", "sys"]) {
      const root = makeRootfs();
      rmdirSync(join(root, path));
      symlinkSync("/tmp", join(root, path));
      assert.match(await refusalOf(root), /^MOUNT_TARGET_IS_A_LINK/);
    }
  });

  test(`a root with links that lead mounts out of it${how}: they stay inside`, needs, async () => {
    const outside = temporaryDirectory();
    const root = makeRootfs({ [`${outside.slice(1)}/`]: "" });
    rmdirSync(join(root, "dev"));
    symlinkSync(outside, join(root, "dev"));
    symlinkSync("../../../../../../..", join(root, "up"));
    const source = temporaryDirectory();
    writeFileSync(join(source, "planted"), "");
    const mounts = [
      ...(makeConfig(root).mounts ?? []),
      { destination: `/up${outside}/x`, type: "bind", source, options: ["bind"] },
    ];
    const config = makeConfig(root, { mounts, args: ["ls", `${outside}/x`], root: { readonly: false } });
    assert.equal(await runtimePrints(["run", "--bundle", makeBundle(withHooks(config, hooks)), newId()]), "planted\n");
    assert.deepEqual(readdirSync(outside), []);
  });
}

test(
  "exec --user NAME: an /etc/passwd that is a fifo, a link out, or the machine's device keeps nobody waiting",
  asRoot,
  async () => {
    const root = makeRootfs();
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["run", "--detach", "--bundle", makeBundle(makeConfig(root)), id]);
    const passwd = join(root, "etc/passwd");
    const plants: (() => unknown)[] = [
      () => output("mkfifo", passwd),
      () => symlinkSync("/proc/1/root/etc/passwd", passwd),
      () => output("mknod", passwd, "c", "1", "5"),
      () => mkdirSync(passwd),
    ];
    for (const plant of plants) {
      rmSync(passwd, { recursive: true, force: true });
      plant();
      const { code, stdout } = await runtime(["exec", "--user", "nobody-here", id, "id"], { timeoutMs: 10_000 });
      assert.deepEqual({ code, stdout }, { code: 255, stdout: "" });
    }
  },
);

test("a source that an earlier mount makes: links in it lead to nothing but the container's own", needs, async () => {
  const outside = temporaryDirectory();
  writeFileSync(join(outside, "secret"), "the machine's\n");
  const volume = temporaryDirectory();
  const root = makeRootfs();
  // Where the link leads inside: another directory of that name.
  mkdirSync(join(root, outside), { recursive: true });
  writeFileSync(join(root, outside, "secret"), "the container's\n");
  symlinkSync(outside, join(volume, "absolute"));
  symlinkSync(`../../../../../../../../..${outside}`, join(volume, "relative"));
  const config = makeConfig(root, { args: ["cat", "/a/secret", "/b/secret"], root: { readonly: false } });
  const bind = (source: string, destination: string) => ({ source, destination, options: ["rbind"] });
  config.mounts?.push(
    bind(volume, "/volume"),
    bind(join(root, "volume/absolute"), "/a"),
    bind(join(root, "volume/relative"), "/b"),
  );
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "the container's\n".repeat(2));
  // What /proc says of the set-up's descriptors, and of process 1, is no way out either.
  for (const magic of ["/proc/self/fd/0", "/proc/self/fd/3", "/proc/self/root", "/proc/1/cwd", "/proc/self/ns/mnt"]) {
    const name = `magic${magic.replaceAll("/", "-")}`;
    symlinkSync(magic, join(volume, name));
    const attack = structuredClone(config);
    attack.mounts?.push(bind(join(root, "volume", name), "/stolen"));
    const failure = await runtimeFails(["run", "--bundle", makeBundle(attack), newId()]);
    assert.match(failure, /^TAKE_TREE_FAILED: .*(?:symbolic link|loop)/i, magic);
  }
});

test("a container that outlives its number: no other process of that number is taken for it", needs, async () => {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["create", "--bundle", makeBundle(makeConfig(makeRootfs())), id]);
  const { pid } = await stateOf(id);
  process.kill(pid, "SIGKILL");
  await eventually("it has stopped", async () => (await stateOf(id)).status === "stopped");
  const other = spawn("sleep", ["600"], { stdio: "ignore" });
  atEnd(() => other.kill("SIGKILL"));
  const init = join(runDirectory, "tupper-runtime", id, "init");
  const [, startTime = ""] = readlinkSync(init).split(" ");
  rmSync(init);
  symlinkSync(`${other.pid} ${startTime}`, init);
  assert.deepEqual({ ...(await stateOf(id)), bundle: "" }.status, "stopped");
  assert.match(await runtimeFails(["kill", id, "KILL"]), /^CONTAINER_NOT_RUNNING/);
  await runtimePrints(["delete", "--force", id]);
  assert.equal(other.exitCode, null);
  assert.equal(process.kill(other.pid ?? 0, 0), true);
});
