/** Whole commands on plain Node, on the make-believe machine of tests/fuzz: what is fuzzed there for hours, here for a moment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TARGETS } from "../../tests/fuzz/inside/targets.ts";
import { Chance, mutate } from "../../tests/fuzz/mutate.ts";
import { bytesOf, SEEDS } from "../../tests/fuzz/seeds.ts";
import { recordingSys } from "../sys/recording.ts";

/** The gate tries the same each time; FUZZ_SEED tries something else. */
const seed = Number(process.env.FUZZ_SEED ?? 1);
const real = recordingSys();

for (const { target, form, inputs } of SEEDS.filter(({ target }) => target !== "glue")) {
  test(`${target}: inputs changed at random keep the promises of tests/fuzz`, () => {
    const chance = new Chance(seed);
    const all = inputs.map(bytesOf);
    for (let i = 0; i < 40; i++) {
      const bytes = i < all.length ? chance.of(all) : mutate(form, chance.of(all), chance.of(all), chance);
      real.calls.length = 0;
      const text = real.decodeText(bytes.slice().buffer as ArrayBuffer, 0, bytes.length) as string;
      const outcome = TARGETS[target]?.({ bytes, text }, real);
      assert.equal(typeof outcome, "string", `${target} of ${JSON.stringify(text)}`);
    }
  });
}
