/** Where each target begins: good inputs, from which the others are made. And how an input of it is to be changed. */
import { encodeCall } from "../../src/dbus/message.ts";
import { facts, ROOT_HOST, USER_HOST } from "../../src/engine/containers/config/test-facts.ts";
import { configFromOptions } from "../../src/engine/containers/config.ts";
import type { RunOptions } from "../../src/engine/containers/run-options.ts";
import { DEFAULT_PROFILE } from "../../src/plan/seccomp/profile-program.ts";
import { defaultConfig } from "../../src/spec/default-config.ts";
import { FULL_CONFIG } from "../../src/spec/full-config.ts";
import type { Form } from "./mutate.ts";

export interface Seeds {
  /** In the order of inside/targets.ts. */
  target: string;
  form: Form;
  /** Strings are one byte a character. */
  inputs: readonly (string | Uint8Array)[];
}

const json = (value: unknown): string => JSON.stringify(value);

function configOf(options: Partial<RunOptions>, host = ROOT_HOST): string {
  const { config } = configFromOptions({ id: "box", command: ["true"], ...options }, facts({ host }));
  // Profiles are a target of their own.
  return json({ ...config, linux: { ...config.linux, seccomp: undefined } });
}

const small = {
  ociVersion: "1.3.0",
  root: { path: "rootfs" },
  process: { args: ["sh", "-c", "true"], cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } },
};

