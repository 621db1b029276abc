/**
 * What the notes that the project began with promise.
 *
 * Needs: checkout
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), "utf8");
const rows = read("docs/seed.md")
  .split("\n")
  .filter((line) => /^\| [SCL]\d\d \|/.test(line))
  .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
  .map(([, row = "", what = "", command = "", check = ""]) => ({ row, what, command, check }));

const numbered = (letter: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${letter}${String(i + 1).padStart(2, "0")}`);

test("docs/seed.md: has every row of the catalogue once", () => {
  assert.deepEqual(
    rows.map(({ row }) => row),
    [...numbered("S", 55), ...numbered("C", 19), ...numbered("L", 9)],
  );
});

test("docs/seed.md: names tests that exist, and a command or a reason in each row", () => {
  for (const { row, command, check } of rows) {
    assert.notEqual(command, "", row);
    const [, file = "", name = ""] = /^`([^`]+)`: (.+)$/.exec(check) ?? [];
    assert.notEqual(file, "", `${row}: ${check}`);
    const text = read(file);
    const isThere = [`"${name}"`, `\`${name}\``].some((quoted) => text.includes(quoted));
    assert.ok(isThere, `${row}: ${file} has no test "${name}"`);
  }
});
