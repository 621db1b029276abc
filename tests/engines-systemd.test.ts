/**
 * Docker, Podman and containerd as they are by default today: on cgroup v2, with systemd (Podman's user: the user's own) as
 * their manager of control groups. Each container is a scope; what counts is what its properties and its group's files say.
 *
 * In the gate each scenario is played with tupper alone, else also with the engine's own runtime, runc or crun, which is
 * held to the same expectation: Go's programs take long in an emulated machine.
 *
 * Needs: systemd, root
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type EngineApi, engineApi } from "./engine-api.ts";
import { binary, eventually, output, slowness } from "./harness.ts";
import { missing } from "./missing.ts";
import { fillRootfs } from "./rootfs.ts";

const packages = ["docker.io", "containerd", "podman", "runc", "crun", "busybox-static"];
const skip = missing("root", "unified", "file:/run/systemd/system", ...packages.map((name) => `package:${name}`));
const isGate = process.env.TUPPER_GATE === "1";
const MIB = 1_048_576;
/** The ordinary user of the place, with subordinate ids and a manager of its own. */
const USER = { uid: 1000, gid: 1000, directory: "/run/user/1000" };

type RuntimeName = "tupper" | "runc" | "crun";
const runtimePath = (runtime: RuntimeName): string =>
  runtime === "tupper" ? join(directory, "tupper-runtime") : output("sh", "-c", `command -v ${runtime}`).trim();

interface Engine {
  name: string;
  /** What the names of its scopes begin with. */
  prefix: "docker" | "libpod";
  isUsers: boolean;
  own: RuntimeName;
  units: readonly string[];
  /** Starts it if it does not run yet. */
  api(runtime: RuntimeName): Promise<EngineApi>;
  systemctl(...args: string[]): string;
}

let directory = "";

/** What a command prints, of root or of that user. */
function prints(isUsers: boolean, file: string, ...args: string[]): string {
  const own = isUsers ? { uid: USER.uid, gid: USER.gid } : {};
  const env = { ...process.env, ...(isUsers ? { XDG_RUNTIME_DIR: USER.directory } : {}) };
  const { stdout, stderr, status } = spawnSync(file, args, {
    ...own,
    env,
    encoding: "utf8",
    timeout: 60_000 * slowness,
  });
  assert.equal(status, 0, `${file} ${args.join(" ")}: ${stderr}`);
  return stdout.trimEnd();
}

const systemctl =
  (isUsers: boolean) =>
  (...args: string[]): string =>
    prints(isUsers, "systemctl", ...(isUsers ? ["--user"] : []), ...args);

/** `begin` is done once for each key; the image `box` is in the one store that they share. */
function startedOnce(socketOf: (key: string) => string, begin: (key: string) => void) {
  const known = new Map<string, Promise<EngineApi>>();
  let hasImage = false;
  return (key: string): Promise<EngineApi> => {
    const start = async () => {
      begin(key);
      await eventually(`${socketOf(key)} is there`, () => existsSync(socketOf(key)), 20_000);
      const api = engineApi(() => socketOf(key));
      if (!hasImage) await api.importImage("box", readFileSync(join(directory, "rootfs.tar")));
      hasImage = true;
      return api;
    };
    const api = known.get(key) ?? start();
    known.set(key, api);
    return api;
  };
}

function docker(): Engine {
  const begun = startedOnce(
    () => "/run/docker.sock",
    () => {
      const runtimes = { tupper: { path: runtimePath("tupper") } };
      mkdirSync("/etc/docker", { recursive: true });
      writeFileSync("/etc/docker/daemon.json", JSON.stringify({ runtimes }));
      systemctl(false)("start", "docker.service");
    },
  );
  return {
    name: "Docker",
    prefix: "docker",
    isUsers: false,
    own: "runc",
    units: ["docker.socket", "docker.service", "containerd.service"],
    api: () => begun(""),
    systemctl: systemctl(false),
  };
}

