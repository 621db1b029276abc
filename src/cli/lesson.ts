/**
 * `tupper lesson`: containers explained by making them, step by step. Text as it happens, with a pause after each step where the reader is at a
 * terminal; `--format json` is one object: `{ lesson, without, steps: [{ op, by, effect, because, without, man, calls, looks }], inside, afterwards, error }`.
 */
import { Argument, Command, Option } from "commander";
import type { Lesson, Omission } from "../engine/lesson/lesson.ts";
import { LESSONS, lessonNamed } from "../engine/lesson/lessons.ts";
import { onStandIn } from "../engine/lesson/neighbour.ts";
import { type Answer, LessonEnded, pause, type Reader, type Shown, teach } from "../engine/lesson/teach.ts";
import { ContainerError } from "../error.ts";
import { effectOf } from "../explain/effects.ts";
import { paragraph } from "../explain/explain.ts";
import { knowledgeOf, manOf } from "../explain/knowledge.ts";
import { oneLine, wrap } from "../explain/shell.ts";
import { didYouMean } from "../nearest.ts";
import type { Step } from "../plan/step.ts";
import { printableJson } from "../printable.ts";
import { F_DUPFD_CLOEXEC } from "../sys/constants.ts";
import { writeAll } from "../sys/files.ts";
import { raw, sys } from "../sys/sys.ts";
import { exitsWith } from "./exit-code.ts";
import { formatOption } from "./flags.ts";
import { renderError } from "./render-error.ts";
import { renderTable } from "./table.ts";
import { type Colors, colorsOf, isTerminal, writeOut } from "./terminal.ts";

interface LessonOptions {
  without?: string;
  format: "table" | "json";
}

const WIDTH = 88;
const ALL = "all";

/** For the completion of a shell: of all lessons. */
const STEPS = [...new Set(LESSONS.flatMap(({ without }) => Object.keys(without)))];

export const lessonCommand = new Command("lesson")
  .usage("[NAME | NUMBER | all] [--without STEP]")
  .summary("learn what a container is: make one step by step, and see what each step does")
  .description(
    "Without a name lists the lessons. With one, makes a container before your eyes: each step is told, taken for real, and looked at from inside and outside. " +
      "--without leaves one step out, to show what breaks. On a terminal each step waits for Enter; q ends the lesson.",
  )
  .addArgument(
    new Argument("[LESSON]", "its name or number, or all")
      .choices([...LESSONS.map(({ name }) => name), ALL])
      .argParser(String),
  )
  .addOption(
    new Option("--without <STEP>", "leave this step out; each lesson says which").choices(STEPS).argParser(String),
  )
  .addOption(formatOption())
  .action(
    exitsWith((word: string | undefined, options: LessonOptions): number => {
      if (word === undefined && options.without === undefined) return list(options.format);
      const lessons = word === ALL || word === undefined ? LESSONS : [lessonOf(word)];
      const omission =
        lessons.length === 1 && lessons[0] !== undefined ? omissionOf(lessons[0], options.without) : undefined;
      if (options.without !== undefined && omission === undefined)
        throw new ContainerError(
          "LESSON_WITHOUT",
          `--without leaves a step of one lesson out, and ${word === undefined ? "none is named" : "all are asked for"}`,
          {
            field: "--without",
            hint: "name the lesson: tupper lesson NAME --without STEP",
          },
        );
      requireRoot(lessons, omission);
      const run = () => runLessons(lessons, options, omission);
      return omission?.standIn ? onStandIn(run) : run();
    }),
  );

function lessonOf(word: string): Lesson {
  const lesson = lessonNamed(word);
  if (lesson !== undefined) return lesson;
  const names = LESSONS.map(({ name }) => name);
  throw new ContainerError("LESSON_UNKNOWN", `there is no lesson "${word}"`, {
    hint: didYouMean(word, [...names, ALL]) ?? `a number from 1 to ${names.length}, or one of ${names.join(", ")}`,
  });
}

function omissionOf({ name, without }: Lesson, step: string | undefined): Omission | undefined {
  if (step === undefined) return undefined;
  const omission = Object.hasOwn(without, step) ? without[step] : undefined;
  if (omission !== undefined) return omission;
  const steps = Object.keys(without);
  throw new ContainerError("LESSON_WITHOUT", `the lesson ${name} has no step "${step}" to leave out`, {
    field: "--without",
    hint: didYouMean(step, steps) ?? (steps.length === 0 ? "it is shown whole" : `one of ${steps.join(", ")}`),
  });
}

