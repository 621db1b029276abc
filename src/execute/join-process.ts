/** All namespaces of one process, as the steps `joinProcess` want them. setns(2) takes a pidfd since Linux 5.8. */
import type { NamespaceType } from "../spec/config.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_RDONLY } from "../sys/constants.ts";
import { readFile } from "../sys/files.ts";
import { check, raw, sys } from "../sys/sys.ts";
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
  const directory = directoryOf(process);
  const types = [...namespaces];
  // Root has capabilities over the others only while it is outside; anyone else only once he is inside.
  if (raw.geteuid() === 0 && types.includes("user")) types.sort((a, b) => Number(a === "user") - Number(b === "user"));
  const files = types.map((type) => sys.openat(directory, `ns/${FILES[type] ?? type}`, O_RDONLY | O_CLOEXEC, 0));
  if (directory !== process) raw.close(directory);
  // Of this process, not of another that has its number by now.
  sys.pidfdSendSignal(process, 0, null, 0);
  for (const [i, type] of types.entries()) {
    const fd = files[i] ?? -1;
    sys.setns(fd, namespaceFlag(type));
    raw.close(fd);
  }
}

/** The process's directory in /proc: without pidfd_open we have it already (host/old_kernels.h). */
function directoryOf(process: number): number {
  const stat = raw.openat(process, "stat", O_PATH | O_CLOEXEC, 0);
  if (stat >= 0) {
    raw.close(stat);
    return process;
  }
  const pid = /^Pid:\s*(\d+)$/m.exec(readFile(`/proc/self/fdinfo/${process}`))?.[1] ?? "0";
  return sys.openat(AT_FDCWD, `/proc/${pid}`, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}
