/** Plans for the tests of explain and script: real ones, of the planner, for four kinds of container. */
import type { Host } from "../plan/host.ts";
import { plan } from "../plan/plan.ts";
import type { Plan } from "../plan/step.ts";
import type { Config, Mount } from "../spec/config.ts";

const V1_CONTROLLERS = ["cpu", "cpuset", "memory", "devices", "freezer", "pids", "name=systemd"];

const root: Host = {
  kernel: [6, 18],
  architecture: "x86_64",
  uid: 0,
  gid: 0,
  stateRoot: "/run/tupper",
  cgroups: {
    mode: "v1",
    hierarchies: V1_CONTROLLERS.map((controller) => ({
      controllers: [controller],
      mountPoint: `/sys/fs/cgroup/${controller.replace("name=", "")}`,
      ownPath: "/",
    })),
    writable: true,
  },
  mountinfo: "",
  idMapHelpers: true,
  rootEntries: [],
  fileMounts: [],
  subuids: [],
  subgids: [],
  privileged: true,
};

const user: Host = {
  ...root,
  uid: 1000,
  gid: 1000,
  stateRoot: "/run/user/1000/tupper",
  cgroups: { mode: "none", hierarchies: [], writable: false },
  subuids: [{ start: 100000, count: 65536 }],
  subgids: [{ start: 100000, count: 65536 }],
  privileged: false,
};

const MOUNTS: Mount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
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
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
];

const CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"];

const base: Config = {
  ociVersion: "1.2.0",
  root: { path: "/srv/root" },
  hostname: "tupperware",
  annotations: { "tupper.root.kind": "overlay", "tupper.root.size": "524288000" },
  mounts: MOUNTS,
  process: {
    user: { uid: 0, gid: 0 },
    cwd: "/",
    args: ["sh"],
    env: ["PATH=/usr/bin:/bin", "TERM=xterm"],
    capabilities: {
      bounding: CAPABILITIES,
      effective: CAPABILITIES,
      permitted: CAPABILITIES,
      inheritable: [],
      ambient: [],
    },
  },
  linux: {
    namespaces: [
      { type: "mount" },
      { type: "pid" },
      { type: "network" },
      { type: "ipc" },
      { type: "uts" },
      { type: "cgroup" },
    ],
    resources: { memory: { limit: 67_108_864 }, pids: { limit: 20 } },
    maskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
    readonlyPaths: ["/proc/bus", "/proc/sys"],
  },
};

/** By the names of their golden files. */
export const EXAMPLES: Readonly<Record<string, () => Plan>> = {
  /** What the notes do by hand. */
  simple: () => plan(base, root, { id: "simple" }),

  /** An ordinary user: user namespace, id maps by helpers, devices by bind mounts, no control groups. */
  rootless: () =>
    plan(
      {
        ...base,
        linux: {
          namespaces: [{ type: "user" }, { type: "mount" }, { type: "pid" }, { type: "uts" }],
          uidMappings: [
            { containerID: 0, hostID: 1000, size: 1 },
            { containerID: 1, hostID: 100000, size: 65535 },
          ],
          gidMappings: [
            { containerID: 0, hostID: 1000, size: 1 },
            { containerID: 1, hostID: 100000, size: 65535 },
          ],
        },
      },
      user,
      { id: "rootless" },
    ),

  /** Everything that takes power away, names that want quoting, a terminal, an init. */
  locked: () =>
    plan(
      {
        ...base,
        root: { path: "/srv/it's a root", readonly: true },
        annotations: { "tupper.root.kind": "bind", "tupper.init": "true" },
        mounts: [
          ...MOUNTS,
          { destination: "/da ta", type: "bind", source: "/srv/$(reboot)\n", options: ["rbind", "rro", "nosuid"] },
        ],
        process: {
          ...base.process,
          terminal: true,
          consoleSize: { height: 25, width: 80 },
          user: { uid: 1000, gid: 1000, additionalGids: [10, 20], umask: 0o077 },
          cwd: "/home/a b",
          args: ["sh", "-c", 'echo "it\'s $HOME"\n'],
          capabilities: {
            bounding: ["CAP_CHOWN"],
            effective: ["CAP_CHOWN"],
            permitted: ["CAP_CHOWN"],
            inheritable: ["CAP_CHOWN"],
            ambient: ["CAP_CHOWN"],
          },
          rlimits: [
            { type: "RLIMIT_NOFILE", soft: 1024, hard: 4096 },
            { type: "RLIMIT_CORE", soft: 0, hard: -1 },
          ],
          noNewPrivileges: true,
          oomScoreAdj: 500,
        },
        linux: {
          ...base.linux,
          sysctl: { "net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "65536" },
          seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["reboot"], action: "SCMP_ACT_ERRNO" }] },
        },
      },
      root,
      { id: "locked" },
    ),

  /** Namespaces of others, the machine's, shifted clocks, and an agent that decides about mounts. */
  joined: () =>
    plan(
      {
        ...base,
        hostname: "shifted",
        annotations: { "tupper.root.kind": "copy", "tupper.root.size": "104857600" },
        linux: {
          ...base.linux,
          namespaces: [
            { type: "mount" },
            { type: "uts" },
            { type: "pid", path: "/proc/4711/ns/pid" },
            { type: "network", path: "/run/netns/blue" },
            { type: "time" },
          ],
          timeOffsets: { monotonic: { secs: 86_400, nanosecs: 5 }, boottime: { secs: -60 } },
          seccomp: {
            defaultAction: "SCMP_ACT_ALLOW",
            listenerPath: "/run/agent.sock",
            syscalls: [{ names: ["mount", "frobnicate"], action: "SCMP_ACT_NOTIFY" }],
          },
        },
      },
      root,
      { id: "joined" },
    ),
};
