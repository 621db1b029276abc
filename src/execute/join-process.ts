/** All namespaces of one process, as the steps `joinProcess` want them. setns(2) takes a pidfd since Linux 5.8. */
import type { NamespaceType } from "../spec/config.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_RDONLY } from "../sys/constants.ts";
import { readFile } from "../sys/files.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { EINVAL } from "./init/context.ts";
import { namespaceFlag, namespaceFlags } from "./namespace-flags.ts";

/** `process`: what pidfd_open gave. Throws {@link SysError}. */
export function joinProcess(process: number, namespaces: readonly NamespaceType[]): void {
  const result = raw.setns(process, namespaceFlags(namespaces));
  if (result !== EINVAL) check(result, "setns", process, ...namespaces);
  else joinOneByOne(process, namespaces);
}

const FILES: Readonly<Partial<Record<NamespaceType, string>>> = { network: "net", mount: "mnt" };

/** By the files in /proc, all opened before the first is joined: after that the paths may be others. */
function joinOneByOne(process: number, namespaces: readonly NamespaceType[]): void {
  const pid = numberOf(process);
  // Without pidfd_open it is this directory already (host/old_kernels.h).
  const directory =
    pid === undefined ? process : sys.openat(AT_FDCWD, `/proc/${pid}`, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  const types = [...namespaces];
  // Root has capabilities over the others only while it is outside; anyone else only once he is inside.
  if (raw.geteuid() === 0) types.sort((a, b) => Number(a === "user") - Number(b === "user"));
  const files = types.map((type) => sys.openat(directory, `ns/${FILES[type] ?? type}`, O_RDONLY | O_CLOEXEC, 0));
  if (pid !== undefined) {
    raw.close(directory);
    // Had it ended meanwhile, the directory might be that of another with its number.
    if (numberOf(process) !== pid) throw new SysError("setns", -ESRCH, [pid]);
  }
  for (const [i, type] of types.entries()) {
    const fd = files[i] ?? -1;
    sys.setns(fd, namespaceFlag(type));
    raw.close(fd);
  }
}

const ESRCH = -3;

/** The number behind a pidfd, "-1" of one that has ended; undefined for what is none. */
const numberOf = (process: number): string | undefined =>
  /^Pid:\s*(-?\d+)$/m.exec(readFile(`/proc/self/fdinfo/${process}`))?.[1];
