/**
 * Any system call of a command fails with any error that the kernel could give there (tests/programs/inject_fault.c): the
 * command ends in time with one clear error, or succeeds, and then the container is the same as without the fault; nothing
 * is left; and the ID can be used again.
 *
 * A sample is tried: of each call of each process one, with one error, some of all verbs. With TUPPER_TORTURE everything
 * (`npm run torture`): what was tried on this binary is in build/torture.jsonl and not tried again. TUPPER_TORTURE=create,run
 * names verbs.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../src/spec/config.ts";
import { makeBundle, runtime, runtimePrints, stateOf } from "./bundle.ts";
import { errnosOf, type Point, pointsOf, type Traced, withFault } from "./fault-points.ts";
import { atEnd, binary, eventually, isSanitizer, slowness, tupper, watchForLeftovers } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
const runtimeBinary = `${binary}-runtime`;
const needs = {
  skip:
    missing("root", "package:busybox-static", "programs", "arch:x64") ||
    (isSanitizer ? "what the sanitizer calls is not ours" : false),
};
const TORTURE = process.env.TUPPER_TORTURE;
const LOG = process.env.TUPPER_TORTURE_LOG ?? "build/torture.jsonl";

/** What a container sees of itself; what differs from one to the next is left out. */
const REPORT = `
while read -r _ _ _ rest; do echo "$rest"; done </proc/self/mountinfo | sed 's/ shared:[0-9]*/ shared/; s/ master:[0-9]*/ master/'
while read -r key value; do case $key in Uid:|Gid:|Groups:|Cap*|NoNewPrivs:|Seccomp:|Umask:|Sig[PBIC]*|Shd*) echo $key $value;; esac; done </proc/self/status
ulimit -a; hostname; pwd; env
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup
cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/devices/devices.list /proc/sys/net/ipv4/ip_forward
stat -c '%N %A %t:%T %u %g' /dev /dev/* /dev/pts/*; echo /proc/self/fd/*
for type in cgroup ipc mnt net pid user uts; do echo $type $(readlink /proc/self/ns/$type); done
dmesg >/dev/null 2>&1; echo dmesg $?
echo end of report
`;

const configOf = (after: string, id: string): Config =>
  ({
    ociVersion: "1.2.0",
    root: { path: rootfs, readonly: true },
    process: {
      user: { uid: 1000, gid: 1000, additionalGids: [50, 100], umask: 0o27 },
      args: ["sh", "-c", `${REPORT}${after}`],
      env: ["PATH=/bin", "HOME=/"],
      cwd: "/home/alice",
      capabilities: Object.fromEntries(
        ["bounding", "effective", "permitted", "inheritable", "ambient"].map((set) => [set, ["CAP_KILL", "CAP_CHOWN"]]),
      ),
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 512, hard: 1024 }],
      noNewPrivileges: true,
      oomScoreAdj: 100,
    },
    hostname: "box",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"] },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro", "nosuid"] },
      { destination: "/var", type: "bind", source: "/etc", options: ["rbind", "ro", "nosuid", "nodev"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["size=64k"] },
    ],
    linux: {
      namespaces: (["pid", "network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type })),
      cgroupsPath: `/tupper-${id}`,
      resources: {
        devices: [{ allow: false, access: "rwm" }],
        pids: { limit: 40 },
        memory: { limit: 67_108_864 },
      },
      sysctl: { "net.ipv4.ip_forward": "1" },
      maskedPaths: ["/proc/kcore", "/proc/keys", "/sys/firmware"],
      readonlyPaths: ["/proc/sys", "/proc/bus"],
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [{ names: ["syslog", "keyctl"], action: "SCMP_ACT_ERRNO", errnoRet: 77 }],
      },
    },
  }) as Config;

const RUN_FLAGS =
  "--memory 64m --pids-limit 40 --hostname box --user alice --cap-drop ALL --volume /etc:/var:ro --no-tty".split(" ");

interface Trial {
  id: string;
  /** Of a container that stays, and of one that ends. */
  stays: string;
  ends: string;
  /** Where the output of the command under the fault goes. */
  directory: string;
}

interface Verb {
  name: string;
  command: (trial: Trial) => string[];
  before?: ("create" | "start" | "pause" | "kill")[];
  /** The exit code of success. */
  code?: number;
  /** What must be so when it has succeeded; what is wrong. */
  succeeded?: (trial: Trial, outcome: Traced) => Promise<string | undefined>;
  /** Makes a container: when it fails, nothing is left. */
  makes?: boolean;
}

const rt = (...args: string[]) => [runtimeBinary, ...args];

