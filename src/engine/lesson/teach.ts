/**
 * Performs a lesson: its plan is executed as that of any container, with a tracer that tells each step before it is taken, lets the reader
 * look around before and after it, and waits for them. What the init process has to tell goes to its parent, which prints.
 *
 * The reader may end a lesson between two steps, by a signal at any time: the container goes with its control groups and its record.
 */

import { ContainerError } from "../../error.ts";
import { receive, send } from "../../execute/channel.ts";
import { blockSignals } from "../../execute/execute.ts";
import { probeHost } from "../../execute/probe.ts";
import { showArguments, type Tracer } from "../../execute/tracer.ts";
import { hostForLimits } from "../../execute/user-scope.ts";
import type { Plan, Step } from "../../plan/step.ts";
import { readSignals } from "../../runtime/terminal.ts";
import type { Config } from "../../spec/config.ts";
import { F_DUPFD_CLOEXEC, MFD_CLOEXEC, POLLIN, SIGNALS } from "../../sys/constants.ts";
import { errnoName } from "../../sys/errno.ts";
import { tracingSys } from "../../sys/recording.ts";
import { packPollfds, packSigset, parsePollfds } from "../../sys/structs.ts";
import { raw, replaceSys, sys } from "../../sys/sys.ts";
import { asksForLimits, configFromOptions } from "../containers/config.ts";
import { containerId } from "../containers/container-id.ts";
import { gatherRootFacts } from "../containers/root-facts.ts";
import { runContainer } from "../containers/run.ts";
import type { RunOptions } from "../containers/run-options.ts";
import { makeRecording } from "../learn/recording.ts";
import { cutPlan, isShown, type Lesson, type Look, type Omission } from "./lesson.ts";
import { look, readBack } from "./look.ts";
import { withNeighbour } from "./neighbour.ts";

export interface Answer extends Look {
  output: string;
}

/** What the reader is shown, in order. */
export type Shown =
  | { kind: "omitted"; steps: Step[] }
  | { kind: "step"; number: number; step: Step }
  | { kind: "calls"; calls: string[] }
  | { kind: "look"; when: "before" | "after" | "inside" | "afterwards"; answer: Answer }
  | { kind: "counted"; command: string; calls: [name: string, times: number][] }
  | { kind: "error"; error: ContainerError };

export interface Reader {
  show(shown: Shown): void;
  /** What they have on their terminal; false: a program that reads. */
  isThere: boolean;
  /** Called when it is theirs to go on. */
  prompt(): void;
}

/** The reader has ended the lesson: `code` is 0, or 128 + n for a signal. */
export class LessonEnded extends Error {
  readonly code: number;

  constructor(code: number) {
    super("the lesson was ended");
    this.code = code;
  }
}

type Told =
  | Exclude<Shown, { kind: "step" }>
  | { kind: "step"; number: number }
  | { kind: "ask"; when: "before" | "after"; look: Look }
  | { kind: "pause" };

/** Between two lessons. Throws {@link LessonEnded}. */
export function pause(reader: Reader): void {
  if (!reader.isThere) return;
  withSignals((signals) => {
    reader.prompt();
    const code = awaitReader(signals);
    if (code !== undefined) throw new LessonEnded(code);
  });
}

/** Throws {@link LessonEnded}, and what a container can throw where the lesson does not expect it. */
export function teach(lesson: Lesson, omission: Omission | undefined, reader: Reader): void {
  withSignals((signals) => {
    if (lesson.neighbour) withNeighbour((pid) => perform(lesson, omission, reader, signals, pid));
    else perform(lesson, omission, reader, signals);
  });
}

/** `signals`: those that end a lesson can be read there. */
function withSignals(act: (signals: number) => void): void {
  blockSignals();
  const signals = sys.signalfd4(-1, packSigset(ENDING), 8, SFD_CLOEXEC);
  try {
    act(signals);
  } finally {
    raw.close(signals);
  }
}

