/**
 * `tupper run --diagnose` and `tupper why`: each layer that can refuse a call, planted, and what is told of it; and that a command
 * that is followed behaves as one that is not.
 */
import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  binary,
  compiled,
  fails,
  isSanitizer,
  type Options,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { printsOnTerminal } from "./terminal.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const root = sharedRootfs({ secret: { text: "x\n", mode: 0o600 }, "locked/inner": "x\n", plain: "x\n" });
const needs = { skip: missing("root", "package:busybox-static") };

interface Denied {
  call: string;
  layer: string;
  evidence: string;
  allow: string;
}

function deniedIn(stderr: string): Denied[] {
  const parts = stderr.split(/^denied: /m).slice(1);
  return parts.map((part) => {
    const of = (label: string) => new RegExp(`^  ${label}: +(.*)$`, "m").exec(part)?.[1] ?? "";
    return { call: part.split("\n")[0] ?? "", layer: of("layer"), evidence: of("evidence"), allow: of("allow") };
  });
}

async function diagnosed(flags: readonly string[], script: string, options: Options = {}) {
  const result = await tupper(["run", "--diagnose", ...flags, root, "sh", "-c", script], {
    timeoutMs: 60_000,
    ...options,
  });
  return { ...result, denied: deniedIn(result.stderr) };
}

const UNCONFINED = ["--security-opt", "seccomp=unconfined"];
const USERNS = ["--userns", "private", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];

