/**
 * `linux.seccomp` compiled to the classic BPF program that seccomp(2) takes.
 *
 * The meaning is libseccomp's, because profiles are written for runc and crun; the shape is not. libseccomp compares
 * the call's number with one number after another; here it is looked up in a balanced tree of merged ranges, which the
 * kernel loads and runs faster. What surprises in the meaning:
 *
 * - A rule whose action is the default action is dropped, before rules are weighed against each other.
 * - Of two unconditional rules on one call the first counts, and against rules on arguments the unconditional one.
 * - A call of an architecture that is not in the profile kills the thread, whatever the default action: a filter
 *   that did not look would take other calls for its own. On x86_64 that includes x32.
 * - Call number -1 gets the default action: a tracer writes it to skip a call, and the filter sees it (Linux 4.8).
 * - i386 has socket and SysV IPC calls twice, as calls and as functions of socketcall(2) and ipc(2). Rules apply to
 *   both; of the latter the arguments lie in memory, where no filter sees them, so a rule on the first argument
 *   is for any value there.
 */

import type { LinuxSeccomp, LinuxSeccompArg, SeccompAction, SeccompFlag } from "../../spec/seccomp.ts";
import { type ArgumentRule, argumentOutcome, toCondition } from "./argument-rules.ts";
import { BpfWriter, type Label } from "./bpf-writer.ts";
import { emitRanges, type Outcome, type Range, returns } from "./ranges.ts";
import { isSyscallArch, type SyscallArch, syscallNumber, X32_SYSCALL_BIT } from "./syscalls.ts";

export interface CompiledSeccomp {
  /** An array of `struct sock_filter`, 8 bytes each, little-endian. */
  program: Uint8Array;
  /** For seccomp(2): the profile's flags, and SECCOMP_FILTER_FLAG_NEW_LISTENER where an action is NOTIFY. */
  flags: number;
  /** Names in the profile that no architecture knows; their rules were left out. */
  unknownSyscalls: string[];
  /** Architectures in the profile that have no table; their calls are killed. */
  unknownArchitectures: string[];
}

/** The kernel takes no longer program (BPF_MAXINSNS). */
export const MAX_INSTRUCTIONS = 4096;

/** The AUDIT_ARCH_* value that the kernel shows to a filter. */
export const AUDIT_ARCHES: Readonly<Record<SyscallArch, number>> = {
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X32: 0xc000003e,
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_ARM: 0x40000028,
};

/** SECCOMP_RET_* of each action; the low 16 bits are free for data. */
export const ACTION_VALUES: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

const FLAG_VALUES: Readonly<Record<SeccompFlag, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};
const NEW_LISTENER = 8;

const EPERM = 1;
const BAD_ARCH = ACTION_VALUES.SCMP_ACT_KILL_THREAD;
const SKIPPED_CALL = 0xffffffff;
const NR_OFFSET = 0;
const ARCH_OFFSET = 4;

/**
 * Compiles a profile for a machine of the native architecture, which is filtered whether the profile lists it or not.
 *
 * Throws RangeError for an action, operator, flag or argument index that the spec does not know, for an errnoRet on an
 * action that takes none (the spec wants that to fail), and for a program beyond the kernel's limit.
 */
export function compileSeccomp(profile: LinuxSeccomp, { nativeArch }: { nativeArch: SyscallArch }): CompiledSeccomp {
  const named = [...new Set([nativeArch, ...(profile.architectures ?? [])])];
  const archs = named.filter(isSyscallArch);
  const defaultAction = actionValue(profile.defaultAction, profile.defaultErrnoRet);
  const calls = new Map(archs.map((arch) => [arch, new Map<number, CallRules>()]));
  const unknownSyscalls = addRules(calls, profile, defaultAction);

  const writer = new BpfWriter();
  emitArchitectures(writer, calls, defaultAction);
  if (writer.length > MAX_INSTRUCTIONS) {
    throw new RangeError(`the seccomp filter has ${writer.length} instructions; the kernel takes ${MAX_INSTRUCTIONS}`);
  }
  return {
    program: writer.finish(),
    flags: filterFlags(profile),
    unknownSyscalls,
    unknownArchitectures: named.filter((arch) => !isSyscallArch(arch)),
  };
}

