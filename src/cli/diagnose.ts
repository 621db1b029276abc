/**
 * `tupper run --diagnose` and `tupper why`: how what was denied is told, on stderr, between the command's own lines; or as one JSON object
 * on the last line of stderr.
 */
import { Option } from "commander";
import { type RunRequest, runContainer } from "../engine/containers/run.ts";
import { type Diagnosis, filtersOf, makeDiagnosis, type Told } from "../engine/diagnose/diagnose.ts";
import { followCommand } from "../engine/diagnose/follow-command.ts";
import { ContainerError } from "../error.ts";
import { printable, printableJson } from "../printable.ts";
import { ANNOTATION } from "../spec/config.ts";
import { type Colors, colorsOf, writeErr } from "./terminal.ts";

export type DiagnosisFormat = "text" | "json";

export const diagnosisFormat = (description: string): Option =>
  new Option("--format <FORMAT>", description).choices(["text", "json"]).default("text");

/** Runs the container, and returns its exit code. */
export function runDiagnosed(request: RunRequest, format: DiagnosisFormat): number {
  refuseInit(request, "--diagnose");
  const { diagnosis, finish } = diagnosisIn(format, (told) => told);
  const follower = {
    ...diagnosis,
    planned: (plan: Parameters<typeof filtersOf>[0]) => void diagnosis.filters.push(...filtersOf(plan)),
  };
  return finish(runContainer({ ...request, follower }));
}

/** A program of the machine, in no container. */
export function why(args: readonly string[], format: DiagnosisFormat): number {
  // Flags of `tupper run` are no help here.
  const { diagnosis, finish } = diagnosisIn(format, ({ flag: _flag, ...told }) => told);
  return finish(followCommand(args, diagnosis));
}

/** `finish` tells the sum, and hands the exit code on. */
function diagnosisIn(
  format: DiagnosisFormat,
  known: (told: Told) => Told,
): { diagnosis: Diagnosis; finish: (exitCode: number) => number } {
  const colors = colorsOf(2);
  const kinds: Told[] = [];
  const diagnosis = makeDiagnosis((told) => {
    if (format === "json") kinds.push(told);
    else writeErr(linesOf(known(told), colors));
  });
  const finish = (exitCode: number): number => {
    if (format === "text") sum(diagnosis, colors);
    // The command may have left its last line unfinished.
    else
      writeErr(
        `\n${printableJson(JSON.stringify({ exitCode, denied: kinds.map((told) => denialOf(known(told))) }))}\n`,
      );
    return exitCode;
  };
  return { diagnosis, finish };
}

const denialOf = ({ syscall, args, call, errno, pid, command, layer, text, evidence, flag, count }: Told): unknown => ({
  syscall,
  args,
  call,
  errno,
  pid,
  command,
  layer,
  reason: text,
  evidence,
  remedy: flag,
  count,
});

/** The process that is followed is the command, and not a PID 1 that starts it. */
export function refuseInit({ config }: Pick<RunRequest, "config">, flag: string): void {
  if (config.annotations?.[ANNOTATION.init] !== "true") return;
  throw new ContainerError("FOLLOW_WITH_INIT", `${flag} does not go together with --init`, {
    field: flag,
    hint: "leave --init out for this once",
  });
}

function linesOf({ call, errno, errnoText, pid, command, layer, text, evidence, flag }: Told, colors: Colors): string {
  const line = (label: string, words: string) => `  ${colors.dim(`${label}:`.padEnd(10))}${printable(words)}\n`;
  return (
    `${colors.bold(colors.yellow("denied:"))} ${printable(call)} = ${errno} (${errnoText}) ${colors.dim(`(${printable(command)}, process ${pid})`)}\n` +
    line("layer", layer === "unknown" ? text : `${layer}: ${text}`) +
    line("evidence", evidence) +
    (flag === undefined ? "" : line("allow", flag))
  );
}

function sum({ counts }: Diagnosis, colors: Colors): void {
  const { denied, told } = counts;
  const text =
    denied === 0
      ? "no call was denied"
      : `${denied} ${denied === 1 ? "call was" : "calls were"} denied, of ${told} ${told === 1 ? "kind" : "kinds"}`;
  writeErr(`${colors.bold("diagnosis:")} ${text}\n`);
}
