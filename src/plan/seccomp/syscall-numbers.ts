/**
 * The tables of syscall-tables.ts as one list of names and, for each architecture, their numbers in the same order.
 * The build evaluates this: scripts/build.ts puts the result in place of this module, so that neither the tables nor
 * what parsing leaves behind is in the binary.
 */
import {
  AARCH64,
  ARM,
  SHARED,
  type SyscallArch,
  TIME64,
  X32_ABSENT,
  X32_OWN,
  X32_SYSCALL_BIT,
  X86,
  X86_64,
} from "./syscall-tables.ts";

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

const names = [...new Set(Object.values(entries).flatMap((table) => table.map(([name]) => name)))];

/** Every name that an architecture has, once. */
export const NAMES = names.join(" ");

/** -1 where the architecture lacks the call. */
function toNumbers(table: Entry[]): Int32Array {
  const byName = new Map(table);
  return Int32Array.from(names, (name) => byName.get(name) ?? -1);
}

/** The numbers of each architecture's calls in the order of NAMES. */
export const NUMBERS: Readonly<Record<SyscallArch, Int32Array>> = {
  SCMP_ARCH_X86_64: toNumbers(entries.SCMP_ARCH_X86_64),
  SCMP_ARCH_X32: toNumbers(entries.SCMP_ARCH_X32),
  SCMP_ARCH_X86: toNumbers(entries.SCMP_ARCH_X86),
  SCMP_ARCH_AARCH64: toNumbers(entries.SCMP_ARCH_AARCH64),
  SCMP_ARCH_ARM: toNumbers(entries.SCMP_ARCH_ARM),
};