/** [what, flags, script, the call, layer, flag]. Scripts begin with `exec` where the shell would hide the call. */
const PLANTED: readonly [string, readonly string[], string, RegExp, RegExp, RegExp][] = [
  [
    "mount, default profile",
    [],
    "mount -t tmpfs none /tmp",
    /^mount\(/,
    /^seccomp: the filter answers EPERM to mount$/,
    /--cap-add SYS_ADMIN/,
  ],
  [
    "mount, no filter",
    UNCONFINED,
    "mount -t tmpfs none /tmp",
    /^mount\("none", "\/tmp", "tmpfs"/,
    /^capability: mount needs CAP_SYS_ADMIN/,
    /^--cap-add SYS_ADMIN$/,
  ],
  ["unshare", [], "unshare -m true", /^unshare\(0x20000\)/, /^seccomp: /, /--cap-add SYS_ADMIN/],
  [
    "chown without CHOWN",
    ["--cap-drop", "CHOWN"],
    "chown 5 /plain",
    /chown.*"\/plain", 5/,
    /^capability: .* needs CAP_CHOWN/,
    /^--cap-add CHOWN$/,
  ],
  [
    "mknod without MKNOD",
    ["--cap-drop", "MKNOD"],
    "mknod /tmp/n c 1 3",
    /^mknod/,
    /^capability: .* needs CAP_MKNOD/,
    /^--cap-add MKNOD$/,
  ],
  [
    "raw socket without NET_RAW",
    ["--cap-drop", "NET_RAW"],
    "ping -c 1 127.0.0.1",
    /^socket\(/,
    /^capability: socket needs CAP_NET_RAW/,
    /^--cap-add NET_RAW$/,
  ],
  [
    "host name",
    UNCONFINED,
    "hostname other",
    /^sethostname\("other"/,
    /^capability: sethostname needs CAP_SYS_ADMIN/,
    /^--cap-add SYS_ADMIN$/,
  ],
  [
    "a file of another",
    ["--user", "1000"],
    "cat /secret",
    /^open.*"\/secret", O_RDONLY/,
    /^file mode: \/secret does not give read to 1000:1000$/,
    /--user its owner/,
  ],
  [
    "a directory that may not be searched",
    ["--user", "1000"],
    "cat /locked/inner",
    /"\/locked\/inner"/,
    /^file mode: \/locked does not give execute or search/,
    /DAC_OVERRIDE/,
  ],
  [
    "a new file where nobody may write",
    ["--user", "1000"],
    "touch /new",
    /"\/new"/,
    /^file mode: \/ does not give write and execute to 1000:1000$/,
    /DAC_OVERRIDE/,
  ],
  [
    "root without DAC_OVERRIDE",
    ["--cap-drop", "DAC_OVERRIDE"],
    "cat /home/alice/own",
    /own/,
    /^file mode: \/home\/alice\/own does not give read to 0:0$/,
    /--cap-add DAC_OVERRIDE/,
  ],
  [
    "no execute bit",
    [],
    "/plain",
    /^execve\("\/plain"/,
    /^file mode: \/plain does not give execute or search to 0:0$/,
    /^chmod \+x$/,
  ],
  [
    "chmod of another's file",
    ["--user", "1000"],
    "chmod 777 /plain",
    /^chmod\("\/plain", 0777\)/,
    /^file mode: \/plain belongs to 0, and only its owner/,
    /FOWNER/,
  ],
  ["a read-only root", ["--read-only"], "touch /x", /"\/x"/, /^mount flag: \/ is mounted read-only/, /--read-only/],
  [
    "a read-only volume",
    ["--volume", "/var:/v:ro"],
    "touch /v/x",
    /"\/v\/x"/,
    /^mount flag: \/v is mounted read-only/,
    /without ro/,
  ],
  [
    "kernel settings",
    [],
    "echo 1 >/proc/sys/vm/overcommit_memory",
    /overcommit_memory/,
    /^mount flag: \/proc\/sys is mounted read-only/,
    /^--security-opt systempaths=unconfined$/,
  ],
  [
    "noexec",
    ["--tmpfs", "/t:noexec"],
    "cp /bin/busybox /t/true; /t/true",
    /^execve\("\/t\/true"/,
    /^mount flag: \/t is mounted noexec/,
    /exec/,
  ],
  [
    "a device that no rule allows",
    [],
    "mknod /m c 1 1; cat /m",
    /"\/m", O_RDONLY/,
    /^device cgroup: .* c 1:1 \(\/m\)$/,
    /--device-cgroup-rule "c 1:1 rwm"/,
  ],
  [
    "a time that belongs to the host",
    [...UNCONFINED, ...USERNS, "--cap-add", "SYS_TIME"],
    "date -s 2020-01-01",
    /settime/,
    /^user namespace: the thread has CAP_SYS_TIME/,
    /--userns host/,
  ],
  [
    "a number that is no call, default profile",
    [],
    "/attempt 468",
    /^(syscall_468|\w+)\(/,
    /^seccomp: the filter answers ENOSYS/,
    /profile/,
  ],
  [
    "a number that is no call, no filter",
    UNCONFINED,
    "/attempt 999",
    /^syscall_999\(/,
    /^kernel: this kernel has no syscall_999/,
    /^$/,
  ],
];

for (const [what, flags, script, call, layer, allow] of isSanitizer ? PLANTED.slice(0, 3) : PLANTED) {
  test(`run --diagnose: ${what}`, { skip: missing("root", "package:busybox-static", "programs") }, async () => {
    const own = temporaryDirectory();
    chmodSync(own, 0o700);
    writeFileSync(join(own, "own"), "x\n", { mode: 0o600 });
    chownSync(join(own, "own"), 1000, 1000);
    const given = [...["--volume", `${compiled("attempt")}:/attempt:ro`, "--volume", `${own}/own:/home/alice/own`]];
    const before = what === "a directory that may not be searched" ? ["--tmpfs", "/locked:mode=700"] : [];
    const seen = await diagnosed([...given, ...before, ...flags], script);
    const found = seen.denied.find((one) => call.test(one.call));
    assert.ok(found !== undefined, `no ${call} in:\n${seen.stderr}`);
    assert.match(found.layer, layer, seen.stderr);
    assert.match(found.allow, allow, seen.stderr);
    assert.notEqual(found.evidence, "");
  });
}

test("run --diagnose: a file whose owner has no number in the user namespace", needs, async () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "file"), "x\n", { mode: 0o600 });
  chownSync(join(directory, "file"), 4242, 4242);
  const { denied, stderr } = await diagnosed([...USERNS, "--volume", `${directory}:/v`], "cat /v/file");
  const found = denied.find(({ call }) => call.includes('"/v/file"'));
  assert.match(found?.layer ?? "", /^user namespace: \/v\/file belongs to 4242/, stderr);
});

test("run --diagnose: a filter that kills names the call", {
  skip: missing("root", "package:busybox-static", "arch:x64"),
}, async () => {
  const profile = join(temporaryDirectory(), "profile.json");
  writeFileSync(
    profile,
    JSON.stringify({
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["uname"], action: "SCMP_ACT_KILL_PROCESS" }],
    }),
  );
  const { denied, stderr } = await diagnosed(["--security-opt", `seccomp=${profile}`], "uname; true");
  assert.match(
    denied.find(({ call }) => call.startsWith("uname("))?.layer ?? "",
    /^seccomp: the filter kills whoever calls uname$/,
    stderr,
  );
});

test(
  "run --diagnose: nothing denied, nothing changed: output, input, exit code, signals, threads of work",
  needs,
  async () => {
    const quiet = await diagnosed([], "cat; for i in 1 2 3; do (echo $i) & done; wait; exit 7", { input: "in\n" });
    assert.deepEqual([quiet.stdout.split("\n").sort(), quiet.code, quiet.denied], [["", "1", "2", "3", "in"], 7, []]);
    assert.match(quiet.stderr, /^diagnosis: no call was denied\n$/);
    const killed = await diagnosed([], "kill -KILL $$");
    assert.equal(killed.code, 0, "process 1 cannot kill itself"); // as without --diagnose
    const child = await diagnosed([], "sh -c 'kill -SEGV $$'; echo $?");
    assert.equal(child.stdout, "139\n");
    const stopped = await diagnosed([], "sh -c 'kill -STOP $$; echo on' & sleep 0.3; kill -CONT $!; wait; echo done");
    assert.equal(stopped.stdout, "on\ndone\n");
  },
);

test("run --diagnose: the same denial is told once and counted", needs, async () => {
  const { denied, stderr } = await diagnosed([], "for i in 1 2 3; do mount -t tmpfs none /tmp; done");
  assert.equal(denied.filter(({ call }) => call.startsWith("mount(")).length, 1);
  assert.match(stderr, /^diagnosis: 3 calls were denied, of 1 kind$/m);
});

test("run --diagnose: SIGTERM reaches the command, and its handler runs", needs, async () => {
  const running = start([
    "run",
    "--diagnose",
    root,
    "sh",
    "-c",
    "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
  ]);
  await running.until(/ready/);
  running.child.kill("SIGTERM");
  const { stdout, code } = await running.ended;
  assert.deepEqual([stdout, code], ["ready\ncaught\n", 5]);
});

test("run --diagnose: on a terminal", { skip: needs.skip || missing("package:util-linux") }, () => {
  const seen = printsOnTerminal(`${binary} run --diagnose --tty ${root} sh -c 'tty; mount -t tmpfs none /tmp; true'`);
  assert.match(seen, /\/dev\/pts\/0/);
  assert.match(seen, /seccomp: the filter answers EPERM to mount/);
});

test("run --diagnose, why: a command that has ended by the time its first stops are handled", {
  skip: needs.skip || missing("package:strace", "package:util-linux") || (isSanitizer && "it makes calls of its own"),
}, async () => {
  // Whoever follows it comes so late to each stop that the next is there when one has been handled.
  const prefix = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=wait4:delay_enter=10000"];
  const followed = ["run", "--diagnose", root, "sh", "-c", "echo out; exit 3"];
  for (const args of [followed, ["why", "--", "sh", "-c", "echo out; exit 3"]]) {
    const { code, stdout } = await tupper(args, { prefix });
    assert.deepEqual([code, stdout], [3, "out\n"], args[0]);
  }
  const shown = printsOnTerminal(
    `${prefix.join(" ")} ${binary} run --diagnose --tty ${root} sh -c 'echo out; exit 3'; echo code $?`,
  );
  assert.match(shown, /^out\r?$/m);
  assert.match(shown, /^code 3\r?$/m);
});

test("run --diagnose: a command that is not there is the error that it is without", needs, async () => {
  for (const command of ["nowhere", "/plain-not"]) {
    const plain = await fails(["run", root, command]);
    assert.deepEqual(await fails(["run", "--diagnose", root, command]), plain);
  }
});

test("run --diagnose: not with --init", needs, async () => {
  const { code, exitCode } = await fails(["run", "--diagnose", "--init", root, "true"]);
  assert.deepEqual([code, exitCode], ["FOLLOW_WITH_INIT", 125]);
});

test("run --diagnose: an ordinary user's container, by the filter that it was given", {
  skip: missing("root", "package:passwd", "package:busybox-static"),
}, async () => {
  const { denied, stderr } = await diagnosed([], "unshare -m true; true", { user: users.user });
  const found = denied.find(({ call }) => call.startsWith("unshare("));
  assert.match(found?.layer ?? "", /^seccomp: the filter answers EPERM to unshare$/, stderr);
  assert.match(found?.evidence ?? "", /as the container was given it/, stderr);
});

test("why COMMAND: a program of the machine, with its exit code, and no flags of containers", {
  skip: missing("root", "package:setpriv"),
}, async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "closed"), { mode: 0o700 });
  const args = [
    "why",
    "--",
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "ls",
    join(directory, "closed"),
  ];
  const { stderr, code } = await tupper(args);
  assert.equal(code, 2);
  const found = deniedIn(stderr).find(({ call }) => call.includes("/closed"));
  assert.match(found?.layer ?? "", /^file mode: .*\/closed does not give read to 65534:65534$/, stderr);
  assert.equal(found?.allow, "");
  const { code: missingCode } = await fails(["why", "no-such-program"]);
  assert.equal(missingCode, "COMMAND_NOT_FOUND");
});

