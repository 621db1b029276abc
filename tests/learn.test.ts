/**
 * `tupper learn`: ten ordinary programs get profiles under which they still work, and under which a program that does one thing more is
 * refused that; capabilities are those that make a difference; what was only tried is marked; what is not confirmed is not written.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compiled, fails, type Options, temporaryDirectory, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs({ text: "one\ntwo\nthree\n" });
const needs = { skip: missing("root", "package:busybox-static", "programs", "arch:x64") };

interface Rule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: { index: number; value: number; valueTwo?: number; op: string }[];
  comment?: string;
}

interface Profile {
  defaultAction: string;
  syscalls: Rule[];
  learned: {
    runs: number;
    confirmed: boolean;
    exitCode: number;
    capabilities: string[];
    dropped: string[];
    probed: { name: string; errno: string }[];
  };
}

const allowed = ({ syscalls }: Profile): string[] =>
  syscalls
    .filter(({ action, comment }) => action === "SCMP_ACT_ALLOW" && comment?.startsWith("seen"))
    .flatMap(({ names }) => names);

/** Learns in a container, and gives the profile and the flags to run under it. */
async function learned(flags: readonly string[], where: string, command: readonly string[], options: Options = {}) {
  const file = join(temporaryDirectory(), "profile.json");
  const args = ["learn", "--output", file, ...flags, where, ...command];
  const result = await tupper(args, { timeoutMs: 120_000, ...options });
  assert.match(result.stderr, /^learned: \d+ system calls? in/m, `${result.stderr}${result.stdout}`);
  const profile = JSON.parse(readFileSync(file, "utf8")) as Profile;
  const capabilities = profile.learned.capabilities.flatMap((name) => ["--cap-add", name]);
  return {
    ...result,
    file,
    profile,
    under: [...flags, "--cap-drop", "ALL", ...capabilities, "--security-opt", `seccomp=${file}`],
  };
}

/**
 * [program, where, its words, the same doing one thing more, what that is told]. The last is what the program, or the
 * shell that it is in, says when the call is refused.
 */
const sh = (text: string) => ["sh", "-c", text];
const attempt = compiledIfPossible();
const PROGRAMS: readonly [string, string, readonly string[], readonly string[], RegExp][] = [
  ["a static C program", root, ["/attempt", "39"], ["/attempt", "39", "83,0,0"], /^39 ok\n83 EPERM\n$/],
  ["echo in sh", root, sh("echo hi"), sh("echo hi; mkdir /tmp/more"), /^hi\n.*(mkdir|fork).*Operation not permitted/s],
  [
    "ls",
    root,
    sh("ls -l /etc; true"),
    sh("ls -l /etc; mkdir /tmp/more"),
    /passwd\n.*mkdir: .*Operation not permitted/s,
  ],
  [
    "grep",
    root,
    sh("grep -r two /text; true"),
    sh("grep -r two /text; ln -s a /tmp/more"),
    /^two\n.*ln: .*Operation not permitted|^\/text:two\n.*Operation not permitted/s,
  ],
  [
    "sort and head in a pipe",
    root,
    sh("sort /text | head -n 1"),
    sh("sort /text | head -n 1; mkfifo /tmp/f"),
    /^one\n.*mkfifo: .*Operation not permitted/s,
  ],
  [
    "tar and gzip",
    root,
    sh("tar cf - /etc 2>/dev/null | gzip | wc -c | grep -c ."),
    sh("tar cf - /etc 2>/dev/null | gzip | wc -c | grep -c .; hostname new"),
    /^1\n.*(hostname|sethostname): .*Operation not permitted/s,
  ],
  [
    "awk",
    root,
    sh("awk '{ n++ } END { print n }' /text; true"),
    sh("awk '{ n++ } END { print n }' /text; nc 127.0.0.1 1"),
    /^3\n.*nc: .*Operation not permitted/s,
  ],
  [
    "sha256sum",
    root,
    sh("sha256sum </text | cut -c 1-8"),
    sh("sha256sum </text | cut -c 1-8; rm /text"),
    /^[0-9a-f]{8}\n.*rm: .*Operation not permitted/s,
  ],
  [
    "find with stat",
    root,
    sh("find /etc -type f -exec stat -c %s {} + | wc -l"),
    sh("find /etc -type f -exec stat -c %s {} + | wc -l; kill -0 1"),
    /^2\n.*Operation not permitted/s,
  ],
  [
    "perl of the host, with its libraries",
    "host",
    ["perl", "-e", 'print join(",", sort { $a <=> $b } 3, 1, 2), "\\n"'],
    ["perl", "-e", 'print join(",", sort { $a <=> $b } 3, 1, 2), "\\n"; mkdir("/tmp/more") or print "$!\\n"'],
    /^1,2,3\nOperation not permitted\n$/,
  ],
  [
    "chown, which needs a capability",
    root,
    sh("chown 7 /tmp && stat -c %u /tmp"),
    sh("chown 7 /tmp && stat -c %u /tmp; mkdir /tmp/more"),
    /^7\n.*mkdir: .*Operation not permitted/s,
  ],
];

function compiledIfPossible(): string {
  return needs.skip === false ? compiled("attempt") : "/bin/true";
}

