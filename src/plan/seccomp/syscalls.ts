/**
 * The numbers of system calls by name, for every architecture that tupper can filter.
 *
 * Parsed from syscall-tables.ts when the module is evaluated, which is in the build: at run time it is a look-up.
 *
 * Surprises: x32 is no architecture of its own to the kernel: its calls arrive as x86_64 with bit 30 set in the number,
 * and the numbers here do have the bit. From 403 on (Linux 5.1) numbers are given out in order of time, and from 424 on
 * a new call has the same number everywhere.
 */

import type { SeccompArch } from "../../spec/seccomp.ts";
import { AARCH64, ARM, SHARED, TIME64, X32_ABSENT, X32_OWN, X86, X86_64 } from "./syscall-tables.ts";

/** The architectures whose system calls are known here, in the runtime-spec's names. */
export type SyscallArch = Extract<
  SeccompArch,
  "SCMP_ARCH_X86_64" | "SCMP_ARCH_X86" | "SCMP_ARCH_X32" | "SCMP_ARCH_AARCH64" | "SCMP_ARCH_ARM"
>;

/** Set in the number of every x32 call (`__X32_SYSCALL_BIT`). */
export const X32_SYSCALL_BIT = 0x40000000;

/**
 * The number of a system call, or `undefined` where the architecture has no call of that name.
 *
 * ```ts
 * syscallNumber("openat", "SCMP_ARCH_AARCH64"); // 56
 * ```
 */
export function syscallNumber(name: string, arch: SyscallArch): number | undefined {
  const nr = syscallNumbers(arch)[syscallIndex(name) ?? -1];
  return nr === ABSENT ? undefined : nr;
}

/** Where a call stands in each architecture's `syscallNumbers`; `undefined` where no architecture has it. */
export function syscallIndex(name: string): number | undefined {
  return indices.get(name);
}

/** The numbers of an architecture by `syscallIndex`; -1 where it lacks the call. */
export function syscallNumbers(arch: SyscallArch): Int32Array {
  return numbers[arch];
}

/** All names of an architecture, in ascending order of their numbers. */
export function syscallNames(arch: SyscallArch): string[] {
  const here = syscallNumbers(arch);
  const known = [...indices].filter(([, index]) => here[index] !== ABSENT);
  return known.sort(([, a], [, b]) => (here[a] ?? 0) - (here[b] ?? 0)).map(([name]) => name);
}

/** Whether this is an architecture with a table here; the others cannot be filtered. */
export function isSyscallArch(arch: string): arch is SyscallArch {
  return Object.hasOwn(numbers, arch);
}

const ABSENT = -1;

type Entry = [name: string, nr: number];

function parse(source: string): Entry[] {
  const entries: Entry[] = [];
  let nr = 0;
  for (const word of source.trim().split(/\s+/)) {
    if (word >= "0" && word < ":") nr = Number(word);
    else entries.push([word, nr++]);
  }
  return entries;
}

function x32Entries(): Entry[] {
  const own = parse(X32_OWN);
  const absent = new Set([...X32_ABSENT.split(" "), ...own.map(([name]) => name)]);
  const inherited = [...parse(X86_64), ...parse(SHARED)].filter(([name]) => !absent.has(name));
  return [...inherited, ...own].map(([name, nr]) => [name, nr + X32_SYSCALL_BIT]);
}

const entries: Record<SyscallArch, Entry[]> = {
  SCMP_ARCH_X86_64: [...parse(X86_64), ...parse(SHARED)],
  SCMP_ARCH_X32: x32Entries(),
  SCMP_ARCH_X86: [...parse(X86), ...parse(TIME64), ...parse(SHARED)],
  SCMP_ARCH_AARCH64: [...parse(AARCH64), ...parse(SHARED)],
  SCMP_ARCH_ARM: [...parse(ARM), ...parse(TIME64), ...parse(SHARED)],
};

const names = new Set(Object.values(entries).flatMap((table) => table.map(([name]) => name)));
const indices = new Map([...names].map((name, index) => [name, index]));

function toNumbers(table: Entry[]): Int32Array {
  const list = new Int32Array(indices.size).fill(ABSENT);
  for (const [name, nr] of table) list[indices.get(name) ?? ABSENT] = nr;
  return list;
}

const numbers: Readonly<Record<SyscallArch, Int32Array>> = {
  SCMP_ARCH_X86_64: toNumbers(entries.SCMP_ARCH_X86_64),
  SCMP_ARCH_X32: toNumbers(entries.SCMP_ARCH_X32),
  SCMP_ARCH_X86: toNumbers(entries.SCMP_ARCH_X86),
  SCMP_ARCH_AARCH64: toNumbers(entries.SCMP_ARCH_AARCH64),
  SCMP_ARCH_ARM: toNumbers(entries.SCMP_ARCH_ARM),
};
