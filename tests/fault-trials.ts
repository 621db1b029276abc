/**
 * Commands that are to stand faults at any of their system calls (fault-injection.test.ts: errors; kill-injection.test.ts:
 * SIGKILL): how a trial is made ready, what the container must look like when the command has succeeded, what is left.
 *
 * With TUPPER_TORTURE everything is tried (`npm run torture`): what was tried on this binary is in build/torture.jsonl and
 * not tried again. TUPPER_TORTURE=create,run names verbs.
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
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../src/spec/config.ts";
import { makeBundle, runtime, runtimePrints, stateOf } from "./bundle.ts";
import type { Traced } from "./fault-points.ts";
import { atEnd, binary, eventually, slowness, tupper } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

const rootfs = sharedRootfs();
const runtimeBinary = `${binary}-runtime`;
export const TORTURE = process.env.TUPPER_TORTURE;
const LOG = process.env.TUPPER_TORTURE_LOG ?? "build/torture.jsonl";

export const isAskedFor = (verb: Verb): boolean =>
  TORTURE === undefined || TORTURE === "1" || TORTURE.split(",").includes(verb.name);

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

export interface Trial {
  verb: Verb;
  id: string;
  /** Of a container that stays, and of one that ends. */
  stays: string;
  ends: string;
  /** Where the output of the command under the fault goes. */
  directory: string;
}

export interface Verb {
  name: string;
  command: (trial: Trial) => string[];
  before?: ("create" | "start" | "pause" | "kill")[];
  /** The exit code of success. */
  code?: number;
  /** What must be so when it has succeeded; what is wrong. */
  succeeded?: (trial: Trial, outcome: Traced) => Promise<string | undefined>;
  /** Makes a container: when it fails, nothing is left. */
  makes?: boolean;
  /** What its containers are, beside the usual. */
  change?: (config: Config, directory: string) => void;
  /** What else is there before the command; asked for before each trial. */
  ready?: (trial: Trial) => unknown;
  /** Of the runtime, before the command. */
  flags?: readonly string[];
  env?: (trial: Trial) => NodeJS.ProcessEnv;
  /** What must be so when it has failed; what is wrong. */
  failed?: (trial: Trial) => Promise<string | undefined>;
}

export const rt = (...args: string[]) => [runtimeBinary, ...args];

