/** proc_pid_mountinfo(5): what is mounted below a directory. */

export interface HostMount {
  id: string;
  /** The mount that it is mounted on; "" for the kernel's first one, which is listed as its own. */
  parent: string;
  mountPoint: string;
  fstype: string;
  /** Of its filesystem: what is mounted. */
  root: string;
}

/** Mounts whose mount point begins with `prefix` (which ends in a slash), in mount order. */
export function mountsUnder(prefix: string, mountinfo: string): HostMount[] {
  // Most roots have none: one search instead of reading all lines.
  const written = escapePath(prefix);
  if (!mountinfo.includes(` ${written}`)) return [];
  return mountinfo.split("\n").flatMap((line) => {
    const [id = "", parent = "", , root = "", mountPoint = ""] = line.split(" ");
    if (!mountPoint.startsWith(written)) return [];
    const [fstype = ""] = line.slice(line.indexOf(" - ") + 3).split(" ");
    return [
      {
        id,
        parent: parent === id ? "" : parent,
        mountPoint: unescapePath(mountPoint),
        fstype,
        root: unescapePath(root),
      },
    ];
  });
}

/**
 * Of `mountsUnder(prefix)` those that a path leads to. Where a mount lies over another one, or over a directory above it,
 * the kernel lists both.
 */
export function visibleMountsUnder(prefix: string, mountinfo: string): HostMount[] {
  const found = mountsUnder(prefix, mountinfo);
  if (found.length === 0) return found;
  const all = new Map(mountsUnder("/", mountinfo).map((mount) => [mount.id, mount]));
  // A path begins in our root, also where another mount lies over that (`mount --bind / /`). The root is listed, if it is a mount, without its parent.
  const isOverRoot = ({ mountPoint, parent }: HostMount) => mountPoint === "/" && all.has(parent);
  const taken = new Set<string>();
  for (const mount of all.values()) if (!isOverRoot(mount)) taken.add(`${mount.parent} ${mount.mountPoint}`);
  const isVisible = (mount: HostMount): boolean => {
    if (taken.has(`${mount.id} ${mount.mountPoint}`)) return false;
    // Up to the root: on the way in each mount to the mount point of the next there must be no other one.
    for (let next: HostMount | undefined = mount; next !== undefined; next = all.get(next.parent)) {
      if (isOverRoot(next)) return false;
      for (let path = parentOf(next.mountPoint); path !== ""; path = parentOf(path))
        if (taken.has(`${next.parent} ${path}`)) return false;
    }
    return true;
  };
  return found.filter(isVisible);
}

/** "" for the root. */
const parentOf = (path: string): string => (path === "/" ? "" : path.slice(0, path.lastIndexOf("/")) || "/");

/** A path is also below itself. */
export const isBelow = (path: string, above: string): boolean =>
  above === "/" || path === above || path.startsWith(`${above}/`);

/** The kernel writes space, tab, newline and backslash as `\040` … */
const escapePath = (path: string): string =>
  path.replace(/[ \t\n\\]/g, (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, "0")}`);

export const unescapePath = (path: string): string =>
  path.includes("\\")
    ? path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    : path;
