import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  exitCodeOf,
  packCapData,
  packCapHeader,
  packGids,
  packIfreq,
  packMountAttr,
  packOpenHow,
  packPollfds,
  packRlimit,
  packSigset,
  packTimespec,
  packWinsize,
  parseCapData,
  parseGids,
  parseIfreqFlags,
  parsePollfds,
  parseRlimit,
  parseSignals,
  parseSigset,
  parseStatfs,
  parseStatx,
  parseTimespec,
  parseUtsname,
  parseWaitStatus,
  parseWinsize,
  RLIM_INFINITY,
  rawTermios,
  STATFS_SIZE,
  STATX_MNT_ID,
  STATX_SIZE,
  type Statx,
  UTSNAME_SIZE,
} from "./structs.ts";

const hex = (buffer: ArrayBuffer) => Buffer.from(buffer).toString("hex");
const view = (size: number) => new DataView(new ArrayBuffer(size));

test("parseStatx: every field from its place", () => {
  const v = view(STATX_SIZE);
  v.setUint32(0, 0x7ff | STATX_MNT_ID, true);
  v.setUint32(4, 4096, true);
  v.setBigUint64(8, 0x2010n, true);
  v.setUint32(16, 2, true);
  v.setUint32(20, 1000, true);
  v.setUint32(24, 100, true);
  v.setUint16(28, 0o100644, true);
  v.setBigUint64(32, 77n, true);
  v.setBigUint64(40, 5_000_000_000n, true);
  v.setBigUint64(48, 8n, true);
  v.setBigUint64(56, 0x2000n, true);
  v.setBigInt64(64, -1n, true);
  v.setBigInt64(96, 3n, true);
  v.setBigInt64(112, 4n, true);
  v.setUint32(120, 999_999_999, true);
  v.setUint32(128, 1, true);
  v.setUint32(132, 3, true);
  v.setUint32(136, 8, true);
  v.setUint32(140, 2, true);
  v.setBigUint64(144, 31n, true);
  const expected: Statx = {
    mode: 0o100644,
    uid: 1000,
    gid: 100,
    nlink: 2,
    ino: 77,
    size: 5_000_000_000,
    blocks: 8,
    blockSize: 4096,
    atime: { sec: -1, nsec: 0 },
    ctime: { sec: 3, nsec: 0 },
    mtime: { sec: 4, nsec: 999_999_999 },
    rdevMajor: 1,
    rdevMinor: 3,
    devMajor: 8,
    devMinor: 2,
    mountId: 31,
    attributes: 0x2010n,
    mountRoot: true,
  };
  const stat = parseStatx(v.buffer);
  for (const [field, value] of Object.entries(expected)) assert.deepEqual(stat[field as keyof Statx], value, field);
});

test("parseStatx: what an older kernel does not say is undefined", () => {
  const { mountId, mountRoot } = parseStatx(new ArrayBuffer(STATX_SIZE));
  assert.deepEqual({ mountId, mountRoot }, { mountId: undefined, mountRoot: undefined });
});

test("parseStatfs: every field from its place", () => {
  const words = [0x794c7630, 4096, 100, 90, 80, 70, 60, 0, 255, 4096, 0x1021];
  const v = view(STATFS_SIZE);
  for (const [i, word] of words.entries()) v.setBigUint64(8 * i, BigInt(word), true);
  assert.deepEqual(parseStatfs(v.buffer), {
    type: 0x794c7630,
    blockSize: 4096,
    blocks: 100,
    blocksFree: 90,
    blocksAvailable: 80,
    files: 70,
    filesFree: 60,
    nameMax: 255,
    flags: 0x1021,
  });
});

test("packOpenHow: flags, mode, resolve as 64-bit words", () => {
  assert.equal(
    hex(packOpenHow({ flags: 0o10000000, resolve: 16 })),
    "0000200000000000" + "0000000000000000" + "1000000000000000",
  );
});

test("packMountAttr: set, clear, propagation, userns_fd", () => {
  assert.equal(
    hex(packMountAttr({ set: 1, clear: 0x70, propagation: 1 << 18, usernsFd: 5 })),
    "0100000000000000" + "7000000000000000" + "0000040000000000" + "0500000000000000",
  );
});

test("packPollfds: descriptor, events, and room for what happened", () => {
  const buffer = packPollfds([
    { fd: 3, events: 1 },
    { fd: -1, events: 4 },
  ]);
  assert.equal(hex(buffer), "0300000001000000" + "ffffffff04000000");
  new DataView(buffer).setInt16(6, 17, true);
  assert.deepEqual(parsePollfds(buffer), [17, 0]);
});

test("packSigset: signal n is bit n - 1", () => {
  assert.equal(hex(packSigset([1, 17])), "0100010000000000");
  assert.equal(hex(packSigset([64])), "0000000000000080");
  assert.deepEqual(parseSigset(packSigset([64, 15, 2])), [2, 15, 64]);
});

test("parseSignals: one record per 128 bytes read", () => {
  const v = view(256);
  v.setUint32(0, 17, true);
  v.setInt32(8, 1, true);
  v.setUint32(12, 4242, true);
  v.setUint32(16, 1000, true);
  v.setInt32(40, 3, true);
  v.setUint32(128, 28, true);
  assert.deepEqual(parseSignals(v.buffer, 128), [{ signal: 17, code: 1, pid: 4242, uid: 1000, status: 3, value: 0 }]);
  assert.deepEqual(
    parseSignals(v.buffer, 256).map((info) => info.signal),
    [17, 28],
  );
  assert.deepEqual(parseSignals(v.buffer, 0), []);
});

