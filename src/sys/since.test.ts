/** docs/kernel.md has a line for every call that host/sys.table says is newer, with the same version. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { SINCE } from "./generated.ts";

const text = readFileSync(new URL("../../docs/kernel.md", import.meta.url), "utf8");
const rows = text
  .split("\n")
  .filter((line) => line.startsWith("| "))
  .map((line) => line.split("|").map((cell) => cell.trim()));

test("SINCE: docs/kernel.md says the same of each call, and what is without it", () => {
  for (const [call, version] of Object.entries(SINCE)) {
    const found = rows.filter(([, feature = ""]) => feature.split(/[ ,`;]+/).includes(call));
    assert.equal(found.length, 1, `one line for ${call}`);
    const [, feature = "", since = "", , without = ""] = found[0] ?? [];
    assert.ok(since.split(/[ ,;]+/).includes(version), `${feature}: ${since}, but ${call} is of ${version}`);
    assert.notEqual(without, "");
  }
});

test("SINCE: calls that host/old_kernels.h stands in for are no error in docs/kernel.md", () => {
  const table = readFileSync(new URL("../../host/sys.table", import.meta.url), "utf8");
  const standIns = [...table.matchAll(/^(\w+)\(.* since [\d.]+ else$/gm)].map(([, name = ""]) => name);
  assert.deepEqual(standIns, ["openat2", "close_range", "pidfd_open", "pidfd_send_signal"]);
  for (const call of standIns) {
    const row = rows.find(([, feature = ""]) => feature.split(/[ ,`;]+/).includes(call));
    assert.doesNotMatch(row?.[4] ?? "error", /^error/);
  }
});
