import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { assertGolden } from "../../../tests/golden.ts";
import { ContainerError } from "../../error.ts";
import { DEFAULT_PROFILE } from "../../plan/seccomp/profile-program.ts";
import { facts, LONELY_HOST, USER_HOST } from "./config/test-facts.ts";
import { configFromOptions } from "./config.ts";
import type { RootFacts } from "./root-facts.ts";
import type { RunOptions } from "./run-options.ts";

const make = (options: Partial<RunOptions> = {}, changes: Partial<RootFacts> = {}) =>
  configFromOptions({ id: "box", command: [], ...options }, facts(changes));

/** The default profile is named: it is 400 system calls. */
const named = (_key: string, value: unknown): unknown => (value === DEFAULT_PROFILE ? "the default profile" : value);

const GOLDEN: Record<string, [options: Partial<RunOptions>, changes?: Partial<RootFacts>]> = {
  default: [{}],
  "ordinary-user": [{ memory: "64m", pidsLimit: "20", user: "alice" }, { host: USER_HOST }],
  "ordinary-user-single-id": [{}, { host: LONELY_HOST }],
  "ordinary-user-host-network": [{ network: "host" }, { host: USER_HOST }],
  privileged: [{ privileged: true, command: ["bash", "-l"], tty: true }],
  limits: [
    {
      memory: "64m",
      memorySwap: "128m",
      memoryReservation: "32m",
      memorySwappiness: "10",
      oomKillDisable: true,
      cpus: "1.5",
      cpuShares: "512",
      cpusetCpus: "0-1",
      cpusetMems: "0",
      pidsLimit: "20",
      blkioWeight: "300",
      blkioWeightDevice: ["/dev/sda:400"],
      deviceReadBps: ["/dev/sda:1mb"],
      deviceWriteBps: ["/dev/sda:2m"],
      deviceReadIops: ["/dev/sda:100"],
      deviceWriteIops: ["/dev/sda:200"],
      cgroupParent: "group/a",
    },
  ],
  mounts: [
    {
      rootKind: "copy",
      size: "1g",
      readOnly: true,
      init: true,
      shmSize: "16m",
      volume: ["/srv/data:/data:ro", "./here:/a/b/c:rslave,nosuid", "/etc/hosts:/etc/hosts"],
      mount: [
        "type=bind,src=sub,dst=/a/b,readonly,bind-propagation=rshared",
        "type=tmpfs,dst=/cache,tmpfs-size=8m,tmpfs-mode=1777",
      ],
      tmpfs: ["/tmp:exec,size=4m", "/dev/shm"],
    },
  ],
  process: [
    {
      command: ["env"],
      hostname: "box1",
      domainname: "example",
      env: ["A=1", "CALLER", "ABSENT", "A=2"],
      envFile: ["vars.env"],
      workdir: "/srv/../work",
      user: "alice:33",
      groupAdd: ["video", "7"],
      ulimit: ["nofile=10:20", "core=unlimited", "RLIMIT_CPU=5"],
      umask: "077",
      oomScoreAdj: "-5",
      sysctl: ["net.ipv4.ip_forward=1", "kernel/shmmax=65536"],
      annotation: ["a=b=c"],
      label: ["d=e"],
    },
  ],
  security: [
    {
      capAdd: ["net_admin", "CAP_SYS_TIME"],
      capDrop: ["CHOWN,kill"],
      device: ["/dev/fuse", "/dev/sda:/dev/disk:r"],
      deviceCgroupRule: ["c 42:* rwm"],
      securityOpt: ["seccomp=profile.json", "no-new-privileges:true", "apparmor=mine", "label=type:t"],
    },
  ],
  namespaces: [
    {
      pid: "container:web",
      ipc: "container:web",
      network: "/proc/9/ns/net",
      uts: "host",
      cgroupns: "host",
      userns: "private",
      uidmap: ["0:100000:1000"],
      timens: "private",
      timeOffset: ["monotonic=60", "boottime=-5"],
    },
  ],
};

const BASE = make();

for (const [name, [options, changes]] of Object.entries(GOLDEN)) {
  test(`configFromOptions: ${name} is the golden config`, () => {
    const made = make(options, changes);
    assertGolden(`${layOut(name === "default" ? made : difference(BASE, made))}\n`, `config/${name}.json`);
  });
}

