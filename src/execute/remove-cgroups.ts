/** The end of control groups: rmdir(2), which the kernel refuses while groups or processes are in them. */
import { AT_FDCWD, AT_REMOVEDIR } from "../sys/constants.ts";
import { sleepMs } from "../sys/sleep.ts";
import { raw, SysError } from "../sys/sys.ts";
import { type ControlGroup, killProcesses, killProcessesIn } from "./cgroup-processes.ts";
import { thawGroup } from "./freezer.ts";
import { walkGroups } from "./groups-below.ts";
import { CGROUPS, requireCgroups } from "./require-cgroups.ts";

const ENOENT = -2;
const EBUSY = -16;

/**
 * Removes control groups with all that is in them. A group whose last process has just ended stays busy for some
 * milliseconds; groups that the container made are removed first; a process that is still there after 20 ms (one that
 * shared the machine's PID namespace) is killed. `groups`: the same with their controllers, so that the freezer can help
 * against processes that fork meanwhile. Throws {@link SysError} EBUSY after 5 s, CGROUPS_HIDDEN.
 */
export function removeCgroups(paths: readonly string[], groups: readonly ControlGroup[] = []): void {
  for (const path of paths) {
    for (let attempt = 0; ; attempt++) {
      const result = raw.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
      if (result === ENOENT && path.startsWith(CGROUPS)) requireCgroups();
      if (result >= 0 || result === ENOENT) break;
      if (result !== EBUSY || attempt === 2500) throw new SysError("rmdir", -result, [path]);
      if (attempt % 10 === 1) removeBelow(path);
      // A frozen process of v1 does not die before it is thawed.
      if (attempt === 10) {
        for (const each of paths) thawGroup(each);
        killProcesses(groups);
      }
      if (attempt >= 10) killProcessesIn(path);
      sleepMs(2);
    }
  }
}

/** The groups that the container has made; one with processes in it stays, and those that it is in. */
function removeBelow(path: string): void {
  walkGroups(
    path,
    () => {},
    (above, name) => raw.unlinkat(above, name, AT_REMOVEDIR),
  );
}
