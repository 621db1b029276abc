/**
 * tests/fuzz/corpus: a file for each target, an input a line, as a JSON string in which a character is a byte. `regressions.jsonl`:
 * what broke a promise once, `{"target", "input", "was"}`.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { root } from "../../scripts/link-host.ts";

const DIRECTORY = `${root}/tests/fuzz/corpus`;
/** Bytes of a file. */
const MOST = 12_000;

const linesOf = (path: string): string[] =>
  existsSync(path)
    ? readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
    : [];

export const readCorpus = (target: string): Uint8Array[] =>
  linesOf(`${DIRECTORY}/${target}.jsonl`).map((line) => Buffer.from(JSON.parse(line) as string, "latin1"));

/** As many of them as there is room for, the smallest first. Returns how many. */
export function writeCorpus(target: string, inputs: readonly Uint8Array[]): number {
  let text = "";
  let count = 0;
  for (const bytes of inputs) {
    const line = `${JSON.stringify(Buffer.from(bytes).toString("latin1"))}\n`;
    if (text.length + line.length > MOST) break;
    text += line;
    count++;
  }
  writeFileSync(`${DIRECTORY}/${target}.jsonl`, text);
  return count;
}

export interface Regression {
  target: string;
  input: string;
  /** What happened with it before it was mended. */
  was: string;
}

export const readRegressions = (): Regression[] => [
  ...linesOf(`${DIRECTORY}/regressions.jsonl`).map((line) => JSON.parse(line) as Regression),
  // Too long to be kept.
  ...["[", "(", "<", "@(("].map((open) => ({
    target: "dbus",
    input: open.repeat(5000),
    was: "text and signatures nested as deep as one likes: the stack overflowed",
  })),
  { target: "files", input: `${"0,".repeat(70_000)}1`, was: "more numbers in a list than a function takes arguments" },
];