/** The object on the last line of stderr. */
const lastObject = (stderr: string) =>
  JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "") as {
    exitCode: number;
    denied: (Record<string, string | number> & { args: string[] })[];
  };

test(
  "run --diagnose --format json: each kind of denied call once, with its arguments, its remedy and how often",
  needs,
  async () => {
    const script = "for i in 1 2 3; do /bin/mount -t tmpfs none /mnt 2>/dev/null; done; printf unfinished >&2; exit 4";
    const { stdout, stderr, code } = await tupper(["run", "--diagnose", "--format", "json", root, "sh", "-c", script], {
      timeoutMs: 60_000,
    });
    assert.deepEqual([stdout, code, stderr.split("\n")[0]], ["", 4, "unfinished"]);
    assert.doesNotMatch(stderr, /denied:|diagnosis:/);
    const { exitCode, denied } = lastObject(stderr);
    assert.equal(exitCode, 4);
    const found: Record<string, unknown> = denied.find(({ syscall }) => syscall === "mount") ?? {};
    const { pid, ...mount } = found;
    assert.ok(Number(pid) > 1, String(pid));
    assert.deepEqual(mount, {
      syscall: "mount",
      args: ["none", "/mnt", "tmpfs", "0x8000", "NULL"],
      call: 'mount("none", "/mnt", "tmpfs", 0x8000, NULL)',
      errno: "EPERM",
      command: "mount",
      layer: "seccomp",
      reason: "the filter answers EPERM to mount",
      evidence: "the filter, as the kernel has it, run on this call: SCMP_ACT_ERRNO 1",
      remedy:
        "--cap-add SYS_ADMIN, to which the default profile opens it; or --security-opt seccomp=FILE with a profile that allows mount",
      count: 3,
    });
  },
);

