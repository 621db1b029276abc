/**
 * `mounts`: what every container has (as docker has it), then `--volume`, `--mount` and `--tmpfs`. A mount that is asked
 * for replaces the default one at its destination; parents come before what lies below them.
 */
import type { Host } from "../../../plan/host.ts";
import type { Mount } from "../../../spec/config.ts";
import type { RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, normalize, parseBytes, parseContainerPath } from "./flag-value.ts";
import { isMapped } from "./id-maps.ts";
import { parseMountFlag } from "./mount-flag.ts";
import type { Namespaces } from "./namespaces.ts";
import { parseVolume } from "./volume-flag.ts";

const DEFAULT_SHM_SIZE = "64m";
/** The group "tty" of every distribution: who may write(1) to a terminal. */
const TTY_GID = 5;

export function containerMounts(options: RunOptions, root: RootFacts, namespaces: Namespaces): Mount[] {
  const asked = [
    ...(options.volume ?? []).map((value) => parseVolume(value, root)),
    ...(options.mount ?? []).map((value) => parseMountFlag(value, root)),
    ...(options.tmpfs ?? []).map(parseTmpfs),
  ];
  checkDestinations(asked);
  const replaced = new Set(asked.map(({ destination }) => destination));
  // Whoever brings a /dev brings what is in it.
  const covered = (path: string) => replaced.has(path) || (replaced.has("/dev") && path.startsWith("/dev/"));
  const defaults = [...defaultMounts(options, root.host, namespaces), ...machineRootMounts(root)].filter(
    ({ destination }) => !covered(destination),
  );
  return [...defaults, ...asked.toSorted((a, b) => depth(a) - depth(b))];
}

/** The machine's own root has the machine's /run in it: sockets, pids and our records of running containers. */
function machineRootMounts({ path }: RootFacts): Mount[] {
  if (path !== "/") return [];
  return [
    { destination: "/run", type: "tmpfs", source: "run", options: ["nosuid", "nodev", "mode=755", "size=65536k"] },
  ];
}

const depth = ({ destination }: Mount): number => destination.split("/").length;

function checkDestinations(mounts: readonly Mount[]): void {
  const seen = new Set<string>();
  for (const { destination } of mounts) {
    if (seen.has(destination))
      throw flagError(
        "MOUNT_TWICE",
        "--volume",
        `two mounts have the destination ${destination}`,
        "leave one of --volume, --mount, --tmpfs away",
      );
    seen.add(destination);
  }
}

function defaultMounts(options: RunOptions, host: Host, namespaces: Namespaces): Mount[] {
  const { modes, mapped } = namespaces;
  const access = options.privileged ? [] : ["ro"];
  const isolatedUser = modes.user.kind !== "host";
  const ttyGroup = isMapped(TTY_GID, mapped?.gidMappings) ? [`gid=${TTY_GID}`] : [];
  return [
    // proc shows a PID namespace, and only its owner's user namespace may mount it.
    isolatedUser && modes.pid.kind === "host"
      ? {
          destination: "/proc",
          type: "bind",
          source: "/proc",
          options: ["rbind", "rprivate", "nosuid", "noexec", "nodev"],
        }
      : { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", ...ttyGroup],
    },
    sysMount(modes, access),
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", "relatime", ...access],
    },
    ...ipcMounts(options, host, namespaces),
  ];
}

/**
 * sysfs shows a network namespace, and only its owner's user namespace may mount it: with the machine's network, the
 * machine's /sys is shown. It is made read-only with all below it: what is not written to there stays so.
 */
function sysMount(modes: Namespaces["modes"], access: string[]): Mount {
  const options = ["nosuid", "noexec", "nodev"];
  const foreign =
    modes.user.kind !== "host" &&
    modes.network.kind !== "private" &&
    !(modes.user.kind === "join" && modes.network.kind === "join");
  if (!foreign) return { destination: "/sys", type: "sysfs", source: "sysfs", options: [...options, ...access] };
  return {
    destination: "/sys",
    type: "bind",
    source: "/sys",
    options: ["rbind", "rprivate", ...options, ...access.map((flag) => `r${flag}`)],
  };
}

/**
 * Message queues and shared memory go with the IPC namespace. The machine's are shown as they are. Of another container
 * the queues come with its namespace, but not its /dev/shm: no mount can be taken from a mount namespace that one is not
 * in (open_tree(2) through /proc/PID/root is EINVAL).
 */
function ipcMounts({ shmSize }: RunOptions, host: Host, { modes }: Namespaces): Mount[] {
  const flags = ["nosuid", "noexec", "nodev"];
  const queues = { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: flags };
  const bytes = parseBytes("--shm-size", shmSize ?? DEFAULT_SHM_SIZE);
  const shm = {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: [...flags, "mode=1777", `size=${bytes}`],
  };
  const bind = (destination: string, source: string): Mount => ({
    destination,
    type: "bind",
    source,
    options: ["rbind", "rprivate", ...flags],
  });
  // POSIX shared memory belongs to the IPC namespace in all but name: it is a directory of the other container.
  if (modes.ipc.kind === "join" && modes.ipc.container !== undefined) {
    return [queues, bind("/dev/shm", modes.ipc.path.replace(/ns\/ipc$/, "root/dev/shm"))];
  }
  if (modes.ipc.kind === "host") {
    const there = (path: string) => host.mountinfo.includes(` ${path} `);
    return [
      // Mounting mqueue of the machine's IPC namespace takes its owner.
      ...(there("/dev/mqueue") ? [bind("/dev/mqueue", "/dev/mqueue")] : modes.user.kind === "host" ? [queues] : []),
      there("/dev/shm") ? bind("/dev/shm", "/dev/shm") : shm,
    ];
  }
  return [queues, shm];
}

/** `--tmpfs DESTINATION[:OPTIONS]`, with docker's default options. */
function parseTmpfs(value: string): Mount {
  const at = value.indexOf(":");
  const destination = parseContainerPath("--tmpfs", at < 0 ? value : value.slice(0, at), value);
  const options =
    at < 0
      ? []
      : value
          .slice(at + 1)
          .split(",")
          .filter((option) => option !== "");
  return { destination, type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "noexec", ...options] };
}

/** The absolute form of a source that the caller named relative to the working directory. */
export function absolute(path: string, cwd: string): string {
  return normalize(path.startsWith("/") ? path : `${cwd}/${path}`);
}
