import assert from "node:assert/strict";
import { test } from "node:test";
import { EXAMPLES } from "./examples.ts";
import { explainPlan } from "./explain.ts";
import { assertGolden } from "./golden.ts";

for (const [name, make] of Object.entries(EXAMPLES)) {
  test(`explainPlan: the ${name} plan as prose`, () => {
    assertGolden(explainPlan(make(), { color: false }), `explain/${name}.txt`);
  });

  test(`explainPlan: the ${name} plan with colours is the same text with escape sequences`, () => {
    const plan = make();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
    const plain = explainPlan(plan, { color: true }).replaceAll(/\x1b\[[0-9;]*m/g, "");
    assert.equal(plain, explainPlan(plan, { color: false }));
  });

  test(`explainPlan: the ${name} plan fits into 88 columns, but for values that are longer`, () => {
    const lines = explainPlan(make(), { color: false }).split("\n");
    assert.deepEqual(
      lines.filter((line) => line.length > 88 && line.trim().includes(" ")),
      [],
    );
  });

  test(`explainPlan: format json has an object for each step of the ${name} plan`, () => {
    const plan = make();
    const steps = JSON.parse(explainPlan(plan, { color: false, format: "json" }));
    assert.deepEqual(
      steps.map(({ by, op, because, field }: Record<string, unknown>) => ({ by, op, because, field })),
      plan.steps.map(({ by, op, because, field }) => ({ by, op, because, field: field ?? null })),
    );
    for (const step of steps) {
      assert.deepEqual(Object.keys(step), ["by", "op", "because", "field", "effect", "without", "man"]);
      for (const page of step.man) assert.match(page, /^[\w-]+\([1-8]\)$/);
    }
  });
}