/** A service for each runtime: its API knows no other than that it was started with. */
function podman(isUsers: boolean): Engine {
  const run = isUsers ? USER.directory : "/run";
  const begun = startedOnce(
    (runtime) => `${run}/podman-${runtime}.sock`,
    (runtime) => {
      const command = ["podman", `--runtime=${runtimePath(runtime as RuntimeName)}`, "system", "service", "--time=0"];
      const unit = ["--quiet", "--collect", `--unit=podman-${runtime}`, ...(isUsers ? ["--user"] : [])];
      prints(isUsers, "systemd-run", ...unit, ...command, `unix://${run}/podman-${runtime}.sock`);
    },
  );
  return {
    name: isUsers ? "Podman of a user" : "Podman",
    prefix: "libpod",
    isUsers,
    own: "crun",
    units: ["podman-crun.service", "podman-tupper.service"],
    api: begun,
    systemctl: systemctl(isUsers),
  };
}

const DOCKER = docker();
const PODMAN = podman(false);
const PODMAN_OF_USER = podman(true);
const ENGINES = [PODMAN, PODMAN_OF_USER, DOCKER];

before(() => {
  if (skip !== false) return;
  directory = mkdtempSync(join(tmpdir(), "tupper-engines-"));
  output("chmod", "755", directory);
  output("cp", binary, join(directory, "tupper-runtime"));
  const rootfs = join(directory, "rootfs");
  mkdirSync(rootfs);
  output("tar", "--create", "--directory", fillRootfs(rootfs), "--file", join(directory, "rootfs.tar"), ".");
});

after(() => {
  if (skip !== false) return;
  for (const engine of ENGINES)
    for (const unit of engine.units)
      if (shown(engine, unit, "LoadState").LoadState === "loaded") engine.systemctl("stop", unit);
  rmSync("/etc/docker/daemon.json", { force: true });
  rmSync(directory, { recursive: true, force: true });
});

/** Plays the scenario with tupper, and beyond the gate with the engine's own runtime too. */
function played<T>(
  engine: Pick<Engine, "name" | "own">,
  name: string,
  scenario: (runtime: RuntimeName) => Promise<T>,
  expected: (runtime: RuntimeName) => T,
): void {
  test(`${engine.name}: ${name}`, { skip }, async () => {
    for (const runtime of isGate ? (["tupper"] as const) : ([engine.own, "tupper"] as const))
      assert.deepEqual(await scenario(runtime), expected(runtime), runtime);
  });
}

/** Of a container without a network. */
const configOf = (engine: Engine, runtime: RuntimeName, command: readonly string[], own: object) => ({
  Image: "box",
  Cmd: command,
  HostConfig: { NetworkMode: "none", ...(engine === DOCKER ? { Runtime: runtime } : {}), ...own },
});

/** What systemd says of a unit, by property. */
function shown(engine: Pick<Engine, "systemctl">, unit: string, ...names: string[]): Record<string, string> {
  const lines = engine.systemctl("show", unit, `--property=${names.join(",")}`).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
}

/** The container's scope: of each limit the property and the file. */
function limitsOf(engine: Engine, id: string): Record<string, unknown> {
  const names = "Slice ControlGroup MemoryMax MemorySwapMax MemoryLow TasksMax CPUQuotaPerSecUSec".split(" ");
  const scope = shown(engine, `${engine.prefix}-${id}.scope`, ...names);
  const reads = (file: string) => readFileSync(join("/sys/fs/cgroup", scope.ControlGroup ?? "", file), "utf8").trim();
  return {
    slice: scope.Slice,
    memory: [scope.MemoryMax, reads("memory.max")],
    swap: [scope.MemorySwapMax, reads("memory.swap.max")],
    low: [scope.MemoryLow, reads("memory.low")],
    pids: [scope.TasksMax, reads("pids.max")],
    cpu: [scope.CPUQuotaPerSecUSec, reads("cpu.max")],
  };
}

const twice = (value: number): [string, string] => [String(value), String(value)];
/** `MemorySwap` is memory and swap; the property and the file are swap alone, for crun's systemd the sum. */
const swapOf = (runtime: RuntimeName, memory: number, swap: number) => twice(runtime === "crun" ? memory + swap : swap);

