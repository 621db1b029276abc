/**
 * process.* and the smaller linux.* fields through the OCI runtime: what the processes of a container are told by the
 * kernel, the first one and those of exec. The rootfs is busybox; network devices are moved from a namespace of the test's own.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config, Linux, Process } from "../src/spec/config.ts";
import { defaultConfig } from "../src/spec/default-config.ts";
import { atEnd, binary, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });
const rootfs = sharedRootfs();
const RT_RUNTIME = "/sys/fs/cgroup/cpu/cpu.rt_runtime_us";

interface Result {
  stdout: string;
  stderr: string;
  code: number | null;
}

interface RuntimeOptions {
  prefix?: readonly string[];
  env?: NodeJS.ProcessEnv;
}

/** Runs the OCI runtime to its end. `prefix`: a command that it is handed to. */
function runtime(root: string, args: readonly string[], { prefix = [], env }: RuntimeOptions = {}): Promise<Result> {
  const [file = "", ...rest] = [...prefix, `${binary}-runtime`, "--root", root, ...args];
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
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

type Wanted = Partial<Process> & { linux?: Partial<Linux>; root?: string; mounts?: Config["mounts"] };

function makeBundle({ linux = {}, root = rootfs, mounts, ...process }: Wanted): string {
  const bundle = temporaryDirectory();
  const config: Config = defaultConfig({ cgroup2: false });
  delete config.linux.maskedPaths;
  config.root = { path: root };
  if (mounts !== undefined) config.mounts = mounts;
  config.process = { ...config.process, noNewPrivileges: false, terminal: false, ...process };
  config.linux = { ...config.linux, ...linux };
  const text = JSON.stringify(config, (_, value: unknown) => (typeof value === "bigint" ? `BIG${value}` : value));
  writeFileSync(join(bundle, "config.json"), text.replace(/"BIG(\d+)"/g, "$1"));
  return bundle;
}

let containers = 0;
const newId = () => `process-${process.pid}-${++containers}`;

const run = (wanted: Wanted, args: readonly string[], options: RuntimeOptions = {}): Promise<Result> =>
  runtime(temporaryDirectory(), ["run", "--bundle", makeBundle({ ...wanted, args: [...args] }), newId()], options);

/** What a script prints in a container that starts without a warning. */
async function sees(wanted: Wanted, script: string, options: RuntimeOptions = {}): Promise<string> {
  const { stdout, stderr, code } = await run(wanted, ["sh", "-c", script], options);
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 }, stdout);
  return stdout;
}

interface Container {
  id: string;
  pid(): number;
  exec(args: readonly string[], options?: RuntimeOptions): Promise<Result>;
  /** With a process.json. */
  execs(process: Partial<Process>, script: string): Promise<Result>;
}

async function running(wanted: Wanted, flags: readonly string[] = []): Promise<Container> {
  const [root, id] = [temporaryDirectory(), newId()];
  const bundle = makeBundle({ ...wanted, args: ["sleep", "1000"] });
  // Nobody reads its output: it would keep the pipe open.
  const quiet = ["sh", "-c", '"$@" >/dev/null 2>&1 </dev/null', "quiet"];
  const { code } = await runtime(root, ["run", "--detach", "--bundle", bundle, ...flags, id], { prefix: quiet });
  assert.equal(code, 0);
  atEnd(() => runtime(root, ["delete", "--force", id]));
  return {
    id,
    pid: () => (JSON.parse(output(`${binary}-runtime`, "--root", root, "state", id)) as { pid: number }).pid,
    exec: (args, options) => {
      const at = args.findIndex((arg) => !arg.startsWith("-"));
      return runtime(root, ["exec", ...args.slice(0, at), id, ...args.slice(at)], options);
    },
    execs: (process, script) => {
      const file = join(bundle, "process.json");
      const whole = { user: { uid: 0, gid: 0 }, cwd: "/", env: ["PATH=/bin"], args: ["sh", "-c", script], ...process };
      writeFileSync(file, JSON.stringify(whole));
      return runtime(root, ["exec", "--process", file, id]);
    },
  };
}

const printed = ({ stdout, stderr, code }: Result): string => {
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 }, stdout);
  return stdout;
};

const capabilities = (text: string) =>
  Object.fromEntries(
    [...text.matchAll(/^Cap(\w+):\t(\w+)$/gm)].map(([, set, mask]) => [set, Number.parseInt(mask ?? "", 16)]),
  );