test("why --format json: nothing denied, a denial without a remedy of containers, and an error", {
  skip: missing("root", "package:setpriv"),
}, async () => {
  const why = (...args: string[]) => tupper(["why", "--format", "json", "--", ...args], { cwd: "/tmp" });
  const good = await why("/bin/true");
  assert.deepEqual([good.code, lastObject(good.stderr)], [0, { exitCode: 0, denied: [] }]);
  const path = join(temporaryDirectory(), "closed");
  writeFileSync(path, "", { mode: 0o600 });
  const refused = await why("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", path);
  const found = lastObject(refused.stderr).denied.find(({ args }) => args[1] === path);
  assert.deepEqual(
    [refused.code, found?.errno, found?.layer, found?.count, found?.remedy],
    [1, "EACCES", "file mode", 1, undefined],
  );
  const { code } = await why("no-such-program").then(({ stderr }) => JSON.parse(stderr) as { code: string });
  assert.equal(code, "COMMAND_NOT_FOUND");
});

test("run: without --diagnose nobody is traced", {
  skip: needs.skip || (isSanitizer && "one build is enough"),
}, async () => {
  const { stdout } = await tupper(["run", root, "grep", "TracerPid", "/proc/self/status"]);
  assert.equal(stdout, "TracerPid:\t0\n");
  const followed = await tupper(["run", "--diagnose", root, "grep", "TracerPid", "/proc/self/status"]);
  assert.match(followed.stdout, /^TracerPid:\t0\n$/); // the tracer is outside of the PID namespace
});

test(
  "run --diagnose: an init process that is killed, or fails, ends as without: nothing of it is left",
  needs,
  async () => {
    const path = join(temporaryDirectory(), "kills.json");
    const kills = { names: ["sendmsg", "write"], action: "SCMP_ACT_KILL_PROCESS" };
    writeFileSync(path, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [kills] }));
    for (const flags of [
      ["--security-opt", `seccomp=${path}`],
      ["--sysctl", "net.ipv4.nonexistent=1"],
    ]) {
      const [followed, alone] = await Promise.all(
        [["--diagnose"], []].map((diagnose) =>
          tupper(["run", ...diagnose, ...flags, root, "true"], { timeoutMs: 60_000 }),
        ),
      );
      assert.equal(alone?.code, 125, alone?.stderr);
      assert.deepEqual(followed, alone);
    }
  },
);
