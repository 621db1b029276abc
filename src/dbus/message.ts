/** Messages of D-Bus. D-Bus Specification, "Message Format". */
import { decode, encode, MarshalError, pad, type Value } from "./marshal.ts";

export interface MethodCall {
  destination: string;
  path: string;
  interface: string;
  member: string;
  signature: string;
  body: readonly Value[];
  /** Nobody waits for an answer. */
  noReply?: boolean;
}

export interface Message {
  type: "call" | "return" | "error" | "signal";
  serial: number;
  /** The serial of the call that it answers. */
  replySerial?: number;
  interface?: string;
  member?: string;
  /** Of an error, such as `org.freedesktop.DBus.Error.AccessDenied`. */
  errorName?: string;
  body: Value[];
}

const TYPES = ["call", "return", "error", "signal"] as const;
const [PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE] = [1, 2, 3, 4, 5, 6, 8];
const NO_REPLY_EXPECTED = 1;
const LITTLE_ENDIAN = "l".charCodeAt(0);
const VERSION = 1;
const FIXED = 16;
/** "The maximum length of a message, including header, header alignment padding, and body is 2 to the 27th power". */
const MAX_LENGTH = 2 ** 27;

/** A method call; `serial` is not 0 and the caller's own. Throws {@link MarshalError}. */
export function encodeCall(call: MethodCall, serial: number): number[] {
  const body = encode(call.signature, call.body);
  const fields = [
    [PATH, { type: "o", value: call.path }],
    [INTERFACE, { type: "s", value: call.interface }],
    [DESTINATION, { type: "s", value: call.destination }],
    ...(call.signature === "" ? [] : [[SIGNATURE, { type: "g", value: call.signature }]]),
    [MEMBER, { type: "s", value: call.member }],
  ] as Value[];
  const flags = call.noReply ? NO_REPLY_EXPECTED : 0;
  const message = encode("yyyyuua(yv)", [LITTLE_ENDIAN, 1, flags, VERSION, body.length, serial, fields]);
  pad(message, 8);
  return [...message, ...body];
}

/** How long the message is that begins here; undefined where not enough of it is there to tell. Throws {@link MarshalError}. */
export function messageLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < FIXED) return undefined;
  if (bytes[0] !== LITTLE_ENDIAN || bytes[3] !== VERSION)
    throw new MarshalError("what is there is no message of D-Bus version 1 in little-endian byte order");
  const [body, , fields] = decode("uuu", bytes, 4) as number[];
  const length = Math.ceil((FIXED + Number(fields)) / 8) * 8 + Number(body);
  if (length > MAX_LENGTH) throw new MarshalError("a message is longer than D-Bus allows");
  return length;
}

/** A whole message. Throws {@link MarshalError}. */
export function decodeMessage(bytes: Uint8Array): Message {
  const [, kind, , , length, serial, fields] = decode("yyyyuua(yv)", bytes) as [
    number,
    number,
    number,
    number,
    number,
    number,
    [number, { value: Value }][],
  ];
  const type = TYPES[kind - 1];
  if (type === undefined) throw new MarshalError(`${kind} is no type of a message`);
  const field = (code: number | undefined) => fields.find(([each]) => each === code)?.[1].value;
  const text = (code: number | undefined) => {
    const value = field(code);
    return typeof value === "string" ? value : undefined;
  };
  const replySerial = field(REPLY_SERIAL);
  const named = { interface: text(INTERFACE), member: text(MEMBER), errorName: text(ERROR_NAME) };
  return {
    type,
    serial,
    ...(typeof replySerial === "number" ? { replySerial } : {}),
    ...(Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)) as Partial<Message>),
    body: decode(text(SIGNATURE) ?? "", bytes.subarray(bytes.length - length)),
  };
}