/** The rules on one system call: an action without conditions, or rules that each have some. */
type CallRules = { always: number } | { rules: ArgumentRule[] };

/** Sorts the profile's rules by architecture and call, and returns the names that no architecture knows. */
function addRules(
  calls: ReadonlyMap<SyscallArch, Map<number, CallRules>>,
  profile: LinuxSeccomp,
  defaultAction: number,
): string[] {
  const unknown = new Set<string>();
  for (const { names, action, errnoRet, args = [] } of profile.syscalls ?? []) {
    const value = actionValue(action, errnoRet);
    const alternatives = toAlternatives(args);
    for (const name of names) {
      if (!isKnown(name)) unknown.add(name);
      if (value === defaultAction) continue;
      for (const [arch, rules] of calls) {
        for (const { nr, func } of entryPoints(name, arch)) {
          for (const conditions of alternatives) addRule(rules, nr, arch, withFunction(conditions, func), value);
        }
      }
    }
  }
  return [...unknown];
}

/** Two conditions on one argument are no conjunction to libseccomp; runc and crun make every condition a rule then. */
function toAlternatives(args: readonly LinuxSeccompArg[]): (readonly LinuxSeccompArg[])[] {
  for (const { index } of args) {
    if (!(Number.isInteger(index) && index >= 0 && index < 6)) throw new RangeError(`no argument has index ${index}`);
  }
  const repeated = new Set(args.map(({ index }) => index)).size < args.length;
  return repeated ? args.map((arg) => [arg]) : [args];
}

function addRule(
  calls: Map<number, CallRules>,
  nr: number,
  arch: SyscallArch,
  args: readonly LinuxSeccompArg[],
  action: number,
): void {
  const known = calls.get(nr);
  if (known !== undefined && "always" in known) return;
  const conditions = args.map((arg) => toCondition(arg, isWide(arch))).filter((condition) => condition !== undefined);
  if (conditions.length === 0) calls.set(nr, { always: action });
  else if (known === undefined) calls.set(nr, { rules: [{ conditions, action }] });
  else known.rules.push({ conditions, action });
}

function isWide(arch: SyscallArch): boolean {
  return arch === "SCMP_ARCH_X86_64" || arch === "SCMP_ARCH_AARCH64";
}

function isKnown(name: string): boolean {
  return Object.keys(AUDIT_ARCHES).some((arch) => isSyscallArch(arch) && syscallNumber(name, arch) !== undefined);
}

/** socketcall(2)'s functions, from 1 on (linux/net.h). */
const SOCKETCALL =
  "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg".split(
    " ",
  );

/** ipc(2)'s functions (linux/ipc.h). */
const IPC = new Map([
  ["semop", 1],
  ["semget", 2],
  ["semctl", 3],
  ["semtimedop", 4],
  ["msgsnd", 11],
  ["msgrcv", 12],
  ["msgget", 13],
  ["msgctl", 14],
  ["shmat", 21],
  ["shmdt", 22],
  ["shmget", 23],
  ["shmctl", 24],
]);

interface EntryPoint {
  nr: number;
  /** The first argument that makes a multiplexed call this one. */
  func?: number;
}

/** The numbers under which an architecture offers a call: none, one, or on i386 two. */
function entryPoints(name: string, arch: SyscallArch): EntryPoint[] {
  const nr = syscallNumber(name, arch);
  const direct = nr === undefined ? [] : [{ nr }];
  if (arch !== "SCMP_ARCH_X86") return direct;
  const multiplexer = IPC.has(name) ? "ipc" : "socketcall";
  const func = IPC.get(name) ?? SOCKETCALL.indexOf(name) + 1;
  const through = syscallNumber(multiplexer, arch);
  return func === 0 || through === undefined ? direct : [{ nr: through, func }, ...direct];
}

function withFunction(args: readonly LinuxSeccompArg[], func: number | undefined): readonly LinuxSeccompArg[] {
  if (func === undefined) return args;
  return [{ index: 0, op: "SCMP_CMP_EQ", value: func }, ...args.filter(({ index }) => index !== 0)];
}

