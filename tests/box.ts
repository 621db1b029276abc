/**
 * A machine of its own for tests: mount, PID, network, IPC, UTS and control group namespaces, with its own /run and
 * overlays on some directories.
 *
 * Killing its first process ends every process in it, and with them their mounts, network namespaces and devices. What
 * outlives it are the control groups, one of the box's name in each hierarchy: `end` removes them. Where whoever made the
 * box dies, its first process ends by itself.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Box {
  /** Starts a command in the box and in its groups. */
  spawn(command: readonly string[], options: SpawnOptions): ChildProcess;
  /** Groups that were made below the box's own, and processes that were started in it. */
  leftovers(): string[];
  /** Ends all that is in the box, and removes its groups. */
  end(): Promise<void>;
}

export interface BoxOptions {
  /** Of the control groups. */
  name: string;
  /** Directories, without the first slash, where what is written stays in the box. */
  overlays: readonly string[];
  /** What a shell does beyond that before the box is ready. */
  prepare?: string;
}

/** One mounted hierarchy, and the box's own group in it. */
interface Hierarchy {
  mountpoint: string;
  type: "cgroup" | "cgroup2";
  options: string;
  group: string;
}

/** The first process of the box. Arguments: directories for overlays, "--", and the hierarchies: type, options, mount point. */
const firstProcess = (prepare: string) => `set -eu
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /run
while [ "$1" != -- ]; do
  mkdir -p /run/box/$1 /run/box/work/$1
  mount -t overlay -o lowerdir=/$1,upperdir=/run/box/$1,workdir=/run/box/work/$1 overlay /$1
  shift
done
shift
mkdir -p /run/lock
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
[ $# = 3 ] || mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while [ $# -gt 0 ]; do
  mkdir -p "$3"
  mount -t "$1" -o "$2" "$1" "$3"
  shift 3
done
${prepare}
# The end of stdin is that of whoever made the box. Meanwhile the shell reaps what shims leave behind.
exec 3<&0
cat <&3 >/dev/null &
echo ready
wait`;

/** Puts itself into the groups named before `--`, then executes the rest. A single thread may write to tasks, which does not wait for RCU. */
const JOIN_GROUPS = `while [ "$1" != -- ]; do
  if [ -e "$1/tasks" ]; then echo 0 >"$1/tasks"; else echo 0 >"$1/cgroup.procs"; fi
  shift
done
shift
exec "$@"`;

const NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"];

export async function makeBox({ name, overlays, prepare = "" }: BoxOptions): Promise<Box> {
  const hierarchies = mountedHierarchies(name);
  hierarchies.forEach(makeGroup);
  const spawnInGroups = (command: readonly string[], options: SpawnOptions) =>
    spawn("sh", ["-c", JOIN_GROUPS, "sh", ...hierarchies.map(({ group }) => group), "--", ...command], options);
  const mounts = hierarchies.flatMap(({ type, options, mountpoint }) => [type, options, mountpoint]);
  const flags = ["--fork", "--kill-child", "--mount-proc", "--propagation", "private"];
  const shell = ["sh", "-c", firstProcess(prepare), "sh", ...overlays, "--", ...mounts];
  const first = spawnInGroups(["unshare", ...NAMESPACES, ...flags, ...shell], { stdio: ["pipe", "pipe", "inherit"] });
  const end = async () => {
    first.kill("SIGKILL");
    const deadline = Date.now() + 10_000;
    while (!hierarchies.every(({ group }) => removeGroup(group))) {
      if (Date.now() > deadline) throw new Error(`the control groups of ${name} cannot be removed`);
      await sleep(10);
    }
  };
  try {
    await new Promise((done, failed) => {
      first.stdout?.once("data", done);
      first.once("error", failed);
      first.once("exit", () => failed(new Error("the box could not be made")));
    });
  } catch (error) {
    await end();
    throw error;
  }
  // What goes wrong later must not keep whoever made the box waiting for it.
  first.stdout?.destroy();
  (first.stdin as Socket | null)?.unref();
  first.unref();
  const processes = () => new Set(hierarchies.flatMap(({ group }) => processesIn(group)));
  const own = processes();
  const pid = readFileSync(`/proc/${first.pid}/task/${first.pid}/children`, "utf8").trim();
  return {
    spawn: (command, options) => spawnInGroups(["nsenter", "--target", pid, ...NAMESPACES, "--", ...command], options),
    leftovers: () => [
      ...hierarchies.flatMap(({ group }) => groupsBelow(group)),
      ...[...processes()].filter((process) => !own.has(process)).map(described),
    ],
    end,
  };
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
  if (!groupsBelow(group).every(removeGroup)) return false;
  try {
    rmdirSync(group);
    return true;
  } catch {
    return false; // EBUSY while its last process ends
  }
}

function groupsBelow(group: string): string[] {
  if (!existsSync(group)) return []; // its hierarchy was unmounted
  const entries = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return entries.map(({ name }) => join(group, name));
}

function processesIn(group: string): string[] {
  if (!existsSync(group)) return [];
  return readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").slice(0, -1);
}

function described(pid: string): string {
  try {
    return `process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`;
  } catch {
    return `process ${pid}, which has ended`;
  }
}
