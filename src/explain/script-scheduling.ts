/** The steps about processor, memory, limits, labels and network devices as lines of shell. See script-steps.ts. */
import { hoist, LATER, note, type ScriptState, type StepOf, warn } from "./script-state.ts";
import { variable, word } from "./shell.ts";

type Writers = { [O in Ops]: (step: StepOf<O>, state: ScriptState) => string[] };
type Ops =
  | "setCpuAffinity"
  | "makeResctrlGroup"
  | "joinResctrl"
  | "moveNetDevice"
  | "setRlimit"
  | "setOomScore"
  | "setScheduler"
  | "setIoPriority"
  | "setPersonality"
  | "setMemoryPolicy"
  | "takeProc"
  | "setLabels";

export const schedulingWriters: Writers = {
  setCpuAffinity: ({ cpus }) =>
    cpus === "all" ? note("the processors of the caller stay in force here") : [`taskset -c -p ${word(cpus)} $$`],

  makeResctrlGroup({ path, whose, schemata, monitor }) {
    const lines = whose === "given" ? [`[ -d ${word(path)} ]`] : [`mkdir -p ${word(path)}`];
    if (schemata.length > 0) lines.push(`printf '%s\\n' ${schemata.map(word).join(" ")} >${word(`${path}/schemata`)}`);
    if (monitor !== undefined) lines.push(`mkdir -p ${word(monitor)}`);
    return lines;
  },

  joinResctrl: ({ paths }) => paths.map((path) => `echo 0 >${word(`${path}/tasks`)}`),

  moveNetDevice({ device, as, pid, path }, state) {
    const name = variable(pid.slot);
    const namespace = path === undefined ? `"/proc/$${name}/ns/net"` : word(path);
    const lines = [
      `  ip link set dev ${word(device)} netns ${path === undefined ? `"$${name}"` : word(path)} name ${word(as)}`,
    ];
    if (!as.includes("%d")) lines.push(`  nsenter --net=${namespace} ip link set dev ${word(as)} up`);
    const { launch } = state;
    const answer = '  echo >"$work/mapped"';
    launch.mapIds ??= [
      "# Does what only the parent may, once the init process has said its process id.",
      'mkfifo "$work/ready" "$work/mapped"',
      "{",
      `  read -r ${name} <"$work/ready"`,
      answer,
      "} &",
      "mapper=$!",
    ];
    launch.mapIds.splice(launch.mapIds.indexOf(answer), 0, ...lines);
    return [
      ...note("by a helper just before `unshare`, at the end of this script"),
      warn(state, `ip(8) leaves the addresses of ${device} behind`),
    ];
  },

  setRlimit({ type, soft, hard }, state) {
    const value = (limit: number | bigint): string => (limit < 0 ? "unlimited" : String(limit));
    state.command.limits.push(`--${type.replace(/^RLIMIT_/, "").toLowerCase()}=${value(soft)}:${value(hard)}`);
    return LATER;
  },

  // choom(1) would look for the number that the process has in its new PID namespace, in the machine's /proc.
  setOomScore: ({ score }) => [`echo ${score} >/proc/self/oom_score_adj`],

  setScheduler({ policy, nice, priority, flags, runtime, deadline, period }, state) {
    const times =
      policy === "SCHED_DEADLINE"
        ? ` --sched-runtime ${runtime} --sched-deadline ${deadline} --sched-period ${period}`
        : "";
    const reset = flags.includes("SCHED_FLAG_RESET_ON_FORK") ? " --reset-on-fork" : "";
    const lines = [`chrt --${policy.replace("SCHED_", "").toLowerCase()}${reset}${times} -p ${priority} $$`];
    if (nice !== 0) lines.push(`renice -n ${nice} -p $$ >/dev/null`);
    const others = flags.filter((flag) => flag !== "SCHED_FLAG_RESET_ON_FORK");
    if (others.length > 0) lines.push(warn(state, `chrt(1) has no ${others.join(", ")}`));
    return hoist(state, lines);
  },

  setIoPriority: ({ class: name, priority }, state) =>
    hoist(state, [
      `ionice -c ${name.replace("IOPRIO_CLASS_", "").replace("RT", "realtime").replace("BE", "best-effort").toLowerCase()}${name === "IOPRIO_CLASS_IDLE" ? "" : ` -n ${priority}`} -p $$`,
    ]),

  setPersonality({ domain }, state) {
    if (domain === "LINUX") return note("what a process has unless somebody changes it");
    state.command.personality = "linux32";
    return LATER;
  },

  setMemoryPolicy: ({ mode }, state) => [
    warn(state, `no command of util-linux sets a memory policy: ${mode} is left out`),
  ],

  takeProc: () => note("setpriv(1) opens /proc itself"),

  setLabels({ apparmor, selinux }, state) {
    const { setpriv } = state.command;
    if (apparmor !== undefined) setpriv.set("profile", ["--apparmor-profile", apparmor]);
    if (selinux !== undefined) setpriv.set("label", ["--selinux-label", selinux]);
    return LATER;
  },
};