const SFD_CLOEXEC = 0o2000000;
const ENDING = ["HUP", "INT", "QUIT", "TERM"].map((name) => SIGNALS[name] ?? 0);

function perform(
  lesson: Lesson,
  omission: Omission | undefined,
  reader: Reader,
  signals: number,
  neighbour?: number,
): void {
  const isShell = lesson.shell === true && reader.isThere;
  const { config, host, id } = configOf(lesson, omission, isShell, neighbour);
  const onMachine = neighbour === undefined ? [] : [`NEIGHBOUR=${neighbour}`];
  let ended: LessonEnded | undefined;
  const end = (code: number): never => {
    ended = new LessonEnded(code);
    throw ended;
  };
  let init: string[] = [];
  const hear = (told: Told, pid?: number): void => {
    if (pid !== undefined) init = [`INIT=${pid}`];
    const code = endAskedFor(signals);
    if (code !== undefined) end(code);
    if (told.kind === "pause") {
      if (!reader.isThere) return;
      reader.prompt();
      const answer = awaitReader(signals);
      if (answer !== undefined) end(answer);
    } else if (told.kind === "ask") {
      reader.show({
        kind: "look",
        when: told.when,
        answer: { ...told.look, output: look(told.look.command, [...onMachine, ...init]) },
      });
    } else if (told.kind === "step") {
      const step = tracer.steps[told.number - 1];
      if (step !== undefined) reader.show({ ...told, step });
    } else reader.show(told);
  };

  const recording = lesson.counts ? makeRecording() : undefined;
  const output = sys.memfdCreate("output", MFD_CLOEXEC);
  const back = isShell ? () => {} : replaceOutput(output);
  const tracer = makeGuide(lesson, hear);
  let code = 0;
  try {
    code = runContainer({
      config,
      id,
      host,
      trace: "off",
      warnings: [],
      ...(recording === undefined ? {} : { follower: recording.follower }),
      guide: {
        cut(whole) {
          const cut = cutPlan(whole, lesson, omission);
          requireGroups(lesson, whole);
          onMachine.push(`GROUP=${groupOf(cut) ?? groupOf(whole) ?? ""}`);
          tracer.begin(cut);
          const kept = new Set(cut.steps);
          const omitted = cutPlan(whole, lesson).steps.filter(
            (step) => !kept.has(step) && step.op !== "clone" && step.op !== "unshare" && isShown(lesson, step),
          );
          if (omission !== undefined) reader.show({ kind: "omitted", steps: omitted });
          return cut;
        },
        tracer,
        aside: (text, pid) => hear(JSON.parse(text) as Told, pid),
      },
    });
  } catch (error) {
    if (ended !== undefined) throw ended;
    if (!omission?.fails || !(error instanceof ContainerError)) throw error;
    back();
    reader.show({ kind: "error", error });
    return;
  } finally {
    tracer.end();
    back();
  }
  showOutput(lesson, readBack(output), reader);
  raw.close(output);
  if (isShell) return;
  if (code === INTERRUPTED || code === TERMINATED) throw new LessonEnded(code);
  if (recording !== undefined)
    reader.show({
      kind: "counted",
      command: lesson.inside[0]?.command ?? "",
      calls: [...recording.calls]
        .map(([name, { times }]): [string, number] => [name, times])
        .sort((a, b) => b[1] - a[1]),
    });
  for (const one of lesson.afterwards ?? [])
    reader.show({
      kind: "look",
      when: "afterwards",
      answer: { where: "machine", ...one, output: look(one.command, onMachine) },
    });
}

function configOf(lesson: Lesson, omission: Omission | undefined, isShell: boolean, neighbour: number | undefined) {
  const id = containerId(undefined);
  const probed = probeHost();
  const options: RunOptions = {
    ...lesson.options,
    ...(probed.uid === 0 ? lesson.rootOptions : {}),
    id,
    command: isShell ? ["sh"] : commandOf(lesson),
    tty: isShell,
    ...(neighbour === undefined ? {} : { uts: `/proc/${neighbour}/ns/uts` }),
  };
  const host = asksForLimits(options) ? hostForLimits(probed, id, () => {}) : probed;
  const { config } = configFromOptions(options, gatherRootFacts("host", host));
  return { config: omission?.refuses === undefined ? config : withRefusal(config, omission.refuses), host, id };
}