const [KILL, CHOWN, NET_BIND, AUDIT_WRITE] = [1 << 5, 1 << 0, 1 << 10, 1 << 29];

test("run: scheduler and ioPriority are the container's, and the fields of stat say so", needs(), async () => {
  const wanted: Wanted = {
    scheduler: { policy: "SCHED_BATCH", nice: 7 },
    ioPriority: { class: "IOPRIO_CLASS_BE", priority: 6 },
  };
  // proc(5): field 19 is the nice value, 41 the policy.
  assert.equal(await sees(wanted, 'cut -d" " -f19,41 /proc/self/stat; ionice -p $$'), "7 3\nbest-effort: prio 6\n");
  assert.equal(await sees({ scheduler: { policy: "SCHED_IDLE" } }, 'cut -d" " -f41 /proc/self/stat'), "5\n");
});

test(
  "run: SCHED_DEADLINE with its times, not passed on where RESET_ON_FORK says so",
  needs("cap:SYS_NICE"),
  async () => {
    const scheduler: Process["scheduler"] = {
      policy: "SCHED_DEADLINE",
      flags: ["SCHED_FLAG_RESET_ON_FORK"],
      runtime: 42_000,
      deadline: 1_000_000,
      period: 1_000_000,
    };
    const { stdout, code } = await run({ scheduler }, ["cut", "-d", " ", "-f41", "/proc/self/stat"]);
    assert.deepEqual({ stdout, code }, { stdout: "6\n", code: 0 });
    assert.equal(await sees({ scheduler }, 'cut -d" " -f41 /proc/self/stat; true'), "0\n");
  },
);

test("run: a policy that the kernel refuses is an error with its field", needs(), async () => {
  const { stderr, code } = await run({ scheduler: { policy: "SCHED_ISO" } }, ["true"]);
  assert.equal(code, 1);
  assert.match(stderr, /policy SCHED_ISO.*\(SET_SCHEDULER_FAILED\)\n {2}config: process\.scheduler\n/);
});

test("run: a realtime policy in a control group without realtime runtime is refused with that reason", {
  skip: existsSync(RT_RUNTIME) ? needs("cap:SYS_NICE").skip : "missing: cgroup1 with CONFIG_RT_GROUP_SCHED",
}, async () => {
  const { stderr, code } = await run({ scheduler: { policy: "SCHED_FIFO", priority: 1 } }, ["true"]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /kernel: sched_setattr\("SCHED_FIFO"\) = EPERM .*\n {2}hint: {3}.*linux\.resources\.cpu\.realtimeRuntime/,
  );
  assert.doesNotMatch(stderr, /CAP_SYS_NICE/);
});

