/**
 * `tupper explain PID` on containers made by unshare(1), chroot, bubblewrap, by hand in control groups as systemd makes them, and by
 * tupper, checked against what /proc says. Those of docker and podman are in docker.test.ts and podman.test.ts.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { agrees, type ExplainedProcess, told } from "./explained.ts";
import {
  atEnd,
  background,
  compiled,
  eventually,
  fails,
  pidOf,
  prints,
  start,
  temporaryDirectory,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("root", "package:busybox-static", "package:util-linux") };

const explained = async (...args: string[]): Promise<ExplainedProcess> =>
  JSON.parse(await prints(["explain", "--format", "json", ...args])) as ExplainedProcess;

const agreesWithProc = (seen: ExplainedProcess) =>
  agrees(
    seen,
    (path) => readFileSync(path, "utf8"),
    (path) => readlinkSync(path),
  );

/** A command in the foreground of the test until its end; the number of the process that `sleep 600` is in. */
async function sleeper(file: string, ...args: string[]): Promise<number> {
  const child = spawn(file, args, { stdio: "ignore" });
  const below = (pid: number): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  const isSleep = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "utf8") === "sleep\x00600\x00";
  const find = (pid: number): number | undefined =>
    isSleep(pid)
      ? pid
      : below(pid)
          .map(find)
          .find((found) => found !== undefined);
  let found: number | undefined;
  atEnd(async () => {
    if (found !== undefined) process.kill(found, "SIGKILL");
    child.kill("SIGKILL");
    await eventually("the child has ended", () => child.exitCode !== null || child.signalCode !== null);
  });
  await eventually("sleep runs", () => {
    found = find(child.pid ?? 0);
    return found !== undefined;
  });
  return found ?? 0;
}

test("explain PID: a process of the host is not isolated at all", needs, async () => {
  const pid = await sleeper("sleep", "600");
  const seen = await explained(String(pid));
  agreesWithProc(seen);
  const { no } = told(seen);
  for (const text of [
    "mounts: it is in the host's",
    "root directory: all files",
    "processes: it has the host's",
    "network: the host's",
    "users: its root is the host's root",
    "host name and",
  ])
    assert.ok(
      no.some((line) => line.startsWith(text)),
      `${text}\n${no.join("\n")}`,
    );
});

test("explain PID: unshare(1) with PID and network namespaces shares all the rest", needs, async () => {
  const pid = await sleeper("unshare", "--pid", "--fork", "--net", "sleep", "600");
  const seen = await explained(String(pid));
  agreesWithProc(seen);
  const { yes, no } = told(seen);
  assert.ok(
    yes.some(
      (line) => line === "a PID namespace of its own: here it is process 1, and sees only what was started in it",
    ),
  );
  assert.ok(yes.some((line) => line.startsWith("a network namespace of its own")));
  assert.ok(no.some((line) => line.startsWith("mounts: it is in the host's mount namespace")));
});

test("explain PID: a /proc of the host in a PID namespace is said", needs, async () => {
  const pid = await sleeper("unshare", "--pid", "--fork", "--mount", "sleep", "600");
  assert.ok(
    told(await explained(String(pid))).no.includes(
      "its /proc is the host's: it shows the host's processes all the same",
    ),
  );
});

test("explain PID: unshare --user is in a user namespace with its map", needs, async () => {
  const pid = await sleeper("unshare", "--user", "--map-root-user", "sleep", "600");
  const seen = await explained(String(pid));
  agreesWithProc(seen);
  const { yes, no } = told(seen);
  assert.ok(yes.includes("a user namespace of its own: user 0 is 0 outside"), yes.join("\n"));
  assert.ok(no.includes("the user that it runs as is root outside"));
  assert.ok(yes.includes("capabilities: all, over what belongs to its own user namespace only"));
});

test("explain PID: a chroot is a root directory and nothing more", needs, async () => {
  const place = makeRootfs();
  const pid = await sleeper("chroot", place, "sleep", "600");
  const seen = await explained(String(pid));
  agreesWithProc(seen);
  const { yes, no } = told(seen);
  assert.ok(yes.includes(`its root is the directory ${place} by chroot alone, which root can leave`), yes.join("\n"));
  assert.ok(no.some((line) => line.startsWith("mounts: it is in the host's mount namespace")));
});

