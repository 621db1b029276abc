/** A machine and a root filesystem for the tests of flags: root on a kernel 6.18 with cgroup v2, a small passwd. */
import type { Host } from "../../../plan/host.ts";
import { CAPABILITIES } from "../../../spec/capabilities.ts";
import type { HostDevice, RootFacts } from "../root-facts.ts";
import { flagError } from "./flag-value.ts";

export const ROOT_HOST: Host = {
  kernel: [6, 18],
  architecture: "x86_64",
  uid: 0,
  gid: 0,
  stateRoot: "/run/tupper",
  cgroups: {
    mode: "v2",
    hierarchies: [],
    unified: { mountPoint: "/sys/fs/cgroup", ownPath: "/user.slice", controllers: ["cpu", "io", "memory", "pids"] },
    writable: true,
  },
  mountinfo: ["/", "/proc", "/dev", "/dev/shm", "/dev/mqueue"]
    .map(
      (mountPoint, i) => `${20 + i} 1 0:${20 + i} / ${mountPoint} rw - tmpfs tmpfs rw
`,
    )
    .join(""),
  idMapHelpers: false,
  rootEntries: [],
  fileMounts: [],
  subuids: [],
  subgids: [],
  privileged: true,
};

/** An ordinary user, 1000, with subordinate ids and no control group of the own. */
export const USER_HOST: Host = {
  ...ROOT_HOST,
  uid: 1000,
  gid: 1000,
  stateRoot: "/run/user/1000/tupper",
  cgroups: { ...ROOT_HOST.cgroups, writable: false },
  idMapHelpers: true,
  subuids: [{ start: 100_000, count: 65_536 }],
  subgids: [{ start: 200_000, count: 65_536 }],
  privileged: false,
};

/** The same user without newuidmap and newgidmap. */
export const LONELY_HOST: Host = { ...USER_HOST, idMapHelpers: false };

const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
alice:x:1000:100::/home/alice:/bin/sh
broken line
`;
const GROUP = `root:x:0:
tty:x:5:
audio:x:29:root,alice
www-data:x:33:
users:x:100:
video:x:44:alice
`;

const FILES: Readonly<Record<string, string>> = {
  "vars.env": "# comment\n\nONE=1\n  TWO=two words\nCALLER\nABSENT\n",
  "bad.env": "A B=1\n",
  "profile.json": JSON.stringify({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }],
  }),
  "not-json": "{",
  "bad-profile.json": JSON.stringify({ defaultAction: "SCMP_ACT_NOPE" }),
  "/proc/77/uid_map": "         0       1000          1\n",
  "/proc/77/gid_map": "         0       1000          1\n",
};

const node = (path: string, type: "c" | "b", major: number, minor: number): HostDevice => ({
  path,
  type,
  major,
  minor,
  mode: 0o660,
  uid: 0,
  gid: 6,
});
const DEVICES = [node("/dev/fuse", "c", 10, 229), node("/dev/sda", "b", 8, 0)];

export function facts(changes: Partial<RootFacts> = {}): RootFacts {
  return {
    path: "/srv/rootfs",
    passwd: PASSWD,
    group: GROUP,
    host: ROOT_HOST,
    capabilities: CAPABILITIES,
    env: ["CALLER=from the caller", "HOME=/home/caller"],
    cwd: "/home/caller",
    isTerminal: { stdin: false, stdout: false },
    readFile(path, flag) {
      const text = FILES[path];
      if (text === undefined) throw flagError("FILE_MISSING", flag, `there is no file ${path}`);
      return text;
    },
    deviceAt: (path) => DEVICES.find((device) => device.path === path),
    hostDevices: () => DEVICES,
    securityModules: () => ({ apparmor: true, selinux: true }),
    pidOf: (container) => (container === "web" ? 77 : undefined),
    ...changes,
  };
}
