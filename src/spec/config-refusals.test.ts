// Data: what parseConfig refuses, and the whole error for each.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../error.ts";
import { parseConfig } from "./parse-config.ts";

type Json = Record<string, unknown>;
/** What is wrong with a config, and the error it gets: code, message (which begins with the field), hint. */
type Refusal = [config: Json, code: string, message: string, hint?: string];

const INVALID = "CONFIG_INVALID";
const CONFLICT = "CONFIG_CONFLICT";

const process = { cwd: "/", args: ["sh"], user: { uid: 0, gid: 0 } };
const minimal = { ociVersion: "1.0.0", root: { path: "rootfs" }, process };
const namespaces = ["mount", "pid", "network", "ipc", "uts", "cgroup", "time"].map((type) => ({ type }));
const withUser = [...namespaces, { type: "user" }];
const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];

const without = (config: Json, name: string): Json => ({ ...config, [name]: undefined });
const inConfig = (more: Json): Json => ({ ...minimal, ...more });
const inProcess = (more: Json): Json => inConfig({ process: { ...process, ...more } });
const inLinux = (linux: Json, more: Json = {}): Json => inConfig({ linux: { namespaces, ...linux }, ...more });
const inResources = (resources: Json): Json => inLinux({ resources });
const inSeccomp = (seccomp: Json): Json => inLinux({ seccomp: { defaultAction: "SCMP_ACT_ALLOW", ...seccomp } });
const inRule = (rule: Json): Json => inSeccomp({ syscalls: [{ names: ["read"], action: "SCMP_ACT_LOG", ...rule }] });
const inArgument = (argument: Json): Json => inRule({ args: [{ index: 0, value: 0, op: "SCMP_CMP_EQ", ...argument }] });
const inMount = (mount: Json, linux: Json = {}): Json => inLinux(linux, { mounts: [{ destination: "/a", ...mount }] });
const inUserNamespace = (linux: Json, more: Json = {}): Json =>
  inLinux({ namespaces: withUser, uidMappings: mappings, gidMappings: mappings, ...linux }, more);

/** Each is refused with exactly this, and is good without what is wrong: the parts that are not under test are. */
function refuses(refusals: readonly Refusal[]): void {
  for (const [config, code, message, hint] of refusals) {
    assert.throws(
      () => parseConfig(JSON.stringify(config)),
      (error) => {
        assert.ok(error instanceof ContainerError, String(error));
        assert.deepEqual(
          { code: error.code, message: error.message, hint: error.hint, field: error.field },
          { code, message, hint, field: /^(.+?) is /.exec(message)?.[1] },
        );
        return true;
      },
    );
  }
}

test("parseConfig accepts what the refusals below start from", () => {
  for (const config of [
    minimal,
    inLinux({}),
    inUserNamespace({}),
    inRule({}),
    inArgument({}),
    inMount({ options: ["rbind", "ro", "rprivate"], source: "/b" }),
    inMount({ type: "tmpfs", options: ["size=1m", "whatever"] }),
  ])
    parseConfig(JSON.stringify(config));
});

test("parseConfig refuses documents that are no config and versions that it does not know", () => {
  refuses([
    [[] as unknown as Json, INVALID, "config.json is []: it must be an object"],
    [5 as unknown as Json, INVALID, "config.json is 5: it must be an object"],
    [
      without(minimal, "ociVersion"),
      INVALID,
      "ociVersion is missing: it must be a version of the runtime-spec, such as 1.3.0",
    ],
    [inConfig({ ociVersion: 1 }), INVALID, "ociVersion is 1: it must be a version of the runtime-spec, such as 1.3.0"],
    [
      inConfig({ ociVersion: "1.0" }),
      INVALID,
      'ociVersion is "1.0": it must be a version of the runtime-spec, such as 1.3.0',
    ],
    [
      inConfig({ ociVersion: "latest" }),
      INVALID,
      'ociVersion is "latest": it must be a version of the runtime-spec, such as 1.3.0',
    ],
    [
      inConfig({ ociVersion: "2.0.0" }),
      "CONFIG_VERSION",
      'ociVersion is "2.0.0": only versions 1.x of the runtime-spec are known',
    ],
    [
      inConfig({ ociVersion: "0.5.0-dev" }),
      "CONFIG_VERSION",
      'ociVersion is "0.5.0-dev": only versions 1.x of the runtime-spec are known',
    ],
  ]);
});

test("parseConfig refuses a wrong root, names without their namespace, and wrong annotations", () => {
  refuses([
    [without(minimal, "root"), INVALID, "root is missing: it must be an object"],
    [inConfig({ root: "rootfs" }), INVALID, 'root is "rootfs": it must be an object'],
    [inConfig({ root: {} }), INVALID, "root.path is missing: it must be the path of a directory"],
    [inConfig({ root: { path: "" } }), INVALID, "root.path is missing: it must be the path of a directory"],
    [
      inConfig({ root: { path: "a\0b" } }),
      INVALID,
      'root.path is "a\\u0000b": it must be a string without NUL characters',
    ],
    [
      inConfig({ root: { path: "rootfs", readonly: "yes" } }),
      INVALID,
      'root.readonly is "yes": it must be true or false',
    ],
    [inConfig({ hostname: "box" }), CONFLICT, 'hostname is "box": it needs a uts namespace in linux.namespaces'],
    [
      inConfig({ domainname: "example.org" }),
      CONFLICT,
      'domainname is "example.org": it needs a uts namespace in linux.namespaces',
    ],
    [
      inLinux({}, { hostname: "a".repeat(65) }),
      INVALID,
      'hostname is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…: it must be a name of at most 64 characters',
    ],
    [inLinux({}, { hostname: ["a"] }), INVALID, 'hostname is ["a"]: it must be a name of at most 64 characters'],
    [
      inLinux({ sysctl: { "kernel.domainname": "a" } }, { domainname: "b" }),
      CONFLICT,
      'domainname is "b": linux.sysctl["kernel.domainname"] sets it too',
    ],
    [inConfig({ annotations: { "org.example": 5 } }), INVALID, 'annotations["org.example"] is 5: it must be a string'],
    [inConfig({ annotations: { "": "5" } }), INVALID, 'annotations[""] is "": it must be a name'],
    [inConfig({ annotations: [] }), INVALID, "annotations is []: it must be an object"],
  ]);
});

