/**
 * The short form of tests/fuzz: what is in tests/fuzz/corpus, what broke a promise once, and a few inputs made from them, the same
 * each time. The long one is `npm run fuzz`.
 *
 * Needs: checkout
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { root } from "../scripts/link-host.ts";
import { readRegressions } from "./fuzz/corpus.ts";
import { Chance } from "./fuzz/mutate.ts";
import { buildProgram } from "./fuzz/program.ts";
import { beginningsOf, Fuzzing } from "./fuzz/run.ts";
import { SEEDS } from "./fuzz/seeds.ts";
import { binary } from "./harness.ts";

const isHere = existsSync(`${root}/build/tupper-sanitize`) && binary === `${root}/build/tupper`;
const needs = { skip: isHere ? false : "missing: build/tupper-sanitize of this checkout" };
/** Of each target. */
const MUTATIONS = 12;

let fuzzing: Fuzzing | undefined;

before(async () => {
  if (!isHere) return;
  await buildProgram();
  fuzzing = new Fuzzing(() => {});
});

after(() => fuzzing?.end());

test("fuzz: what broke a promise once breaks none any more", needs, async () => {
  for (const { target, input, was } of readRegressions()) {
    const answer = await fuzzing?.feed(target, Buffer.from(input, "latin1"), false);
    assert.equal(answer?.fault, undefined, `${target}: ${was}`);
  }
});

for (const [i, seeds] of SEEDS.entries()) {
  test(`fuzz: ${seeds.target} keeps its promises for all that is in the corpus`, needs, async () => {
    assert.ok(fuzzing);
    for (const bytes of beginningsOf(seeds, false)) await fuzzing.feed(seeds.target, bytes, true);
    const tally = fuzzing.tallyOf(seeds.target);
    assert.ok(tally.edges > 50, `only ${tally.edges} edges: nothing is recorded, or the target does nothing`);
    const enough = tally.executions + MUTATIONS;
    await fuzzing.mutate(seeds, new Chance(i), () => tally.executions >= enough);
    assert.deepEqual([...tally.faults.keys()], []);
  });
}

test("fuzz: a promise that is broken is seen, and so is a process that breaks", needs, async () => {
  assert.ok(fuzzing);
  const broken = new Fuzzing(() => {});
  const answer = await broken.feed("nothing", Buffer.from(""), false);
  assert.match(answer.fault ?? "", /there is no target/);
  await broken.end();
});
