/** Whether control groups are in sight at all: where /sys is another one or missing, every group seems to be gone. */
import { ContainerError } from "../error.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readDirectory } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";

export const CGROUPS = "/sys/fs/cgroup";

/** For who has found a group missing: why that is no wonder, if so. */
export function cgroupsHidden(): ContainerError | undefined {
  const has = (path: string) => raw.faccessat(AT_FDCWD, `${CGROUPS}${path}/cgroup.procs`, 0) >= 0;
  const exists = raw.faccessat(AT_FDCWD, CGROUPS, 0) >= 0;
  if (has("") || (exists && readDirectory(CGROUPS).some(({ name }) => has(`/${name}`)))) return undefined;
  return new ContainerError(
    "CGROUPS_HIDDEN",
    `there are no control groups in ${CGROUPS} here, though some are mounted`,
    {
      hint: "something is mounted over them, or /sys is not there: look at them as the command that made the container did",
    },
  );
}

/** The same, as an exception: CGROUPS_HIDDEN. */
export function requireCgroups(): void {
  const hidden = cgroupsHidden();
  if (hidden !== undefined) throw hidden;
}