/** The whole program: by architecture, then by call number. The native architecture is asked for first. */
function emitArchitectures(
  writer: BpfWriter,
  calls: ReadonlyMap<SyscallArch, ReadonlyMap<number, CallRules>>,
  defaultAction: number,
): Label {
  const tokens = new Set([...calls.keys()].map((arch) => AUDIT_ARCHES[arch]));
  const shared = new Map<string, Label>();
  let next = writer.ret(BAD_ARCH);
  for (const token of [...tokens].reverse()) {
    const archs = [...calls.keys()].filter((arch) => AUDIT_ARCHES[arch] === token);
    const outcomes = archs.flatMap((arch) =>
      [...(calls.get(arch) ?? [])].map(([nr, rules]) => [nr, callOutcome(rules, defaultAction, shared)] as const),
    );
    const ranges = overlay(defaultRanges(archs, returns(defaultAction)), new Map(outcomes));
    const table = writer.load(NR_OFFSET, emitRanges(writer, ranges));
    next = writer.branch("==", token, table, next);
  }
  return writer.load(ARCH_OFFSET, next);
}

/** Rules on arguments are written once, however many calls they are for. */
function callOutcome(call: CallRules, defaultAction: number, shared: Map<string, Label>): Outcome {
  if ("always" in call) return returns(call.always);
  const { key, emit } = argumentOutcome(call.rules, defaultAction);
  return {
    key,
    emit: (writer) => {
      const label = shared.get(key) ?? emit(writer);
      shared.set(key, label);
      return label;
    },
  };
}

/** What becomes of the numbers that no rule is for. */
function defaultRanges(archs: readonly SyscallArch[], byDefault: Outcome): Range[] {
  if (!archs.includes("SCMP_ARCH_X86_64") && !archs.includes("SCMP_ARCH_X32"))
    return [{ start: 0, outcome: byDefault }];
  const badArch = returns(BAD_ARCH);
  return [
    { start: 0, outcome: archs.includes("SCMP_ARCH_X86_64") ? byDefault : badArch },
    { start: X32_SYSCALL_BIT, outcome: archs.includes("SCMP_ARCH_X32") ? byDefault : badArch },
    { start: SKIPPED_CALL, outcome: byDefault },
  ];
}

/** The ranges with single numbers of other outcomes in them. */
function overlay(ranges: readonly Range[], outcomes: ReadonlyMap<number, Outcome>): Range[] {
  const numbers = [...outcomes.keys()];
  const starts = new Set([...ranges.map(({ start }) => start), ...numbers, ...numbers.map((nr) => nr + 1)]);
  return [...starts]
    .sort((a, b) => a - b)
    .flatMap((start) => {
      const outcome = outcomes.get(start) ?? ranges.findLast((range) => range.start <= start)?.outcome;
      return outcome === undefined ? [] : [{ start, outcome }];
    });
}

function actionValue(action: SeccompAction, errnoRet: number | undefined): number {
  if (!Object.hasOwn(ACTION_VALUES, action)) throw new RangeError(`unknown seccomp action ${action}`);
  if (action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE") {
    return ACTION_VALUES[action] + ((errnoRet ?? EPERM) & 0xffff);
  }
  if (errnoRet !== undefined) throw new RangeError(`the seccomp action ${action} takes no errnoRet`);
  return ACTION_VALUES[action];
}

/**
 * Without `flags` speculation stays unmitigated, as runc and crun do it: since Linux 5.16 that is the kernel's default,
 * and before it every system call of a filtered process paid for it. An empty list means no flag.
 */
function filterFlags({
  flags = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
  defaultAction,
  syscalls = [],
}: LinuxSeccomp): number {
  const notifies = [defaultAction, ...syscalls.map(({ action }) => action)].includes("SCMP_ACT_NOTIFY");
  let value = notifies ? NEW_LISTENER : 0;
  for (const flag of new Set(flags)) {
    if (!Object.hasOwn(FLAG_VALUES, flag)) throw new RangeError(`unknown seccomp flag ${flag}`);
    value += FLAG_VALUES[flag];
  }
  return value;
}