test("explain PID: bubblewrap, with what it was given of the host", {
  skip: missing("root", "package:bubblewrap"),
}, async () => {
  const pid = await sleeper(
    ...([
      "bwrap",
      "--ro-bind",
      "/usr",
      "/usr",
      "--symlink",
      "usr/bin",
      "/bin",
      "--symlink",
      "usr/lib",
      "/lib",
      "--symlink",
    ] as const),
    ...["usr/lib64", "/lib64", "--bind", "/home", "/home", "--proc", "/proc", "--dev", "/dev"],
    ...["--unshare-pid", "--unshare-net", "--unshare-uts", "sleep", "600"],
  );
  const seen = await explained(String(pid));
  agreesWithProc(seen);
  const { yes, no } = told(seen);
  assert.ok(no.includes("/usr of the host is in sight as /usr, read-only"), no.join("\n"));
  assert.ok(no.includes("/home of the host is in sight as /home, writable"), no.join("\n"));
  assert.ok(no.some((line) => line.startsWith("System V and POSIX message queues")));
  assert.ok(yes.some((line) => line.startsWith("a PID namespace of its own")));
  assert.ok(
    yes.some((line) => /^its root is a tmpfs of its own/.test(line)),
    yes.join("\n"),
  );
  assert.ok(yes.includes("no-new-privileges: set-user-id programs and file capabilities give nothing"));
});

test("explain PID: a group as systemd makes it for a service, with its limit", {
  skip: missing("root", "cgroup1", "cgroup:pids"),
}, async () => {
  const pids = "/sys/fs/cgroup/pids";
  const own = /^\d+:pids:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/";
  const group = `${pids}${own === "/" ? "" : own}/tupper-test-explained.service`;
  mkdirSync(group);
  atEnd(async () => {
    await eventually("the group is empty", () => readFileSync(`${group}/cgroup.procs`, "utf8") === "");
    rmdirSync(group);
  });
  writeFileSync(`${group}/pids.max`, "17");
  const pid = await sleeper("sh", "-c", `echo $$ >${group}/cgroup.procs; exec sleep 600`);
  const seen = await explained(String(pid));
  agreesWithProc(seen);
  assert.equal(seen.maker, "systemd (tupper-test-explained.service)");
  assert.ok(told(seen).yes.includes("processes and threads: at most 17"), told(seen).yes.join("\n"));
});

test(
  "explain --process NAME, explain PID: a container of tupper's, with its limits and what it was given",
  needs,
  async () => {
    const flags = [
      "--memory",
      "64m",
      "--cap-drop",
      "ALL",
      "--security-opt",
      "no-new-privileges",
      "--volume",
      "/var:/host-var:ro",
    ];
    const running = await background(root, flags);
    const pid = await pidOf(running.name);
    const seen = await explained(String(pid));
    agreesWithProc(seen);
    const { yes, no } = told(seen);
    assert.equal(seen.maker, `tupper (${running.name})`);
    assert.ok(no.includes("/var of the host is in sight as /host-var, read-only"), no.join("\n"));
    assert.ok(yes.includes("memory: at most 64 MiB") || missing("cgroup:memory"), yes.join("\n"));
    assert.ok(yes.includes("no capabilities"));
    assert.ok(yes.includes("no-new-privileges: set-user-id programs and file capabilities give nothing"));
    assert.ok(yes.includes("seccomp: a filter on its system calls; what they refuse is not to be seen from outside"));
    assert.deepEqual({ ...(await explained("--process", running.name)) }, seen);
    const text = await prints(["explain", "--process", running.name]);
    const at = (line: string) => text.split("\n").indexOf(line);
    assert.ok(at("Not isolated") > 0 && at("Not isolated") < at("Isolated: files"), text);
    for (const line of text.split("\n")) assert.ok([...line].length <= 120 || !line.includes(" "), line);
  },
);

test("explain A B: what two processes differ in, and what not", needs, async () => {
  const running = await background(root, ["--cap-drop", "CHOWN", "--volume", "/var:/host-var"]);
  const pid = await sleeper("unshare", "--net", "sleep", "600");
  const { differences } = JSON.parse(await prints(["explain", "--format", "json", running.name, String(pid)])) as {
    differences: { what: string; same: boolean; a: string; b: string }[];
  };
  const of = (what: string) => differences.find((difference) => difference.what === what);
  assert.deepEqual([of("net namespace")?.same, of("time namespace")?.same], [false, true]);
  assert.deepEqual([of("CAP_CHOWN")?.a, of("CAP_CHOWN")?.b], ["has it not", "has it"]);
  assert.equal(of("mount /host-var")?.b, "none");
  const inode = /\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[0];
  assert.equal(of("net namespace")?.b, inode);
  const text = await prints(["explain", running.name, String(pid)]);
  assert.match(text, /^Different\n[\s\S]*^The same\n/m);
  assert.match(text, /^- network: net namespace$/m);
  const same = JSON.parse(await prints(["explain", "--format", "json", String(pid), String(pid)])) as
    | typeof differences
    | { differences: typeof differences };
  assert.ok("differences" in same && same.differences.every((difference) => difference.same));
});

