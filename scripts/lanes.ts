/**
 * Runs black-box suites in two lanes at the same time. The suites look at mounts, control groups and processes for what
 * is left of their containers, so each lane is a machine of its own (tests/box.ts) with its own /tmp, and each suite is a
 * job for the lane that is free next. Where no box can be made (no root, or cgroup v2 alone, whose controllers a box does
 * not get) the suites run one after the other on the machine itself.
 *
 *     scripts/lanes.ts [--host] [--user] [--record] [--results FILE] [SUITE…]
 *
 * A suite in which something failed runs once more after all others, with nothing beside it. The second result counts; a
 * case that failed only at first is named as unsteady, and is to be mended: it has a race, or counts on a quick machine.
 *
 * All suites run on build/tupper, those of sanitized-suites.ts on build/tupper-sanitize as well. `--host`: without the
 * sanitizer build and without engines. `--user`: as `--host`, as an ordinary user with subordinate ids that only the boxes know.
 * `--record`: the results on build/tupper are put on record for docs/places.md (tests/vm/table.ts). `--results`: adds the
 * counts of each suite to a file, as node's reporter writes them, instead of printing their sum.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Box, makeBox } from "../tests/box.ts";
import { snapshot } from "../tests/leftovers.ts";
import { missing } from "../tests/missing.ts";
import { readResults } from "../tests/vm/results.ts";
import { findSuites } from "../tests/vm/suites.ts";
import { currentCommit, record } from "../tests/vm/table.ts";
import { parseTable } from "./generate.ts";
import { root } from "./link-host.ts";
import { SANITIZED, UNREACHED } from "./sanitized-suites.ts";

interface Job {
  suite: string;
  build: "tupper" | "tupper-sanitize";
}

interface Outcome {
  pass: number;
  skipped: number;
  /** What failed: names of cases, or a sentence on the suite. */
  failed: string[];
}

/** Where suites run. */
interface Lane {
  /** What is in it goes when the lane ends. In a box it is /tmp. */
  directory: string;
  /** None: the machine itself. */
  box?: Box;
}

const LANES = 2;
/** Several times what the longest suite takes. */
const SUITE_TIMEOUT_MS = 400_000;
const TOO_LONG = "its time limit";
const LEFT_TIMEOUT_MS = 3000;

/** The user of `--user`, as if logged in: with a directory of its own in /run, and as systemd does it, no control groups. */
const USER = { name: "tupper", uid: 61_000, home: "/tmp/home" };
const MAKE_USER = `
      groupadd --gid ${USER.uid} ${USER.name}
      useradd --uid ${USER.uid} --gid ${USER.uid} --no-create-home --home-dir ${USER.home} --shell /bin/bash ${USER.name} 2>/dev/null
      grep -q '^${USER.name}:' /etc/subuid || echo ${USER.name}:100000:65536 | tee -a /etc/subuid >>/etc/subgid
      install -d -m 700 -o ${USER.uid} -g ${USER.uid} ${USER.home} /run/user/${USER.uid}`;
const AS_USER = ["setpriv", `--reuid=${USER.uid}`, `--regid=${USER.uid}`, "--init-groups"];

const { values: flags, positionals } = parseArgs({
  options: {
    host: { type: "boolean", default: false },
    user: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
    results: { type: "string" },
  },
  allowPositionals: true,
});
const isBoxed = missing("root", "cgroup1") === false;
const work = mkdtempSync(join(tmpdir(), "tupper-lanes-"));
const lanes = new Set<Lane>();
let isStopping = false;
const calls = parseTable(readFileSync(`${root}/host/sys.table`, "utf8")).map(({ name }) => name);
const reached = new Set<string>();

/** What engines do takes long, and mostly waits: it begins. */
function jobs(): Job[] {
  const found = readdirSync(`${root}/tests`).filter((name) => name.endsWith(".test.ts"));
  const suites = positionals.length > 0 ? positionals.map((path) => basename(path)) : found.sort();
  const ofEngines = suites.filter((suite) => /^(docker|podman|containerd|nested-)/.test(suite));
  const others = suites.filter((suite) => !ofEngines.includes(suite));
  const on = (build: Job["build"], list: readonly string[]) => list.map((suite) => ({ suite, build }));
  if (flags.user) {
    const possible = findSuites(root).filter((suite) => suite.needs.every((need) => need === "user"));
    return on(
      "tupper",
      others.filter((suite) => possible.some(({ name }) => suite === `${name}.test.ts`)),
    );
  }
  if (flags.host) return on("tupper", others);
  const sanitized = others.filter((suite) => SANITIZED.includes(suite));
  return [...on("tupper", ofEngines), ...on("tupper-sanitize", sanitized), ...on("tupper", others)];
}

