/**
 * `events`: what a container uses, and when it ran out of memory, one JSON object a line, until it ends.
 *
 * The kernel tells of a lack of memory through an eventfd on v1 (cgroup-v1/memory.rst, "OOM Control"), and through a change
 * of memory.events on v2, which inotify sees (cgroup-v2.rst).
 */
import { ContainerError } from "../error.ts";
import { groupOf } from "../execute/cgroup-processes.ts";
import { endsWithin, isDirectoryOfProc } from "../execute/process-end.ts";
import { stringifyExactly } from "../spec/json-text.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY, POLLIN } from "../sys/constants.ts";
import { readDirectory, readFileIfThere, writeFile } from "../sys/files.ts";
import { nowMs } from "../sys/sleep.ts";
import { packPollfds, packTimespec } from "../sys/structs.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { loadContainer, statusOf } from "./container.ts";
import { eventStats } from "./event-stats.ts";
import { requireGroups } from "./processes.ts";

export interface Watched {
  id: string;
  cgroups: readonly { controller: string; path: string }[];
  /** The init process. */
  pid: number;
}

/** What is to be watched. Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING. */
export function watchedContainer(root: string, id: string): Watched {
  const container = loadContainer(root, id);
  const { init, record } = container;
  if (init === undefined || statusOf(container) === "stopped") throw notRunning(id);
  requireGroups(record, "measured");
  return { id, cgroups: record.cgroups, pid: init.pid };
}

const notRunning = (id: string): ContainerError =>
  new ContainerError("CONTAINER_NOT_RUNNING", `container with id ${id} is not running`);

/** One line: the container's usage now. */
export const statsEvent = ({ id, cgroups }: Watched): string =>
  `${stringifyExactly({ type: "stats", id, data: eventStats(cgroups, readCounter, hugePageSizes()) })}\n`;

const oomEvent = ({ id }: Watched): string => `${JSON.stringify({ type: "oom", id })}\n`;

/** Writes events until the container ends. Throws CONTAINER_NOT_RUNNING. */
export function watchEvents(watched: Watched, intervalMs: number, write: (line: string) => void): void {
  const pidfd = raw.pidfdOpen(watched.pid, 0);
  if (pidfd < 0) throw notRunning(watched.id);
  const real = !isDirectoryOfProc(pidfd);
  const oom = openOomWatch(watched.cgroups);
  let next = nowMs() + intervalMs;
  for (;;) {
    const fds = packPollfds([
      { fd: real ? pidfd : -1, events: POLLIN },
      { fd: oom?.fd ?? -1, events: POLLIN },
    ]);
    raw.ppoll(fds, 2, packTimespec(Math.max(0, Math.min(next - nowMs(), real ? intervalMs : POLL_MS))), null, 8);
    // The last process may be killed for its memory, which is counted before it ends: looked at after that.
    const ended = endsWithin(pidfd, 0);
    if (oom?.happened()) write(oomEvent(watched));
    if (ended) break;
    if (nowMs() < next) continue;
    write(statsEvent(watched));
    next += intervalMs;
  }
  raw.close(pidfd);
  if (oom !== undefined) raw.close(oom.fd);
}

/** How often a process that has no pidfd is looked after. */
const POLL_MS = 100;

interface OomWatch {
  fd: number;
  /** Whether it happened since the last question. Does not wait. */
  happened(): boolean;
}

function openOomWatch(cgroups: Watched["cgroups"]): OomWatch | undefined {
  const v1 = groupOf(cgroups, "memory");
  if (v1 !== undefined) return watchV1(v1);
  const v2 = groupOf(cgroups, "unified");
  return v2 === undefined || readFileIfThere(`${v2}/memory.events`) === undefined ? undefined : watchV2(v2);
}

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

function watchV1(group: string): OomWatch {
  const fd = sys.eventfd2(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const control = sys.openat(AT_FDCWD, `${group}/memory.oom_control`, O_RDONLY | O_CLOEXEC, 0);
  writeFile(`${group}/cgroup.event_control`, `${fd} ${control}`);
  raw.close(control);
  const counter = new ArrayBuffer(8);
  return {
    fd,
    // The end of the group makes the descriptor readable too.
    happened: () => raw.read(fd, counter) === 8 && readFileIfThere(`${group}/memory.oom_control`) !== undefined,
  };
}

const IN_MODIFY = 2;

function watchV2(group: string): OomWatch {
  const fd = sys.inotifyInit1(EFD_NONBLOCK | EFD_CLOEXEC);
  sys.inotifyAddWatch(fd, `${group}/memory.events`, IN_MODIFY);
  const count = () => Number(/^oom_kill (\d+)$/m.exec(readFileIfThere(`${group}/memory.events`) ?? "")?.[1] ?? 0);
  const buffer = new ArrayBuffer(4096);
  let before = count();
  return {
    fd,
    happened() {
      raw.read(fd, buffer);
      // Whether or not inotify has told: the kernel holds a second change of the file back for 10 ms.
      const now = count();
      const more = now > before;
      before = now;
      return more;
    },
  };
}

/** Some kernels have files that they refuse to read (memory.pressure without psi=1): nothing is counted there. */
function readCounter(path: string): string | undefined {
  try {
    return readFileIfThere(path);
  } catch (error) {
    if (error instanceof SysError && error.code === "EOPNOTSUPP") return undefined;
    throw error;
  }
}

/** `2MB`, `1GB`, as hugetlb files spell them. */
function hugePageSizes(): string[] {
  const directory = "/sys/kernel/mm/hugepages";
  if (raw.faccessat(AT_FDCWD, directory, 0) < 0) return [];
  return readDirectory(directory).flatMap(({ name }) => {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    if (kilobytes === 0) return [];
    if (kilobytes >= 2 ** 20) return [`${kilobytes / 2 ** 20}GB`];
    return [kilobytes >= 2 ** 10 ? `${kilobytes / 2 ** 10}MB` : `${kilobytes}KB`];
  });
}
