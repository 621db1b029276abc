/**
 * `tupper explain PID`: what isolates a process and what does not. `tupper explain A B`: how two differ.
 *
 * `--format json` of one: `{ pid, command, comparedWith, maker, findings: [{ subject, isolated, text, evidence }], facts }`;
 * of two: `{ a, b, differences: [{ subject, what, same, a, b }] }`. What cannot be seen is null, or `unknown`.
 */
import { differencesOf } from "../engine/processes/differences.ts";
import { processMeant } from "../engine/processes/find-process.ts";
import { type Finding, findingsOf, makerOf, SUBJECTS } from "../engine/processes/findings.ts";
import { type Portrait, portraitOf } from "../engine/processes/portrait.ts";
import { ContainerError } from "../error.ts";
import { oneLine, wrap } from "../explain/shell.ts";
import { printableJson } from "../printable.ts";
import { raw } from "../sys/sys.ts";
import { shorten } from "./table.ts";
import { type Colors, colorsOf, writeOut } from "./terminal.ts";

const WIDTH = 88;

export function explainProcess(word: string, format: "table" | "json"): void {
  const process = portraitOf(processMeant(word));
  const host = hostPortrait();
  const findings = findingsOf(process, host);
  const maker = makerOf(process);
  if (format === "json") {
    const { pid, command, ...facts } = process;
    return writeJson({ pid, command, comparedWith: host.pid, maker: maker?.name ?? null, findings, facts });
  }
  const colors = colorsOf(1);
  const lines = [...title(`Process ${nameOf(process)}`, colors)];
  if (maker !== undefined) lines.push(...paragraph(`made by ${maker.name}`, maker.evidence, colors));
  lines.push(...paragraph(`compared with process ${nameOf(host)}`, undefined, colors));
  const open = findings.filter(({ isolated }) => isolated === "no");
  lines.push("", ...title("Not isolated", colors));
  if (open.length === 0) lines.push("nothing that can be seen from here");
  for (const { text, evidence } of open) lines.push(...paragraph(text, evidence, colors, colors.yellow));
  for (const subject of SUBJECTS) {
    const closed = findings.filter((finding) => finding.subject === subject && finding.isolated === "yes");
    if (closed.length > 0)
      lines.push("", ...title(`Isolated: ${subject}`, colors), ...closed.flatMap((finding) => told(finding, colors)));
  }
  const hidden = findings.filter(({ isolated }) => isolated === "unknown");
  if (hidden.length > 0)
    lines.push("", ...title("Not to be seen from here", colors), ...hidden.flatMap((finding) => told(finding, colors)));
  writeOut(`${lines.join("\n")}\n`);
}

const told = ({ text, evidence }: Finding, colors: Colors): string[] => paragraph(text, evidence, colors);

export function compareProcesses(one: string, other: string, format: "table" | "json"): void {
  const [a, b] = [portraitOf(processMeant(one)), portraitOf(processMeant(other))];
  const differences = differencesOf(a, b).sort((x, y) => SUBJECTS.indexOf(x.subject) - SUBJECTS.indexOf(y.subject));
  if (format === "json")
    return writeJson({ a: { pid: a.pid, command: a.command }, b: { pid: b.pid, command: b.command }, differences });
  const colors = colorsOf(1);
  const lines = [...title(`A is process ${nameOf(a)}, B is process ${nameOf(b)}`, colors)];
  for (const same of [false, true]) {
    lines.push("", ...title(same ? "The same" : "Different", colors));
    const some = differences.filter((difference) => difference.same === same);
    if (some.length === 0) lines.push("nothing");
    if (same) {
      for (const subject of SUBJECTS) {
        const names = some.filter((difference) => difference.subject === subject).map(({ what }) => what);
        if (names.length > 0) lines.push(...paragraph(`${subject}: ${names.join(", ")}`, undefined, colors));
      }
    } else
      for (const { subject, what, a: ofA, b: ofB } of some)
        lines.push(
          ...paragraph(`${subject}: ${what}`, undefined, colors, colors.bold),
          ...pair("A", ofA),
          ...pair("B", ofB),
        );
  }
  writeOut(`${lines.join("\n")}\n`);
}

const pair = (name: string, text: string): string[] =>
  wrap(oneLine(text), WIDTH - 9).map((line, i) => `    ${i === 0 ? name : " "}  ${line}`);

/** Process 1, or this one where that may not be looked into. */
function hostPortrait(): Portrait {
  try {
    return portraitOf(1);
  } catch (error) {
    if (!(error instanceof ContainerError) || error.code !== "PROCESS_NOT_READABLE") throw error;
    return portraitOf(raw.getpid());
  }
}

const nameOf = ({ pid, command }: Portrait): string => `${pid} (${shorten(oneLine(command), 48)})`;

const title = (text: string, colors: Colors): string[] => [colors.bold(text), colors.dim("─".repeat([...text].length))];

/** A sentence, and below it what it rests on. */
function paragraph(
  text: string,
  evidence: string | undefined,
  colors: Colors,
  paint: (text: string) => string = String,
): string[] {
  const lines = wrap(oneLine(text), WIDTH - 2).map((line, i) => `${i === 0 ? "- " : "  "}${paint(line)}`);
  if (evidence === undefined) return lines;
  const shown = shorten(oneLine(evidence), 3 * WIDTH);
  return [...lines, ...wrap(shown, WIDTH - 6).map((line) => `      ${colors.dim(line)}`)];
}

const writeJson = (value: unknown): void =>
  writeOut(`${printableJson(JSON.stringify(value, (_key, part) => (part === undefined ? null : part), 2))}\n`);
