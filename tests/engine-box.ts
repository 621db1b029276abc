/**
 * A machine of its own for an engine's daemons: mount, PID, network, IPC, UTS and control group namespaces, with its own
 * /run, and overlays on /etc and /var/lib.
 *
 * Killing its first process ends every daemon, shim and container in it, and with them their mounts, network namespaces
 * and devices. What outlives it are the control groups, one named `tupper-box-…` in each hierarchy, and a directory:
 * both are removed at the end of the suite, and then the machine is compared with what it was before. To keep what the
 * daemons said, name a directory in ENGINE_LOGS.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before } from "node:test";
import { eventually, type Result } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { fillRootfs } from "./rootfs.ts";

export interface Box {
  /** A directory that is the same inside and outside; HOME and TMPDIR of what runs in the box. */
  directory: string;
  /** A root filesystem of busybox in it. */
  rootfs: string;
  /** Runs a command in the box to its end. */
  run(command: readonly string[], options?: RunOptions): Promise<Result>;
  /** What is left of containers in the box: records of runtimes, control groups, root filesystems. */
  leftovers(): Promise<string[]>;
  /** Starts a command in the box that the end of the box ends, and waits until `isReady`; what it printed is told when that never comes. */
  daemon(command: readonly string[], isReady: () => Promise<boolean>): Promise<void>;
}

export interface RunOptions {
  input?: string;
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
}

/** One mounted hierarchy, and the box's own group in it. */
interface Hierarchy {
  mountpoint: string;
  type: "cgroup" | "cgroup2";
  options: string;
  group: string;
}

/** The first process of the box. The hierarchies come as arguments: type, options, mount point. */
const FIRST_PROCESS = `set -eu
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /run
for tree in etc var/lib; do
  mkdir -p /run/box/$tree /run/box/work/$tree
  mount -t overlay -o lowerdir=/$tree,upperdir=/run/box/$tree,workdir=/run/box/work/$tree overlay /$tree
done
mkdir -p /run/lock
mount -t sysfs sysfs /sys
[ $# = 3 ] || mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while [ $# -gt 0 ]; do
  mkdir -p "$3"
  mount -t "$1" -o "$2" "$1" "$3"
  shift 3
done
echo ready
# The shell reaps what shims leave behind while it waits.
sleep infinity & wait`;

/** Puts itself into the groups named before `--`, then executes the rest. A single thread may write to tasks, which does not wait for RCU. */
const JOIN_GROUPS = `while [ "$1" != -- ]; do
  if [ -e "$1/tasks" ]; then echo 0 >"$1/tasks"; else echo 0 >"$1/cgroup.procs"; fi
  shift
done
shift
exec "$@"`;

/** runc and tupper call their records alike; engines name groups by ids of 64 digits, containerd by its namespace. Podman leaves those of pods. */
const LEFTOVERS = `find /run -name state.json
find /sys/fs/cgroup -mindepth 2 -type d | grep -E '/(docker/|libpod-)[0-9a-f]{64}|/default/'
grep -E ' /[^ ]*/(merged|rootfs) ' /proc/mounts`;

const NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"];

/** A suite may have several boxes: the machine is looked at before the first is made and after the last has ended. */
let openBoxes = 0;
let machine = new Set<string>();

