/**
 * rtnetlink messages: packed and parsed. netlink(7), rtnetlink(7).
 *
 * A message is a header of 16 bytes, a structure of the family (ifinfomsg, ifaddrmsg), and attributes of type, length and
 * value, all aligned to four bytes and in the machine's byte order. Answers come as several messages in one read; the list that
 * a dump asks for ends with NLMSG_DONE, everything else with NLMSG_ERROR, whose error 0 means done.
 */

const LITTLE = true;
const HEADER = 16;

export const NLM_F_REQUEST = 1;
export const NLM_F_MULTI = 2;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const RTM_NEWLINK = 16;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_GETADDR = 22;
export const IFLA_IFNAME = 3;
export const IFLA_NET_NS_FD = 28;
export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_BROADCAST = 4;
export const IFA_FLAGS = 8;

/** An attribute's value: text is sent with its NUL, a number as u32. */
export interface Attribute {
  type: number;
  value: string | number | Uint8Array;
}

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  /** What follows the header. */
  body: Uint8Array;
}

const aligned = (length: number): number => (length + 3) & ~3;

/** One request: header, structure of the family, attributes. */
export function packMessage(
  { type, flags, sequence }: { type: number; flags: number; sequence: number },
  structure: Uint8Array,
  attributes: readonly Attribute[] = [],
): ArrayBuffer {
  const values = attributes.map(({ type: kind, value }) => ({ kind, bytes: bytesOf(value) }));
  const length = values.reduce((sum, { bytes }) => sum + aligned(4 + bytes.length), HEADER + aligned(structure.length));
  const buffer = new ArrayBuffer(length);
  const view = new DataView(buffer);
  const all = new Uint8Array(buffer);
  view.setUint32(0, length, LITTLE);
  view.setUint16(4, type, LITTLE);
  view.setUint16(6, flags, LITTLE);
  view.setUint32(8, sequence, LITTLE);
  all.set(structure, HEADER);
  let at = HEADER + aligned(structure.length);
  for (const { kind, bytes } of values) {
    view.setUint16(at, 4 + bytes.length, LITTLE);
    view.setUint16(at + 2, kind, LITTLE);
    all.set(bytes, at + 4);
    at += aligned(4 + bytes.length);
  }
  return buffer;
}

function bytesOf(value: Attribute["value"]): Uint8Array {
  if (typeof value === "number") return new Uint8Array(new Uint32Array([value]).buffer);
  // Names of network devices are bytes; what is above one byte in a name is refused before.
  if (typeof value === "string") return Uint8Array.from(`${value}\0`, (letter) => letter.charCodeAt(0));
  return value;
}

/** The messages in the first `length` bytes of a read. A message that is cut off ends the list. */
export function parseMessages(buffer: ArrayBuffer, length: number): Message[] {
  const view = new DataView(buffer);
  const messages: Message[] = [];
  for (let at = 0; at + HEADER <= length; ) {
    const size = view.getUint32(at, LITTLE);
    if (size < HEADER || at + size > length) break;
    messages.push({
      type: view.getUint16(at + 4, LITTLE),
      flags: view.getUint16(at + 6, LITTLE),
      sequence: view.getUint32(at + 8, LITTLE),
      body: new Uint8Array(buffer.slice(at + HEADER, at + size)),
    });
    at += aligned(size);
  }
  return messages;
}

/** The attributes after the first `offset` bytes of a body, by type. */
export function parseAttributes(body: Uint8Array, offset: number): Map<number, Uint8Array> {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = new Map<number, Uint8Array>();
  for (let at = offset; at + 4 <= body.length; ) {
    const size = view.getUint16(at, LITTLE);
    if (size < 4 || at + size > body.length) break;
    const NESTED_AND_BYTE_ORDER = 0xc000;
    attributes.set(view.getUint16(at + 2, LITTLE) & ~NESTED_AND_BYTE_ORDER, body.slice(at + 4, at + size));
    at += aligned(size);
  }
  return attributes;
}

/** The errno in an NLMSG_ERROR, as a positive number; 0 means done. */
export const errorIn = ({ body }: Message): number => -new DataView(body.buffer).getInt32(0, LITTLE);

/** struct ifinfomsg: a device by index (0: by attributes), and which of its flags (`IFF_UP`) are to be what. */
export function packLink(index: number, { flags = 0, change = 0 } = {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setInt32(4, index, LITTLE);
  view.setUint32(8, flags, LITTLE);
  view.setUint32(12, change, LITTLE);
  return new Uint8Array(view.buffer);
}

export interface Link {
  index: number;
  flags: number;
  name: string;
}

/** An RTM_NEWLINK. */
export function parseLink({ body }: Message): Link {
  const view = new DataView(body.buffer);
  const name = parseAttributes(body, 16).get(IFLA_IFNAME) ?? new Uint8Array();
  return {
    index: view.getInt32(4, LITTLE),
    flags: view.getUint32(8, LITTLE),
    name: String.fromCharCode(...name.filter((byte) => byte !== 0)),
  };
}

export interface Address {
  family: number;
  prefix: number;
  flags: number;
  scope: number;
  index: number;
  attributes: Map<number, Uint8Array>;
}

/** struct ifaddrmsg. */
export function packAddress({ family, prefix, scope, index }: Pick<Address, "family" | "prefix" | "scope" | "index">) {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint8(0, family);
  view.setUint8(1, prefix);
  view.setUint8(3, scope);
  view.setUint32(4, index, LITTLE);
  return new Uint8Array(view.buffer);
}

/** An RTM_NEWADDR. Flags above eight bits are in an attribute of their own. */
export function parseAddress({ body }: Message): Address {
  const view = new DataView(body.buffer);
  const attributes = parseAttributes(body, 8);
  const flags = attributes.get(IFA_FLAGS);
  return {
    family: view.getUint8(0),
    prefix: view.getUint8(1),
    flags: flags === undefined ? view.getUint8(2) : new DataView(flags.buffer).getUint32(0, LITTLE),
    scope: view.getUint8(3),
    index: view.getUint32(4, LITTLE),
    attributes,
  };
}
