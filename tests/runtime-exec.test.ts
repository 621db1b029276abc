/** `tupper-runtime exec`: what its flags do, as the process in the container sees it, and what comes back to the caller. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Process } from "../src/spec/config.ts";
import {
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  startRuntime,
  stateOf,
  untilStatus,
} from "./bundle.ts";
import { atEnd, eventually, isRoot, prints, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });

/** What a script prints in the container. */
const sees = (id: string, script: string, ...flags: string[]): Promise<string> =>
  runtimePrints(["exec", ...flags, id, "sh", "-c", script]);

/** What a process prints that a file tells of. */
async function seesAs(id: string, process: Partial<Process>): Promise<string> {
  const file = join(temporaryDirectory(), "process.json");
  writeFileSync(file, JSON.stringify({ user: { uid: 0, gid: 0 }, cwd: "/", env: ["PATH=/bin"], ...process }));
  return runtimePrints(["exec", "--process", file, id]);
}

const NAMESPACES = ["mnt", "net", "pid", "uts", "ipc", "user", "cgroup"];
const capabilities = (text: string, set: string): bigint =>
  BigInt(`0x${new RegExp(`^Cap${set}:\t(\\w+)$`, "m").exec(text)?.[1]}`);
const STATUS = "cat /proc/self/status";
const [CHOWN, NET_ADMIN] = [1n << 0n, 1n << 12n];

/* ---- the process and its surroundings --------------------------------------------------------- */

test("exec: is in all namespaces of the container, in its root, in its control groups", asRoot(), async () => {
  const id = await running(makeConfig(root, { resources: { pids: { limit: 50 } } }));
  const { pid } = await stateOf(id);
  const links = NAMESPACES.map((type) => `readlink /proc/self/ns/${type}`).join("; ");
  assert.equal(
    await sees(id, links),
    NAMESPACES.map((type) => `${readlinkSync(`/proc/${pid}/ns/${type}`)}\n`).join(""),
  );
  assert.equal(await sees(id, "cat /CONTAINER_ROOT_DIR; hostname; pwd"), "inside\nbox\n/\n");
  assert.equal(await sees(id, "cat /proc/self/cgroup"), await sees(id, "cat /proc/1/cgroup"));
  assert.match(await sees(id, "cat /proc/1/cmdline | tr '\\0' ' '"), /^sleep 600 $/);
});

