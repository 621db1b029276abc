import assert from "node:assert/strict";
import { test } from "node:test";
import { AT_FDCWD, O_CLOEXEC } from "./constants.ts";
import { readDirectory, readFileIfThere, writeFile } from "./files.ts";
import { CALL_NAMES, type RawSys } from "./generated.ts";
import { recordingSys, type TracedCall, tracingSys } from "./recording.ts";
import { replaceSys, SysError, sys } from "./sys.ts";

/** Runs `body` with `table` in the host's place. */
function withSys(table: RawSys, body: () => void): void {
  const before = replaceSys(table);
  try {
    body();
  } finally {
    replaceSys(before);
  }
}

test("recordingSys: has every call, and a call that is not scripted answers 0", () => {
  const recorder = recordingSys();
  for (const name of Object.keys(CALL_NAMES)) assert.equal(typeof recorder[name as keyof RawSys], "function", name);
  assert.equal(recorder.getpid(), 0);
  assert.equal(recorder.mkdirat(AT_FDCWD, "/a", 0o755), 0);
  assert.deepEqual(recorder.calls, [
    { name: "getpid", args: [] },
    { name: "mkdirat", args: [AT_FDCWD, "/a", 0o755] },
  ]);
});

test("recordingSys: answers with a value, with a function of the arguments, and with a queue followed by 0", () => {
  const recorder = recordingSys({
    getuid: 1000,
    close: (fd) => (fd === 3 ? 0 : -9),
    mount: [-16, (source) => (source === "proc" ? -1 : 0)],
  });
  assert.deepEqual([recorder.getuid(), recorder.getuid()], [1000, 1000]);
  assert.deepEqual([recorder.close(3), recorder.close(4)], [0, -9]);
  const mounted = [1, 2, 3].map(() => recorder.mount("proc", "/proc", "proc", 0, null));
  assert.deepEqual(mounted, [-16, -1, 0]);
});

test("recordingSys: keeps the bytes of a buffer as they were at the call", () => {
  const recorder = recordingSys();
  const buffer = new Uint8Array([1, 2]).buffer;
  recorder.write(1, buffer);
  new Uint8Array(buffer).fill(9);
  assert.deepEqual(recorder.calls[0]?.args[1], new Uint8Array([1, 2]).buffer);
});

test("recordingSys: text survives encodeText and decodeText, bytes that are not UTF-8 included", () => {
  const recorder = recordingSys();
  const bytes = new Uint8Array([0x61, 0xff, 0xc3, 0xa9, 0xed, 0xb2, 0x80, 0xf0, 0x9f, 0x98, 0x80, 0xc3]).buffer;
  const text = recorder.decodeText(bytes, 0, bytes.byteLength);
  assert.equal(text, "a\udcffé\udced\udcb2\udc80😀\udcc3");
  assert.deepEqual(recorder.encodeText(String(text)), bytes);
});

test("files: a refused write names path and value, and closes the file", () => {
  const recorder = recordingSys({ openat: 7, write: -22 });
  withSys(recorder, () => {
    assert.throws(
      () => writeFile("/cg/memory.max", "bogus"),
      (error) =>
        error instanceof SysError && error.message === 'write("/cg/memory.max", "bogus") = EINVAL (Invalid argument)',
    );
  });
  assert.deepEqual(
    recorder.calls.map((call) => call.name),
    ["openat", "write", "close"],
  );
});

test("files: a file that is not there is undefined, one that may not be read is an error", () => {
  withSys(recordingSys({ openat: -2 }), () => assert.equal(readFileIfThere("/proc/1/comm"), undefined));
  withSys(recordingSys({ openat: -13 }), () => {
    assert.throws(
      () => readFileIfThere("/proc/1/comm"),
      (error) => error instanceof SysError && error.code === "EACCES",
    );
  });
  withSys(recordingSys({ openat: 3, readText: -3 }), () => assert.equal(readFileIfThere("/proc/1/comm"), undefined));
});

test("files: readDirectory closes the directory when getdents64 fails", () => {
  const recorder = recordingSys({ openat: 3, getdents64: -2 });
  withSys(recorder, () => assert.throws(() => readDirectory("/proc/9/task")));
  assert.deepEqual(recorder.calls.at(-1), { name: "close", args: [3] });
});

test("tracingSys: passes calls on and reports name, arguments, result and microseconds", () => {
  let now = 0;
  const inner = recordingSys({
    monotonicUs: () => {
      now += 5;
      return now;
    },
    mkdirat: -17,
  });
  const seen: TracedCall[] = [];
  withSys(
    tracingSys(inner, (call) => {
      sys.write(2, `${call.syscall}\n`);
      seen.push(call);
    }),
    () => assert.throws(() => sys.mkdirat(AT_FDCWD, "/a", 0o755)),
  );
  assert.deepEqual(seen, [
    { name: "mkdirat", syscall: "mkdirat", args: [AT_FDCWD, "/a", 0o755], result: -17, microseconds: 5 },
  ]);
  assert.deepEqual(
    inner.calls.filter((call) => call.name === "write"),
    [{ name: "write", args: [2, "mkdirat\n"] }],
  );
});

test("tracingSys: reports execve before it is made, and again when it came back", () => {
  const seen: TracedCall[] = [];
  const table = tracingSys(recordingSys({ execve: -2 }), (call) => seen.push(call));
  table.execve("/bin/x", ["x"], []);
  table.openat(AT_FDCWD, "/", O_CLOEXEC, 0);
  assert.deepEqual(
    seen.map(({ name, result }) => [name, result]),
    [
      ["execve", undefined],
      ["execve", -2],
      ["openat", 0],
    ],
  );
});
