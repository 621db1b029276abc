/**
 * What `linux.seccomp` must look like: config-linux.md, "Seccomp". Apart from the rest, because whoever has the filter of
 * a section at hand need not look at the section.
 */
import {
  absolutePath,
  type Check,
  clash,
  integer,
  list,
  object,
  oneOf,
  type Problem,
  text,
  uint64,
  within,
  wrong,
} from "./check.ts";
import {
  type LinuxSeccomp,
  type LinuxSeccompArg,
  type LinuxSyscall,
  SECCOMP_ACTIONS,
  SECCOMP_ARCHES,
  SECCOMP_FLAGS,
  SECCOMP_OPERATORS,
  type SeccompAction,
} from "./seccomp.ts";

const action = oneOf(SECCOMP_ACTIONS, `one of the actions ${SECCOMP_ACTIONS.join(", ")}`);
const architecture = oneOf(SECCOMP_ARCHES, "an architecture of libseccomp, such as SCMP_ARCH_X86_64");
/** An errno for ERRNO (the kernel takes no more than MAX_ERRNO), a message for TRACE. */
const errnoRet = integer(0, 65_535);
const MAX_ERRNO = 4095;

const argument = object<LinuxSeccompArg>(
  { index: integer(0, 5), value: uint64, valueTwo: uint64, op: oneOf(SECCOMP_OPERATORS) },
  ["index", "value", "op"],
);

const names: Check = (value, pass) =>
  Array.isArray(value) && value.length > 0
    ? list(text)(value, pass)
    : wrong(value, "a list of system calls, not empty");

// runc refuses NOTIFY for write and as the default action, because its init process writes before the agent has the
// listener. Ours makes no call then (execute/init/seccomp.ts).
const rule = object<LinuxSyscall>(
  { names, action, errnoRet, args: list(argument) },
  ["names", "action"],
  ({ action, errnoRet }) => checkErrno("errnoRet", action, errnoRet),
);

export const SECCOMP = object<LinuxSeccomp>(
  {
    defaultAction: action,
    defaultErrnoRet: errnoRet,
    architectures: list(architecture),
    flags: list(oneOf(SECCOMP_FLAGS)),
    listenerPath: absolutePath,
    listenerMetadata: text,
    syscalls: list(rule),
  },
  ["defaultAction"],
  (seccomp) => {
    const { defaultAction, defaultErrnoRet, listenerPath, listenerMetadata, syscalls = [] } = seccomp;
    if (listenerPath === undefined) {
      if (listenerMetadata !== undefined)
        return clash(".listenerMetadata", listenerMetadata, "it is for the socket at listenerPath, which is not set");
      if (defaultAction === "SCMP_ACT_NOTIFY" || syscalls.some(({ action }) => action === "SCMP_ACT_NOTIFY"))
        return clash(".listenerPath", undefined, "SCMP_ACT_NOTIFY needs the socket of the agent that is asked");
    }
    return checkErrno("defaultErrnoRet", defaultAction, defaultErrnoRet);
  },
);

/** config-linux.md: "When the action doesn't support an errno, the runtime MUST print and error and fail". */
function checkErrno(name: string, action: SeccompAction, value: number | undefined): Problem | undefined {
  if (value === undefined || action === "SCMP_ACT_TRACE") return undefined;
  if (action !== "SCMP_ACT_ERRNO")
    return clash(`.${name}`, value, `${action} has no errno: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one`);
  return value > MAX_ERRNO ? within(name, wrong(value, `at most ${MAX_ERRNO} for SCMP_ACT_ERRNO`)) : undefined;
}

/** `{}`, or null in Go's words: runc takes it for no seccomp at all. */
export const isNoSeccomp = ({ defaultAction, syscalls }: Partial<LinuxSeccomp>): boolean =>
  (defaultAction === undefined || (defaultAction as string) === "") && (syscalls ?? []).length === 0;

/** Whether JSON.parse may have rounded a number of a section that has not been checked. */
export function hasLargeNumber(section: Partial<LinuxSeccomp>): boolean {
  if (!Array.isArray(section.syscalls)) return false;
  return section.syscalls.some(
    (rule: Partial<LinuxSyscall> | null) =>
      Array.isArray(rule?.args) &&
      rule.args.some((arg: Partial<LinuxSeccompArg> | null) => isLarge(arg?.value) || isLarge(arg?.valueTwo)),
  );
}

const isLarge = (value: unknown): boolean => typeof value === "number" && !Number.isSafeInteger(value);
