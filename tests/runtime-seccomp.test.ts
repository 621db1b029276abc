/**
 * linux.seccomp through the OCI runtime: what processes of the container see of each action, and the filters that
 * earlier containers leave on disk.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { defaultConfig } from "../src/spec/default-config.ts";
import type { LinuxSeccomp, LinuxSeccompArg, LinuxSyscall } from "../src/spec/seccomp.ts";
import { atEnd, binary, compiled, output, runDirectory, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { agent } from "./seccomp/agent.ts";

watchForLeftovers();
const needs = { skip: missing("subuid", "arch:x64", "package:busybox-static", "programs") };
const asRoot = { skip: missing("root") || needs.skip };

const CACHE = join(runDirectory, "tupper-cache/seccomp");
const GETPRIORITY = 140;
const SIGSYS = 128 + 31;

interface Result {
  stdout: string;
  stderr: string;
  code: number | null;
}

/** Runs the OCI runtime to its end, with its records in a directory of the test's own. */
function runtime(root: string, ...args: string[]): Promise<Result> {
  const child = spawn(binary, ["--root", root, ...args], {
    argv0: "tupper-runtime",
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (code) => done({ stdout, stderr, code }));
  });
}

/** A bundle whose command has this profile; `/attempt` is tests/programs/attempt.c. */
function makeBundle(seccomp: object | undefined, args: readonly string[]): string {
  const bundle = temporaryDirectory();
  const config = defaultConfig({ cgroup2: false });
  config.process.args = [...args];
  config.process.terminal = false;
  delete config.process.noNewPrivileges;
  config.root = { path: makeRootfs({ attempt: { copyOf: compiled("attempt"), mode: 0o755 } }) };
  writeFileSync(join(bundle, "config.json"), JSON.stringify({ ...config, linux: { ...config.linux, seccomp } }));
  return bundle;
}

let containers = 0;

async function run(seccomp: object | undefined, ...args: string[]): Promise<Result> {
  const bundle = makeBundle(seccomp, args);
  return runtime(temporaryDirectory(), "run", "--bundle", bundle, `seccomp-${process.pid}-${++containers}`);
}

/** What these calls answer in a container with the profile, by number. */
async function attempts(seccomp: object | undefined, ...calls: string[]): Promise<Record<string, string>> {
  const { stdout, stderr, code } = await run(seccomp, "/attempt", ...calls);
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
  const lines = stdout.trim().split("\n");
  return Object.fromEntries(lines.map((line) => [line.split(" ")[0] ?? "", line.slice(line.indexOf(" ") + 1)]));
}

/** A profile that allows everything but what the rules say. */
const allowing = (...syscalls: LinuxSyscall[]): LinuxSeccomp => ({ defaultAction: "SCMP_ACT_ALLOW", syscalls });
const rule = (
  action: LinuxSyscall["action"],
  name = "getpriority",
  more: Partial<LinuxSyscall> = {},
): LinuxSyscall => ({
  names: [name],
  action,
  ...more,
});

test("run: without linux.seccomp there is no filter, and with it there is one", needs, async () => {
  const mode = async (seccomp?: object) => (await run(seccomp, "grep", "^Seccomp:", "/proc/self/status")).stdout;
  assert.equal(await mode(), "Seccomp:\t0\n");
  assert.equal(await mode(allowing()), "Seccomp:\t2\n");
  // runc takes this for no seccomp at all.
  assert.equal(await mode({}), "Seccomp:\t0\n");
});

test("run: ERRNO answers EPERM, or errnoRet", needs, async () => {
  const { stdout } = await run(allowing(rule("SCMP_ACT_ERRNO")), "/attempt", `${GETPRIORITY}`);
  assert.equal(stdout, "140 EPERM\n");
  const thirteen = allowing(rule("SCMP_ACT_ERRNO", "getpriority", { errnoRet: 13 }));
  assert.deepEqual(await attempts(thirteen, `${GETPRIORITY}`), { 140: "Permission denied" });
});

test("run: LOG lets the call pass, TRACE without a tracer answers ENOSYS", needs, async () => {
  assert.deepEqual(await attempts(allowing(rule("SCMP_ACT_LOG")), `${GETPRIORITY}`), { 140: "ok" });
  assert.deepEqual(await attempts(allowing(rule("SCMP_ACT_TRACE")), `${GETPRIORITY}`), { 140: "ENOSYS" });
});

