import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GvariantError, parseGvariant } from "./gvariant.ts";
import { decode, encode, MarshalError, type Value } from "./marshal.ts";
import { decodeMessage, encodeCall, messageLength } from "./message.ts";

/** The gate tries the same each time; FUZZ_SEED tries something else. */
const seed = Number(process.env.FUZZ_SEED ?? 1);

interface Typed {
  type: string;
  value: Value;
}

const of = <T extends Value>(type: string, values: fc.Arbitrary<T>): fc.Arbitrary<Typed> =>
  values.map((value) => ({ type, value }));
const text = fc.string({ unit: "grapheme" }).map((value) => value.replaceAll("\0", ""));
const plain: fc.Arbitrary<Typed> = fc.oneof(
  of("y", fc.nat(255)),
  of("b", fc.boolean()),
  of("n", fc.integer({ min: -32_768, max: 32_767 })),
  of("q", fc.nat(65_535)),
  of("i", fc.integer()),
  of("u", fc.nat(2 ** 32 - 1)),
  of("x", fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  of("t", fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  of("d", fc.double({ noNaN: true })),
  of("s", text),
  of("g", fc.constantFrom("", "s", "a(ss)")),
);
const { value: values } = fc.letrec<{ value: Typed }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    plain,
    tie("value").map(({ type, value }) => ({ type: "v", value: { type, value } })),
    fc.array(tie("value"), { minLength: 1, maxLength: 3 }).map((members) => ({
      type: `(${members.map(({ type }) => type).join("")})`,
      value: members.map(({ value }) => value),
    })),
    fc.tuple(tie("value"), fc.nat(3)).map(([{ type, value }, count]) => ({
      type: `a${type}`,
      value: Array.from({ length: count }, () => value),
    })),
  ),
}));

/** Nothing but errors of this class comes out. */
function only(kind: new (...args: never[]) => Error, act: () => void): void {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof kind, error instanceof Error ? error.stack : String(error));
  }
}

test("decode: what encode wrote comes back", () => {
  fc.assert(
    fc.property(values, ({ type, value }) => {
      assert.deepEqual(decode(type, Uint8Array.from(encode(type, [value]))), [value]);
    }),
    { numRuns: 1000, seed },
  );
});

test("decodeMessage: of a message with any bytes changed it makes a message or a MarshalError", () => {
  const call = { destination: "a.b", path: "/a", interface: "a.b", member: "M", noReply: false };
  fc.assert(
    fc.property(values, fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 5 }), ({ type, value }, changes) => {
      const bytes = Uint8Array.from(encodeCall({ ...call, signature: type, body: [value] }, 1));
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      only(MarshalError, () => {
        messageLength(bytes);
        decodeMessage(bytes);
      });
    }),
    { numRuns: 1500, seed },
  );
});

test("parseGvariant: of any text it makes a value or a GvariantError, and the value can be written unless it is no Unicode", () => {
  const pieces = fc.constantFrom(
    ..."[ ] ( ) { } < > , : @as @a{sv} @(ss) @o uint64 byte double true 1 08 0x1f -3 1.5e3 inf nan 'a' \"b\" b'c' '\\u00e9' '\\Uffffffff'".split(
      " ",
    ),
    " ",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(" ")),
        fc.string(),
      ),
      (text) => {
        only(GvariantError, () => {
          const variant = parseGvariant(text);
          only(MarshalError, () => void encode("v", [variant]));
        });
      },
    ),
    { numRuns: 4000, seed },
  );
});

test("parseGvariant, splitSignature, decode: nesting without end is an error, no overflow", () => {
  for (const open of ["[", "(", "<", "{", "@(("])
    assert.throws(() => parseGvariant(open.repeat(50_000)), GvariantError);
  assert.throws(() => decode("(".repeat(50_000), new Uint8Array(8)), MarshalError);
  const variants = Uint8Array.from(Array.from({ length: 30_000 }, () => [1, 118, 0]).flat());
  assert.throws(() => decode("v", variants), MarshalError);
});
