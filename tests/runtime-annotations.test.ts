/** Annotations that crun acts on (crun(1), `run.oci.*`), through the OCI runtime. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compileSeccomp } from "../src/plan/seccomp/compile.ts";
import type { Config, Hook, Hooks } from "../src/spec/config.ts";
import type { LinuxSeccomp, SeccompAction } from "../src/spec/seccomp.ts";
import {
  type ConfigChange,
  created,
  makeBundle,
  makeConfig,
  newId,
  type RuntimeOptions,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
} from "./bundle.ts";
import { atEnd, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { agent } from "./seccomp/agent.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });

const annotated = (annotations: Record<string, string>, change: ConfigChange = {}): Config => ({
  ...makeConfig(root, change),
  annotations,
});

/* ---- run.oci.hooks.stdout, run.oci.hooks.stderr ---------------------------------------------- */

const KINDS: readonly (keyof Hooks)[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];

const says = (kind: string): Hook => ({
  path: "/bin/sh",
  args: ["sh", "-c", `echo ${kind} out; echo ${kind} err >&2`],
  env: ["PATH=/usr/bin:/bin"],
});

function talking(files: { stdout?: string; stderr?: string }, kinds = KINDS, change: ConfigChange = {}): Config {
  const annotations = Object.fromEntries(Object.entries(files).map(([name, path]) => [`run.oci.hooks.${name}`, path]));
  return { ...annotated(annotations, change), hooks: Object.fromEntries(kinds.map((kind) => [kind, [says(kind)]])) };
}

const lines = (stream: "out" | "err", kinds: readonly string[] = KINDS) =>
  kinds.map((kind) => `${kind} ${stream}\n`).join("");

test("run.oci.hooks.stdout, stderr: all hooks append to the files, made with mode 0700", needs(), async () => {
  const directory = temporaryDirectory();
  const [stdout, stderr] = [join(directory, "out"), join(directory, "err")];
  writeFileSync(stderr, "before\n", { mode: 0o604 });
  const config = talking({ stdout, stderr }, KINDS, { args: ["true"] });
  await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
  assert.equal(readFileSync(stdout, "utf8"), lines("out"));
  assert.equal(readFileSync(stderr, "utf8"), `before\n${lines("err")}`);
  const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8);
  assert.deepEqual([mode(stdout), mode(stderr)], [(0o700 & ~process.umask()).toString(8), "604"]);
});

test("run.oci.hooks.stdout: create, start and delete find the same file, named from the bundle", needs(), async () => {
  const config = talking({ stdout: "logs/out" });
  const [bundle, id] = [makeBundle(config), newId()];
  mkdirSync(join(bundle, "logs"));
  atEnd(() => runtime(["delete", "--force", id]));
  for (const [args, kinds] of [
    [["create", "--bundle", bundle, id], 3],
    [["start", id], 5],
    [["delete", "--force", id], 6],
  ] as const) {
    await runtimePrints(args, { cwd: "/" });
    assert.equal(readFileSync(join(bundle, "logs/out"), "utf8"), lines("out", KINDS.slice(0, kinds)));
  }
});

test("run.oci.hooks.stdout, stderr: one file for both has the order in which it was written", needs(), async () => {
  const file = join(temporaryDirectory(), "log");
  const config = talking({ stdout: file, stderr: file }, KINDS, { args: ["true"] });
  await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
  assert.equal(readFileSync(file, "utf8"), KINDS.map((kind) => `${kind} out\n${kind} err\n`).join(""));
});

test("run.oci.hooks.stdout: the error of a hook that fails has what went nowhere else", needs(), async () => {
  const stdout = join(temporaryDirectory(), "out");
  const config = talking({ stdout }, ["prestart"]);
  config.hooks?.prestart?.[0]?.args?.splice(2, 1, "echo for the file; echo for the error >&2; exit 3");
  assert.equal(
    await runtimeFails(["create", "--bundle", makeBundle(config), newId()]),
    "HOOK_FAILED: error running prestart hook #0: /bin/sh: exit status 3, output: for the error",
  );
  assert.equal(readFileSync(stdout, "utf8"), "for the file\n");
});