const LIMITS = {
  Memory: 64 * MIB,
  MemorySwap: 96 * MIB,
  MemoryReservation: 32 * MIB,
  PidsLimit: 50,
  CpuPeriod: 100_000,
  CpuQuota: 50_000,
};
const limited = (runtime: RuntimeName, slice: string) => ({
  slice,
  memory: twice(64 * MIB),
  swap: swapOf(runtime, 64 * MIB, 32 * MIB),
  low: twice(32 * MIB),
  pids: twice(50),
  cpu: ["500ms", "50000 100000"],
});
const UPDATE = { Memory: 48 * MIB, MemorySwap: 64 * MIB, PidsLimit: 40, CpuPeriod: 100_000, CpuQuota: 25_000 };
const updatedTo = (runtime: RuntimeName, slice: string) => ({
  slice,
  memory: twice(48 * MIB),
  swap: swapOf(runtime, 48 * MIB, 16 * MIB),
  low: twice(32 * MIB),
  pids: twice(40),
  cpu: ["250ms", "25000 100000"],
});

for (const { engine, slice, parent } of [
  { engine: PODMAN, slice: "machine.slice", parent: {} },
  { engine: PODMAN_OF_USER, slice: "user.slice", parent: {} },
  { engine: DOCKER, slice: "tupper-test.slice", parent: { CgroupParent: "tupper-test.slice" } },
]) {
  const devices = engine.isUsers
    ? {}
    : {
        Devices: [{ PathOnHost: "/dev/vda", PathInContainer: "/dev/given", CgroupPermissions: "r" }],
        CapAdd: ["MKNOD"],
      };
  const openDevices = `exec 2>&1; head -c 1 /dev/given | wc -c; (echo x >/dev/given)
    mknod /root/other b 254 1; head -c 1 /root/other; rm /root/other; head -c 1 /dev/zero | wc -c`;
  const opened = engine.isUsers
    ? ""
    : "1\nsh: can't create /dev/given: Operation not permitted\nhead: /root/other: Operation not permitted\n1\n";
  played(
    engine,
    "run, exec, a terminal, update, daemon-reload, pause, restart, stop: what the scope's limits and devices are",
    async (runtime) => {
      const api = await engine.api(runtime);
      const command = ["sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait"];
      const id = await api.create(configOf(engine, runtime, command, { ...LIMITS, ...devices, ...parent }));
      const opensDevices = async () => (engine.isUsers ? "" : (await api.exec(id, openDevices)).stdout);
      await api.does(id, "start");
      const started = limitsOf(engine, id);
      const executed = await api.exec(id, "cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max; echo err >&2; exit 4");
      const inTerminal = await api.execInTerminal(id, "tty; test -t 0 && echo yes");
      await api.does(id, "update", UPDATE);
      engine.systemctl("daemon-reload");
      const updated = { limits: limitsOf(engine, id), devices: await opensDevices() };
      await api.does(id, "pause");
      const { Status: paused } = (await api.inspect(id)).State;
      await api.does(id, "unpause");
      await api.does(id, "restart?t=0");
      const restarted = { limits: limitsOf(engine, id), devices: await opensDevices() };
      await api.does(id, "stop?t=60");
      const { Status: stopped, ExitCode: code } = (await api.inspect(id)).State;
      await api.remove(id);
      return { started, executed, inTerminal, updated, paused, restarted, stopped, code };
    },
    (runtime) => ({
      started: limited(runtime, slice),
      executed: { stdout: `0::/\n${64 * MIB}\n`, stderr: "err\n", code: 4 },
      inTerminal: "/dev/pts/0\r\nyes\r\n",
      updated: { limits: updatedTo(runtime, slice), devices: opened },
      paused: "paused",
      restarted: { limits: updatedTo(runtime, slice), devices: opened },
      stopped: "exited",
      code: 7,
    }),
  );
}