for (const [program, where, command, more, says] of PROGRAMS) {
  const skip = needs.skip || (where === "host" && missing("package:perl"));
  test(`learn: ${program}: works under what was learned, and one thing more is refused`, { skip }, async () => {
    const given = ["--volume", `${attempt}:/attempt:ro`];
    const seen = await learned(where === root ? given : [], where, command);
    const plain = await tupper(["run", ...(where === root ? given : []), where, ...command]);
    assert.deepEqual([seen.stdout, seen.code], [plain.stdout, plain.code], seen.stderr);
    assert.equal(seen.profile.learned.confirmed, true);
    assert.equal(seen.profile.defaultAction, "SCMP_ACT_ERRNO");
    const again = await tupper(["run", ...seen.under, where, ...command]);
    assert.deepEqual([again.stdout, again.stderr, again.code], [plain.stdout, plain.stderr, plain.code]);
    const refused = await tupper(["run", ...seen.under, where, ...more]);
    assert.match(refused.stdout + refused.stderr, says);
    assert.deepEqual(seen.profile.learned.capabilities, program.startsWith("chown") ? ["CAP_CHOWN"] : []);
  });
}

test("learn: capabilities are those that make a difference, one by one", needs, async () => {
  const script = "chown 7 /tmp; mknod /tmp/n c 1 3; ping -c 1 127.0.0.1 >/dev/null; true";
  const { profile } = await learned([], root, sh(script));
  assert.deepEqual(profile.learned.capabilities, ["CAP_CHOWN", "CAP_NET_RAW", "CAP_MKNOD"]);
  assert.ok(profile.learned.dropped.includes("CAP_SETUID") && !profile.learned.dropped.includes("CAP_CHOWN"));
});

test("learn: what was only tried is marked, and gets the same answer under the profile", needs, async () => {
  // 165 is mount, which the default profile refuses; 468 is newer than it.
  const given = ["--volume", `${attempt}:/attempt:ro`];
  const { profile, under, stderr } = await learned(given, root, ["/attempt", "39", "165", "468"]);
  const { probed } = profile.learned;
  assert.ok(
    probed.some(({ name, errno }) => name === "mount" && errno === "EPERM"),
    JSON.stringify(probed),
  );
  assert.ok(
    probed.some(({ errno }) => errno === "ENOSYS"),
    JSON.stringify(probed),
  );
  assert.ok(!allowed(profile).includes("mount"));
  assert.match(stderr, /only probed: .*mount \(EPERM\)/);
  const again = await tupper(["run", ...under, root, "/attempt", "39", "165", "468"]);
  assert.equal(again.stdout, "39 ok\n165 EPERM\n468 ENOSYS\n");
});

test("learn: sockets by their family, clone by its namespaces", needs, async () => {
  const given = ["--volume", `${attempt}:/attempt:ro`];
  const { profile, under } = await learned(given, root, ["/attempt", "41,1,1,0"]);
  assert.deepEqual(profile.syscalls.find(({ names }) => names.includes("socket"))?.args, [
    { index: 0, value: 1, op: "SCMP_CMP_EQ" },
  ]);
  const { stdout } = await tupper(["run", ...under, root, "/attempt", "41,1,1,0", "41,2,1,0"]);
  assert.equal(stdout, "41 ok\n41 EPERM\n");
  const forks = await learned(["--security-opt", "seccomp=unconfined"], root, sh("(true); (exit 0) & wait"));
  for (const rule of forks.profile.syscalls.filter(({ names }) => names.includes("clone")))
    assert.deepEqual(rule.args, [{ index: 0, value: 0x7e020000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }]);
});

test("learn: never more than it was run with", needs, async () => {
  const { profile } = await learned(["--cap-drop", "CHOWN"], root, sh("chown 7 /tmp; true"));
  assert.deepEqual(profile.learned.capabilities, []);
  assert.ok(profile.learned.probed.some(({ errno }) => errno === "EPERM"));
});

test("learn: input is there in each run; output is the first run's alone", needs, async () => {
  const piped = await learned([], root, sh("wc -l"), { input: "a\nb\n" });
  assert.equal(piped.stdout, "2\n");
  assert.equal(piped.profile.learned.confirmed, true);
});

test("learn: the exit code is the command's, and a failure is said", needs, async () => {
  const { code, stderr, profile } = await learned([], root, sh("exit 3"));
  assert.deepEqual([code, profile.learned.exitCode], [3, 3]);
  assert.match(stderr, /exit code: .*3: what it would do when all goes well was not seen/);
});

test("learn: what does something else each time is not confirmed, and nothing is written", needs, async () => {
  const directory = temporaryDirectory();
  const output = join(directory, "profile.json");
  // Another exit code in each run.
  const script = "read n </v/count; echo $((n + 1)) >/v/count; exit $n";
  writeFileSync(join(directory, "count"), "1\n");
  const { code, exitCode } = await learnFails([
    "learn",
    "--output",
    output,
    "--volume",
    `${directory}:/v`,
    root,
    "sh",
    "-c",
    script,
  ]);
  assert.deepEqual([code, exitCode], ["LEARN_NOT_CONFIRMED", 125]);
  assert.equal(existsSync(output), false);
});

const learnFails = (args: readonly string[]) => fails(args, { timeoutMs: 120_000 });

test("learn --once: one run, unconfirmed, and it says so", needs, async () => {
  const { profile, stderr } = await learned(["--once"], root, ["true"]);
  assert.deepEqual([profile.learned.runs, profile.learned.confirmed], [1, false]);
  assert.match(stderr, /in one run, not confirmed by another/);
  assert.match(stderr, /capabilities: +not looked into/);
});

test("learn: a place that cannot be written is told before anything runs", needs, async () => {
  const { code, details } = await fails(["learn", "--output", "/nowhere/profile.json", root, "sh", "-c", "echo ran"]);
  assert.equal(code, "OUTPUT_REFUSED");
  assert.equal(details.flag, "--output");
});
