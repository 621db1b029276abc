/** Data: the lessons, in the order of the notes that tupper began with. Every command in them is run for real, and every answer is the machine's.
 */
import type { Op, Plan, Step } from "../../plan/step.ts";
import type { NamespaceType } from "../../spec/config.ts";
import type { Lesson, Look } from "./lesson.ts";

const machine = (command: string, note?: string): Look => ({
  where: "machine",
  command,
  ...(note === undefined ? {} : { note }),
});
const container = (command: string, note?: string): Look => ({ ...machine(command, note), where: "container" });

const is =
  (...ops: Op[]) =>
  ({ op }: Step): boolean =>
    ops.includes(op);

const either =
  (...tests: ((step: Step) => boolean)[]) =>
  (step: Step): boolean =>
    tests.some((test) => test(step));

/** Nothing that is mounted in the container's view spreads to the machine: so no lesson with a view is without it, unless a stand-in is there. */
const isPrivate = (step: Step): boolean => step.op === "propagation" && step.target === "/";
const mounts = (fstype: string) => (step: Step) => step.op === "mount" && step.fstype === fstype;
/** In a user namespace it is made while the machine's is in sight, and placed later. */
const isProcMade = (step: Step): boolean => step.op === "takeFilesystem" && step.fstype === "proc";
const isProcMounted = (step: Step): boolean =>
  (step.op === "mount" && step.fstype === "proc") || (step.op === "placeTree" && step.target === "/proc");
const isProc = either(isProcMade, isProcMounted);

/** Other filesystems of the machine, such as /home, have views of their own in the root `host`; an ordinary user's is made of parts. */
const isFurtherView = (step: Step): boolean =>
  /"[^"]*\b(lower|upper|work)\.\d+/.test(JSON.stringify(step)) ||
  (step.op === "bind" && /\/root\/./.test(step.target)) ||
  (step.op === "mount" && step.target.startsWith("root/"));

/** The last one before the root is changed. */
const isNewRoot = (step: Step): boolean => step.op === "changeDirectory" && step.path.endsWith("/root");

/** From the first step of the root filesystem to the one that ends the old root's time. */
function makesRoot(step: Step, { steps }: Plan): boolean {
  const at = steps.indexOf(step);
  const last = steps.findIndex(is("detach"));
  return (step.by === "init" && at >= steps.findIndex(isPrivate) && at <= last) || step.op === "takeMappedTree";
}

const hasPids = ({ steps }: Plan): boolean =>
  steps.some((step) => step.op === "makeCgroup" && step.controller === "pids");

/** The control group with the pids controller, and how the container comes into it. On cgroup v2 there is one hierarchy. */
function isGroup(step: Step, plan: Plan): boolean {
  if (step.op === "makeCgroup" || step.op === "joinCgroup")
    return step.controller === (hasPids(plan) ? "pids" : "unified");
  if (step.op === "write") return step.by === "parent" && step.path.endsWith("/cgroup.subtree_control");
  return is("startScope", "attachProcess", "moveProcess", "awaitScope", "vacateCgroup")(step);
}

const isPidsLimit = (step: Step): boolean => step.op === "write" && step.path.endsWith("/pids.max");

const EVERY: readonly NamespaceType[] = ["mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time"];
const GROUP_LINE = "grep -E ':pids:|^0::' /proc/self/cgroup | head -n 1";
const QUEUES = "tail -n +2 /proc/sysvipc/msg | wc -l";
const MOUNTED = "grep ' /mnt ' /proc/self/mounts || echo nothing is mounted on /mnt";
const MOUNT = "mount -t tmpfs none /mnt && echo mounted";
const CONNECT = "bash -c ': </dev/tcp/127.0.0.1/9'";
const MARKER = "CONTAINER_ROOT_DIR";

/** The way out of a chroot: the working directory stays outside of the second one, and .. ends only at the root. */
const ESCAPE = `echo 'mkdir "x"; chroot "x"; chdir ".." for 1..9; print -e "${MARKER}" ? "still inside" : "outside"' | chroot . perl`;

