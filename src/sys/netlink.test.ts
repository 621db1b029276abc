import assert from "node:assert/strict";
import { test } from "node:test";
import {
  errorIn,
  IFA_FLAGS,
  IFA_LOCAL,
  IFLA_IFNAME,
  IFLA_NET_NS_FD,
  NLM_F_ACK,
  NLM_F_REQUEST,
  packAddress,
  packLink,
  packMessage,
  parseAddress,
  parseAttributes,
  parseLink,
  parseMessages,
  RTM_NEWADDR,
  RTM_NEWLINK,
} from "./netlink.ts";

const hex = (buffer: ArrayBuffer | Uint8Array): string => Buffer.from(buffer as Uint8Array).toString("hex");
const bytes = (text: string): ArrayBuffer => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex")).buffer;

test("packMessage: header, structure and attributes, each filled up to four bytes", () => {
  const message = packMessage(
    { type: RTM_NEWLINK, flags: NLM_F_REQUEST | NLM_F_ACK, sequence: 7 },
    packLink(3, { flags: 1, change: 1 }),
    [
      { type: IFLA_NET_NS_FD, value: 9 },
      { type: IFLA_IFNAME, value: "eth%d" },
    ],
  );
  assert.equal(
    hex(message),
    [
      "34000000 1000 0500 07000000 00000000", // 52 bytes
      "00 00 0000 03000000 01000000 01000000",
      "0800 1c00 09000000",
      "0a00 0300 657468256400 0000", // the NUL counts, the filling does not
    ]
      .join("")
      .replaceAll(" ", ""),
  );
});

test("packMessage: bytes are an attribute's value as they are", () => {
  const message = packMessage(
    { type: RTM_NEWADDR, flags: NLM_F_REQUEST, sequence: 1 },
    packAddress({ family: 2, prefix: 24, scope: 253, index: 5 }),
    [{ type: IFA_LOCAL, value: Uint8Array.of(10, 9, 8, 7) }],
  );
  assert.equal(hex(message), "2000000014000100010000000000000002" + "1800fd05000000" + "080002000a090807");
});

test("parseMessages: several in one read; what is cut off is left out", () => {
  const one = "14000000 0300 0200 01000000 00000000 00000000";
  const [first, second, ...rest] = parseMessages(
    bytes(`${one} 15000000 0200 0000 02000000 00000000 ffffffffff 000000`),
    44,
  );
  assert.deepEqual(
    { ...first, body: hex(first?.body ?? new Uint8Array()) },
    { type: 3, flags: 2, sequence: 1, body: "00000000" },
  );
  assert.deepEqual(
    { ...second, body: hex(second?.body ?? new Uint8Array()) },
    { type: 2, flags: 0, sequence: 2, body: "ffffffffff" },
  );
  assert.deepEqual(rest, []);
  assert.deepEqual(parseMessages(bytes(one), 19), []);
  assert.deepEqual(parseMessages(bytes("00000000 0300 0200 01000000 00000000"), 16), []);
});

test("errorIn: the errno of an answer, 0 for done", () => {
  const answer = (code: string) => parseMessages(bytes(`14000000 0200 0000 01000000 00000000 ${code}`), 20)[0];
  const [done, exists] = [answer("00000000"), answer("efffffff")];
  assert.ok(done && exists);
  assert.deepEqual([errorIn(done), errorIn(exists)], [-0, 17]);
});

test("parseLink: index, flags and name, whatever else the kernel says", () => {
  const [message] = parseMessages(
    bytes(
      "30000000 1000 0000 01000000 00000000 0000 0100 03000000 41000000 00000000 0500 1000 06 000000 0800 0300 6c6f00 00",
    ),
    48,
  );
  assert.ok(message);
  assert.deepEqual(parseLink(message), { index: 3, flags: 0x41, name: "lo" });
});

test("parseAddress: flags above eight bits come from their attribute", () => {
  const body = (attributes: string) => ({
    type: RTM_NEWADDR,
    flags: 0,
    sequence: 1,
    body: new Uint8Array(bytes(`0a 40 80 00 03000000 ${attributes}`)),
  });
  assert.deepEqual(parseAddress(body("")), {
    family: 10,
    prefix: 64,
    flags: 0x80,
    scope: 0,
    index: 3,
    attributes: new Map(),
  });
  const { flags, attributes } = parseAddress(body("0800 0800 80020000"));
  assert.deepEqual([flags, [...attributes.keys()]], [0x280, [IFA_FLAGS]]);
});

test("parseAttributes: marks of nesting and byte order are no part of the type; a bad length ends the list", () => {
  assert.deepEqual(
    parseAttributes(new Uint8Array(bytes("0800 0380 01020304 0300 0100")), 0),
    new Map([[3, Uint8Array.of(1, 2, 3, 4)]]),
  );
});
