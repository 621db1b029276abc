/**
 * Which layer refused a call, from evidence: the filters run on that very call, the rights of the thread, modes, owners and
 * mounts on the way to the path. Where several could have, or none is to be seen, it says so. Pure but for what the scene reads.
 */
import type { Call } from "../../execute/ptrace.ts";
import { emulateSeccomp } from "../../plan/seccomp/emulate.ts";
import { CAPABILITIES } from "../../spec/capabilities.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT } from "../../sys/constants.ts";
import { errnoName } from "../../sys/errno.ts";
import { portIn, type ToldCall } from "./call-text.ts";
import { accessFor, CHANGES_PARENT, capabilityFor } from "./needs.ts";
import type { Place, Scene, Thread } from "./scene.ts";

export type Layer =
  | "seccomp"
  | "capability"
  | "user namespace"
  | "file mode"
  | "file attribute"
  | "mount flag"
  | "device cgroup"
  | "kernel"
  | "unknown";

export interface Reason {
  layer: Layer;
  /** What refused it. */
  text: string;
  /** What was read of the machine that says so. */
  evidence: string;
  /** The flag of `tupper run` that would allow it. */
  flag?: string;
}

export interface Denial {
  tid: number;
  call: Call;
  told: ToldCall;
  errno: number;
}

const [EPERM, EACCES, EROFS, ENOSYS] = [1, 13, 30, 38];
export const DENIALS: ReadonlySet<number> = new Set([EPERM, EACCES, EROFS, ENOSYS]);

/** `ownFilters`: what the container was given, where the kernel does not hand out the filters. */
export function reasonOf(denial: Denial, scene: Scene, ownFilters: readonly Uint8Array[]): Reason {
  const filters = scene.filters();
  const bySeccomp = seccompReason(denial, filters ?? ownFilters, filters === undefined);
  if (bySeccomp !== undefined) return bySeccomp;
  const { errno, told } = denial;
  if (errno === ENOSYS)
    return {
      layer: "kernel",
      text: `this kernel has no ${told.name}, or not for these arguments`,
      evidence: "no filter refuses it",
    };
  const thread = scene.thread();
  return (
    reasonOnTheWay(denial, scene, thread) ??
    capabilityReason(denial, thread) ?? {
      layer: "unknown",
      text:
        thread.label === undefined || thread.label.startsWith("unconfined")
          ? "which layer refused it cannot be told"
          : `it cannot be told for sure; a security module confines the process (${thread.label}), and its log may say more`,
      evidence:
        "not seccomp, not the mode of a file, not a read-only mount, not a capability that this call is known to need",
    }
  );
}

/* ---- seccomp --------------------------------------------------------------------------------- */

const RET_ACTION = 0xffff0000;
const RET_ERRNO = 0x00050000;
const [RET_NOTIFY, RET_TRACE] = [0x7fc00000, 0x7ff00000];

/** All filters are asked, and the strictest answer counts: the smallest as a signed number. seccomp(2). */
function seccompReason(
  { call, told, errno }: Denial,
  filters: readonly Uint8Array[],
  areOurs: boolean,
): Reason | undefined {
  let strictest: { action: number; index: number } | undefined;
  for (const [index, filter] of filters.entries()) {
    const action = actionOf(filter, call);
    if (action === undefined) continue;
    if (strictest === undefined || (action & RET_ACTION) < (strictest.action & RET_ACTION))
      strictest = { action, index };
  }
  if (strictest === undefined) return undefined;
  const { action, index } = strictest;
  const kind = action & RET_ACTION;
  const which = filters.length === 1 ? "the filter" : `filter ${index + 1} of ${filters.length}`;
  const source = areOurs ? "as the container was given it" : "as the kernel has it";
  if (kind === RET_ERRNO && (action & 0xffff) === errno)
    return {
      layer: "seccomp",
      text: `${which} answers ${errnoName(errno)} to ${told.name}${told.name === "clone" || told.name === "socket" || told.name === "personality" ? " with these arguments" : ""}`,
      evidence: `${which}, ${source}, run on this call: SCMP_ACT_ERRNO ${errno}`,
      flag: seccompFlag(told),
    };
  if (kind === RET_NOTIFY || kind === RET_TRACE)
    return {
      layer: "seccomp",
      text: `${which} asks an agent about ${told.name}, and the agent may have refused`,
      evidence: `${which}, ${source}, run on this call`,
    };
  return undefined;
}