function requireRoot(lessons: readonly Lesson[], omission: Omission | undefined): void {
  if (raw.geteuid() === 0) return;
  const lesson = lessons.length === 1 ? lessons[0] : undefined;
  if (lesson === undefined || !(omission === undefined ? lesson.root : needsRoot(lesson, omission))) return;
  throw new ContainerError(
    "LESSON_NEEDS",
    `the lesson ${lesson.name}${lesson.root ? "" : " without that step"} needs root`,
    {
      hint: "the list (tupper lesson) says which do not",
    },
  );
}

function runLessons(
  lessons: readonly Lesson[],
  { format, without }: LessonOptions,
  omission: Omission | undefined,
): number {
  // Where a container's output is kept for its place in the lesson, stdout is not ours.
  const out = sys.fcntl(1, F_DUPFD_CLOEXEC, 3);
  const transcripts: unknown[] = [];
  const isJson = format === "json";
  const show = (lesson: Lesson): void => {
    if (isJson) {
      const transcript = makeTranscript(lesson, without);
      transcripts.push(transcript.result);
      return teach(lesson, omission, transcript);
    }
    const narrator = makeNarrator(lesson, out, without, omission);
    narrator.begin();
    teach(lesson, omission, narrator);
    narrator.end();
    if (lesson !== lessons.at(-1)) pause(narrator);
  };
  const isOnly = lessons.length === 1;
  let code = 0;
  try {
    for (const lesson of lessons) {
      try {
        if (!isOnly && lesson.root) requireRoot([lesson], undefined);
        show(lesson);
      } catch (error) {
        if (isOnly || !(error instanceof ContainerError) || error.code !== "LESSON_NEEDS") throw error;
        if (!isJson) writeAll(out, `\n${error.message}: it is left out\n`);
      }
    }
  } catch (error) {
    if (!(error instanceof LessonEnded)) throw error;
    code = error.code;
    // The reader was in the middle of a line.
    if (code !== 0 && !isJson) writeAll(out, "\n");
  }
  if (isJson) writeAll(out, jsonText(isOnly ? transcripts[0] : transcripts));
  raw.close(out);
  return code;
}

const jsonText = (value: unknown): string => `${printableJson(JSON.stringify(value, null, 2))}\n`;

const numberOf = (lesson: Lesson): number => LESSONS.indexOf(lesson) + 1;

const needsRoot = (lesson: Lesson, { root, standIn }: Omission): boolean =>
  lesson.root === true || root === true || standIn === true;

function list(format: LessonOptions["format"]): number {
  const listed = LESSONS.map((lesson, i) => {
    const { name, title, notes, root = false } = lesson;
    const steps = Object.entries(lesson.without);
    const asRoot = steps.filter(([, omission]) => needsRoot(lesson, omission)).map(([step]) => step);
    return { number: i + 1, name, title, notes, root, without: steps.map(([step]) => step), withoutAsRoot: asRoot };
  });
  if (format === "json") {
    writeOut(jsonText(listed));
    return 0;
  }
  const starred = (name: string, isStarred: boolean) => (isStarred ? `${name}*` : name);
  const rows = listed.map(({ number, name, title, root, without, withoutAsRoot }) => [
    String(number),
    starred(name, root),
    title,
    without.map((step) => starred(step, withoutAsRoot.includes(step))).join(" "),
  ]);
  writeOut(renderTable(["", "LESSON", "WHAT", "--without"], rows, colorsOf(1)));
  writeOut("\n* needs root. Begin with `tupper lesson 1`, or take them all: `tupper lesson all`.\n");
  return 0;
}

interface Transcript extends Reader {
  result: unknown;
}

function makeTranscript(lesson: Lesson, without: string | undefined): Transcript {
  const steps: (object & { looks: object[]; calls: string[] })[] = [];
  const result = {
    lesson: lesson.name,
    without: without ?? null,
    omitted: [] as object[],
    steps,
    inside: [] as object[],
    afterwards: [] as object[],
    counted: null as object | null,
    error: null as object | null,
  };
  return {
    result,
    isThere: false,
    prompt() {},
    show(shown) {
      switch (shown.kind) {
        case "omitted":
          result.omitted.push(...shown.steps.map(told));
          break;
        case "step":
          steps.push({ ...told(shown.step), calls: [], looks: [] });
          break;
        case "calls":
          steps.at(-1)?.calls.push(...shown.calls);
          break;
        case "look": {
          const { where, command, output } = shown.answer;
          if (shown.when === "before" || shown.when === "after")
            steps.at(-1)?.looks.push({ when: shown.when, where, command, output });
          else result[shown.when].push({ where, command, output });
          break;
        }
        case "counted":
          result.counted = { command: shown.command, calls: Object.fromEntries(shown.calls) };
          break;
        case "error":
          result.error = { code: shown.error.code, message: shown.error.message };
      }
    },
  };
}

const told = (step: Step) => ({
  op: step.op,
  by: step.by,
  effect: effectOf(withoutScript(step)),
  because: step.because,
  without: knowledgeOf(step).without,
  man: manOf(step),
});

