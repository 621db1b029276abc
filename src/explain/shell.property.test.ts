import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { comment, hereDocument, word } from "./shell.ts";

/** The gate tries the same each time; FUZZ_SEED tries something else. */
const seed = Number(process.env.FUZZ_SEED ?? 1);
const texts = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("'", "\n", "\\", "$(id)", "`id`", '"', "-n", "*", "~", "é", "\x7f"),
    ),
    {
      maxLength: 6,
    },
  )
  .map((parts) => parts.join("").replaceAll("\0", ""));

const sh = (script: string): Buffer => {
  const { status, stdout, stderr } = spawnSync("sh", [], { input: script });
  assert.equal(status, 0, `${stderr}\n${script}`);
  return stdout;
};

test("word: sh gives back every text as it was", () => {
  fc.assert(
    fc.property(fc.array(texts, { minLength: 20, maxLength: 20 }), (list) => {
      const printed = sh(`printf '%s\\0' ${list.map(word).join(" ")}\n`);
      assert.deepEqual(printed, Buffer.from(list.map((text) => `${text}\0`).join("")));
    }),
    { numRuns: 15, seed },
  );
});

test("comment, hereDocument: no text ends them", () => {
  fc.assert(
    fc.property(texts, texts, (remark, body) => {
      const lines = [...comment(remark), ...hereDocument("cat", "END", [body, "END"])];
      assert.deepEqual(sh(`${lines.join("\n")}\n`), Buffer.from(`${body}\nEND\n`));
    }),
    { numRuns: 30, seed },
  );
});
