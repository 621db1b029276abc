/**
 * Which black-box suites run on the sanitizer build too, and which calls of host/sys.table none of them reaches.
 *
 * That build is there for the C of host/: the glue of each call, text that is not UTF-8, messages with descriptors, the
 * child and its stack, filters and listeners. TypeScript behaves the same on both builds, so a suite that repeats a call
 * with other words (messages of errors, words of the command line, scripts, profiles, attacks, the engines) runs on the
 * usual build alone. scripts/lanes.ts fails when a call is reached by no suite here; tests/host.test.ts, whose programs
 * run on both builds, counts as one of them.
 */
export const SANITIZED: readonly string[] = [
  // tupper: each kind of root filesystem, PID 1, terminals, user namespaces, a clone that copies, setns, /proc of others.
  "diagnose.test.ts",
  "hung-mounts.test.ts",
  "init.test.ts",
  "ns.test.ts",
  "root.test.ts",
  "rootless.test.ts",
  "run.test.ts",
  "terminal.test.ts",
  // tupper-runtime: its sockets and its second execution, hooks, all of `process`, limits, filters that ask an agent.
  "runtime-cgroups.test.ts",
  "runtime-created.test.ts",
  "runtime-events.test.ts",
  "runtime-exec.test.ts",
  "runtime-hooks.test.ts",
  "runtime-mounts-add.test.ts",
  "runtime-process.test.ts",
  "runtime-shared-mounts.test.ts",
  "runtime-start.test.ts",
  "runtime-terminal.test.ts",
  "runtime-update.test.ts",
  "seccomp-notify.test.ts",
];

const UNUSED = "nothing in src/ uses it";
const CGROUP_V2 = "wants a machine with cgroup v2 alone";

/** Why a call may stay unreached. */
export const UNREACHED: Readonly<Record<string, string>> = {
  getppid: UNUSED,
  getuid: UNUSED,
  getgid: UNUSED,
  getgroups: UNUSED,
  setpgid: UNUSED,
  getpgid: UNUSED,
  pidfd_getfd: UNUSED,
  prctl_text: UNUSED,
  setpriority: UNUSED,
  clock_gettime: UNUSED,
  inotify_init1: CGROUP_V2,
  inotify_add_watch: CGROUP_V2,
  attach_device_program: CGROUP_V2,
  statfs: "asked after failures alone (planted-faults.test.ts, on the usual build); its glue is that of fstatfs",
  sendto: "wants a machine with systemd",
};