test("parseConfig refuses wrong mounts", () => {
  refuses([
    [inConfig({ mounts: {} }), INVALID, "mounts is {}: it must be a list"],
    [inConfig({ mounts: [{ type: "tmpfs" }] }), INVALID, "mounts[0].destination is missing: it must be a string"],
    [inConfig({ mounts: ["/a"] }), INVALID, 'mounts[0] is "/a": it must be an object'],
    [inMount({ options: ["ro", 7] }), INVALID, "mounts[0].options[1] is 7: it must be a string"],
    [inMount({ options: "ro" }), INVALID, 'mounts[0].options is "ro": it must be a list'],
    [inMount({ source: "a\0" }), INVALID, 'mounts[0].source is "a\\u0000": it must be a string without NUL characters'],
    [
      inMount({ type: "tmpfs", options: ["idmap"] }),
      CONFLICT,
      'mounts[0].options[0] is "idmap": only bind mounts can be id-mapped',
    ],
    [
      inMount({ type: "tmpfs", options: ["ro", "ridmap=uids=0-1-1;gids=0-1-1"] }),
      CONFLICT,
      'mounts[0].options[1] is "ridmap=uids=0-1-1;gids=0-1-1": only bind mounts can be id-mapped',
    ],
    [
      inMount({ options: ["bind", "idmap"] }),
      CONFLICT,
      'mounts[0].options[1] is "idmap": it needs uidMappings and gidMappings, or a user namespace',
    ],
    [
      inMount({ options: ["bind"], uidMappings: mappings }),
      CONFLICT,
      "mounts[0].gidMappings is missing: a mount has maps for both kinds of ids or for none",
    ],
    [
      inMount({ options: ["bind"], gidMappings: mappings }),
      CONFLICT,
      "mounts[0].uidMappings is missing: a mount has maps for both kinds of ids or for none",
    ],
    [
      inMount({ type: "tmpfs", uidMappings: mappings, gidMappings: mappings }),
      CONFLICT,
      'mounts[0].uidMappings is [{"containerID":0,"hostID":100000,"size":65536}]: only bind mounts can be id-mapped',
    ],
    [
      inMount({ options: ["bind"], uidMappings: [{ containerID: 0, hostID: 0 }], gidMappings: mappings }),
      INVALID,
      "mounts[0].uidMappings[0].size is missing: it must be a number of ids, at least 1",
    ],
  ]);
});

test("parseConfig refuses wrong hooks", () => {
  refuses([
    [inConfig({ hooks: [] }), INVALID, "hooks is []: it must be an object"],
    [inConfig({ hooks: { poststop: { path: "/a" } } }), INVALID, 'hooks.poststop is {"path":"/a"}: it must be a list'],
    [
      inConfig({ hooks: { createRuntime: [{ args: ["a"] }] } }),
      INVALID,
      "hooks.createRuntime[0].path is missing: it must be an absolute path",
    ],
    [
      inConfig({ hooks: { prestart: [{ path: "/a" }, { path: "bin/hook" }] } }),
      INVALID,
      'hooks.prestart[1].path is "bin/hook": it must be an absolute path',
    ],
    [
      inConfig({ hooks: { startContainer: [{ path: "/a", timeout: 0 }] } }),
      INVALID,
      "hooks.startContainer[0].timeout is 0: it must be a number of seconds, at least 1",
    ],
    [
      inConfig({ hooks: { poststart: [{ path: "/a", env: [5] }] } }),
      INVALID,
      "hooks.poststart[0].env[0] is 5: it must be a string",
    ],
    [
      inConfig({ hooks: { createContainer: [{ path: "/a", args: "a" }] } }),
      INVALID,
      'hooks.createContainer[0].args is "a": it must be a list',
    ],
  ]);
});

