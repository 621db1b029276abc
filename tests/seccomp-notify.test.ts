/** SCMP_ACT_NOTIFY: a seccomp agent on the host decides about calls of the container (tests/programs/seccomp_agent.c). */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { LinuxSeccomp } from "../src/spec/seccomp.ts";
import { makeBundle, makeConfig, newId, runtime } from "./bundle.ts";
import { deafSocket } from "./deaf-socket.ts";
import {
  background,
  compiled,
  fails,
  pidOf,
  prints,
  runDirectory,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { agent } from "./seccomp/agent.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "arch:x64", "package:busybox-static", "programs") };
const asRoot = { skip: missing("root") || needs.skip };

const MKDIR = 83;

/** The flags for a profile that asks the agent about these calls and allows the others. */
function notifying(socket: string, names: string[], more: Partial<LinuxSeccomp> = {}): string[] {
  const profile: LinuxSeccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: socket,
    syscalls: [{ names, action: "SCMP_ACT_NOTIFY" }],
    ...more,
  };
  const file = join(temporaryDirectory(), "profile.json");
  writeFileSync(file, JSON.stringify(profile));
  return ["--security-opt", `seccomp=${file}`];
}

test("run: the agent gets the listener with the container's state, and decides", needs, async () => {
  const { socket, ended } = await agent(-17);
  const flags = notifying(socket, ["mkdir"], { listenerMetadata: "for the agent", flags: [] });
  const { stdout, stderr, code } = await tupper(["run", "--name", "asking", ...flags, root, "mkdir", "/tmp/here"]);
  assert.deepEqual({ stdout, code }, { stdout: "", code: 1 });
  assert.equal(stderr, "mkdir: can't create directory '/tmp/here': File exists\n");
  const [state = "", ...calls] = await ended;
  const { pid, ...rest } = JSON.parse(state) as { pid: number; state: { pid: number } };
  assert.ok(pid > 1);
  assert.deepEqual(rest, {
    ociVersion: "1.3.0",
    fds: ["seccompFd"],
    metadata: "for the agent",
    state: {
      ociVersion: "1.3.0",
      id: "asking",
      status: "creating",
      pid,
      bundle: join(runDirectory, "tupper/asking"),
      ...annotations(rest),
    },
  });
  assert.deepEqual(calls, [`call ${MKDIR}`, "end"]);
});

const annotations = ({ state }: { state: object }) =>
  "annotations" in state ? { annotations: state.annotations } : {};

test("run: an agent that lets calls go on changes nothing", needs, async () => {
  const { socket, ended } = await agent("continue");
  const flags = notifying(socket, ["mkdir"]);
  assert.equal(await prints(["run", ...flags, root, "sh", "-c", "mkdir /tmp/x && cd /tmp/x && pwd"]), "/tmp/x\n");
  assert.deepEqual((await ended).slice(1), [`call ${MKDIR}`, "end"]);
});

// After the filter is loaded every call of the set-up may have to wait for the agent; it must have the listener by then.
for (const [name, names] of [
  ["write, as runc refuses", ["write"]],
  ["what messages take", ["sendmsg", "recvmsg", "read", "close", "futex"]],
  ["what a new user takes", ["setresuid", "setresgid", "setgroups", "capset", "prctl", "chdir", "umask", "execve"]],
] as const) {
  test(`run: NOTIFY for ${name}: the start does not stand still`, needs, async () => {
    for (const flags of [[], ["--security-opt", "no-new-privileges"], ["--user", "1000"]]) {
      const { socket, ended } = await agent("continue");
      assert.equal(await prints(["run", ...flags, ...notifying(socket, [...names]), root, "echo", "here"]), "here\n");
      const calls = await ended;
      assert.equal(calls.at(-1), "end");
      assert.ok(calls.length > 2, "the agent was asked");
    }
  });
}

test("run: NOTIFY as the default action", needs, async () => {
  const { socket, ended } = await agent("continue");
  const flags = notifying(socket, [], { defaultAction: "SCMP_ACT_NOTIFY", syscalls: [] });
  assert.equal(await prints(["run", ...flags, root, "echo", "here"]), "here\n");
  assert.ok((await ended).length > 10);
});