export const VERBS: readonly Verb[] = [
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

/** The report of each verb's container without a fault. */
const expected = new Map<string, string>();

/** What the container printed is what it prints without a fault. */
export async function reported({ verb, id, directory }: Trial): Promise<string | undefined> {
  const path = verb.name.startsWith("start") ? "prepared" : "out";
  const read = () => readFileSync(join(directory, path), "utf8").replaceAll(id, "ID");
  for (let waitedMs = 0; !read().includes("end of report") && waitedMs < 5000 * slowness; waitedMs += 5) await sleep(5);
  const own = new Map(
    ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map((type) => [type, readlinkSync(`/proc/self/ns/${type}`)]),
  );
  const text = read().replace(
    /^(\w+) \1:\[\d+\]$/gm,
    (line, type: string) => `${type} ${line.endsWith(own.get(type) ?? "?") ? "ours" : "its own"}`,
  );
  const known = expected.get(verb.name);
  if (known === undefined) {
    if (!text.includes("end of report")) return "it did not report";
    expected.set(verb.name, text);
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

export async function hasStatus(id: string, wanted: string): Promise<string | undefined> {
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

export interface Outcome {
  outcome: "failed" | "harmless" | "unreached";
  /** What is wrong. */
  faults: string[];
  /** What was left, and the next command removed. */
  left: string[];
  stderr: string;
}

export async function prepare({ verb, id, stays, directory }: Trial): Promise<void> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
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
export async function leftSince(before: ReadonlySet<string>, id: string): Promise<string[]> {
  // Boxes share some hierarchies of control groups.
  const isOurs = (thing: string) => !thing.startsWith("control group") || thing.includes(id);
  for (let waitedMs = 0; ; waitedMs += 20) {
    const left = [...snapshot()].filter((thing) => !before.has(thing) && isOurs(thing));
    if (left.length === 0 || waitedMs > 1500 * slowness) return left;
    await sleep(20);
  }
}

export function makeTrial(verb: Verb): Trial {
  const id = `fault-${randomBytes(4).toString("hex")}`;
  const above = mkdtempSync(join(tmpdir(), "tupper-faults-"));
  const directory = join(above, "trial");
  mkdirSync(directory);
  atEnd(() => rmSync(above, { recursive: true, force: true }));
  atEnd(() => runtime(["delete", "--force", id]).catch(() => {}));
  const bundle = (after: string) => {
    const config = configOf(after, id);
    verb.change?.(config, above);
    return makeBundle(config);
  };
  return { verb, id, directory, stays: bundle("exec sleep 600"), ends: bundle("exit 7") };
}

/** What every trial ends with: the commands that come next remove what is left and can use the ID again; what is wrong. */
export async function nextCommands(trial: Trial, before: ReadonlySet<string>): Promise<string[]> {
  const { verb, id, stays } = trial;
  const faults: string[] = [];
  const succeeds = async (what: string, args: string[]) => {
    const { code, stderr } = await runtime(args, { env: { ...process.env, ...verb.env?.(trial) } });
    if (code !== 0 || stderr !== "") faults.push(`${what}: ${stderr}`);
  };
  const isRuntime = verb.name !== "tupper run";
  if (isRuntime) {
    await succeeds("list", ["list"]);
    await succeeds("delete --force", ["delete", "--force", id]);
  } else {
    const { stdout, stderr } = await tupper(["ps", "--quiet"]);
    if (stdout + stderr !== "") faults.push(`tupper ps: ${stdout}${stderr}`);
  }
  const still = await leftSince(before, id);
  if (still.length > 0) faults.push(`left: ${still.join(", ")}`);
  if (isRuntime) {
    await verb.ready?.(trial);
    await succeeds("the next create", [...(verb.flags ?? []), "create", "--bundle", stays, id]);
    await succeeds("the next delete", ["delete", "--force", id]);
  } else {
    const next = await tupper(["run", "--name", id, ...RUN_FLAGS, rootfs, "true"]);
    if (next.code !== 0 || next.stderr !== "") faults.push(`the next run: ${next.stderr}`);
  }
  return faults;
}

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

/** Tries each; what they came to in numbers, and what was wrong. `key` says what is tried, for the log. */
export async function tryAll<Fault extends { key: string }>(
  verb: Verb,
  faults: readonly Fault[],
  attempt: (trial: Trial, fault: Fault) => Promise<Outcome>,
): Promise<{ summary: string; wrong: string[] }> {
  const known = triedAlready();
  const wrong: string[] = [];
  const count = { failed: 0, harmless: 0, unreached: 0, left: 0 };
  let trial = makeTrial(verb);
  for (const fault of faults) {
    let result: Outcome | undefined = known.get(fault.key);
    if (result === undefined) {
      try {
        result = await attempt(trial, fault);
      } catch (error) {
        result = { outcome: "unreached", faults: [String(error)], left: [], stderr: "" };
        trial = makeTrial(verb); // what is stuck there must not be in the way of the others
      }
      if (TORTURE !== undefined) appendFileSync(LOG, `${JSON.stringify({ version, key: fault.key, ...result })}\n`);
    }
    count[result.outcome]++;
    if (result.left.length > 0) count.left++;
    for (const what of result.faults) wrong.push(`${fault.key}: ${what}\n${result.stderr}`);
  }
  const summary = `${faults.length} faults: ${count.failed} errors, ${count.harmless} harmless, ${count.unreached} not reached; ${count.left} left something to the next command; ${wrong.length} wrong`;
  return { summary, wrong };
}
