/** Data: the lessons about system calls and namespaces, in the order of the notes that tupper began with. */
import type { Lesson } from "./lesson.ts";
import {
  CONNECT,
  container,
  either,
  GROUP_LINE,
  is,
  isGroup,
  isPrivate,
  MOUNTED,
  machine,
  mounts,
  QUEUES,
} from "./lesson-words.ts";

export const NAMESPACE_LESSONS: readonly Lesson[] = [
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
];