async function makeLane(): Promise<Lane> {
  const directory = mkdtempSync(join(work, "lane-"));
  const lane: Lane = { directory };
  lanes.add(lane);
  if (!isBoxed) return lane;
  chmodSync(directory, 0o1777);
  const checkout = join(directory, root.replace(/^\/tmp\//, ""));
  const isBelowTmp = root.startsWith("/tmp/");
  if (isBelowTmp) mkdirSync(checkout, { recursive: true });
  lane.box = await makeBox({
    name: `tupper-${basename(directory)}`,
    overlays: ["etc"],
    prepare: `${isBelowTmp ? `mount --bind '${root}' '${checkout}'` : ""}
      mount --rbind '${directory}' /tmp
      mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts /dev/pts
      mount --bind /dev/pts/ptmx /dev/ptmx
      mount -t tmpfs tmpfs /dev/shm
      ${flags.user ? MAKE_USER : ""}`,
  });
  return lane;
}

async function endLane(lane: Lane): Promise<void> {
  lanes.delete(lane);
  await lane.box?.end();
  rmSync(lane.directory, { recursive: true, force: true });
}

/** Does jobs until there are none. A lane that died, or in which something was left, is replaced. */
async function doJobs(queue: Job[], onOutcome: (job: Job, outcome: Outcome) => void): Promise<void> {
  let lane = await makeLane();
  try {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      const { outcome, isSound } = await doJob(job, lane);
      onOutcome(job, outcome);
      if (isSound || isStopping) continue;
      await endLane(lane);
      lane = await makeLane();
    }
  } finally {
    await endLane(lane);
  }
}

async function doJob({ suite, build }: Job, lane: Lane): Promise<{ outcome: Outcome; isSound: boolean }> {
  const began = Date.now();
  const seenAs = lane.box === undefined ? lane.directory : "/tmp";
  const [tap, called] = ["tap", "calls"].map((name) => join(lane.directory, name)) as [string, string];
  rmSync(tap, { force: true });
  writeFileSync(called, Buffer.alloc(calls.length));
  chmodSync(called, 0o666); // also for runs of other users
  const events = join(lane.directory, "events");
  rmSync(events, { force: true });
  const reporters = [
    ["spec", "stdout"],
    ["tap", join(seenAs, "tap")],
    ...(flags.record ? [["./tests/vm/guest/reporter.mjs", join(seenAs, "events")]] : []),
  ].flatMap(([reporter, to]) => [`--test-reporter=${reporter}`, `--test-reporter-destination=${to}`]);
  const prefix = flags.user ? AS_USER : [];
  const command = [
    ...prefix,
    "env",
    `--chdir=${root}`,
    process.execPath,
    "--import",
    "tsx",
    ...reporters,
    `tests/${suite}`,
  ];
  const env = {
    ...process.env,
    TUPPER_BINARY: `${root}/build/${build}`,
    ...(lane.box === undefined ? {} : { TMPDIR: "/tmp" }),
    TUPPER_CALLS: join(seenAs, "calls"),
    ...(flags.user ? { HOME: USER.home, USER: USER.name, LOGNAME: USER.name } : {}),
    ...(flags.user ? { XDG_RUNTIME_DIR: `/run/user/${USER.uid}` } : {}),
  };
  const { output, code } = await end(lane, command, env);
  const left = lane.box === undefined ? [] : await leftIn(lane.box);
  const outcome = existsSync(tap) ? counted(readFileSync(tap, "utf8")) : counted("");
  const isDead = code !== 0 && outcome.failed.length === 0;
  if (isDead) outcome.failed.push(`it ended with ${code} without a failed test`);
  if (left.length > 0) outcome.failed.push(`left in its lane: ${left.join(", ")}`);
  readFileSync(called).forEach((byte, i) => {
    if (byte !== 0) reached.add(calls[i] ?? "");
  });
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  console.log(`== ${suite} on build/${build}: ${seconds} s\n${output}`);
  for (const name of outcome.failed) console.log(`✖ ${suite}: ${name}\n`);
  if (flags.record && build === "tupper")
    record(
      readResults({
        place: flags.user ? "host-user" : "host-root",
        suite: basename(suite, ".test.ts"),
        durationMs: Date.now() - began,
        output: existsSync(events) ? readFileSync(events, "utf8") : "",
        errors: output,
        outcome: { code: typeof code === "number" ? code : undefined, failure: `ended by ${code}`, log: "" },
      }),
      currentCommit(root),
    );
  return { outcome, isSound: !isDead && code !== TOO_LONG && left.length === 0 };
}

/** Runs a command to its end, however that comes. */
function end(
  lane: Lane,
  command: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ output: string; code: number | string }> {
  const [file = "", ...args] = command;
  const options = { env, stdio: ["ignore", "pipe", "pipe"] as ["ignore", "pipe", "pipe"] };
  const child: ChildProcess = lane.box?.spawn(command, options) ?? spawn(file, args, options);
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  let isTooLong = false;
  return new Promise((done) => {
    const timer = setTimeout(() => {
      isTooLong = true;
      output += `\nnot over after ${SUITE_TIMEOUT_MS} ms\n`;
      child.kill("SIGKILL");
      lane.box?.end(); // it holds the streams
    }, SUITE_TIMEOUT_MS);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      done({ output, code: isTooLong ? TOO_LONG : (code ?? signal ?? "nothing") });
    });
  });
}

