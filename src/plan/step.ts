/**
 * The vocabulary of plans. A step is data: one operation on the kernel, its arguments, who performs it, and why.
 * Whatever `execute` does to make a container, a step here describes.
 *
 * Steps of `parent` run in the process that was called, before and after the `clone` step; steps of `init` run
 * in the process that becomes the container, in order. Paths of init steps are the machine's until `pivotRoot`, and
 * the container's after it.
 */
import type {
  Capabilities,
  Device,
  Hook,
  IdMapping,
  Int64,
  IoPriority,
  MemoryPolicy,
  NamespaceType,
} from "../spec/config.ts";
import type { HookName, PersonalityDomain, SchedulerFlag, SchedulerPolicy } from "../spec/names.ts";
import type { UnitProperty } from "./cgroup/systemd.ts";

/** A value that exists only at run time; `script` makes a shell variable of it. */
export interface Slot {
  slot: string;
}

/** Why a step is there: the config field that asks for it (a path such as `mounts[3].options`), and the reason in words. */
export interface Why {
  field?: string;
  because: string;
}

/** What hooks are told of the container, beside its pid and status. runtime.md, "State". */
export interface HookState {
  ociVersion: string;
  id: string;
  bundle: string;
  annotations?: Record<string, string>;
}

/** Where hooks write to; without it what they say is for the error of one that fails. */
export interface HookOutput {
  stdout?: Slot;
  stderr?: Slot;
}

/** Mount flags by option name: `ro`, `nosuid`, `nodev`, `noexec`, `noatime`, `relatime`, … mount(8). */
export type MountFlag = string;