export const LESSONS: readonly Lesson[] = [
  {
    name: "syscalls",
    title: "User space asks, the kernel does",
    notes: "Linux Kernel User & System Space; Syscalls",
    text:
      "Programs run in user space, where they can compute and nothing else. Whatever else they want, a file, memory, a new process, another host name, they ask of the " +
      "kernel by a system call: program, library, system call, kernel. A container is made of nothing but system calls, and each lesson shows those of its steps.",
    namespaces: ["uts"],
    keeps: is("setHostname"),
    looks: [],
    inside: [
      {
        command: "hostname",
        note: "a program asks for the name: the call is uname(2), the others are what it takes to start it",
      },
    ],
    counts: true,
    without: {
      uname: {
        says: "Without the call uname (a filter refuses it) the program can do all that it did before, but there is nobody else to ask for the name.",
        refuses: "uname",
      },
      sethostname: {
        says: "Without the call sethostname nothing has happened: the name is the kernel's, and it is what it was.",
        drop: is("setHostname"),
      },
    },
  },
  {
    name: "uts",
    title: "UTS namespace: a host name of its own",
    notes: "unshare --uts; hostname tupperware",
    text:
      "A namespace restricts what processes can see. The UTS namespace holds two names, the host name and the NIS domain name. A process that is cloned with CLONE_NEWUTS " +
      "gets a copy of them; what it changes afterwards is seen by it and its children alone.",
    namespaces: ["uts"],
    keeps: is("setHostname"),
    looks: [
      {
        at: is("clone"),
        before: [
          machine("hostname"),
          machine("readlink /proc/self/ns/uts", "everything is a file, a namespace too: this is its number"),
        ],
        after: [
          container("readlink /proc/self/ns/uts", "another number, so another namespace"),
          container("hostname", "still the same name: it is a copy"),
        ],
      },
      { at: is("setHostname"), after: [container("hostname"), machine("hostname", "the machine keeps its own")] },
    ],
    inside: [{ command: "hostname" }, { command: "readlink /proc/self/ns/uts" }],
    afterwards: [{ command: "hostname" }],
    without: {
      namespace: {
        says: "Without the namespace there is one host name for all, and the step that was to name the container renames the machine.",
        namespace: "uts",
        standIn: true,
      },
      hostname: {
        says: "Without this step the container keeps the name that it was born with: it is isolated, and cannot be told from the machine.",
        drop: is("setHostname"),
      },
    },
  },
  {
    name: "pid",
    title: "PID namespace: process numbers of its own",
    notes: "unshare --pid --fork",
    text:
      "In a PID namespace processes are numbered from 1. Its first process is PID 1: when it ends, the kernel kills all others in it. A process in there has one number " +
      "inside and another one outside; those outside have no number inside, so they cannot be named, signalled or traced.",
    namespaces: ["pid"],
    keeps: () => false,
    looks: [
      {
        at: is("clone"),
        after: [
          machine(
            "grep NSpid: /proc/$INIT/status",
            "one process, two numbers: on the machine, and in its own namespace",
          ),
        ],
      },
    ],
    inside: [
      { command: "echo $$ $PPID", note: "its own number and that of its parent, tupper, which has none in here" },
      {
        command: "readlink /proc/self",
        note: "/proc is still the machine's, and numbers as the machine does: the lesson proc is about that",
      },
    ],
    without: {
      namespace: {
        says: "Without the namespace the command is one of the machine's processes: it knows the number of its parent, and root could signal it, and all others.",
        namespace: "pid",
      },
    },
  },
  {
    name: "mount",
    title: "Mount namespace: a file tree of its own",
    notes: "unshare --mount",
    text:
      "The tree of files is made of mounts. A process that is cloned with CLONE_NEWNS gets a copy of the list; what it mounts is in its own list. But most machines mark their mounts as " +
      "shared: what is mounted in one copy is passed on to the others. So a container cuts these ties first.",
    options: { tmpfs: ["/mnt"] },
    namespaces: ["mount"],
    keeps: either(isPrivate, (step) => step.op === "mount" && step.target === "/mnt"),
    looks: [
      {
        at: mounts("tmpfs"),
        before: [container(MOUNTED)],
        after: [container(MOUNTED), machine(MOUNTED, "not on the machine")],
      },
    ],
    inside: [{ command: MOUNTED }],
    afterwards: [{ command: MOUNTED, note: "the last process of a mount namespace takes its mounts with it" }],
    without: {
      namespace: {
        says: "Without the namespace there is one list of mounts: what the container mounts lies on the machine's files, and stays when it has ended.",
        namespace: "mount",
        standIn: true,
      },
      propagation: {
        says: "Without this step the copy is still tied to the machine's list: what the container mounts appears there too, and stays when it has ended.",
        drop: isPrivate,
        standIn: true,
      },
    },
  },
  {
    name: "network",
    title: "Network namespace: interfaces, addresses and ports of its own",
    notes: "unshare --net; note that you won't be able to access the internet yet",
    text: "A new network namespace has one interface, lo, which is down, and no route. Nothing leads out of it: whoever wants to reach others needs a pair of interfaces, one on each side.",
    namespaces: ["network"],
    keeps: is("linkUp"),
    looks: [
      {
        at: is("clone"),
        before: [machine("tail -n +3 /proc/net/dev | cut -d: -f1")],
        after: [
          container("tail -n +3 /proc/net/dev | cut -d: -f1"),
          container("tail -n +2 /proc/net/route | wc -l", "routes: none, so the internet is out of reach"),
        ],
      },
      {
        at: is("linkUp"),
        before: [container(CONNECT, "the container calls itself: a network that is down")],
        after: [container(CONNECT, "a network that is up, and nobody who listens")],
      },
    ],
    inside: [{ command: CONNECT }],
    without: {
      namespace: {
        says: "Without the namespace the container has the machine's interfaces, addresses and ports.",
        namespace: "network",
        drop: is("linkUp"),
      },
      lo: {
        says: "Without this step the container cannot even call itself, as many programs do.",
        drop: is("linkUp"),
      },
    },
  },
  {
    name: "ipc",
    title: "IPC namespace: message queues and shared memory of its own",
    notes: "unshare --ipc",
    text: "System V message queues, semaphores and shared memory have numbers instead of names, and who knows a number can use the thing behind it. An IPC namespace has its own.",
    namespaces: ["ipc"],
    keeps: () => false,
    looks: [{ at: is("clone"), before: [machine(QUEUES, "how many message queues there are")] }],
    inside: [{ command: "ipcmk -Q" }, { command: QUEUES }],
    afterwards: [{ command: QUEUES, note: "it has gone with the namespace" }],
    without: {
      namespace: {
        says: "Without the namespace the queue is the machine's: everybody can see it, and it stays when the container has ended.",
        namespace: "ipc",
        standIn: true,
      },
    },
  },
  {
    name: "user",
    title: "User namespace: root inside, nobody outside",
    notes: "CLONE_NEWUSER",
    text:
      "In a user namespace ids are others: a map says which. Its first process has all capabilities in it, over what belongs to the namespace, and none over the machine. So an ordinary user can " +
      "be root in a container.",
    rootOptions: { uidmap: ["0:100000:65536"], gidmap: ["0:100000:65536"] },
    namespaces: ["user"],
    keeps: () => false,
    looks: [
      { at: is("mapIds"), after: [machine("cat /proc/$INIT/uid_map", "ids inside, ids outside, how many")] },
      {
        at: is("becomeMappedRoot"),
        before: [container("id -u", "an id that has no other in here is shown as 65534, nobody")],
        after: [container("id -u")],
      },
      { at: is("exec"), before: [machine("grep Uid: /proc/$INIT/status", "what the machine knows it as")] },
    ],
    inside: [
      { command: "id -u" },
      { command: "head -c 5 /etc/shadow; echo", note: "a file of the machine's root: root in here is somebody else" },
    ],
    without: {
      namespace: {
        says: "Without the namespace root inside is root outside, and reads root's files wherever it finds them.",
        namespace: "user",
        drop: is("mapIds", "becomeMappedRoot"),
        root: true,
      },
      map: {
        says: "Without the map no id inside has one outside: the command takes itself for nobody, 65534, and can become nobody else. The machine takes it for who it was before.",
        drop: is("mapIds", "becomeMappedRoot"),
      },
    },
  },
  {
    name: "cgroup",
    title: "Cgroup namespace: the own control group is the root",
    notes: "CLONE_NEWCGROUP",
    text: "A process can read which control group it is in, and the path tells of the machine around it. In a cgroup namespace paths begin at the group in which the namespace was made.",
    namespaces: ["cgroup"],
    keeps: (step, plan) => isGroup(step, plan) || step.op === "unshare",
    looks: [{ at: is("exec"), before: [machine(GROUP_LINE.replace("self", "$INIT"), "as the machine sees it")] }],
    inside: [{ command: GROUP_LINE }, { command: "readlink /proc/self/ns/cgroup" }],
    without: {
      namespace: {
        says: "Without the namespace the container reads the whole path of its group.",
        namespace: "cgroup",
      },
    },
  },
  {
    name: "time",
    title: "Time namespace: clocks that count from another moment",
    notes: "See man namespaces 7: what has come since",
    text: "Since Linux 5.6 the clocks that count from the start of the machine can be shifted for a container: one that is moved to another machine does not see its uptime jump. The time of day is the machine's.",
    options: { timens: "private", timeOffset: ["boottime=864000"] },
    namespaces: ["time"],
    keeps: is("unshare", "timeOffset"),
    looks: [{ at: is("exec"), before: [machine("cut -d. -f1 /proc/uptime", "seconds since the machine started")] }],
    inside: [{ command: "cut -d. -f1 /proc/uptime", note: "ten days more" }],
    without: {
      namespace: {
        says: "Without the namespace there is one uptime for all.",
        namespace: "time",
        drop: is("timeOffset"),
      },
      offset: {
        says: "Without the shift the clocks of the new namespace are those of the machine.",
        drop: is("timeOffset"),
      },
    },
  },
  {
    name: "join",
    title: "clone, unshare, setns: new namespaces, and those of others",
    notes: "The namespaces API",
    text:
      "clone(2) makes a process in new namespaces: the lessons before this one did that. unshare(2) moves the caller into new ones; setns(2) moves it into those that are there, of which /proc has " +
      "files. That is how a second command comes into a running container. Here a neighbour has a UTS namespace of its own.",
    namespaces: [],
    keeps: (step) => step.op === "joinNamespace" && step.type === "uts",
    root: true,
    neighbour: true,
    looks: [
      {
        at: is("joinNamespace"),
        before: [
          machine("readlink /proc/$NEIGHBOUR/ns/uts"),
          container("readlink /proc/self/ns/uts"),
          container("hostname"),
        ],
        after: [container("readlink /proc/self/ns/uts"), container("hostname")],
      },
    ],
    inside: [
      { command: "hostname" },
      {
        command: "unshare --uts sh -c 'hostname moved; hostname'",
        note: "unshare(1) calls unshare(2) and then starts a command",
      },
      { command: "hostname", note: "nobody else has moved" },
    ],
    without: {
      setns: {
        says: "Without setns the process is where it was born, in the machine's namespace.",
        drop: is("joinNamespace"),
      },
    },
  },
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

/** By its name or its number. */
export const lessonNamed = (word: string): Lesson | undefined =>
  /^\d+$/.test(word) ? LESSONS[Number(word) - 1] : LESSONS.find(({ name }) => name === word);