for (const action of ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] as const) {
  test(`run: ${action} ends the process with SIGSYS`, needs, async () => {
    const profile = allowing(rule(action));
    const { stdout } = await run(profile, "sh", "-c", `/attempt ${GETPRIORITY}; echo $?`);
    assert.equal(stdout, `${SIGSYS}\n`);
    assert.equal((await run(profile, "/attempt", `${GETPRIORITY}`)).code, SIGSYS);
  });
}

test("run: TRAP is a signal that can be caught", needs, async () => {
  const script = "trap 'echo trapped' SYS; times >/dev/null; echo after";
  const { stdout } = await run(allowing(rule("SCMP_ACT_TRAP", "times")), "sh", "-c", script);
  assert.equal(stdout, "trapped\nafter\n");
});

test("run: arguments decide; two conditions on one argument are two rules", needs, async () => {
  const equals = (index: number, value: number): LinuxSeccompArg => ({ index, value, op: "SCMP_CMP_EQ" });
  const refused = (...args: LinuxSeccompArg[]) => allowing(rule("SCMP_ACT_ERRNO", "getpriority", { args }));
  const answers = async (profile: LinuxSeccomp) => {
    const calls = ["0,0", "0,1", "1,0", "2,0"].map((args) => `${GETPRIORITY},${args}`);
    const { stdout } = await run(profile, "/attempt", ...calls);
    return stdout.split("\n").map((line) => line.includes("EPERM"));
  };
  assert.deepEqual((await answers(refused(equals(0, 0), equals(1, 1)))).slice(0, 4), [false, true, false, false]);
  assert.deepEqual((await answers(refused(equals(0, 0), equals(0, 2)))).slice(0, 4), [true, true, false, true]);
});

test(
  "run: a call newer than the profile is not implemented; one from before Linux 5.1 gets the default action",
  needs,
  async () => {
    const profile: LinuxSeccomp = {
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [{ names: FOR_A_START, action: "SCMP_ACT_ALLOW" }],
    };
    assert.deepEqual(await attempts(profile, `${GETPRIORITY}`, "1000"), { 140: "EPERM", 1000: "ENOSYS" });
  },
);

/** What the set-up after the filter, a static program and busybox take. */
const FOR_A_START = (
  "read write open openat close stat fstat lstat newfstatat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask " +
  "rt_sigreturn ioctl readv writev access select dup dup2 dup3 getpid socket sendto recvfrom sendmsg recvmsg clone fork " +
  "vfork execve execveat exit wait4 kill uname fcntl getcwd chdir fchdir umask getuid getgid setuid setgid geteuid getegid " +
  "getppid setsid setgroups setresuid setresgid getresuid getresgid capget capset sigaltstack prctl arch_prctl gettid " +
  "futex set_tid_address exit_group tgkill openat2 close_range faccessat faccessat2 statx set_robust_list prlimit64 " +
  "getrandom rseq poll ppoll pipe2 getgroups"
).split(" ");

test(
  "run: a profile need not allow what only the set-up makes: sendmsg, rt_sigreturn, uname, umask",
  needs,
  async () => {
    const without = (...names: string[]): LinuxSeccomp => ({
      defaultAction: "SCMP_ACT_KILL_PROCESS",
      syscalls: [
        {
          names: [...FOR_A_START, "readlink", "readlinkat"].filter((name) => !names.includes(name)),
          action: "SCMP_ACT_ALLOW",
        },
      ],
    });
    for (const names of [["sendmsg"], ["umask"], ["rt_sigreturn"], ["rt_sigreturn", "sendmsg", "uname"]]) {
      const { stdout, stderr, code } = await run(without(...names), "/bin/busybox", "echo", "ran");
      assert.deepEqual({ stdout, stderr, code }, { stdout: "ran\n", stderr: "", code: 0 }, names.join(" "));
    }
    // A command that is not there is told all the same, and so is what the profile keeps the set-up from.
    assert.match((await run(without("sendmsg", "uname"), "/no/such")).stderr, /\(COMMAND_NOT_FOUND\)/);
    const early = { ...without("sendmsg", "uname", "prctl"), defaultAction: "SCMP_ACT_ERRNO" as const };
    const { stderr } = await run(early, "true");
    assert.match(stderr, /^error: .*: the container's own seccomp profile answers prctl with EPERM \(\w+\)$/m);
  },
);

test("run: names and architectures that are not known here are left out", needs, async () => {
  const profile = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X", "SCMP_ARCH_SH"],
    syscalls: [{ names: ["frobnicate", "getpriority"], action: "SCMP_ACT_ERRNO" }],
  };
  assert.deepEqual(await attempts(profile, `${GETPRIORITY}`), { 140: "EPERM" });
});

