/** What the OCI runtime's containers and hooks start with: terminals, environment, descriptors, working directories. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
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
  stateOf,
  untilStatus,
} from "./bundle.ts";
import { eventually, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
const root = sharedRootfs();

const DEV: Config["mounts"] = [
  { destination: "/proc", type: "proc", source: "proc" },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
  { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"] },
];

const run = (config: Config): Promise<string> => runtimePrints(["run", "--bundle", makeBundle(config), newId()]);

test("run and exec with a terminal: what goes to a file has no \\r", needs, async () => {
  const args = ["printf", "a\\nb\\n"];
  assert.equal(await run(makeConfig(root, { args, mounts: DEV, process: { terminal: true } })), "a\nb\n");
  const id = await running(makeConfig(root, { mounts: DEV }));
  assert.equal(await runtimePrints(["exec", "--tty", id, ...args]), "a\nb\n");
});

test("process.env: the last one of a name counts, and HOME is never empty", needs, async () => {
  const env = ["PATH=/bin", "ONE=1", "ONE=2", "EMPTY=", "HOME="];
  assert.equal(
    await run(makeConfig(root, { args: ["env"], process: { env } })),
    "PATH=/bin\nONE=2\nEMPTY=\nHOME=/root\n",
  );
});

test("create: the waiting process has no descriptor but its stdio and what it waits on", needs, async () => {
  const linux = { maskedPaths: ["/proc/keys", "/proc/timer_list", "/nothing"] };
  const { pid } = await stateOf(await created(makeConfig(root, { mounts: DEV, linux })));
  const fds = readdirSync(`/proc/${pid}/fd`).map((fd) => [fd, readlinkSync(`/proc/${pid}/fd/${fd}`)] as const);
  const others = fds.filter(([fd]) => Number(fd) > 2).map(([, target]) => target.replace(/\d+/, "N"));
  assert.deepEqual(others.sort(), ["anon_inode:[signalfd]", "socket:[N]"]);
});

// From Linux 6.8 on mounts are listed as they were made, and since 6.15 a taken tree can be made anew in its turn.
const inOrder = missing("kernel:6.8") === false ? { skip: needs.skip || missing("kernel:6.15") } : needs;

test("mounts: /proc/self/mountinfo lists them in the config's order", inOrder, async () => {
  const source = temporaryDirectory();
  const mounts: Config["mounts"] = [
    ...(DEV ?? []),
    { destination: "/tmp", type: "tmpfs", source: "tmpfs" },
    { destination: "/tmp/a", source, options: ["bind"] },
    { destination: "/tmp/b", type: "tmpfs", source: "tmpfs" },
    { destination: "/tmp/c", source, options: ["rbind", "ro"] },
  ];
  const listed = await run(makeConfig(root, { args: ["awk", "{print $5}", "/proc/self/mountinfo"], mounts }));
  assert.deepEqual(
    listed.split("\n").filter((path) => path === "/proc" || path.startsWith("/tmp")),
    ["/proc", "/tmp", "/tmp/a", "/tmp/b", "/tmp/c"],
  );
});

test("mounts: among many mounts filesystems are what they are among few, in the config's order", inOrder, async () => {
  const source = temporaryDirectory();
  const filesystems: Config["mounts"] = [
    ...(DEV ?? []),
    { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "mode=1777", "size=64k"] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
    { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["ro", "sync", "noatime", "size=64k"] },
  ];
  const binds = Array.from({ length: 16 }, (_, i) => ({ destination: `/tmp/${i}`, source, options: ["bind"] }));
  const paths = filesystems.map(({ destination }) => destination);
  const script = `cut -d ' ' -f 5- /proc/self/mountinfo; for path in ${paths.join(" ")}; do stat -c '%n %a %u:%g' $path; done; ls /dev`;
  const seen = async (mounts: Config["mounts"]): Promise<string[]> =>
    (await run(makeConfig(root, { args: ["sh", "-c", script], mounts, process: { env: ["PATH=/bin"] } }))).split("\n");
  const [few, many] = [await seen(filesystems), await seen([...filesystems, ...binds])];
  const ofBind = (line: string) => line.startsWith("/tmp/");
  assert.deepEqual(
    many.filter((line) => !ofBind(line)),
    few,
  );
  const listed = many.map((line) => line.split(" ", 1)[0] ?? "").filter((path) => path !== "/");
  const wanted = [...paths, ...binds.map(({ destination }) => destination)];
  assert.deepEqual(
    listed.slice(0, wanted.length).filter((path) => !path.startsWith("/proc/")),
    wanted,
  );
});

test("mounts: a bind mount lets options pass that only its filesystem could have", needs, async () => {
  const source = temporaryDirectory();
  const mount = { destination: "/tmp", source, options: ["bind", "mode=755", "size=1k", "nosuid"] };
  assert.equal(await run(makeConfig(root, { args: ["ls", "/tmp"], mounts: [...(DEV ?? []), mount] })), "");
});

test("hooks: the working directory, the environment and the status of each kind", needs, async () => {
  const out = temporaryDirectory();
  const own = makeRootfs();
  const hook = (name: string) => ({
    path: "/bin/sh",
    args: ["sh", "-c", `pwd >${out}/${name}.cwd; cat >${out}/${name}; env >${out}/${name}.env`],
    env: ["ONLY=this"],
  });
  const config = {
    ...makeConfig(own, { args: ["cat", "/seen"], root: { readonly: false }, process: { env: ["PATH=/bin", "A=b"] } }),
    hooks: {
      prestart: [hook("prestart")],
      createRuntime: [hook("createRuntime")],
      createContainer: [hook("createContainer")],
      startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "pwd >/seen; echo $A $HOME >>/seen"] }],
    },
  };
  const bundle = makeBundle(config);
  assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()]), "/\nb /root\n");
  const kinds = ["prestart", "createRuntime", "createContainer"];
  const read = (name: string) => readFileSync(join(out, name), "utf8");
  assert.deepEqual(
    kinds.map((kind) => [read(`${kind}.cwd`), (JSON.parse(read(kind)) as { status: string }).status]),
    [
      [`${bundle}\n`, "created"],
      [`${bundle}\n`, "creating"],
      [`${own}\n`, "creating"],
    ],
  );
  for (const kind of kinds) assert.match(read(`${kind}.env`), /^ONLY=this$/m);
});

test("run with a terminal: a seccomp filter that does not know dup3 is no hindrance", needs, async () => {
  const forbidden = { names: ["dup3"], action: "SCMP_ACT_ERRNO" as const };
  const linux = { seccomp: { defaultAction: "SCMP_ACT_ALLOW" as const, syscalls: [forbidden] } };
  const process = { terminal: true, noNewPrivileges: true };
  assert.equal(await run(makeConfig(root, { args: ["echo", "runs"], mounts: DEV, process, linux })), "runs\n");
});

test("hooks.startContainer: under the container's seccomp filter, whose victim is named", needs, async () => {
  const syscalls = [{ names: ["uname"], action: "SCMP_ACT_KILL_PROCESS" as const }];
  const linux = { seccomp: { defaultAction: "SCMP_ACT_ALLOW" as const, syscalls } };
  const config = {
    ...makeConfig(root, { args: ["true"], linux, process: { noNewPrivileges: true } }),
    hooks: { startContainer: [{ path: "/bin/uname", args: ["uname"] }] },
  };
  assert.equal(
    await runtimeFails(["run", "--bundle", makeBundle(config), newId()]),
    "HOOK_FAILED: error running startContainer hook #0: /bin/uname: killed for a bad system call: the seccomp filter forbids it",
  );
});

test("linux.timeOffsets: in a user namespace too", needs, async () => {
  const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  const types = ["user", "pid", "ipc", "uts", "mount", "time"] as const;
  const linux = {
    namespaces: types.map((type) => ({ type })),
    uidMappings: map,
    gidMappings: map,
    timeOffsets: { monotonic: { secs: 7, nanosecs: 5 }, boottime: { secs: 9 } },
  };
  const offsets = await run(makeConfig(root, { args: ["cat", "/proc/self/timens_offsets"], linux }));
  assert.equal(offsets.replaceAll(/ +/g, " "), "monotonic 7 5\nboottime 9 0\n");
});

test("kill KILL: with the machine's PID namespace all processes go, also when the first is gone", asRoot, async () => {
  const namespaces = (["ipc", "uts", "mount"] as const).map((type) => ({ type }));
  const args = ["sh", "-c", "sleep 600 & echo $!; sleep 600 & wait"];
  const id = await running(makeConfig(root, { args, linux: { namespaces } }));
  const { pid } = await stateOf(id);
  const children = () => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  await eventually("two children", () => children().length === 2);
  const all = children();
  process.kill(pid, "SIGKILL");
  await untilStatus(id, "stopped");
  await runtimePrints(["kill", id, "KILL"]);
  await eventually("all are gone", () => all.every((child) => !existsSync(`/proc/${child}`)));
  assert.match(await runtimeFails(["kill", id, "0"]), /^CONTAINER_NOT_RUNNING: container not running/);
});

test("linux.maskedPaths: one that is named twice is hidden once", needs, async () => {
  const linux = { maskedPaths: ["/home", "/home"] };
  const script = "grep -c ' /home ' /proc/self/mountinfo";
  assert.equal(await run(makeConfig(root, { args: ["sh", "-c", script], linux })), "1\n");
});

test("mounts: in a user namespace a source that only the machine's root reaches", asRoot, async () => {
  const closed = temporaryDirectory();
  mkdirSync(join(closed, "inside"));
  writeFileSync(join(closed, "inside/file"), "reached\n");
  chmodSync(closed, 0o700);
  const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  const types = ["user", "pid", "ipc", "uts", "mount"] as const;
  const linux = { namespaces: types.map((type) => ({ type })), uidMappings: map, gidMappings: map };
  const mount = { destination: "/tmp", source: join(closed, "inside"), options: ["bind"] };
  const config = makeConfig(root, { args: ["cat", "/tmp/file"], linux, mounts: [...(DEV ?? []), mount] });
  assert.equal(await run(config), "reached\n");
});

test(
  "mounts: a destination that is a link into nowhere is made where it leads to, within the root",
  needs,
  async () => {
    const own = makeRootfs();
    for (const [link, target] of [
      ["jump", "/tmp/deep/down"],
      ["file", "/jump/x/file"],
      ["directory", "tmp/there"],
    ] as const)
      symlinkSync(target, join(own, link));
    const source = temporaryDirectory();
    writeFileSync(join(source, "text"), "found\n");
    const mounts: Config["mounts"] = [
      ...(DEV ?? []),
      { destination: "/file", source: join(source, "text"), options: ["bind"] },
      { destination: "/directory", source, options: ["bind"] },
    ];
    const args = ["cat", "/tmp/deep/down/x/file", "/tmp/there/text"];
    assert.equal(await run(makeConfig(own, { args, mounts, root: { readonly: false } })), "found\nfound\n");
  },
);

test("kill --all of a stopped container is no error; list of a root that is not there is one", needs, async () => {
  const id = await running(makeConfig(root, { args: ["true"] }));
  await untilStatus(id, "stopped");
  assert.equal(await runtimePrints(["kill", "--all", id, "TERM"]), "");
  const nowhere = join(temporaryDirectory(), "nowhere");
  const { code, stderr } = await runtime(["--root", nowhere, "list"]);
  assert.deepEqual([code, /\(([A-Z_]+)\)/.exec(stderr)?.[1]], [1, "STATE_ROOT"]);
});
