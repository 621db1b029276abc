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
 * - A call that is newer than the profile answers ENOSYS, as under runc and unlike libseccomp: see `firstNewerPlace`.
 */

import type { LinuxSeccomp, LinuxSeccompArg, SeccompAction, SeccompFlag } from "../../spec/seccomp.ts";
import { type ArgumentRule, argumentOutcome, toCondition } from "./argument-rules.ts";
import { BpfWriter, type Label } from "./bpf-writer.ts";
import { emitRanges, type Outcome, type Range, returns } from "./ranges.ts";
import { X32_SYSCALL_BIT } from "./syscall-tables.ts";
import { isSyscallArch, type SyscallArch, syscallIndex, syscallNumber, syscallNumbers } from "./syscalls.ts";

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

/** TSYNC is for a process's other threads, and the one that loads a filter here has none; the kernel would refuse it beside a listener. */
const FLAG_VALUES: Readonly<Record<SeccompFlag, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};
/** SECCOMP_FILTER_FLAG_NEW_LISTENER: seccomp(2) returns the descriptor that tells of calls with the action NOTIFY. */
export const NEW_LISTENER = 8;

const EPERM = 1;
const ENOSYS = 38;
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
  const tables = named.filter(isSyscallArch).map(makeTable);
  const defaultAction = actionValue(profile.defaultAction, profile.defaultErrnoRet);
  const unknownSyscalls = addRules(tables, profile, defaultAction);

  const writer = new BpfWriter();
  emitArchitectures(writer, tables, defaultAction);
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

/**
 * What the profile says of one architecture's calls, by place: a call's number counted from the architecture's first
 * one, but for arm's private calls, which close behind the others. Arrays of all places and not maps of the named ones:
 * QuickJS compiles a profile many times faster with them.
 */
interface CallTable {
  arch: SyscallArch;
  /** The numbers by syscallIndex. */
  numbers: Int32Array;
  /** The first number. */
  first: number;
  /** The action of a call with an unconditional rule, or NONE. */
  actions: Float64Array;
  /** The rules of the calls whose rules all have conditions. */
  conditional: Map<number, ArgumentRule[]>;
  /** The last place that the profile names, of those in order of time; -1 where it names none. */
  newest: number;
  /** From this place on numbers are not in order of time. */
  endOfTime: number;
}

/** No action has this value. */
const NONE = -1;
/** All numbers but arm's private ones are below. */
const PRIVATE_PLACE = 592;
const PLACES = 600;
const ARM_PRIVATE = 0xf0000;
/** x32's own variants of old calls begin here. */
const X32_OWN_PLACE = 512;

const END_OF_TIME: Partial<Record<SyscallArch, number>> = {
  SCMP_ARCH_X32: X32_OWN_PLACE,
  SCMP_ARCH_ARM: PRIVATE_PLACE,
};

function makeTable(arch: SyscallArch): CallTable {
  return {
    arch,
    numbers: syscallNumbers(arch),
    first: arch === "SCMP_ARCH_X32" ? X32_SYSCALL_BIT : 0,
    actions: new Float64Array(PLACES).fill(NONE),
    conditional: new Map(),
    newest: -1,
    endOfTime: END_OF_TIME[arch] ?? PLACES,
  };
}

/** Sorts the profile's rules by architecture and call, and returns the names that no architecture knows. */
function addRules(tables: readonly CallTable[], profile: LinuxSeccomp, defaultAction: number): string[] {
  const unknown = new Set<string>();
  for (const { names, action, errnoRet, args } of profile.syscalls ?? []) {
    const value = actionValue(action, errnoRet);
    const indices: number[] = [];
    for (const name of names) {
      const index = syscallIndex(name);
      if (index === undefined) unknown.add(name);
      else indices.push(index);
    }
    const alternatives = args === undefined || args.length === 0 ? [[]] : toAlternatives(args);
    for (const table of tables) {
      if (value === defaultAction) noteNames(table, indices);
      else addNames(table, indices, alternatives, value);
    }
  }
  return [...unknown];
}

/** A call with the default action needs no rule, but the profile knows it. */
function noteNames(table: CallTable, indices: readonly number[]): void {
  for (const index of indices) {
    const place = (table.numbers[index] as number) - table.first;
    if (place < table.endOfTime && place > table.newest) table.newest = place;
  }
}