/** Whether one of the filters ends the process, or its thread, for this call. */
export function killsFor(filters: readonly Uint8Array[], call: Call): boolean {
  const RET_KILL_PROCESS = 0x80000000 | 0;
  const [RET_KILL_THREAD, RET_TRAP] = [0, 0x00030000];
  return filters.some((filter) => {
    const action = actionOf(filter, call);
    return action !== undefined && [RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP].includes(action & RET_ACTION);
  });
}

function actionOf(filter: Uint8Array, { arch, nr, ip, args }: Call): number | undefined {
  try {
    return emulateSeccomp(filter, { nr, arch, ip, args });
  } catch (error) {
    if (error instanceof RangeError) return undefined; // instructions that filter compilers do not write
    throw error;
  }
}

/** Docker's profile, which is ours, opens calls to capabilities. */
function seccompFlag(told: ToldCall): string {
  const capability = capabilityFor(told, undefined);
  const opened =
    /^(SYS_ADMIN|SYS_BOOT|SYS_CHROOT|SYS_MODULE|SYS_NICE|SYS_PACCT|SYS_PTRACE|SYS_RAWIO|SYS_TIME|SYS_TTY_CONFIG|SYSLOG|BPF|PERFMON|DAC_READ_SEARCH)$/;
  const profile = `--security-opt seccomp=FILE with a profile that allows ${told.name}`;
  return capability !== undefined && opened.test(capability)
    ? `--cap-add ${capability}, to which the default profile opens it; or ${profile}`
    : profile;
}

/* ---- paths ------------------------------------------------------------------------------------ */

const [R, W, X] = [4, 2, 1];
const has = ({ effective }: Thread, name: string): boolean => {
  const bit = CAPABILITIES.indexOf(`CAP_${name}`);
  return bit >= 0 && ((effective >> BigInt(bit)) & 1n) === 1n;
};

const NAMES = [
  "",
  "execute or search",
  "write",
  "write and execute",
  "read",
  "read and execute",
  "read and write",
  "read, write and execute",
];

function reasonOnTheWay(denial: Denial, scene: Scene, thread: Thread): Reason | undefined {
  const { told, errno, call } = denial;
  for (const { dirfd, path } of told.paths.length > 0 ? told.paths : pathsOfDescriptor(denial)) {
    // Of mount, the second path is what it is about; a source may be no path at all.
    const { directories, last } = scene.way(dirfd, path);
    const parent = directories.at(-1);
    const changed = CHANGES_PARENT.has(told.name) || (last === undefined && told.name !== "mount") ? parent : last;
    const target = changed ?? last ?? parent;
    if (errno === EROFS && target?.mount !== undefined) return readonlyReason(target);
    if (errno === EACCES) {
      const reason = modeReason(directories, last, changed, denial, thread);
      if (reason !== undefined) return reason;
    }
    if (last !== undefined) {
      const reason = fileReason(last, denial, scene, thread);
      if (reason !== undefined) return reason;
    }
    if (errno === EPERM && target !== undefined) {
      const reason = ownerReason(target, told, thread, call);
      if (reason !== undefined) return reason;
    }
    if (told.name === "mknod" || told.name === "mknodat") {
      const reason = nodeReason(denial, scene, thread);
      if (reason !== undefined) return reason;
    }
  }
  return undefined;
}

/** fchmod and the like name a descriptor. */
function pathsOfDescriptor({ told }: Denial): ToldCall["paths"] {
  const first = told.numbers[0] ?? -1;
  return /^(fchmod|fchown|ftruncate|fchdir|fsetxattr)$/.test(told.name) ? [{ dirfd: first, path: "." }] : [];
}

const isDirectory = ({ stat }: Place): boolean => (stat.mode & S_IFMT) === S_IFDIR;
const modeText = ({ path, stat }: Place): string =>
  `${path} has mode ${(stat.mode & 0o7777).toString(8).padStart(4, "0")}, owner ${stat.uid}:${stat.gid}`;

function readonlyReason({ path, mount }: Place): Reason {
  const { mountPoint = path, fstype = "", superOptions = [], options = [] } = mount ?? {};
  const whole = superOptions.includes("ro") && !options.includes("ro");
  const protectedPath = /^\/(proc|sys)(\/|$)/.test(mountPoint);
  return {
    layer: "mount flag",
    text: `${mountPoint} is mounted read-only${whole ? " (the filesystem as a whole)" : ""}`,
    evidence: `mountinfo: ${mountPoint} ${options.join(",")} - ${fstype} ${superOptions.includes("ro") ? "ro" : "rw"}`,
    flag: protectedPath
      ? "--security-opt systempaths=unconfined"
      : mountPoint === "/"
        ? "without --read-only, or --tmpfs for the directory that is to be written"
        : "the volume or mount without ro",
  };
}

