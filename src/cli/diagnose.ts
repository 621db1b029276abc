/** `tupper run --diagnose` and `tupper why`: how what was denied is told, on stderr, between the command's own lines. */
import { type RunRequest, runContainer } from "../engine/containers/run.ts";
import { type Diagnosis, filtersOf, makeDiagnosis, type Told } from "../engine/diagnose/diagnose.ts";
import { followCommand } from "../engine/diagnose/follow-command.ts";
import { ContainerError } from "../error.ts";
import { ANNOTATION } from "../spec/config.ts";
import { printableLines } from "./table.ts";
import { type Colors, colorsOf, writeErr } from "./terminal.ts";

/** Runs the container, and returns its exit code. */
export function runDiagnosed(request: RunRequest): number {
  refuseInit(request, "--diagnose");
  const colors = colorsOf(2);
  const diagnosis = makeDiagnosis((told) => writeErr(linesOf(told, colors)));
  const follower = {
    ...diagnosis,
    planned: (plan: Parameters<typeof filtersOf>[0]) => void diagnosis.filters.push(...filtersOf(plan)),
  };
  const code = runContainer({ ...request, follower });
  sum(diagnosis, colors);
  return code;
}

/** A program of the machine, in no container. */
export function why(args: readonly string[]): number {
  const colors = colorsOf(2);
  const diagnosis = makeDiagnosis(({ flag: _flag, ...told }) => writeErr(linesOf(told, colors)));
  const code = followCommand(args, diagnosis);
  sum(diagnosis, colors);
  return code;
}

/** The process that is followed is the command, and not a PID 1 that starts it. */
export function refuseInit({ config }: Pick<RunRequest, "config">, flag: string): void {
  if (config.annotations?.[ANNOTATION.init] !== "true") return;
  throw new ContainerError("FOLLOW_WITH_INIT", `${flag} does not go together with --init`, {
    field: flag,
    hint: "leave --init out for this once",
  });
}

function linesOf({ call, errno, pid, command, layer, text, evidence, flag }: Told, colors: Colors): string {
  const line = (label: string, words: string) => `  ${colors.dim(`${label}:`.padEnd(10))}${printableLines(words)}\n`;
  return (
    `${colors.bold(colors.yellow("denied:"))} ${printableLines(call)} = ${errno} ${colors.dim(`(${printableLines(command)}, process ${pid})`)}\n` +
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