/** The commands of a lesson are shown with their answers. */
const withoutScript = (step: Step): Step => (step.op === "exec" ? { ...step, args: step.args.slice(0, 1) } : step);

interface Narrator extends Reader {
  begin(): void;
  end(): void;
}

function makeNarrator(
  lesson: Lesson,
  out: number,
  without: string | undefined,
  omission: Omission | undefined,
): Narrator {
  const colors = colorsOf(1);
  const isThere = isTerminal(0) && isTerminal(1);
  const print = (...lines: string[]) => writeAll(out, lines.map((line) => `${line}\n`).join(""));
  const text = (words: string, paint: (text: string) => string = String) => wrap(oneLine(words), WIDTH).map(paint);
  let when = "";
  return {
    isThere,
    prompt: () => writeAll(out, colors.dim("        Enter goes on, q ends: ")),
    begin() {
      const title = `${numberOf(lesson)}. ${lesson.title}`;
      print("", colors.bold(title), colors.dim("─".repeat(title.length)), ...text(lesson.text), "");
      if (omission !== undefined)
        print(
          colors.yellow(`Without ${without}`),
          ...text(omission.says),
          ...(omission.standIn ? text(STAND_IN) : []),
          "",
        );
    },
    show(shown) {
      if (shown.kind === "look") {
        const title = { inside: "The container runs", afterwards: "It has ended", before: "", after: "" }[shown.when];
        if (title !== "" && title !== when) print(colors.bold(title), "");
        when = title;
        const { note, ...answer } = shown.answer;
        // Notes are about what is there when nothing is left out.
        print(...answered(omission === undefined && note !== undefined ? { ...answer, note } : answer, colors), "");
      } else print(...linesOf(shown, lesson, colors));
    },
    end() {
      const steps = Object.keys(lesson.without);
      const next = LESSONS[numberOf(lesson)];
      const say = (label: string, words: string) => print(`${colors.dim(label.padEnd(10))}${words}`);
      if (lesson.notes !== "") say("notes", lesson.notes);
      if (omission === undefined)
        for (const step of steps) say("try", `tupper lesson ${lesson.name} --without ${step}`);
      if (next !== undefined) say("next", `tupper lesson ${next.name}`);
    },
  };
}

const STAND_IN =
  "So that this does not happen to your machine, `machine` below is a stand-in: a process with copies of its mounts and names.";

function linesOf(shown: Exclude<Shown, { kind: "look" }>, lesson: Lesson, colors: Colors): string[] {
  switch (shown.kind) {
    case "omitted":
      return shown.steps.flatMap((step) => [
        ...paragraph(0, [step], colors).map((line) => line.replace("0. ", "-- ")),
        "",
      ]);
    case "step": {
      const lines = paragraph(shown.number, [withoutScript(shown.step)], colors);
      // Each lesson ends with it: the first one says why.
      return [...(shown.step.op === "exec" && lesson !== LESSONS[0] ? lines.slice(0, 1) : lines), ""];
    }
    case "calls": {
      const more = shown.calls.length - CALLS;
      return shown.calls.length === 0
        ? []
        : [
            ...shown.calls
              .slice(0, CALLS)
              .map((call, i) => `${(i === 0 ? "kernel" : "").padStart(14).padEnd(17)}${oneLine(call)}`),
            ...(more > 0 ? [`${" ".repeat(17)}and ${more} more`] : []),
            "",
          ];
    }
    case "counted": {
      const all = shown.calls.reduce((sum, [, times]) => sum + times, 0);
      return [
        ...wrap(
          `${shown.command} made ${all} system calls: ${shown.calls.map(([name, times]) => `${name} ${times}`).join(", ")}`,
          WIDTH,
        ),
        "",
      ];
    }
    case "error":
      return renderError(shown.error, colors).trimEnd().split("\n");
  }
}

const CALLS = 4;
const INDENT = " ".repeat(8);

function answered({ where, command, note, output }: Answer, colors: Colors): string[] {
  const prompt = where === "machine" ? colors.yellow("machine  ") : colors.green("container");
  return [
    ...(note === undefined ? [] : wrap(note, WIDTH - INDENT.length).map((line) => `${INDENT}${line}`)),
    `${INDENT}${prompt} $ ${command}`,
    ...shortened(output.split("\n")).map((line) => `${INDENT}            ${oneLine(line.replaceAll("\t", "  "))}`),
  ];
}

function shortened(lines: string[]): string[] {
  return lines.length <= OUTPUT_LINES
    ? lines
    : [...lines.slice(0, OUTPUT_LINES - 1), `… and ${lines.length - OUTPUT_LINES + 1} lines more`];
}

const OUTPUT_LINES = 10;
