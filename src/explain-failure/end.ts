/**
 * Why a container's command ended, where its exit code alone does not say: for want of memory, by its seccomp filter, by a
 * signal of tupper's caller, or by somebody else's. What the kernel does not tell is not guessed. signal(7), seccomp(2).
 */
import { ContainerError } from "../error.ts";
import { ACTION_VALUES } from "../plan/seccomp/compile.ts";
import { SECCOMP_DATA } from "../plan/seccomp/plan-seccomp.ts";
import { syscallNames, syscallNumber } from "../plan/seccomp/syscalls.ts";
import type { Plan } from "../plan/step.ts";
import type { Linux } from "../spec/config.ts";
import type { LinuxSeccomp } from "../spec/seccomp.ts";
import { AT_FDCWD, O_CLOEXEC, O_NONBLOCK, O_RDONLY, SIGNALS } from "../sys/constants.ts";
import { parseWaitStatus, type WaitStatus } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { machineOfThis, read } from "./machine.ts";
import { actionFor, placeOf } from "./seccomp.ts";

const SECCOMP_KILLS: ReadonlySet<string> = new Set([
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_TRAP",
]);

export interface Ended {
  pid: number;
  status: WaitStatus;
  /** The last signal that tupper passed on to it, and who sent that. */
  relayed?: Sent | undefined;
  /** The last signal that a `tupper kill` sent to it, and which process that was. */
  killed?: Sent | undefined;
}

export interface Sent {
  signal: number;
  pid: number;
}

export interface Lived {
  groups: readonly { controller: string; path: string }[];
  linux: Pick<Linux, "seccomp" | "namespaces">;
  /** The filter, where it is given ready-made: what `linux.seccomp` says of system calls does not count then. */
  given?: Uint8Array | undefined;
}

/** What ended a command that its exit code does not tell. Stable words: programs compare them. */
export interface Explained {
  cause: "out-of-memory" | "seccomp" | "passed-on" | "tupper-kill" | "signal";
  /** One sentence. */
  why: string;
  /** `SIGKILL`; what a shell's exit code stands for too. */
  signal: string;
  outOfMemory?: MemoryKills;
  /** The system call that a filter killed for, where the kernel's log tells it. */
  syscall?: string;
  /** Who sent the signal: to tupper, or by `tupper kill`. */
  sender?: number;
}

/** Undefined where the exit code says it all. */
export function explainEnd(
  { pid, status, relayed, killed }: Ended,
  { groups, linux: { seccomp, namespaces = [] }, given }: Lived,
): Explained | undefined {
  const number = status.state === "signaled" ? status.signal : status.state === "exited" ? status.code - 128 : 0;
  if (number <= 0) return undefined;
  const signal = nameOf(number);
  const outOfMemory = number === SIGNALS.KILL ? memoryKills(groups) : undefined;
  if (outOfMemory !== undefined) {
    return { cause: "out-of-memory", why: memorySentence(outOfMemory), signal, outOfMemory };
  }
  // A shell's code for a child of its own: who knows.
  const who = status.state === "signaled" ? "the container's command" : "a process of the container";
  if (number === SIGNALS.SYS && seccomp !== undefined) {
    const { sentence, syscall } = filtered(pid, seccomp, given);
    const call = syscall === undefined ? {} : { syscall };
    return { cause: "seccomp", why: `${who} was killed by ${sentence}`, signal, ...call };
  }
  if (status.state !== "signaled") return undefined;
  const by = (sent: Sent, cause: Explained["cause"], words: string): Explained => ({
    cause,
    why: `${who} was ended by ${signal}, which ${words}`,
    signal,
    sender: sent.pid,
  });
  if (relayed?.signal === number) return by(relayed, "passed-on", `process ${relayed.pid} sent to tupper`);
  if (killed?.signal === number) return by(killed, "tupper-kill", `tupper kill sent to it (process ${killed.pid})`);
  return { cause: "signal", why: `${who} ${signalSentence(number, status.coreDumped, namespaces)}`, signal };
}

function signalSentence(number: number, coreDumped: boolean, namespaces: NonNullable<Linux["namespaces"]>): string {
  const name = nameOf(number);
  if (number === SIGNALS.KILL) {
    const joined = namespaces.some(({ type, path }) => type === "pid" && path !== undefined);
    const others = joined ? "process 1 of the PID namespace that it joined has ended, or " : "";
    return `was killed by SIGKILL: not by tupper, and not for want of memory as far as its control groups count; ${others}somebody outside sent it (kill -9)`;
  }
  return `was ended by ${name}${CAUSES[name] === undefined ? "" : `: ${CAUSES[name]}`}${coreDumped ? "; the kernel wrote a core dump (core_pattern)" : ""}`;
}

