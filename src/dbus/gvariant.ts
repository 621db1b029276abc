/**
 * GVariant text, as annotations `org.systemd.property.*` hold it: `true`, `'text'`, `uint64 5`, `['a', 'b']`,
 * `@a(st) [('/dev/sda', 7)]`. GLib reference, "GVariant Text Format"; of its types those that D-Bus has too.
 */
import type { Value, Variant } from "./marshal.ts";
import { MarshalError, splitSignature } from "./marshal.ts";

/** What is not GVariant text: the message says what was expected, and where. */
export class GvariantError extends Error {
  override readonly name = "GvariantError";
}

const NAMED_TYPES: Readonly<Record<string, string>> = {
  boolean: "b",
  byte: "y",
  int16: "n",
  uint16: "q",
  int32: "i",
  uint32: "u",
  int64: "x",
  uint64: "t",
  double: "d",
  string: "s",
  objectpath: "o",
  signature: "g",
};
/** Bits of the integer types, negative for those with a sign. */
const BITS: Readonly<Record<string, number>> = { y: 8, n: -16, q: 16, i: -32, u: 32, x: -64, t: 64 };

/** D-Bus has no deeper messages: 32 arrays and 32 structures. */
const MAX_DEPTH = 64;

/** Throws {@link GvariantError}. */
export function parseGvariant(text: string): Variant {
  const parser = new Parser(text);
  const value = parser.value();
  parser.end();
  return value;
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  end(): void {
    if (this.#next(/\S/) !== undefined) this.#fail("the end");
  }

  /** A value, of the type `as` if that is known from elsewhere. */
  value(as?: string): Variant {
    if (++this.#depth > MAX_DEPTH) this.#fail(`no more than ${MAX_DEPTH} values in each other`);
    const value = this.#value(as);
    this.#depth--;
    return value;
  }

  #value(as: string | undefined): Variant {
    const annotated = this.#next(/@([^\s]+)/)?.[1];
    if (annotated !== undefined) return this.value(this.#fits(this.#oneType(annotated), as));
    const named = this.#next(/(boolean|byte|u?int(?:16|32|64)|double|string|objectpath|signature)\s/)?.[1];
    if (named !== undefined) return this.value(this.#fits(NAMED_TYPES[named] ?? "", as));
    const bytes = this.#next(/b(?=['"])/);
    if (bytes !== undefined) return { type: "ay", value: [...Array.from(this.#string(), (c) => c.charCodeAt(0)), 0] };
    const word = this.#next(/(true|false)\b/)?.[1];
    if (word !== undefined) return { type: this.#fits("b", as), value: word === "true" };
    if (this.#next(/(?=['"])/) !== undefined) {
      return { type: as === "o" || as === "g" ? as : this.#fits("s", as), value: this.#string() };
    }
    if (this.#next(/\[/) !== undefined) return this.#array(as);
    if (this.#next(/\(/) !== undefined) return this.#tuple(as);
    if (this.#next(/\{/) !== undefined) return this.#dictionary(as);
    if (this.#next(/</) !== undefined) {
      const value = this.value();
      this.#expect(">");
      return { type: this.#fits("v", as), value };
    }
    return this.#number(as);
  }

  #array(as: string | undefined): Variant {
    if (as?.startsWith("a") === false) this.#fail(`a value of type ${as}`);
    let element = as?.slice(1);
    const values: Value[] = [];
    while (this.#next(/\]/) === undefined) {
      if (values.length > 0) this.#expect(",");
      const { type, value } = this.value(element);
      element ??= type;
      values.push(value);
    }
    if (element === undefined) this.#fail("a type for the empty array, such as @as []");
    return { type: `a${element}`, value: values };
  }

  #tuple(as: string | undefined): Variant {
    if (as?.startsWith("(") === false) this.#fail(`a value of type ${as}`);
    const types = as === undefined ? [] : splitSignature(as.slice(1, -1));
    const members: Variant[] = [];
    while (this.#next(/\)/) === undefined) {
      if (members.length > 0) this.#expect(",");
      // A single one has a comma after it.
      if (members.length === 1 && this.#next(/\)/) !== undefined) break;
      members.push(this.value(types[members.length]));
    }
    const type = `(${members.map(({ type }) => type).join("")})`;
    return { type: this.#fits(type, as), value: members.map(({ value }) => value) };
  }

  #dictionary(as: string | undefined): Variant {
    if (as?.startsWith("a{") === false) this.#fail(`a value of type ${as}`);
    let [keyType, valueType] = as === undefined ? [] : splitSignature(as.slice(2, -1));
    const entries: Value[] = [];
    while (this.#next(/\}/) === undefined) {
      if (entries.length > 0) this.#expect(",");
      const key = this.value(keyType);
      this.#expect(":");
      const value = this.value(valueType);
      keyType ??= key.type;
      valueType ??= value.type;
      entries.push([key.value, value.value]);
    }
    if (keyType === undefined) this.#fail("a type for the empty dictionary, such as @a{ss} {}");
    return { type: this.#fits(`a{${keyType}${valueType}}`, as), value: entries };
  }

  #number(as: string | undefined): Variant {
    const digits =
      this.#next(/[+-]?(?:0x[0-9a-f]+|inf|nan|\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)/i)?.[0] ?? this.#fail("a value");
    const isWhole = /^[+-]?(0x[0-9a-f]+|\d+)$/i.test(digits);
    const type = as ?? (isWhole ? "i" : "d");
    if (type === "d") return { type, value: Number(digits.replace(/inf$/i, "Infinity")) };
    const bits = BITS[type];
    if (bits === undefined || !isWhole) this.#fail(`a value of type ${type}`);
    const magnitude = digits.replace(/^[+-]/, "");
    // A leading 0 is octal, as in C.
    const isOctal = /^0\d/.test(magnitude);
    if (isOctal && /[89]/.test(magnitude)) this.#fail("digits from 0 to 7 after a leading 0");
    const size = BigInt(isOctal ? `0o${magnitude.slice(1)}` : magnitude);
    const value = digits.startsWith("-") ? -size : size;
    const fits = bits > 0 ? BigInt.asUintN(bits, value) : BigInt.asIntN(-bits, value);
    if (fits !== value) this.#fail(`a number that fits the type ${type}`);
    return { type, value: type === "x" || type === "t" ? value : Number(value) };
  }

  /** With the escapes of C, and \u and \U. */
  #string(): string {
    const literal = this.#next(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/s)?.[0] ?? this.#fail("the end of the string");
    return literal.slice(1, -1).replace(/\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)/gis, (_, code: string) => {
      const point = code.length > 1 ? Number.parseInt(code.slice(1), 16) : 0;
      if (point > 0x10ffff) this.#fail("a character of Unicode");
      if (code.length > 1) return String.fromCodePoint(point);
      const at = "abfnrtv".indexOf(code);
      return at < 0 ? code : "\x07\b\f\n\r\t\v".charAt(at);
    });
  }

  #fits(type: string, as: string | undefined): string {
    return as === undefined || as === type ? type : this.#fail(`a value of type ${as}`);
  }

  #oneType(signature: string): string {
    try {
      const [type = "", ...more] = splitSignature(signature);
      if (type !== "" && more.length === 0) return type;
    } catch (error) {
      if (!(error instanceof MarshalError)) throw error;
    }
    return this.#fail("a type");
  }

  #expect(character: string): void {
    if (this.#text.slice(this.#at).trimStart()[0] !== character) this.#fail(character);
    this.#at = this.#text.indexOf(character, this.#at) + 1;
  }

  /** What matches at this place, after white space. */
  #next(pattern: RegExp): RegExpExecArray | undefined {
    const sticky = new RegExp(`\\s*(?:${pattern.source})`, `${pattern.flags}y`);
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.#text);
    if (match === null) return undefined;
    this.#at = sticky.lastIndex;
    match[0] = match[0].trimStart();
    return match;
  }

  #fail(expected: string): never {
    throw new GvariantError(`expected ${expected} at character ${this.#at + 1} of ${JSON.stringify(this.#text)}`);
  }
}