test("run: rlimits of all kinds, with numbers beyond 2^53 and none", needs(), async () => {
  const rlimits = [
    { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
    { type: "RLIMIT_FSIZE", soft: 2n ** 53n + 1n, hard: 2n ** 64n - 1n },
    { type: "RLIMIT_STACK", soft: 2 ** 23, hard: 2n ** 64n - 1n },
    { type: "RLIMIT_CORE", soft: 0, hard: 0 },
  ];
  const text = await sees({ rlimits }, "cat /proc/self/limits");
  const limit = (name: string) => new RegExp(`^${name} +(\\S+) +(\\S+)`, "m").exec(text)?.slice(1);
  assert.deepEqual(["Max open files", "Max file size", "Max stack size", "Max core file size"].map(limit), [
    ["100", "200"],
    ["9007199254740993", "unlimited"],
    ["8388608", "unlimited"],
    ["0", "0"],
  ]);
});

test("run: the five sets of capabilities are those of the config", needs(), async () => {
  const wanted: Wanted = {
    capabilities: {
      bounding: ["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
      permitted: ["CAP_KILL", "CAP_CHOWN"],
      effective: ["CAP_KILL"],
      inheritable: ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
      ambient: ["CAP_CHOWN"],
    },
    user: { uid: 1000, gid: 1000 },
  };
  assert.deepEqual(capabilities(await sees(wanted, "cat /proc/self/status")), {
    Inh: CHOWN | NET_BIND,
    Prm: CHOWN,
    Eff: CHOWN,
    Bnd: KILL | CHOWN | NET_BIND,
    Amb: CHOWN,
  });
});

test("run: capabilities that cannot be given are warnings, and the others are given", needs(), async () => {
  const sets = {
    bounding: ["CAP_KILL", "CAP_FLY"],
    permitted: ["CAP_KILL"],
    effective: ["CAP_KILL", "CAP_CHOWN"],
    inheritable: ["CAP_KILL", "CAP_SYSLOG"],
    ambient: ["CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"],
  };
  const { stdout, stderr, code } = await run({ capabilities: sets }, ["cat", "/proc/self/status"]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(capabilities(stdout), { Inh: KILL, Prm: KILL, Eff: KILL, Bnd: KILL, Amb: KILL });
  assert.match(stderr, /^warning: .*CAP_FLY/m);
  assert.match(stderr, /^warning: not effective, because they are not permitted: CAP_CHOWN$/m);
  assert.match(stderr, /^warning: not inheritable, because the bounding set lacks them: CAP_SYSLOG$/m);
  // In one line.
  const ambient = "can't raise ambient capabilities CAP_CHOWN, CAP_FOWNER: not both permitted and inheritable";
  assert.ok(stderr.includes(`warning: ${ambient}\n`), stderr);
  assert.doesNotMatch(stderr, /does not have them/);
});

test(
  "run: ambient capabilities without an inheritable one, as podman build asks for them, are none, and nothing is said",
  needs(),
  async () => {
    const sets = { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"], ambient: ["CAP_KILL"] };
    const { stdout, stderr, code } = await run({ capabilities: sets }, ["cat", "/proc/self/status"]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual(capabilities(stdout), { Inh: 0, Prm: KILL, Eff: KILL, Bnd: KILL, Amb: 0 });
    const some = await run(
      { capabilities: { ...sets, bounding: ["CAP_KILL", "CAP_CHOWN"], inheritable: ["CAP_CHOWN"] } },
      ["true"],
    );
    assert.equal(some.stderr, "warning: can't raise ambient capability CAP_KILL: not both permitted and inheritable\n");
  },
);

test("run: of an empty object of capabilities there are none", needs(), async () => {
  const text = await sees({ capabilities: {} }, "cat /proc/self/status");
  assert.deepEqual(capabilities(text), { Inh: 0, Prm: 0, Eff: 0, Bnd: 0, Amb: 0 });
});

test("run: user, groups, umask, HOME, no new privileges, OOM score", needs(), async () => {
  const wanted: Wanted = {
    user: { uid: 1000, gid: 1000, additionalGids: [50, 6], umask: 0o027 },
    noNewPrivileges: true,
    oomScoreAdj: 321,
    cwd: "/made/by/run",
    root: makeRootfs(),
  };
  const script =
    "id; umask; echo $HOME; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj; pwd; stat -c %u .";
  assert.equal(
    await sees(wanted, script),
    "uid=1000(alice) gid=1000(alice) groups=6(disk),50(staff)\n0027\n/home/alice\nNoNewPrivs:\t1\n321\n/made/by/run\n0\n",
  );
  const prefix = ["sh", "-c", 'umask 077; exec "$@"', "sh"];
  assert.equal(await sees({}, "umask", { prefix }), "0022\n");
});

test("run: an ordinary user may open the pipe that is its standard output", needs(), async () => {
  const prefix = ["sh", "-c", '"$@" | cat', "pipe"];
  const script = "echo hi >/dev/stdout; echo ho >/proc/self/fd/1";
  assert.equal(await sees({ user: { uid: 1000, gid: 1000 } }, script, { prefix }), "hi\nho\n");
});

test("run, exec: a standard descriptor on the machine's /dev/null is the container's", asRoot(), async () => {
  const prefix = ["sh", "-c", 'exec "$@" </dev/null 2>/dev/null', "sh"];
  const script = "stat -L -c %d:%i /dev/null /proc/self/fd/0 /proc/self/fd/2 | sort -u | wc -l";
  assert.equal(await sees({}, script, { prefix }), "1\n");
  const { exec } = await running({});
  assert.equal(printed(await exec(["sh", "-c", script], { prefix })), "1\n");
});

test("run: personality LINUX32 is what uname says", needs("arch:x64"), async () => {
  assert.equal(await sees({ linux: { personality: { domain: "LINUX32" } } }, "uname -m"), "i686\n");
  assert.equal(await sees({ linux: { personality: { domain: "LINUX" } } }, "uname -m"), "x86_64\n");
});

test("run: the memory policy is that of the process's pages", needs("file:/proc/self/numa_maps"), async () => {
  const policy = (memoryPolicy: Linux["memoryPolicy"]) =>
    sees(
      { linux: { ...(memoryPolicy === undefined ? {} : { memoryPolicy }) } },
      "head -n1 /proc/self/numa_maps | cut -d' ' -f2",
    );
  assert.equal(await policy(undefined), "default\n");
  assert.equal(await policy({ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] }), "bind=static:0\n");
  assert.equal(await policy({ mode: "MPOL_INTERLEAVE", nodes: "0" }), "interleave:0\n");
  assert.equal(await policy({ mode: "MPOL_LOCAL" }), "local\n");
});

test("run: clocks of a time namespace, forward and back", asRoot("file:/proc/self/ns/time"), async () => {
  const linux: Partial<Linux> = {
    namespaces: [{ type: "mount" }, { type: "pid" }, { type: "uts" }, { type: "time" }],
    timeOffsets: { monotonic: { secs: 7881, nanosecs: 2_718_281 }, boottime: { secs: -2, nanosecs: 500_000_000 } },
  };
  const wanted = { linux };
  const file = "cat /proc/self/timens_offsets";
  const lines = (text: string) =>
    text
      .trim()
      .split("\n")
      .map((line) => line.split(/ +/));
  assert.deepEqual(lines(await sees(wanted, file)), [
    ["monotonic", "7881", "2718281"],
    ["boottime", "-2", "500000000"],
  ]);
  const container = await running(wanted);
  assert.deepEqual(lines(printed(await container.exec(["sh", "-c", file])))[0], ["monotonic", "7881", "2718281"]);
});

test("run: labels of modules that the kernel has not are passed over", needs(), async () => {
  if (readFileSync("/proc/filesystems", "utf8").includes("selinuxfs")) return;
  const labels: Wanted = { apparmorProfile: "no-such-profile", selinuxLabel: "system_u:system_r:container_t:s0" };
  const isLoaded = readdirSync("/sys/module").includes("apparmor");
  if (!isLoaded) assert.equal(await sees(labels, "echo started"), "started\n");
});

test(
  "run: a session keyring of the container's name, which exec joins; --no-new-keyring leaves the caller's",
  needs("file:/proc/keys"),
  async () => {
    const count = async (...flags: string[]) => {
      const id = newId();
      const bundle = makeBundle({ args: ["sh", "-c", "grep -c -w _ses.$0 /proc/keys", id] });
      return (await runtime(temporaryDirectory(), ["run", "--bundle", bundle, ...flags, id])).stdout;
    };
    assert.deepEqual([await count(), await count("--no-new-keyring")], ["1\n", "0\n"]);
    const container = await running({});
    // The kernel takes its time to forget those of containers that are gone.
    const keys = `grep -c -w _ses.${container.id} /proc/keys`;
    assert.equal(printed(await container.exec(["sh", "-c", keys])).trim(), "1");
  },
);

test("run: a new user namespace with maps of several lines; who has no number there is nobody", asRoot(), async () => {
  const root = makeRootfs();
  const mappings = [
    { containerID: 0, hostID: 100_000, size: 1000 },
    { containerID: 1000, hostID: 300_000, size: 5 },
    { containerID: 2000, hostID: 400_000, size: 1 },
  ];
  const linux: Partial<Linux> = {
    namespaces: [...(defaultConfig({ cgroup2: false }).linux.namespaces ?? []), { type: "user" }],
    uidMappings: mappings,
    gidMappings: mappings,
  };
  output("chown", "-R", "-h", "100000:100000", root);
  const wanted: Wanted = { linux, root, user: { uid: 1003, gid: 2000, additionalGids: [1000] }, oomScoreAdj: 9 };
  const script =
    "id -u; id -G; awk '{print $1, $2, $3}' /proc/self/uid_map; cat /proc/self/oom_score_adj; stat -c %u /proc/sys";
  assert.equal(await sees(wanted, script), "1003\n2000 1000\n0 100000 1000\n1000 300000 5\n2000 400000 1\n9\n65534\n");
  const container = await running({ ...wanted, user: { uid: 0, gid: 0 } });
  assert.equal(printed(await container.exec(["sh", "-c", "id -u; cat /proc/self/uid_map | wc -l"])), "0\n3\n");
});

test("run: a user namespace that has no root is set up by the command's user", asRoot(), async () => {
  const root = makeRootfs();
  const mappings = [{ containerID: 1000, hostID: 100_000, size: 1 }];
  const linux: Partial<Linux> = {
    namespaces: [{ type: "mount" }, { type: "pid" }, { type: "ipc" }, { type: "user" }, { type: "uts" }],
    uidMappings: mappings,
    gidMappings: mappings,
  };
  output("chown", "-R", "-h", "100000:100000", root);
  const bundle = makeBundle({
    linux,
    root,
    user: { uid: 1000, gid: 1000 },
    args: ["sh", "-c", "id -u; id -g; stat -c %u /tmp"],
  });
  const config = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")) as Config;
  config.mounts = [{ destination: "/proc", type: "proc", source: "proc" }];
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  assert.equal(
    printed(await runtime(temporaryDirectory(), ["run", "--bundle", bundle, newId()])),
    "1000\n1000\n1000\n",
  );
});

test(
  "run: the user namespace of another container is joined, with namespaces of the machine beside it",
  asRoot("package:util-linux"),
  async () => {
    const root = makeRootfs();
    output("chown", "-R", "-h", "100000:100000", root);
    const mappings = [{ containerID: 0, hostID: 100_000, size: 2000 }];
    const others = (defaultConfig({ cgroup2: false }).linux.namespaces ?? []).filter(({ type }) => type !== "network");
    const first = await running({
      root,
      linux: { namespaces: [...others, { type: "user" }], uidMappings: mappings, gidMappings: mappings },
    });
    const machines = spawn("unshare", ["--net", "sh", "-c", "echo; exec sleep 1000"]);
    atEnd(() => machines.kill());
    await once(machines.stdout, "data");
    const namespaces: Linux["namespaces"] = [
      ...others,
      { type: "user", path: `/proc/${first.pid()}/ns/user` },
      { type: "network", path: `/proc/${machines.pid}/ns/net` },
    ];
    // A sysfs shows a network namespace, and who has none of that kind may not mount one.
    const mounts = (defaultConfig({ cgroup2: false }).mounts ?? []).filter(({ type }) => type !== "sysfs");
    const wanted: Wanted = { root, mounts, linux: { namespaces }, user: { uid: 1000, gid: 1000 } };
    const script = "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; ip -o link | wc -l; readlink /proc/self/ns/net";
    const seen = `1000\n0 100000 2000\n1\n${output("readlink", `/proc/${machines.pid}/ns/net`)}`;
    assert.equal(await sees(wanted, script), seen);
    // exec goes the same way: a network namespace of the machine cannot be joined from inside the user namespace.
    const second = await running(wanted);
    assert.equal(printed(await second.exec(["sh", "-c", script])), seen);
    const { stderr } = await run({ ...wanted, user: { uid: 2000, gid: 0 } }, ["true"]);
    assert.match(stderr, /uid 2000, gid 0: the user namespace has no such id \(SET_USER_FAILED\)$/m);
  },
);

test("run: intelRdt is an error where no resctrl is mounted", needs(), async () => {
  if (readFileSync("/proc/mounts", "utf8").includes(" resctrl ")) return;
  const { stderr, code } = await run({ linux: { intelRdt: { closID: "gold", l3CacheSchema: "L3:0=f" } } }, ["true"]);
  assert.equal(code, 1);
  assert.match(stderr, /^error: .*resctrl.*\(RESCTRL_MISSING\)\n {2}config: linux\.intelRdt$/m);
});

test(
  "run: the caller's processors are not the container's, and not those of exec",
  needs("package:util-linux"),
  async () => {
    const prefix = ["taskset", "-c", "0"];
    const list = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status"];
    const all = printed(await run({}, list));
    assert.equal(printed(await run({}, list, { prefix })), all);
    const container = await running({});
    assert.equal(printed(await container.exec(list, { prefix })), all);
  },
);

test("exec: a process of its own: limits, priorities, score, umask, groups, privileges", needs(), async () => {
  const { execs } = await running({ rlimits: [{ type: "RLIMIT_NOFILE", soft: 500, hard: 500 }], oomScoreAdj: 100 });
  const result = await execs(
    {
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 30, hard: 40 }],
      ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 },
      scheduler: { policy: "SCHED_BATCH" },
      oomScoreAdj: 200,
      noNewPrivileges: true,
      user: { uid: 1000, gid: 1000, additionalGids: [6], umask: 0o077 },
      capabilities: { bounding: ["CAP_AUDIT_WRITE"] },
    },
    'ulimit -n; ionice; cut -d" " -f41 /proc/self/stat; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status; id -G; umask; cat /proc/self/status',
  );
  const [head = ""] = printed(result).split("Name:");
  assert.equal(head, "30\nidle\n3\n200\nNoNewPrivs:\t1\n1000 6\n0077\n");
  assert.deepEqual(capabilities(result.stdout), { Inh: 0, Prm: 0, Eff: 0, Bnd: AUDIT_WRITE, Amb: 0 });
});

test(
  "exec: execCPUAffinity.final is where the command runs, initial where it stays without one",
  needs("file:/sys/devices/system/cpu/cpu1"),
  async () => {
    const { execs } = await running({});
    const cpus = async (execCPUAffinity: Process["execCPUAffinity"]) =>
      printed(await execs({ ...(execCPUAffinity && { execCPUAffinity }) }, "grep Cpus_allowed_list /proc/self/status"))
        .slice(19)
        .trim();
    assert.equal(await cpus({ initial: "0", final: "1" }), "1");
    assert.equal(await cpus({ final: "0-1" }), "0-1");
    const { stderr, code } = await execs({ execCPUAffinity: { final: "4000" } }, "true");
    assert.equal(code, 255, stderr);
  },
);

test("exec: a working directory that is missing is not made", needs(), async () => {
  const { exec } = await running({});
  const { stderr, code } = await exec(["--cwd=/not/there", "true"]);
  assert.equal(code, 255);
  assert.match(stderr, /^error: cannot change to the directory \/not\/there: there is no such file or directory /);
});

test(
  "exec: --cap gives to four sets, and to the ambient one where the config has an inheritable one",
  needs(),
  async () => {
    const wanted: Wanted = {
      capabilities: { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"] },
    };
    const sets = async (container: Container) =>
      capabilities(printed(await container.exec(["--cap=CAP_CHOWN", "cat", "/proc/self/status"])));
    const both = KILL | CHOWN;
    assert.deepEqual(await sets(await running(wanted)), { Inh: 0, Prm: both, Eff: both, Bnd: both, Amb: 0 });
    const inheritable = await running({
      capabilities: { ...wanted.capabilities, bounding: ["CAP_KILL", "CAP_CHOWN"], inheritable: ["CAP_CHOWN"] },
    });
    assert.deepEqual(await sets(inheritable), { Inh: CHOWN, Prm: both, Eff: both, Bnd: both, Amb: CHOWN });
  },
);

test("run and exec: --preserve-fds keeps so many descriptors, the set-up none of its own", needs(), async () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "a"), "first\n");
  writeFileSync(join(directory, "b"), "second\n");
  const prefix = ["sh", "-c", `exec "$@" 3<${directory}/a 4<${directory}/b 5<${directory}/a`, "fds"];
  const script = "cat <&3; cat <&4; ls /proc/self/fd | wc -l";
  const bundle = makeBundle({ args: ["sh", "-c", script] });
  const root = temporaryDirectory();
  const expected = "first\nsecond\n6\n"; // with the one that ls reads
  assert.equal(
    printed(await runtime(root, ["run", "--bundle", bundle, "--preserve-fds", "2", newId()], { prefix })),
    expected,
  );
  const { exec } = await running({});
  assert.equal(printed(await exec(["--preserve-fds=2", "sh", "-c", script], { prefix })), expected);
  const { stderr, code } = await runtime(root, ["run", "--bundle", bundle, "--preserve-fds", "4", newId()], { prefix });
  assert.equal(code, 1);
  assert.match(stderr, /^error: the descriptor 6 .*\(PRESERVED_FD_MISSING\)/);
});

