/** What tells a process from a later one of the same number. proc_pid_stat(5). */
import { readSmallFile } from "../sys/files.ts";

/** `R`, `S`, `D` …, and the start time in clock ticks since boot: fields 3 and 22 of /proc/PID/stat. */
export interface FoundProcess {
  state: string;
  startTime: string;
}

/** Undefined when there is no such process, or only its zombie. */
export function findProcess(pid: number): FoundProcess | undefined {
  const stat = readSmallFile(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The command's name, in brackets, may contain spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 20);
  const [state = "", startTime = ""] = [fields[0], fields[19]];
  return state === "Z" || state === "X" ? undefined : { state, startTime };
}

/** The start time alone. */
export const startTimeOf = (pid: number): string | undefined => findProcess(pid)?.startTime;