test("parseWaitStatus: exited, signaled, stopped, continued", () => {
  assert.deepEqual(parseWaitStatus(0x0300), { state: "exited", code: 3 });
  assert.deepEqual(parseWaitStatus(9), { state: "signaled", signal: 9, coreDumped: false });
  assert.deepEqual(parseWaitStatus(0x80 | 11), { state: "signaled", signal: 11, coreDumped: true });
  assert.deepEqual(parseWaitStatus(0x137f), { state: "stopped", signal: 19 });
  assert.deepEqual(parseWaitStatus(0xffff), { state: "continued" });
  assert.deepEqual(parseWaitStatus(new Int32Array([0x7f00]).buffer), { state: "exited", code: 127 });
});

test("exitCodeOf: the code, 128 + signal, or undefined for a process that lives", () => {
  assert.deepEqual([0x0300, 9, 0x137f].map(parseWaitStatus).map(exitCodeOf), [3, 137, undefined]);
});

test("packWinsize, parseWinsize: four 16-bit numbers", () => {
  assert.equal(hex(packWinsize({ rows: 24, columns: 80 })), "1800500000000000");
  assert.deepEqual(parseWinsize(packWinsize({ rows: 24, columns: 300, xPixels: 1, yPixels: 2 })), {
    rows: 24,
    columns: 300,
    xPixels: 1,
    yPixels: 2,
  });
});

test("rawTermios: is cfmakeraw(3), and keeps the bits and characters that it does not name", () => {
  const cooked = new ArrayBuffer(36);
  new Uint32Array(cooked, 0, 4).set([0x6d02, 0x5, 0x4bf, 0x8a3b]); // `stty sane` and IUTF8, B38400
  new Uint8Array(cooked, 16).set([0, 3, 28, 127, 21, 4, 9, 9]);
  const raw = rawTermios(cooked);
  assert.deepEqual([...new Uint32Array(raw, 0, 4)], [0x6800, 0x4, 0x4bf, 0xa30]);
  assert.deepEqual([...new Uint8Array(raw, 16, 8)], [0, 3, 28, 127, 21, 4, 0, 1]);
  assert.equal(new Uint32Array(cooked)[0], 0x6d02, "the original is not touched");
});

test("packIfreq: name, then flags; a name of 16 bytes is refused", () => {
  assert.equal(hex(packIfreq("lo", 1)), "6c6f".padEnd(32, "0") + "0100".padEnd(48, "0"));
  assert.equal(parseIfreqFlags(packIfreq("eth0", 0x1043)), 0x1043);
  assert.throws(() => packIfreq("sixteen-bytes-xx"), RangeError);
});

test("packCapHeader, packCapData: version 3, low words before high words", () => {
  assert.equal(hex(packCapHeader()), "2205082000000000");
  const sets = { effective: 1n, permitted: (1n << 40n) | 2n, inheritable: 1n << 63n };
  assert.equal(hex(packCapData(sets)), "01000000" + "02000000" + "00000000" + "00000000" + "00010000" + "00000080");
  assert.deepEqual(parseCapData(packCapData(sets)), sets);
});

test("packRlimit: -1 is RLIM_INFINITY, in and out", () => {
  assert.equal(hex(packRlimit({ soft: 1024, hard: RLIM_INFINITY })), `0004000000000000${"f".repeat(16)}`);
  assert.deepEqual(parseRlimit(packRlimit({ soft: 1n << 60n, hard: -1 })), { soft: 1n << 60n, hard: -1n });
});

test("packGids, parseGids: 32-bit numbers, nobody's 4294967294 included", () => {
  assert.equal(hex(packGids([0, 4294967294])), "00000000feffffff");
  assert.deepEqual(parseGids(packGids([5, 27, 0, 0]), 2), [5, 27]);
});

test("packTimespec: milliseconds as seconds and nanoseconds", () => {
  assert.deepEqual(parseTimespec(packTimespec(1500)), { sec: 1, nsec: 500_000_000 });
  assert.deepEqual(parseTimespec(packTimespec(0.25)), { sec: 0, nsec: 250_000 });
});

test("parseUtsname: two of six fields of 65 bytes", () => {
  const v = view(UTSNAME_SIZE);
  const fields = ["Linux", "tupperware", "6.18.0", "#1 SMP", "x86_64", "(none)"];
  for (const [i, text] of fields.entries()) new Uint8Array(v.buffer, 65 * i).set(Buffer.from(text));
  assert.deepEqual(parseUtsname(v.buffer), { release: "6.18.0", machine: "x86_64" });
  new Uint8Array(v.buffer).fill(0xff, 130, 195);
  assert.equal(parseUtsname(v.buffer).release, "\udcff".repeat(65));
});

test("structs: what is packed is parsed again, whatever the values", () => {
  const mask = fc.bigInt(0n, (1n << 64n) - 1n);
  fc.assert(
    fc.property(mask, mask, mask, (effective, permitted, inheritable) => {
      assert.deepEqual(parseCapData(packCapData({ effective, permitted, inheritable })), {
        effective,
        permitted,
        inheritable,
      });
    }),
  );
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 64 })), (signals) => {
      assert.deepEqual(
        parseSigset(packSigset(signals)),
        [...signals].sort((a, b) => a - b),
      );
    }),
  );
});