test("run and exec: sockets of socket activation come first, and the command is told of them", needs(), async () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "socket"), "");
  const prefix = ["sh", "-c", `exec "$@" 3<${directory}/socket`, "fds"];
  const env = { LISTEN_FDS: "1", LISTEN_PID: "77" };
  const script = "echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l";
  assert.equal(await sees({}, script, { prefix, env }), "1 1\n5\n");
  assert.equal(await sees({}, script, { env }), "\n4\n", "a variable that was passed on without its sockets");
  const { exec } = await running({});
  assert.equal(printed(await exec(["sh", "-c", script], { prefix, env })), "1 1\n5\n");
});

/** The runtime in a network namespace with a device `moved`; returns what it says and what is there afterwards. */
function withDevice(linux: Partial<Linux>, script: string, before = ""): Promise<Result> {
  const bundle = makeBundle({ linux, args: ["sh", "-c", script] });
  const setUp = `set -e
    ip link add moved type veth peer name stays
    ip link set moved address 00:11:22:33:44:55 mtu 1789 up; ip link set stays up
    ip addr add 10.9.8.7/24 dev moved; ip addr add fd00::7/64 dev moved nodad; ip addr add 169.254.9.9/32 scope link dev moved
    ${before}
    # Whether the other end is up is known a moment later, and an address of the link only when nobody else has it.
    look() { ip addr show dev moved 2>/dev/null | sed -E '/ fe80:/,+1d; s/(NO-CARRIER|LOWER_UP|M-DOWN),?//g; s/,>/>/; s/ state [A-Z]+//'; }
    set +e; before=$(look); "$@"; echo "code $?"
    after=$(look); if [ "$before" = "$after" ]; then echo "as before"; elif [ "$after" ]; then echo "$before" "$after"; fi`;
  const prefix = ["unshare", "--net", "sh", "-c", setUp, "network"];
  return runtime(temporaryDirectory(), ["run", "--bundle", bundle, newId()], { prefix });
}