test("run: flags that have no effect here are no obstacle", needs, async () => {
  const flags = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
  ];
  assert.deepEqual(await attempts({ ...allowing(rule("SCMP_ACT_ERRNO")), flags }, `${GETPRIORITY}`), { 140: "EPERM" });
});

test("run: a profile that cannot be is refused, and says where", needs, async () => {
  const refused = async (seccomp: object, pattern: RegExp) => {
    const { stderr, code } = await run(seccomp, "true");
    assert.equal(code, 1);
    assert.match(stderr, pattern);
  };
  await refused({ defaultAction: "SCMP_ACT_SHRUG" }, /linux\.seccomp\.defaultAction/);
  await refused({ defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 1 }, /linux\.seccomp\.defaultErrnoRet/);
  await refused(allowing(rule("SCMP_ACT_ALLOW", "read", { errnoRet: 1 })), /linux\.seccomp\.syscalls\[0\]\.errnoRet/);
  await refused(allowing(rule("SCMP_ACT_NOTIFY")), /listenerPath/);
});

test("run and start: the agent gets the state of the container and decides", needs, async () => {
  const notifying = (listenerPath: string) => ({
    ...allowing(rule("SCMP_ACT_NOTIFY")),
    listenerPath,
    listenerMetadata: "mine",
  });
  const told = async (lines: Promise<string[]>) => {
    const [text = "", ...calls] = await lines;
    const { pid, state, ...rest } = JSON.parse(text) as { pid: number; state: { pid: number; status: string } };
    assert.equal(state.pid, pid);
    return { ...rest, status: state.status, calls };
  };
  const common = { ociVersion: "1.3.0", fds: ["seccompFd"], metadata: "mine", calls: [`call ${GETPRIORITY}`, "end"] };

  const first = await agent(-17);
  assert.deepEqual(await attempts(notifying(first.socket), `${GETPRIORITY}`), { 140: "File exists" });
  assert.deepEqual(await told(first.ended), { ...common, status: "creating" });

  const second = await agent(-17);
  const bundle = makeBundle(notifying(second.socket), ["/attempt", `${GETPRIORITY}`]);
  const [root, id] = [temporaryDirectory(), `seccomp-${process.pid}-start`];
  atEnd(() => runtime(root, "delete", "--force", id));
  const steps = [
    ["create", "--bundle", bundle, id],
    ["start", id],
  ];
  for (const step of steps) assert.deepEqual((await runtimeSilently(root, ...step)).code, 0, step[0]);
  assert.deepEqual(await told(second.ended), { ...common, status: "created" });
});

/** For `create`, whose container keeps what it has of stdout and stderr. */
function runtimeSilently(root: string, ...args: string[]): Promise<{ code: number | null }> {
  const child = spawn(binary, ["--root", root, ...args], { argv0: "tupper-runtime", stdio: "ignore" });
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("exit", (code) => done({ code }));
  });
}

test("start: without an agent the command does not run, and the error names the socket", needs, async () => {
  const profile = { ...allowing(rule("SCMP_ACT_NOTIFY")), listenerPath: "/nowhere/agent" };
  const bundle = makeBundle(profile, ["true"]);
  const [root, id] = [temporaryDirectory(), `seccomp-${process.pid}-alone`];
  atEnd(() => runtime(root, "delete", "--force", id));
  assert.equal((await runtimeSilently(root, "create", "--bundle", bundle, id)).code, 0);
  const { stderr, code } = await runtime(root, "start", id);
  assert.equal(code, 1);
  assert.match(stderr, /failed to connect with seccomp agent at \/nowhere\/agent/);
});

// The cache

