/** /proc/PID/mountinfo with all that is in a line, and which of another process's mounts shows the same files. Pure. */
import { isBelow, unescapePath } from "../../plan/mountinfo.ts";

export interface MountEntry {
  /** Unique among the mounts that there are. */
  id: number;
  /** `major:minor` of the filesystem. */
  device: string;
  /** What of the filesystem is shown: a path within it. */
  root: string;
  mountPoint: string;
  /** Of this mount: `ro`, `nosuid` … */
  options: string[];
  fstype: string;
  source: string;
  superOptions: string[];
  /** Peer group that mounts are passed on to and come from, and the one that they only come from. */
  shared: number | undefined;
  master: number | undefined;
}

/** proc_pid_mountinfo(5): id, parent, device, root, mount point, options, optional fields, `-`, type, source, options. */
export function parseMountinfo(text: string): MountEntry[] {
  return text.split("\n").flatMap((line) => {
    const dash = line.indexOf(" - ");
    if (dash < 0) return [];
    const [id = "", , device = "", root = "", mountPoint = "", options = "", ...optional] = line
      .slice(0, dash)
      .split(" ");
    const [fstype = "", source = "", superOptions = ""] = line.slice(dash + 3).split(" ");
    const peer = (kind: string) => {
      const found = optional.find((field) => field.startsWith(`${kind}:`));
      return found === undefined ? undefined : Number(found.slice(kind.length + 1));
    };
    return [
      {
        id: Number(id),
        device,
        root: unescapePath(root),
        mountPoint: unescapePath(mountPoint),
        options: options.split(","),
        fstype,
        source: unescapePath(source),
        superOptions: superOptions.split(","),
        shared: peer("shared"),
        master: peer("master"),
      },
    ];
  });
}

export const isReadonly = ({ options, superOptions }: MountEntry): boolean =>
  options.includes("ro") || superOptions.includes("ro");

/** Those that are not covered by a later mount at the same place. */
export const inSight = (mounts: readonly MountEntry[]): MountEntry[] =>
  mounts.filter(({ mountPoint }, i) => !mounts.slice(i + 1).some((later) => later.mountPoint === mountPoint));

/** The mount on `/`: the last one there covers those before. */
export const rootMount = (mounts: readonly MountEntry[]): MountEntry | undefined =>
  mounts.findLast(({ mountPoint }) => mountPoint === "/");

/**
 * The path at which the owner of `others` sees what `mount` shows: the same filesystem, mounted so that this part of it is
 * in sight. Undefined where it is not.
 */
export function pathAmong(mount: MountEntry, others: readonly MountEntry[]): string | undefined {
  let best: MountEntry | undefined;
  for (const other of others) {
    if (other.device !== mount.device || !isBelow(mount.root, other.root)) continue;
    if (best === undefined || other.root.length > best.root.length) best = other;
  }
  if (best === undefined) return undefined;
  const rest = best.root === "/" ? mount.root : mount.root.slice(best.root.length);
  return `${best.mountPoint === "/" ? "" : best.mountPoint}${rest === "/" ? "" : rest}` || "/";
}