test("explain: a name of digits is told from a process by container:", needs, async () => {
  // No kernel has a process of this number: pid_max is 4194304 at most.
  const flags = ["run", "--name", "4194305", root, "sh", "-c", "echo ready; sleep 600"];
  const running = start(flags);
  await running.until(/ready/);
  assert.match(await prints(["explain", "container:4194305"]), /^Container 4194305\n/);
  const { code, details } = await fails(["explain", "4194305"]);
  assert.equal(code, "PROCESS_NOT_FOUND");
  assert.match(details.hint ?? "", /PID namespace/);
});

/** What `explain PID` and `ns PID` say of a process that may not be looked into, in short. */
async function refusedTo(
  prefix: readonly string[],
  pid: number,
): Promise<{ message: string; found: string; hint: string }> {
  const of = async (word: string) => {
    const { code, message, details, exitCode } = await fails([word, String(pid)], { prefix });
    assert.deepEqual([code, exitCode], ["PROCESS_NOT_READABLE", 1], message);
    return { message, found: details.found ?? "", hint: details.hint ?? "" };
  };
  const refused = await of("explain");
  assert.deepEqual(await of("ns"), refused);
  return refused;
}

test("explain PID: a process of another user, to an ordinary one", {
  skip: missing("root", "package:setpriv"),
}, async () => {
  const pid = await sleeper("sleep", "600");
  const { message, found, hint } = await refusedTo(["setpriv", "--reuid", "65534", "--clear-groups"], pid);
  assert.equal(message, `process ${pid} may not be looked into: it belongs to another user`);
  assert.equal(found, `/proc/${pid}/status: Uid 0 0 0, Gid 0 0 0; this one is 65534:0 without CAP_SYS_PTRACE`);
  assert.equal(hint, "run as root, who has CAP_SYS_PTRACE");
});

test("explain PID: a process with more capabilities, to root without CAP_SYS_PTRACE", {
  skip: missing("root", "package:setpriv"),
}, async () => {
  const pid = await sleeper("sleep", "600");
  const { message, found, hint } = await refusedTo(["setpriv", "--bounding-set=-sys_ptrace"], pid);
  assert.match(message, /: it may have capabilities that this process does not have$/);
  assert.match(found, /CapPrm with CAP_SYS_PTRACE; this one is 0:0 without CAP_SYS_PTRACE$/);
  assert.match(hint, /--cap-add SYS_PTRACE$/);
});

test("explain PID: a process that is not dumpable, to its own user", {
  skip: missing("root", "package:setpriv", "programs"),
}, async () => {
  const program = join(temporaryDirectory(), "undumpable");
  copyFileSync(compiled("undumpable"), program);
  const asNobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
  const child = spawn(asNobody[0] ?? "", [...asNobody.slice(1), program], { stdio: ["ignore", "pipe", "inherit"] });
  atEnd(async () => {
    child.kill("SIGKILL");
    await eventually("the child has ended", () => child.exitCode !== null || child.signalCode !== null);
  });
  let printed = "";
  child.stdout.on("data", (bytes: Buffer) => {
    printed += bytes.toString();
  });
  await eventually("it is ready", () => printed === "ready\n");
  const { message, found } = await refusedTo(asNobody, child.pid ?? 0);
  assert.match(message, /: it is not dumpable: its program was set-user-id or not readable/);
  assert.match(
    found,
    /^\/proc\/\d+\/status belongs to 0, the process to 65534; this one is 65534:65534 without CAP_SYS_PTRACE$/,
  );
});

test("explain PID: a process of the user namespace outside", {
  skip: missing("root", "package:util-linux"),
}, async () => {
  const pid = await sleeper("sleep", "600");
  const { message, found, hint } = await refusedTo(["unshare", "--user", "--map-root-user"], pid);
  assert.match(message, /: it is in another user namespace, for which the capabilities of this one do not count$/);
  assert.match(found, /^uid_map is "0 0 4294967295" there and "0 0 1" here$|^uid_map is ".*" there and "0 0 1" here$/);
  assert.match(hint, /outside of this one$/);
});

test("explain PID: a process that /proc hides is there all the same", {
  skip: missing("root", "package:setpriv"),
}, async () => {
  const pid = await sleeper("sleep", "600");
  const script =
    'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"';
  const { message, found, hint } = await refusedTo(["unshare", "--mount", "sh", "-c", script], pid);
  assert.equal(message, `process ${pid} is there, and /proc hides it`);
  assert.match(found, /^\/proc is mounted with hidepid=(2|invisible); kill\(\d+, 0\) gives EPERM to 65534:65534$/);
  assert.match(hint, /^run as root/);
});