test("exec: has no descriptor but stdio, and passes stdin, stdout and stderr through", needs(), async () => {
  const id = await running(makeConfig(root));
  assert.equal(await sees(id, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 "); // 3 is the directory
  const input = "x".repeat(200_000);
  assert.equal(await runtimePrints(["exec", id, "cat"], { input }), input);
  const result = await runtime(["exec", id, "sh", "-c", "echo out; echo err >&2; exit 5"]);
  assert.deepEqual(result, { stdout: "out\n", stderr: "err\n", code: 5 });
});

test(
  "exec: its exit code is the command's, 128 + n for a signal, 255 for a failure of the runtime's own",
  needs(),
  async () => {
    const id = await running(makeConfig(root));
    const code = async (...args: string[]) => (await runtime(["exec", id, ...args])).code;
    assert.equal(await code("true"), 0);
    assert.equal(await code("false"), 1);
    assert.equal(await code("sh", "-c", "exit 254"), 254);
    assert.equal(await code("sh", "-c", "kill -9 $$"), 137);
    assert.equal(await code("sh", "-c", "kill -TERM $$"), 143);
    assert.match(await runtimeFails(["exec", id, "no-such-command"]), /no-such-command/);
    assert.match(await runtimeFails(["exec", id, "/no/such/command"]), /\/no\/such\/command/);
    assert.match(await runtimeFails(["exec", id, "/etc/passwd"]), /\/etc\/passwd/);
    assert.match(await runtimeFails(["exec", id, "/etc"]), /\/etc/);
    assert.match(await runtimeFails(["exec", newId(), "true"]), /does not exist/);
    assert.match(await runtimeFails(["exec", id]), /command/);
    assert.equal((await stateOf(id)).status, "running");
  },
);

test("exec: into a created container too, not into a stopped one", needs(), async () => {
  const id = await created(makeConfig(root));
  assert.equal(await sees(id, "cat /CONTAINER_ROOT_DIR; hostname"), "inside\nbox\n");
  assert.equal((await stateOf(id)).status, "created");
  await runtimePrints(["start", id]);
  await runtimePrints(["kill", id, "KILL"]);
  await untilStatus(id, "stopped");
  assert.match(await runtimeFails(["exec", id, "true"]), /not running|stopped/);
});

test(
  "exec: into a paused container is refused; with --ignore-paused it runs when the container does",
  asRoot("cgroup:freezer"),
  async () => {
    const id = await running(makeConfig(root));
    await runtimePrints(["pause", id]);
    atEnd(() => runtime(["resume", id]));
    assert.match(await runtimeFails(["exec", id, "true"]), /paused/);
    const waiting = startRuntime(["exec", "--ignore-paused", id, "echo", "went on"]);
    await new Promise((done) => setTimeout(done, 300));
    assert.equal(waiting.stdout(), "");
    await runtimePrints(["resume", id]);
    assert.deepEqual(await waiting.ended, { stdout: "went on\n", stderr: "", code: 0 });
  },
);

test("exec: many at once", needs(), async () => {
  const id = await running(makeConfig(root));
  const numbers = Array.from({ length: 8 }, (_, i) => String(i));
  assert.deepEqual(
    await Promise.all(numbers.map((n) => runtimePrints(["exec", id, "echo", n]))),
    numbers.map((n) => `${n}\n`),
  );
});

test("exec: signals to the foreground runtime are the process's", needs(), async () => {
  const id = await running(makeConfig(root));
  const foreground = startRuntime([
    "exec",
    id,
    "sh",
    "-c",
    "trap 'echo got TERM; exit 9' TERM; echo ready; sleep 600 & wait",
  ]);
  await eventually("it listens", () => foreground.stdout() === "ready\n");
  foreground.kill("SIGTERM");
  assert.deepEqual(await foreground.ended, { stdout: "ready\ngot TERM\n", stderr: "", code: 9 });
  assert.equal((await stateOf(id)).status, "running");
});

test("exec: ends with 137 when the container does", needs(), async () => {
  const id = await running(makeConfig(root));
  const endless = startRuntime(["exec", id, "sh", "-c", "echo ready; exec sleep 600"]);
  await eventually("it runs", () => endless.stdout() === "ready\n");
  await runtimePrints(["kill", id, "KILL"]);
  assert.deepEqual(await endless.ended, { stdout: "ready\n", stderr: "", code: 137 });
});

/* ---- flags ------------------------------------------------------------------------------------ */

test("exec --cwd, --env: in place of and beside what the container's process has", needs(), async () => {
  const process = { cwd: "/usr", env: ["PATH=/bin", "OWN=container", "KEPT=yes"] };
  const id = await running(makeConfig(root, { process }));
  assert.equal(await sees(id, "pwd"), "/usr\n");
  assert.equal(await sees(id, "pwd", "--cwd", "/tmp"), "/tmp\n");
  assert.equal(
    await sees(id, "echo $OWN $KEPT $NEW; env | grep -c ^OWN=", "--env", "OWN=exec", "-e", "NEW=a b"),
    "exec yes a b\n1\n",
  );
  assert.match(await runtimeFails(["exec", "--cwd", "/no/such", id, "true"]), /\/no\/such/);
  assert.match(await runtimeFails(["exec", "--cwd", "tmp", id, "true"]), /^BAD_PATH: .*--cwd/);
});

test("exec --user: a number, number:group, a name; HOME is theirs", needs(), async () => {
  const id = await running(makeConfig(root));
  const who = "id -u; id -g; echo $HOME";
  assert.equal(await sees(id, who), "0\n0\n/root\n");
  assert.equal(await sees(id, who, "--user", "1000"), "1000\n0\n/home/alice\n");
  assert.equal(await sees(id, who, "--user", "1000:50"), "1000\n50\n/home/alice\n");
  assert.equal(await sees(id, who, "-u", "alice"), "1000\n1000\n/home/alice\n");
  assert.equal(await sees(id, who, "--user=4711:4712"), "4711\n4712\n/\n");
  assert.match(await runtimeFails(["exec", "--user", "carol", id, "true"]), /carol/);
  assert.equal((await runtime(["exec", "--user", "-5", id, "true"])).code, 255);
});

test(
  "exec, run: the id 4294967295, which is -1 to the kernel, and greater ones are refused: they were root",
  needs(),
  async () => {
    const NONE = 4_294_967_295;
    const id = await running(makeConfig(root));
    const file = join(temporaryDirectory(), "process.json");
    for (const user of [
      { uid: NONE, gid: 1 },
      { uid: 1, gid: NONE },
      { uid: 1, gid: 1, additionalGids: [NONE] },
      { uid: NONE + 1, gid: 1 },
    ]) {
      const refusal =
        /^CONFIG_INVALID: process\.user\.\w+(\[0\])? is 429496729[56]: it must be a whole number from 0 to 4294967294$/;
      const bundle = makeBundle(makeConfig(root, { args: ["id"], process: { user } }));
      assert.match(await runtimeFails(["run", "--bundle", bundle, newId()]), refusal);
      writeFileSync(file, JSON.stringify({ user, cwd: "/", args: ["id"], env: ["PATH=/bin"] }));
      assert.match(await runtimeFails(["exec", "--process", file, id]), refusal);
    }
    for (const user of [`${NONE}`, `${NONE + 1}`, `1:${NONE}`, `1:${NONE + 1}`])
      assert.match(
        await runtimeFails(["exec", "--user", user, id, "id"]),
        /^BAD_NUMBER: --user "\d+" is not a whole number /,
      );
  },
);

test(
  "exec: HOME of the config stays, PATH finds the command, also where the environment has none",
  needs(),
  async () => {
    const withHome = await running(makeConfig(root, { process: { env: ["HOME=/elsewhere", "PATH=/bin"] } }));
    assert.equal(await sees(withHome, "echo $HOME"), "/elsewhere\n");
    const bare = await running(makeConfig(root, { process: { env: [] }, args: ["/bin/sleep", "600"] }));
    assert.match(await runtimePrints(["exec", bare, "env"]), /^HOME=\/root$/m);
  },
);

test("exec --additional-gids: beside those of the user", needs(), async () => {
  const id = await running(makeConfig(root));
  assert.equal(await sees(id, "id -G", "--user", "1000:1000", "--additional-gids", "50", "-g", "6"), "1000 6 50\n");
  assert.equal((await runtime(["exec", "--additional-gids", "x", id, "true"])).code, 255);
});

test(
  "run and exec: the annotation run.oci.keep_original_groups leaves the caller's supplementary groups",
  asRoot(),
  async () => {
    const config = makeConfig(root, {
      args: ["sh", "-c", "grep Groups /proc/self/status; exec sleep 600"],
      process: { user: { uid: 1000, gid: 1000, additionalGids: [50] } },
      annotations: { "run.oci.keep_original_groups": "1" },
    });
    const prefix = ["setpriv", "--groups", "6,7"];
    const id = newId();
    const output = join(temporaryDirectory(), "output");
    const whole = ["sh", "-c", `exec "$@" >${output}`, "sh", ...prefix];
    await runtimePrints(["run", "--detach", "--bundle", makeBundle(config), id], { prefix: whole });
    atEnd(() => runtime(["delete", "--force", id]));
    const groups = "Groups:\t6 7 \n";
    await eventually("the groups are told", () => readFileSync(output, "utf8") === groups);
    assert.equal(await runtimePrints(["exec", id, "grep", "Groups", "/proc/self/status"], { prefix }), groups);
    // In a user namespace they are there too, without numbers: 65534 is what has none.
    const mapped = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const namespaces = [...(config.linux.namespaces ?? []), { type: "user" as const }];
    const inside = { ...config, linux: { ...config.linux, namespaces, uidMappings: mapped, gidMappings: mapped } };
    inside.process = { ...config.process, args: ["grep", "Groups", "/proc/self/status"] };
    const bundle = makeBundle(inside);
    assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()], { prefix }), "Groups:\t65534 65534 \n");
  },
);