const ADDRESSES =
  "ip -o addr | grep -v '^[0-9]*: lo' | grep -v fe80 | sed -E 's/^[0-9]*: +([^ @]*)[^ ]* +([^ ]+ [^ ]+).*/\\1 \\2/'";
const LINK =
  "ip -o link | grep ether | sed -E 's/^[0-9]*: ([^@:]*).*[<,]UP[,>].*(mtu [0-9]*).*(ether [0-9a-f:]*).*/\\1 \\2 \\3/'";

test(
  "run: netDevices moves a device, with its lasting addresses, its MTU and MAC, and sets it up",
  asRoot("package:iproute2"),
  async () => {
    const { stdout, stderr } = await withDevice({ netDevices: { moved: {} } }, `${LINK}; ${ADDRESSES}`);
    assert.equal(stderr, "");
    assert.equal(
      stdout,
      "moved mtu 1789 ether 00:11:22:33:44:55\nmoved inet 10.9.8.7/24\nmoved inet6 fd00::7/64\ncode 0\n",
    );
  },
);

test("run: netDevices renames, by a template to a name that is free", asRoot("package:iproute2"), async () => {
  const names = "ip -o link | sed -E 's/^[0-9]*: ([^@:]*).*/\\1/' | sort | tr '\\n' ' '";
  const named = (name: string) => withDevice({ netDevices: { moved: { name } } }, names);
  assert.equal((await named("eth0")).stdout, "eth0 lo code 0\n");
  assert.equal((await named("net%d")).stdout, "lo net0 code 0\n");
});