/** What turns `from` into `to`, as a JSON merge patch (RFC 7396): the golden files show what a flag changes. */
function difference(from: unknown, to: unknown): unknown {
  if (!isObject(from) || !isObject(to)) return to;
  const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
  const changed = keys.filter((key) => !isDeepStrictEqual(from[key], to[key]));
  return Object.fromEntries(changed.map((key) => [key, key in to ? difference(from[key], to[key]) : null]));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** JSON in which what fits on a line is on one. */
function layOut(value: unknown, indent = ""): string {
  const line = JSON.stringify(value, named)
    .replace(/("(?:[^"\\]|\\.)*")|([,:])/g, (_, text?: string, sign?: string) => text ?? `${sign} `)
    .replace(/^\{(.+)\}$/, "{ $1 }");
  if (indent.length + line.length <= 118 || typeof value !== "object" || value === null || value === DEFAULT_PROFILE)
    return line;
  const inner = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((item) => inner + layOut(item, inner)).join(",\n")}\n${indent}]`;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return `{\n${entries.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${layOut(item, inner)}`).join(",\n")}\n${indent}}`;
}

test("configFromOptions: the default profile is recognised by identity, and another one is made for other capabilities", () => {
  assert.equal(make().config.linux.seccomp, DEFAULT_PROFILE);
  assert.equal(make({ securityOpt: ["seccomp=default"], privileged: false }).config.linux.seccomp, DEFAULT_PROFILE);
  assert.notEqual(make({ capDrop: ["CHOWN"] }).config.linux.seccomp, DEFAULT_PROFILE);
  assert.equal(make({ securityOpt: ["seccomp=unconfined"] }).config.linux.seccomp, undefined);
});

test("configFromOptions: a terminal is there when stdin and stdout are one, or when a flag says so", () => {
  const both = { stdin: true, stdout: true };
  const one = { stdin: true, stdout: false };
  const terminals = [
    make({}, { isTerminal: both }),
    make({}, { isTerminal: one }),
    make({ tty: true }, { isTerminal: one }),
    make({ tty: false }, { isTerminal: both }),
  ].map(({ config }) => config.process.terminal);
  assert.deepEqual(terminals, [true, false, true, false]);
});

test("configFromOptions: users and groups are those of the root's passwd and group", () => {
  const users = ["root", "33", "alice", "1000:video", "4242", "4242:7"].map((user) => make({ user }).config.process);
  assert.deepEqual(
    users.map(({ user }) => [user.uid, user.gid, user.additionalGids]),
    [
      [0, 0, [0, 29]],
      [33, 33, [33]],
      [1000, 100, [100, 29, 44]],
      [1000, 44, [44]],
      [4242, 0, [0]],
      [4242, 7, [7]],
    ],
  );
  assert.deepEqual(
    users.map(({ env }) => env?.find((variable) => variable.startsWith("HOME="))),
    ["HOME=/root", "HOME=/var/www", "HOME=/home/alice", "HOME=/home/alice", "HOME=/", "HOME=/"],
  );
});

test("configFromOptions: a user other than root has a bounding set and nothing else; inheritable and ambient are always empty", () => {
  const { bounding, ...others } = make({ user: "33" }).config.process.capabilities ?? {};
  assert.equal(bounding?.length, 14);
  assert.deepEqual(others, { effective: [], permitted: [], inheritable: [], ambient: [] });
});

test("configFromOptions: what the caller cannot give is not in the sets, and is a warning where it was asked for", () => {
  const { config, warnings } = make({ capAdd: ["SYS_RESOURCE"] }, { capabilities: ["CAP_CHOWN", "CAP_KILL"] });
  assert.deepEqual(config.process.capabilities?.bounding, ["CAP_CHOWN", "CAP_KILL"]);
  assert.deepEqual(warnings, [
    "--cap-add CAP_SYS_RESOURCE has no effect: tupper itself does not have that capability here",
  ]);
});

test("configFromOptions: --cap-drop ALL leaves what is added", () => {
  assert.deepEqual(make({ capDrop: ["all"], capAdd: ["chown"] }).config.process.capabilities?.permitted, ["CAP_CHOWN"]);
  assert.equal(make({ capAdd: ["ALL"], capDrop: ["SYS_ADMIN"] }).config.process.capabilities?.permitted?.length, 40);
});

test("configFromOptions: an ordinary user that joins another container joins its user namespace first", () => {
  const { config } = make({ network: "container:web" }, { host: LONELY_HOST });
  assert.deepEqual(
    config.linux.namespaces?.filter(({ path }) => path !== undefined),
    [
      { type: "network", path: "/proc/77/ns/net" },
      { type: "user", path: "/proc/77/ns/user" },
    ],
  );
  assert.equal(config.linux.uidMappings, undefined);
  assert.equal(config.process.user.additionalGids, undefined);
});

test("configFromOptions: limits without a control group of the own are a warning that says why", () => {
  const { config, warnings } = make({ memory: "64m", cpus: "1" }, { host: USER_HOST });
  assert.equal(config.linux.resources, undefined);
  assert.deepEqual(warnings, [
    "the limits on memory, CPU have no effect: no control group is delegated to you (systemd does it: systemd-run --user --scope -p Delegate=yes tupper …); root can set them",
  ]);
});

test("configFromOptions: read-only binds are recursive", () => {
  const { config } = make({ volume: ["/a:/b:ro"] });
  const options = config.mounts?.find(({ destination }) => destination === "/b")?.options;
  assert.deepEqual(options, ["rbind", "rprivate", "rro"]);
});

test("configFromOptions: who mounts /dev gets nothing of the default /dev", () => {
  const { config } = make({ volume: ["/dev:/dev"] });
  assert.deepEqual(
    config.mounts?.map(({ destination }) => destination),
    ["/proc", "/sys", "/sys/fs/cgroup", "/dev"],
  );
});

test("configFromOptions: a device under another name is a bind mount in a user namespace", () => {
  const { config } = make({ device: ["/dev/fuse:/dev/other", "/dev/sda"] }, { host: USER_HOST });
  assert.deepEqual(config.mounts?.at(-1), {
    destination: "/dev/other",
    type: "bind",
    source: "/dev/fuse",
    options: ["bind", "nosuid", "noexec"],
  });
  assert.deepEqual(
    config.linux.devices?.map(({ path }) => path),
    ["/dev/sda"],
  );
});

test("configFromOptions: labels of a security module that is not in use are a warning", () => {
  const none = { securityModules: () => ({ apparmor: false, selinux: false }) };
  const securityOpt = ["apparmor=mine", "label=type:mine_t"];
  assert.deepEqual(make({ securityOpt }, none).warnings, [
    "--security-opt apparmor has no effect: AppArmor is not in use here",
    "--security-opt label has no effect: SELinux is not in use here",
  ]);
  assert.deepEqual(make({ securityOpt: ["apparmor=mine"] }).warnings, []);
  assert.deepEqual(make({ securityOpt: ["apparmor=unconfined", "label=disable"] }, none).warnings, []);
});

const ERRORS: [code: string, field: string, options: Partial<RunOptions>, changes?: Partial<RootFacts>][] = [
  ["BAD_SIZE", "--memory", { memory: "5x" }],
  ["BAD_SIZE", "--size", { size: "-1" }],
  ["BAD_SIZE", "--shm-size", { shmSize: "" }],
  ["MEMORY_TOO_SMALL", "--memory", { memory: "1m" }],
  ["MEMORY_RESERVATION_TOO_LARGE", "--memory-reservation", { memory: "10m", memoryReservation: "11m" }],
  ["SWAP_NEEDS_MEMORY", "--memory-swap", { memorySwap: "10m" }],
  ["SWAP_TOO_SMALL", "--memory-swap", { memory: "10m", memorySwap: "9m" }],
  ["BAD_NUMBER", "--memory-swappiness", { memorySwappiness: "101" }],
  ["OOM_KILL_NEEDS_LIMIT", "--oom-kill-disable", { oomKillDisable: true }],
  ["BAD_NUMBER", "--cpus", { cpus: "many" }],
  ["CPUS_TWICE", "--cpus", { cpus: "1", cpuQuota: "1000" }],
  ["BAD_NUMBER", "--cpu-shares", { cpuShares: "1" }],
  ["BAD_NUMBER", "--cpu-period", { cpuPeriod: "10" }],
  ["BAD_LIST", "--cpuset-cpus", { cpusetCpus: "3-1" }],
  ["BAD_NUMBER", "--pids-limit", { pidsLimit: "-2" }],
  ["BAD_NUMBER", "--blkio-weight", { blkioWeight: "5" }],
  ["BAD_DEVICE_LIMIT", "--device-read-bps", { deviceReadBps: ["/dev/sda"] }],
  ["NOT_A_BLOCK_DEVICE", "--device-read-bps", { deviceReadBps: ["/dev/fuse:1m"] }],
  ["NOT_A_BLOCK_DEVICE", "--blkio-weight-device", { blkioWeightDevice: ["/nope:100"] }],
  ["BAD_CGROUP_PARENT", "--cgroup-parent", { cgroupParent: "a/../.." }],
  ["BAD_CHOICE", "--root-kind", { rootKind: "overlayfs" }],
  ["BAD_VOLUME", "--volume", { volume: ["/a:/b:ro:x"] }],
  ["VOLUME_UNSUPPORTED", "--volume", { volume: ["/data"] }],
  ["VOLUME_UNSUPPORTED", "--volume", { volume: ["data:/data"] }],
  ["BAD_DESTINATION", "--volume", { volume: ["/a:b"] }],
  ["BAD_DESTINATION", "--volume", { volume: ["/a:/"] }],
  ["BAD_MOUNT_OPTION", "--volume", { volume: ["/a:/b:readonly"] }],
  ["MOUNT_TWICE", "--volume", { volume: ["/a:/b"], tmpfs: ["/b/"] }],
  ["BAD_DESTINATION", "--tmpfs", { tmpfs: ["tmp"] }],
  ["VOLUME_UNSUPPORTED", "--mount", { mount: ["dst=/a"] }],
  ["BAD_MOUNT_TYPE", "--mount", { mount: ["type=bindd,src=/a,dst=/b"] }],
  ["BAD_MOUNT_OPTION", "--mount", { mount: ["type=bind,sorce=/a,dst=/b"] }],
  ["BAD_MOUNT_OPTION", "--mount", { mount: ["type=bind,src=/a,dst=/b,readonly=maybe"] }],
  ["BAD_MOUNT_OPTION", "--mount", { mount: ["type=bind,src=/a,dst=/b,tmpfs-size=1m"] }],
  ["MOUNT_SOURCE_NEEDED", "--mount", { mount: ["type=bind,dst=/b"] }],
  ["MOUNT_DESTINATION_NEEDED", "--mount", { mount: ["type=tmpfs"] }],
  ["BAD_MODE", "--mount", { mount: ["type=tmpfs,dst=/a,tmpfs-mode=rwx"] }],
  ["BAD_CHOICE", "--mount", { mount: ["type=bind,src=/a,dst=/b,bind-propagation=slve"] }],
  ["BAD_NAMESPACE", "--pid", { pid: "hots" }],
  ["CONTAINER_NOT_RUNNING", "--network", { network: "container:nope" }],
  ["NETWORK_UNSUPPORTED", "--network", { network: "bridge" }],
  ["USER_NAMESPACE_NEEDED", "--userns", { userns: "host" }, { host: USER_HOST }],
  ["ID_MAP_WITHOUT_NAMESPACE", "--uidmap", { userns: "host", uidmap: ["0:1:1"] }],
  ["BAD_ID_MAP", "--uidmap", { uidmap: ["0:1"] }],
  ["BAD_ID_MAP", "--gidmap", { uidmap: ["0:1:1"], gidmap: ["0:1:0"] }],
  ["ID_MAP_OVERLAP", "--uidmap", { uidmap: ["0:1000:10", "20:1005:1"] }],
  ["TIME_NAMESPACE_NEEDED", "--time-offset", { timens: "host", timeOffset: ["monotonic=1"] }],
  ["BAD_CLOCK", "--time-offset", { timeOffset: ["realtime=1"] }],
  ["BAD_NUMBER", "--time-offset", { timeOffset: ["monotonic=1h"] }],
  ["NAME_OF_SHARED_NAMESPACE", "--hostname", { uts: "host", hostname: "x" }],
  ["BAD_HOSTNAME", "--hostname", { hostname: "a b" }],
  ["BAD_HOSTNAME", "--domainname", { domainname: "x".repeat(65) }],
  ["SYSCTL_OF_HOST", "--sysctl", { network: "host", sysctl: ["net.ipv4.ip_forward=1"] }],
  ["SYSCTL_NOT_NAMESPACED", "--sysctl", { sysctl: ["vm.swappiness=1"] }],
  ["SYSCTL_NOT_ALLOWED", "--sysctl", { sysctl: ["kernel.hostname=x"] }],
  ["BAD_SYSCTL", "--sysctl", { sysctl: ["net.../x=1"] }],
  ["BAD_KEY_VALUE", "--sysctl", { sysctl: ["net.core.somaxconn"] }],
  ["UNKNOWN_USER", "--user", { user: "alcie" }],
  ["UNKNOWN_USER", "--user", { user: "alice" }, { passwd: undefined }],
  ["UNKNOWN_GROUP", "--user", { user: "0:nope" }],
  ["UNKNOWN_GROUP", "--group-add", { groupAdd: ["vidoe"] }],
  ["BAD_USER", "--user", { user: "a:b:c" }],
  ["BAD_USER", "--user", { user: ":5" }],
  ["ID_UNMAPPED", "--user", { user: "33" }, { host: LONELY_HOST }],
  ["BAD_NUMBER", "--user", { user: "99999999999" }],
  ["BAD_NUMBER", "--user", { user: "4294967295" }],
  ["BAD_NUMBER", "--user", { user: "-1" }],
  ["BAD_NUMBER", "--group-add", { groupAdd: ["4294967295"] }],
  ["BAD_UMASK", "--umask", { umask: "8" }],
  ["BAD_NUMBER", "--oom-score-adj", { oomScoreAdj: "1001" }],
  ["UNKNOWN_ULIMIT", "--ulimit", { ulimit: ["nofiles=1"] }],
  ["BAD_ULIMIT", "--ulimit", { ulimit: ["nofile=2:1"] }],
  ["BAD_ULIMIT", "--ulimit", { ulimit: ["nofile=x"] }],
  ["BAD_VARIABLE", "--env", { env: ["=x"] }],
  ["BAD_VARIABLE", "--env-file bad.env", { envFile: ["bad.env"] }],
  ["FILE_MISSING", "--env-file", { envFile: ["nope.env"] }],
  ["BAD_DESTINATION", "--workdir", { workdir: "srv" }],
  ["UNKNOWN_CAPABILITY", "--cap-add", { capAdd: ["NET_ADMN"] }],
  ["UNKNOWN_CAPABILITY", "--cap-drop", { capDrop: ["CAP_NOPE"] }],
  ["NOT_A_DEVICE", "--device", { device: ["/etc/passwd"] }],
  ["BAD_DEVICE_ACCESS", "--device", { device: ["/dev/fuse:/dev/fuse:rx"] }],
  ["BAD_DEVICE", "--device", { device: ["/a:/b:r:w"] }],
  ["BAD_DEVICE_RULE", "--device-cgroup-rule", { deviceCgroupRule: ["x 1:1 r"] }],
  ["BAD_SECURITY_OPT", "--security-opt", { securityOpt: ["secomp=unconfined"] }],
  ["BAD_SECURITY_OPT", "--security-opt", { securityOpt: ["no-new-privileges=perhaps"] }],
  ["BAD_SECURITY_OPT", "--security-opt", { securityOpt: ["label=nonsense"] }],
  ["BAD_SECCOMP_PROFILE", "--security-opt", { securityOpt: ["seccomp=not-json"] }],
  ["BAD_SECCOMP_PROFILE", "--security-opt", { securityOpt: ["seccomp=bad-profile.json"] }],
  ["FILE_MISSING", "--security-opt", { securityOpt: ["seccomp=nope.json"] }],
  ["BAD_KEY_VALUE", "--label", { label: ["novalue"] }],
  ["BAD_KEY_VALUE", "--annotation", { annotation: ["=x"] }],
];

for (const [code, field, options, changes] of ERRORS) {
  test(`configFromOptions: ${JSON.stringify(options)} is ${code}`, () => {
    assert.throws(
      () => make(options, changes),
      (error) => {
        assert.ok(error instanceof ContainerError, String(error));
        assert.deepEqual([error.code, error.field], [code, field], error.message);
        return true;
      },
    );
  });
}
