/** `tupper run`: a container in the foreground, cleaned up when it ends, however it ends. */
import { ContainerError } from "../../error.ts";
import { cleanUp } from "../../execute/clean-up.ts";
import { blockSignals, execute } from "../../execute/execute.ts";
import { ENDING_SIGNALS, type GivesUp } from "../../execute/give-up.ts";
import { probeHost } from "../../execute/probe.ts";
import type { Watch } from "../../execute/ptrace.ts";
import { removeCgroups } from "../../execute/remove-cgroups.ts";
import { makeTracer, type TraceLevel, type Tracer } from "../../execute/tracer.ts";
import { whatIsLeft } from "../../explain-failure/clean-up.ts";
import { type Explained, explainEnd } from "../../explain-failure/end.ts";
import { hookState } from "../../plan/hooks.ts";
import type { Host } from "../../plan/host.ts";
import { plan as makePlan } from "../../plan/plan.ts";
import type { Plan } from "../../plan/step.ts";
import { printable } from "../../printable.ts";
import { type OnSignal, supervise } from "../../runtime/supervise.ts";
import { openSignals } from "../../runtime/terminal.ts";
import type { Config } from "../../spec/config.ts";
import { errnoText } from "../../sys/errno.ts";
import { writeErr } from "../../sys/files.ts";
import type { WaitStatus } from "../../sys/structs.ts";
import { SysError } from "../../sys/sys.ts";
import { briefly } from "./ends.ts";
import { readKillNote } from "./kill-note.ts";
import {
  claimState,
  recordContainer,
  recordEndOf,
  recordInit,
  releaseState,
  type StateLock,
  sweepStates,
} from "./state.ts";

export interface RunRequest {
  config: Config;
  id: string;
  trace: TraceLevel;
  warnings: string[];
  /** The machine, when the caller has looked already. */
  host?: Host;
  /** Follows the command call by call; it hears of the plan before it is performed. */
  follower?: Follower;
  /** Shows the plan step by step, or a part of it. */
  guide?: Guide;
}

export interface Guide {
  /** What of the plan is performed. */
  cut(plan: Plan): Plan;
  tracer: Tracer;
  /** Hears what the tracer says in the init process. */
  aside(text: string, pid: number): void;
}

export interface Follower {
  planned(plan: Plan): void;
  watch: Watch;
  reap(pid: number): WaitStatus | undefined;
}

/** Returns the command's exit code, 128 + n for a signal. Throws a ContainerError when it could not be started. */
export function runContainer(request: RunRequest): number {
  const { config, id, trace, warnings, host = probeHost(), follower, guide } = request;
  const tracer = guide?.tracer ?? makeTracer(trace);
  const whole = makePlan(config, host, { id });
  const plan = guide?.cut(whole) ?? whole;
  const warn = (text: string) => writeErr(`warning: ${printable(text)}\n`);
  for (const text of [...warnings, ...plan.warnings]) warn(text);
  follower?.planned(plan);

  // Before anything is there that a signal could leave behind.
  blockSignals();
  const lock = claimState(id);
  let groupsStay = false;
  try {
    const signals = openSignals();
    const command = briefly(config.process.args);
    const started = recordingFailure(lock, command, () =>
      execute(plan, {
        tracer,
        warn,
        recordState: () => recordContainer(lock, plan, config),
        groupsStay: () => {
          groupsStay = true;
        },
        ...(follower === undefined ? givesUpOf(plan) : { watch: follower.watch }),
        ...(guide === undefined ? {} : { aside: guide.aside }),
        containerState: (pid) => ({ ...hookState(config, id, `${host.stateRoot}/${id}`), status: "creating", pid }),
      }),
    );
    try {
      recordInit(lock, started.pid);
      sweepOthers(warn);
      let explained: Explained | undefined;
      const onSignal: OnSignal = (ended) => {
        const groups = plan.steps.flatMap((step) => (step.op === "makeCgroup" ? [step] : []));
        explained = explainEnd({ ...ended, killed: readKillNote(lock) }, { groups, linux: config.linux });
        if (explained !== undefined) warn(explained.why);
      };
      const exitCode = supervise(started, signals, onSignal, follower?.reap);
      const recorded = recordEndOf(lock, { pid: started.pid, command, exitCode, cause: "exited", ...explained });
      if (recorded < 0) warn(`how it ended is not on record for tupper wait: ${errnoText(-recorded)}`);
      return exitCode;
    } finally {
      const { cgroups } = plan.cleanup;
      const stays = () => `${whatIsLeft(cgroups)}: on record for the next tupper run or ps, which removes what it can`;
      groupsStay = !cleanUp("remove the container's control groups", () => removeCgroups(cgroups), stays, warn);
    }
  } finally {
    // Without its record no later command would know of the groups.
    const stays = () => `${lock.path}, for the next tupper run or ps`;
    if (!groupsStay) cleanUp("remove the container's record", () => releaseState(lock), stays, warn);
  }
}

/** Where our memory is shared, the host looks for signals (host/native.h). */
const givesUpOf = ({ steps }: Plan): { givesUp?: GivesUp } =>
  steps.some((step) => step.op === "clone" && !step.sharedMemory)
    ? { givesUp: { signals: openSignals(ENDING_SIGNALS), cgroups: [] } }
    : {};

/** For those who wait for its end. */
function recordingFailure<T>(lock: StateLock, command: string[], start: () => T): T {
  try {
    return start();
  } catch (error) {
    if (error instanceof ContainerError) {
      const why = `${error.message} (${error.code})`;
      recordEndOf(lock, { pid: 0, command, exitCode: error.exitCode, cause: "not-started", why });
    }
    throw error;
  }
}

/** What another run left and cannot be removed is no reason to end this container. */
function sweepOthers(warn: (text: string) => void): void {
  try {
    sweepStates(warn);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    warn(`what other runs left cannot be removed: ${error.message}`);
  }
}

/** For `explain` and `script`: what {@link runContainer} would do. */
export function planContainer({ config, id, host = probeHost() }: Pick<RunRequest, "config" | "id" | "host">): Plan {
  return makePlan(config, host, { id });
}
