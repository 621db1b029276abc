import assert from "node:assert/strict";
import { test } from "node:test";
import { type decodedMap, encodedMap, TraceMap } from "@jridgewell/trace-mapping";
import { lineMapOf } from "../../scripts/line-map.ts";
import { sourceOf } from "./line-map.ts";

/** From `[source, line]` of each line of a bundle. */
function mapOf(lines: ([source: number, line: number] | undefined)[]) {
  const mappings = lines.map((position) => (position ? [[0, position[0], position[1] - 1, 4]] : []));
  const decoded = { version: 3, names: [], sources: ["../src/a.ts", "../../lib/b.js"], mappings };
  return lineMapOf(encodedMap(new TraceMap(decoded as unknown as ReturnType<typeof decodedMap>)));
}

test("sourceOf finds the line that each line of the bundle comes from: near, far, back, in another file, none", () => {
  const lines = [[0, 1], [0, 2], [0, 2], [0, 71], [0, 142], [0, 1], undefined, [0, 3], [1, 900], [0, 4]] as const;
  const map = mapOf(lines.map((line) => line && [...line]));
  const files = ["src/a.ts", "lib/b.js"];
  assert.deepEqual(
    lines.map((_, i) => sourceOf(map, i + 1)),
    lines.map((position) => position && `${files[position[0]]}:${position[1]}`),
  );
});

test("sourceOf: undefined for lines that the bundle has not", () => {
  const map = mapOf([[0, 1]]);
  assert.deepEqual([sourceOf(map, 0), sourceOf(map, 2)], [undefined, undefined]);
});
