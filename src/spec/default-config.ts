/**
 * What `tupper-runtime spec` writes: a config to begin with, the one that `runc spec` and `crun spec` write too. People
 * and tests edit it with jq and sed, so what it holds, and under which names, is as good as promised.
 */
import type { Config, Mount, NamespaceType } from "./config.ts";
import { SPEC_VERSION } from "./version.ts";

export interface DefaultConfigOptions {
  /** Whether the machine has only cgroup v2: there each container has a cgroup namespace. */
  cgroup2: boolean;
  /** For a caller who is not root: a user namespace in which the caller's ids are root's. */
  rootless?: { uid: number; gid: number };
}

const CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/** A new object for each call. */
export function defaultConfig({ cgroup2, rootless }: DefaultConfigOptions): Config {
  const types: NamespaceType[] = ["pid", "network", "ipc", "uts", "mount"];
  if (cgroup2) types.push("cgroup");
  const config: Config = {
    ociVersion: SPEC_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ["sh"],
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
      cwd: "/",
      capabilities: {
        bounding: [...CAPABILITIES],
        effective: [...CAPABILITIES],
        permitted: [...CAPABILITIES],
      },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "tupper",
    mounts: defaultMounts(),
    linux: {
      resources: { devices: [{ allow: false, access: "rwm" }] },
      namespaces: types.map((type) => ({ type })),
      maskedPaths: [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
      ],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
  return rootless === undefined ? config : withoutRoot(config, rootless);
}

function defaultMounts(): Mount[] {
  return [
    { destination: "/proc", type: "proc", source: "proc" },
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
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
  ];
}

/** What an ordinary user cannot have goes: an own network needs help from root, limits need a delegated cgroup, gid 5 is not mapped. */
function withoutRoot(config: Config, { uid, gid }: { uid: number; gid: number }): Config {
  const { namespaces = [], maskedPaths = [], readonlyPaths = [] } = config.linux;
  return {
    ...config,
    mounts: (config.mounts ?? []).map((mount) => rootlessMount(mount)),
    linux: {
      uidMappings: [{ containerID: 0, hostID: uid, size: 1 }],
      gidMappings: [{ containerID: 0, hostID: gid, size: 1 }],
      namespaces: [...namespaces.filter(({ type }) => type !== "network"), { type: "user" }],
      maskedPaths,
      readonlyPaths,
    },
  };
}

/** sysfs cannot be mounted without a network namespace of one's own: the machine's is shown. */
function rootlessMount(mount: Mount): Mount {
  if (mount.destination === "/sys")
    return {
      destination: "/sys",
      type: "none",
      source: "/sys",
      options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
    };
  if (mount.options === undefined) return mount;
  return { ...mount, options: mount.options.filter((option) => !/^[ug]id=/.test(option)) };
}