const VERBS: readonly Verb[] = [
  {
    name: "create",
    command: ({ id, stays }) => rt("create", "--bundle", stays, id),
    makes: true,
    succeeded: async (trial) => {
      const { code, stderr } = await runtime(["start", trial.id]);
      // It had reported when its wait for start failed: `start` says that it has stopped.
      if (code !== 0 && /^error: cannot start a container in the stopped state/.test(stderr)) return undefined;
      return code === 0 ? reported(trial) : `cannot be started: ${stderr}`;
    },
  },
  {
    name: "start",
    before: ["create"],
    command: ({ id }) => rt("start", id),
    succeeded: reported,
  },
  {
    name: "run --detach",
    command: ({ id, stays }) => rt("run", "--detach", "--bundle", stays, id),
    makes: true,
    succeeded: reported,
  },
  {
    name: "run",
    command: ({ id, ends }) => rt("run", "--bundle", ends, id),
    makes: true,
    code: 7,
    succeeded: reported,
  },
  {
    name: "exec",
    before: ["create", "start"],
    command: ({ id }) => rt("exec", "--user", "1001:100", id, "sh", "-c", `${REPORT}exit 7`),
    code: 7,
    succeeded: reported,
  },
  {
    name: "pause",
    before: ["create", "start"],
    command: ({ id }) => rt("pause", id),
    succeeded: ({ id }) => hasStatus(id, "paused"),
  },
  {
    name: "resume",
    before: ["create", "start", "pause"],
    command: ({ id }) => rt("resume", id),
    succeeded: ({ id }) => hasStatus(id, "running"),
  },
  {
    name: "update",
    before: ["create", "start"],
    command: ({ id }) => rt("update", "--pids-limit", "50", id),
    succeeded: async ({ id }) => {
      const hierarchy = missing("cgroup1") === false ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";
      const limit = readFileSync(`${hierarchy}/tupper-${id}/pids.max`, "utf8").trim();
      return limit === "50" ? undefined : `the limit is ${limit}`;
    },
  },
  {
    name: "kill",
    before: ["create", "start"],
    command: ({ id }) => rt("kill", id, "KILL"),
    succeeded: ({ id }) => hasStatus(id, "stopped"),
  },
  { name: "delete", before: ["create", "start", "kill"], command: ({ id }) => rt("delete", id), succeeded: isGone },
  {
    name: "delete --force",
    before: ["create", "start"],
    command: ({ id }) => rt("delete", "--force", id),
    succeeded: isGone,
  },
  {
    name: "tupper run",
    command: ({ id }) => [binary, "run", "--name", id, ...RUN_FLAGS, rootfs, "sh", "-c", `${REPORT}exit 7`],
    makes: true,
    code: 7,
    succeeded: reported,
  },
];

/** The reports of this verb's container without a fault. */
const expected = new Map<string, string>();
let verbNow = "";

/** What the container printed is what it prints without a fault. */
async function reported({ id, directory }: Trial): Promise<string | undefined> {
  const path = verbNow === "start" ? "prepared" : "out";
  const read = () => readFileSync(join(directory, path), "utf8").replaceAll(id, "ID");
  for (let waitedMs = 0; !read().includes("end of report") && waitedMs < 5000 * slowness; waitedMs += 5) await sleep(5);
  const own = new Map(
    ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map((type) => [type, readlinkSync(`/proc/self/ns/${type}`)]),
  );
  const text = read().replace(
    /^(\w+) \1:\[\d+\]$/gm,
    (line, type: string) => `${type} ${line.endsWith(own.get(type) ?? "?") ? "ours" : "its own"}`,
  );
  const known = expected.get(verbNow);
  if (known === undefined) {
    if (!text.includes("end of report")) return "it did not report";
    expected.set(verbNow, text);
    return undefined;
  }
  // Where the machine has no unified hierarchy, there is none to show.
  // A kernel without some calls mounts in another order.
  const sorted = (report: string) => report.split("\n").sort().join("\n");
  if (sorted(text) === sorted(known) || text === known.replace(/^.* \/sys\/fs\/cgroup\/unified .*\n/m, ""))
    return undefined;
  const lines = new Set(text.split("\n"));
  const before = new Set(known.split("\n"));
  const differences = [
    ...[...before].filter((line) => !lines.has(line)).map((line) => `-${line}`),
    ...[...lines].filter((line) => !before.has(line)).map((line) => `+${line}`),
  ];
  return `the container is another: ${differences.join(" | ").slice(0, 1500)}`;
}

