/**
 * Values of D-Bus as bytes and back, little-endian: the byte order of every machine that we run on, and the sender chooses.
 * D-Bus Specification, "Marshaling (Wire Format)".
 *
 * Every type has an alignment, counted from the begin of the message; a body begins at a multiple of 8, so it can be
 * written by itself.
 */

/** A number for the types y n q i u d, a bigint for x and t, which pass 2^53; an array for a, ( and {. */
export type Value = boolean | number | bigint | string | Variant | readonly Value[];

/** A value with its type: a signature of one complete type, such as `s` or `a(ss)`. */
export interface Variant {
  type: string;
  value: Value;
}

/** What is no message, or one that breaks off. */
export class MarshalError extends Error {
  override readonly name = "MarshalError";
}

const SIZES: Readonly<Record<string, number>> = { y: 1, n: 2, q: 2, b: 4, i: 4, u: 4, x: 8, t: 8, d: 8 };
const alignmentOf = (type: string): number =>
  type === "g" || type === "v" ? 1 : type.startsWith("(") || type.startsWith("{") ? 8 : (SIZES[type.charAt(0)] ?? 4);

/** `["s", "a(ss)"]` of `sa(ss)`. Throws {@link MarshalError}. */
export function splitSignature(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

/** "The maximum depth of container type nesting is 32 array type codes and 32 open parentheses." */
const MAX_DEPTH = 64;

function endOfType(signature: string, start: number, depth = 0): number {
  if (depth > MAX_DEPTH) throw new MarshalError("a signature is nested too deeply");
  let at = start;
  while (signature[at] === "a") at++;
  const close = signature[at] === "(" ? ")" : signature[at] === "{" ? "}" : undefined;
  if (close === undefined) {
    if (/[ybnqiuxtdsogv]/.test(signature[at] ?? "")) return at + 1;
    throw new MarshalError(`${JSON.stringify(signature)} is not a signature`);
  }
  // At least one member: an array of empty ones would have no end.
  at = endOfType(signature, at + 1, depth + 1);
  while (signature[at] !== close) at = endOfType(signature, at, depth + 1);
  return at + 1;
}

/** Appends values to a message. A value that does not fit its type is an error of ours: {@link MarshalError}. */
export function encode(signature: string, values: readonly Value[], out: number[] = []): number[] {
  for (const [i, type] of splitSignature(signature).entries()) write(type, values[i], out);
  return out;
}

function write(type: string, value: Value | undefined, out: number[]): void {
  pad(out, alignmentOf(type));
  const kind = type.charAt(0);
  if (kind === "v" && isVariant(value)) {
    write("g", value.type, out);
    write(value.type, value.value, out);
  } else if (Array.isArray(value)) writeContainer(type, value, out);
  else if (typeof value === "string" && (kind === "s" || kind === "o" || kind === "g")) {
    const bytes = encodeUtf8(value);
    if (kind === "g") out.push(bytes.length);
    else writeNumber(4, BigInt(bytes.length), out);
    for (const byte of bytes) out.push(byte);
    out.push(0);
  } else if (kind === "d" && typeof value === "number") {
    out.push(...new Uint8Array(new Float64Array([value]).buffer));
  } else {
    const size = SIZES[kind];
    if (size === undefined || (typeof value !== "number" && typeof value !== "bigint" && typeof value !== "boolean"))
      throw new MarshalError(`a value does not fit its type ${type}`);
    writeNumber(size, BigInt(value), out);
  }
}

const isVariant = (value: Value | undefined): value is Variant => typeof value === "object" && "type" in value;

function writeContainer(type: string, values: readonly Value[], out: number[]): void {
  const kind = type.charAt(0);
  if (kind !== "a") {
    encode(type.slice(1, -1), values, out);
    return;
  }
  const element = type.slice(1);
  const lengthAt = out.length;
  out.push(0, 0, 0, 0);
  pad(out, alignmentOf(element));
  const start = out.length;
  for (const value of values) write(element, value, out);
  const length: number[] = [];
  writeNumber(4, BigInt(out.length - start), length);
  for (const [i, byte] of length.entries()) out[lengthAt + i] = byte;
}

function writeNumber(size: number, value: bigint, out: number[]): void {
  for (let i = 0; i < size; i++) out.push(Number((value >> BigInt(8 * i)) & 0xffn));
}

export function pad(out: number[], alignment: number): void {
  while (out.length % alignment !== 0) out.push(0);
}

/** The values of a signature from `start` on. Throws {@link MarshalError}. */
export function decode(signature: string, bytes: Uint8Array, start = 0): Value[] {
  const reader = new Reader(bytes, start);
  return splitSignature(signature).map((type) => reader.read(type));
}

class Reader {
  at: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #depth = 0;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  read(type: string): Value {
    const alignment = alignmentOf(type);
    this.at = Math.ceil(this.at / alignment) * alignment;
    switch (type.charAt(0)) {
      case "y":
        return this.#view.getUint8(this.#take(1));
      case "b":
        return this.#length() !== 0;
      case "n":
        return this.#view.getInt16(this.#take(2), true);
      case "q":
        return this.#view.getUint16(this.#take(2), true);
      case "i":
        return this.#view.getInt32(this.#take(4), true);
      case "u":
        return this.#length();
      case "x":
        return this.#view.getBigInt64(this.#take(8), true);
      case "t":
        return this.#view.getBigUint64(this.#take(8), true);
      case "d":
        return this.#view.getFloat64(this.#take(8), true);
      case "g":
        return this.#text(this.#view.getUint8(this.#take(1)));
      case "v": {
        const [of = "", ...more] = splitSignature(String(this.read("g")));
        if (of === "" || more.length > 0) throw new MarshalError("a variant has one type");
        if (++this.#depth > MAX_DEPTH) throw new MarshalError("variants are nested too deeply");
        const value = this.read(of);
        this.#depth--;
        return { type: of, value };
      }
      case "a":
        return this.#array(type.slice(1));
      case "(":
      case "{":
        return splitSignature(type.slice(1, -1)).map((each) => this.read(each));
      default:
        return this.#text(this.#length());
    }
  }

  #array(element: string): Value[] {
    const length = this.#length();
    const alignment = alignmentOf(element);
    this.at = Math.ceil(this.at / alignment) * alignment;
    const end = this.at + length;
    if (end > this.#bytes.length) throw new MarshalError("an array is longer than its message");
    const values: Value[] = [];
    while (this.at < end) values.push(this.read(element));
    return values;
  }

  #length = (): number => this.#view.getUint32(this.#take(4), true);

  #text(length: number): string {
    const start = this.#take(length + 1);
    return decodeUtf8(this.#bytes.subarray(start, start + length));
  }

  #take(size: number): number {
    const start = this.at;
    this.at += size;
    if (this.at > this.#bytes.length) throw new MarshalError("a message breaks off");
    return start;
  }
}

/** Throws {@link MarshalError} for what is not Unicode: no string of D-Bus holds it. */
function encodeUtf8(text: string): number[] {
  if (/^[ -~]*$/.test(text)) return Array.from(text, (character) => character.charCodeAt(0));
  if (text.includes("\0")) throw new MarshalError("a string of D-Bus has no NUL in it");
  try {
    return Array.from(encodeURIComponent(text).matchAll(/%(..)|./g), ([character, hex]) =>
      hex === undefined ? character.charCodeAt(0) : Number.parseInt(hex, 16),
    );
  } catch {
    throw new MarshalError(`${JSON.stringify(text)} is not Unicode`);
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  // No function takes more than 65,534 arguments (QuickJS).
  const ascii = bytes.length < 4096 ? String.fromCharCode(...bytes) : "\x7f";
  if (/^[ -~]*$/.test(ascii)) return ascii;
  try {
    return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
  } catch {
    throw new MarshalError("a string is not UTF-8");
  }
}