// Docker hears of it in time or not, whatever the runtime: containerd's shim watches a group that systemd takes away.
played(
  PODMAN,
  "what is killed for its memory is told as that",
  async (runtime) => {
    const api = await PODMAN.api(runtime);
    const hog = ["tail", "-c", "200000000", "/dev/zero"];
    const id = await api.create(configOf(PODMAN, runtime, hog, { Memory: 16 * MIB, MemorySwap: 16 * MIB }));
    const { code } = await api.outputOf(id);
    const { OOMKilled: isTold } = (await api.inspect(id)).State;
    await api.remove(id);
    return { code, isTold };
  },
  () => ({ code: 137, isTold: true }),
);

played(
  DOCKER,
  "the machine's own tree of groups, where the container is below system.slice",
  async (runtime) => {
    const api = await DOCKER.api(runtime);
    const id = await api.create(configOf(DOCKER, runtime, ["cat", "/proc/self/cgroup"], { CgroupnsMode: "host" }));
    const { stdout, stderr, code } = await api.outputOf(id);
    await api.remove(id);
    return { group: stdout.replace(id, "ID"), stderr, code };
  },
  () => ({ group: "0::/system.slice/docker-ID.scope\n", stderr: "", code: 0 }),
);

const ctr = (...args: string[]): string => prints(false, "ctr", ...args);

played(
  { name: "containerd", own: "runc" },
  "ctr run --runc-systemd-cgroup, exec, metrics, kill",
  async (runtime) => {
    // Docker's, else of nobody; the suite's end stops both.
    systemctl(false)("start", "containerd.service");
    const id = `ctr-${runtime}`;
    const flags = [
      `--runc-binary=${runtimePath(runtime)}`,
      "--runc-systemd-cgroup",
      `--cgroup=system.slice:played:${id}`,
    ];
    const own = ["--detach", "--read-only", "--memory-limit=67108864", "--env=PATH=/bin"];
    ctr("run", ...flags, ...own, "--rootfs", join(directory, "rootfs"), id, "sleep", "1000");
    const unit = `played-${id}.scope`;
    const started = shown(DOCKER, unit, "ControlGroup", "MemoryMax", "ActiveState");
    const group = ctr("task", "exec", "--exec-id=e", id, "cat", "/proc/self/cgroup");
    const limit = /memory\.usage_limit +(\d+)/.exec(ctr("task", "metrics", id))?.[1];
    ctr("task", "kill", "--signal=KILL", id);
    const isOver = () => ctr("task", "list").includes("STOPPED");
    await eventually("it has ended", isOver, 10_000);
    ctr("task", "delete", id);
    ctr("container", "delete", id);
    const { ActiveState: left } = shown(DOCKER, unit, "ActiveState");
    return { started, group, limit, left };
  },
  (runtime) => ({
    started: {
      ControlGroup: `/system.slice/played-ctr-${runtime}.scope`,
      MemoryMax: "67108864",
      ActiveState: "active",
    },
    group: `0::/system.slice/played-ctr-${runtime}.scope`,
    limit: "67108864",
    left: "inactive",
  }),
);

test("nothing is left of the containers above: scopes, control groups, records", { skip }, async () => {
  // An exec of Podman's API leaves its conmon for five minutes.
  const isOfEngines = (line: string) => /(docker|libpod)-(?!conmon-)[0-9a-f]{64}/.test(line);
  const left = () =>
    [
      ...ENGINES.flatMap((engine) => engine.systemctl("list-units", "--all", "--plain", "--no-legend").split("\n")),
      ...output("find", "/sys/fs/cgroup", "-type", "d").split("\n"),
    ]
      .filter(isOfEngines)
      .concat(
        ENGINES.flatMap((engine) => engine.systemctl("list-units", "--failed", "--plain", "--no-legend").split("\n")),
        output("find", "/run", "-name", "state.json").split("\n"),
      )
      .filter((line) => line !== "");
  await eventually("nothing is left", () => left().length === 0).catch(() => assert.deepEqual(left(), []));
});