test("parseConfig refuses a wrong process", () => {
  refuses([
    [inConfig({ process: "sh" }), INVALID, 'process is "sh": it must be an object'],
    [
      inProcess({ args: undefined }),
      INVALID,
      "process.args is missing: it must be a list that begins with the program to run",
    ],
    [inProcess({ args: [] }), INVALID, "process.args is []: it must be a list that begins with the program to run"],
    [inProcess({ args: "sh" }), INVALID, 'process.args is "sh": it must be a list that begins with the program to run'],
    [inProcess({ args: ["sh", null] }), INVALID, "process.args[1] is null: it must be a string"],
    [
      inProcess({ args: ["sh\0"] }),
      INVALID,
      'process.args[0] is "sh\\u0000": it must be a string without NUL characters',
    ],
    [inProcess({ cwd: "" }), INVALID, "process.cwd is missing: it must be an absolute path"],
    [inProcess({ cwd: "tmp" }), INVALID, 'process.cwd is "tmp": it must be an absolute path'],
    [inProcess({ env: ["A=1", true] }), INVALID, "process.env[1] is true: it must be a string"],
    [inProcess({ terminal: 1 }), INVALID, "process.terminal is 1: it must be true or false"],
    [
      inProcess({ terminal: true, consoleSize: { height: 25 } }),
      INVALID,
      "process.consoleSize.width is missing: it must be a whole number from 0 to 65535",
    ],
    [
      inProcess({ terminal: true, consoleSize: { height: 25, width: 70000 } }),
      INVALID,
      "process.consoleSize.width is 70000: it must be a whole number from 0 to 65535",
    ],
    [
      inProcess({ user: { uid: -1, gid: 0 } }),
      INVALID,
      "process.user.uid is -1: it must be a whole number from 0 to 4294967295",
    ],
    [
      inProcess({ user: { uid: 0, gid: 4294967296 } }),
      INVALID,
      "process.user.gid is 4294967296: it must be a whole number from 0 to 4294967295",
    ],
    [
      inProcess({ user: { uid: 0, gid: 0, umask: "022" } }),
      INVALID,
      'process.user.umask is "022": it must be a whole number from 0 to 4294967295',
    ],
    [
      inProcess({ user: { uid: 0, gid: 0, additionalGids: [1, 1.5] } }),
      INVALID,
      "process.user.additionalGids[1] is 1.5: it must be a whole number from 0 to 4294967295",
    ],
    [inProcess({ noNewPrivileges: "true" }), INVALID, 'process.noNewPrivileges is "true": it must be true or false'],
    [
      inProcess({ oomScoreAdj: 1001 }),
      INVALID,
      "process.oomScoreAdj is 1001: it must be a whole number from -1000 to 1000",
    ],
    [
      inProcess({ capabilities: ["CAP_CHOWN"] }),
      INVALID,
      'process.capabilities is ["CAP_CHOWN"]: it must be an object',
    ],
    [
      inProcess({ capabilities: { bounding: "CAP_CHOWN" } }),
      INVALID,
      'process.capabilities.bounding is "CAP_CHOWN": it must be a list',
    ],
    [
      inProcess({ capabilities: { ambient: [0] } }),
      INVALID,
      "process.capabilities.ambient[0] is 0: it must be a string",
    ],
    [inProcess({ apparmorProfile: {} }), INVALID, "process.apparmorProfile is {}: it must be a string"],
    [inProcess({ selinuxLabel: 1 }), INVALID, "process.selinuxLabel is 1: it must be a string"],
    [
      inProcess({ execCPUAffinity: { initial: "0-" } }),
      INVALID,
      'process.execCPUAffinity.initial is "0-": it must be a list of numbers and ranges such as 0-3,7',
    ],
    [
      inProcess({ execCPUAffinity: { final: "3-1" } }),
      INVALID,
      'process.execCPUAffinity.final is "3-1": it must be a list of numbers and ranges such as 0-3,7',
    ],
  ]);
});

test("parseConfig refuses wrong and repeated rlimits", () => {
  refuses([
    [
      inProcess({ rlimits: [{ type: "RLIMIT_NOFILES", soft: 1, hard: 1 }] }),
      INVALID,
      'process.rlimits[0].type is "RLIMIT_NOFILES": it must be one of RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO or RLIMIT_RTTIME',
      "did you mean RLIMIT_NOFILE?",
    ],
    [
      inProcess({ rlimits: [{ type: "NOFILE", soft: 1, hard: 1 }] }),
      INVALID,
      'process.rlimits[0].type is "NOFILE": it must be one of RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO or RLIMIT_RTTIME',
    ],
    [
      inProcess({ rlimits: [{ type: "RLIMIT_AS", soft: 1 }] }),
      INVALID,
      "process.rlimits[0].hard is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inProcess({ rlimits: [{ type: "RLIMIT_AS", soft: -1, hard: 1 }] }),
      INVALID,
      "process.rlimits[0].soft is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inProcess({ rlimits: [{ type: "RLIMIT_AS", soft: 2, hard: 1 }] }),
      CONFLICT,
      "process.rlimits[0].soft is 2: it is above the hard limit of 1",
    ],
    [
      inProcess({
        rlimits: [
          { type: "RLIMIT_AS", soft: 1, hard: 1 },
          { type: "RLIMIT_AS", soft: 1, hard: 1 },
        ],
      }),
      CONFLICT,
      'process.rlimits[1].type is "RLIMIT_AS": each limit may be set only once',
    ],
  ]);
});