test("run.oci.hooks.stdout: without hooks, and where it is empty, nothing is opened", needs(), async () => {
  const [directory, change] = [temporaryDirectory(), { args: ["echo", "ran"] }];
  for (const config of [
    talking({ stdout: join(directory, "none/out") }, [], change),
    talking({ stdout: "" }, KINDS, change),
  ])
    assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "ran\n");
});

test(
  "run.oci.hooks.stderr: a file that cannot be opened is an error of create, and nothing is left",
  needs(),
  async () => {
    const directory = temporaryDirectory();
    const field = 'config: annotations["run.oci.hooks.stderr"]';
    assert.deepEqual(await createFailsWith(join(directory, "none/err")), [
      `error: cannot have hooks write to ${directory}/none/err (HOOK_OUTPUT)`,
      field,
      "kernel: ENOENT",
      `found:  ${directory}/none is not there`,
      "hint:   name a file: it is made if it is missing, its directory is not",
    ]);
    assert.deepEqual(await createFailsWith(directory), [
      `error: cannot have hooks write to ${directory} (HOOK_OUTPUT)`,
      field,
      "kernel: EISDIR",
      "hint:   name a file: it is made if it is missing, its directory is not",
    ]);
    const pipe = join(directory, "pipe");
    output("mkfifo", pipe);
    assert.deepEqual(await createFailsWith(pipe), [
      `error: cannot have hooks write to ${pipe} (HOOK_OUTPUT)`,
      field,
      "kernel: ENXIO",
      "hint:   it is a pipe that nobody reads, or a socket",
    ]);
  },
);

async function createFailsWith(stderr: string): Promise<string[]> {
  const id = newId();
  const said = await runtime(["create", "--bundle", makeBundle(talking({ stderr })), id]);
  assert.equal(said.code, 1);
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
  const lines = said.stderr.trimEnd().split("\n");
  return lines.map((line) => line.trim().replace(/^kernel: .*\) = (\w+) .*/, "kernel: $1"));
}

/** A container with the directory of the file as a volume, and a file of the machine that it must not reach. */
async function withVolume(): Promise<{ id: string; logs: string; victim: string }> {
  const [logs, victim] = [temporaryDirectory(), join(temporaryDirectory(), "victim")];
  chmodSync(logs, 0o777);
  writeFileSync(victim, "of the machine\n");
  const config = talking({ stdout: join(logs, "sub/out") }, ["poststart", "poststop"]);
  mkdirSync(join(logs, "sub"));
  config.mounts?.push({ destination: "/tmp", type: "bind", source: logs, options: ["bind"] });
  return { id: await created(config), logs, victim };
}

test("run.oci.hooks.stdout: a container cannot lead poststop to another file by a symbolic link", needs(), async () => {
  for (const plant of [
    ({ logs, victim }: Plant) => {
      rmSync(join(logs, "sub/out"));
      symlinkSync(victim, join(logs, "sub/out"));
    },
    ({ logs, victim }: Plant) => {
      renameSync(join(logs, "sub"), join(logs, "away"));
      symlinkSync(join(victim, ".."), join(logs, "sub"));
      symlinkSync(victim, join(victim, "../out"));
    },
  ]) {
    const { id, logs, victim } = await withVolume();
    await runtimePrints(["start", id]);
    assert.equal(readFileSync(join(logs, "sub/out"), "utf8"), "poststart out\n");
    plant({ logs, victim });
    const { stderr, code } = await runtime(["delete", "--force", id]);
    assert.deepEqual([stderr, code], [`warning: cannot have hooks write to ${logs}/sub/out\n`, 0]);
    assert.equal(readFileSync(victim, "utf8"), "of the machine\n");
  }
});