function mayAccess({ stat }: Place, want: number, thread: Thread): boolean {
  const { mode, uid, gid } = stat;
  const bits = uid === thread.uid ? mode >> 6 : gid === thread.gid || thread.groups.includes(gid) ? mode >> 3 : mode;
  return (bits & want) === want;
}

/** A capability over files counts only if their owner has a number in the user namespace. capabilities(7), user_namespaces(7). */
const isMapped = ({ stat }: Place, { uidMap, inOurUserNamespace }: Thread): boolean =>
  inOurUserNamespace ||
  uidMap.split("\n").some((line) => {
    const [, outside, size] = line.trim().split(/\s+/).map(Number);
    return outside !== undefined && size !== undefined && stat.uid >= outside && stat.uid < outside + size;
  });

function modeReason(
  directories: readonly Place[],
  last: Place | undefined,
  changed: Place | undefined,
  { told, call }: Denial,
  thread: Thread,
): Reason | undefined {
  const asked: [Place, number][] = directories.map((place) => [place, X]);
  if (changed !== undefined && changed !== last) asked.push([changed, W | X]);
  const own = last !== undefined && changed === last ? accessFor(told, call) : 0;
  if (last !== undefined && own !== 0) asked.push([last, own]);
  for (const [place, want] of asked) {
    if (mayAccess(place, want, thread)) continue;
    const helps =
      want === R || (isDirectory(place) && (want & W) === 0) ? ["DAC_OVERRIDE", "DAC_READ_SEARCH"] : ["DAC_OVERRIDE"];
    // No capability makes a file executable that nobody may execute.
    const cannotHelp = want === X && !isDirectory(place) && (place.stat.mode & 0o111) === 0;
    const held = helps.find((name) => has(thread, name));
    if (held !== undefined && !cannotHelp && isMapped(place, thread)) continue;
    const who = `the thread is ${thread.uid}:${thread.gid}, ${held === undefined ? "without" : "with"} CAP_DAC_OVERRIDE`;
    if (held !== undefined && !cannotHelp)
      return {
        layer: "user namespace",
        text: `${place.path} belongs to ${place.stat.uid}, who has no number in the container's user namespace: CAP_${held} does not count there`,
        evidence: `${modeText(place)}; ${who}`,
        flag: "--uidmap and --gidmap that hold its owner, or chown on the host",
      };
    return {
      layer: "file mode",
      text: `${place.path} does not give ${NAMES[want]} to ${thread.uid}:${thread.gid}`,
      evidence: `${modeText(place)}; ${who}`,
      flag: cannotHelp ? "chmod +x" : "--user its owner, another mode, or --cap-add DAC_OVERRIDE",
    };
  }
  return undefined;
}

/** Flags of the mount that a file lies on, the device group, and attributes of the file. */
function fileReason(last: Place, { told, errno, call }: Denial, scene: Scene, thread: Thread): Reason | undefined {
  const { mount, stat } = last;
  const options = mount?.options ?? [];
  const evidence = `mountinfo: ${mount?.mountPoint} ${options.join(",")} - ${mount?.fstype}`;
  const type = stat.mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  const opens = /^(open|openat|openat2|creat)$/.test(told.name);
  if (errno === EACCES && /^execve/.test(told.name) && options.includes("noexec"))
    return {
      layer: "mount flag",
      text: `${mount?.mountPoint} is mounted noexec`,
      evidence,
      flag: "the volume or tmpfs with exec",
    };
  if (errno === EACCES && opens && isDevice && options.includes("nodev"))
    return {
      layer: "mount flag",
      text: `${mount?.mountPoint} is mounted nodev: its device nodes cannot be opened`,
      evidence,
      flag: "--device",
    };
  if (opens && isDevice && errno === EPERM) {
    const letter = type === S_IFBLK ? "b" : "c";
    const device = `${letter} ${stat.rdevMajor}:${stat.rdevMinor}`;
    const rules = scene.devices();
    const access = accessFor(told, call);
    if (
      rules === undefined ||
      !allowsDevice(rules, letter, stat.rdevMajor, stat.rdevMinor, `${access & R ? "r" : ""}${access & W ? "w" : ""}`)
    )
      return {
        layer: rules === undefined && !thread.inOurUserNamespace ? "unknown" : "device cgroup",
        text: `the container's device rules do not have ${device} (${last.path})`,
        evidence:
          rules === undefined
            ? "opening a device node answers EPERM where the program of its control group refuses it"
            : `devices.list: ${rules.trim().split("\n").join(", ")}`,
        flag: `--device ${last.path}, or --device-cgroup-rule "${device} rwm"`,
      };
  }
  const IMMUTABLE = 0x10n;
  const APPEND = 0x20n;
  if (errno === EPERM && (stat.attributes & (IMMUTABLE | APPEND)) !== 0n)
    return {
      layer: "file attribute",
      text: `${last.path} is ${stat.attributes & IMMUTABLE ? "immutable" : "append-only"} (chattr)`,
      evidence: `statx: attributes 0x${stat.attributes.toString(16)}`,
    };
  return undefined;
}

