/**
 * The vocabulary of plans. A step is data: one operation on the kernel, its arguments, who performs it, and why.
 * Whatever `execute` does to make a container, a step here describes.
 *
 * Steps of `parent` run in the process that was called, before and after the `clone` step; steps of `init` run
 * in the process that becomes the container, in order. Paths of init steps are the host's until `pivotRoot`, and
 * the container's after it.
 */
import type { Capabilities, IdMapping, NamespaceType } from "../spec/config.ts";

/** A value that exists only at run time; `script` makes a shell variable of it. */
export interface Slot {
  slot: string;
}

/** Why a step is there: the config field that asks for it (a path such as `mounts[3].options`), and the reason in words. */
interface Why {
  field?: string;
  because: string;
}

/** Mount flags by option name: `ro`, `nosuid`, `nodev`, `noexec`, `noatime`, `relatime`, … mount(8). */
export type MountFlag = string;

export type ParentStep = { by: "parent" } & Why &
  (
    | /** A directory of ours that says that this container exists, so that the next command can clean up after a crash. */
    {
        op: "recordState";
        path: string;
      } /** A control group: `controller` is a cgroup v1 controller's name, or `unified` for cgroup v2. mkdir(2). */
    | {
        op: "makeCgroup";
        controller: string;
        path: string;
      } /** One value into one file of cgroupfs, procfs or sysfs. */
    | {
        op: "write";
        path: string;
        value: string;
      } /** The process that becomes the container. clone3(2) with CLONE_NEW* for each namespace; `cgroup`: CLONE_INTO_CGROUP (v2). */
    | {
        op: "clone";
        namespaces: NamespaceType[];
        cgroup?: string;
        pid: Slot;
      } /** uid_map and gid_map of the init process. `helper`: by newuidmap/newgidmap. user_namespaces(7). */
    | {
        op: "mapIds";
        pid: Slot;
        uidMappings: IdMapping[];
        gidMappings: IdMapping[];
        /** By newuidmap(1) and newgidmap(1) instead of the files themselves. */
        helper: boolean;
        /** Write `deny` into setgroups first. */
        denySetgroups: boolean;
      }
  );

export type InitStep = { by: "init" } & Why &
  (
    | /** Dies when the parent dies. prctl(PR_SET_PDEATHSIG). */
    {
        op: "parentDeathSignal";
        signal: string;
      } /** cgroup v1: the single-threaded process writes itself into `tasks`. */
    | { op: "joinCgroup"; controller: string; path: string } /** setns(2) into the namespace behind a file. */
    | {
        op: "joinNamespace";
        type: NamespaceType;
        path: string;
      } /** Waits until the parent has written the id maps, then becomes root in the user namespace. */
    | {
        op: "becomeMappedRoot";
      } /** unshare(2) of namespaces that clone cannot make at the right moment (cgroup after joining, time before exec). */
    | {
        op: "unshare";
        namespaces: NamespaceType[];
      } /** /proc/self/timens_offsets, before the first process of the time namespace. time_namespaces(7). */
    | {
        op: "timeOffset";
        clock: "monotonic" | "boottime";
        secs: number;
        nanosecs: number;
      } /** Propagation of a mount, such as `rprivate`. */
    | {
        op: "propagation";
        target: string;
        mode: string;
      } /** mount(2) of a new filesystem. `data` is what the filesystem itself reads. */
    | {
        op: "mount";
        source: string;
        target: string;
        fstype: string;
        flags: MountFlag[];
        data: string;
        makeTarget?: boolean;
      } /** A clone of a mounted tree, taken while its source can be seen. open_tree(2) OPEN_TREE_CLONE. */
    | {
        op: "takeTree";
        source: string;
        recursive: boolean;
        flags: MountFlag[];
        tree: Slot;
        createSource?: boolean;
        optional?: boolean;
      } /** Puts a taken tree in place. move_mount(2). A missing target is made, a file for a file. */
    | {
        op: "placeTree";
        tree: Slot;
        target: string;
        propagation?: string;
      } /** bind mount within one view: source and target are both visible. */
    | {
        op: "bind";
        source: string;
        target: string;
        recursive: boolean;
      } /** Flags of an existing mount, and with `recursive` of those below. mount_setattr(2). */
    | {
        op: "setMountFlags";
        target: string;
        flags: MountFlag[];
        recursive: boolean;
      } /** Copies a tree without crossing filesystems: modes, owners, times, links, devices, xattrs. */
    | { op: "copyTree"; source: string; target: string }
    | { op: "makeDirectory"; path: string; mode: number } /** mknod(2). */
    | {
        op: "makeNode";
        path: string;
        type: "c" | "b" | "p";
        major: number;
        minor: number;
        mode: number;
        uid: number;
        gid: number;
      }
    | { op: "makeLink"; target: string; path: string }
    | {
        op: "changeDirectory";
        path: string;
        mustExist?: boolean;
      } /** pivot_root(".", "."): the new root over the old one, in place. pivot_root(2), "pivot_root(., .)". */
    | { op: "pivotRoot"; newRoot: string; putOld: string } /** umount2(MNT_DETACH). */
    | {
        op: "detach";
        target: string;
      } /** Hides a path: a file under /dev/null, a directory under an empty read-only tmpfs. A missing path is fine. */
    | {
        op: "mask";
        path: string;
      } /** Binds a path on itself and makes that read-only, recursively. A missing path is fine. */
    | { op: "makeReadonly"; path: string } /** Brings a network interface up. */
    | { op: "linkUp"; name: string }
    | { op: "setHostname"; name: string }
    | { op: "setDomainname"; name: string } /** One value into one file of procfs, as `linux.sysctl` asks. */
    | {
        op: "write";
        path: string;
        value: string;
      } /** A pty of the container's own devpts; its master goes to the parent, its slave becomes stdio and /dev/console. */
    | {
        op: "openPty";
        rows?: number;
        columns?: number;
      } /** A session of its own, and with a pty its controlling terminal. setsid(2), TIOCSCTTY. */
    | {
        op: "newSession";
        controllingTerminal: boolean;
      } /** A session keyring of its own, so that keys of the host do not leak. keyctl(2). */
    | { op: "newKeyring"; name: string }
    | { op: "setRlimit"; type: string; soft: number; hard: number }
    | { op: "setUmask"; mask: number } /** PR_CAPBSET_DROP of everything not listed. Names such as `CAP_CHOWN`. */
    | {
        op: "limitBoundingSet";
        keep: string[];
      } /** setgroups, setresgid, setresuid; capabilities are kept across it (PR_SET_KEEPCAPS). */
    | { op: "setUser"; uid: number; gid: number; groups: number[] | undefined } /** capset(2) and ambient set. */
    | { op: "setCapabilities"; sets: Capabilities }
    | { op: "noNewPrivileges" } /** seccomp(2) with a classic BPF program. */
    | {
        op: "seccomp";
        program: Uint8Array;
        flags: string[];
        profile: string;
      } /** All descriptors from `from` up close at exec. close_range(2). */
    | { op: "closeDescriptors"; from: number } /** tupper-init becomes PID 1; the command becomes its child. */
    | { op: "forkInit" } /** The command. A name without a slash is looked up in PATH of `env`. execve(2). */
    | { op: "exec"; args: string[]; env: string[] }
  );

export type Step = ParentStep | InitStep;
export type Op = Step["op"];

/** A whole container: what is done, and what is undone when it ends or when a step fails. */
export interface Plan {
  id: string;
  steps: Step[];
  /** By the parent, after the container has ended: control groups to remove, in this order. */
  cleanup: { cgroups: string[]; state: string };
}
