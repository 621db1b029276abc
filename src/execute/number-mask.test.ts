import assert from "node:assert/strict";
import { test } from "node:test";
import { packNumberList } from "./number-mask.ts";

const mask = (list: string) => {
  const packed = packNumberList(list);
  return packed === undefined ? undefined : Buffer.from(packed).toString("hex");
};

test("packNumberList: a bit each, lowest first, in words of 64", () => {
  assert.equal(mask("0"), "0100000000000000");
  assert.equal(mask("0-3,7"), "8f00000000000000");
  assert.equal(mask("63,64-65"), "00000000000000800300000000000000");
  assert.equal(mask("1, 3"), "0a00000000000000");
});

test("packNumberList: what is no list is undefined", () => {
  for (const text of ["", "x", "3-1", "1-", "-1", "1;2"]) assert.equal(mask(text), undefined, text);
});
