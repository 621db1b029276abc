import assert from "node:assert/strict";
import { test } from "node:test";
import { ROOT_HOST } from "../engine/containers/config/test-facts.ts";
import { plan } from "../plan/plan.ts";
import { planExec } from "../plan/plan-exec.ts";
import type { Config } from "../spec/config.ts";
import { explainPlan } from "./explain.ts";
import { scriptOf } from "./script.ts";

const RESCTRL = "77 20 0:9 / /sys/fs/resctrl rw - resctrl resctrl rw\n";
const HOST = { ...ROOT_HOST, mountinfo: ROOT_HOST.mountinfo + RESCTRL };

const config: Config = {
  ociVersion: "1.3.0",
  root: { path: "/srv/root" },
  process: {
    args: ["true"],
    cwd: "/",
    env: ["HOME=/"],
    user: { uid: 1000, gid: 1000 },
    oomScoreAdj: 5,
    apparmorProfile: "docker-default",
    selinuxLabel: "u:r:t:s0",
    scheduler: {
      policy: "SCHED_DEADLINE",
      nice: 3,
      flags: ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"],
      runtime: 1,
      deadline: 2,
      period: 3,
    },
    ioPriority: { class: "IOPRIO_CLASS_BE", priority: 4 },
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: -1 }],
    execCPUAffinity: { initial: "0", final: "1" },
  },
  linux: {
    namespaces: [{ type: "mount" }, { type: "pid" }, { type: "network" }],
    netDevices: { dummy0: { name: "eth0" } },
    personality: { domain: "LINUX32" },
    memoryPolicy: { mode: "MPOL_BIND", nodes: "0-1" },
    intelRdt: { l3CacheSchema: "L3:0=f", enableMonitoring: true },
  },
};
const container = plan(config, HOST, { id: "box" });

test("scriptOf: util-linux's commands for scheduler, disks, limits, personality and labels", () => {
  const script = scriptOf(container);
  for (const line of [
    "chrt --deadline --reset-on-fork --sched-runtime 1 --sched-deadline 2 --sched-period 3 -p 0 $$",
    "renice -n 3 -p $$ >/dev/null",
    "ionice -c best-effort -n 4 -p $$",
    "echo 5 >/proc/self/oom_score_adj",
    "mkdir -p /sys/fs/resctrl/box",
    "printf '%s\\n' 'L3:0=f' >/sys/fs/resctrl/box/schemata",
    "mkdir -p /sys/fs/resctrl/box/mon_groups/box",
    "echo 0 >/sys/fs/resctrl/box/tasks",
    '  ip link set dev dummy0 netns "$init_pid" name eth0',
    '  nsenter --net="/proc/$init_pid/ns/net" ip link set dev eth0 up',
  ])
    assert.ok(script.split("\n").includes(line), line);
  for (const part of [
    "./prlimit --nofile=1:unlimited",
    "./setarch linux32",
    "--apparmor-profile docker-default",
    "--selinux-label u:r:t:s0",
    "SCHED_FLAG_RECLAIM",
    "MPOL_BIND is left out",
  ])
    assert.ok(script.includes(part), part);
});

test("scriptOf: exec runs on the processors that it is told, before and after it joins", () => {
  const script = scriptOf(planExec(config, HOST, "box", []));
  assert.deepEqual(
    script.split("\n").filter((line) => line.startsWith("taskset")),
    ["taskset -c -p 0 $$", "taskset -c -p 1 $$"],
  );
});

test("explainPlan: a sentence with the values for each of these steps", () => {
  const text = explainPlan(container, { color: false }).replaceAll(/\s+/g, " ");
  for (const sentence of [
    "Move the network device dummy0 to the container, where it is eth0, with its addresses, and bring it up",
    "Make the class of service /sys/fs/resctrl/box (L3:0=f), and the monitoring group /sys/fs/resctrl/box/mon_groups/box",
    "Set the OOM score to 5",
    "Schedule by SCHED_DEADLINE, 1 ns in each 3 ns, due after 2 ns (SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM)",
    "Set the I/O priority to IOPRIO_CLASS_BE 4",
    "Set the personality to LINUX32",
    "Set the memory policy to MPOL_BIND on the nodes 0-1",
    "Ask for the AppArmor profile docker-default and the SELinux label u:r:t:s0 from the next execve on",
    "Start a new session keyring, _ses.box, labelled u:r:t:s0 where the kernel has SELinux",
    "Give standard input, output and error to uid 1000, where they are pipes",
  ])
    assert.ok(text.includes(sentence), sentence);
});
