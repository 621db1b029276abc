/**
 * `tupper run --diagnose` and `tupper why`: a command runs, and each call that is denied to it or to what it starts is told on
 * stderr as it happens: EPERM, EACCES, EROFS, ENOSYS. The same call with the same answer is told once, and counted.
 */
import { type Call, Following, type Watch } from "../../execute/ptrace.ts";
import type { Plan } from "../../plan/step.ts";
import { errnoName, errnoText } from "../../sys/errno.ts";
import { readFileIfThere } from "../../sys/files.ts";
import { parseWaitStatus, type WaitStatus } from "../../sys/structs.ts";
import { nameOfCall, type ToldCall, tellCall } from "./call-text.ts";
import { DENIALS, killsFor, type Reason, reasonOf } from "./reason.ts";
import { sceneOf } from "./scene.ts";

/** One kind of denied call. */
export interface Told extends Reason {
  /** Its name, and its arguments one by one. */
  syscall: string;
  args: readonly string[];
  /** As strace would write it. */
  call: string;
  /** `EACCES`; `SIGSYS` where the caller was killed for it. */
  errno: string;
  /** `Permission denied`. */
  errnoText: string;
  pid: number;
  command: string;
  /** How often it was denied, up to now. */
  count: number;
}

export interface Diagnosis {
  watch: Watch;
  /** For `supervise`: handles what there is, and says how the command ended. */
  reap(pid: number): WaitStatus | undefined;
  /** The container's filters, for where the kernel does not give them. */
  readonly filters: Uint8Array[];
  /** Calls that were denied, and how many of them were of a kind that was told before. */
  readonly counts: { denied: number; told: number };
}

/** `tell` is called once for each kind of denied call. */
export function makeDiagnosis(tell: (told: Told) => void): Diagnosis {
  const filters: Uint8Array[] = [];
  const counts = { denied: 0, told: 0 };
  const known = new Map<string, Told>();
  const failed = (tid: number, call: Call, errno: number): void => {
    if (!DENIALS.has(errno)) return;
    counts.denied++;
    const told = tellCall(tid, call);
    const key = `${told.text} ${errno}`;
    const before = known.get(key);
    if (before !== undefined) {
      before.count++;
      return;
    }
    const reason = reasonOf({ tid, call, told, errno }, sceneOf(tid), filters);
    const kind = describe(tid, told, [errnoName(errno), errnoText(errno)], reason);
    known.set(key, kind);
    counts.told++;
    tell(kind);
  };
  const ended = (tid: number, signal: number | undefined, call: Call | undefined): void => {
    const SIGSYS = 31;
    if (signal !== SIGSYS || call === undefined) return;
    // Of a killed process all threads end so, and anybody may send the signal.
    if (filters.length > 0 && !killsFor(filters, call)) return;
    counts.denied++;
    counts.told++;
    const name = nameOfCall(call);
    const told: ToldCall = { name, text: `${name}(…)`, paths: [], numbers: [], args: [] };
    tell(
      describe(tid, told, ["SIGSYS", "killed"], {
        layer: "seccomp",
        text: `the filter kills whoever calls ${name}`,
        evidence:
          filters.length > 0
            ? "the filter, run on this call: SCMP_ACT_KILL or SCMP_ACT_TRAP"
            : "it ended with SIGSYS, and this was its last call",
        flag: `--security-opt seccomp=FILE with a profile that allows ${name}`,
      }),
    );
  };
  const following = new Following({ failed, ended });
  return {
    watch: following,
    filters,
    counts,
    reap(pid) {
      const status = following.handleStops(pid);
      return status === undefined ? undefined : parseWaitStatus(status);
    },
  };
}

/** The filter that a plan loads. */
export const filtersOf = ({ steps }: Plan): Uint8Array[] =>
  steps.flatMap((step) => (step.op === "seccomp" ? [step.program] : []));

function describe(tid: number, told: ToldCall, [errno, errnoText]: [string, string], reason: Reason): Told {
  const command = readFileIfThere(`/proc/${tid}/comm`)?.trimEnd() ?? "?";
  const inner = /^NSpid:.*\t(\d+)$/m.exec(readFileIfThere(`/proc/${tid}/status`) ?? "")?.[1];
  const { name: syscall, args, text: call } = told;
  return { syscall, args, call, errno, errnoText, pid: Number(inner ?? tid), command, count: 1, ...reason };
}
