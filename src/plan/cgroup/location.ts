/** Where a container's groups lie in the trees: `linux.cgroupsPath`, and the groups above them. config-linux.md "Control groups". */
import type { Config } from "../../spec/config.ts";
import type { Host } from "../host.ts";
import { invalid } from "./request.ts";

/** `/a/b` of `a//b/` and of `../a/./b`: it cannot lead above the root of a hierarchy. */
export function normalizeCgroupsPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.map((part) => `/${part}`).join("");
}

export interface Location {
  /** The container's group, from the root of a hierarchy in which relative paths start at `base`. */
  within(base: string): string;
  /** Where a relative path starts on v2. */
  unifiedBase: string;
  /** The topmost v2 group whose controllers we may hand down. */
  unifiedTop: string;
}

/**
 * An absolute cgroupsPath starts at the root of each hierarchy, a relative one at the runtime's own group. On v2 it starts
 * at the parent of that: a group with processes in it, ours, cannot hand controllers down; or in it, where that is all that is
 * delegated to a user: then its processes make room. Unset is `/NAME`, relative
 * for a user, to whom only a part of the tree can be delegated.
 */
export function locate({ linux: { cgroupsPath } }: Config, { privileged, cgroups }: Host, name: string): Location {
  const path = normalizeCgroupsPath(cgroupsPath || name);
  if (path === "") {
    throw invalid(
      "linux.cgroupsPath",
      `${cgroupsPath} is the root of the hierarchies, not a group`,
      "name a group in it",
    );
  }
  // Else thousands of groups would be made, and removed, before the kernel refuses the last.
  if (path.length >= PATH_MAX)
    throw invalid(
      "linux.cgroupsPath",
      `a path of ${path.length} bytes is longer than the kernel takes: ${PATH_MAX - 1}`,
      "name a group that is nearer to the root of the hierarchies",
    );
  const absolute = cgroupsPath ? cgroupsPath.startsWith("/") : privileged;
  const unifiedBase = cgroups.unified?.base ?? parentOf(cgroups.unified?.ownPath ?? "/");
  return {
    within: (base) => (absolute || base === "/" ? path : `${base}${path}`),
    unifiedBase,
    unifiedTop: privileged ? "/" : unifiedBase,
  };
}

/** With the NUL at its end. path_resolution(7). */
const PATH_MAX = 4096;

/** The same for a scope, and the group below it. */
export function locateScope(scope: string, below: string): Location {
  return { within: () => (below === "" ? scope : `${scope}/${below}`), unifiedBase: "/", unifiedTop: scope };
}

/** `/a` of `/a/b`, `/` of `/a`. */
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

/** The directories strictly between a mount point and a group, topmost first. */
export function ancestors(mountPoint: string, path: string): string[] {
  const found: string[] = [];
  for (let above = parentOf(path); above.length > mountPoint.length; above = parentOf(above)) found.unshift(above);
  return found;
}