const CAUSES: Readonly<Record<string, string>> = {
  SIGSEGV: "it used memory that it does not have",
  SIGBUS: "it used memory behind the end of a file, or a full /dev/shm",
  SIGILL: "it executed an instruction that this processor does not have",
  SIGFPE: "it divided by zero",
  SIGABRT: "it gave up itself (abort, a failed assertion)",
  SIGXFSZ: "it wrote a file larger than RLIMIT_FSIZE (--ulimit fsize=)",
  SIGXCPU: "it used more processor time than RLIMIT_CPU (--ulimit cpu=)",
  SIGPIPE: "nobody reads its output any more",
};

const nameOf = (signal: number): string =>
  `SIG${Object.entries(SIGNALS).find(([, number]) => number === signal)?.[0] ?? `NAL ${signal}`}`;

const MEMORY = "linux.resources.memory.limit";
const TOO_LOW =
  "raise linux.resources.memory.limit (--memory): what making a container takes counts as its own, some hundred kilobytes, more for many mounts";

/** Undefined unless a container's process was OOM-killed before its command ran. */
export function killedBeforeStart(groups: Lived["groups"]): ContainerError | undefined {
  const why = outOfMemory(groups);
  if (why === undefined) return undefined;
  return new ContainerError("INIT_DIED", `the init process died before the command ran: ${why}`, {
    field: MEMORY,
    hint: TOO_LOW,
  });
}

/** The end of an init process that has said nothing. */
export function whyInitDied(status: WaitStatus, { steps }: Plan): { why?: string; hint: string; field?: string } {
  const signal = status.state === "signaled" ? status.signal : 0;
  if (signal === 9) {
    const memory = outOfMemory(steps.flatMap((step) => (step.op === "makeCgroup" ? [step] : [])));
    const limit = steps.find((step) => step.op === "write" && /\/memory\.(max|limit_in_bytes)$/.test(step.path));
    return memory === undefined
      ? { hint: "SIGKILL comes from outside, or from the kernel when a memory limit leaves no room even for the start" }
      : { why: memory, hint: TOO_LOW, field: limit?.field ?? MEMORY };
  }
  const filter = steps.find((step) => step.op === "seccomp");
  const kills = (call: string) => filter !== undefined && KILLING.has(actionFor(filter.program, call) ?? -1);
  // Where a packet may not be sent it is written.
  const refused = AFTER_FILTER.filter((call) => kills(call) && (call !== "sendmsg" || kills("write")));
  if (signal !== SIGNALS.SYS || refused.length === 0) return { hint: "see --trace" };
  return {
    why: `its seccomp profile kills for ${refused.join(", ")}, which the start of the command itself needs`,
    hint: `allow ${refused.join(", ")} in ${placeOf(filter?.field)}`,
  };
}

/** What the set-up itself calls between the filter and the command. */
const AFTER_FILTER = ["sendmsg", "rt_sigprocmask", "prctl", "setresuid", "setresgid", "setgroups", "capset", "execve"];
const KILLING: ReadonlySet<number> = new Set([
  ACTION_VALUES.SCMP_ACT_KILL_THREAD,
  ACTION_VALUES.SCMP_ACT_KILL_PROCESS,
  ACTION_VALUES.SCMP_ACT_TRAP,
]);

export interface MemoryKills {
  cgroup: string;
  kills: number;
  limitBytes: number | undefined;
  peakBytes: number | undefined;
}

/** The kernel kills without a word: what the control group counted says whether it was for want of memory. */
export function memoryKills(groups: Lived["groups"]): MemoryKills | undefined {
  const last = (name: string) => groups.findLast(({ controller }) => controller.split(",").includes(name))?.path;
  const v1 = last("memory");
  const cgroup = v1 ?? last("unified");
  if (cgroup === undefined) return undefined;
  const [events, limit, peak] =
    v1 === undefined
      ? ["memory.events", "memory.max", "memory.peak"]
      : ["memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes"];
  const kills = Number(/^oom_kill (\d+)$/m.exec(read(`${cgroup}/${events}`) ?? "")?.[1] ?? 0);
  if (kills === 0) return undefined;
  const bytes = (file: string) => {
    const text = read(`${cgroup}/${file}`)?.trim();
    return text === undefined || text === "max" ? undefined : Number(text);
  };
  return { cgroup, kills, limitBytes: bytes(limit), peakBytes: bytes(peak) };
}

function outOfMemory(groups: Lived["groups"]): string | undefined {
  const found = memoryKills(groups);
  return found === undefined ? undefined : memorySentence(found);
}

function memorySentence({ cgroup, kills, limitBytes, peakBytes }: MemoryKills): string {
  const used = peakBytes === undefined ? "" : `, it used up to ${peakBytes}`;
  return `the kernel killed the container because it ran out of memory: its limit is ${limitBytes ?? "that of a group above:"} bytes (--memory, linux.resources.memory.limit)${used}, and ${cgroup} counts ${kills} killed; raise the limit`;
}

