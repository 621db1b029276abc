/**
 * The numbers of system calls by name, for every architecture that tupper can filter.
 *
 * What syscall-numbers.ts made of the tables in the build: at run time it is a look-up.
 *
 * Surprises: x32 is no architecture of its own to the kernel: its calls arrive as x86_64 with bit 30 set in the number,
 * and the numbers here do have the bit. From 403 on (Linux 5.1) numbers are given out in order of time, and from 424 on
 * a new call has the same number everywhere.
 */

import { NAMES, NUMBERS } from "./syscall-numbers.ts";
import type { SyscallArch } from "./syscall-tables.ts";

export type { SyscallArch } from "./syscall-tables.ts";

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
  return NUMBERS[arch];
}

/** All names of an architecture, in ascending order of their numbers. */
export function syscallNames(arch: SyscallArch): string[] {
  const here = syscallNumbers(arch);
  const known = [...indices].filter(([, index]) => here[index] !== ABSENT);
  return known.sort(([, a], [, b]) => (here[a] ?? 0) - (here[b] ?? 0)).map(([name]) => name);
}

/** Whether this is an architecture with a table here; the others cannot be filtered. */
export function isSyscallArch(arch: string): arch is SyscallArch {
  return Object.hasOwn(NUMBERS, arch);
}

const ABSENT = -1;

const indices = new Map(NAMES.split(" ").map((name, index) => [name, index]));