/** What the parent does, by the name of the operation. */
export interface ParentOperations {
  /** A directory of ours that says that this container exists, so that the next command can clean up after a crash. */
  recordState: { path: string };
  /**
   * A control group: `controller` is a cgroup v1 controller's name, or `unified` for cgroup v2. `mayExist`: a group above
   * the container's, shared with others; `unused`: one that is there already is refused while a process is in it or while
   * it is frozen. mkdir(2).
   */
  makeCgroup: { controller: string; path: string; mayExist?: boolean; unused?: boolean };
  /**
   * A unit of systemd with the process in it: a scope, which is a control group with limits that systemd keeps. `user`: of the
   * caller's own manager; `path`: the group that systemd makes for it. org.freedesktop.systemd1(5), StartTransientUnit.
   */
  startScope: { unit: string; user: boolean; properties: UnitProperty[]; pid: Slot; path: string };
  /**
   * Has systemd put the process into a unit that is there, or into the group `below` it: what a user may not do from outside
   * the manager's groups. AttachProcessesToUnit.
   */
  attachProcess: { unit: string; below: string; pid: Slot };
  /** Puts a process into a group of cgroup v2. */
  moveProcess: { path: string; pid: Slot };
  /** Every process of a cgroup v2 group moves into the group `into` below it. cgroups(7), "no internal processes". */
  vacateCgroup: { path: string; into: string };
  /** An empty cpuset.cpus or cpuset.mems of cgroup v1 gets the value of the same file one directory up. */
  inheritCgroupValue: { path: string };
  /** Device access on cgroup v2: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE for the group. bpf(2). */
  attachDeviceProgram: { path: string; program: Uint8Array };
  /**
   * A cgroup v2 group becomes a user's, so that the container can make groups below it: its directory and those files that
   * /sys/kernel/cgroup/delegate names. config-linux.md, "Cgroup ownership".
   */
  delegateCgroup: { path: string; uid: number };
  /**
   * The process goes from its cgroup v2 group `group` into `path` below it, which is made; the groups from `group` on hand it
   * their controllers, as far as the kernel lets them; with `owner` it becomes theirs, as `delegateCgroup` does it.
   */
  delegateBelow: { group: string; path: string; pid: Slot; owner?: { uid: number; gid: number } };
  /**
   * One value into one file of cgroupfs, procfs or sysfs; `otherwise`: what to write where there is no such file (ENOENT);
   * `ifPossible`: a missing file changes nothing (`missing`), or whatever the kernel says is fine (`refused`).
   */
  write: {
    path: string;
    value: string;
    otherwise?: { path: string; value: string };
    ifPossible?: "missing" | "refused";
  };
  /**
   * setns(2) into a user or PID namespace before the clone: what is cloned belongs to the one and is born in the other. Done
   * by a process between the parent and init, so that the parent stays where it is.
   */
  joinNamespace: { type: NamespaceType; path: string };
  /** The same with a pidfd: several namespaces of one process at once (Linux 5.8). */
  joinProcess: { process: Slot; namespaces: NamespaceType[] };
  /** By the process between, before it joins: what it clones is in sight of others from its first moment on, and inherits both. */
  refuseTracing: object;
  setOomScore: { score: number; mayStay?: true };
  /** A time namespace, by the process between, before Linux 6.3: only what is cloned from then on is in it. time_namespaces(7). */
  unshare: { namespaces: NamespaceType[] };
  timeOffset: { clock: "monotonic" | "boottime"; secs: number; nanosecs: number };
  /**
   * The process that becomes the container. clone3(2) with CLONE_NEW* for each namespace; `cgroup`: CLONE_INTO_CGROUP
   * (v2); `sharedMemory`: CLONE_VM, which spares the copy of the page tables.
   */
  clone: { namespaces: NamespaceType[]; cgroup?: string; pid: Slot; sharedMemory: boolean };
  /**
   * uid_map and gid_map of the init process. `helper`: by newuidmap(1) and newgidmap(1); `denySetgroups`: write `deny`
   * into setgroups first. user_namespaces(7).
   */
  mapIds: { pid: Slot; uidMappings: IdMapping[]; gidMappings: IdMapping[]; helper: boolean; denySetgroups: boolean };
  /**
   * A clone of a mounted tree in which owners are seen through the user namespace of the init process: what belongs to
   * root on disk belongs to the container's root in it. mount_setattr(2), MOUNT_ATTR_IDMAP (Linux 5.12).
   */
  takeMappedTree: { source: string; pid: Slot; tree: Slot };
  /**
   * Device nodes that a user namespace cannot make, on a filesystem that is mounted nowhere: trees for the init process. Left to
   * the `takeTree` of the same tree are those which the machine has as they are asked for, and those that the kernel does not
   * let us make (EPERM, ENOSYS). `label`: what SELinux calls them, and by which mount option.
   */
  makeNodes: { nodes: NodeApart[]; label?: { text: string; as: string } };
  /**
   * A datagram socket in the state directory, made before the clone: the init process waits on it, and `start` sends it a
   * socket to answer on. Once the process is gone a connect says so (ECONNREFUSED). unix(7).
   */
  listenForStart: { path: string; socket: Slot };
  /** Programs of the config, in the machine's namespaces, one after the other, with the state on stdin. config.md, "POSIX-platform Hooks". */
  runHooks: { kind: HookName; hooks: Hook[]; state: HookState; output?: HookOutput };
  /**
   * The source of a bind mount with owners mapped as the mount asks: `userns` is a namespace to map through, else one is made
   * with these mappings and left again. `all`: the mounts below it too. mount_setattr(2), MOUNT_ATTR_IDMAP (Linux 5.12).
   */
  takeIdMappedTree: TakenTree & IdMap;
  /**
   * The processors that this process, and what it clones, may run on: a list such as `0-3,7`, or all of them.
   * sched_setaffinity(2).
   */
  setCpuAffinity: { cpus: string };
  /**
   * A directory of resctrl. `schemata`: lines for its file of that name. `whose`: `own` is made for this container, `shared`
   * is made where it is missing and otherwise must say the same, `given` must be there. `monitor`: the monitoring group in it.
   */
  makeResctrlGroup: { path: string; whose: "own" | "shared" | "given"; schemata: string[]; monitor?: string };
  /**
   * Moves a network device of the machine into the container's network namespace, with its lasting addresses, under the
   * name `as`; the kernel replaces a `%d` in it by a free number. `path`: the namespace, where it is not init's own. rtnetlink(7).
   */
  moveNetDevice: { device: string; as: string; pid: Slot; path?: string };
}

