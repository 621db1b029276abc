/**
 * EACCES of what /proc shows of a process only to who might trace it (ns, root, mem): which of the rules of ptrace(2), "Ptrace access
 * mode checking", is not met. Reading, so Yama has no say in it. What is left when all of them are met is said as that.
 */

import { ContainerError } from "../error.ts";
import { capabilityNames } from "../spec/capabilities.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { raw, SysError } from "../sys/sys.ts";
import type { Finding } from "./filesystem.ts";
import { effectiveCapabilities, namesIn, ourselves, read, statAt } from "./machine.ts";

export interface Access {
  pid: number;
  /** Effective, as numbers of our user namespace. */
  ours: { uid: number; gid: number; capabilities: readonly string[]; uidMap: string; label: string | undefined };
  /** Whether ours is the machine's first user namespace, in which capabilities count for all others too. */
  isFirst: boolean;
  theirs: {
    /** Real, effective, saved. */
    uids: readonly number[];
    gids: readonly number[];
    permitted: readonly string[];
    uidMap: string;
    /** Owner of the files in /proc/PID: root where the process is not dumpable. proc(5). */
    owner: number | undefined;
  };
  /** /sys/kernel/security/lsm. */
  modules: string | undefined;
  /** Of the other processes, how many may be looked into. */
  others: { readable: number; all: number };
}

/** namespaces(7): its inode is fixed, PROC_USER_INIT_INO. */
const FIRST_USER_NAMESPACE = "user:[4026531837]";

/** `errno`: what reading a link of `/proc/PID/ns` gave. */
export function notReadable(pid: number, errno = 13): ContainerError {
  const { why, hint, evidence } = whyNotReadable(pid);
  return new ContainerError("PROCESS_NOT_READABLE", `process ${pid} may not be looked into: ${why}`, {
    ...(hint === undefined ? {} : { hint }),
    evidence,
    cause: new SysError("readlinkat", errno, [`/proc/${pid}/ns/mnt`]),
  });
}

/** There is nothing of it in /proc, which may hide the processes of others. proc(5), hidepid. */
export function notFound(pid: number, errno = 2): ContainerError {
  const cause = new SysError("readlinkat", errno, [`/proc/${pid}/ns/mnt`]);
  const EPERM = -1;
  const mounts = (read("/proc/self/mountinfo") ?? "").split("\n");
  const hidepid = /hidepid=([^,\s]+)/.exec(mounts.findLast((line) => / \/proc .* - proc /.test(line)) ?? "")?.[1];
  if (raw.kill(pid, 0) === EPERM && hidepid !== undefined)
    return new ContainerError("PROCESS_NOT_READABLE", `process ${pid} is there, and /proc hides it`, {
      hint: "run as root; or mount /proc without hidepid",
      evidence: `/proc is mounted with hidepid=${hidepid}; kill(${pid}, 0) gives EPERM to ${ourselves()}`,
      cause,
    });
  return new ContainerError("PROCESS_NOT_FOUND", `there is no process ${pid}`, {
    hint: "the number must be one of this PID namespace, as ps shows it",
    cause,
  });
}

function whyNotReadable(pid: number): Finding {
  const status = read(`/proc/${pid}/status`) ?? "";
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1] ?? "";
  const numbers = (name: string): number[] => (field(name).match(/\d+/g) ?? []).slice(0, 3).map(Number);
  const map = (of: number | string): string => (read(`/proc/${of}/uid_map`) ?? "").trim().replace(/\s+/g, " ");
  const owner = statAt(`/proc/${pid}/status`);
  return explainAccess({
    pid,
    ours: {
      uid: raw.geteuid(),
      gid: raw.getegid(),
      capabilities: effectiveCapabilities(),
      uidMap: map("self"),
      label: read("/proc/self/attr/current")?.replace(/[\0\n]+$/, "") || undefined,
    },
    isFirst: raw.readlinkText(AT_FDCWD, "/proc/self/ns/user") === FIRST_USER_NAMESPACE,
    theirs: {
      uids: numbers("Uid"),
      gids: numbers("Gid"),
      permitted: capabilityNames(BigInt(`0x${field("CapPrm") || "0"}`)),
      uidMap: map(pid),
      owner: typeof owner === "number" ? undefined : owner.uid,
    },
    modules: read("/sys/kernel/security/lsm")?.trim(),
    others: countOthers(pid),
  });
}

function countOthers(pid: number): Access["others"] {
  const links = namesIn("/proc").flatMap((name) =>
    /^\d+$/.test(name) && name !== String(pid) ? [raw.readlinkText(AT_FDCWD, `/proc/${name}/ns/mnt`)] : [],
  );
  // One that ended meanwhile is none.
  const all = links.filter((link) => typeof link === "string" || link === -13).length;
  return { readable: links.filter((link) => typeof link === "string").length, all };
}

const TRACE = "CAP_SYS_PTRACE";

/** Pure. */
export function explainAccess({ pid, ours, isFirst, theirs, modules, others }: Access): Finding {
  const us = `${ours.uid}:${ours.gid}`;
  const mayTrace = ours.capabilities.includes(TRACE);
  const here = `this one is ${us} ${mayTrace ? "with" : "without"} ${TRACE}`;
  const hint =
    ours.uid === 0
      ? `run tupper with ${TRACE}; a container around it needs --cap-add SYS_PTRACE`
      : `run as root, who has ${TRACE}`;
  const ids = `/proc/${pid}/status: Uid ${theirs.uids.join(" ")}, Gid ${theirs.gids.join(" ")}; ${here}`;
  const isSame = theirs.uids.every((uid) => uid === ours.uid) && theirs.gids.every((gid) => gid === ours.gid);
  if (!mayTrace && !isSame) return { why: "it belongs to another user", hint, evidence: ids };
  if (!mayTrace && theirs.owner === 0 && theirs.uids[1] !== 0)
    return {
      why: "it is not dumpable: its program was set-user-id or not readable, or it asked for that (prctl PR_SET_DUMPABLE)",
      hint,
      evidence: `/proc/${pid}/status belongs to 0, the process to ${theirs.uids[1]}; ${here}`,
    };
  if (theirs.uidMap !== ours.uidMap && !isFirst)
    return {
      why: "it is in another user namespace, for which the capabilities of this one do not count",
      hint: "run tupper in that user namespace, or outside of this one",
      evidence: `uid_map is "${theirs.uidMap}" there and "${ours.uidMap}" here`,
    };
  const more = theirs.permitted.filter((name) => !ours.capabilities.includes(name));
  if (!mayTrace && more.length > 0)
    return {
      why: "it may have capabilities that this process does not have",
      hint,
      evidence: `/proc/${pid}/status: CapPrm with ${more.slice(0, 6).join(", ")}${more.length > 6 ? ", …" : ""}; ${here}`,
    };
  if (!mayTrace) return { why: "it is not dumpable, or a security module forbids it", hint, evidence: ids };
  return {
    why: isFirst
      ? "not by its ids or capabilities: a security module forbids it, or a rule of this kernel alone"
      : "it is in another user namespace with the same map, or a security module forbids it",
    hint: `no user and no capability of this place helps: look from outside of what started it, or at another process`,
    evidence: [
      ids,
      isFirst
        ? "in the machine's first user namespace, where that counts for every process"
        : `/proc/self/ns/user is not the machine's first`,
      ...(ours.label === undefined ? [] : [`the label of this process is ${ours.label}`]),
      modules === undefined
        ? "which security modules there are is not to be seen (/sys/kernel/security)"
        : `security modules: ${modules}`,
      `${others.readable} of ${others.all} other processes may be looked into`,
    ].join("; "),
  };
}