async function leftIn(box: Box): Promise<string[]> {
  const deadline = Date.now() + LEFT_TIMEOUT_MS;
  for (;;) {
    const left = box.leftovers();
    if (left.length === 0 || Date.now() > deadline) return left;
    await sleep(50);
  }
}

/** Of node's TAP reporter: the counts at the end, and the cases that failed. */
function counted(tap: string): Outcome {
  const of = (word: string) => Number(new RegExp(`^# ${word} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
  const failed = [...tap.matchAll(/^ *not ok \d+ - (.*)$/gm)].map(([, name = ""]) => name);
  return { pass: of("pass"), skipped: of("skipped"), failed };
}

const sum: Outcome = counted("");

function add({ pass, skipped, failed }: Outcome): void {
  sum.pass += pass;
  sum.skipped += skipped;
  sum.failed.push(...failed);
  if (flags.results !== undefined)
    appendFileSync(flags.results, `# pass ${pass}\n# fail ${failed.length}\n# skipped ${skipped}\n`);
}

function fail(message: string): void {
  console.log(`✖ ${message}\n`);
  add({ pass: 0, skipped: 0, failed: [message] });
}

if (flags.user && !isBoxed) throw new Error("--user needs boxes: see above");
const queue = jobs();

/** What lanes could leave on the machine: their state is in their own /run, processes and groups end with the box, or `end` throws. */
const machine = () => [...snapshot()].filter((thing) => /^(mount|network device) /.test(thing));

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, async () => {
    isStopping = true;
    queue.length = 0;
    await Promise.allSettled([...lanes].map(endLane));
    rmSync(work, { recursive: true, force: true });
    process.exit(1);
  });

const before = new Set(machine());
const isWhole = positionals.length === 0 && !flags.host && missing("root") === false;
const again: { job: Job; first: Outcome }[] = [];
const ends = await Promise.allSettled(
  Array.from({ length: isBoxed ? LANES : 1 }, () =>
    doJobs(queue, (job, first) => (first.failed.length > 0 ? again.push({ job, first }) : add(first))),
  ),
);
const unsteady: string[] = [];
for (const { job, first } of again) {
  const secondTry = doJobs([job], (_, outcome) => {
    const passed = first.failed.filter((name) => !outcome.failed.includes(name));
    unsteady.push(...passed.map((name) => `${job.suite}: ${name}`));
    add(outcome);
  });
  ends.push(...(await Promise.allSettled([secondTry])));
}
for (const lane of ends) if (lane.status === "rejected") fail(`a lane broke: ${lane.reason}`);
for (const { suite, build } of queue) fail(`${suite} on build/${build} was not run`);
for (const name of unsteady) console.log(`⚠ unsteady, passed at the second try: ${name}`);
for (const thing of machine()) if (!before.has(thing)) fail(`left on the machine: ${thing}`);
const unreached = calls.filter((name) => !reached.has(name) && !(name in UNREACHED));
if (isWhole && unreached.length > 0)
  fail(`no suite reaches these calls on the sanitizer build: ${unreached.join(", ")}`);
rmSync(work, { recursive: true, force: true });
if (flags.results === undefined) console.log(`${sum.pass} passed, ${sum.failed.length} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed.length === 0 ? 0 : 1;