test("parseConfig refuses schedulers and I/O priorities that the kernel would", () => {
  refuses([
    [
      inProcess({ scheduler: {} }),
      INVALID,
      "process.scheduler.policy is missing: it must be one of SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE or SCHED_DEADLINE",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_FIF" } }),
      INVALID,
      'process.scheduler.policy is "SCHED_FIF": it must be one of SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE or SCHED_DEADLINE',
      "did you mean SCHED_FIFO?",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_OTHER", nice: 20 } }),
      INVALID,
      "process.scheduler.nice is 20: it must be a whole number from -20 to 19 for SCHED_OTHER",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_BATCH", nice: -21 } }),
      INVALID,
      "process.scheduler.nice is -21: it must be a whole number from -20 to 19 for SCHED_BATCH",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_FIFO" } }),
      INVALID,
      "process.scheduler.priority is 0: it must be a whole number from 1 to 99 for SCHED_FIFO",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_RR", priority: 100 } }),
      INVALID,
      "process.scheduler.priority is 100: it must be a whole number from 1 to 99 for SCHED_RR",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_IDLE", priority: 1 } }),
      CONFLICT,
      "process.scheduler.priority is 1: only SCHED_FIFO and SCHED_RR have a priority, SCHED_IDLE has none",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_OTHER", flags: ["SCHED_FLAG_RESET"] } }),
      INVALID,
      'process.scheduler.flags[0] is "SCHED_FLAG_RESET": it must be one of SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_UTIL_CLAMP_MIN or SCHED_FLAG_UTIL_CLAMP_MAX',
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_OTHER", period: 1000000 } }),
      CONFLICT,
      "process.scheduler.period is 1000000: only SCHED_DEADLINE has it, SCHED_OTHER does not",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_DEADLINE" } }),
      INVALID,
      "process.scheduler.runtime is 0: it must be at least 1024 nanoseconds for SCHED_DEADLINE",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_DEADLINE", runtime: 2000, deadline: 1500 } }),
      INVALID,
      "process.scheduler.deadline is 1500: it must be at least the runtime of 2000 nanoseconds for SCHED_DEADLINE",
    ],
    [
      inProcess({ scheduler: { policy: "SCHED_DEADLINE", runtime: 2000, deadline: 3000, period: 2500 } }),
      INVALID,
      "process.scheduler.period is 2500: it must be 0, or at least the deadline of 3000 nanoseconds",
    ],
    [
      inProcess({ ioPriority: { priority: 4 } }),
      INVALID,
      "process.ioPriority.class is missing: it must be one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE",
    ],
    [
      inProcess({ ioPriority: { class: "IOPRIO_CLASS_NONE", priority: 4 } }),
      INVALID,
      'process.ioPriority.class is "IOPRIO_CLASS_NONE": it must be one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE',
      "did you mean IOPRIO_CLASS_BE?",
    ],
    [
      inProcess({ ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } }),
      INVALID,
      "process.ioPriority.priority is 8: it must be a whole number from 0 to 7",
    ],
  ]);
});

test("parseConfig refuses wrong namespaces and maps of ids", () => {
  refuses([
    [inConfig({ linux: [] }), INVALID, "linux is []: it must be an object"],
    [
      inLinux({ namespaces: [{ type: "netwrok" }] }),
      INVALID,
      'linux.namespaces[0].type is "netwrok": it must be one of mount, pid, network, ipc, uts, user, cgroup or time',
      "did you mean network?",
    ],
    [
      inLinux({ namespaces: [{ path: "/proc/1/ns/net" }] }),
      INVALID,
      "linux.namespaces[0].type is missing: it must be one of mount, pid, network, ipc, uts, user, cgroup or time",
    ],
    [
      inLinux({ namespaces: [{ type: "network", path: "run/netns/a" }] }),
      INVALID,
      'linux.namespaces[0].path is "run/netns/a": it must be an absolute path',
    ],
    [
      inLinux({ namespaces: [{ type: "pid" }, { type: "ipc" }, { type: "pid" }] }),
      CONFLICT,
      'linux.namespaces[2].type is "pid": each namespace may be listed only once',
    ],
    [
      inLinux({ uidMappings: mappings }),
      CONFLICT,
      'linux.uidMappings is [{"containerID":0,"hostID":100000,"size":65536}]: it needs a user namespace in linux.namespaces',
    ],
    [
      inUserNamespace({ gidMappings: undefined }),
      CONFLICT,
      "linux.gidMappings is missing: a user namespace has maps for both kinds of ids or for none",
    ],
    [
      inUserNamespace({ uidMappings: [{ containerID: 0, hostID: 1, size: 0 }] }),
      INVALID,
      "linux.uidMappings[0].size is 0: it must be a number of ids, at least 1",
    ],
    [
      inUserNamespace({ uidMappings: [{ containerID: 0, hostID: 4294967295, size: 2 }] }),
      INVALID,
      "linux.uidMappings[0].size is 2: it must be at most 1, as the last id is 4294967295",
    ],
    [
      inUserNamespace({ gidMappings: [...mappings, { containerID: 65535, hostID: 1, size: 1 }] }),
      CONFLICT,
      "linux.gidMappings[1].containerID is 65535: the range overlaps that of entry 0",
    ],
    [
      inUserNamespace({ gidMappings: [...mappings, { containerID: 65536, hostID: 99999, size: 2 }] }),
      CONFLICT,
      "linux.gidMappings[1].hostID is 99999: the range overlaps that of entry 0",
    ],
    [
      inUserNamespace({}, { process: { ...process, user: { uid: 65536, gid: 0 } } }),
      CONFLICT,
      "process.user.uid is 65536: linux.uidMappings does not have this id",
    ],
    [
      inUserNamespace({}, { process: { ...process, user: { uid: 0, gid: 70000 } } }),
      CONFLICT,
      "process.user.gid is 70000: linux.gidMappings does not have this id",
    ],
    [
      inUserNamespace({}, { process: { ...process, user: { uid: 0, gid: 0, additionalGids: [5, 70000] } } }),
      CONFLICT,
      "process.user.additionalGids[1] is 70000: linux.gidMappings does not have this id",
    ],
  ]);
});

test("parseConfig refuses time offsets without a new time namespace, and wrong ones", () => {
  refuses([
    [
      inLinux({ namespaces: [], timeOffsets: { monotonic: { secs: 1 } } }),
      CONFLICT,
      'linux.timeOffsets is {"monotonic":{"secs":1}}: it needs a time namespace in linux.namespaces',
    ],
    [
      inLinux({ namespaces: [{ type: "time", path: "/t" }], timeOffsets: { monotonic: { secs: 1 } } }),
      CONFLICT,
      'linux.timeOffsets is {"monotonic":{"secs":1}}: the clocks of the namespace /t that is joined are set already',
    ],
    [
      inLinux({ timeOffsets: { realtime: { secs: 1 } } }),
      INVALID,
      'linux.timeOffsets.realtime is "realtime": it must be one of monotonic or boottime',
    ],
    [
      inLinux({ timeOffsets: { boottime: { secs: 1.5 } } }),
      INVALID,
      "linux.timeOffsets.boottime.secs is 1.5: it must be a whole number from -4611686018 to 4611686018",
    ],
    [
      inLinux({ timeOffsets: { boottime: { nanosecs: 1000000000 } } }),
      INVALID,
      "linux.timeOffsets.boottime.nanosecs is 1000000000: it must be a whole number from 0 to 999999999",
    ],
  ]);
});

