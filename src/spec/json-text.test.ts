import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ContainerError } from "../error.ts";
import { decimal, parseJson, parseJsonExactly, stringifyExactly } from "./json-text.ts";

const mistake = (text: string): string => {
  try {
    parseJson(text, "a.json");
  } catch (error) {
    assert.ok(error instanceof ContainerError, String(error));
    assert.deepEqual([error.code, error.field], ["CONFIG_SYNTAX", "a.json"]);
    return error.message.replace("a.json is not JSON: ", "");
  }
  throw new Error("taken as JSON");
};

test("parseJson: a hint for what editors and JavaScript take, and for nothing else", () => {
  const hintOf = (text: string): string | undefined => {
    try {
      parseJson(text, "a.json");
    } catch (error) {
      return error instanceof ContainerError ? error.hint : String(error);
    }
    return "taken as JSON";
  };
  assert.match(hintOf('{"a": 1,\n}') ?? "", /^a comma stands only between/);
  assert.match(hintOf("[1, ]") ?? "", /^a comma stands only between/);
  assert.equal(hintOf("// hi\n{}"), "JSON has no comments");
  assert.match(hintOf("{'a': 1}") ?? "", /double quotes/);
  assert.match(hintOf("\ufeff{}") ?? "", /byte order mark/);
  assert.equal(hintOf("{]"), undefined);
  assert.equal(hintOf('{"a" 1}'), undefined);
});

test("parseJson says where a text is no JSON, what is missing, and what stands there", () => {
  const texts: [string, string][] = [
    ["", "line 1, column 1: a value is missing, the text ends there"],
    ["{]", 'line 1, column 2: a name in "quotes" is missing, found "]"'],
    ['{"a": 1,}', 'line 1, column 9: a name in "quotes" is missing, found "}"'],
    ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: , or } is missing, found "\\"b\\": 2"'],
    ['{"a" 1}', 'line 1, column 6: : is missing, found "1}"'],
    ["{'a': 1}", 'line 1, column 2: a name in "quotes" is missing, found "\'a\': 1}"'],
    ["[1, 2", "line 1, column 6: , or ] is missing, the text ends there"],
    ["[1 2]", 'line 1, column 4: , or ] is missing, found "2]"'],
    ["[1, ]", 'line 1, column 5: a value is missing, found "]"'],
    ["[tru]", 'line 1, column 2: a value is missing, found "tru]"'],
    ["[01]", 'line 1, column 3: , or ] is missing, found "1]"'],
    ["[.5]", 'line 1, column 2: a value is missing, found ".5]"'],
    ["{} {}", 'line 1, column 4: the end of the text is missing, found "{}"'],
    ["\ufeff{}", 'line 1, column 1: a value is missing, found "\ufeff{}"'],
    ['["a', 'line 1, column 4: the closing " of a string is missing, the text ends there'],
    ['["a\nb"]', 'line 1, column 4: the closing " of a string is missing, found "\\n"'],
    ['["a\tb"]', 'line 1, column 4: the closing " of a string is missing, found "\\tb\\"]"'],
    ['["a\\x"]', 'line 1, column 4: a valid escape is missing, found "\\\\x\\"]"'],
    ['["\\u12"]', 'line 1, column 3: a valid escape is missing, found "\\\\u12\\"]"'],
    [`{"a": ${"b".repeat(80)}}`, `line 1, column 7: a value is missing, found "${"b".repeat(40)}…"`],
    ["// none\n{}", 'line 1, column 1: a value is missing, found "// none"'],
  ];
  assert.deepEqual(
    texts.map(([text]) => [text, mistake(text)]),
    texts,
  );
});

test("parseJson finds the mistake in a text that is nested deeper than many a stack, and looks no further than that", () => {
  assert.equal(mistake("[".repeat(20_000)), "line 1, column 20001: a value is missing, the text ends there");
  for (const text of ["[".repeat(1_000_000), '[{"a":'.repeat(1_000_000)])
    assert.throws(() => parseJson(text, "config.json"), { message: "config.json is nested too deeply" });
});

test("parseJson: no mistake is found in a text that is JSON, and one in each that is not", () => {
  const text = fc.oneof(
    fc.json(),
    fc.tuple(fc.json(), fc.nat(), fc.string({ maxLength: 3 })).map(([json, at, insert]) => {
      const index = at % (json.length + 1);
      return json.slice(0, index) + insert + json.slice(index + 1);
    }),
  );
  fc.assert(
    fc.property(text, (text) => {
      let good = true;
      try {
        JSON.parse(text);
      } catch {
        good = false;
      }
      if (good) assert.deepEqual(parseJson(text, "a.json"), JSON.parse(text));
      else assert.doesNotMatch(mistake(text), /nested/);
    }),
    { numRuns: 2000 },
  );
});

test("parseJsonExactly: whole numbers keep their digits, and only those beyond 2^53 become bigints", () => {
  assert.deepEqual(
    parseJsonExactly(
      '{"a": [9007199254740993, -9223372036854775808, 9007199254740991, 1234567890123456, 12345678901234567.5, 1e30], ' +
        '"12345678901234567": "12345678901234567", "s": "\\u0000n12345678901234567", "q": "\\"12345678901234567"}',
    ),
    {
      a: [9007199254740993n, -9223372036854775808n, 9007199254740991, 1234567890123456, 12345678901234568, 1e30],
      "12345678901234567": "12345678901234567",
      s: "\0n12345678901234567",
      q: '"12345678901234567',
    },
  );
});

test("parseJsonExactly gives what JSON.parse gives, once its bigints are rounded", () => {
  const round = (_: string, value: unknown) => (typeof value === "bigint" ? Number(value) : value);
  fc.assert(
    fc.property(fc.json(), (json) => {
      assert.equal(JSON.stringify(parseJsonExactly(json), round), JSON.stringify(JSON.parse(json)));
    }),
    { numRuns: 2000 },
  );
});

test("stringifyExactly: bigints are numbers, texts stay texts", () => {
  const value = { a: 18_446_744_073_709_551_615n, b: -9_223_372_036_854_775_808n, c: ["12", "n12", "\0x"] };
  assert.equal(
    stringifyExactly(value),
    '{"a":18446744073709551615,"b":-9223372036854775808,"c":["12","n12","\\u0000x"]}',
  );
  assert.deepEqual(parseJsonExactly(stringifyExactly(value)), value);
});

test("decimal: numbers of more than one limb", () => {
  assert.deepEqual([0n, -5n, 2n ** 63n - 1n, 2n ** 63n, 10n ** 19n, 2n ** 64n - 1n].map(decimal), [
    "0",
    "-5",
    "9223372036854775807",
    "9223372036854775808",
    "10000000000000000000",
    "18446744073709551615",
  ]);
});
