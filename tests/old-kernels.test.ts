/**
 * Kernels that lack calls: a filter answers for each call as such a kernel would (programs/missing_calls.c). What can be
 * done without it must come out the same as with it; what cannot is refused, with the version that is needed.
 *
 * Needs: checkout, root
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeBundle, makeConfig, newId } from "./bundle.ts";
import {
  atEnd,
  background,
  binary,
  compiled,
  fails,
  prints,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = { skip: missing("root", "package:busybox-static", "package:musl-tools", "arch:x64") };
/** With the places of mounts, which a shared root cannot get. */
const PLACES = ["a/", "b/", "t/", "tmp/a/", "tmp/b/", "c", "tmp/c", "tmp/link"];
const root = needs.skip ? "" : sharedRootfs(Object.fromEntries(PLACES.map((path) => [path, ""])));

/** Calls that are done without. The names of programs/missing_calls.c. */
const WITHOUT_LOSS = [
  ["clone3"],
  ["openat2"],
  ["close_range"],
  ["close_range_cloexec"],
  ["open_tree_attr"],
  ["open_tree_attr", "mount_setattr"],
  ["pidfd_open"],
  ["pidfd_send_signal"],
  ["pidfd_open", "pidfd_send_signal"],
  ["setns_pidfd"],
  ["pidfd_getfd"],
  ["fsopen"],
  ["faccessat2"],
  ["time_namespace"],
];
/** What Linux 5.4 has is left. */
const LINUX_5_4 = [
  ...[
    "clone3",
    "openat2",
    "close_range",
    "open_tree_attr",
    "mount_setattr",
    "setns_pidfd",
    "pidfd_getfd",
    "faccessat2",
  ],
  "time_namespace",
];
const ALL = [...LINUX_5_4, "pidfd_open", "pidfd_send_signal", "fsopen"];

const prefixOf = (calls: readonly string[], errno = "ENOSYS") => [compiled("missing_calls"), errno, calls.join(",")];

/** The binary under the name that makes it the OCI runtime: nothing can give a name through the filter's program. */
function runtimeBinary(): string {
  const path = join(temporaryDirectory(), "tupper-runtime");
  symlinkSync(binary, path);
  return path;
}

interface Place {
  /** Has a file, and a tmpfs below it with another. */
  source: string;
  runtime: string;
}

function makePlace(): Place {
  const source = temporaryDirectory();
  writeFileSync(join(source, "file"), "text\n");
  mkdirSync(join(source, "below"));
  spawnSync("mount", ["-t", "tmpfs", "tmpfs", join(source, "below")]);
  atEnd(() => spawnSync("umount", [join(source, "below")]));
  writeFileSync(join(source, "below", "file"), "deep\n");
  return { source, runtime: runtimeBinary() };
}

/** The flags and the propagation of mounts, as they are seen inside, without the numbers of peer groups. */
const MOUNTS = `sed -n 's/^[^/]* [^ ]* \\(\\/[^ ]*\\) \\([^ ]*\\) \\([^-]*\\)- .*/\\1 \\2 \\3/p' /proc/self/mountinfo | sed 's/:[0-9]*//g' | sort`;

/** `tupper run` with all kinds of roots and mounts: what it printed, and how it ended. */
async function peopleSee(place: Place, prefix: readonly string[]): Promise<unknown[]> {
  const { source } = place;
  const seen: unknown[] = [];
  const run = async (...args: string[]) => {
    const { stdout, stderr, code } = await tupper(["run", ...args], { prefix });
    seen.push({ args, stdout: stdout.replace(/tupper-\w+/g, "…"), stderr, code });
  };
  const volumes = ["-v", `${source}:/a:ro`, "-v", `${source}:/b`, "-v", `${source}/file:/c:ro,nosuid,noexec`];
  const look = `${MOUNTS}; cat /a/file /a/below/file /c; touch /a/x /a/below/x /c /etc/x /t/x; ls /proc/self/fd; exit 7`;
  await run(...volumes, "--tmpfs", "/t", root, "sh", "-c", look);
  await run("--read-only", ...volumes, "--tmpfs", "/t", root, "sh", "-c", look);
  await run("--root-kind", "copy", ...volumes, "--tmpfs", "/t", root, "sh", "-c", look);
  await run("--root-kind", "bind", "--read-only", ...volumes, "--tmpfs", "/t", root, "sh", "-c", look);
  await run("--mount", `type=bind,source=${source},target=/a,bind-recursive=readonly,readonly`, root, "sh", "-c", look);
  await run("--user", "daemon", "--sysctl", "kernel.msgmax=4711", root, "sh", "-c", "id; cat /proc/sys/kernel/msgmax");
  await run("--init", root, "sh", "-c", "cat /proc/1/comm; ls /proc/self/fd");
  await run("-t", root, "sh", "-c", "tty; ls -l /dev/console | cut -c1-10; exit 3");
  return seen;
}

/** `tupper exec` and `kill`: the namespaces that are joined, and how the container ends. */
async function peopleJoin(prefix: readonly string[]): Promise<unknown[]> {
  const container = await background(root);
  const namespaces =
    "for i in mnt pid net ipc uts cgroup; do [ $(readlink /proc/self/ns/$i) = $(readlink /proc/1/ns/$i) ] && echo $i; done";
  const joined = await prints(["exec", container.name, "sh", "-c", namespaces], { prefix });
  await prints(["kill", "--signal", "KILL", container.name], { prefix });
  return [joined, (await container.ended).code];
}