function allowsDevice(rules: string, type: string, major: number, minor: number, access: string): boolean {
  return rules.split("\n").some((rule) => {
    const [, kind, ruleMajor, ruleMinor, letters = ""] = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]+)$/.exec(rule.trim()) ?? [];
    return (
      (kind === "a" || kind === type) &&
      (ruleMajor === "*" || Number(ruleMajor) === major) &&
      (ruleMinor === "*" || Number(ruleMinor) === minor) &&
      [...access].every((letter) => letters.includes(letter))
    );
  });
}

/** What only the owner of a file may do, and the sticky bit. */
function ownerReason(target: Place, { name }: ToldCall, thread: Thread, _call: Call): Reason | undefined {
  const isOwner = target.stat.uid === thread.uid;
  const sticky = /^(unlink|unlinkat|rmdir|rename|renameat|renameat2)$/.test(name) && (target.stat.mode & 0o1000) !== 0;
  const byOwner = /^(chmod|fchmod|fchmodat|fchmodat2|utimensat|utime|utimes)$/.test(name) || sticky;
  if (!byOwner || isOwner || (has(thread, "FOWNER") && isMapped(target, thread))) return undefined;
  return {
    layer: "file mode",
    text: sticky
      ? `${target.path} is sticky: only owners may remove or rename there`
      : `${target.path} belongs to ${target.stat.uid}, and only its owner may do this`,
    evidence: `${modeText(target)}; the thread is ${thread.uid}:${thread.gid}, without CAP_FOWNER`,
    flag: "--user its owner, or --cap-add FOWNER",
  };
}

/** mknod of a device, for a thread that has CAP_MKNOD. */
function nodeReason({ call, told }: Denial, scene: Scene, thread: Thread): Reason | undefined {
  if (!has(thread, "MKNOD") || !thread.inOurUserNamespace) return undefined;
  const at = told.name === "mknod" ? 1 : 2;
  const mode = Number(call.args[at] ?? 0n);
  const device = Number(call.args[at + 1] ?? 0n);
  const letter = (mode & S_IFMT) === S_IFBLK ? "b" : "c";
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  const rules = scene.devices();
  if (rules !== undefined && allowsDevice(rules, letter, major, minor, "m")) return undefined;
  return {
    layer: "device cgroup",
    text: `the container's device rules do not let ${letter} ${major}:${minor} be made`,
    evidence:
      rules === undefined
        ? "it has CAP_MKNOD; the rest is the program of its control group"
        : `devices.list: ${rules.trim().split("\n").join(", ")}`,
    flag: `--device-cgroup-rule "${letter} ${major}:${minor} rwm"`,
  };
}

/* ---- capabilities ------------------------------------------------------------------------------ */

function capabilityReason({ tid, call, told, errno }: Denial, thread: Thread): Reason | undefined {
  if (errno !== EPERM && errno !== EACCES) return undefined;
  const port = told.name === "bind" ? portIn(tid, call.args[1] ?? 0n) : undefined;
  const capability = capabilityFor(told, port);
  if (capability === undefined) return undefined;
  const evidence = `CapEff 0x${thread.effective.toString(16)}`;
  if (!has(thread, capability))
    return {
      layer: "capability",
      text: `${told.name} needs CAP_${capability} here, which the thread does not have`,
      evidence,
      flag: `--cap-add ${capability}`,
    };
  if (thread.inOurUserNamespace) return undefined;
  return {
    layer: "user namespace",
    text: `the thread has CAP_${capability}, but only over what belongs to its own user namespace, and this belongs to another`,
    evidence: `${evidence}; its user namespace is not the host's`,
    flag: "--userns host, as root",
  };
}
