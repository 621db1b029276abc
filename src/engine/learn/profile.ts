/** A seccomp profile that allows what recordings have seen, and nothing else. Pure. */

import type { Host } from "../../plan/host.ts";
import { NATIVE_ARCH } from "../../plan/seccomp/profile-program.ts";
import type { LinuxSeccomp, LinuxSyscall } from "../../spec/seccomp.ts";
import { errnoNumber } from "../../sys/errno.ts";
import { ARGUMENTS, onlyDenied, type Seen, type Tally } from "./recording.ts";

/** What is made between the filter and the command by whoever starts it, and what the kernel makes a process call by itself. */
export const SET_UP =
  "execve exit exit_group rt_sigreturn restart_syscall sendmsg rt_sigprocmask prctl capset setgroups setresgid setresuid umask fchown statx";

/** A rule, and docker's `comment`, which nobody interprets. */
type Rule = LinuxSyscall & { comment?: string };

export interface LearnedProfile extends LinuxSeccomp {
  syscalls: Rule[];
}

export interface Learned {
  profile: LearnedProfile;
  /** Names that are allowed because they were seen to be more than denied. */
  used: string[];
  /** What was tried and always denied: the profile gives the same answer. */
  probed: { name: string; errno: string }[];
  /** What no table here has a name for: it cannot be in a profile. */
  unnamed: string[];
}

/** `calls`: of all runs. */
export function profileOf(calls: ReadonlyMap<string, Seen>, architecture: Host["architecture"]): Learned {
  const used: string[] = [];
  const plain: string[] = [];
  const probed: Learned["probed"] = [];
  const unnamed: string[] = [];
  const rules: Rule[] = [];
  const archs = new Set<string>([NATIVE_ARCH[architecture]]);
  for (const name of [...calls.keys()].sort()) {
    const seen = calls.get(name) as Seen;
    const errno = onlyDenied(seen);
    if (errno !== undefined) probed.push({ name, errno });
    else if (name.startsWith("syscall_")) unnamed.push(name);
    else {
      used.push(name);
      for (const arch of seen.archs) archs.add(arch);
      const byArgument = argumentRules(name, seen.byArgument);
      if (byArgument.length > 0) rules.push(...byArgument);
      else plain.push(name);
    }
  }
  const absent = probed
    .filter(({ name, errno }) => errno === "ENOSYS" && !name.startsWith("syscall_"))
    .map(({ name }) => name);
  const setUp = SET_UP.split(" ").filter((name) => !used.includes(name));
  return {
    used,
    probed,
    unnamed,
    profile: {
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 1,
      architectures: [...archs] as NonNullable<LinuxSeccomp["architectures"]>,
      syscalls: [
        { names: plain, action: "SCMP_ACT_ALLOW", comment: "seen" },
        ...rules,
        ...(absent.length === 0
          ? []
          : [
              {
                names: absent,
                action: "SCMP_ACT_ERRNO" as const,
                errnoRet: errnoNumber("ENOSYS") ?? 38,
                comment: "only probed: answered ENOSYS, as it was",
              },
            ]),
        {
          names: setUp,
          action: "SCMP_ACT_ALLOW",
          comment: "not the command's: for the set-up between the filter and the command, and for the kernel",
        },
      ],
    },
  };
}

/** A rule for each value that was more than denied; none for a call whose argument does not matter. */
function argumentRules(name: string, byArgument: ReadonlyMap<number, Tally>): Rule[] {
  const kind = ARGUMENTS[name];
  if (kind === undefined) return [];
  return [...byArgument]
    .filter(([, tally]) => onlyDenied(tally) === undefined)
    .sort(([a], [b]) => a - b)
    .map(([value]) => ({
      names: [name],
      action: "SCMP_ACT_ALLOW",
      args: [
        kind.mask === 0xffffffff
          ? { index: kind.index, value, op: "SCMP_CMP_EQ" }
          : { index: kind.index, value: kind.mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" },
      ],
      comment: "seen with this argument",
    }));
}