async function hasStatus(id: string, wanted: string): Promise<string | undefined> {
  for (let waitedMs = 0; ; waitedMs += 10) {
    const { status } = await stateOf(id);
    if (status === wanted) return undefined;
    if (waitedMs > 2000 * slowness) return `its status is ${status}`;
    await sleep(10);
  }
}

async function isGone({ id }: Trial): Promise<string | undefined> {
  const { stderr } = await runtime(["state", id]);
  return stderr.includes("CONTAINER_UNKNOWN") ? undefined : `it is still there: ${stderr}`;
}

interface Outcome {
  outcome: "failed" | "harmless" | "unreached";
  /** What is wrong. */
  faults: string[];
  /** What was left, and the next command removed. */
  left: string[];
  stderr: string;
}

async function prepare(verb: Verb, { id, stays, directory }: Trial): Promise<void> {
  const { before = [] } = verb;
  if (before.includes("create")) {
    const output = openSync(join(directory, "prepared"), "w");
    const { status } = spawnSync(runtimeBinary, ["create", "--bundle", stays, id], {
      stdio: ["ignore", output, output],
    });
    closeSync(output);
    assert.equal(status, 0, readFileSync(join(directory, "prepared"), "utf8"));
  }
  if (before.includes("start")) {
    await runtimePrints(["start", id]);
    const hasReported = () => readFileSync(join(directory, "prepared"), "utf8").includes("end of report");
    await eventually("the container reports", hasReported, 20_000);
  }
  if (before.includes("pause")) await runtimePrints(["pause", id]);
  if (before.includes("kill")) {
    await runtimePrints(["kill", id, "KILL"]);
    assert.equal(await hasStatus(id, "stopped"), undefined);
  }
}

/** What is there and was not before; the kernel takes its time with what ends. */
async function leftSince(before: ReadonlySet<string>, id: string): Promise<string[]> {
  // Boxes share some hierarchies of control groups.
  const isOurs = (thing: string) => !thing.startsWith("control group") || thing.includes(id);
  for (let waitedMs = 0; ; waitedMs += 20) {
    const left = [...snapshot()].filter((thing) => !before.has(thing) && isOurs(thing));
    if (left.length === 0 || waitedMs > 1500 * slowness) return left;
    await sleep(20);
  }
}

