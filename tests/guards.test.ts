/**
 * Guards of speed: what a command costs where that does not depend on how busy the machine is. A number that grows is either a
 * mistake or worth it: then it is raised here, and the commit says why. docs/performance.md.
 *
 * Needs: checkout
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { callsOfSteps } from "../bench/measuring.ts";
import { created, makeBundle, makeConfig, newId, runtime } from "./bundle.ts";
import { atEnd, binary, isSanitizer, slowness, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

const repository = new URL("..", import.meta.url).pathname;
const skip =
  (isSanitizer && "the sanitizer makes calls of its own") ||
  missing("root", "package:musl-tools", "package:busybox-static", "package:strace");

watchForLeftovers();

/** What was counted may be this much more before it is too much: paths of another length, another kernel's refusals. */
const MARGIN = 1.05;

/** What commands write and read (1,665,344 bytes), and the rest, compressed (952,933), with some for what is being added. */
const HOT_BYTES = 1_690_000;
const COLD_BYTES = 975_000;

const runtimeBinary = join(binary, "../tupper-runtime");
const root = sharedRootfs();
const work = mkdtempSync(join(tmpdir(), "tupper-guards-"));
const measure = join(work, "measure");
after(() => rmSync(work, { recursive: true, force: true }));
before(() => {
  if (skip !== false) return;
  execFileSync("musl-gcc", ["-O2", "-static", join(repository, "bench/measure.c"), "-o", measure]);
});

interface Step {
  command: string[];
  measured: boolean;
}
const step = (...command: string[]): Step => ({ command: [runtimeBinary, ...command], measured: true });
const aside = (...command: string[]): Step => ({ command: [runtimeBinary, ...command], measured: false });
const orphans: Step = { command: ["@orphans"], measured: false };