/** A filter that refuses one system call and no other. */
const withRefusal = (config: Config, name: string): Config => ({
  ...config,
  linux: {
    ...config.linux,
    seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: [name], action: "SCMP_ACT_ERRNO" }] },
  },
});

const INTERRUPTED = 130;
const TERMINATED = 143;
const MARK = "\x1e";

/** A shell that runs one after the other. As PID 1 it would ignore the signals that end it, so it says what it does with them. */
function commandOf({ inside, counts }: Lesson): string[] {
  if (counts) return (inside[0]?.command ?? "true").split(" ");
  const lines = inside.map(({ command }) => `printf '\\036'\n${command}\n`);
  return ["sh", "-c", `trap 'exit ${INTERRUPTED}' INT\ntrap 'exit ${TERMINATED}' HUP QUIT TERM\n${lines.join("")}:\n`];
}

function showOutput({ inside, counts }: Lesson, text: string, reader: Reader): void {
  const [, ...outputs] = counts ? ["", text] : text.split(MARK);
  for (const [i, one] of inside.entries()) {
    const said = outputs[i];
    if (said === undefined) continue;
    const answer: Answer = { where: "container", ...one, output: said.replace(/\n$/, "") };
    reader.show({ kind: "look", when: "inside", answer });
  }
}

/** What the container and what starts it write goes to a file until the result is called, which may be twice. */
function replaceOutput(file: number): () => void {
  const saved = [1, 2].map((fd) => sys.fcntl(fd, F_DUPFD_CLOEXEC, 3));
  for (const fd of [1, 2]) sys.dup3(file, fd, 0);
  return () => {
    for (const [i, fd] of saved.splice(0).entries()) {
      raw.dup3(fd, i + 1, 0);
      raw.close(fd);
    }
  };
}

function requireGroups(lesson: Lesson, whole: Plan): void {
  if (!lesson.group || groupOf(whole) !== undefined) return;
  throw new ContainerError(
    "LESSON_NEEDS",
    `the lesson ${lesson.name} needs a control group, and there is none to be had`,
    {
      hint: "run it as root, or in a session of systemd that hands its user control groups on",
    },
  );
}

/** The group with the limits: that of the pids controller on cgroup v1, the one there is on v2. */
function groupOf(plan: Plan): string | undefined {
  const groups = plan.steps.flatMap((step) => (step.op === "makeCgroup" || step.op === "startScope" ? [step] : []));
  const pids = groups.find((group) => group.op === "makeCgroup" && group.controller === "pids");
  return (pids ?? groups.at(-1))?.path;
}

interface LessonTracer extends Tracer {
  /** Those that are shown, in order. */
  steps: Step[];
  begin(plan: Plan): void;
  end(): void;
}

/** Calls that belong to no step: messages between the two processes, and what is no system call. */
const NOT_SHOWN: ReadonlySet<string> = new Set(
  "sendMessage receiveMessage close environment encodeText decodeText readText sourceMap spawn exitGroup".split(" "),
);

/** The host's names of calls that it makes itself something of. */
const KERNEL_NAMES: Readonly<Record<string, string>> = { readlink_text: "readlinkat", seccomp_load: "seccomp" };

/**
 * Tells each step, and asks for what is to be looked at. In the parent `hear` does it; the init process says it to the parent and
 * waits. What comes after `clone` waits for the first step of the init process: from then on there is somebody to look.
 */