test("exec: the command has a listener of its own, with the state of the running container", asRoot, async () => {
  const first = await agent("continue");
  const { name } = await background(root, notifying(first.socket, ["mkdir"]));
  const container = await pidOf(name);
  rmSync(first.socket);
  const second = await agent(-13, first.socket);
  const { stderr, code } = await tupper(["exec", name, "mkdir", "/tmp/here"]);
  assert.deepEqual(
    { stderr, code },
    { stderr: "mkdir: can't create directory '/tmp/here': Permission denied\n", code: 1 },
  );
  const [text = "", ...calls] = await second.ended;
  const { pid, state } = JSON.parse(text) as { pid: number; state: { status: string; pid: number } };
  assert.deepEqual([state.status, state.pid, calls], ["running", container, [`call ${MKDIR}`, "end"]]);
  assert.notEqual(pid, container);
});

test("run: without an agent nothing runs, and the error names the socket", needs, async () => {
  const socket = join(temporaryDirectory(), "nobody");
  const failure = await fails(["run", ...notifying(socket, ["mkdir"]), root, "echo", "here"]);
  assert.deepEqual(failure, {
    message: `failed to connect with seccomp agent at ${socket}`,
    code: "SECCOMP_AGENT_UNREACHABLE",
    details: {
      config: "linux.seccomp.listenerPath",
      kernel: `connect("${socket}") = ENOENT (No such file or directory)`,
      hint: "the agent must listen on this socket (AF_UNIX, SOCK_STREAM) before the container starts",
    },
    exitCode: 125,
  });
});

test(
  "run: an agent that accepts nobody, or does not read all of a long state, keeps nobody waiting",
  needs,
  async () => {
    const config = makeConfig(root);
    const run = async (listenerPath: string) => {
      const syscalls = [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }];
      const seccomp = { defaultAction: "SCMP_ACT_ALLOW", listenerPath, syscalls };
      const linux = { ...config.linux, seccomp };
      const bundle = makeBundle({ ...config, linux, annotations: { long: "x".repeat(1_000_000) } });
      const { stderr } = await runtime(["run", "--bundle", bundle, newId()]);
      return /\((SECCOMP_AGENT_UNREACHABLE)\)\n.* {2}kernel: (\w+)\(.* = (EAGAIN) /s.exec(stderr)?.slice(1) ?? stderr;
    };
    assert.deepEqual(await run(await deafSocket("full")), ["SECCOMP_AGENT_UNREACHABLE", "connect", "EAGAIN"]);
    assert.deepEqual(await run(await deafSocket()), ["SECCOMP_AGENT_UNREACHABLE", "sendto", "EAGAIN"]);
  },
);

test("run: NOTIFY without listenerPath, and with --init, is refused", needs, async () => {
  const file = join(temporaryDirectory(), "profile.json");
  const syscalls = [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }];
  writeFileSync(file, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls }));
  const without = await fails(["run", "--security-opt", `seccomp=${file}`, root, "true"]);
  assert.deepEqual([without.code, without.details.config], ["SECCOMP_LISTENER_MISSING", "linux.seccomp.listenerPath"]);
  const withInit = await fails(["run", "--init", ...notifying("/run/agent", ["mkdir"]), root, "true"]);
  assert.equal(withInit.code, "SECCOMP_LISTENER_WITH_INIT");
});

test("run: a kernel that does not know the flags gets the filter without them, and says so", asRoot, async () => {
  const syscalls = [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO" as const, errnoRet: 17 }];
  const flags = notifying("/nowhere", [], { syscalls, flags: ["SECCOMP_FILTER_FLAG_LOG"] });
  const prefix = [compiled("no_seccomp_flags")];
  const { stderr, code } = await tupper(["run", ...flags, root, "mkdir", "/tmp/here"], { prefix });
  // Two who write at the same time.
  assert.deepEqual(
    { lines: stderr.split("\n").sort(), code },
    {
      lines: [
        "",
        "mkdir: can't create directory '/tmp/here': File exists",
        "warning: this kernel does not know all flags of the seccomp filter: loaded without",
      ],
      code: 1,
    },
  );
});

test("run: a listener path means nothing where no action is NOTIFY", needs, async () => {
  const flags = notifying("/nowhere", [], { syscalls: [], listenerMetadata: "x" });
  assert.equal(await prints(["run", ...flags, root, "echo", "here"]), "here\n");
});
