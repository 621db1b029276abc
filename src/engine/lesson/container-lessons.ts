/** Data: the lessons about root filesystem, limits and privileges, and the one that has all of it, in the order of the notes that tupper began with. */
import type { Lesson } from "./lesson.ts";
import {
  container,
  ESCAPE,
  EVERY,
  either,
  is,
  isFurtherView,
  isGroup,
  isNewRoot,
  isPidsLimit,
  isPrivate,
  isProc,
  isProcMounted,
  MARKER,
  MOUNT,
  machine,
  makesRoot,
  mounts,
} from "./lesson-words.ts";

export const CONTAINER_LESSONS: readonly Lesson[] = [
  {
    name: "root",
    title: "A root filesystem that can be thrown away",
    notes: "mount -t tmpfs -o size=500M,rw none /newroot; find . -xdev | cpio -pd /newroot; mount --bind",
    text:
      "A container wants files of its own. The notes copy a whole tree into memory. An overlay does without the copy: one directory is read, here the machine's own root, and another one in memory " +
      "takes what is written. What is mounted for it is mounted in the container's mount namespace, and ends with it.",
    namespaces: ["mount"],
    keeps: makesRoot,
    hides: (step) =>
      either(isFurtherView, is("makeDirectory", "makeLink", "setMountFlags"))(step) ||
      (step.op === "changeDirectory" && !isNewRoot(step)),
    looks: [
      {
        at: (step) => step.op === "mount" && step.fstype === "overlay" && step.target === "root",
        after: [container("touch root/written; ls upper", "what is written in the view is in the other directory")],
      },
      {
        at: isNewRoot,
        after: [
          container("df --output=size,fstype ..", "KiB: as much as this can be written, to memory"),
          container(`touch ${MARKER}; ls -d ${MARKER}`),
          machine(`ls -d /${MARKER}`, "not on the machine"),
        ],
      },
    ],
    inside: [{ command: `ls -d /${MARKER} /bin/sh` }],
    afterwards: [{ command: `ls -d /${MARKER}` }],
    without: {
      overlay: {
        says: "Without the overlay the new root is an ordinary directory, and pivot_root wants the root of a mount: the notes bind a directory on itself for that.",
        drop: either(isFurtherView, mounts("overlay")),
        fails: true,
        root: true,
      },
    },
  },
  {
    name: "pivot_root",
    title: "pivot_root: the new root becomes /, the old one goes",
    notes: "pivot_root . oldroot; cd /; umount -l /oldroot",
    text:
      "Where / is, is a property of a process. chroot(2) changes it, and leaves the old tree mounted: who is root finds the way back. pivot_root(2) exchanges the mounts themselves. It puts the " +
      "old root on a directory of the new one; on . the two lie on each other for a moment, and then the old one is detached.",
    namespaces: ["mount", "pid"],
    keeps: (step, plan) => makesRoot(step, plan) || isProc(step),
    hides: (step) => !(is("clone", "pivotRoot", "detach", "exec")(step) || isNewRoot(step)),
    looks: [
      {
        at: isNewRoot,
        after: [
          container(`touch ${MARKER}; ls -d ${MARKER} /${MARKER}`, "we stand in the new root; / is still the old one"),
        ],
      },
      {
        at: is("pivotRoot"),
        after: [
          container(`ls -d /${MARKER} /../${MARKER}`, "/ is the new root; but one step up from it lies the old one"),
        ],
      },
      { at: is("detach"), after: [container(`ls -d /${MARKER} /../${MARKER}`, "nothing lies above it any more")] },
    ],
    inside: [
      { command: `ls -d /${MARKER} /../${MARKER}` },
      { command: "wc -l </proc/self/mounts", note: "how many mounts are in sight" },
      {
        command: ESCAPE,
        note: "who is root leaves a chroot by making one below and climbing; from this root no way leads up",
      },
    ],
    afterwards: [{ command: `ls -d /${MARKER}` }],
    without: {
      pivot_root: {
        says: "Without pivot_root the new root is there and nobody is in it: the container has the machine's files. With chroot it can go into it, and out again.",
        drop: is("pivotRoot", "detach"),
      },
      detach: {
        says: "Without this step the old root lies on the new one: /.. leads out of the container, and the machine's mounts are in its list.",
        drop: is("detach"),
      },
    },
  },
  {
    name: "proc",
    title: "/proc: how a container sees its processes",
    notes: "mount -t proc none /proc; ps",
    text:
      "ps asks no system call for processes: it reads /proc. A procfs shows the PID namespace of the one who mounted it. So a container with a PID namespace and a root of its own needs a procfs of its own, " +
      "mounted from inside.",
    namespaces: ["mount", "pid"],
    keeps: (step, plan) => makesRoot(step, plan) || isProc(step),
    hides: (step) => !(is("clone", "exec")(step) || isProc(step)),
    looks: [
      {
        at: isProcMounted,
        before: [container("ls /proc | wc -l", "an empty directory"), container("ps -e")],
        after: [container("ps -e")],
      },
    ],
    inside: [{ command: "ps -e" }],
    without: {
      proc: {
        says: "Without /proc ps has nothing to read, and neither has anybody else.",
        drop: isProc,
      },
      pid: {
        says: "Without the PID namespace the new /proc shows the machine's processes.",
        namespace: "pid",
        root: true,
      },
    },
  },
  {
    name: "cgroups",
    title: "Control groups: how much a container may use",
    notes: "Cgroups say what system resources you can use",
    text:
      "Namespaces say what a process sees, control groups what it may use: processes, memory, processor time, devices. A group is a directory, a limit is a value in one of its files, and a process " +
      "is in the group when its number is in cgroup.procs. What it forks is in the same group.",
    options: { pidsLimit: "20" },
    group: true,
    namespaces: ["pid"],
    keeps: (step, plan) => isGroup(step, plan) || isPidsLimit(step),
    looks: [
      { at: isPidsLimit, after: [machine("cat $GROUP/pids.max")] },
      { at: is("exec"), before: [machine("cat $GROUP/cgroup.procs; echo $INIT"), machine("cat $GROUP/pids.current")] },
    ],
    inside: [
      {
        command: "sh -c 'for i in $(seq 30); do sleep 1 & done; echo all 30 were started'",
        note: "thirty processes, where twenty are allowed",
      },
    ],
    afterwards: [{ command: "ls -d $GROUP", note: "the group is gone" }],
    without: {
      limit: {
        says: "Without the limit the group only counts.",
        drop: isPidsLimit,
      },
      join: {
        says: "Without this step the limit holds for a group in which nobody is.",
        drop: is("joinCgroup", "attachProcess", "moveProcess"),
      },
    },
  },
  {
    name: "capabilities",
    title: "Capabilities: what root may still do",
    notes: "Syscalls and Capabilities",
    text:
      "The rights of root are cut in some forty pieces, capabilities, and the kernel asks for one of them where it once asked for root. A container keeps those that ordinary software needs, such as CHOWN, and " +
      "drops those that change the machine, such as SYS_ADMIN: for itself, and from the bounding set, which no program that it executes can pass.",
    namespaces: ["uts", "mount"],
    keeps: either(isPrivate, is("limitBoundingSet", "setCapabilities")),
    hides: is("propagation"),
    looks: [
      {
        at: is("limitBoundingSet"),
        before: [container("grep CapEff: /proc/self/status", "one bit for each"), container(MOUNT)],
      },
      { at: is("setCapabilities"), after: [container("grep CapEff: /proc/self/status"), container(MOUNT)] },
    ],
    inside: [{ command: "id -u" }, { command: MOUNT }, { command: "hostname other; hostname" }],
    without: {
      capabilities: {
        says: "Without these steps root in the container has all rights of root. Only namespaces stand between it and the machine, and many things have none.",
        drop: is("limitBoundingSet", "setCapabilities"),
      },
    },
  },
  {
    name: "seccomp",
    title: "Seccomp: which system calls there are at all",
    notes: "A small part of the kernel space exposed in an API to programs",
    text:
      "A seccomp filter is a small program that the kernel runs at each system call, before anything else. It cannot be taken back, and what is executed afterwards has it too. Docker's list, which is " +
      "tupper's, leaves out what containers do not need and attackers like: new namespaces, kernel modules, other clocks.",
    namespaces: [],
    keeps: is("seccomp"),
    looks: [
      {
        at: is("seccomp"),
        before: [
          container("grep Seccomp: /proc/self/status", "0: none"),
          container("unshare --uts echo in a new namespace"),
        ],
        after: [
          container("grep Seccomp: /proc/self/status", "2: a filter"),
          container("unshare --uts echo in a new namespace"),
        ],
      },
    ],
    inside: [{ command: "unshare --uts echo in a new namespace" }],
    without: {
      seccomp: {
        says: "Without the filter every system call of the kernel can be tried, also those in which the next hole will be found.",
        drop: is("seccomp"),
      },
    },
  },
  {
    name: "shell",
    title: "All of it: a shell in a container",
    notes: "commands that should be made into a shell script; exec chroot / sh",
    text:
      "These are the steps of `tupper run host`, of which the lessons before showed one or the other; most are not told again here (tupper explain run host tells them all). On a terminal the shell at the end is " +
      "yours: try hostname, ps, mount, id, touch /test; exit ends it.",
    namespaces: EVERY,
    keeps: () => true,
    hides: (step) =>
      !(is("clone", "pivotRoot", "setHostname", "seccomp", "setCapabilities", "exec")(step) || isProc(step)),
    looks: [],
    inside: [
      { command: "hostname" },
      { command: "ps -e" },
      { command: "id -u" },
      { command: "mount | head -n 1" },
      { command: "touch /test; ls /test" },
    ],
    afterwards: [{ command: "hostname" }, { command: "ls /test" }],
    shell: true,
    without: {},
  },
];