test("parseConfig refuses wrong devices and network devices", () => {
  refuses([
    [
      inLinux({ devices: [{ type: "c", major: 1, minor: 3 }] }),
      INVALID,
      "linux.devices[0].path is missing: it must be an absolute path",
    ],
    [
      inLinux({ devices: [{ path: "dev/null", type: "c", major: 1, minor: 3 }] }),
      INVALID,
      'linux.devices[0].path is "dev/null": it must be an absolute path',
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "char", major: 1, minor: 3 }] }),
      INVALID,
      'linux.devices[0].type is "char": it must be one of c, b, u or p',
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", minor: 3 }] }),
      CONFLICT,
      "linux.devices[0].major is missing: a device of type c has a major and a minor number",
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "b", major: 1 }] }),
      CONFLICT,
      "linux.devices[0].minor is missing: a device of type b has a major and a minor number",
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", major: 4096, minor: 3 }] }),
      INVALID,
      "linux.devices[0].major is 4096: it must be a whole number from 0 to 4095",
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: "0666" }] }),
      INVALID,
      'linux.devices[0].fileMode is "0666": it must be a whole number from 0 to 4294967295',
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, uid: -1 }] }),
      INVALID,
      "linux.devices[0].uid is -1: it must be a whole number from 0 to 4294967295",
    ],
    [
      inLinux({ namespaces: [], netDevices: { eth0: {} } }),
      CONFLICT,
      'linux.netDevices is {"eth0":{}}: it needs a network namespace in linux.namespaces',
    ],
    [
      inLinux({ netDevices: { eth0: { name: 23 } } }),
      INVALID,
      "linux.netDevices.eth0.name is 23: it must be the name of a network interface: at most 15 characters, no slash, colon or space",
    ],
    [
      inLinux({ netDevices: { eth0: { name: "container_eth0_1" } } }),
      INVALID,
      'linux.netDevices.eth0.name is "container_eth0_1": it must be the name of a network interface: at most 15 characters, no slash, colon or space',
    ],
    [
      inLinux({ netDevices: { "eth/0": {} } }),
      INVALID,
      'linux.netDevices["eth/0"] is "eth/0": it must be the name of a network interface: at most 15 characters, no slash, colon or space',
    ],
    [
      inLinux({ netDevices: { "..": {} } }),
      INVALID,
      'linux.netDevices[".."] is "..": it must be the name of a network interface: at most 15 characters, no slash, colon or space',
    ],
    [
      inLinux({ netDevices: { eth0: { name: "eth1" }, eth1: {} } }),
      CONFLICT,
      'linux.netDevices.eth1 is "eth1": two devices get this name',
    ],
  ]);
});

test("parseConfig refuses wrong paths and propagations", () => {
  refuses([
    [inLinux({ cgroupsPath: 5 }), INVALID, "linux.cgroupsPath is 5: it must be a string"],
    [
      inLinux({ rootfsPropagation: "salve" }),
      INVALID,
      'linux.rootfsPropagation is "salve": it must be one of private, shared, slave, unbindable, rprivate, rshared, rslave or runbindable',
      "did you mean slave?",
    ],
    [
      inLinux({ maskedPaths: ["/proc/kcore", "proc/keys"] }),
      INVALID,
      'linux.maskedPaths[1] is "proc/keys": it must be an absolute path',
    ],
    [inLinux({ readonlyPaths: [""] }), INVALID, 'linux.readonlyPaths[0] is "": it must be an absolute path'],
    [inLinux({ mountLabel: ["a"] }), INVALID, 'linux.mountLabel is ["a"]: it must be a string'],
  ]);
});

test("parseConfig refuses sysctls that are not the container's", () => {
  refuses([
    [
      inLinux({ namespaces: [], sysctl: { "kernel.shmmax": "1" } }),
      CONFLICT,
      'linux.sysctl["kernel.shmmax"] is "1": without an ipc namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "kernel.sem": "1" } }),
      CONFLICT,
      'linux.sysctl["kernel.sem"] is "1": without an ipc namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "fs.mqueue.msg_max": "1" } }),
      CONFLICT,
      'linux.sysctl["fs.mqueue.msg_max"] is "1": without an ipc namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "net.ipv4.ip_forward": "1" } }),
      CONFLICT,
      'linux.sysctl["net.ipv4.ip_forward"] is "1": without a network namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "net/ipv4/ip_forward": "1" } }),
      CONFLICT,
      'linux.sysctl["net/ipv4/ip_forward"] is "1": without a network namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "kernel.domainname": "a" } }),
      CONFLICT,
      'linux.sysctl["kernel.domainname"] is "a": without a uts namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ sysctl: { "user.max_user_namespaces": "1" } }),
      CONFLICT,
      'linux.sysctl["user.max_user_namespaces"] is "1": without a user namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ sysctl: { "kernel.hostname": "a" } }),
      CONFLICT,
      'linux.sysctl["kernel.hostname"] is "a": the field hostname sets the host name',
    ],
    [
      inLinux({ sysctl: { "kernel.core_pattern": "|/x" } }),
      CONFLICT,
      'linux.sysctl["kernel.core_pattern"] is "|/x": this setting is the machine\'s, and belongs to no namespace',
      "a container can have kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*, user.* and kernel.domainname",
    ],
    [
      inLinux({ sysctl: { "vm.overcommit_memory": "1" } }),
      CONFLICT,
      'linux.sysctl["vm.overcommit_memory"] is "1": this setting is the machine\'s, and belongs to no namespace',
      "a container can have kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*, user.* and kernel.domainname",
    ],
    [
      inLinux({ sysctl: { "net.//.//.kernel.core_pattern": "|/x" } }),
      INVALID,
      'linux.sysctl["net.//.//.kernel.core_pattern"] is "|/x": it must be a setting with a name such as net.ipv4.ip_forward',
    ],
    [
      inLinux({ sysctl: { "net/../kernel/core_pattern": "|/x" } }),
      INVALID,
      'linux.sysctl["net/../kernel/core_pattern"] is "|/x": it must be a setting with a name such as net.ipv4.ip_forward',
    ],
    [
      inLinux({ sysctl: { "net..core": "1" } }),
      INVALID,
      'linux.sysctl["net..core"] is "1": it must be a setting with a name such as net.ipv4.ip_forward',
    ],
    [
      inLinux({ sysctl: { "net.core.somaxconn": 1 } }),
      INVALID,
      'linux.sysctl["net.core.somaxconn"] is 1: it must be a string',
    ],
  ]);
});