interface Plant {
  logs: string;
  victim: string;
}

test("run.oci.hooks.stdout: a pipe that a container puts there holds delete up for no moment", needs(), async () => {
  const { id, logs } = await withVolume();
  await runtimePrints(["start", id]);
  await runtimePrints(["exec", id, "sh", "-c", "rm /tmp/sub/out && mkfifo /tmp/sub/out"]);
  const { stderr, code } = await runtime(["delete", "--force", id]);
  assert.deepEqual([stderr, code], [`warning: cannot have hooks write to ${logs}/sub/out\n`, 0]);
});

test(
  "run.oci.hooks.stdout: start with a poststart hook is an error where the file is a link now",
  needs(),
  async () => {
    const { id, logs, victim } = await withVolume();
    rmSync(join(logs, "sub/out"));
    symlinkSync(victim, join(logs, "sub/out"));
    assert.equal(await runtimeFails(["start", id]), `HOOK_OUTPUT: cannot have hooks write to ${logs}/sub/out`);
    assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
    assert.equal(readFileSync(victim, "utf8"), "of the machine\n");
  },
);

test("run.oci.hooks.stdout: a file that was moved away, as log rotation does, is made anew", needs(), async () => {
  const { id, logs } = await withVolume();
  await runtimePrints(["start", id]);
  renameSync(join(logs, "sub/out"), join(logs, "sub/out.1"));
  await runtimePrints(["delete", "--force", id]);
  assert.equal(readFileSync(join(logs, "sub/out"), "utf8"), "poststop out\n");
});

/* ---- run.oci.seccomp.receiver, run.oci.seccomp_bpf_data -------------------------------------- */

const ofSeccomp = { skip: missing("arch:x64", "programs") || needs().skip };
const MKDIR = 83;

/** A profile in which the calls have an action, and the same as the program that crun is given. */
const profile = (action: SeccompAction, names = ["mkdir"]): LinuxSeccomp => ({
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names, action }],
});
const inBase64 = (section: LinuxSeccomp) =>
  Buffer.from(compileSeccomp(section, { nativeArch: "SCMP_ARCH_X86_64" }).program).toString("base64");

function filtered(annotations: Record<string, string>, args: string[], seccomp?: LinuxSeccomp): Config {
  const config = annotated(annotations, { args });
  return { ...config, linux: { ...config.linux, ...(seccomp === undefined ? {} : { seccomp }) } };
}

const REFUSED = (why: string) => `mkdir: can't create directory '/tmp/here': ${why}\n`;
const makesDirectory = ["mkdir", "/tmp/here"];
const inTmp = (config: Config): Config => {
  config.mounts?.push({ destination: "/tmp", type: "tmpfs" });
  return config;
};

test("run.oci.seccomp.receiver: is the agent where the profile names none", ofSeccomp, async () => {
  for (const how of ["alone", "beside listenerPath"]) {
    const { socket, ended } = await agent(-17);
    const annotations = { "run.oci.seccomp.receiver": how === "alone" ? socket : "/nowhere/agent" };
    const section = { ...profile("SCMP_ACT_NOTIFY"), ...(how === "alone" ? {} : { listenerPath: socket }) };
    const id = newId();
    const bundle = makeBundle(inTmp(filtered(annotations, makesDirectory, section)));
    const { stderr, code } = await runtime(["run", "--bundle", bundle, id]);
    assert.deepEqual([stderr, code], [REFUSED("File exists"), 1], how);
    const [text = "", ...calls] = await ended;
    const { pid, state, ...rest } = JSON.parse(text) as { pid: number; state: { pid: number; status: string } };
    assert.deepEqual({ ...rest, calls }, { ociVersion: "1.2.0", fds: ["seccompFd"], calls: [`call ${MKDIR}`, "end"] });
    assert.deepEqual(state, { ociVersion: "1.2.0", id, status: "creating", pid, bundle, annotations });
  }
});

