import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { base64, comment, hereDocument, word } from "./shell.ts";

/** Any text that can be an argument: no NUL, and no lone surrogate, which has no UTF-8. */
const text = fc
  .string({ unit: "binary" })
  .map((value) => Buffer.from(value.replaceAll("\0", ""), "utf8").toString("utf8"));
const awkward = fc.oneof(
  text,
  fc.stringMatching(/^[\n'"\\$`!*?~#= -]{0,12}$/),
  fc.constantFrom("", "-n", "~", "END", "*", "a\n", "'\n'"),
);

function run(script: string): string {
  const { status, stdout, stderr } = spawnSync("sh", [], { input: script, encoding: "utf8" });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
  return stdout;
}

test("word: sh reads back exactly what was quoted", () => {
  fc.assert(
    fc.property(fc.array(awkward, { minLength: 1, maxLength: 30 }), (values) => {
      assert.deepEqual(
        run(`printf '%s\\0' ${values.map(word).join(" ")}`)
          .split("\0")
          .slice(0, -1),
        values,
      );
    }),
    { numRuns: 200 },
  );
});

test("hereDocument: a script in a script still reads back what was quoted", () => {
  fc.assert(
    fc.property(awkward, (value) => {
      assert.equal(run(hereDocument("sh", "END", [`printf %s ${word(value)}`, "# END"]).join("\n")), value);
    }),
    { numRuns: 200 },
  );
});

test("hereDocument: a line like its end mark does not end it", () => {
  assert.equal(run(hereDocument("cat", "END", ["END", "END_"]).join("\n")), "END\nEND_\n");
});

test("comment: no text ends it", () => {
  fc.assert(
    fc.property(text, (value) => {
      assert.equal(run([...comment(`${value} echo ran\necho ran`), ""].join("\n")), "");
      for (const line of comment(value)) assert.match(line, /^#/);
    }),
    { numRuns: 50 },
  );
});

test("base64: equals Node's", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(base64(bytes).join(""), Buffer.from(bytes).toString("base64"));
    }),
  );
});
