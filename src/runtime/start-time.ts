/** What tells a process from a later one of the same number. proc_pid_stat(5). */
import { readFileIfThere } from "../sys/files.ts";

/** Start time in clock ticks since boot, field 22 of /proc/PID/stat; undefined when there is no such process, or only its zombie. */
export function startTimeOf(pid: number): string | undefined {
  const stat = readFileIfThere(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The command's name, in brackets, may contain spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}
