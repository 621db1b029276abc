/**
 * What a command needs at most: counts of the kernel, taken by the benchmark's measuring program. docs/performance.md.
 *
 * Needs: checkout
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DEFAULT_CAPABILITIES } from "../src/plan/seccomp/default-profile.ts";
import { makeBundle, makeConfig } from "./bundle.ts";
import { binary, isSanitizer, runDirectory, start, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

const repository = new URL("..", import.meta.url).pathname;
const elsewhere = isSanitizer && "the sanitizer needs memory of its own";
const skip = elsewhere || missing("root", "package:musl-tools", "package:busybox-static");

/** Issue 2 asks for 3 MB. What is above this is a part of the heap in the wrong place: scripts/placement.ts. */
const LIMIT_KIB = 2500;
/** Of a run, with its container. Without an order in the heap there were 410. */
const LIMIT_FAULTS = 260;

watchForLeftovers();

const work = mkdtempSync(join(tmpdir(), "tupper-memory-"));
after(() => rmSync(work, { recursive: true, force: true }));
before(() => {
  if (skip === false)
    execFileSync("musl-gcc", ["-O2", "-static", join(repository, "bench/measure.c"), "-o", join(work, "measure")]);
});

/** The most that any of ten runs needed: KiB of its largest process, and page faults of all. */
function measure(...args: readonly string[]): { peakKiB: number; faults: number } {
  const lines = execFileSync(join(work, "measure"), ["10", "2", "0", "::", binary, ...args], { encoding: "utf8" });
  const samples = lines
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  for (const [, , , , , , , status] of samples) assert.equal(status, 0);
  const most = (column: number) => Math.max(...samples.map((sample) => sample[column] ?? Number.NaN));
  return { peakKiB: most(2), faults: most(3) };
}

function assertSmall({ peakKiB, faults }: { peakKiB: number; faults: number }): void {
  assert.ok(peakKiB < LIMIT_KIB, `${peakKiB} KiB at most, and ${LIMIT_KIB} are the limit`);
  assert.ok(faults < LIMIT_FAULTS, `${faults} page faults, and ${LIMIT_FAULTS} are the limit`);
}

const root = sharedRootfs();

for (const kind of ["bind", "overlay"]) {
  for (const seccomp of [[], ["--security-opt", "seccomp=unconfined"]]) {
    const flags = ["--no-tty", "--root-kind", kind, ...seccomp];
    test(`run ${flags.join(" ")}: needs less than ${LIMIT_KIB} KiB`, { skip }, () =>
      assertSmall(measure("run", ...flags, root, "true")),
    );
  }
}

test(`exec: needs less than ${LIMIT_KIB} KiB`, { skip }, async () => {
  const container = start(["run", "--name", "memory-exec", root, "sh", "-c", "echo ready; exec sleep 60"]);
  await container.until(/ready/);
  const { peakKiB } = measure("exec", "--no-tty", "memory-exec", "true");
  execFileSync(binary, ["kill", "memory-exec"]);
  await container.ended;
  assert.ok(peakKiB < LIMIT_KIB, `${peakKiB} KiB at most, and ${LIMIT_KIB} are the limit`);
});

test(`--version: needs less than ${LIMIT_KIB} KiB`, { skip }, () => assertSmall(measure("--version")));

/** How many blocks of the compressed heap a command brings in (ADR 24): faults that strace(1) sees. */
function blocksBroughtIn(...words: readonly string[]): number {
  const [name = "", ...args] = words;
  const [trace, said] = [join(work, "trace"), openSync(join(work, "said"), "w")];
  // A created container stays, and with -f strace would stay with it.
  const follow = name === "tupper" || args[0] === "run" || args[0] === "exec" ? ["-f"] : [];
  const file = name === "tupper" ? binary : `${binary}-runtime`;
  const options = { stdio: ["ignore", said, said] as ["ignore", number, number] };
  const { status } = spawnSync("strace", [...follow, "-o", trace, file, ...args], options);
  closeSync(said);
  assert.equal(status, 0, `${words.join(" ")}: ${readFileSync(join(work, "said"), "utf8")}`);
  return readFileSync(trace, "utf8").split("SIGSEGV {").length - 1;
}

test("run, create, state, start, exec, ps, list, delete: nothing of the compressed heap is used", {
  skip: elsewhere || missing("root", "package:busybox-static", "package:strace"),
}, () => {
  // Of engines, not all that there are: those are named nowhere else.
  const sets = { bounding: [...DEFAULT_CAPABILITIES], effective: [...DEFAULT_CAPABILITIES] };
  const usual = { process: { capabilities: { ...sets, permitted: sets.effective } } };
  const bundle = makeBundle(makeConfig(root, usual));
  const [id, once] = [`memory-${process.pid}`, `memory-once-${process.pid}`];
  const [run = "", byPath = ""] = ["true", "/bin/true"].map(
    (command) => `runtime run --bundle ${makeBundle(makeConfig(root, { args: [command], ...usual }))} ${once}`,
  );
  blocksBroughtIn(...run.split(" ")); // the first on a machine makes the state root
  const asEngines = `--root ${runDirectory}/tupper-runtime --log ${join(work, "log")} --log-format json`;
  const commands = [
    `tupper run --no-tty --root-kind bind ${root} true`,
    `tupper run --no-tty --root-kind overlay --security-opt seccomp=unconfined ${root} true`,
    `tupper run --no-tty --root-kind bind ${root} /bin/true`,
    run,
    byPath,
    `runtime create --bundle ${bundle} ${id}`,
    ...["state", "start", "exec"].map((verb) => `runtime ${verb} ${id}${verb === "exec" ? " true" : ""}`),
    `runtime exec ${id} /bin/true`,
    `runtime ps ${id}`,
    `runtime ps --format json ${id}`,
    "runtime list",
    // As engines call it.
    ...[`state ${id}`, `ps --format json ${id}`, "list", `kill ${id} 0`].map(
      (words) => `runtime ${asEngines} ${words}`,
    ),
    `runtime ${asEngines} delete --force ${id}`,
  ];
  // Seldom a control group stays busy for longer than usual, and the code that then waits comes in.
  const least = (words: string, tries: number): number => {
    const blocks = blocksBroughtIn(...words.split(" "));
    return blocks === 0 || tries === 1 ? blocks : Math.min(blocks, least(words, tries - 1));
  };
  const used = commands.map((words) => [words, least(words, / run /.test(words) ? 3 : 1)] as const);
  assert.deepEqual(
    used.filter(([words, blocks]) => blocks > (words.includes(" delete ") ? 1 : 0)),
    [],
  );
});

test("a caller that blocks or ignores SIGSEGV changes nothing: rarely used parts of the program are brought in", {
  skip: elsewhere,
}, () => {
  const help = execFileSync(binary, ["--help"], { encoding: "utf8" });
  assert.equal(execFileSync("env", ["--block-signal=SEGV", binary, "--help"], { encoding: "utf8" }), help);
  assert.equal(execFileSync("env", ["--ignore-signal=SEGV", binary, "--help"], { encoding: "utf8" }), help);
});

test("training: every command that the build runs on the make-believe machine succeeds", { skip: elsewhere }, () => {
  const failures = join(repository, "build/training/failures");
  assert.equal(existsSync(failures) ? readFileSync(failures, "utf8") : "", "");
});
