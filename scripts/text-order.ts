/**
 * The order of QuickJS's functions in the binary: those that commands call lie together, for the reason that blocks of the
 * heap do (placement.ts). The training build marks where it enters a function; the linker gets a list of their sections.
 */
import { writeFileSync } from "node:fs";
import { run } from "./link-host.ts";
import { target } from "./target.ts";

/** As in host/training.h: a mark for so many bytes of text. */
const MARK_BYTES = 16;

/** Called by nearly every command, and not marked: what touches no memory is not instrumented, or has no function of its own there. */
const UNMARKED = ["check_define_prop_flags", "js_get_this", "build_for_in_iterator"];

/**
 * @param host - the training build
 * @param marks - of each command: what it entered
 * @param keyOf - functions with the same key lie together, and keys in their order
 * @param output - a linker script that is read before the usual one
 */
export function orderText(
  host: string,
  marks: readonly Buffer[],
  keyOf: (touches: readonly number[]) => string,
  output: string,
): void {
  const [starts, names] = functionsOf(host);
  const keys = new Map<string, string>();
  for (let at = 0; at < (marks[0]?.length ?? 0); at++) {
    const touches = marks.map((one) => one[at] ?? 0);
    if (touches.every((mark) => mark === 0)) continue;
    const last = starts.findLastIndex((start) => start < (at + 1) * MARK_BYTES);
    const name = names[last]?.replace(/\..*/, ""); // what the compiler made of it in this build
    if (name !== undefined) keys.set(name, keyOf(touches));
  }
  const inOrder = [...keys].sort(([a, aKey], [b, bKey]) => (aKey + a < bKey + b ? -1 : 1)).map(([name]) => name);
  const sections = [...inOrder, ...UNMARKED].map((name) => `    *(.text.${name} .text.${name}.*)`).join("\n");
  // libc's before them, the host's behind: nearly all of these are for starting, or calls of the kernel.
  writeFileSync(
    output,
    `SECTIONS {\n  .text_ordered : {\n    *libc.a:*(.text .text.*)\n${sections}\n  }\n}\nINSERT BEFORE .text;\n`,
  );
}

/** Where each function begins, from the begin of the program, and its name. */
function functionsOf(host: string): [number[], string[]] {
  const symbols = run(target.nm, "-n", host)
    .toString()
    .split("\n")
    .map((line) => line.split(" "))
    .map(([address = "", kind = "", name = ""]) => ({ at: Number.parseInt(address, 16), kind, name }));
  const begin = symbols.find(({ name }) => name === "__executable_start")?.at ?? 0;
  const functions = symbols.filter(({ kind }) => kind === "t" || kind === "T");
  return [functions.map(({ at }) => at - begin), functions.map(({ name }) => name)];
}
