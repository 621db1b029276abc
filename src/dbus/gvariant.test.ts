/** What GLib makes of the same text: GLib.Variant.parse() from Python. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GvariantError, parseGvariant } from "./gvariant.ts";

test("parseGvariant: the type and the value that GLib finds", () => {
  for (const [text, type, value] of [
    ["true", "b", true],
    [" false ", "b", false],
    ["'a'", "s", "a"],
    ["uint64 5", "t", 5n],
    ["int64 -5", "x", -5n],
    ["uint64 18446744073709551615", "t", 2n ** 64n - 1n],
    ["5", "i", 5],
    ["-7", "i", -7],
    ["0x10", "i", 16],
    ["010", "i", 8],
    ["byte 0xff", "y", 255],
    ["1.5", "d", 1.5],
    ["1e3", "d", 1000],
    ["inf", "d", Number.POSITIVE_INFINITY],
    ["@t 5", "t", 5n],
    ["objectpath '/a'", "o", "/a"],
    ["'it\\'s \\u20ac\\n'", "s", "it's €\n"],
    ["['a', \"b\"]", "as", ["a", "b"]],
    ["[uint64 1, 2]", "at", [1n, 2n]],
    ["@as []", "as", []],
    ["@a{sv} {}", "a{sv}", []],
    ["('a', uint64 5)", "(st)", ["a", 5n]],
    ["('a',)", "(s)", ["a"]],
    ["[('/dev/sda', uint64 7)]", "a(st)", [["/dev/sda", 7n]]],
    ["@a(ss) [('a','b')]", "a(ss)", [["a", "b"]]],
    ["{'a': 1}", "a{si}", [["a", 1]]],
    ["<'x'>", "v", { type: "s", value: "x" }],
    [
      "[<1>, <'a'>]",
      "av",
      [
        { type: "i", value: 1 },
        { type: "s", value: "a" },
      ],
    ],
    ["b'ab'", "ay", [97, 98, 0]],
  ] as const)
    assert.deepEqual(parseGvariant(text), { type, value }, text);
});

test("parseGvariant: what GLib refuses is refused", () => {
  for (const text of [
    "",
    "[",
    "'",
    "[]",
    "'a' x",
    "uint32 -1",
    "byte 256",
    "[1, 'a']",
    "nonsense",
    "@a 5",
    "uint64 1.5",
    "uint64 true",
    "(1",
    "{1",
    "<1",
  ])
    assert.throws(() => parseGvariant(text), GvariantError, text);
});
