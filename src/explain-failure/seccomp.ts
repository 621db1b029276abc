/** What the filter of the container's own profile answers to a system call of the set-up that failed. seccomp(2). */
import { ACTION_VALUES, AUDIT_ARCHES } from "../plan/seccomp/compile.ts";
import { emulateSeccomp } from "../plan/seccomp/emulate.ts";
import { SECCOMP_DATA } from "../plan/seccomp/plan-seccomp.ts";
import { syscallNumber } from "../plan/seccomp/syscalls.ts";
import type { InitStep } from "../plan/step.ts";
import type { SysError } from "../sys/sys.ts";
import { machineOfThis } from "./machine.ts";

export type LoadedFilter = Pick<Extract<InitStep, { op: "seccomp" }>, "program" | "field">;

/** Where a filter is changed: a program that is given ready-made has no section that counts. */
export const placeOf = (field: string | undefined): string =>
  field === SECCOMP_DATA ? `the program of ${SECCOMP_DATA}` : "linux.seccomp (--security-opt seccomp=FILE)";

/** Undefined where the filter has not given this answer. Arguments are not known any more: a rule about them is not told. */
export function filterAnswer(
  filter: LoadedFilter | undefined,
  { syscall, errno, code }: Pick<SysError, "syscall" | "errno" | "code">,
): { why: string; hint: string; evidence: string } | undefined {
  if (filter === undefined || actionFor(filter.program, syscall) !== ACTION_VALUES.SCMP_ACT_ERRNO + errno)
    return undefined;
  return {
    why: `the container's own seccomp profile answers ${syscall} with ${code}`,
    hint: `allow ${syscall} in ${placeOf(filter.field)}`,
    evidence: `the filter of ${filter.program.length / 8} instructions, evaluated for ${syscall}`,
  };
}

/** SECCOMP_RET_* of a call with all arguments 0; undefined for a call without a number, and where the filter is no compiler's. */
export function actionFor(filter: Uint8Array, syscall: string): number | undefined {
  const arch = machineOfThis() === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
  const nr = syscallNumber(syscall, arch);
  try {
    return nr === undefined ? undefined : emulateSeccomp(filter, { nr, arch: AUDIT_ARCHES[arch] });
  } catch (error) {
    if (error instanceof RangeError) return undefined; // of run.oci.seccomp_bpf_data
    throw error;
  }
}

/** The calls that evidence is read with: one that is not allowed could end the process before it has said anything. */
const LOOKING = "statx statfs readlinkat openat read close getdents64 fgetxattr prctl prlimit64 capget".split(" ");

export const mayLook = (filter: LoadedFilter | undefined): boolean =>
  filter === undefined || LOOKING.every((call) => actionFor(filter.program, call) === ACTION_VALUES.SCMP_ACT_ALLOW);