const CONFIGS: readonly string[] = [
  json(FULL_CONFIG),
  json(small),
  json(defaultConfig({ cgroup2: true })),
  json({
    ...small,
    linux: { namespaces: [{ type: "mount" }, { type: "user" }, { type: "pid", path: "/proc/1/ns/pid" }] },
  }),
  json({
    ...small,
    mounts: [
      { destination: "/data", type: "bind", source: "/srv", options: ["rbind", "ro", "rslave"] },
      { destination: "/t", type: "tmpfs", source: "t", options: ["size=1m", "tmpcopyup", "nosuid"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] },
      { destination: "/o", type: "overlay", source: "o", options: ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w"] },
    ],
    linux: {
      namespaces: ["mount", "pid", "uts", "ipc", "network", "cgroup", "time"].map((type) => ({ type })),
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
      sysctl: { "kernel.domainname": "a", "net.ipv4.ip_forward": "1" },
      cgroupsPath: "/a/b",
      rootfsPropagation: "slave",
    },
    hooks: {
      prestart: [{ path: "/bin/true" }],
      startContainer: [{ path: "/bin/x", timeout: 3, args: ["x"], env: ["A=b"] }],
    },
  }),
  configOf({}),
  configOf({ rootKind: "bind" }),
  configOf({ userns: "private" }),
  configOf({}, USER_HOST),
];

const SECCOMP: readonly string[] = [
  json(DEFAULT_PROFILE),
  json({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    flags: ["SECCOMP_FILTER_FLAG_LOG"],
    syscalls: [
      { names: ["read", "write"], action: "SCMP_ACT_ALLOW" },
      {
        names: ["clone", "socketcall"],
        action: "SCMP_ACT_ALLOW",
        args: [
          { index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" },
          { index: 1, value: 3, op: "SCMP_CMP_GE" },
        ],
      },
    ],
  }),
];

const PASSWD =
  "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/false\nalice:x:1000:100::/home/alice:/bin/sh\naudio:x:29:root,alice\nalice:100000:65536\n";

const RECORD = {
  version: 1,
  ociVersion: "1.3.0",
  id: "box",
  bundle: "/bundle",
  rootfs: "/bundle/rootfs",
  created: "2026-01-01T00:00:00Z",
  owner: "root",
  annotations: { a: "b" },
  cgroups: [
    { controller: "memory", path: "/sys/fs/cgroup/memory/box" },
    { controller: "freezer", path: "/sys/fs/cgroup/freezer/box" },
  ],
  remove: ["/sys/fs/cgroup/memory/box"],
  poststop: [{ path: "/bin/true", args: ["true"], env: ["A=b"], timeout: 1 }],
};

const TUPPER_RECORD = {
  version: 1,
  id: "box",
  created: "2026-01-01T00:00:00Z",
  config: JSON.parse(configOf({})) as unknown,
  cgroups: [],
  remove: [],
};

const COMMAND_LINES: readonly string[] = [
  "tupper-runtime --version",
  "tupper-runtime features",
  "tupper-runtime --root /run/other --log /tmp/log --log-format json list --format json",
  "tupper-runtime --debug create --bundle /bundle --pid-file /tmp/pid --preserve-fds 2 --no-pivot new",
  "tupper-runtime run -b /bundle --no-new-keyring --console-socket /tmp/s new",
  "tupper-runtime exec --user 1000:100 --cwd /tmp --env A=b --tty --cap CAP_CHOWN --pid-file /tmp/p box sh",
  "tupper-runtime exec --process /bundle/config.json --apparmor x --process-label y box",
  "tupper-runtime update --memory 1000000 --cpu-share 512 --cpuset-cpus 0-1 --blkio-weight 100 --pids-limit 3 box",
  "tupper-runtime update --resources /bundle/config.json box",
  "tupper-runtime kill --all box SIGTERM",
  "tupper-runtime kill --regex ^b KILL",
  "tupper-runtime delete --force --regex b.*",
  "tupper-runtime events --stats --interval 1s box",
  "tupper-runtime ps --format json box -o pid,cmd",
  "tupper-runtime spec --bundle /bundle --rootless",
  "tupper-runtime checkpoint --image-path /tmp/i --leave-running --tcp-established box",
  "tupper-runtime restore --bundle /bundle --image-path /tmp/i new",
  "tupper-runtime mounts add box /bundle/config.json",
  "tupper-runtime --systemd-cgroup --cgroup-manager systemd state box",
  "tupper run --memory 64m --cpus 1.5 --pids-limit 10 -e A=b --env-file /srv/vars.env /bundle/rootfs true",
  "tupper run --mount type=bind,source=/srv,target=/data,readonly --tmpfs /t:size=1m -v /srv:/x:ro /bundle/rootfs sh -c x",
  "tupper run --user alice --group-add 5 --cap-drop ALL --cap-add NET_ADMIN --security-opt seccomp=unconfined /bundle/rootfs true",
  "tupper run --net host --pid container:web --ipc private --uts host --userns private --hostname h /bundle/rootfs true",
  "tupper run --device /dev/fuse:/dev/fuse:rw --ulimit nofile=10:20 --sysctl net.ipv4.ip_forward=1 --init -t /bundle/rootfs true",
  "tupper explain --format json /bundle/rootfs true",
  "tupper script --read-only --entrypoint x /bundle/rootfs true",
  "tupper exec box true",
  "tupper ps --format json",
  "tupper ns --format json",
  "tupper stats --no-stream box",
  "tupper inspect box",
  "tupper completion bash",
  "tupper kill --signal TERM box",
  "tupper --help",
];

const CALL = {
  destination: "org.freedesktop.systemd1",
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.systemd1.Manager",
  member: "StartTransientUnit",
  signature: "ssa(sv)a(sa(sv))",
  body: [
    "tupper-box.scope",
    "replace",
    [
      ["PIDs", { type: "au", value: [4242] }],
      ["Delegate", { type: "b", value: true }],
    ],
    [],
  ],
} as const;

export const SEEDS: readonly Seeds[] = [
  { target: "config", form: "json", inputs: CONFIGS },
  { target: "seccomp", form: "json", inputs: SECCOMP },
  {
    target: "parts",
    form: "json",
    inputs: [json(FULL_CONFIG.process), json(FULL_CONFIG.linux.resources), json(FULL_CONFIG.mounts)],
  },
  { target: "passwd", form: "lines", inputs: [`alice\n1000\n${PASSWD}`, `1000:audio\n0\n${PASSWD}`, "root:0\n0\n"] },
  {
    target: "options",
    form: "lines",
    inputs: [
      "/data\nbind\n/srv\nrbind\nro\nrslave\nidmap=uids=0-1-10;gids=0-1-10",
      "/t\ntmpfs\ntmpfs\nsize=1m\nmode=755\nnosuid\ntmpcopyup",
      "/o\noverlay\no\nlowerdir=/a:/b\nupperdir=/u\nworkdir=/w",
    ],
  },
  {
    target: "dbus",
    form: "bytes",
    inputs: [
      Uint8Array.from(encodeCall(CALL, 7)),
      "@a(st) [('/dev/sda', 7), ('b', 8)]",
      "{'a': <uint64 5>, 'b': <['x', \"y\"]>}",
      "(true, byte 0x1f, int16 -3, 1.5e3, objectpath '/a', signature 'a(ss)', b'bytes')",
      "sa(sv)a{s(ii)}",
    ],
  },
  {
    target: "files",
    form: "lines",
    inputs: [
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n32 31 0:29 /x /run/a\\040b rw - cgroup cgroup rw,cpu",
      "5:cpu,cpuacct:/a\n1:name=systemd:/\n0::/user.slice/x\n",
      "alice:100000:65536\n1000:1:2",
      "0-3,7,9-11",
      "1min 30s",
      "UID PID CMD\nroot 1 init\nroot 4242 x",
      Uint8Array.from([20, 0, 0, 0, 16, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 3, 0]),
    ],
  },
  {
    target: "messages",
    form: "lines",
    inputs: [
      '{"kind":"start"}\n{"kind":"exec"}',
      '{"kind":"warning","text":"w"}\n{"kind":"error","error":{"code":"X","message":"m","field":"f","hint":"h","exitCode":1,"kernel":{"syscall":"mount","errno":1,"args":["a",1,null]}}}',
      '{"kind":"listener","fd":5,"path":"/run/agent","metadata":"m"}',
    ],
  },
  {
    target: "glue",
    form: "bytes",
    inputs: ["a\xff\xc3\xa9\xed\xb2\x80\xf0\x9f\x98\x80\xc0\xaf\xc3", "abc", "\x00\x01\x02\x03"],
  },
  { target: "arguments", form: "words", inputs: COMMAND_LINES.map((line) => line.replaceAll(" ", "\0")) },
  { target: "create", form: "json", inputs: CONFIGS },
  {
    target: "state",
    form: "parts",
    inputs: [`${json(RECORD)}\n---\n4242 123456\n---\n${json(small)}`, `${json(RECORD)}\n---\n4243 1`, "{}\n---\n"],
  },
  { target: "tupper-state", form: "parts", inputs: [`${json(TUPPER_RECORD)}\n---\n4242 123456`, json(TUPPER_RECORD)] },
];

export const bytesOf = (input: string | Uint8Array): Uint8Array =>
  typeof input === "string" && /^[\0-\xff]*$/.test(input) ? Buffer.from(input, "latin1") : Buffer.from(input);
