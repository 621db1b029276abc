import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { EXAMPLES } from "./examples.ts";
import { assertGolden } from "./golden.ts";
import { scriptOf } from "./script.ts";

for (const [name, make] of Object.entries(EXAMPLES)) {
  test(`scriptOf: the ${name} plan as a script`, () => {
    assertGolden(scriptOf(make()), `script/${name}.sh`);
  });

  for (const shell of ["sh", "dash", "bash"]) {
    test(`scriptOf: ${shell} can parse the script of the ${name} plan, and each file that it writes`, (t) => {
      if (spawnSync(shell, ["-c", ":"]).error) return t.skip(`${shell} is missing`);
      const script = scriptOf(make());
      const files = [...script.matchAll(/<<'(END_OF_(?:INIT|FUNCTIONS|REAPER|LAUNCH)_*)'\n([\s\S]*?)\n\1\n/g)];
      assert.ok(files.length >= 2);
      for (const text of [script, ...files.map(([, , body = ""]) => body)]) {
        const { status, stderr } = spawnSync(shell, ["-n"], { input: text, encoding: "utf8" });
        assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
      }
    });
  }

  test(`scriptOf: every step of the ${name} plan has its comment`, () => {
    const plan = make();
    const comments = scriptOf(plan)
      .split("\n")
      .flatMap((line) => /^# (\d+)(?:-(\d+))?\. \w+: /.exec(line) ?? []);
    const numbers = [...comments.join(" ").matchAll(/# (\d+)(?:-(\d+))?\./g)].flatMap(([, from, to]) =>
      Array.from({ length: Number(to ?? from) - Number(from) + 1 }, (_, i) => Number(from) + i),
    );
    assert.deepEqual(
      numbers.sort((a, b) => a - b),
      plan.steps.map((_, i) => i + 1),
    );
  });
}

test("scriptOf: a NUL in a value is refused", () => {
  const plan = EXAMPLES.simple?.();
  assert.ok(plan);
  assert.throws(
    () => scriptOf({ ...plan, steps: [{ op: "setHostname", by: "init", name: "a\0b", because: "" }] }),
    /NUL/,
  );
});