test("run.oci.seccomp.receiver: exec asks the agent too", ofSeccomp, async () => {
  const first = await agent("continue");
  const annotations = { "run.oci.seccomp.receiver": first.socket };
  const id = await running(inTmp(filtered(annotations, ["sleep", "600"], profile("SCMP_ACT_NOTIFY"))));
  rmSync(first.socket);
  const second = await agent(-13, first.socket);
  const { stderr, code } = await runtime(["exec", id, ...makesDirectory]);
  assert.deepEqual([stderr, code], [REFUSED("Permission denied"), 1]);
  assert.deepEqual((await second.ended).slice(1), [`call ${MKDIR}`, "end"]);
});

test(
  "run.oci.seccomp.receiver: without an agent, or an absolute path, the error names the annotation",
  ofSeccomp,
  async () => {
    const field = 'config: annotations["run.oci.seccomp.receiver"]';
    for (const [path, message] of [
      ["/nowhere/agent", "failed to connect with seccomp agent at /nowhere/agent (SECCOMP_AGENT_UNREACHABLE)"],
      ["agent", `annotations["run.oci.seccomp.receiver"] is "agent": it must be an absolute path (CONFIG_INVALID)`],
    ] as const)
      assert.deepEqual(
        await saysOf(filtered({ "run.oci.seccomp.receiver": path }, ["true"], profile("SCMP_ACT_NOTIFY"))),
        [`error: ${message}`, field],
      );
  },
);

test("RUN_OCI_SECCOMP_RECEIVER: is the agent where the config names none, of exec too", ofSeccomp, async () => {
  const from = (RUN_OCI_SECCOMP_RECEIVER: string) => ({ env: { RUN_OCI_SECCOMP_RECEIVER } });
  for (const annotations of [undefined, { "run.oci.seccomp_bpf_data": inBase64(profile("SCMP_ACT_NOTIFY")) }]) {
    const first = await agent("continue");
    const id = newId();
    const section = annotations === undefined ? profile("SCMP_ACT_NOTIFY") : undefined;
    const config = inTmp(filtered(annotations ?? {}, ["sleep", "600"], section));
    if (annotations === undefined) delete config.annotations;
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["run", "--detach", "--bundle", makeBundle(config), id], from(first.socket));
    const second = await agent(-13);
    const { stderr, code } = await runtime(["exec", id, ...makesDirectory], from(second.socket));
    assert.deepEqual([stderr, code], [REFUSED("Permission denied"), 1]);
    assert.deepEqual((await second.ended).slice(1), [`call ${MKDIR}`, "end"]);
    // What is none of a filter's business hears nothing of it.
    assert.equal(await runtimePrints(["kill", id, "KILL"], from("agent")), "");
    assert.equal(await runtimePrints(["delete", "--force", id], from("agent")), "");
  }
});

test("RUN_OCI_SECCOMP_RECEIVER: gives way to the config; what is wrong with it names it", ofSeccomp, async () => {
  const env = (RUN_OCI_SECCOMP_RECEIVER: string) => ({ env: { RUN_OCI_SECCOMP_RECEIVER } });
  for (const how of ["annotation", "listenerPath"]) {
    const { socket, ended } = await agent(-17);
    const named = how === "annotation" ? { "run.oci.seccomp.receiver": socket } : {};
    const section = { ...profile("SCMP_ACT_NOTIFY"), ...(how === "annotation" ? {} : { listenerPath: socket }) };
    const bundle = makeBundle(inTmp(filtered(named, makesDirectory, section)));
    const { stderr, code } = await runtime(["run", "--bundle", bundle, newId()], env("/nowhere/agent"));
    assert.deepEqual([stderr, code], [REFUSED("File exists"), 1], how);
    assert.deepEqual((await ended).slice(1), [`call ${MKDIR}`, "end"]);
  }
  for (const [path, message] of [
    ["/nowhere/agent", "failed to connect with seccomp agent at /nowhere/agent (SECCOMP_AGENT_UNREACHABLE)"],
    ["agent", 'RUN_OCI_SECCOMP_RECEIVER is "agent": it must be an absolute path (CONFIG_INVALID)'],
  ] as const)
    assert.deepEqual(await saysOf(filtered({}, ["true"], profile("SCMP_ACT_NOTIFY")), env(path)), [
      `error: ${message}`,
      "config: RUN_OCI_SECCOMP_RECEIVER",
    ]);
  const bundle = makeBundle(filtered({}, ["echo", "ran"], profile("SCMP_ACT_ERRNO")));
  assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()], env("/nowhere/agent")), "ran\n");
});