function makeGuide(lesson: Lesson, hear: (told: Told) => void): LessonTracer {
  const steps: Step[] = [];
  let calls: string[] | undefined;
  let later: ((tell: Tell) => void) | undefined;
  let before: typeof raw | undefined;

  const looks = (step: Step, when: "before" | "after", tell: Tell) => {
    for (const one of lesson.looks.find(({ at }) => at(step))?.[when] ?? []) {
      if (one.where === "machine") tell({ kind: "ask", when, look: one });
      else tell({ kind: "look", when, answer: { ...one, output: quietly(() => look(one.command)) } });
    }
  };
  /** What a look calls is no part of the step. */
  const quietly = <T>(act: () => T): T => {
    const outer = calls;
    calls = undefined;
    try {
      return act();
    } finally {
      calls = outer;
    }
  };

  return {
    steps,
    begin(plan) {
      steps.push(...plan.steps.filter((step) => isShown(lesson, step)));
      before = replaceSys(
        tracingSys(raw, ({ name, syscall, args, result }) => {
          if (NOT_SHOWN.has(name)) return;
          const answer = typeof result !== "number" ? "" : result < 0 ? ` = ${errnoName(-result)}` : ` = ${result}`;
          calls?.push(`${KERNEL_NAMES[syscall] ?? syscall}(${showArguments(args)})${answer}`);
        }),
      );
    },
    end() {
      if (before !== undefined) replaceSys(before);
    },
    step(step, perform, channel) {
      const tell: Tell = (told) => quietly(() => (channel === undefined ? hear(told) : say(channel, told)));
      if (channel !== undefined && later !== undefined) {
        const act = later;
        later = undefined;
        act(tell);
      }
      const number = steps.indexOf(step) + 1;
      if (number === 0) return quietly(perform);
      const waits = WAITS.has(step.op);
      if (!waits) tell({ kind: "step", number });
      looks(step, "before", tell);
      const after = (say: Tell) => {
        looks(step, "after", say);
        say({ kind: "pause" });
      };
      if (step.op === "clone") {
        later = after;
        return quietly(perform);
      }
      if (step.op === "exec") {
        tell({ kind: "pause" });
        return quietly(perform);
      }
      const outer = calls;
      const made: string[] = [];
      calls = made;
      try {
        perform();
      } finally {
        calls = outer;
        if (waits) tell({ kind: "step", number });
        tell({ kind: "calls", calls: made });
      }
      after(tell);
    },
  };
}

type Tell = (told: Told) => void;

/** What is over when the parent has performed and told steps of its own. */
const WAITS: ReadonlySet<Step["op"]> = new Set(["becomeMappedRoot", "awaitParent", "awaitScope", "awaitDelegation"]);

/** To the parent, which answers when the reader goes on. It may end us instead. */
function say(channel: number, told: Told): void {
  send(channel, { kind: "aside", text: JSON.stringify(told) });
  if (receive(channel) === undefined) raw.exitGroup(0);
}

/** 128 + n, where a signal has come that ends the lesson. */
function endAskedFor(signals: number): number | undefined {
  const polled = packPollfds([{ fd: signals, events: POLLIN }]);
  if (raw.ppoll(polled, 1, new ArrayBuffer(16), null, 8) <= 0) return undefined;
  const [first] = readSignals(signals);
  return first === undefined ? undefined : 128 + first.signal;
}

/** Until the reader presses Enter; a code when they want to end: `q`, the end of input, a signal. */
function awaitReader(signals: number): number | undefined {
  const buffer = new ArrayBuffer(256);
  for (;;) {
    const polled = packPollfds([
      { fd: signals, events: POLLIN },
      { fd: 0, events: POLLIN },
    ]);
    if (raw.ppoll(polled, 2, null, null, 8) < 0) continue;
    const [signal, input] = parsePollfds(polled);
    if (signal !== 0) return 128 + (readSignals(signals)[0]?.signal ?? 0);
    if (input === 0) continue;
    const length = raw.read(0, buffer);
    if (length <= 0) return 0;
    const said = sys.decodeText(buffer, 0, length) as string;
    if (/^\s*q/i.test(said)) return 0;
    return undefined;
  }
}
