/**
 * Protocol Buffers as far as CRIU's messages go: numbers, strings, and messages in messages. protobuf.dev, "Encoding".
 *
 * A field is its number and its value; what a number means is in the `.proto` file of who speaks so (criu-rpc.ts).
 */
import { raw } from "../sys/sys.ts";

/** A field that may come several times is in the list several times. Numbers are not negative. */
export type Field = readonly [number: number, value: number | boolean | string | readonly Field[]];

/** Bytes of strings and of messages, and numbers, by the number of the field; the last one counts. */
export type Fields = ReadonlyMap<number, number | Uint8Array>;

/** What ends in the middle of a field, or has a field of a kind that is none. */
export class ProtobufError extends Error {
  override readonly name = "ProtobufError";
}

/** Kinds of values on the wire. */
const [VARINT, FIXED64, LENGTH, FIXED32] = [0, 1, 2, 5];

export function encodeFields(fields: readonly Field[]): number[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === "number" || typeof value === "boolean")
      return [...varint(number * 8 + VARINT), ...varint(Number(value))];
    const bytes =
      typeof value === "string" ? [...new Uint8Array(raw.encodeText(value) as ArrayBuffer)] : encodeFields(value);
    return [...varint(number * 8 + LENGTH), ...varint(bytes.length), ...bytes];
  });
}

/** Seven bits to a byte, the lowest first. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}

/** Throws {@link ProtobufError}. */
export function decodeFields(bytes: Uint8Array): Fields {
  const fields = new Map<number, number | Uint8Array>();
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new ProtobufError("a message breaks off");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const takeVarint = (): number => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const [byte = 0] = take(1);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = takeVarint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case VARINT:
        fields.set(number, takeVarint());
        break;
      case LENGTH:
        fields.set(number, take(takeVarint()));
        break;
      case FIXED64:
        take(8);
        break;
      case FIXED32:
        take(4);
        break;
      default:
        throw new ProtobufError(`field ${number} of a message is of no kind that there is`);
    }
  }
  return fields;
}
