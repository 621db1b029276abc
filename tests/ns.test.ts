/**
 * `tupper ns` against what lsns(1), readlink(1) and /proc say, with namespaces made for the test (catalogue rows S19,
 * S20, S22, S23).
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const binary = resolve(process.env.TUPPER_BINARY ?? join(root, "build/tupper"));
const TYPES = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"];

const has = (command: string) => spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
const missing = (...what: string[]): string | false => {
  const lacking = what.filter((name) => (name === "root" ? process.getuid?.() !== 0 : !has(name)));
  return lacking.length > 0 ? `missing: ${lacking.join(", ")}` : false;
};

interface Entry {
  type: string;
  inode: number;
  userNamespace: number | null;
  parent: number | null;
  ownerUid: number | null;
  processes: number;
  members: { pid: number; command: string }[];
  file: string | null;
  differsFromCaller?: boolean | null;
  differsFromInit?: boolean | null;
}

interface Report {
  pid?: number;
  command?: string;
  namespaces: Entry[];
  hiddenProcesses: number;
}

function tupper(args: readonly string[], options: { env?: NodeJS.ProcessEnv; prefix?: readonly string[] } = {}) {
  const [file = "", ...rest] = [...(options.prefix ?? []), binary, ...args];
  const { stdout, stderr, status } = spawnSync(file, rest, {
    encoding: "utf8",
    env: { ...process.env, ...options.env },
    cwd: "/",
  });
  return { stdout, stderr, status };
}

function json(args: readonly string[], prefix: readonly string[] = []): Report {
  const { stdout, stderr, status } = tupper(["ns", ...args, "--format", "json"], { prefix });
  assert.deepEqual({ stderr, status }, { stderr: "", status: 0 });
  return JSON.parse(stdout) as Report;
}

const inode = (pid: number | "self", type: string) =>
  Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/${type}`).split(":")[1] ?? "")?.[0]);

/** A process in new namespaces, by unshare(1); `pid` is that of unshare itself, which execs. Ends with the test. */
async function inNamespaces(t: TestContext, ...flags: string[]): Promise<ChildProcess & { pid: number }> {
  const child = spawn("unshare", [...flags, "sh", "-c", "echo ready; exec sleep 60"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(async () => {
    child.kill("SIGKILL");
    while (child.exitCode === null && child.signalCode === null) await sleep(5);
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("unshare(1) did not start");
  await new Promise((ready) => child.stdout?.once("data", ready));
  return Object.assign(child, { pid });
}

test("ns: lists the namespaces of processes that lsns lists, with as many members", {
  skip: missing("root", "lsns"),
}, async (t) => {
  const child = await inNamespaces(t, "--mount", "--uts", "--ipc", "--net");
  const lsns = spawnSync("lsns", ["--noheadings", "--raw", "--output", "NS,TYPE"], { encoding: "utf8" }).stdout;
  const listed = json([]).namespaces;
  const known = new Set(listed.map(({ inode, type }) => `${inode} ${type}`));
  // Others start and end processes meanwhile: what is compared lives as long as the test.
  for (const type of TYPES) {
    for (const pid of [child.pid, process.pid]) {
      const line = `${inode(pid, type)} ${type}`;
      assert.ok(lsns.includes(line), `lsns: ${line}`);
      assert.ok(known.has(line), `tupper ns: ${line}`);
    }
  }
  for (const type of ["mnt", "uts", "ipc", "net"]) {
    const entry = listed.find((item) => item.inode === inode(child.pid, type));
    assert.deepEqual(entry, {
      type,
      inode: inode(child.pid, type),
      userNamespace: inode("self", "user"),
      parent: null,
      ownerUid: null,
      processes: 1,
      members: [{ pid: child.pid, command: "sleep 60" }],
      file: null,
    });
  }
});

test("ns: a user namespace has parent, owner uid, and what it owns", { skip: missing("unshare") }, async (t) => {
  const child = await inNamespaces(t, "--user", "--net");
  const { namespaces } = json([]);
  const user = namespaces.find((item) => item.inode === inode(child.pid, "user"));
  assert.deepEqual(user, {
    type: "user",
    inode: inode(child.pid, "user"),
    userNamespace: inode("self", "user"),
    parent: inode("self", "user"),
    ownerUid: process.getuid?.(),
    processes: 1,
    members: [{ pid: child.pid, command: "sleep 60" }],
    file: null,
  });
  const net = namespaces.find((item) => item.inode === inode(child.pid, "net"));
  assert.equal(net?.userNamespace, user?.inode);
});

test("ns: an owner that has no process left is found by ioctl", { skip: missing("unshare") }, async (t) => {
  // The inner unshare leaves the outer user namespace without a member.
  const child = await inNamespaces(t, "--user", "--map-root-user", "unshare", "--user", "--map-root-user");
  const { namespaces } = json([]);
  const inner = namespaces.find((item) => item.inode === inode(child.pid, "user"));
  const outer = namespaces.find((item) => item.inode === inner?.parent);
  assert.deepEqual(
    { type: outer?.type, parent: outer?.parent, processes: outer?.processes, members: outer?.members },
    { type: "user", parent: inode("self", "user"), processes: 0, members: [] },
  );
});

test("ns: pid namespaces nest, and hang below their parent in the tree", { skip: missing("root") }, async (t) => {
  const child = await inNamespaces(t, "--pid", "--fork", "--kill-child");
  const inner = Number(/\d+$/.exec(readlinkSync(`/proc/${child.pid}/ns/pid_for_children`).slice(0, -1))?.[0]);
  const entry = json(["--type", "pid"]).namespaces.find((item) => item.inode === inner);
  assert.deepEqual(
    { parent: entry?.parent, processes: entry?.processes, command: entry?.members[0]?.command },
    { parent: inode("self", "pid"), processes: 1, command: "sleep 60" },
  );
  const lines = tupper(["ns", "--type", "pid"]).stdout.split("\n");
  const at = (number: number) => lines.findIndex((line) => line.includes(String(number)));
  assert.ok(lines[at(inode("self", "pid"))]?.startsWith("pid "), lines.join("\n"));
  assert.match(lines[at(inner)] ?? "", /^[├└]─ pid \d+ +1 +\d+ sleep 60$/);
});

test("ns PID: the inodes are those of readlink, and say what differs", { skip: missing("root") }, async (t) => {
  const child = await inNamespaces(t, "--uts", "--mount");
  while (!readFileSync(`/proc/${child.pid}/cmdline`, "utf8").startsWith("sleep")) await sleep(5);
  const report = json([String(child.pid)]);
  assert.deepEqual([report.pid, report.command], [child.pid, "sleep 60"]);
  assert.deepEqual(
    report.namespaces.map(({ type, inode, differsFromCaller }) => [type, inode, differsFromCaller]),
    TYPES.map((type) => [type, inode(child.pid, type), ["uts", "mnt"].includes(type)]),
  );
});

test("ns PID: a process that does not exist is one clear error", () => {
  const { stdout, stderr, status } = tupper(["ns", "4194999"]);
  assert.deepEqual({ stdout, status }, { stdout: "", status: 1 });
  assert.match(stderr, /there is no process 4194999/);
});

test("ns: a wrong PID, type or format is refused with what is wanted", () => {
  for (const [args, wanted] of [
    [["ns", "abc"], /process number/],
    [["ns", "--type", "nonsense"], /mnt, pid, net, ipc, uts, user, cgroup, time/],
    [["ns", "--format", "xml"], /text, json/],
  ] as const) {
    const { stdout, stderr, status } = tupper(args);
    assert.equal(stdout, "");
    assert.match(stderr, wanted);
    assert.notEqual(status, 0);
  }
});

test("ns: an ordinary user sees their own processes, and how many they cannot see", {
  skip: missing("root", "setpriv"),
}, () => {
  // The binary as standard input: the checkout may lie where that user cannot go.
  const fd = openSync(binary, "r");
  const script = "exec setpriv --reuid 54321 --regid 54321 --clear-groups /proc/self/fd/0 ns --format json";
  const { stdout, stderr } = spawnSync("sh", ["-c", script], { stdio: [fd, "pipe", "pipe"], encoding: "utf8" });
  closeSync(fd);
  assert.equal(stderr, "");
  const report = JSON.parse(stdout) as Report;
  assert.ok(report.hiddenProcesses > 0);
  const net = report.namespaces.find(({ type }) => type === "net");
  assert.deepEqual([net?.inode, net?.processes], [inode("self", "net"), 1]);
});

test("ns: colours only on a terminal, and not with NO_COLOR", { skip: missing("script") }, () => {
  const onTerminal = (env: NodeJS.ProcessEnv) =>
    spawnSync("script", ["-qec", `${binary} ns`, "/dev/null"], { encoding: "utf8", env: { ...process.env, ...env } });
  assert.ok(!tupper(["ns"], { env: { NO_COLOR: "" } }).stdout.includes("\x1b["));
  assert.ok(onTerminal({ NO_COLOR: "" }).stdout.includes("\x1b["));
  assert.ok(!onTerminal({ NO_COLOR: "1" }).stdout.includes("\x1b["));
});
