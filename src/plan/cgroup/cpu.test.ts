import assert from "node:assert/strict";
import { test } from "node:test";
import { toIoWeight } from "./block-io.ts";
import { sharesToWeight } from "./cpu.ts";

test("sharesToWeight: the ends, the default and values that runc's tests have", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 1024, 262_143, 262_144, 300_000].map(sharesToWeight),
    [1, 1, 1, 2, 100, 10_000, 10_000, 10_000],
  );
});

test("sharesToWeight: never falls", () => {
  let before = 0;
  for (let shares = 0; shares <= 262_144; shares += 7) {
    const weight = sharesToWeight(shares);
    assert.ok(weight >= before && Number.isInteger(weight));
    before = weight;
  }
});

test("toIoWeight: 10..1000 becomes 1..10000", () => {
  assert.deepEqual([10, 100, 500, 1000].map(toIoWeight), [1, 910, 4950, 10_000]);
});
