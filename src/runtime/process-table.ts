/**
 * What `ps -ef` prints of some processes, made of their own files in /proc: ps(1) reads those of all processes of the machine,
 * and its start alone takes longer than all else that `ps` of a container does. Columns and words are those of procps-ng 4.
 * proc_pid_stat(5), ps(1).
 */
import { commandLine } from "../execute/command-line.ts";
import { printable } from "../printable.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readSmallFile } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";
import { ownerName } from "./owner.ts";
import { requireProc } from "./start-time.ts";

export interface ProcessRow {
  /** A name, or a number where there is none. */
  user: string;
  pid: number;
  parent: number;
  /** Processor time, and the time of its start since boot, in {@link TICKS}. */
  used: number;
  start: number;
  terminal: string;
  command: string;
}

export interface Moment {
  /** Since 1970, in milliseconds. */
  now: number;
  /** Since boot, in {@link TICKS}. */
  uptime: number;
}

/** A second has so many, whatever the kernel's own clock does: time(7), USER_HZ. */
const TICKS = 100;

/** Those that have ended meanwhile are left out. Throws PROC_MISSING. */
export function processTable(pids: readonly number[]): string {
  requireProc();
  const [uptime = ""] = (readSmallFile("/proc/uptime") ?? "").split(" ");
  const moment = { now: Date.now(), uptime: Math.round(Number(uptime) * TICKS) };
  const highest = (readSmallFile("/proc/sys/kernel/pid_max") ?? "").trim();
  const names = new Map<number, string>();
  const nameOf = (uid: number): string => {
    const name = names.get(uid) ?? ownerName(uid);
    names.set(uid, name);
    return name;
  };
  const rows = pids.flatMap((pid) => readProcess(pid, nameOf) ?? []);
  return renderProcesses(rows, moment, Math.max(5, String(Number(highest) - 1).length));
}

function readProcess(pid: number, nameOf: (uid: number) => string): ProcessRow | undefined {
  const stat = readSmallFile(`/proc/${pid}/stat`);
  const status = readSmallFile(`/proc/${pid}/status`);
  const command = commandLine(pid);
  if (stat === undefined || status === undefined || command === undefined) return undefined;
  const end = stat.lastIndexOf(")");
  // From the third field on.
  const fields = stat.slice(end + 2).split(" ", 20);
  const field = (number: number): number => Number(fields[number - 3]);
  const [, effective = ""] = /^Uid:\t\d+\t(\d+)/m.exec(status) ?? [];
  const name = stat.slice(stat.indexOf("(") + 1, end);
  return {
    user: nameOf(Number(effective)),
    pid,
    parent: field(4),
    used: field(14) + field(15),
    start: field(22),
    terminal: terminalName(field(7)),
    command: command === "" ? `[${name}]${fields[0] === "Z" ? " <defunct>" : ""}` : command,
  };
}

/** Of a device number as /proc/PID/stat has it. Pseudo-terminals have no place in /sys: devices.txt, majors 136 to 143. */
function terminalName(device: number): string {
  if (device === 0) return "?";
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  if (major >= 136 && major <= 143) return `pts/${(major - 136) * 256 + minor}`;
  const target = raw.readlinkText(AT_FDCWD, `/sys/dev/char/${major}:${minor}`);
  return typeof target === "string" ? target.slice(target.lastIndexOf("/") + 1) : "?";
}

/** Pure, but for the time zone. `pidWidth`: of the columns for process numbers. */
export function renderProcesses(rows: readonly ProcessRow[], moment: Moment, pidWidth: number): string {
  const columns: Column[] = [
    { head: "UID", width: 8 },
    { head: "PID", width: pidWidth, toRight: true },
    { head: "PPID", width: pidWidth, toRight: true },
    { head: "C", width: 2, toRight: true },
    { head: "STIME", width: 5, toRight: true },
    { head: "TTY", width: 8 },
    { head: "TIME", width: 8, toRight: true },
    { head: "CMD", width: 0 },
  ];
  const cells = rows.map(({ user, pid, parent, used, start, terminal, command }) => [
    user.length > 8 ? `${user.slice(0, 7)}+` : user,
    String(pid),
    String(parent),
    String(Math.min(99, Math.floor((100 * used) / Math.max(1, moment.uptime - start)))),
    startedAt(start, moment),
    terminal,
    duration(Math.floor(used / TICKS)),
    printable(command),
  ]);
  return [columns.map(({ head }) => head), ...cells].map((row) => `${align(row, columns)}\n`).join("");
}

interface Column {
  head: string;
  width: number;
  toRight?: boolean;
}

/** What is too long for its column takes from the space of those behind it, as long as there is some. */
function align(cells: readonly string[], columns: readonly Column[]): string {
  let [text, start] = ["", 0];
  for (const [i, { width, toRight = false }] of columns.entries()) {
    const cell = cells[i] ?? "";
    if (i > 0) text = `${text} `.padEnd(toRight ? 0 : start);
    text += toRight ? cell.padStart(start + width - text.length) : cell;
    start += width + 1;
  }
  return text;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The time of a start today, the day of one this year, else the year. */
function startedAt(start: number, { now, uptime }: Moment): string {
  // The second of the boot has no fraction: btime of /proc/stat, from which ps counts.
  const boot = Math.floor(now / 1000 - uptime / TICKS);
  const [today, then] = [new Date(now), new Date((boot + start / TICKS) * 1000)];
  if (then.getFullYear() !== today.getFullYear()) return String(then.getFullYear());
  const isToday = then.getMonth() === today.getMonth() && then.getDate() === today.getDate();
  return isToday
    ? `${two(then.getHours())}:${two(then.getMinutes())}`
    : `${MONTHS[then.getMonth()]}${two(then.getDate())}`;
}

/** `[days-]hours:minutes:seconds`. */
function duration(seconds: number): string {
  const days = Math.floor(seconds / 86_400);
  const clock = `${two((seconds / 3600) % 24)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
  return days === 0 ? clock : `${two(days)}-${clock}`;
}

const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
