/**
 * No memory for the part of the program that is compressed until it is used (host/cold.h): what is said, where, and with which exit code. The
 * words are C's (host/last_words.h), and are the same that TypeScript would say.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pointsOf, withFault } from "./fault-points.ts";
import { atEnd, binary, isSanitizer, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";

watchForLeftovers();
const skip = missing("root", "programs", "arch:x64") || (isSanitizer && "its heap is not compressed");
const runtimeBinary = join(binary, "../tupper-runtime");

/** The command with its first use of the compressed part refused. */
async function withoutMemory(
  command: readonly string[],
): Promise<{ code: number | null; stderr: string; log: string }> {
  const directory = mkdtempSync(join(tmpdir(), "tupper-last-words-"));
  atEnd(() => rmSync(directory, { recursive: true, force: true }));
  const log = join(directory, "log");
  const words = command.map((word) => word.replace("LOG", log));
  const { points } = await pointsOf(words, directory);
  const own = points.filter(({ process }) => process === 0);
  // The runtime executes itself anew; then the first mprotect closes the compressed part, and the next opens something of it.
  const begin = own.findLastIndex(({ call }) => /^execve/.test(call)) + 1;
  const [, first] = own.slice(begin).filter(({ call }) => call === "mprotect");
  assert.ok(first !== undefined, "it uses nothing of the compressed part");
  rmSync(log, { force: true });
  const { code, stderr, report } = await withFault(first, "ENOMEM", words, directory);
  assert.match(report, /reached/);
  let text = "";
  try {
    text = readFileSync(log, "utf8");
  } catch {
    // Not every command has one.
  }
  return { code, stderr, log: text };
}

const SENTENCE = "there is no memory left for tupper";
const KERNEL = "mprotect = ENOMEM (Cannot allocate memory)";
const HINT = "raise the limit that tupper itself runs under: ulimit -v, ulimit -d, or that of its control group";
const LINE = `${SENTENCE}: ${KERNEL} (hint: ${HINT}; OUT_OF_MEMORY)`;
const BLOCK = `error: ${SENTENCE} (OUT_OF_MEMORY)\n  kernel: ${KERNEL}\n  hint:   ${HINT}\n`;
const OBJECT = { code: "OUT_OF_MEMORY", kernel: KERNEL, syscall: "mprotect", errno: "ENOMEM", hint: HINT };

test("no memory for rarely used code: tupper-runtime exec ends with 255, other commands with 1", { skip }, async () => {
  assert.deepEqual(await withoutMemory([runtimeBinary, "exec", "no-such-container", "true"]), {
    code: 255,
    stderr: BLOCK,
    log: "",
  });
  assert.deepEqual(await withoutMemory([runtimeBinary, "--root", "exec", "state", "no-such-container"]), {
    code: 1,
    stderr: BLOCK,
    log: "",
  });
});

test("no memory for rarely used code: tupper-runtime's log has it, as JSON and as text", { skip }, async () => {
  const json = ["--log", "LOG", "--log-format", "json"];
  const { code, stderr, log } = await withoutMemory([runtimeBinary, ...json, "exec", "no-such-container", "true"]);
  assert.deepEqual([code, stderr], [255, `error: ${LINE}\n`]);
  const { time, ...rest } = JSON.parse(log) as Record<string, string>;
  assert.deepEqual(rest, { level: "error", msg: LINE, ...OBJECT });
  const age = Date.now() - Date.parse(time ?? "");
  assert.ok(age >= 0 && age < 600_000 && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(time ?? ""), time);

  const text = await withoutMemory([runtimeBinary, "--log=LOG", "exec", "no-such-container", "true"]);
  assert.deepEqual([text.code, text.stderr], [255, `error: ${LINE}\n`]);
  assert.match(
    text.log,
    /^time="[-0-9T:.]+Z" level=error msg="there is no memory left for tupper: mprotect = ENOMEM .*"\n$/,
  );

  const alone = await withoutMemory([runtimeBinary, "--log-format=json", "state", "no-such-container"]);
  const { time: _time, ...object } = JSON.parse(alone.stderr) as Record<string, string>;
  assert.deepEqual([alone.code, alone.log, object], [1, "", { level: "error", msg: LINE, ...OBJECT }]);
});

test("no memory for rarely used code: tupper's exit codes, and its JSON", { skip }, async () => {
  assert.deepEqual(await withoutMemory([binary, "exec", "no-such-container", "true"]), {
    code: 125,
    stderr: BLOCK,
    log: "",
  });
  assert.deepEqual(await withoutMemory([binary, "inspect", "no-such-container"]), { code: 1, stderr: BLOCK, log: "" });
  const { code, stderr } = await withoutMemory([binary, "--error-format", "json", "run", "/no/such/root", "true"]);
  assert.deepEqual([code, JSON.parse(stderr)], [125, { message: SENTENCE, ...OBJECT }]);
});