/** Once per suite: made before its tests, ended after them. `prepare` starts what the tests talk to. */
export function engineBox(skip: string | false, prepare: () => Promise<void>): Box {
  let hierarchies: Hierarchy[] = [];
  let first: ChildProcess | undefined;
  let pid = 0;
  const spawnInGroups = (command: readonly string[], options: Parameters<typeof spawn>[2]) => {
    const groups = hierarchies.map(({ group }) => group);
    return spawn("sh", ["-c", JOIN_GROUPS, "sh", ...groups, "--", ...command], { ...options });
  };
  const enter = (command: readonly string[]) => ["nsenter", "--target", String(pid), ...NAMESPACES, "--", ...command];
  const environment = () => ({ ...process.env, HOME: box.directory, TMPDIR: box.directory });
  const box: Box = {
    directory: "",
    rootfs: "",
    run: (command, { input = "", timeoutMs = 60_000, env = {} } = {}) => {
      const child = spawnInGroups(enter(command), { env: { ...environment(), ...env }, stdio: "pipe" });
      return endOf(child, command, input, timeoutMs);
    },
    leftovers: async () => {
      const { stdout } = await box.run(["sh", "-c", LEFTOVERS]);
      return stdout.split("\n").filter((line) => line !== "");
    },
    daemon: async (command, isReady) => {
      const log = join(box.directory, `${basename(command[0] ?? "")}.log`);
      const file = openSync(log, "w");
      spawnInGroups(enter(command), { env: environment(), stdio: ["ignore", file, file] }).unref();
      closeSync(file);
      await eventually(`${command.join(" ")} answers`, isReady, 20_000).catch((error) =>
        assert.fail(`${error}\n${readFileSync(log, "utf8")}`),
      );
    },
  };
  const make = async () => {
    box.directory = mkdtempSync(join(tmpdir(), "tupper-box-"));
    chmodSync(box.directory, 0o755);
    box.rootfs = join(box.directory, "rootfs");
    mkdirSync(box.rootfs);
    fillRootfs(box.rootfs, { "mnt/": "" });
    hierarchies = mountedHierarchies(basename(box.directory));
    hierarchies.forEach(makeGroup);
    const flags = ["--fork", "--kill-child", "--mount-proc", "--propagation", "private"];
    const mounts = hierarchies.flatMap(({ type, options, mountpoint }) => [type, options, mountpoint]);
    const child = spawnInGroups(["unshare", ...NAMESPACES, ...flags, "sh", "-c", FIRST_PROCESS, "sh", ...mounts], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    first = child;
    await new Promise((done, failed) => {
      child.stdout?.once("data", done);
      child.once("exit", () => failed(new Error("the box could not be made")));
    });
    // What goes wrong later must not keep the test runner waiting for it.
    child.stdout?.destroy();
    child.unref();
    pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"));
  };
  const end = async () => {
    const { ENGINE_LOGS: logs } = process.env;
    if (logs !== undefined)
      for (const log of readdirSync(box.directory).filter((name) => name.endsWith(".log")))
        copyFileSync(join(box.directory, log), join(logs, log));
    first?.kill("SIGKILL");
    await eventually("the groups of the box can be removed", () =>
      hierarchies.every(({ group }) => removeGroup(group)),
    );
    rmSync(box.directory, { recursive: true, force: true });
  };
  before(async () => {
    if (skip !== false) return;
    if (openBoxes++ === 0) machine = snapshot();
    try {
      await make();
      await prepare();
    } catch (error) {
      openBoxes--;
      await end(); // `after` is not called when `before` has failed
      throw error;
    }
  });
  after(async () => {
    if (skip !== false) return;
    await end();
    if (--openBoxes > 0) return;
    const left = () => [...snapshot()].filter((thing) => !machine.has(thing));
    await eventually("nothing is left", () => left().length === 0).catch(() => assert.deepEqual(left(), []));
  });
  return box;
}

function mountedHierarchies(groupName: string): Hierarchy[] {
  const hierarchies = new Map<string, Hierarchy>(); // by device: one may be mounted twice
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [mount = "", filesystem = ""] = line.split(" - ");
    const [, , device = "", , mountpoint = ""] = mount.split(" ");
    const [type, , options = ""] = filesystem.split(" ");
    if ((type !== "cgroup" && type !== "cgroup2") || !mountpoint.startsWith("/sys/fs/cgroup")) continue;
    const words = options.split(",").filter((word) => !/^(rw|ro|release_agent=.*)$/.test(word));
    const group = join(mountpoint, groupName);
    hierarchies.set(device, { mountpoint, type, options: type === "cgroup" ? words.join(",") : "rw", group });
  }
  return [...hierarchies.values()];
}

function makeGroup({ mountpoint, type, group }: Hierarchy): void {
  mkdirSync(group);
  if (type === "cgroup" && existsSync(join(group, "cpuset.cpus"))) inheritCpuset(mountpoint, group);
}

/** A v1 cpuset is empty at first, and takes no process then. */
function inheritCpuset(parent: string, group: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) writeFileSync(join(group, file), readFileSync(join(parent, file)));
}

/** Whether it is gone. */
function removeGroup(group: string): boolean {
  if (!existsSync(group)) return true;
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory() && !removeGroup(join(group, entry.name))) return false;
  try {
    rmdirSync(group);
    return true;
  } catch {
    return false; // EBUSY while its last process ends
  }
}

function endOf(child: ChildProcess, command: readonly string[], input: string, timeoutMs: number): Promise<Result> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.on("error", () => {}); // it may end without having read all
  child.stdin?.end(input);
  return new Promise((done, failed) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      failed(
        new Error(`${command.join(" ")} did not end within ${timeoutMs} ms\nstdout: ${stdout}\nstderr: ${stderr}`),
      );
    }, timeoutMs);
    child.on("error", failed);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      done({ stdout, stderr, code, signal });
    });
  });
}
