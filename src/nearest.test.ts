import assert from "node:assert/strict";
import { test } from "node:test";
import { didYouMean, editDistance, nearest } from "./nearest.ts";

test("editDistance counts insertions, deletions, substitutions and swapped neighbours", () => {
  const distances = [
    ["", ""],
    ["a", ""],
    ["", "abc"],
    ["memory", "memory"],
    ["memry", "memory"],
    ["mmeory", "memory"],
    ["kitten", "sitting"],
    ["ca", "abc"],
  ].map(([a = "", b = ""]) => editDistance(a, b));
  assert.deepEqual(distances, [0, 1, 3, 0, 1, 1, 3, 3]);
});

test("nearest finds what was meant, whatever its case and dashes, and nothing when all is far", () => {
  const flags = ["--memory", "--memory-swap", "--mount", "--env"];
  assert.deepEqual(
    ["--memry", "-memory", "--MOUNT", "--enb", "--xyz", ""].map((word) => nearest(word, flags)),
    ["--memory", "--memory", "--mount", "--env", undefined, undefined],
  );
});

test("didYouMean asks only when something is near", () => {
  assert.deepEqual(
    [didYouMean("rnu", ["run", "ps"]), didYouMean("xyzzy", ["run", "ps"])],
    ["did you mean run?", undefined],
  );
});

test("nearest: a word of a million letters, which a config may have, is near to nothing, and that takes no time", {
  timeout: 20_000,
}, () => {
  assert.equal(nearest("a".repeat(1_000_000), ["aaaa", "CAP_CHOWN", "CAP_KILL"]), undefined);
  assert.equal(
    nearest(
      "a".repeat(100),
      Array.from({ length: 100_000 }, () => "aa"),
    ),
    undefined,
  );
});
