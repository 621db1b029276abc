/** Whether one of a step's paths explains why it failed: a name that is missing, closed, full or read-only on the way. */
import { unescapePath } from "../plan/mountinfo.ts";
import type { Step } from "../plan/step.ts";
import { parseStatfs, STATFS_SIZE } from "../sys/structs.ts";
import type { SysError } from "../sys/sys.ts";
import { raw } from "../sys/sys.ts";
import type { Finding } from "./filesystem.ts";
import { followPath, inUserNamespace, isMounted, isThere, type PathTrouble, read, ST_RDONLY } from "./machine.ts";

/** What the step reads, and what it makes or changes. */
function pathsOf(step: Step): { source?: string; target?: string } {
  switch (step.op) {
    case "takeTree":
    case "takeIdMappedTree":
    case "takeMappedTree":
      return { source: step.source };
    case "bind":
    case "copyTree":
      return { source: step.source, target: step.target };
    case "mount":
      return { target: step.target };
    case "placeTree":
    case "placeInside":
    case "setMountFlags":
    case "propagation":
      return { target: step.target };
    case "joinNamespace":
      return { source: step.path };
    case "makeDirectory":
    case "makeNode":
    case "makeLink":
    case "makeCgroup":
    case "delegateBelow":
    case "makeReadonly":
    case "mask":
    case "recordState":
    case "listenForStart":
      return { target: step.path };
    case "changeDirectory":
      return { source: step.path, target: step.path };
    case "write":
      return { target: step.path };
    default:
      return {};
  }
}

export function whyPathFails(step: Step, { code, args }: SysError): Finding | undefined {
  const { source, target } = pathsOf(step);
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
    case "EACCES":
    case "ELOOP": {
      const trouble = source === undefined ? undefined : followPath(source);
      if (source !== undefined && trouble !== undefined && trouble.kind !== "missing")
        return { why: trouble.why, hint: remedyOf(trouble), evidence: trouble.evidence };
      // The sentence says that it is not there: what of it is not is the evidence.
      if (trouble !== undefined)
        return { evidence: trouble.evidence === undefined ? undefined : `${trouble.why}; ${trouble.evidence}` };
      if (target === undefined) return undefined;
      const other = followPath(target);
      if (other === undefined || other.kind === "missing") return undefined;
      return {
        why: other.why,
        hint:
          step.op === "placeTree" || step.op === "mount"
            ? `choose another destination, or mend it: ${remedyOf(other)}`
            : remedyOf(other),
        evidence: other.evidence,
      };
    }
    case "EROFS": {
      const path = target ?? firstPath(args);
      return path === undefined ? undefined : readOnly(path);
    }
    case "ENOSPC":
    case "EDQUOT": {
      if (step.op === "copyTree") return undefined; // its hint tells of the size that was given
      const path = target ?? firstPath(args);
      return path === undefined ? undefined : noRoom(lastingPath(step, path), code);
    }
    default:
      return undefined;
  }
}

/** The directory of a container's record is removed when it could not be made: a hint names the one above. */
function lastingPath({ op }: Step, path: string): string {
  if (op === "recordState") return above(path);
  return op === "listenForStart" ? above(above(path)) : path;
}

/** The directory that a path lies in. */
export const above = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

const firstPath = (args: readonly unknown[]): string | undefined =>
  args.find((arg): arg is string => typeof arg === "string" && arg.startsWith("/"));

function remedyOf({ kind, at }: PathTrouble): string {
  if (kind === "closed") return `chmod o+x ${at}, or have it belong to the user`;
  if (kind === "file") return "name a path through directories only";
  return kind === "loop" ? "make the link anew: ln -sfn TARGET LINK" : "make what the link leads to, or the link anew";
}

/** The nearest directory above, which is there. */
function nearestThere(path: string): string {
  let at = path;
  while (at !== "/" && !isThere(at)) at = above(at);
  return at;
}

/** EROFS for a path that may be missing. */
export function readOnly(path: string): Finding {
  const there = nearestThere(path);
  const cgroup = there.startsWith("/sys/fs/cgroup");
  const mount = mountOf(there);
  return {
    why: `${there === path ? path : `${path} is missing, and ${there}`} is read-only`,
    hint: cgroup
      ? "remount it writable (mount -o remount,rw), or start the container around tupper with --privileged, or with -v /sys/fs/cgroup:/sys/fs/cgroup:rw"
      : there === path
        ? `remount it writable, or name another place`
        : `make ${path} in the root filesystem (the image) beforehand, or leave its readonly away`,
    evidence: `${mount === undefined ? there : `the mount ${mount}`} is ${isMounted(there, ST_RDONLY) ? "ro" : "on a filesystem that is read-only"}`,
  };
}

/** The mount point that a path lies on, by name alone. */
function mountOf(path: string): string | undefined {
  let best: string | undefined;
  for (const line of (read("/proc/self/mountinfo") ?? "").split("\n")) {
    const point = unescapePath(line.split(" ", 5)[4] ?? "");
    const isAbove = point === "/" || path === point || path.startsWith(`${point}/`);
    if (point !== "" && isAbove && point.length >= (best?.length ?? 0)) best = point;
  }
  return best;
}

/** ENOSPC and EDQUOT: of bytes or of files. */
export function noRoom(path: string, code: string): Finding {
  const there = nearestThere(path);
  const buffer = new ArrayBuffer(STATFS_SIZE);
  const stat = raw.statfs(there, buffer) < 0 ? undefined : parseStatfs(buffer);
  const left =
    stat === undefined
      ? undefined
      : `${there}: ${Number(stat.blocksAvailable) * Number(stat.blockSize)} bytes and ${stat.filesFree} files are free`;
  if (code === "EDQUOT")
    return {
      why: "the disk quota is used up",
      hint: "free some of the user's files there, or raise the quota (quota(1), setquota(8))",
      evidence: left,
    };
  return {
    why: `there is no space left in ${there}`,
    hint:
      inUserNamespace() || !there.startsWith("/sys")
        ? `free some there (df ${there}; df -i ${there})`
        : "see the limits of the group above",
    evidence: left,
  };
}