/** Flags that a mount which names its own does not have from its source, as under runc and crun; how access times are kept is. */
export const FLAGS_OF_SOURCE: readonly MountFlag[] = ["ro", "nosuid", "nodev", "noexec", "nosymfollow"];

/** A device as the config asks for it, and who owns it on the machine. */
export interface NodeApart {
  asked: Device & { type: "c" | "b"; major: number; minor: number };
  uid: number;
  gid: number;
  tree: Slot;
  field: string;
}

/** How owners in a mount are shown: through the user namespace `userns`, else through one with these mappings. */
export interface IdMap {
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
  userns?: string;
  /** The mounts below it too. */
  all: boolean;
}

/** A clone of a mounted tree, with what is changed of its flags and its propagation. open_tree(2), mount_setattr(2). */
export interface TakenTree {
  source: string;
  /** With the mounts below it. */
  recursive: boolean;
  /**
   * Flags of the mount itself; `clear`: those that it has from its source and is to lose. When any of either is named, those
   * of {@link FLAGS_OF_SOURCE} that are not named go too, as far as the user namespace may take them away.
   */
  flags: MountFlag[];
  clear?: MountFlag[];
  /** The same for the mount and for all below. */
  recursiveFlags: MountFlag[];
  recursiveClear?: MountFlag[];
  /** `rprivate`, `rslave` …; without it mounts spread between the tree and its source, where that is shared. */
  propagation?: string;
  /** A source that is a symbolic link: taken itself, not what it leads to (`bound`), or made anew at the destination (`copied`). */
  link?: "bound" | "copied";
  /** The source is a path of the container: past no magic link, such as /proc/self/fd/7. openat2(2), RESOLVE_NO_MAGICLINKS. */
  inside?: boolean;
  /**
   * Where the kernel keeps it from the user namespace, for the mounts below it or for how its access times are kept, who started
   * the container takes it of the mounts outside: if it is not ro, nosuid, nodev or noexec, which would not be locked then.
   */
  outside?: boolean;
  /** Owners as {@link ParentOperations.takeIdMappedTree} maps them. */
  idMap?: IdMap;
  tree: Slot;
}