/** The life of a container of the OCI runtime. */
function enginesSee({ source, runtime }: Place, prefix: readonly string[]): unknown[] {
  const id = newId();
  const said = join(temporaryDirectory(), "hooks");
  const link = join(temporaryDirectory(), "link");
  symlinkSync("/no/where", link);
  const hook = (kind: string) => ({ path: "/bin/sh", args: ["sh", "-c", `echo ${kind} >>${said}`], timeout: 10 });
  const config = makeConfig(root, {
    args: ["sh", "-c", `${MOUNTS}; echo done; sleep 600`],
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      { destination: "/tmp/a", type: "bind", source, options: ["rbind", "rro", "rprivate"] },
      { destination: "/tmp/b", type: "bind", source, options: ["rbind", "ro", "rslave"] },
      { destination: "/tmp/c", type: "bind", source: join(source, "file"), options: ["bind", "nodev", "noatime"] },
      { destination: "/tmp/link", type: "bind", source: link, options: ["bind", "nosuid", "src-nofollow"] },
    ],
    linux: { maskedPaths: ["/proc/kcore", "/proc/acpi"], readonlyPaths: ["/proc/sys", "/proc/irq"] },
  });
  const bundle = makeBundle({
    ...config,
    hooks: {
      createRuntime: [hook("createRuntime")],
      createContainer: [hook("createContainer")],
      startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "true"] }],
      poststart: [hook("poststart")],
      poststop: [hook("poststop")],
    },
  });
  const seen: unknown[] = [];
  const outputs = temporaryDirectory();
  const does = (...args: string[]) => {
    const quoted = [...prefix, runtime, ...args].map((word) => `'${word}'`).join(" ");
    // The container keeps its output open, so that goes to a file.
    const out = join(outputs, args[0] ?? "");
    const { status, stdout } = spawnSync("sh", ["-c", `${quoted} >${out} 2>&1; code=$?; cat ${out}; exit $code`], {
      encoding: "utf8",
      timeout: 30_000,
    });
    seen.push([args[0], status, stdout.replaceAll(id, "ID").replace(/"(pid|bundle|rootfs|created)": .*/g, "")]);
  };
  atEnd(() => spawnSync(runtime, ["delete", "--force", id]));
  does("create", "--bundle", bundle, id);
  does("state", id);
  does("start", id);
  does("exec", id, "sh", "-c", "echo joined; readlink /tmp/link; cat /tmp/a/below/file; touch /tmp/a/below/x; exit 5");
  does("pause", id);
  does("state", id);
  does("resume", id);
  does("update", "--pids-limit", "77", id);
  does("kill", id, "KILL");
  for (
    let round = 0;
    round < 100 && !spawnSync(runtime, ["state", id], { encoding: "utf8" }).stdout.includes("stopped");
    round++
  )
    spawnSync("sleep", ["0.05"]);
  does("delete", id);
  seen.push(spawnSync("cat", [said, join(outputs, "create")], { encoding: "utf8" }).stdout);
  return seen;
}

test("run: without each newer call, and without all, the container is the same", needs, async () => {
  const place = makePlace();
  const wanted = await peopleSee(place, []);
  for (const calls of [...WITHOUT_LOSS, LINUX_5_4, ALL])
    assert.deepEqual(await peopleSee(place, prefixOf(calls)), wanted, `without ${calls.join(", ")}`);
});

test("run: an EPERM of a filter around tupper is taken for what it is", needs, async () => {
  const place = makePlace();
  const wanted = await peopleSee(place, []);
  assert.deepEqual(await peopleSee(place, prefixOf(ALL, "EPERM")), wanted);
});

test("exec, kill: without each newer call, and without all, the same", needs, async () => {
  const wanted = await peopleJoin([]);
  assert.deepEqual(wanted, ["mnt\npid\nnet\nipc\nuts\ncgroup\n", 137]);
  for (const calls of [...WITHOUT_LOSS, LINUX_5_4, ALL])
    assert.deepEqual(await peopleJoin(prefixOf(calls)), wanted, `without ${calls.join(", ")}`);
});

test("tupper-runtime: without each newer call, and without all, a container's life is the same", needs, () => {
  const place = makePlace();
  const wanted = enginesSee(place, []);
  assert.deepEqual(
    wanted.map((line) => (line as unknown[])[1]),
    [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, "r"],
    JSON.stringify(wanted, null, 1),
  );
  for (const calls of [...WITHOUT_LOSS, LINUX_5_4, ALL])
    assert.deepEqual(enginesSee(place, prefixOf(calls)), wanted, `without ${calls.join(", ")}`);
});

test("the attacks of the escape suites get no further without the newer calls", needs, () => {
  const env: NodeJS.ProcessEnv = { ...process.env };
  delete env.NODE_TEST_CONTEXT;
  const [program = "", ...rest] = prefixOf(LINUX_5_4);
  const suites = ["tests/escape.test.ts", "tests/runtime-escape.test.ts"];
  const { status, stdout } = spawnSync(program, [...rest, process.execPath, "--import", "tsx", "--test", ...suites], {
    cwd: new URL("..", import.meta.url),
    env,
    encoding: "utf8",
    timeout: 300_000,
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /^(# |ℹ )skipped 0$/m);
});

/** Code, and what the hint begins with. */
async function refused(calls: readonly string[], ...args: string[]): Promise<[string, string]> {
  const { code, details } = await fails(args, { prefix: prefixOf(calls) });
  return [code, /^\w+( \w+)? needs? Linux [\d.]+/.exec(details.hint ?? "")?.[0] ?? ""];
}

test("run --timens: before Linux 5.6 refused, with the version", needs, async () => {
  assert.deepEqual(await refused(["time_namespace"], "run", "--timens", "private", root, "true"), [
    "UNSHARE_FAILED",
    "time namespaces need Linux 5.6",
  ]);
});