function addNames(
  table: CallTable,
  indices: readonly number[],
  alternatives: readonly (readonly LinuxSeccompArg[])[],
  action: number,
): void {
  const { numbers, first, actions, endOfTime } = table;
  const unconditional = alternatives[0]?.length === 0;
  let newest = table.newest;
  for (const index of indices) {
    const nr = numbers[index] as number;
    if (nr >= 0) {
      const offset = nr - first;
      const place = offset < PRIVATE_PLACE ? offset : offset - ARM_PRIVATE + PRIVATE_PLACE;
      if (place > newest && place < endOfTime) newest = place;
      if (actions[place] === NONE) {
        if (unconditional) actions[place] = action;
        else for (const conditions of alternatives) addRule(table, place, conditions, action);
      }
    }
  }
  table.newest = newest;
  if (table.arch === "SCMP_ARCH_X86") addMultiplexed(table, indices, alternatives, action);
}

/** Two conditions on one argument are no conjunction to libseccomp; runc and crun make every condition a rule then. */
function toAlternatives(args: readonly LinuxSeccompArg[]): (readonly LinuxSeccompArg[])[] {
  for (const { index } of args) {
    if (!(Number.isInteger(index) && index >= 0 && index < 6)) throw new RangeError(`no argument has index ${index}`);
  }
  const repeated = new Set(args.map(({ index }) => index)).size < args.length;
  return repeated ? args.map((arg) => [arg]) : [args];
}

function addRule(table: CallTable, place: number, args: readonly LinuxSeccompArg[], action: number): void {
  if (table.actions[place] !== NONE) return;
  const wide = isWide(table.arch);
  const conditions = args.map((arg) => toCondition(arg, wide)).filter((condition) => condition !== undefined);
  const known = table.conditional.get(place);
  if (conditions.length === 0) table.actions[place] = action;
  else if (known === undefined) table.conditional.set(place, [{ conditions, action }]);
  else known.push({ conditions, action });
}

