/** Data: what there is to know about each operation of a plan, whatever its arguments. */
import type { Op } from "../plan/step.ts";
import type { Knowledge } from "./knowledge.ts";

const CREDENTIALS = ["capabilities(7)"] as const;

/** By operation, when the arguments do not matter. */
export const OPERATIONS: Readonly<Record<Op, Knowledge>> = {
  recordState: {
    gives: "a note that this container exists, outside of it",
    without: "after a crash nobody would know what to clean up",
    man: ["mkdir(2)"],
  },
  makeCgroup: {
    gives: "a group of processes that is counted and limited as one",
    without: "limits could not be set, and usage not be read, for the container as a whole",
    man: ["cgroups(7)"],
  },
  startScope: {
    gives: "a control group that belongs to systemd, with limits that it keeps and shows (systemctl status)",
    without: "systemd could move the processes, or set the limits back, at its next reload",
    man: ["systemd.scope(5)", "systemd.resource-control(5)"],
  },
  attachProcess: {
    gives: "the container's limits for one more of its processes",
    without: "a user may not move a process out of a login's session",
    man: ["cgroups(7)"],
  },
  moveProcess: {
    gives: "a group of the container's own below that of systemd",
    without: "the group of systemd could not hand controllers down: there would be a process in it",
    man: ["cgroups(7)"],
  },
  awaitScope: {
    gives: "a process that is counted and limited from here on",
    without: "its cgroup namespace would be rooted where its maker is",
    man: ["cgroups(7)"],
  },
  vacateCgroup: {
    gives: "a group that can hand controllers down: on cgroup v2 it may have no processes of its own then",
    without: "no limit could be set (EBUSY)",
    man: ["cgroups(7)"],
  },
  inheritCgroupValue: {
    gives: "processors and memory nodes for the group: a new cpuset group of cgroup v1 has none",
    without: "no process could join the group (ENOSPC)",
    man: ["cpuset(7)"],
  },
  attachDeviceProgram: {
    gives: "which device nodes may be opened: on cgroup v2 a small program that the kernel asks",
    without: "root inside could make a node for the machine's disk and read it",
    man: ["bpf(2)", "cgroups(7)"],
  },
  delegateCgroup: {
    gives: "groups of its own below the container's: systemd in a container needs them",
    without: "the container could look at its control group, but neither make groups in it nor move processes",
    man: ["cgroups(7)", "chown(2)"],
  },
  delegateBelow: {
    gives: "a group whose files are the container's to write, while its limits lie above, where they are not",
    without: "who may make groups in the container's own could leave it empty, and hand nothing down while it is in it",
    man: ["cgroups(7)", "chown(2)"],
  },
  write: {
    gives: "one value of the kernel, set through a file: everything is a file",
    without: "the kernel's default, or the machine's value, would hold",
    man: ["cgroups(7)", "proc(5)"],
  },
  clone: {
    gives: "a child process in new namespaces; the caller stays outside, waits and cleans up",
    without: "there would be no container: everything below happens in that child",
    man: ["clone(2)", "namespaces(7)"],
  },
  mapIds: {
    gives: "which ids of the machine the ids inside stand for",
    without: "every id inside would be nobody (65534), and files could not be owned or opened",
    man: ["user_namespaces(7)"],
  },
  listenForStart: {
    gives: "a way for start to wake the container, and to hear what goes wrong then",
    without: "create could not leave a container that waits",
    man: ["unix(7)"],
  },
  runHooks: {
    gives: "programs of the config that take part in the container's life: network set-up, device drivers, accounting",
    without: "what they prepare would be missing",
    man: ["execve(2)"],
  },
  copyMountNamespace: {
    gives: "a view to build in while the first one, where the machine can be seen, is kept aside",
    without: "hooks would run when the machine's files are out of sight already",
    man: ["mount_namespaces(7)", "unshare(2)"],
  },
  takeViewBack: {
    gives: "the finished mounts below the rootfs, in a namespace in which the machine's files can be seen",
    without: "hooks could not find the container's files by the path that the config names",
    man: ["setns(2)", "mount_namespaces(7)"],
  },
  enterTree: {
    gives: "a root of its own in a mount namespace that is shared with others",
    without: "the files of that namespace would be in sight in place of the container's",
    man: ["chroot(2)", "open_tree(2)"],
  },
  awaitHooks: {
    gives: "the order that the specification wants: hooks of the machine's side before the root is entered",
    without: "the container would go on before its network, say, is there",
    man: ["unix(7)"],
  },
  findCommand: {
    gives: "a missing command is an error of create, which can undo what was done",
    without: "it would show only when the container is started",
    man: ["access(2)"],
  },
  reportCreated: {
    gives: "a container that needs nobody: its record is written, and only then may its maker end",
    without: "a crash at the wrong moment would leave a container that is on no record",
    man: ["prctl(2)"],
  },
  waitForStart: {
    gives: "time between create and start, in which an engine connects the network and the logs",
    without: "the command would run before the engine is ready",
    man: ["recv(2)"],
  },
  takeMappedTree: {
    gives: "files that belong to root on disk belong to the container's root, without a chown",
    without: "they would belong to nobody (65534), and the container's root could not change them",
    man: ["mount_setattr(2)", "user_namespaces(7)"],
  },
  makeNodes: {
    gives:
      "devices that the config describes, with the owners that it names, where nobody in the container could make them",
    without: "only nodes of the machine's own /dev could be bound, with the owners and modes that they have there",
    man: ["mknod(2)", "open_tree(2)", "user_namespaces(7)"],
  },
  takeIdMappedTree: {
    gives: "files under other owners than they have on disk, in this one mount",
    without: "they would belong to ids that mean nothing in the container, and could not be changed there",
    man: ["mount_setattr(2)", "user_namespaces(7)"],
  },
  setCpuAffinity: {
    gives: "the processors that this process and its children run on, within those of its control group",
    without: "the processors of the caller would hold",
    man: ["sched_setaffinity(2)", "taskset(1)"],
  },
  makeResctrlGroup: {
    gives:
      "a share of the processor's last-level cache and of the memory bandwidth, and a count of what is used of them",
    without: "a neighbour with a large working set would empty the cache of all others",
    man: ["mkdir(2)"],
  },
  moveNetDevice: {
    gives: "a network device of the machine, such as one virtual function of a network card, for the container alone",
    without: "the container would have to reach the network through others: a bridge, or the machine's own namespace",
    man: ["rtnetlink(7)", "network_namespaces(7)", "ip-link(8)"],
  },
  parentDeathSignal: {
    gives: "an end for the container when the command that runs it is killed",
    without: "kill -9 of tupper would leave a container behind that nobody watches",
    man: ["prctl(2)"],
  },
  joinCgroup: {
    gives: "the limits of the group hold for this process and all its children",
    without: "the group would stay empty and its limits without effect",
    man: ["cgroups(7)"],
  },
  joinNamespace: {
    gives: "another container's view of one kind of resource",
    without: "the two could not work together",
    man: ["setns(2)"],
  },
  joinProcess: {
    gives: "the container's view: its files, processes, network, names",
    without: "the command would run on the machine",
    man: ["setns(2)", "namespaces(7)"],
  },
  refuseTracing: {
    gives: "no look into this process for the container's root",
    without:
      "a process of the container could trace the set-up and take its descriptors and privileges (CVE-2016-9962)",
    man: ["prctl(2)", "ptrace(2)"],
  },
  becomeMappedRoot: {
    gives: "root of the user namespace, who has power over what belongs to that namespace and nothing else",
    without: "the process would be nobody and lose its capabilities at the next execve",
    man: ["user_namespaces(7)"],
  },
  awaitDelegation: {
    gives: "a process that lives in the delegated group from here on, and sees the one above as its root",
    without: "its mounts would be made while it is still in the group that it is to leave",
    man: ["cgroup_namespaces(7)"],
  },
  awaitParent: {
    gives: "the end of what only the parent may do, before anything here relies on it",
    without: "the command could start before its network devices are there",
    man: ["network_namespaces(7)"],
  },
  unshare: {
    gives: "new namespaces for the process itself, at the moment when they get the right root",
    without: "they would be made by clone, too early",
    man: ["unshare(2)"],
  },
  timeOffset: {
    gives: "a clock shifted against the machine's",
    without: "the clock would show the machine's time since boot",
    man: ["time_namespaces(7)"],
  },
  propagation: {
    gives: "a mount tree that does not pass mounts on to the machine",
    without:
      "systemd shares all mounts: mounts made here would appear on the machine, and pivot_root would fail (EINVAL)",
    man: ["mount_namespaces(7)"],
  },
  mount: {
    gives: "a filesystem at a place of the container's tree",
    without: "the files that the config asks for would not be there",
    man: ["mount(2)"],
  },
  takeTree: {
    gives: "a hold on files of the machine, taken before its tree is gone",
    without: "after pivot_root no path leads to them any more",
    man: ["open_tree(2)"],
  },
  takeFilesystem: {
    gives: "a filesystem of the container's own namespaces, made while the kernel still allows it",
    without: "the kernel refuses a new proc or sysfs to a user namespace that sees no whole one",
    man: ["fsopen(2)", "fsmount(2)", "mount_namespaces(7)"],
  },
  placeTree: {
    gives: "files of the machine inside the container, at this one place",
    without: "the container would have only its own files",
    man: ["move_mount(2)"],
  },
  placeInside: {
    gives: "files in a running container, at this one place",
    without: "the container would have to be made anew",
    man: ["openat2(2)", "move_mount(2)"],
  },
  unmountInside: {
    gives: "the container as it was before",
    without: "what was added would stay until the container ends",
    man: ["umount2(2)", "statx(2)"],
  },
  reportPlaced: {
    gives: "a record of what was added, by the kernel's own numbers",
    without: "whoever removes it could only trust paths, which the container can change",
    man: ["statx(2)"],
  },
  bind: {
    gives: "the same files at a second place, as a mount of its own with its own flags",
    without:
      "the tree would be part of the machine's mount, and pivot_root refuses a root that is no mount point (EINVAL)",
    man: ["mount(2)"],
  },
  setMountFlags: {
    gives: "what may be done through this mount, whatever the files' permissions say",
    without: "writing, device nodes or set-user-id programs would work there",
    man: ["mount_setattr(2)", "mount(8)"],
  },
  copyTree: {
    gives: "files of the container's own, in memory",
    without: "the root filesystem would be empty, or the original would be written to",
    man: ["cp(1)"],
  },
  makeDirectory: {
    gives: "a place to mount on, to write to or to start in",
    without: "what needs the place would fail (ENOENT)",
    man: ["mkdir(2)"],
  },
  makeNode: {
    gives: "the few harmless devices that every program expects",
    without:
      "`>/dev/null`, random numbers and terminals would fail; the machine's whole /dev would give away its disks",
    man: ["mknod(2)", "null(4)"],
  },
  makeLink: {
    gives: "names that programs expect in /dev",
    without: "`<(…)` of the shell, /dev/stdin and /dev/ptmx would not work",
    man: ["symlink(2)"],
  },
  changeDirectory: {
    gives: "the directory that relative paths start from",
    without: "the process would stand in a directory of the machine, outside its root: a way out (CVE-2024-21626)",
    man: ["chdir(2)"],
  },
  pivotRoot: {
    gives: "a root filesystem of its own: / is the new tree for every process of the container",
    without: "chroot alone can be left by root with a second chroot, and leaves the machine's mounts in the namespace",
    man: ["pivot_root(2)"],
  },
  moveRoot: {
    gives: "another / where pivot_root cannot be had; the old one stays below it",
    without: "the machine's files would be in sight: its root, its mounts, its devices",
    man: ["mount(2)", "chroot(2)"],
  },
  detach: {
    gives: "the end of every path to the machine's files",
    without: "the machine's whole tree would still be mounted, and one umount away",
    man: ["umount(2)"],
  },
  mask: {
    gives: "an empty file or directory in its place",
    without: "keys, memory and hardware details of the machine could be read there: no namespace covers them",
    man: ["mount(2)", "proc(5)"],
  },
  makeReadonly: {
    gives: "a look without a touch",
    without: "root inside could change settings of the machine's kernel there",
    man: ["mount_setattr(2)", "proc(5)"],
  },
  linkUp: {
    gives: "the loopback interface, 127.0.0.1 and ::1",
    without: "programs that talk to localhost would get ENETUNREACH",
    man: ["netdevice(7)"],
  },
  setHostname: {
    gives: "a name that prompts, logs and programs show",
    without: "the container would show the name of the machine",
    man: ["sethostname(2)"],
  },
  setDomainname: {
    gives: "an NIS domain name",
    without: "the container would show that of the machine",
    man: ["setdomainname(2)"],
  },
  openPty: {
    gives: "a terminal: line editing, Ctrl-C, window size, job control",
    without: "ps would show TTY ?, and a program could push input into the caller's terminal (TIOCSTI)",
    man: ["pty(7)"],
  },
  newSession: {
    gives: "a session of its own, which owns its terminal or has none",
    without: "the caller's terminal would be the container's controlling terminal",
    man: ["setsid(2)", "credentials(7)"],
  },
  newKeyring: {
    gives: "an empty session keyring",
    without: "keys of the caller's session, such as Kerberos tickets, could be used inside",
    man: ["session-keyring(7)"],
  },
  setRlimit: {
    gives: "a limit for each process by itself",
    without: "the limit of the caller would hold",
    man: ["getrlimit(2)"],
  },
  setOomScore: {
    gives: "a place in the order in which processes are killed when the machine runs out of memory",
    without: "the caller's score would hold, and if that is a protected daemon's, the container would be spared too",
    man: ["proc(5)", "choom(1)"],
  },
  setScheduler: {
    gives: "how the kernel chooses who runs next: by fair shares, by fixed priority, in the background, or by deadline",
    without: "the policy of the caller would hold",
    man: ["sched(7)", "sched_setattr(2)", "chrt(1)"],
  },
  setIoPriority: {
    gives: "whose requests a disk serves first, with a scheduler such as BFQ that looks at it",
    without: "the priority would follow from the nice value",
    man: ["ioprio_set(2)", "ionice(1)"],
  },
  setPersonality: {
    gives: "the machine that programs believe to be on: with LINUX32 uname(2) shows a 32-bit one",
    without: "builds of 32-bit programs would take the machine for what it is",
    man: ["personality(2)", "setarch(8)"],
  },
  setMemoryPolicy: {
    gives: "the memory nodes that pages are taken from",
    without: "pages would come from the node of the processor that touches them first",
    man: ["set_mempolicy(2)", "numa(7)"],
  },
  joinResctrl: {
    gives: "the cache and bandwidth of this class for the process and its children",
    without: "the class would stay empty and without effect",
    man: ["write(2)"],
  },
  takeProc: {
    gives: "a hold on the kernel's own files about this process",
    without: "a container could put something else at /proc, and the label would go nowhere (CVE-2019-16884)",
    man: ["proc(5)", "open(2)"],
  },
  setLabels: {
    gives: "rules of the kernel that hold for root too: which files, networks, mounts and signals the command may use",
    without: "the command would have the label of the runtime, which may do everything",
    man: ["proc(5)", "aa_change_profile(2)", "setexeccon(3)"],
  },
  ownStdio: {
    gives: "a standard output that the command may open again, as /dev/stdout or /proc/self/fd/1",
    without: "such an open would fail (EACCES): the pipe belongs to who made it",
    man: ["fchown(2)", "pipe(7)"],
  },
  setUmask: {
    gives: "the permissions that new files do not get",
    without: "the caller's umask would hold",
    man: ["umask(2)"],
  },
  limitBoundingSet: {
    gives: "an upper bound: capabilities that no execve can give back",
    without: "a set-user-id program inside would have all the power of root, loading kernel modules included",
    man: CREDENTIALS,
  },
  setUser: {
    gives: "the user that the command runs as",
    without: "the command would run as root of the set-up, with the caller's groups",
    man: ["credentials(7)", "setresuid(2)"],
  },
  setCapabilities: {
    gives: "the parts of root's power that the command has",
    without: "the command would start with everything that the set-up needed, mounting included",
    man: CREDENTIALS,
  },
  noNewPrivileges: {
    gives: "a promise of the kernel: execve gives no more privileges than there are",
    without: "sudo, su and other set-user-id programs of the image could raise an ordinary user to root inside",
    man: ["prctl(2)"],
  },
  seccomp: {
    gives: "a filter on every system call: of several hundred only those that ordinary programs need",
    without: "a bug in any rarely used system call of the shared kernel could be reached from inside",
    man: ["seccomp(2)"],
  },
  closeDescriptors: {
    gives: "no open files but standard input, output and error",
    without: "a descriptor of a directory of the machine would be a way out (CVE-2024-21626)",
    man: ["close_range(2)"],
  },
  forkInit: {
    gives: "a PID 1 that reaps orphans and passes signals on",
    without:
      "the command is PID 1: orphans stay as zombies unless it reaps them, and SIGTERM does nothing unless it handles it",
    man: ["pid_namespaces(7)", "wait(2)"],
  },
  exec: {
    gives: "the command, in the process that was prepared for it",
    without: "there would be an empty container",
    man: ["execve(2)"],
  },
};