test("run: a device comes back as it was when the container fails", asRoot("package:iproute2"), async () => {
  const { stdout, stderr } = await withDevice(
    { netDevices: { moved: { name: "eth0" } }, sysctl: { "net.nothing": "1" } },
    "true",
  );
  assert.match(stderr, /net\/nothing/);
  assert.equal(stdout, "code 1\nas before\n");
});

test(
  "run: netDevices does not take a name that is taken, nor a device that is not there",
  asRoot("package:iproute2"),
  async () => {
    const linux: Partial<Linux> = { netDevices: { moved: { name: "lo" } } };
    const taken = await withDevice(linux, "true");
    assert.match(taken.stderr, /\(NET_DEVICE_EXISTS\)/);
    assert.equal(taken.stdout, "code 1\nas before\n");
    const absent = await withDevice({ netDevices: { moved: {}, absent: {} } }, "true");
    assert.match(absent.stderr, /there is no network device absent.*\(NET_DEVICE_MISSING\)/);
    assert.equal(absent.stdout, "code 1\nas before\n");
  },
);

test("run: hostname and domainname are those of the UTS namespace", needs(), async () => {
  const bundle = makeBundle({ args: ["sh", "-c", "hostname; cat /proc/sys/kernel/domainname"] });
  const config = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")) as Config;
  writeFileSync(join(bundle, "config.json"), JSON.stringify({ ...config, hostname: "inside", domainname: "lab" }));
  const before = output("hostname");
  assert.equal(printed(await runtime(temporaryDirectory(), ["run", "--bundle", bundle, newId()])), "inside\nlab\n");
  assert.equal(output("hostname"), before);
});
