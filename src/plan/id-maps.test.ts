import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultIdMaps, type IdFacts, whySingleId } from "./id-maps.ts";

const FACTS: IdFacts = {
  uid: 1000,
  gid: 1001,
  idMapHelpers: true,
  subuids: [
    { start: 100_000, count: 600 },
    { start: 300_000, count: 1000 },
  ],
  subgids: [{ start: 200_000, count: 65_536 }],
};
const triples = (mappings: { containerID: number; hostID: number; size: number }[]) =>
  mappings.map(({ containerID, hostID, size }) => [containerID, hostID, size]);

test("defaultIdMaps: the caller is root, subordinate ids follow", () => {
  const { uidMappings, gidMappings } = defaultIdMaps(FACTS);
  assert.deepEqual(triples(uidMappings), [
    [0, 1000, 1],
    [1, 100_000, 600],
    [601, 300_000, 1000],
  ]);
  assert.deepEqual(triples(gidMappings), [
    [0, 1001, 1],
    [1, 200_000, 65_536],
  ]);
});

test("defaultIdMaps: a kept id lies within the ranges, between them, or beyond", () => {
  const uids = (uid: number) => triples(defaultIdMaps(FACTS, { uid, gid: 0 }).uidMappings);
  assert.deepEqual(uids(1000), [
    [0, 100_000, 600],
    [600, 300_000, 400],
    [1000, 1000, 1],
    [1001, 300_400, 600],
  ]);
  assert.deepEqual(uids(600), [
    [0, 100_000, 600],
    [600, 1000, 1],
    [601, 300_000, 1000],
  ]);
  assert.deepEqual(uids(1600), [
    [0, 100_000, 600],
    [600, 300_000, 1000],
    [1600, 1000, 1],
  ]);
  assert.deepEqual(uids(5000).at(-1), [5000, 1000, 1]);
});

test("defaultIdMaps: a single id where anything is missing, and what", () => {
  for (const [change, why] of [
    [{ subuids: [] }, /^\/etc\/subuid has no range/],
    [{ subgids: [] }, /^\/etc\/subgid has no range/],
    [{ idMapHelpers: false }, /^newuidmap and newgidmap are not installed/],
  ] as const) {
    const facts = { ...FACTS, ...change };
    assert.deepEqual(triples(defaultIdMaps(facts, { uid: 7, gid: 8 }).gidMappings), [[8, 1001, 1]]);
    assert.match(whySingleId(facts) ?? "", why);
  }
});

test("defaultIdMaps: root of a user namespace keeps the ids that it has", () => {
  const ownIds = { uidMappings: [{ containerID: 0, hostID: 0, size: 7 }], gidMappings: [] };
  assert.equal(defaultIdMaps({ ...FACTS, uid: 0, ownIds }), ownIds);
});