test("parseConfig refuses what resctrl, set_mempolicy and personality could not take", () => {
  refuses([
    [
      inLinux({ intelRdt: { closID: "." } }),
      INVALID,
      'linux.intelRdt.closID is ".": it must be the name of a directory of resctrl, or "/" for its root',
    ],
    [
      inLinux({ intelRdt: { closID: ".." } }),
      INVALID,
      'linux.intelRdt.closID is "..": it must be the name of a directory of resctrl, or "/" for its root',
    ],
    [
      inLinux({ intelRdt: { closID: "a/b" } }),
      INVALID,
      'linux.intelRdt.closID is "a/b": it must be the name of a directory of resctrl, or "/" for its root',
    ],
    [
      inLinux({ intelRdt: { memBwSchema: "L3:0=f" } }),
      INVALID,
      'linux.intelRdt.memBwSchema is "L3:0=f": it must be one line that begins with MB:',
    ],
    [
      inLinux({ intelRdt: { memBwSchema: "MB:0=20\nL3:0=f" } }),
      INVALID,
      'linux.intelRdt.memBwSchema is "MB:0=20\\nL3:0=f": it must be one line that begins with MB:',
    ],
    [
      inLinux({ intelRdt: { schemata: ["MB:0=20", "L3:0=f\nL2:0=f"] } }),
      INVALID,
      'linux.intelRdt.schemata[1] is "L3:0=f\\nL2:0=f": it must be one line',
    ],
    [inLinux({ intelRdt: { l3CacheSchema: 7 } }), INVALID, "linux.intelRdt.l3CacheSchema is 7: it must be a string"],
    [
      inLinux({ intelRdt: { enableMonitoring: "yes" } }),
      INVALID,
      'linux.intelRdt.enableMonitoring is "yes": it must be true or false',
    ],
    [
      inLinux({ memoryPolicy: { nodes: "0" } }),
      INVALID,
      "linux.memoryPolicy.mode is missing: invalid memory policy mode, it must be one of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY or MPOL_LOCAL",
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_BINT", nodes: "0" } }),
      INVALID,
      'linux.memoryPolicy.mode is "MPOL_BINT": invalid memory policy mode, it must be one of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY or MPOL_LOCAL',
      "did you mean MPOL_BIND?",
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_BIND" } }),
      CONFLICT,
      "linux.memoryPolicy.nodes is missing: MPOL_BIND needs at least one node",
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_INTERLEAVE", nodes: "a" } }),
      INVALID,
      'linux.memoryPolicy.nodes is "a": invalid memory policy nodes, it must be a list of numbers and ranges such as 0-3,7',
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_LOCAL", nodes: "0-2,7" } }),
      CONFLICT,
      'linux.memoryPolicy.nodes is "0-2,7": the MPOL_LOCAL mode requires 0 nodes but got 4',
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC"] } }),
      INVALID,
      'linux.memoryPolicy.flags[0] is "MPOL_F_STATIC": invalid memory policy flag, it must be one of MPOL_F_NUMA_BALANCING, MPOL_F_RELATIVE_NODES or MPOL_F_STATIC_NODES',
    ],
    [
      inLinux({
        memoryPolicy: { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] },
      }),
      CONFLICT,
      'linux.memoryPolicy.flags is ["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]: nodes are either static or relative',
    ],
    [
      inLinux({ memoryPolicy: { mode: "MPOL_INTERLEAVE", nodes: "0", flags: ["MPOL_F_NUMA_BALANCING"] } }),
      CONFLICT,
      'linux.memoryPolicy.flags is ["MPOL_F_NUMA_BALANCING"]: MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not for MPOL_INTERLEAVE',
    ],
    [inLinux({ personality: {} }), INVALID, "linux.personality.domain is missing: it must be one of LINUX or LINUX32"],
    [
      inLinux({ personality: { domain: "LINUX64" } }),
      INVALID,
      'linux.personality.domain is "LINUX64": it must be one of LINUX or LINUX32',
      "did you mean LINUX?",
    ],
  ]);
});

