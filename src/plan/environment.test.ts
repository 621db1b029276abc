import assert from "node:assert/strict";
import { test } from "node:test";
import { commandEnvironment } from "./environment.ts";

const of = (env: string[] | undefined, uid = 7) =>
  commandEnvironment({ args: ["x"], cwd: "/", user: { uid, gid: 0 }, ...(env === undefined ? {} : { env }) });

test("commandEnvironment: the last one of a name counts", () => {
  assert.deepEqual(of(["A=1", "HOME=/h", "A=2", "B", "A="]), { env: ["A=", "HOME=/h", "B"] });
  assert.deepEqual(of(["A=b=c", "HOME=/h"]), { env: ["A=b=c", "HOME=/h"] });
});

test("commandEnvironment: HOME is looked up where it is missing or empty, also when an earlier one was not", () => {
  assert.deepEqual(of(undefined), { env: [], homeOf: 7 });
  assert.deepEqual(of(["HOME="], 0), { env: ["HOME="], homeOf: 0 });
  assert.deepEqual(of(["HOME=/h", "HOME="]), { env: ["HOME="], homeOf: 7 });
});