/** What is left to be seen of the end of a container whose parent is another program. */
export interface EndSeen {
  /** Until the parent has taken the status of its process. proc_pid_stat(5), exit_code: for who may trace it. */
  exitCode?: number;
  signal?: string;
  outOfMemory?: MemoryKills;
}

/** Undefined where nothing is left. `init`: its process, with the start time that tells it from a later one of its number. */
export function endSeen(
  init: { pid: number; startTime: string } | undefined,
  groups: Lived["groups"],
): EndSeen | undefined {
  const memory = memoryKills(groups);
  const stat = init === undefined ? undefined : read(`/proc/${init.pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const isZombie = fields?.[0] === "Z" && fields[19] === init?.startTime;
  const status = isZombie && fields[49] !== undefined ? parseWaitStatus(Number(fields[49])) : undefined;
  if (memory === undefined && status === undefined) return undefined;
  return {
    ...(status?.state === "exited" ? { exitCode: status.code } : {}),
    ...(status?.state === "signaled" ? { signal: nameOf(status.signal) } : {}),
    ...(memory === undefined ? {} : { outOfMemory: memory }),
  };
}

function filtered(
  pid: number,
  section: LinuxSeccomp,
  given: Uint8Array | undefined,
): { sentence: string; syscall: string | undefined } {
  const rules = given === undefined ? rulesOf(section) : killsFor("the program", callsKilledBy(given));
  const where =
    given === undefined ? "the profile (linux.seccomp, --security-opt seccomp=FILE)" : placeOf(SECCOMP_DATA);
  const said = auditRecord(pid);
  const call = said === undefined ? undefined : callOf(said);
  const sentence = `SIGSYS: ${
    call === undefined
      ? `its seccomp filter forbids a system call; which, the kernel tells only in its log (dmesg: type=1326), and ${rules}`
      : `its seccomp filter does not allow the system call ${call}${said?.comm === undefined ? "" : ` of ${said.comm}`} (from the kernel's log)`
  }; allow it in ${where} if it is wanted`;
  return { sentence, syscall: call };
}

function rulesOf({ defaultAction, syscalls = [] }: LinuxSeccomp): string {
  if (SECCOMP_KILLS.has(defaultAction)) return "the profile kills for all that it does not allow";
  return killsFor(
    "the profile",
    syscalls.flatMap(({ names, action }) => (SECCOMP_KILLS.has(action) ? names : [])),
  );
}

const killsFor = (what: string, calls: readonly string[]): string =>
  `${what} kills for ${calls.slice(0, 12).join(", ") || "none by its name alone"}${calls.length > 12 ? ", …" : ""}`;

function callsKilledBy(program: Uint8Array): string[] {
  const arch = machineOfThis() === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
  // The data of a kill is for nobody.
  const kills = (action: number) => KILLING.has((action & SECCOMP_RET_ACTION_FULL) >>> 0);
  return syscallNames(arch).filter((name) => kills(actionFor(program, name) ?? ACTION_VALUES.SCMP_ACT_ALLOW));
}

const SECCOMP_RET_ACTION_FULL = 0xffff0000;

interface AuditRecord {
  pid: number;
  nr: number;
  comm: string | undefined;
}

function callOf({ nr }: AuditRecord): string | undefined {
  const arch = machineOfThis() === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
  return syscallNames(arch).find((name) => syscallNumber(name, arch) === nr);
}

/**
 * From the kernel (facility 0), and audit's from its first word on: what is mounted with an option `type=1326 …` is in the log too. A
 * program's name in quotes is its own choice.
 */
const RECORD =
  /^[0-7],\d+,(\d+),[^;]*;audit: type=1326 audit\(.*? pid=(\d+) comm=(?:"([^"]*)")?.* sig=31 .* syscall=(\d+)/;

/**
 * What the kernel logged of the process, `audit: type=1326 … pid=1 comm="mkdir" … sig=31 … syscall=83`. Numbers there are those
 * of the first PID namespace: where ours is another one, the last second's records count, if they all name one call.
 * printk log of the kernel: dev-kmsg.
 */
function auditRecord(pid: number): AuditRecord | undefined {
  const log = raw.openat(AT_FDCWD, "/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  if (log < 0) return undefined;
  const now = Number(sys.monotonicUs());
  const recent: AuditRecord[] = [];
  const buffer = new ArrayBuffer(8192);
  const EPIPE = -32; // records were overwritten meanwhile
  for (let length = raw.read(log, buffer); length > 0 || length === EPIPE; length = raw.read(log, buffer)) {
    if (length < 0) continue;
    const text = sys.decodeText(buffer, 0, length) as string;
    const found = RECORD.exec(text);
    if (found === null || now - Number(found[1]) > 1_000_000) continue;
    recent.push({ pid: Number(found[2]), nr: Number(found[4]), comm: found[3] });
  }
  raw.close(log);
  const last = recent.at(-1);
  return (
    recent.findLast((record) => record.pid === pid) ?? (recent.every(({ nr }) => nr === last?.nr) ? last : undefined)
  );
}