/** The error of a run that fails, and its field. */
async function saysOf(config: Config, options: RuntimeOptions = {}): Promise<string[]> {
  const { stderr, code } = await runtime(["run", "--bundle", makeBundle(config), newId()], options);
  assert.equal(code, 1);
  return stderr.split("\n", 2).map((line) => line.trim());
}

test(
  "run.oci.seccomp_bpf_data: is the filter, in place of linux.seccomp or without it; of exec too",
  ofSeccomp,
  async () => {
    const annotations = { "run.oci.seccomp_bpf_data": inBase64(profile("SCMP_ACT_ERRNO")) };
    for (const section of [undefined, profile("SCMP_ACT_ERRNO", ["getpriority", "chdir", "execve"])]) {
      const id = await running(inTmp(filtered(annotations, ["sleep", "600"], section)));
      const { stderr, code } = await runtime(["exec", id, ...makesDirectory]);
      assert.deepEqual([stderr, code], [REFUSED("Operation not permitted"), 1]);
      const status = await runtimePrints(["exec", id, "grep", "Seccomp_filters", "/proc/1/status"]);
      assert.equal(status, "Seccomp_filters:\t1\n");
    }
  },
);

test("run.oci.seccomp_bpf_data: with a receiver the program may ask", ofSeccomp, async () => {
  const { socket, ended } = await agent(-17);
  const annotations = {
    "run.oci.seccomp_bpf_data": inBase64(profile("SCMP_ACT_NOTIFY")),
    "run.oci.seccomp.receiver": socket,
  };
  const bundle = makeBundle(inTmp(filtered(annotations, makesDirectory)));
  const { stderr, code } = await runtime(["run", "--bundle", bundle, newId()]);
  assert.deepEqual([stderr, code], [REFUSED("File exists"), 1]);
  assert.deepEqual((await ended).slice(1), [`call ${MKDIR}`, "end"]);
});

test("run.oci.seccomp_bpf_data: what is no program is refused, and nothing runs", ofSeccomp, async () => {
  const must = "it must be base64 of a BPF program: 1 to 4096 instructions of 8 bytes (CONFIG_INVALID)";
  const field = 'annotations["run.oci.seccomp_bpf_data"]';
  const zeros = (length: number) => Buffer.alloc(length).toString("base64");
  for (const data of ["not base64!", "AAA", "A===", zeros(7), zeros(12), zeros(8 * 4097)]) {
    const shown = data.length > 64 ? `${data.slice(0, 64)}…` : data;
    assert.deepEqual(
      await saysOf(filtered({ "run.oci.seccomp_bpf_data": data }, ["true"])),
      [`error: ${field} is "${shown}": ${must}`, `config: ${field}`],
      data,
    );
  }
  for (const program of [zeros(8), Buffer.alloc(16, 0xff).toString("base64")]) {
    const { stderr } = await runtime([
      "run",
      "--bundle",
      makeBundle(filtered({ "run.oci.seccomp_bpf_data": program }, ["echo", "ran"])),
      newId(),
    ]);
    assert.match(stderr, /\n {2}config: annotations\["run\.oci\.seccomp_bpf_data"\]\n/);
    assert.match(stderr, /the kernel takes it for no filter/);
  }
});

