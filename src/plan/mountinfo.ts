/** proc_pid_mountinfo(5): what is mounted below a directory. */

export interface HostMount {
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
    const [, , , root = "", mountPoint = ""] = line.split(" ");
    if (!mountPoint.startsWith(written)) return [];
    const [fstype = ""] = line.slice(line.indexOf(" - ") + 3).split(" ");
    return [{ mountPoint: unescapePath(mountPoint), fstype, root: unescapePath(root) }];
  });
}

/** The kernel writes space, tab, newline and backslash as `\040` … */
const escapePath = (path: string): string =>
  path.replace(/[ \t\n\\]/g, (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, "0")}`);

export const unescapePath = (path: string): string =>
  path.includes("\\")
    ? path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    : path;
