/** Data: what there is to know about namespaces, filesystems and controllers of control groups. */
import { table } from "../spec/check.ts";
import type { NamespaceType } from "../spec/config.ts";
import type { Knowledge } from "./knowledge.ts";

/** `shared`: what it means that a container has none of its own. */
export const NAMESPACES: Readonly<Record<NamespaceType, Knowledge & { flag: string; shared: string }>> = {
  mount: {
    flag: "CLONE_NEWNS",
    gives: "mount points: what is mounted inside is seen inside only",
    without: "every mount and the new root would change the machine's own file tree",
    shared: "mounts made inside appear on the machine, and its mounts are seen inside",
    man: ["mount_namespaces(7)"],
  },
  pid: {
    flag: "CLONE_NEWPID",
    gives: "process ids: the command is PID 1, other processes have no number in here",
    without: "the container could see, signal and trace the machine's processes, and would outlive its PID 1",
    shared: "all processes of the machine can be seen, and signalled by root",
    man: ["pid_namespaces(7)"],
  },
  network: {
    flag: "CLONE_NEWNET",
    gives: "network devices, addresses, routes, ports, firewall rules, abstract sockets",
    without: "the container could listen on the machine's ports, sniff its traffic and talk to its local services",
    shared: "the container uses the machine's interfaces, ports and abstract sockets",
    man: ["network_namespaces(7)"],
  },
  ipc: {
    flag: "CLONE_NEWIPC",
    gives: "System V IPC objects and POSIX message queues",
    without: "shared memory segments and message queues of other programs could be read and removed",
    shared: "System V shared memory and message queues of the machine are within reach",
    man: ["ipc_namespaces(7)"],
  },
  uts: {
    flag: "CLONE_NEWUTS",
    gives: "host name and NIS domain name",
    without: "setting the container's host name would rename the machine",
    shared: "the container shows the machine's host name, and with CAP_SYS_ADMIN can change it",
    man: ["uts_namespaces(7)"],
  },
  user: {
    flag: "CLONE_NEWUSER",
    gives: "user and group ids, capabilities: root inside is an ordinary user outside",
    without: "root inside is the machine's root, held back only by the other walls",
    shared: "uid 0 inside is uid 0 of the machine, with the capabilities left to it",
    man: ["user_namespaces(7)"],
  },
  cgroup: {
    flag: "CLONE_NEWCGROUP",
    gives: "the root of the control group tree: /proc/self/cgroup says /",
    without: "/proc/self/cgroup would tell the container where in the machine's tree it lives",
    shared: "/proc/self/cgroup shows the group's path on the machine",
    man: ["cgroup_namespaces(7)"],
  },
  time: {
    flag: "CLONE_NEWTIME",
    gives: "the monotonic and the boot-time clock",
    without: "the container would see the machine's uptime, and a restored one would see its clocks jump",
    shared: "uptime and monotonic clock are the machine's",
    man: ["time_namespaces(7)"],
  },
};

export const FILESYSTEMS = table<Knowledge>({
  proc: {
    gives: "the processes of this PID namespace as files, and the kernel's settings under /proc/sys",
    without:
      "ps, top, /proc/self and much of the C library would not work; the machine's /proc would show its processes",
    man: ["proc(5)", "mount(2)"],
  },
  sysfs: {
    gives: "devices, drivers and the network interfaces of this network namespace as files",
    without: "programs that look for devices or interfaces would find none",
    man: ["sysfs(5)", "mount(2)"],
  },
  tmpfs: {
    gives: "files in memory, limited in size, gone with the container",
    without: "what is written there would land in the root filesystem and stay",
    man: ["tmpfs(5)", "mount(2)"],
  },
  devpts: {
    gives: "pseudo-terminals of the container alone, numbered from 0",
    without: "no terminal could be opened, or those of the machine's users would be within reach",
    man: ["pts(4)", "mount(2)"],
  },
  mqueue: {
    gives: "the POSIX message queues of this IPC namespace as files",
    without: "queues could not be listed; mq_open(3) itself works without it",
    man: ["mq_overview(7)", "mount(2)"],
  },
  overlay: {
    gives: "a copy-on-write view: reads come from the lower directory, writes go to the upper one",
    without: "every write of the container would change the directory that the root comes from",
    man: ["mount(8)", "mount(2)"],
  },
  cgroup: {
    gives: "the container's own control groups of this hierarchy, to read limits and usage",
    without: "programs that size themselves by their limits (JVM, Go, databases) would see the whole machine",
    man: ["cgroups(7)", "mount(2)"],
  },
  cgroup2: {
    gives: "the container's own part of the control group tree, to read limits and usage",
    without: "programs that size themselves by their limits (JVM, Go, databases) would see the whole machine",
    man: ["cgroups(7)", "mount(2)"],
  },
});

const controller = (gives: string, without: string): Knowledge => ({ gives, without, man: ["cgroups(7)"] });

/** Control groups by cgroup v1 controller. */
export const CONTROLLERS: Readonly<Record<string, Knowledge>> = {
  memory: controller(
    "memory: limit, and usage of the whole group",
    "one container could take all memory, and the kernel would kill others for it",
  ),
  pids: controller("number of processes and threads", "a fork bomb inside would fill the machine's process table"),
  cpu: controller("processor time: shares and quota", "a busy container could starve everything else"),
  cpuacct: controller("processor time used, per group", "nobody could say how much the container has used"),
  cpuset: controller("which processors and memory nodes may be used", "the container would run on all of them"),
  devices: controller(
    "which device nodes may be opened",
    "root inside could make a node for the machine's disk and read it",
  ),
  io: controller("block device bandwidth", "heavy input and output of one container would slow the whole machine"),
  hugetlb: controller("huge pages", "one container could take them all"),
  blkio: controller("block device bandwidth", "heavy input and output of one container would slow the whole machine"),
  freezer: controller(
    "stopping all processes of the group at once",
    "pause would have to stop processes one by one, and race with their forks",
  ),
  unified: controller(
    "all controllers of cgroup v2 in one tree",
    "there would be no limits, and no way to find or kill all processes of the container",
  ),
};
