/** The weakened build (weaknesses.ts) and the one that is shipped: the switches are in the first alone. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { binary, isSanitizer, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { weakenedBinary } from "./weakened.ts";

watchForLeftovers();

test("TUPPER_WEAK: nothing of it is in the binary that is shipped", {
  skip: missing("weakened") || isSanitizer,
}, () => {
  // Strings of the heap are there as they are.
  const has = (path: string, text: string) => readFileSync(path).includes(text);
  assert.equal(has(join(dirname(weakenedBinary), "bundle.bytecode"), "TUPPER_WEAK="), true);
  assert.equal(has(binary, "NULL_DEVICE_INVALID"), true);
  assert.equal(has(binary, "TUPPER_WEAK"), false);
});

test("TUPPER_WEAK: takes a step away there, and nothing here", {
  skip: missing("root", "package:busybox-static", "weakened"),
}, async () => {
  const root = makeRootfs();
  const args = ["run", "--hostname", "named", root, "hostname"];
  const env = { TUPPER_WEAK: "drop:setHostname" };
  assert.equal((await tupper(args, { env })).stdout, "named\n");
  assert.notEqual((await tupper(args, { weak: env.TUPPER_WEAK })).stdout, "named\n");
  assert.equal((await tupper(args, { weak: "" })).stdout, "named\n");
});