/** System calls of the measured steps with all their children; the container's own command, busybox's `true`, makes 14 of them. */
function callsOf(...steps: Step[]): number {
  const file = join(work, "trace");
  const words = steps.flatMap(({ command, measured }, i) => [
    `${i === 0 ? ":" : ";"}${measured ? (i === 0 ? ":" : ";") : "-"}`,
    ...command,
  ]);
  const { status, stderr, stdout } = spawnSync("strace", ["-f", "-o", file, measure, "1", "0", "0", ...words], {
    encoding: "utf8",
    timeout: 120_000 * slowness,
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, / 0\n$/, stderr);
  return callsOfSteps(readFileSync(file, "utf8"), steps);
}

function assertAtMost(count: number, limit: number, what: string): void {
  const most = Math.floor(limit * MARGIN);
  assert.ok(count <= most, `${what}: ${count} system calls, and ${limit} with a margin of 5 % are the limit`);
  // A count that is far below is one that was not taken.
  assert.ok(count > limit / 3, `${what}: ${count} system calls cannot be all`);
}

/** cgroup v1: a group in each hierarchy is made, joined by three calls, removed; cpuset and devices take 36 more. Counted with nine and a v2 tree beside. */
const hierarchies = readFileSync("/proc/self/mountinfo", "utf8")
  .split("\n")
  .filter((line) => / - cgroup /.test(line)).length;
const [MADE, JOINED, REMOVED] = [hierarchies + (hierarchies === 0 ? 0 : 36), hierarchies * 3, hierarchies];

const config = () => makeConfig(root, { args: ["true"] });

/** Without the groups. The containers have capabilities, as those of engines have: 8 of exec. */
const LIMITS = { user: 251, run: 224, create: 209, start: 36, delete: 28, exec: 130, state: 17, ps: 44 };

test("run: makes no more system calls than it did", { skip }, () => {
  const bundle = makeBundle(config());
  const count = callsOf(step("run", "--bundle", bundle, newId()));
  assertAtMost(count, LIMITS.run + MADE + JOINED + REMOVED, "run");
});

test("run: with a user namespace it makes no more system calls than it did", { skip }, () => {
  const userConfig = config();
  const ids = [{ containerID: 0, hostID: 0, size: 65_536 }];
  userConfig.linux = {
    ...userConfig.linux,
    namespaces: [...(userConfig.linux?.namespaces ?? []), { type: "user" }],
    uidMappings: ids,
    gidMappings: ids,
  };
  const count = callsOf(step("run", "--bundle", makeBundle(userConfig), newId()));
  assertAtMost(count, LIMITS.user + MADE + JOINED + REMOVED, "run with a user namespace");
});

test("run: a hundred bind mounts more in /dev cost 410 system calls more", { skip }, () => {
  const mounts = Array.from({ length: 100 }, (_, i) => {
    return { destination: `/dev/${i}`, type: "bind", source: "/usr", options: ["bind", "ro"] };
  });
  const many = { ...config(), mounts: [...(config().mounts ?? []), ...mounts] };
  const counts = [config(), many].map((one) => callsOf(step("run", "--bundle", makeBundle(one), newId())));
  // Four for each, and some for the filesystems, which are made apart from their places then.
  assertAtMost((counts[1] ?? 0) - (counts[0] ?? 0), 410, "100 bind mounts");
});

for (const [verb, limit] of [
  ["create", LIMITS.create + MADE + JOINED],
  ["start", LIMITS.start],
  ["delete", LIMITS.delete + REMOVED],
] as const)
  test(`${verb}: makes no more system calls than it did`, { skip }, () => {
    const bundle = makeBundle(config());
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    const one = (name: string, ...args: string[]) => (name === verb ? step(name, ...args) : aside(name, ...args));
    const steps = [one("create", "--bundle", bundle, id), one("start", id), orphans, one("delete", id)];
    assertAtMost(callsOf(...steps), limit, verb);
  });

test("exec, state, ps: make no more system calls than they did", { skip }, async () => {
  const id = await created(makeConfig(root));
  await runtime(["start", id]);
  assertAtMost(callsOf(step("exec", id, "true")), LIMITS.exec + JOINED, "exec");
  assertAtMost(callsOf(step("state", id)), LIMITS.state, "state");
  // Of a container with one process, however many the machine has.
  assertAtMost(callsOf(step("ps", id)), LIMITS.ps, "ps");
});

test("list: ten containers more cost 140 system calls more", { skip }, async () => {
  await created(config());
  const few = callsOf(step("list"));
  for (let i = 0; i < 10; i++) await created(config());
  // A running one costs eight; one that waits for start is asked by its socket too.
  assertAtMost(callsOf(step("list")) - few, 140, "list");
});

test("build/tupper: sections of the heap are no larger than they were", { skip }, () => {
  const sections = execFileSync("readelf", ["--sections", "--wide", binary], { encoding: "utf8" });
  const size = (name: string) =>
    Number.parseInt(new RegExp(`\\] ${name} +PROGBITS +\\S+ \\S+ (\\S+)`).exec(sections)?.[1] ?? "", 16);
  const [hot, cold] = [size("\\.snap"), size("\\.cold")];
  assert.ok(hot > 0 && hot <= HOT_BYTES, `.snap: ${hot} bytes, and ${HOT_BYTES} are the limit`);
  assert.ok(cold > 0 && cold <= COLD_BYTES, `.cold: ${cold} bytes, and ${COLD_BYTES} are the limit`);
});

test("run: page faults and peak memory are no more than they were", { skip }, () => {
  const bundle = makeBundle(config());
  const words = [runtimeBinary, "run", "--bundle", bundle, `${newId()}-{}`];
  const text = execFileSync(measure, ["10", "2", "0", "::", ...words], { encoding: "utf8" });
  const samples = text
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  assert.deepEqual(new Set(samples.map((sample) => sample[7])), new Set([0]));
  const least = (column: number) => Math.min(...samples.map((sample) => sample[column] ?? Number.NaN));
  // 182 and 2,100 to 2,250 KiB were measured; what the page cache holds in large pieces makes a difference of some.
  assert.ok(least(3) <= 215, `${least(3)} page faults, and 215 are the limit`);
  assert.ok(least(2) <= 2600, `${least(2)} KiB at most, and 2600 are the limit`);
});
