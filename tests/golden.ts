/** Golden files of tests: texts that a reviewer can read. UPDATE_GOLDEN=1 writes them anew. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const GOLDEN = join(import.meta.dirname, "golden");

/** Fails when `actual` differs from tests/golden/`name`. */
export function assertGolden(actual: string, name: string): void {
  const path = join(GOLDEN, name);
  if (process.env.UPDATE_GOLDEN === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, actual);
  }
  assert.equal(actual, readFileSync(path, "utf8"), `differs from ${path}; UPDATE_GOLDEN=1 accepts it`);
}
