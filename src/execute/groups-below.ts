/**
 * A control group and those below it, which a container makes as it likes where its tree is writable: more levels than a path can
 * name (PATH_MAX) or a stack of calls can hold. So they are walked by descriptor.
 */
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../sys/constants.ts";
import { readDirectoryFd } from "../sys/files.ts";
import { raw, SysError } from "../sys/sys.ts";

const HOW = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
const DT_DIR = 4;
const [ENOENT, EACCES, ENODEV] = [-2, -13, -19];

/**
 * Calls `visit` with a descriptor of each group, `path`'s last and those below before the one that they are in; `left` with the group
 * above and the name, after a visit, or without one where the group is closed to us: root of a user namespace can give groups below
 * to his own users. What is gone meanwhile is left out. Throws {@link SysError}, EACCES for a closed one without `left`.
 */
export function walkGroups(
  path: string,
  visit: (group: number) => void,
  left?: (above: number, name: string) => void,
): void {
  let group = open(AT_FDCWD, path);
  if (group === undefined) return;
  // What is still to be seen of each group from `path` to here, and how that is called.
  const levels: { name: string; below: string[] }[] = [{ name: path, below: namesIn(group) }];
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.below.pop();
      if (name !== undefined) {
        const below = open(group, name, left !== undefined);
        if (below === EACCES) left?.(group, name);
        if (below === undefined || below < 0) continue;
        raw.close(group);
        group = below;
        levels.push({ name, below: namesIn(group) });
        continue;
      }
      visit(group);
      levels.pop();
      if (levels.length === 0) return;
      const above = open(group, "..");
      if (above === undefined) return;
      raw.close(group);
      group = above;
      left?.(group, level.name);
    }
  } finally {
    raw.close(group);
  }
}

function open(directory: number, name: string, mayBeClosed = false): number | undefined {
  const fd = raw.openat(directory, name, HOW, 0);
  if (fd === ENOENT || fd === ENODEV) return undefined; // the group is gone
  if (fd === EACCES && mayBeClosed) return fd;
  if (fd < 0) throw new SysError("openat", -fd, [directory, name]);
  return fd;
}

/** Names of the groups directly below. */
function namesIn(group: number): string[] {
  const names: string[] = [];
  try {
    for (const { name, type } of readDirectoryFd(group)) if (type === DT_DIR) names.push(name);
  } catch (error) {
    if (!(error instanceof SysError && error.code === "ENOENT")) throw error;
  }
  return names;
}