/** The cache as it was before any container. */
function emptyCache(): void {
  rmSync(CACHE, { recursive: true, force: true });
  atEnd(() => rmSync(CACHE, { recursive: true, force: true }));
}

/** Profiles that differ in one number, and so have files of one name. */
const refusing = (errnoRet: number) => allowing(rule("SCMP_ACT_ERRNO", "getpriority", { errnoRet }));
const answerTo = async (errnoRet: number) => (await attempts(refusing(errnoRet), `${GETPRIORITY}`))[GETPRIORITY];
const cached = (): string[] => readdirSync(CACHE);
const onlyFile = (): string => {
  const names = cached();
  assert.equal(names.length, 1);
  return join(CACHE, names[0] ?? "");
};

/** Makes the program on disk answer EEXIST: what a container then sees says whether it was loaded. */
function mark(path: string): void {
  const bytes = readFileSync(path);
  const program = bytes.subarray(8, 8 + bytes.readUInt32LE(4));
  for (let at = 0; at < program.length; at += 8) {
    if (program.readUInt16LE(at) === 6 && program.readUInt32LE(at + 4) === 0x50000 + 13)
      program.writeUInt32LE(0x50000 + 17, at + 4);
  }
  writeFileSync(path, bytes);
}

test("cache: the second container with a profile has the program of the first", needs, async () => {
  emptyCache();
  assert.equal(await answerTo(13), "Permission denied");
  mark(onlyFile());
  assert.equal(await answerTo(13), "File exists");
});

test("cache: another profile of the same length and name is another profile", needs, async () => {
  emptyCache();
  assert.equal(await answerTo(13), "Permission denied");
  const path = onlyFile();
  for (const errnoRet of [11, 12, 14, 16, 18]) {
    const name = await answerTo(errnoRet);
    assert.notEqual(name, "Permission denied");
    assert.notEqual(name, "ok");
  }
  // Whatever lies under the name of another section is not taken for it.
  const other = cached().map((name) => join(CACHE, name));
  for (const file of other) if (file !== path) writeFileSync(file, readFileSync(path));
  assert.equal(await answerTo(12), "Out of memory");
});

for (const [name, spoil] of [
  ["is cut short", (path: string) => truncateSync(path, readFileSync(path).length - 1)],
  ["is empty", (path: string) => truncateSync(path, 0)],
  ["others may write to", (path: string) => chmodSync(path, 0o666)],
  ["belongs to another user", (path: string) => chownSync(path, 1000, 1000)],
  [
    "was written by another compiler",
    (path: string) =>
      writeFileSync(
        path,
        readFileSync(path, "latin1").replace(/[0-9a-f]{16} x86_64\n/, "0123456789abcdef x86_64\n"),
        "latin1",
      ),
  ],
] as const) {
  test(`cache: a file that ${name} is not used`, name.includes("user") ? asRoot : needs, async () => {
    emptyCache();
    assert.equal(await answerTo(13), "Permission denied");
    mark(onlyFile());
    spoil(onlyFile());
    assert.equal(await answerTo(13), "Permission denied");
  });
}

test("cache: a directory that others may write to is not used", needs, async () => {
  emptyCache();
  assert.equal(await answerTo(13), "Permission denied");
  mark(onlyFile());
  chmodSync(CACHE, 0o777);
  assert.equal(await answerTo(13), "Permission denied");
});

test("cache: where there can be none, containers run", needs, async () => {
  emptyCache();
  mkdirSync(join(runDirectory, "tupper-cache"), { recursive: true });
  writeFileSync(CACHE, "a file");
  assert.equal(await answerTo(13), "Permission denied");
  assert.equal(readFileSync(CACHE, "utf8"), "a file");
});

test("cache: is closed to others and holds 64 filters, the newest", needs, async () => {
  emptyCache();
  await answerTo(13);
  const first = onlyFile();
  assert.deepEqual(
    output("stat", "-c", "%a %U", CACHE, first),
    `700 ${userInfo().username}\n600 ${userInfo().username}\n`,
  );
  for (let number = 0; number < 70; number++) writeFileSync(join(CACHE, `1-${number}`), "", { mode: 0o600 });
  await answerTo(14);
  const names = cached();
  assert.equal(names.length, 64);
  assert.ok(!names.includes(first.slice(CACHE.length + 1)));
});