test("run: as many supplementary groups as a process can have; one more is told as that", asRoot(), async () => {
  const bundleWith = (count: number) =>
    makeBundle(
      makeConfig(root, {
        args: ["sh", "-c", "grep Groups /proc/self/status | wc -w"],
        process: { user: { uid: 0, gid: 0, additionalGids: Array.from({ length: count }, (_, i) => i + 1) } },
      }),
    );
  assert.equal(await runtimePrints(["run", "--bundle", bundleWith(65_536), newId()]), "65537\n");
  assert.match(
    await runtimeFails(["run", "--bundle", bundleWith(65_537), newId()]),
    /^SET_USER_FAILED: .*a process has 65536 supplementary groups at most/,
  );
});

test("exec --cap: more capabilities than the container's process has, with and without CAP_", needs(), async () => {
  const sets = {
    bounding: ["CAP_CHOWN"],
    permitted: ["CAP_CHOWN"],
    effective: ["CAP_CHOWN"],
    inheritable: ["CAP_CHOWN"],
  };
  const id = await running(makeConfig(root, { process: { capabilities: sets } }));
  assert.equal(capabilities(await sees(id, STATUS), "Eff"), CHOWN);
  const more = await sees(id, STATUS, "--cap", "CAP_NET_ADMIN");
  for (const set of ["Bnd", "Prm", "Eff"]) assert.equal(capabilities(more, set), CHOWN | NET_ADMIN, set);
  assert.equal(capabilities(await sees(id, STATUS, "-c", "CAP_CHOWN"), "Eff"), CHOWN);
});