/** One error in the house's form, behind warnings at most. */
function wrongMessage(stderr: string, errno: string): string | undefined {
  const errors = stderr.split("\n").filter((line) => line.startsWith("error: "));
  // Memory for a rarely used part of the program (host/cold.h) in the init process: it says so itself, then the other that it died.
  const isOfInit = /\(OUT_OF_MEMORY\)$/.test(errors[0] ?? "") && /\(INIT_DIED\)$/.test(errors[1] ?? "");
  if (errors.length !== (isOfInit ? 2 : 1)) return `${errors.length} errors`;
  if (!/^error: .+ \([A-Z][A-Z0-9_]*\)$/.test(errors[0] ?? "")) return "no error in the house's form";
  if (/\(INTERNAL\)$/.test(errors[0] ?? "")) return "an internal error";
  if (/^ {4}at |undefined|\[object /m.test(stderr)) return "words of a program";
  const rest = stderr
    .split("\n")
    .filter((line) => !/^(error: |warning: | {2}(config|flag|kernel|found|hint): |$)/.test(line));
  if (rest.length > 0) return `a line of no error: ${rest[0]}`;
  // The init process cannot say a word when it is the words that fail.
  if (/\((INIT_DIED|PARENT_GONE)\)$/.test(errors[0] ?? "")) return undefined;
  // A root or a hierarchy that may not be read or written, which is what EACCES and EXDEV are.
  if (/\((UNKNOWN_USER|CGROUP_CONTROLLER_MISSING)\)$/.test(errors[0] ?? "") && /^(EACCES|EXDEV)$/.test(errno))
    return undefined;
  // A second way was tried: the step is named all the same, and what the kernel said to that.
  if (/^ {2}kernel: /m.test(stderr)) return undefined;
  return stderr.includes(errno) || MEANT.has(errno) ? undefined : `does not say ${errno}`;
}

const GONE: ReadonlySet<string> = new Set(["ENOENT", "ESRCH"]);
const NOT_READABLE: ReadonlySet<string> = new Set(["ENOENT", "EACCES", "EXDEV"]);

/** What is asked about is gone: the error says so, and of what. */
const MEANT: ReadonlySet<string> = new Set(["ENOENT", "ESRCH", "ECONNREFUSED", "ECONNRESET"]);

async function tryFault(verb: Verb, trial: Trial, point: Point, errno: string): Promise<Outcome> {
  const { id, directory } = trial;
  const faults: string[] = [];
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const before = snapshot();
  await prepare(verb, trial);
  const outcome = withFault(point, errno, verb.command(trial), directory);
  const { code, report, stderr } = outcome;
  const reached = /^reached$/m.test(report);
  const isRuntime = verb.command(trial)[0] === runtimeBinary;
  for (const line of report.split("\n")) if (/^(did not|process)/.test(line)) faults.push(line);
  if (code === null || (code >= 128 && code !== 255)) faults.push(`exit code ${code}`);
  const succeeded = code === (verb.code ?? 0);
  let left: string[] = [];
  if (succeeded) {
    // What a command finds gone it need not change; a container that it makes is another matter.
    // A root in which a file is not to be read is one without it, and a warning tells of limits that cannot be set.
    const isSaid =
      (point.call === "openat2" && NOT_READABLE.has(errno)) ||
      /^warning: (the limits on|can't raise ambient)/m.test(stderr);
    const isGoneForIt = isSaid || (GONE.has(errno) && verb.before !== undefined && verb.code === undefined);
    const wrong = isGoneForIt ? undefined : await verb.succeeded?.(trial, outcome);
    if (wrong !== undefined) faults.push(`it succeeds, but ${wrong}`);
    if (/^error: /m.test(stderr)) faults.push("an error, but it succeeds");
  } else {
    const wrong = wrongMessage(stderr, errno);
    if (wrong !== undefined) faults.push(wrong);
  }
  const stays = !succeeded || /^warning: .* stays on record/m.test(stderr);
  if (verb.makes && stays) left = await leftSince(before, id);
  if (isRuntime) {
    const { code: listed } = await runtime(["list"]);
    if (listed !== 0) faults.push("list fails");
    const deleted = await runtime(["delete", "--force", id]);
    if (deleted.code !== 0 || deleted.stderr !== "") faults.push(`delete --force: ${deleted.stderr}`);
  } else {
    const { stdout, stderr } = await tupper(["ps", "--quiet"]);
    if (stdout + stderr !== "") faults.push(`tupper ps: ${stdout}${stderr}`);
  }
  const still = await leftSince(before, id);
  if (still.length > 0) faults.push(`left: ${still.join(", ")}`);
  if (isRuntime) {
    const next = await runtime(["create", "--bundle", trial.stays, id]);
    if (next.code !== 0 || next.stderr !== "") faults.push(`the next create: ${next.stderr}`);
    const deleted = await runtime(["delete", "--force", id]);
    if (deleted.code !== 0 || deleted.stderr !== "") faults.push(`the next delete: ${deleted.stderr}`);
  } else {
    const next = await tupper(["run", "--name", id, ...RUN_FLAGS, rootfs, "true"]);
    if (next.code !== 0 || next.stderr !== "") faults.push(`the next run: ${next.stderr}`);
  }
  return { outcome: !reached ? "unreached" : succeeded ? "harmless" : "failed", faults, left, stderr };
}

function makeTrial(): Trial {
  const id = `fault-${randomBytes(4).toString("hex")}`;
  const above = mkdtempSync(join(tmpdir(), "tupper-faults-"));
  const directory = join(above, "trial");
  mkdirSync(directory);
  atEnd(() => rmSync(above, { recursive: true, force: true }));
  atEnd(() => runtime(["delete", "--force", id]).catch(() => {}));
  return {
    id,
    directory,
    stays: makeBundle(configOf("exec sleep 600", id)),
    ends: makeBundle(configOf("exit 7", id)),
  };
}

/** What faults of tupper were found by, tried each time: [verb, call, which of the first process, error]. */
const FOUND: readonly (readonly [string, string, number, string])[] = [
  ["create", "flock", 1, "EINTR"], // the new directory stayed
  ["create", "statx", 1, "EACCES"], // the same
  ["create", "openat", 6, "EMFILE"], // a machine without control groups
  ["create", "openat", 24, "ENOENT"], // created, and found stopped
  ["start", "openat", 1, "EMFILE"], // an unknown container
  ["start", "socket", 1, "EAFNOSUPPORT"], // a fault of tupper, with a stack
  ["start", "faccessat", 1, "EIO"], // a running container
  ["start", "connect", 2, "EACCES"], // does not wait to be started
  ["tupper run", "flock", 1, "EINTR"], // the new directory stayed
  ["tupper run", "openat2", 2, "EMFILE"], // alice without her groups
  ["tupper run", "openat2", 1, "ENOMEM"], // no user alice
  ["tupper run", "openat", 20, "EMFILE"], // control groups that nobody knew of stayed
  ["tupper run", "unlinkat", 1, "EROFS"], // the same
  ["delete --force", "ppoll", 1, "ENOMEM"], // does not end within 10 seconds
];

/** So many of the kinds of calls, with one error each, one anywhere among those of its kind. */
const SAMPLE = slowness > 1 ? 2 : 6;

type ErrnosFor = (point: Point) => readonly string[];

function sample(points: readonly Point[], errnosFor: ErrnosFor): { point: Point; errno: string }[] {
  const kinds = new Map<string, Point[]>();
  for (const point of points) {
    const kind = `${point.process} ${point.call}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), point]);
  }
  const any = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;
  const chosen = [...kinds.values()].map((kind) => ({ kind, at: Math.random() })).sort((a, b) => a.at - b.at);
  return chosen.slice(0, SAMPLE).map(({ kind }) => {
    const point = any(kind);
    return { point, errno: any(errnosFor(point)) };
  });
}

const everything = (points: readonly Point[], errnosFor: ErrnosFor) =>
  points.flatMap((point) => errnosFor(point).map((errno) => ({ point, errno })));

const version = createHash("sha256").update(readFileSync(binary)).digest("hex").slice(0, 16);

interface Logged extends Outcome {
  version: string;
  key: string;
}

/** What was tried on this binary. */
function triedAlready(): Map<string, Logged> {
  if (TORTURE === undefined || !existsSync(LOG)) return new Map();
  const lines = readFileSync(LOG, "utf8").trim().split("\n");
  const all = lines.map((line) => JSON.parse(line) as Logged).filter((logged) => logged.version === version);
  return new Map(all.map((logged) => [logged.key, logged]));
}

for (const verb of VERBS) {
  const isWanted = TORTURE === undefined || TORTURE === "1" || TORTURE.split(",").includes(verb.name);
  test(
    `${verb.name}: whatever call fails, the error is clear, nothing is left, and the ID is free`,
    needs,
    async (t) => {
      if (!isWanted) return t.skip("not asked for");
      verbNow = verb.name;
      let trial = makeTrial();
      const { id, directory } = trial;
      await prepare(verb, trial);
      const { points, outcome } = pointsOf(verb.command(trial), directory);
      // A record that is gone cannot say what there is to delete.
      const errnosFor = (point: Point) =>
        errnosOf(point).filter((errno) => !verb.name.startsWith("delete") || errno !== "ENOENT");
      assert.equal(outcome.code, verb.code ?? 0, outcome.stderr);
      assert.equal(await verb.succeeded?.(trial, outcome), undefined);
      await runtime(["delete", "--force", id]);
      const kinds = points.map(({ process, call }) => `${process} ${call}`);
      const busiest = [...new Set(kinds)].filter((kind) => kinds.filter((one) => one === kind).length > 1000);
      if (TORTURE !== undefined) assert.deepEqual(busiest, [], "calls that are made again and again");
      assert.ok(points.length > 20, `${points.length} calls are too few`);
      const known = triedAlready();
      const wrong: string[] = [];
      const count = { failed: 0, harmless: 0, unreached: 0, left: 0 };
      const found = FOUND.filter(([name]) => name === verb.name).flatMap(([, call, nth, errno]) => {
        const point = points.find((one) => one.process === 0 && one.call === call && one.nth === nth);
        return point === undefined ? [] : [{ point, errno }];
      });
      const wanted = TORTURE === undefined ? [...found, ...sample(points, errnosFor)] : everything(points, errnosFor);
      for (const { point, errno } of wanted) {
        const key = `${verb.name}: ${point.call} ${point.nth} of process ${point.process} = ${errno}`;
        let result: Outcome | undefined = known.get(key);
        if (result === undefined) {
          try {
            result = await tryFault(verb, trial, point, errno);
          } catch (error) {
            result = { outcome: "unreached", faults: [String(error)], left: [], stderr: "" };
            trial = makeTrial(); // what is stuck there must not be in the way of the others
          }
          if (TORTURE !== undefined) appendFileSync(LOG, `${JSON.stringify({ version: version, key, ...result })}\n`);
        }
        count[result.outcome]++;
        if (result.left.length > 0) count.left++;
        for (const fault of result.faults) wrong.push(`${key}: ${fault}\n${result.stderr}`);
      }
      t.diagnostic(
        `${points.length} points, ${wanted.length} faults: ${count.failed} errors, ${count.harmless} harmless, ${count.unreached} not reached; ${count.left} left something to the next command; ${wrong.length} wrong`,
      );
      assert.deepEqual(wrong, []);
    },
  );
}