/** What the init process does, by the name of the operation. */
export interface InitOperations {
  /** Dies when the parent dies; `none`: not any more. prctl(PR_SET_PDEATHSIG). */
  parentDeathSignal: { signal: string };
  /** The single-threaded process writes itself (`0`) into `tasks` on v1, into `cgroup.procs` where `controller` is `unified`. */
  joinCgroup: { controller: string; path: string };
  /** setns(2) into the namespace behind a file. */
  joinNamespace: { type: NamespaceType; path: string };
  /** setns(2) with a pidfd: all these namespaces of one process, at once (Linux 5.8). */
  joinProcess: { process: Slot; namespaces: NamespaceType[] };
  /** No process of the container may trace this one while it still holds descriptors of the machine. prctl(PR_SET_DUMPABLE). */
  refuseTracing: object;
  /**
   * Waits until the parent has written the id maps, then becomes root in the user namespace. `otherwise`: who to become
   * where the maps have no root.
   */
  becomeMappedRoot: { otherwise?: { uid: number; gid: number } };
  /** Waits until the parent has put this process into its control groups, where systemd makes them. */
  awaitScope: object;
  /** Waits until the parent has put this process into the group that is delegated to it. */
  awaitDelegation: object;
  /** Waits until the parent has done what it does after the clone. */
  awaitParent: object;
  /** unshare(2) of namespaces that clone cannot make at the right moment (cgroup after joining, time before exec). */
  unshare: { namespaces: NamespaceType[] };
  /** /proc/self/timens_offsets, before the first process of the time namespace. time_namespaces(7). */
  timeOffset: { clock: "monotonic" | "boottime"; secs: number; nanosecs: number };
  /** Propagation of a mount, such as `rprivate`. */
  propagation: { target: string; mode: string };
  /**
   * mount(2) of a new filesystem; with the flag `remount` a change of the one that is there. `data` is what the filesystem
   * itself reads. A missing target is made. `like`: a tmpfs gets the mode of the directory that it covers, or (`copy`) all
   * that is in it. `idMap`: the parent makes it, outside of the user namespace, with owners mapped as `takeIdMappedTree` has it.
   */
  mount: {
    source: string;
    target: string;
    fstype: string;
    flags: MountFlag[];
    data: string;
    like?: "mode" | "copy";
    idMap?: IdMap;
    /** What SELinux calls its files, where the kernel has it: a mount option such as `context`, or an attribute of its root. */
    label?: { text: string; as: string };
  };
  /** A clone of a mounted tree, taken while its source can be seen; with `idMap` by the parent. `ifReachable`: left for a later step where access is denied. */
  takeTree: TakenTree & { ifReachable?: boolean };
  /**
   * A new filesystem, not mounted anywhere yet. In a user namespace proc and sysfs may be made only while a whole one of
   * the machine's is in sight. `otherwise`: where that is refused (EPERM), this tree is taken in its place; `idMap` as of
   * `mount`. fsopen(2), fsmount(2).
   */
  takeFilesystem: {
    source: string;
    fstype: string;
    flags: MountFlag[];
    data: string;
    tree: Slot;
    otherwise?: string;
    idMap?: IdMap;
  };
  /**
   * Puts a taken tree or filesystem in place. A missing target is made, a file for a file. The target may not lie in procfs,
   * but for the files named in proc-files.ts. `exact`: the target may not be a link; `nofollow`: a link is mounted on
   * itself; `proc`: the tree must be a whole procfs; `file`: its root is no directory; `fstype`: it is a new filesystem of this
   * type that names nothing of the machine; `again`: it was made before mounts that are placed before it, and a clone that is
   * made now is placed in its stead. move_mount(2).
   */
  placeTree: {
    tree: Slot;
    target: string;
    exact?: boolean;
    nofollow?: boolean;
    proc?: boolean;
    file?: boolean;
    fstype?: string;
    again?: boolean;
  };
  /**
   * Puts a taken tree or filesystem in place in a running container. The place is found in the container's root, past no magic
   * link; what is missing of it is made. What was placed before it is undone when this fails. openat2(2), move_mount(2).
   */
  placeInside: { tree: Slot; target: string; nofollow?: boolean };
  /** Takes mounts of a running container away: each must be the top one at its place and have this number. umount2(2). */
  unmountInside: { mounts: { target: string; mountId: string; field: string }[] };
  /** Tells the parent the numbers of what was placed, waits until it has put that on record, and ends. */
  reportPlaced: object;
  /** bind mount within one view: source and target are both visible. `tree`: what was taken of the source before. */
  bind: { source: string; target: string; recursive: boolean; tree?: Slot };
  /** Flags of an existing mount, and with `recursive` of those below; `clear`: flags to take away. mount_setattr(2). */
  setMountFlags: { target: string; flags: MountFlag[]; clear?: MountFlag[]; recursive: boolean };
  /** Copies a tree without crossing filesystems: modes, owners, times, links, devices, xattrs. */
  copyTree: { source: string; target: string };
  /**
   * mkdir(2), parents too. `like`: with the mode and owner of that directory; with `userns` an owner that shows as 65534
   * is one that the user namespace does not map, and is left out. `ifMissing`: it may be one that root may not look at.
   */
  makeDirectory: { path: string; mode: number; like?: { path: string; userns: boolean }; ifMissing?: boolean };
  /** mknod(2). A node that is there stays; with `exact` it must be of this type and number. */
  makeNode: {
    path: string;
    type: "c" | "b" | "p";
    major: number;
    minor: number;
    mode: number;
    uid: number;
    gid: number;
    exact?: boolean;
  };
  /** symlink(2). What is there stays, or with `replace` goes. */
  makeLink: { target: string; path: string; replace?: boolean };
  /**
   * chdir(2). `inside`: the container's working directory, which is made if it is missing (unless it `mustExist`) and must
   * lie inside its root.
   */
  changeDirectory: { path: string; inside?: boolean; mustExist?: boolean };
  /** pivot_root(".", "."): the old root is stacked on the new one, in place. pivot_root(2), "pivot_root(., .)". */
  pivotRoot: { newRoot: string; putOld: string };
  /**
   * `root` moves onto `/` and becomes the root by chroot(2), for roots that pivot_root refuses (initramfs). What is under it
   * can still be named by who escapes the chroot, so each proc and sysfs there is taken away first: seen whole, they would
   * let a user namespace mount new ones. `there`: it lies on `/` already. mount(2), MS_MOVE.
   */
  moveRoot: { root: string; there?: true };
  /** umount2(MNT_DETACH), and on to `/`. */
  detach: { target: string };
  /** Goes on in a copy of the mount namespace; `original` keeps the one that was left. unshare(2). */
  copyMountNamespace: { original: Slot };
  /** Takes everything below `/` as a tree and goes back to the namespace that was left. open_tree(2), setns(2). */
  takeViewBack: { original: Slot; tree: Slot };
  /** What is taken there becomes the root: fchdir(2), chroot(2). Above a tree that is mounted nowhere is nothing to climb to. */
  /** `mount`: where one of its mounts is, which must still be there when nobody has the tree open. */
  enterTree: { tree: Slot; mount?: string };
  /** Waits until the parent has run the hooks that are its to run. */
  awaitHooks: object;
  /** Programs of the config, in the namespaces of the container, with the state on stdin. `inherited`: of those that name no environment. */
  runHooks: {
    kind: HookName;
    hooks: Hook[];
    state: HookState;
    inherited?: { env: string[]; homeOf?: number };
    output?: HookOutput;
  };
  /** Whether there is such a command and it may be executed, while the caller can still be told. */
  findCommand: { args: string[]; env: string[]; cwd: string };
  /** Tells the parent that all is made, waits until it has put that on record, and lives on without it. */
  reportCreated: object;
  /** Sleeps until `start` sends a socket, with no other descriptor of the set-up open but `keeps`; errors from here on go to that one. */
  waitForStart: { socket: Slot; preservedFds: number; keeps?: Slot[] };
  /**
   * Hides a path: a file under the container's null device, which must be one (CVE-2025-31133), a directory under an empty
   * read-only tmpfs. A missing path is fine.
   */
  mask: { path: string };
  /** Binds a path on itself and makes that read-only, recursively. A missing path is fine. */
  makeReadonly: { path: string };
  /** Brings a network interface up. */
  linkUp: { name: string };
  setHostname: { name: string };
  setDomainname: { name: string };
  /** One value into one file of procfs, as `linux.sysctl` asks. */
  write: { path: string; value: string };
  /** A pty of the container's own devpts; its master goes to the parent, its slave, `owner`'s, becomes stdio and with `console` /dev/console. */
  /** `plainNewlines`: a line ends with \n alone on its way out. */
  openPty: { owner: number; console: boolean; rows?: number; columns?: number; plainNewlines?: boolean };
  /** A session of its own, and with a pty its controlling terminal. setsid(2), TIOCSCTTY. */
  newSession: { controllingTerminal: boolean };
  /**
   * A session keyring of its own, so that keys of the caller do not leak. One of this name that may be searched is joined:
   * `shared` makes it one that the container's later processes find. `label`: what SELinux calls keys made from here on. keyctl(2).
   */
  newKeyring: { name: string; shared: boolean; label?: { selinux: string; proc: Slot } };
  /** -1 is no limit. Where this process may not, its parent does it. prlimit(2). */
  setRlimit: { type: string; soft: Int64; hard: Int64 };
  /**
   * Where memory runs out, the process with the highest score is killed first. Where this process may not, its parent does
   * it; `mayStay`: that neither may lower it is no error. proc(5).
   */
  setOomScore: { score: number; mayStay?: true };
  /** sched_setattr(2). Times in nanoseconds. */
  setScheduler: {
    policy: SchedulerPolicy;
    nice: number;
    priority: number;
    flags: SchedulerFlag[];
    runtime: Int64;
    deadline: Int64;
    period: Int64;
  };
  /** ioprio_set(2). */
  setIoPriority: IoPriority;
  /** sched_setaffinity(2). */
  setCpuAffinity: { cpus: string };
  /** What uname(2) and memory layout look like. personality(2). */
  setPersonality: { domain: PersonalityDomain };
  /** set_mempolicy(2). */
  setMemoryPolicy: MemoryPolicy;
  /** Moves itself into these directories of resctrl. */
  joinResctrl: { paths: string[] };
  /** The machine's /proc, for the labels: no file of the container can stand in its way. */
  takeProc: { proc: Slot };
  /**
   * The profile of AppArmor and the label of SELinux from the next execve on; nothing where the kernel has no such module.
   * `stacked`: a profile that is in force already stays so beside it, which no_new_privs demands.
   */
  setLabels: { apparmor?: string; stacked?: boolean; selinux?: string; proc: Slot };
  /** Standard input, output and error, where they are pipes or sockets, belong to the command's user: /dev/stdout can be opened then. */
  ownStdio: { uid: number };
  setUmask: { mask: number };
  /** PR_CAPBSET_DROP of everything not listed. Names such as `CAP_CHOWN`. */
  limitBoundingSet: { keep: string[] };
  /** setgroups (left out where `groups` is undefined), setresgid, setresuid; capabilities are kept across it (PR_SET_KEEPCAPS). */
  setUser: { uid: number; gid: number; groups: number[] | undefined; otherwise?: { uid: number; gid: number } };
  /** capset(2) and the ambient set. */
  setCapabilities: { sets: Capabilities };
  /** prctl(PR_SET_NO_NEW_PRIVS). */
  noNewPrivileges: object;
  /**
   * seccomp(2) with a classic BPF program; `flags` as seccomp(2) takes them. With SECCOMP_FILTER_FLAG_NEW_LISTENER the
   * parent hands the listener to the agent at `listener`. `ignored`: system calls and architectures of the profile that
   * are not known here.
   */
  seccomp: {
    program: Uint8Array;
    flags: number;
    profile: string;
    listener?: { path: string; metadata?: string };
    ignored?: string[];
  };
  /** All descriptors from `from` up close at exec. close_range(2). */
  closeDescriptors: { from: number };
  /** tupper-init becomes PID 1; the command becomes its child. Both do what follows, but for `newSession` and `exec`. */
  forkInit: object;
  /**
   * The command. A name without a slash is looked up in PATH of `env`. `homeOf`: HOME is missing in `env`, and is what the
   * container's /etc/passwd says of that user. `awaited`: not when who waits for it has gone meanwhile. execve(2).
   */
  exec: { args: string[]; env: string[]; homeOf?: number; awaited?: true };
}

export type ParentStep = {
  [Op in keyof ParentOperations]: { op: Op; by: "parent" } & Why & ParentOperations[Op];
}[keyof ParentOperations];

export type InitStep = {
  [Op in keyof InitOperations]: { op: Op; by: "init" } & Why & InitOperations[Op];
}[keyof InitOperations];

export type Step = ParentStep | InitStep;
export type Op = Step["op"];

/** A whole container: what is done, and what is undone when it ends or when a step fails. */
export interface Plan {
  id: string;
  steps: Step[];
  /** Control groups that the parent removes when the container has ended, in this order. */
  cleanup: { cgroups: string[]; state?: string };
  /** What was asked for and cannot be had here. */
  warnings: string[];
}