test("parseConfig refuses wrong resources", () => {
  refuses([
    [
      inResources({ devices: [{ allow: "no" }] }),
      INVALID,
      'linux.resources.devices[0].allow is "no": it must be true or false',
    ],
    [
      inResources({ devices: [{ allow: true, type: "p" }] }),
      INVALID,
      'linux.resources.devices[0].type is "p": it must be one of a, c or b',
    ],
    [
      inResources({ devices: [{ allow: true, access: "x" }] }),
      INVALID,
      'linux.resources.devices[0].access is "x": it must be made of the letters r, w and m',
    ],
    [
      inResources({ devices: [{ allow: true, type: "c", major: -2 }] }),
      INVALID,
      "linux.resources.devices[0].major is -2: it must be a device number, or -1 for all",
    ],
    [
      inResources({ memory: { limit: -2 } }),
      INVALID,
      "linux.resources.memory.limit is -2: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ memory: { limit: "1g" } }),
      INVALID,
      'linux.resources.memory.limit is "1g": it must be a whole number from 0 to 9223372036854775807, or -1 for none',
    ],
    [
      inResources({ memory: { swap: 1.5 } }),
      INVALID,
      "linux.resources.memory.swap is 1.5: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ memory: { reservation: 2 ** 63 } }),
      INVALID,
      "linux.resources.memory.reservation is 9223372036854776000: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ memory: { swappiness: 201 } }),
      INVALID,
      "linux.resources.memory.swappiness is 201: it must be a whole number from 0 to 200",
    ],
    [
      inResources({ memory: { disableOOMKiller: 1 } }),
      INVALID,
      "linux.resources.memory.disableOOMKiller is 1: it must be true or false",
    ],
    [
      inResources({ memory: { kernel: true } }),
      INVALID,
      "linux.resources.memory.kernel is true: it must be a whole number from 0 to 9223372036854775807, or -1 for none",
    ],
    [
      inResources({ cpu: { shares: -1 } }),
      INVALID,
      "linux.resources.cpu.shares is -1: it must be a whole number from 0 to 9007199254740991",
    ],
    [
      inResources({ cpu: { quota: "50%" } }),
      INVALID,
      'linux.resources.cpu.quota is "50%": it must be a whole number, or -1 for no limit',
    ],
    [
      inResources({ cpu: { quota: 1000, burst: 2000 } }),
      CONFLICT,
      "linux.resources.cpu.burst is 2000: it may be no larger than the quota of 1000",
    ],
    [
      inResources({ cpu: { period: 1e300 } }),
      INVALID,
      "linux.resources.cpu.period is 1e+300: it must be a whole number from 0 to 9007199254740991",
    ],
    [
      inResources({ cpu: { cpus: "0,x" } }),
      INVALID,
      'linux.resources.cpu.cpus is "0,x": it must be a list of numbers and ranges such as 0-3,7',
    ],
    [
      inResources({ cpu: { mems: "," } }),
      INVALID,
      'linux.resources.cpu.mems is ",": it must be a list of numbers and ranges such as 0-3,7',
    ],
    [inResources({ cpu: { idle: 2 } }), INVALID, "linux.resources.cpu.idle is 2: it must be 0, or 1 for SCHED_IDLE"],
    [
      inResources({ pids: { limit: -2 } }),
      INVALID,
      "linux.resources.pids.limit is -2: it must be a whole number, or -1 for no limit",
    ],
    [inResources({ pids: 5 }), INVALID, "linux.resources.pids is 5: it must be an object"],
    [
      inResources({ blockIO: { weight: 65536 } }),
      INVALID,
      "linux.resources.blockIO.weight is 65536: it must be a whole number from 0 to 65535",
    ],
    [
      inResources({ blockIO: { weightDevice: [{ major: 8, weight: 10 }] } }),
      INVALID,
      "linux.resources.blockIO.weightDevice[0].minor is missing: it must be a whole number from 0 to 4294967295",
    ],
    [
      inResources({ blockIO: { weightDevice: [{ major: 8, minor: 0 }] } }),
      CONFLICT,
      "linux.resources.blockIO.weightDevice[0].weight is missing: a device needs a weight or a leafWeight",
    ],
    [
      inResources({ blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0 }] } }),
      INVALID,
      "linux.resources.blockIO.throttleReadBpsDevice[0].rate is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ blockIO: { throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: -1 }] } }),
      INVALID,
      "linux.resources.blockIO.throttleWriteIOPSDevice[0].rate is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ hugepageLimits: [{ pageSize: "64kB", limit: 1 }] }),
      INVALID,
      'linux.resources.hugepageLimits[0].pageSize is "64kB": it must be a size such as 64KB, 2MB or 1GB',
    ],
    [
      inResources({ hugepageLimits: [{ pageSize: "2MB" }] }),
      INVALID,
      "linux.resources.hugepageLimits[0].limit is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inResources({ network: { classID: 4294967296 } }),
      INVALID,
      "linux.resources.network.classID is 4294967296: it must be a whole number from 0 to 4294967295",
    ],
    [
      inResources({ network: { priorities: [{ name: "eth0" }] } }),
      INVALID,
      "linux.resources.network.priorities[0].priority is missing: it must be a whole number from 0 to 4294967295",
    ],
    [
      inResources({ network: { priorities: [{ name: "eth 0", priority: 1 }] } }),
      INVALID,
      'linux.resources.network.priorities[0].name is "eth 0": it must be a name without spaces',
    ],
    [
      inResources({ rdma: { mlx5_1: { hcaHandles: "not a uint32" } } }),
      INVALID,
      'linux.resources.rdma.mlx5_1.hcaHandles is "not a uint32": it must be a whole number from 0 to 4294967295',
    ],
    [
      inResources({ rdma: { mlx5_1: {} } }),
      CONFLICT,
      "linux.resources.rdma.mlx5_1.hcaHandles is missing: a device needs hcaHandles or hcaObjects",
    ],
    [
      inResources({ rdma: { "mlx5 1": { hcaHandles: 1 } } }),
      INVALID,
      'linux.resources.rdma["mlx5 1"] is "mlx5 1": it must be a name without spaces',
    ],
    [
      inResources({ unified: { "memory.high": 5 } }),
      INVALID,
      'linux.resources.unified["memory.high"] is 5: it must be a string',
    ],
    [
      inResources({ unified: { memory: "5" } }),
      INVALID,
      'linux.resources.unified.memory is "memory": it must be a file of cgroup v2, such as memory.high',
    ],
    [
      inResources({ unified: { "../memory.high": "5" } }),
      INVALID,
      'linux.resources.unified["../memory.high"] is "../memory.high": it must be a file of cgroup v2, such as memory.high',
    ],
  ]);
});

