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
  const on = new Map<string, HostMount[]>();
  for (const mount of all.values()) on.set(mount.parent, [...(on.get(mount.parent) ?? []), mount]);
  const isVisible = (mount: HostMount): boolean => {
    // Up to the root: in `at` the way goes to the mount point of `next`, and at its end it must meet no other mount.
    let next = mount;
    for (let at: HostMount | undefined = mount; at !== undefined; at = all.get(next.parent)) {
      const others = (on.get(at.id) ?? []).filter(({ id }) => id !== next.id);
      if (others.some(({ mountPoint }) => isBelow(next.mountPoint, mountPoint))) return false;
      next = at;
    }
    return true;
  };
  return found.filter(isVisible);
}

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