test("exec --cap: what is no capability is a warning, as under runc", needs(), async () => {
  const id = await running(makeConfig(root, { process: { capabilities: {} } }));
  const { stdout, stderr, code } = await runtime([
    "exec",
    "--cap",
    "CAP_NOPE",
    "--cap",
    "ALL",
    "--cap",
    "CHOWN",
    id,
    "cat",
    "/proc/self/status",
  ]);
  assert.equal(
    stderr,
    "warning: --cap CAP_NOPE is no capability: it is left out\nwarning: --cap ALL is no capability: it is left out\n",
  );
  assert.deepEqual([code, capabilities(stdout, "Eff")], [0, CHOWN]);
});

test(
  "run, exec: inheritable capabilities without a bounding set are a warning, as with an empty one",
  needs(),
  async () => {
    const sets = { permitted: ["CAP_CHOWN"], effective: ["CAP_CHOWN"], inheritable: ["CAP_CHOWN"] };
    const id = await running(makeConfig(root));
    for (const wanted of [sets, { ...sets, bounding: [] }]) {
      const args = ["cat", "/proc/self/status"];
      const bundle = makeBundle(makeConfig(root, { args, process: { capabilities: wanted } }));
      const file = join(temporaryDirectory(), "process.json");
      writeFileSync(file, JSON.stringify({ cwd: "/", env: ["PATH=/bin"], args, capabilities: wanted }));
      for (const command of [
        ["run", "--bundle", bundle, newId()],
        ["exec", "--process", file, id],
      ]) {
        const { stdout, stderr, code } = await runtime(command);
        assert.deepEqual(
          [code, stderr],
          [0, "warning: not inheritable, because the bounding set lacks them: CAP_CHOWN\n"],
        );
        for (const set of ["Inh", "Prm", "Eff", "Bnd"]) assert.equal(capabilities(stdout, set), 0n, set);
      }
    }
  },
);

test("exec --no-new-privs", needs(), async () => {
  const id = await running(makeConfig(root));
  assert.equal(await sees(id, "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t0\n");
  assert.equal(await sees(id, "grep NoNewPrivs /proc/self/status", "--no-new-privs"), "NoNewPrivs:\t1\n");
});

test("exec: has the container's rlimits, seccomp, no new privileges, score", needs(), async () => {
  const process = { rlimits: [{ type: "RLIMIT_NOFILE", soft: 77, hard: 99 }], noNewPrivileges: true, oomScoreAdj: 123 };
  const seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
  } as const;
  const id = await running(makeConfig(root, { process, linux: { seccomp: structuredClone(seccomp) as never } }));
  const script =
    "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; grep -E 'NoNewPrivs|^Seccomp:' /proc/self/status; mkdir /tmp/x 2>&1";
  const { stdout } = await runtime(["exec", id, "sh", "-c", script]);
  assert.equal(
    stdout,
    "77\n99\n123\nNoNewPrivs:\t1\nSeccomp:\t2\nmkdir: can't create directory '/tmp/x': No space left on device\n",
  );
});

