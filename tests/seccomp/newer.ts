/**
 * Which calls a profile's author could not know, where libseccomp gives the default action and we ENOSYS: read from the
 * rule as docs/adr says it, not from the compiler.
 */
import { AUDIT_ARCHES } from "../../src/plan/seccomp/compile.ts";
import type { SeccompData } from "../../src/plan/seccomp/emulate.ts";
import { X32_SYSCALL_BIT } from "../../src/plan/seccomp/syscall-tables.ts";
import { isSyscallArch, type SyscallArch, syscallNumber } from "../../src/plan/seccomp/syscalls.ts";
import type { LinuxSeccomp } from "../../src/spec/seccomp.ts";

/** SECCOMP_RET_ERRNO with ENOSYS. */
export const NOT_IMPLEMENTED = 0x50026;

const LENIENT = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"];

/** Numbers that are given out in order of time, from the first of Linux 5.1 on. */
const TIMED: Record<SyscallArch, [from: number, to: number]> = {
  SCMP_ARCH_X86_64: [403, X32_SYSCALL_BIT - 1],
  SCMP_ARCH_X32: [X32_SYSCALL_BIT + 403, X32_SYSCALL_BIT + 511],
  SCMP_ARCH_X86: [403, 0xfffffffe],
  SCMP_ARCH_AARCH64: [403, 0xfffffffe],
  SCMP_ARCH_ARM: [403, 0xeffff],
};

/** Whether a call's number lies beyond all that the profile names on the call's architecture. */
export function newerThanProfile(profile: LinuxSeccomp, nativeArch: SyscallArch): (call: SeccompData) => boolean {
  if (LENIENT.includes(profile.defaultAction)) return () => false;
  const names = (profile.syscalls ?? []).flatMap((rule) => rule.names);
  const gaps = [...new Set([nativeArch, ...(profile.architectures ?? [])])].filter(isSyscallArch).flatMap((arch) => {
    const [from, to] = TIMED[arch];
    const numbers = names.map((name) => syscallNumber(name, arch) ?? -1).filter((nr) => nr >= 0 && nr <= to);
    return numbers.length === 0
      ? []
      : [{ arch: AUDIT_ARCHES[arch], from: Math.max(from, ...numbers.map((nr) => nr + 1)), to }];
  });
  return ({ arch, nr }) => gaps.some((gap) => gap.arch === arch && nr >>> 0 >= gap.from && nr >>> 0 <= gap.to);
}
