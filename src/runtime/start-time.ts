/** What tells a process from a later one of the same number. proc_pid_stat(5). */
import { ContainerError } from "../error.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFileIfThere, readSmallFile } from "../sys/files.ts";
import { raw, SysError } from "../sys/sys.ts";

/** `R`, `S`, `D` …, flags, and the start time in clock ticks since boot: fields 3, 9 and 22 of /proc/PID/stat. */
export interface FoundProcess {
  state: string;
  /** It is dying: its descriptors go before it is a zombie. PF_EXITING */
  isExiting: boolean;
  startTime: string;
}

/**
 * Undefined when there is no such process, or only its zombie. Throws PROC_MISSING: without /proc every process would seem
 * to have ended, and its container could be deleted. `recorded`: what the start time probably is, which saves a look at the clock.
 */
export function findProcess(pid: number, recorded?: string): FoundProcess | undefined {
  const stat = readSmallFile(`/proc/${pid}/stat`);
  if (stat === undefined) {
    requireProc();
    return undefined;
  }
  // The command's name, in brackets, may contain spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 20); // 3 to 22
  const { 0: state = "", 6: flags = "", 19: startTime = "" } = fields;
  if (state === "Z" || state === "X") return undefined;
  const isExiting = (Number(flags) & 4) !== 0;
  if (startTime === recorded) return { state, isExiting, startTime };
  bootOffset ??= ownBootOffset();
  return { state, isExiting, startTime: bootOffset === 0 ? startTime : String(Number(startTime) - bootOffset) };
}

let bootOffset: number | undefined;

/** Of the first time namespace. Fixed in the kernel since Linux 5.6: include/linux/proc_ns.h. */
const FIRST = "time:[4026531834]";

/**
 * How far ahead our own clock since boot is of the machine's, in ticks: /proc shows start times as the reader's time
 * namespace has them, and who asks may live in another one than who made the record. time_namespaces(7)
 */
function ownBootOffset(): number {
  const own = raw.readlinkText(AT_FDCWD, "/proc/self/ns/time");
  if (typeof own !== "string" || own === FIRST) return 0;
  const [, seconds, nanoseconds] =
    /^boottime\s+(-?\d+)\s+(\d+)$/m.exec(readFileIfThere("/proc/self/timens_offsets") ?? "") ?? [];
  return Number(seconds ?? 0) * 100 + Math.floor(Number(nanoseconds ?? 0) / 10_000_000);
}

/** Throws PROC_MISSING: what /proc does not show would be taken for what is not there. */
export function requireProc(): void {
  const self = raw.readlinkText(AT_FDCWD, "/proc/self");
  if (self === String(raw.getpid())) return;
  throw new ContainerError(
    "PROC_MISSING",
    "/proc is not mounted for this PID namespace, so nothing is known of processes",
    {
      hint: "mount -t proc proc /proc",
      ...(typeof self === "number" ? { cause: new SysError("readlinkat", -self, [AT_FDCWD, "/proc/self"]) } : {}),
    },
  );
}

/** The start time alone. */
export const startTimeOf = (pid: number, recorded?: string): string | undefined =>
  findProcess(pid, recorded)?.startTime;