test("exec --process: the whole process from a file, relative to the caller's directory", needs(), async () => {
  const id = await running(makeConfig(root));
  const script = 'id -u; pwd; echo "$X"; ulimit -n; cat /proc/self/status';
  const text = await seesAs(id, {
    args: ["sh", "-c", script],
    cwd: "/usr",
    env: ["PATH=/bin", "X=1 2"],
    user: { uid: 1000, gid: 1000 },
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 20, hard: 30 }],
    noNewPrivileges: true,
  });
  assert.ok(text.startsWith("1000\n/usr\n1 2\n20\n"), text);
  assert.match(text, /^NoNewPrivs:\t1$/m);
  const cwd = temporaryDirectory();
  writeFileSync(
    join(cwd, "p.json"),
    JSON.stringify({ args: ["/bin/echo", "relative"], cwd: "/", user: { uid: 0, gid: 0 } }),
  );
  assert.equal(await runtimePrints(["exec", "--process", "p.json", id], { cwd }), "relative\n");
  assert.equal(await runtimePrints(["exec", "-p", "./p.json", id], { cwd }), "relative\n");
  writeFileSync(join(cwd, "broken.json"), "{");
  assert.match(await runtimeFails(["exec", "--process", "broken.json", id], { cwd }), /broken\.json|JSON/);
  assert.match(await runtimeFails(["exec", "--process", "none.json", id], { cwd }), /none\.json/);
  writeFileSync(join(cwd, "no-args.json"), JSON.stringify({ cwd: "/" }));
  assert.match(await runtimeFails(["exec", "--process", "no-args.json", id], { cwd }), /args/);
});

test("exec --process: what the file leaves out is the container's, capabilities first of all", needs(), async () => {
  const sets = { bounding: ["CAP_CHOWN"], effective: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"] };
  const process: Partial<Process> = {
    user: { uid: 0, gid: 0, umask: 0o027 },
    capabilities: sets,
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 20, hard: 30 }],
    oomScoreAdj: 321,
    ioPriority: { class: "IOPRIO_CLASS_BE", priority: 6 },
    noNewPrivileges: true,
  };
  const id = await running(makeConfig(root, { process }));
  const args = ["sh", "-c", "umask; ulimit -n; cat /proc/self/oom_score_adj; ionice -p $$; cat /proc/self/status"];
  const text = await seesAs(id, { args });
  assert.ok(text.startsWith("0027\n20\n321\nbest-effort: prio 6\n"), text);
  const of = (status: string) => ["Inh", "Prm", "Eff", "Bnd", "Amb"].map((set) => capabilities(status, set));
  assert.deepEqual(of(text), [0n, CHOWN, CHOWN, CHOWN, 0n]);
  // As under runc and crun, which take what is not there for false.
  assert.match(text, /^NoNewPrivs:\t0$/m);
  const own = await seesAs(id, { args, capabilities: {}, oomScoreAdj: 400, user: { uid: 0, gid: 0, umask: 0 } });
  assert.ok(own.startsWith("0000\n20\n400\n"), own);
  assert.deepEqual(of(own), [0n, 0n, 0n, 0n, 0n]);
  assert.equal(await seesAs(id, { args: ["sh", "-c", "ulimit -n"], rlimits: [] }), "20\n");
});

test("exec: a score that the caller may not set is the caller's", needs("package:util-linux"), async () => {
  const args = ["sh", "-c", "cat /proc/self/oom_score_adj"];
  const file = join(temporaryDirectory(), "process.json");
  writeFileSync(file, JSON.stringify({ user: {}, cwd: "/", env: ["PATH=/bin"], args, oomScoreAdj: -900 }));
  const mapped = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  const plain = makeConfig(root);
  const namespaces = [...(plain.linux.namespaces ?? []), { type: "user" as const }];
  const inside = { ...plain, linux: { ...plain.linux, namespaces, uidMappings: mapped, gidMappings: mapped } };
  // To lower it takes CAP_SYS_RESOURCE, on many a machine even of root.
  const prefix = ["choom", "--adjust", "50", "--", ...(isRoot ? ["setpriv", "--bounding-set=-sys_resource"] : [])];
  for (const config of isRoot ? [plain, inside] : [plain]) {
    const id = await running(config);
    assert.equal(await runtimePrints(["exec", "--process", file, id], { prefix }), "50\n");
  }
});

