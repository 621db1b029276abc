/** What one run of a command did: each system call by name, how often, how often it was denied; and for denials, what may be lacking. */
import { type Call, Following } from "../../execute/ptrace.ts";
import type { SyscallArch } from "../../plan/seccomp/syscalls.ts";
import { errnoName } from "../../sys/errno.ts";
import { parseWaitStatus } from "../../sys/structs.ts";
import type { Follower } from "../containers/run.ts";
import { archOf, nameOfCall, portIn, tellCall } from "../diagnose/call-text.ts";
import { capabilityFor } from "../diagnose/needs.ts";

/** How often a call was made, and with which answers it was denied. */
export interface Tally {
  times: number;
  /** By errno's name: EPERM, ENOSYS. */
  denied: Map<string, number>;
}

export interface Seen extends Tally {
  archs: Set<SyscallArch>;
  /** Of calls in {@link ARGUMENTS}: the same by that argument. */
  byArgument: Map<number, Tally>;
}

export interface Recording {
  calls: Map<string, Seen>;
  /** `mount EPERM`, with the capabilities that might be lacking. */
  denials: Map<string, Set<string>>;
  follower: Follower;
}

const CLONE_NAMESPACES = 0x7e020000;

/** Calls that one argument makes quite another: which, and the bits of it that count. */
export const ARGUMENTS: Readonly<Record<string, { index: number; mask: number }>> = {
  clone: { index: 0, mask: CLONE_NAMESPACES },
  personality: { index: 0, mask: 0xffffffff },
  socket: { index: 0, mask: 0xffffffff },
  socketpair: { index: 0, mask: 0xffffffff },
  unshare: { index: 0, mask: 0xffffffff },
};

const [EPERM, EACCES, ENOSYS] = [1, 13, 38];

export function makeRecording(): Recording {
  const calls = new Map<string, Seen>();
  const denials = new Map<string, Set<string>>();
  const byNumber = new Map<string, Seen>();

  const seenOf = (call: Call): Seen => {
    const key = `${call.arch} ${call.nr}`;
    const known = byNumber.get(key);
    if (known !== undefined) return known;
    const name = nameOfCall(call);
    const seen: Seen = calls.get(name) ?? { times: 0, denied: new Map(), archs: new Set(), byArgument: new Map() };
    const arch = archOf(call);
    if (arch !== undefined) seen.archs.add(arch);
    calls.set(name, seen);
    byNumber.set(key, seen);
    return seen;
  };
  const argumentOf = (seen: Seen, call: Call): Tally | undefined => {
    const kind = ARGUMENTS[nameOfCall(call)];
    if (kind === undefined) return undefined;
    const value = Number((call.args[kind.index] ?? 0n) & BigInt(kind.mask));
    let tally = seen.byArgument.get(value);
    if (tally === undefined) {
      tally = { times: 0, denied: new Map() };
      seen.byArgument.set(value, tally);
    }
    return tally;
  };

  const observer = {
    enters(_tid: number, call: Call): void {
      const seen = seenOf(call);
      seen.times++;
      const tally = argumentOf(seen, call);
      if (tally !== undefined) tally.times++;
    },
    failed(tid: number, call: Call, errno: number): void {
      if (errno !== EPERM && errno !== EACCES && errno !== ENOSYS) return;
      const seen = seenOf(call);
      const name = errnoName(errno);
      if (errno !== EACCES)
        for (const tally of [seen, argumentOf(seen, call)]) tally?.denied.set(name, (tally.denied.get(name) ?? 0) + 1);
      const told = tellCall(tid, call);
      const key = `${told.name} ${name}`;
      const lacking = denials.get(key) ?? new Set();
      const capability = capabilityFor(told, told.name === "bind" ? portIn(tid, call.args[1] ?? 0n) : undefined);
      if (capability !== undefined) lacking.add(`CAP_${capability}`);
      if (told.paths.length > 0) for (const one of ["CAP_DAC_OVERRIDE", "CAP_FOWNER"]) lacking.add(one);
      denials.set(key, lacking);
    },
  };
  const following = new Following(observer);
  return {
    calls,
    denials,
    follower: {
      watch: following,
      planned: () => {},
      reap(pid) {
        const status = following.handleStops(pid);
        return status === undefined ? undefined : parseWaitStatus(status);
      },
    },
  };
}

/** Whether all that was tried was denied; the answer that it got. */
export function onlyDenied({ times, denied }: Tally): string | undefined {
  let sum = 0;
  for (const count of denied.values()) sum += count;
  return sum >= times ? [...denied.keys()][0] : undefined;
}