test("parseConfig refuses wrong seccomp sections", () => {
  refuses([
    [inLinux({ seccomp: [] }), INVALID, "linux.seccomp is []: it must be an object"],
    [
      inLinux({ seccomp: { architectures: [], syscalls: [{ names: ["a"], action: "SCMP_ACT_LOG" }] } }),
      INVALID,
      "linux.seccomp.defaultAction is missing: it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY",
    ],
    [
      inSeccomp({ defaultAction: "SCMP_ACT_KILL_ALL" }),
      INVALID,
      'linux.seccomp.defaultAction is "SCMP_ACT_KILL_ALL": it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY',
    ],
    [
      inSeccomp({ defaultAction: "SCMP_ACT_NOTIFY" }),
      CONFLICT,
      "linux.seccomp.listenerPath is missing: SCMP_ACT_NOTIFY needs the socket of the agent that is asked",
    ],
    [
      inSeccomp({ defaultErrnoRet: 1 }),
      CONFLICT,
      "linux.seccomp.defaultErrnoRet is 1: SCMP_ACT_ALLOW has no errno: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one",
    ],
    [
      inSeccomp({ defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 4096 }),
      INVALID,
      "linux.seccomp.defaultErrnoRet is 4096: it must be at most 4095 for SCMP_ACT_ERRNO",
    ],
    [
      inSeccomp({ architectures: ["SCMP_ARCH_X86_65"] }),
      INVALID,
      'linux.seccomp.architectures[0] is "SCMP_ARCH_X86_65": it must be an architecture of libseccomp, such as SCMP_ARCH_X86_64',
      "did you mean SCMP_ARCH_X86_64?",
    ],
    [
      inSeccomp({ flags: ["SECCOMP_FILTER_FLAG_LGO"] }),
      INVALID,
      'linux.seccomp.flags[0] is "SECCOMP_FILTER_FLAG_LGO": it must be one of SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW or SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
      "did you mean SECCOMP_FILTER_FLAG_LOG?",
    ],
    [
      inSeccomp({ listenerPath: "agent.sock" }),
      INVALID,
      'linux.seccomp.listenerPath is "agent.sock": it must be an absolute path',
    ],
    [
      inSeccomp({ listenerMetadata: "a" }),
      CONFLICT,
      'linux.seccomp.listenerMetadata is "a": it is for the socket at listenerPath, which is not set',
    ],
    [
      inRule({ names: [] }),
      INVALID,
      "linux.seccomp.syscalls[0].names is []: it must be a list of system calls, not empty",
    ],
    [
      inRule({ names: undefined }),
      INVALID,
      "linux.seccomp.syscalls[0].names is missing: it must be a list of system calls, not empty",
    ],
    [inRule({ names: [5] }), INVALID, "linux.seccomp.syscalls[0].names[0] is 5: it must be a string"],
    [
      inRule({ action: undefined }),
      INVALID,
      "linux.seccomp.syscalls[0].action is missing: it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY",
    ],
    [
      inRule({ action: "ALLOW" }),
      INVALID,
      'linux.seccomp.syscalls[0].action is "ALLOW": it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY',
    ],
    [
      inRule({ action: "SCMP_ACT_NOTIFY" }),
      CONFLICT,
      "linux.seccomp.listenerPath is missing: SCMP_ACT_NOTIFY needs the socket of the agent that is asked",
    ],
    [
      inRule({ errnoRet: 1 }),
      CONFLICT,
      "linux.seccomp.syscalls[0].errnoRet is 1: SCMP_ACT_LOG has no errno: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one",
    ],
    [
      inRule({ action: "SCMP_ACT_ERRNO", errnoRet: 5000 }),
      INVALID,
      "linux.seccomp.syscalls[0].errnoRet is 5000: it must be at most 4095 for SCMP_ACT_ERRNO",
    ],
    [
      inRule({ action: "SCMP_ACT_TRACE", errnoRet: 65536 }),
      INVALID,
      "linux.seccomp.syscalls[0].errnoRet is 65536: it must be a whole number from 0 to 65535",
    ],
    [
      inArgument({ index: 6 }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].index is 6: it must be a whole number from 0 to 5",
    ],
    [
      inArgument({ value: "0" }),
      INVALID,
      'linux.seccomp.syscalls[0].args[0].value is "0": it must be a whole number from 0 to 18446744073709551615',
    ],
    [
      inArgument({ value: undefined }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].value is missing: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inArgument({ value: -1 }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].value is -1: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inArgument({ valueTwo: 2 ** 64 }),
      INVALID,
      "linux.seccomp.syscalls[0].args[0].valueTwo is 18446744073709552000: it must be a whole number from 0 to 18446744073709551615",
    ],
    [
      inArgument({ op: "SCMP_CMP_EG" }),
      INVALID,
      'linux.seccomp.syscalls[0].args[0].op is "SCMP_CMP_EG": it must be one of SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT or SCMP_CMP_MASKED_EQ',
      "did you mean SCMP_CMP_EQ?",
    ],
  ]);
});