function isWide(arch: SyscallArch): boolean {
  return arch === "SCMP_ARCH_X86_64" || arch === "SCMP_ARCH_AARCH64";
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

/** The calls that i386 offers as functions of another one too: which, and the first argument that makes it this one. */
const MULTIPLEXED = new Map<number | undefined, { by: number; func: number }>();
for (const [at, name] of SOCKETCALL.entries()) multiplex("socketcall", name, at + 1);
for (const [name, func] of IPC) multiplex("ipc", name, func);

function multiplex(by: string, name: string, func: number): void {
  MULTIPLEXED.set(syscallIndex(name), { by: syscallNumber(by, "SCMP_ARCH_X86") ?? NONE, func });
}

function addMultiplexed(
  table: CallTable,
  indices: readonly number[],
  alternatives: readonly (readonly LinuxSeccompArg[])[],
  action: number,
): void {
  for (const index of indices) {
    const call = MULTIPLEXED.get(index);
    if (call === undefined) continue;
    for (const args of alternatives) {
      const others = args.filter(({ index }) => index !== 0);
      addRule(table, call.by, [{ index: 0, op: "SCMP_CMP_EQ", value: call.func }, ...others], action);
    }
  }
}

/** The whole program: by architecture, then by call number. The native architecture is asked for first. */
function emitArchitectures(writer: BpfWriter, tables: readonly CallTable[], defaultAction: number): Label {
  const tokens = new Set(tables.map(({ arch }) => AUDIT_ARCHES[arch]));
  const outcomes = new Outcomes(defaultAction);
  let next = writer.ret(BAD_ARCH);
  for (const token of [...tokens].reverse()) {
    const native = tables.find(({ arch }) => AUDIT_ARCHES[arch] === token && arch !== "SCMP_ARCH_X32");
    const x32 = tables.find(({ arch }) => AUDIT_ARCHES[arch] === token && arch === "SCMP_ARCH_X32");
    const ranges: Range[] = [];
    if (native === undefined) ranges.push({ start: 0, outcome: outcomes.returning(BAD_ARCH) });
    else pushRanges(ranges, native, outcomes);
    if (x32 !== undefined) pushRanges(ranges, x32, outcomes);
    else if (token === AUDIT_ARCHES.SCMP_ARCH_X32) {
      ranges.push({ start: X32_SYSCALL_BIT, outcome: outcomes.returning(BAD_ARCH) });
    }
    ranges.push({ start: SKIPPED_CALL, outcome: outcomes.byDefault });
    next = writer.branch("==", token, writer.load(NR_OFFSET, emitRanges(writer, ranges)), next);
  }
  return writer.load(ARCH_OFFSET, next);
}

/** What can become of a call under this profile, each once. */
class Outcomes {
  readonly byDefault: Outcome;
  readonly notImplemented: Outcome;
  private readonly simple = new Map<number, Outcome>();
  private readonly written = new Map<string, Label>();

  readonly defaultAction: number;

  constructor(defaultAction: number) {
    this.defaultAction = defaultAction;
    this.byDefault = this.returning(defaultAction);
    this.notImplemented = this.returning(ACTION_VALUES.SCMP_ACT_ERRNO + ENOSYS);
  }

  returning(action: number): Outcome {
    let outcome = this.simple.get(action);
    if (outcome === undefined) {
      outcome = returns(action);
      this.simple.set(action, outcome);
    }
    return outcome;
  }

  /** Rules on arguments are written once, however many calls they are for. */
  byArguments(rules: readonly ArgumentRule[]): Outcome {
    const { key, emit } = argumentOutcome(rules, this.defaultAction);
    const { written } = this;
    return {
      key,
      emit(writer) {
        const label = written.get(key) ?? emit(writer);
        written.set(key, label);
        return label;
      },
    };
  }
}

/** One architecture's numbers, from its first on. */
function pushRanges(ranges: Range[], table: CallTable, outcomes: Outcomes): void {
  const { actions, conditional, first } = table;
  const newer = firstNewerPlace(table, outcomes.defaultAction);
  const notTimed = newer === PLACES ? PLACES : table.endOfTime;
  let last = Number.NaN;
  for (let place = 0; place < PLACES; place += 1) {
    const action = actions[place] as number;
    const unnamed = action === NONE;
    const rules = unnamed ? conditional.get(place) : undefined;
    if (action === last && rules === undefined && place !== newer && place !== notTimed) continue;
    last = rules === undefined ? action : Number.NaN;
    let outcome: Outcome;
    if (rules !== undefined) outcome = outcomes.byArguments(rules);
    else if (!unnamed) outcome = outcomes.returning(action);
    else outcome = place >= newer && place < notTimed ? outcomes.notImplemented : outcomes.byDefault;
    ranges.push({ start: first + (place < PRIVATE_PLACE ? place : place - PRIVATE_PLACE + ARM_PRIVATE), outcome });
  }
}

/** Numbers below are from before Linux 5.1 and in no order of time. */
const NUMBERED_BY_TIME = 403;

/**
 * Calls that are newer than the newest one that the profile names answer ENOSYS: whoever wrote the profile could not
 * know them, and C libraries fall back to older calls at this error alone, from which EPERM would keep them. runc does
 * so too (libcontainer/seccomp/patchbpf), unless the default action lets calls pass. docs/adr says where we differ.
 */
function firstNewerPlace({ newest }: CallTable, defaultAction: number): number {
  if (newest < 0 || LENIENT.has(defaultAction - (defaultAction % 0x10000))) return PLACES;
  return Math.max(newest + 1, NUMBERED_BY_TIME);
}

/** Default actions that let a call pass, or have somebody decide about it. */
const LENIENT = new Set([
  ACTION_VALUES.SCMP_ACT_ALLOW,
  ACTION_VALUES.SCMP_ACT_LOG,
  ACTION_VALUES.SCMP_ACT_TRACE,
  ACTION_VALUES.SCMP_ACT_NOTIFY,
]);

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
  const notifies = defaultAction === "SCMP_ACT_NOTIFY" || syscalls.some(({ action }) => action === "SCMP_ACT_NOTIFY");
  let value = notifies ? NEW_LISTENER : 0;
  for (const flag of new Set(flags)) {
    if (!Object.hasOwn(FLAG_VALUES, flag)) throw new RangeError(`unknown seccomp flag ${flag}`);
    // It is about the listener, and the kernel refuses it where there is none.
    if (flag !== "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" || notifies) value += FLAG_VALUES[flag];
  }
  return value;
}