test("exec --detach: returns at once, --pid-file has the number as the caller sees it", needs(), async () => {
  const id = await running(makeConfig(root));
  const cwd = temporaryDirectory();
  assert.equal(await runtimePrints(["exec", "--detach", "--pid-file", "p", id, "sleep", "588"], { cwd }), "");
  const pid = readFileSync(join(cwd, "p"), "utf8");
  assert.match(pid, /^\d+$/);
  assert.deepEqual(readdirSync(cwd), ["p"]);
  assert.equal(readFileSync(`/proc/${pid}/cmdline`, "utf8"), "sleep\x00588\0");
  assert.equal(readlinkSync(`/proc/${pid}/ns/pid`), readlinkSync(`/proc/${(await stateOf(id)).pid}/ns/pid`));
  assert.ok((JSON.parse(await runtimePrints(["ps", "-f", "json", id])) as number[]).includes(Number(pid)));
  assert.match(await runtimeFails(["exec", "--detach", id, "no-such-command"]), /no-such-command/);
});

test("exec: a pid file that cannot be written is an error, and the process does not stay", needs(), async () => {
  const id = await running(makeConfig(root));
  assert.match(
    await runtimeFails(["exec", "-d", "--pid-file", "/nowhere/p", id, "sleep", "587"]),
    /^PID_FILE: .*\/nowhere\/p/,
  );
  await eventually(
    "it is gone",
    async () => (JSON.parse(await runtimePrints(["ps", "-f", "json", id])) as number[]).length === 1,
  );
});

test("exec --preserve-fds: so many from 3 up, and no more", needs(), async () => {
  const id = await running(makeConfig(root));
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "three"), "three\n");
  writeFileSync(join(directory, "four"), "four\n");
  const prefix = [
    "bash",
    "-c",
    `exec 3<${directory}/three 4<${directory}/four 5</dev/null; exec -a tupper-runtime "$@"`,
    "bash",
  ];
  assert.equal(
    await prints(
      ["exec", "--preserve-fds", "2", id, "sh", "-c", "cat <&3; cat <&4; [ -e /proc/self/fd/5 ] || echo no 5"],
      { prefix },
    ),
    "three\nfour\nno 5\n",
  );
  assert.equal(await prints(["exec", id, "sh", "-c", "[ -e /proc/self/fd/3 ] || echo no 3"], { prefix }), "no 3\n");
});

test(
  "exec --cgroup: a group below the container's, of one controller or of all",
  asRoot("cgroup1", "cgroup:pids"),
  async () => {
    const group = `/exec-${newId()}`;
    const id = await running(makeConfig(root, { linux: { cgroupsPath: group }, resources: { pids: { limit: 50 } } }));
    mkdirSync(join("/sys/fs/cgroup/pids", group, "sub"));
    const own = "grep -E ':(pids|memory):' /proc/self/cgroup | cut -d: -f2,3 | sort";
    assert.equal(await sees(id, own, "--cgroup", "pids:sub"), "memory:/\npids:/sub\n");
    assert.match(await runtimeFails(["exec", "--cgroup", "pids:none", id, "true"]), /none/);
    assert.equal((await runtime(["exec", "--cgroup", "pids:../..", id, "true"])).code, 255);
    await runtimePrints(["delete", "--force", id]);
    assert.equal(existsSync(join("/sys/fs/cgroup/pids", group)), false);
  },
);

test("exec --tty --detach: without a console socket is an error that names the flag", needs(), async () => {
  const id = await running(makeConfig(root));
  assert.match(await runtimeFails(["exec", "-t", "-d", id, "true"]), /use --console-socket/);
});

test("exec: flags of labels and profiles are accepted where the kernel has no such module", needs(), async () => {
  if (
    existsSync("/sys/module/apparmor/parameters/enabled") ||
    readFileSync("/proc/filesystems", "utf8").includes("selinuxfs")
  )
    return;
  const id = await running(makeConfig(root));
  assert.equal(
    await sees(id, "echo ran", "--process-label", "system_u:system_r:container_t:s0", "--apparmor", "docker-default"),
    "ran\n",
  );
});