test("run.oci.seccomp_bpf_data: a program that no compiler of ours writes is no riddle", ofSeccomp, async () => {
  const LD_LEN = [0x80, 0, 0, 0, 0, 0, 0, 0];
  const program = Buffer.from(inBase64(profile("SCMP_ACT_ERRNO", ["execve"])), "base64");
  const data = Buffer.concat([Buffer.from(LD_LEN), program]).toString("base64");
  const [error] = await saysOf(filtered({ "run.oci.seccomp_bpf_data": data }, ["echo", "ran"]));
  const why = "the kernel says EPERM, and the container's own seccomp profile does not let tupper look why";
  assert.equal(error, `error: cannot execute /bin/echo: ${why} (COMMAND_FAILED)`);
});

test(
  "run.oci.seccomp_bpf_data: what it kills for and refuses is said of it, not of linux.seccomp",
  ofSeccomp,
  async () => {
    const place = 'the program of annotations["run.oci.seccomp_bpf_data"]';
    const section = profile("SCMP_ACT_KILL_PROCESS", ["chdir"]);
    for (const action of ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] as const) {
      const annotations = { "run.oci.seccomp_bpf_data": inBase64(profile(action)) };
      const bundle = makeBundle(inTmp(filtered(annotations, makesDirectory, section)));
      const { stderr, code } = await runtime(["run", "--bundle", bundle, newId()]);
      assert.equal(code, 128 + 31);
      assert.match(stderr, /was killed by SIGSYS: .*\bmkdir\b.*; allow it in /);
      assert.doesNotMatch(stderr, /chdir|linux\.seccomp/);
      assert.ok(stderr.includes(`; allow it in ${place} if it is wanted`), stderr);
    }
    for (const [action, names] of [
      ["SCMP_ACT_ERRNO", ["execve"]],
      ["SCMP_ACT_KILL_PROCESS", ["sendmsg", "write"]],
    ] as const) {
      const annotations = { "run.oci.seccomp_bpf_data": inBase64(profile(action, [...names])) };
      const { stderr } = await runtime(["run", "--bundle", makeBundle(filtered(annotations, ["true"])), newId()]);
      assert.ok(stderr.split("\n").includes(`  hint:   allow ${names[0]} in ${place}`), stderr);
    }
  },
);

/* ---- run.oci.handler, run.oci.seccomp.plugins ------------------------------------------------ */

test("run.oci.handler: a handler that is not here is an error, and no ordinary process", needs(), async () => {
  for (const handler of ["krun", "wasm", "nobody's"])
    assert.deepEqual(await saysOf(annotated({ "run.oci.handler": handler }, { args: ["echo", "ran"] })), [
      `error: handler not found: ${handler} (ANNOTATION_UNKNOWN)`,
      'config: annotations["run.oci.handler"]',
    ]);
});

test(
  "run.oci.handler: of a sandbox, the smart one and an empty one leave an ordinary command alone",
  needs(),
  async () => {
    for (const annotations of [
      { "run.oci.handler": "krun", "io.kubernetes.cri.container-type": "sandbox" },
      { "run.oci.handler": "wasm-smart" },
      { "run.oci.handler": "", "run.oci.seccomp.plugins": "" },
    ]) {
      const bundle = makeBundle(annotated(annotations, { args: ["echo", "ran"] }));
      assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()]), "ran\n");
    }
  },
);

test("run.oci.seccomp.plugins: is an error", needs(), async () => {
  assert.deepEqual(await saysOf(annotated({ "run.oci.seccomp.plugins": "/usr/lib/one.so" }, { args: ["true"] })), [
    "error: seccomp plugins cannot be loaded into this program: /usr/lib/one.so (ANNOTATION_UNKNOWN)",
    'config: annotations["run.oci.seccomp.plugins"]',
  ]);
});
