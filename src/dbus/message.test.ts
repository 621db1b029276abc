/** The bytes here are GLib's: Gio.DBusMessage.to_blob() of the same messages, from Python. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MarshalError } from "./marshal.ts";
import { decodeMessage, encodeCall, type MethodCall, messageLength } from "./message.ts";

const GLIB = {
  call:
    "6c010001d000000007000000b300000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100" +
    "00000000000002017300200000006f72672e667265656465736b746f702e73797374656d64312e4d616e6167657200000000" +
    "0000000006017300180000006f72672e667265656465736b746f702e73797374656d64310000000000000000080167001073" +
    "736128737629612873612873762929000000030173001200000053746172745472616e7369656e74556e6974000000000000" +
    "07000000612e73636f706500040000006661696c00000000ac00000000000000040000005049447300026175000000000400" +
    "00002a0000000800000044656c65676174650001620001000000000000000b000000416c6c6f776564435055730002617900" +
    "020000000501000000000000090000004d656d6f72794d61780001740000000000000000ffffffffffffffff0b0000004465" +
    "76696365416c6c6f770005612873732900001c000000000000000d0000002f6465762f636861722f313a3300000003000000" +
    "72776d0000000000",
  empty:
    "6c01010100000000080000008f00000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100" +
    "00000000000002017300200000006f72672e667265656465736b746f702e73797374656d64312e4d616e6167657200000000" +
    "0000000006017300180000006f72672e667265656465736b746f702e73797374656d64310000000000000000030173000600" +
    "000052656c6f61640000",
  all:
    "6c010001c800000007000000c300000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100" +
    "00000000000002017300200000006f72672e667265656465736b746f702e73797374656d64312e4d616e6167657200000000" +
    "0000000006017300180000006f72672e667265656465736b746f702e73797374656d64310000000000000000080167001b79" +
    "626e716975787464736f67766173617b73767d28797429616174000000000000000003017300120000005374617274547261" +
    "6e7369656e74556e6974000000000000c800000001000000fdffffff90eefeff00286bee00000000ffffffffffffdfffffff" +
    "ffffffffffff000000000000f83f090000006772c3bc6e20e282ac000000040000002f612f62000561287374290001730000" +
    "01000000760000000d000000010000007800000000000000000000000a00000000000000010000006b000179000100000000" +
    "0000010000000000000002000000000000002c00000008000000010000000000000000000000000000001000000000000000" +
    "02000000000000000300000000000000",
  error:
    "6c03010124000000030000004000000004017300230000006f72672e667265656465736b746f702e73797374656d64312e55" +
    "6e69744578697374730000000000080167000173000005017500090000001f000000556e697420612e73636f706520776173" +
    "20616c7265616479206c6f6164656400",
  return:
    "6c02010124000000040000001000000008016700016f000005017500090000001f0000002f6f72672f667265656465736b74" +
    "6f702f73797374656d64312f6a6f622f3100",
  signal:
    "6c0401013d000000050000007b00000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100" +
    "00000000000002017300200000006f72672e667265656465736b746f702e73797374656d64312e4d616e6167657200000000" +
    "000000000801670004756f737300000000000000030173000a0000004a6f6252656d6f766564000000000000010000001f00" +
    "00002f6f72672f667265656465736b746f702f73797374656d64312f6a6f622f310007000000612e73636f70650004000000" +
    "646f6e6500",
};

const hex = (bytes: readonly number[]): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

const MANAGER = {
  destination: "org.freedesktop.systemd1",
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.systemd1.Manager",
};
const START: MethodCall = {
  ...MANAGER,
  member: "StartTransientUnit",
  signature: "ssa(sv)a(sa(sv))",
  body: [
    "a.scope",
    "fail",
    [
      ["PIDs", { type: "au", value: [42] }],
      ["Delegate", { type: "b", value: true }],
      ["AllowedCPUs", { type: "ay", value: [5, 1] }],
      ["MemoryMax", { type: "t", value: 2n ** 64n - 1n }],
      ["DeviceAllow", { type: "a(ss)", value: [["/dev/char/1:3", "rwm"]] }],
    ],
    [],
  ],
};
const EVERY_TYPE: MethodCall = {
  ...MANAGER,
  member: "StartTransientUnit",
  signature: "ybnqiuxtdsogvasa{sv}(yt)aat",
  body: [
    200,
    true,
    -3,
    65_535,
    -70_000,
    4_000_000_000,
    -9_007_199_254_740_993n,
    2n ** 64n - 1n,
    1.5,
    "grün €",
    "/a/b",
    "a(st)",
    { type: "s", value: "v" },
    ["x", ""],
    [["k", { type: "y", value: 1 }]],
    [1, 2n],
    [[1n], [], [2n, 3n]],
  ],
};

test("encodeCall: a call is, byte for byte, what GLib makes of it", () => {
  assert.equal(hex(encodeCall(START, 7)), GLIB.call);
  assert.equal(hex(encodeCall(EVERY_TYPE, 7)), GLIB.all);
  assert.equal(
    hex(encodeCall({ ...MANAGER, member: "Reload", signature: "", body: [], noReply: true }, 8)),
    GLIB.empty,
  );
});

test("encodeCall: a value that does not fit its type, NUL, and text that is not Unicode are refused", () => {
  for (const [signature, value] of [
    ["u", "5"],
    ["s", 5],
    ["v", "text"],
    ["as", "text"],
    ["s", "a\0b"],
    ["s", "\ud800"],
    ["z", 1],
    ["(s", ["a"]],
    ["a()", []],
  ] as const)
    assert.throws(
      () => encodeCall({ ...MANAGER, member: "Get", signature, body: [value] }, 1),
      MarshalError,
      signature,
    );
});

test("decodeMessage: answers, errors and signals of GLib", () => {
  assert.deepEqual(decodeMessage(bytes(GLIB.return)), {
    type: "return",
    serial: 4,
    replySerial: 9,
    body: ["/org/freedesktop/systemd1/job/1"],
  });
  assert.deepEqual(decodeMessage(bytes(GLIB.error)), {
    type: "error",
    serial: 3,
    replySerial: 9,
    errorName: "org.freedesktop.systemd1.UnitExists",
    body: ["Unit a.scope was already loaded"],
  });
  assert.deepEqual(decodeMessage(bytes(GLIB.signal)), {
    type: "signal",
    serial: 5,
    interface: "org.freedesktop.systemd1.Manager",
    member: "JobRemoved",
    body: [1, "/org/freedesktop/systemd1/job/1", "a.scope", "done"],
  });
});

test("decodeMessage: what was encoded comes back", () => {
  assert.deepEqual(decodeMessage(bytes(GLIB.all)).body, EVERY_TYPE.body);
  assert.deepEqual(decodeMessage(bytes(GLIB.call)).body, START.body);
});

test("messageLength: of the first 16 bytes on; nothing else than a message passes", () => {
  for (const blob of Object.values(GLIB)) {
    assert.equal(messageLength(bytes(blob)), blob.length / 2);
    assert.equal(messageLength(bytes(blob).subarray(0, 16)), blob.length / 2);
    assert.equal(messageLength(bytes(blob).subarray(0, 15)), undefined);
  }
  assert.throws(() => messageLength(bytes(`42${GLIB.call.slice(2)}`)), MarshalError);
  assert.throws(() => messageLength(bytes(`${GLIB.call.slice(0, 8)}ffffff7f${GLIB.call.slice(16)}`)), MarshalError);
});

test("decodeMessage: a message that breaks off anywhere, or whose lengths lie, is refused and nothing else happens", () => {
  for (const blob of Object.values(GLIB)) {
    const whole = bytes(blob);
    for (let length = 0; length < whole.length; length++) {
      try {
        decodeMessage(whole.slice(0, length));
      } catch (error) {
        assert.ok(error instanceof MarshalError || error instanceof RangeError, String(error));
      }
    }
    for (let at = 0; at < whole.length; at++) {
      const broken = whole.slice();
      broken[at] = 0xff;
      try {
        decodeMessage(broken);
      } catch (error) {
        assert.ok(error instanceof MarshalError || error instanceof RangeError, `${at}: ${error}`);
      }
    }
  }
});
