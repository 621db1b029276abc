import assert from "node:assert/strict";
import { test } from "node:test";
import { compileProfile } from "../plan/seccomp/profile-program.ts";
import { parseSeccomp } from "../spec/parse-config.ts";
import type { LinuxSeccomp } from "../spec/seccomp.ts";
import { recordingSys, type Script } from "../sys/recording.ts";
import { replaceSys } from "../sys/sys.ts";
import { seccompFilter } from "./seccomp-cache.ts";

const section: LinuxSeccomp = {
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names: ["keyctl", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 7 }],
};
const compiled = compileProfile(parseSeccomp(section), "x86_64");

/** Its filter on a kernel that answers so; what it has written. */
function filterOn(script: Script): { filter: typeof compiled; written: ArrayBuffer | undefined; calls: string[] } {
  let written: ArrayBuffer | undefined;
  const write = (_fd: number | bigint, data: string | ArrayBuffer): number => {
    const bytes = data as ArrayBuffer;
    written = bytes;
    return bytes.byteLength;
  };
  const recorder = recordingSys({ openat: 5, write, ...script });
  const before = replaceSys(recorder);
  try {
    return { filter: seccompFilter(section, "x86_64"), written, calls: recorder.calls.map(({ name }) => name) };
  } finally {
    replaceSys(before);
  }
}

/** What stat says of an entry that is root's own, of this size. */
const sized =
  (size: number) => (_fd: unknown, _path: unknown, _flags: unknown, _mask: unknown, buffer: ArrayBuffer) => {
    new DataView(buffer).setBigUint64(40, BigInt(size), true);
    return 0;
  };

for (const [errno, name] of [
  [-2, "that is removed meanwhile"],
  [-5, "that cannot be read"],
] as const)
  test(`seccompFilter: a directory ${name} keeps no container from its filter`, () => {
    const { filter, calls } = filterOn({ getdents64: errno });
    assert.deepEqual(filter, compiled);
    assert.ok(calls.includes("getdents64"));
  });

test("seccompFilter: a file that was spoilt in the names that come last is not used", () => {
  const { written = new ArrayBuffer(0) } = filterOn({});
  const read = (bytes: ArrayBuffer) => (_fd: number | bigint, buffer: ArrayBuffer) => {
    new Uint8Array(buffer).set(new Uint8Array(bytes));
    return bytes.byteLength;
  };
  const found = (bytes: ArrayBuffer) => filterOn({ statx: [sized(4096), sized(bytes.byteLength)], read: read(bytes) });
  assert.deepEqual(found(written).filter, compiled);
  assert.equal(found(written).written, undefined);
  const spoilt = written.slice(0);
  new Uint8Array(spoilt)[spoilt.byteLength - 2] = 0; // the quotation mark of the last name
  assert.deepEqual(found(spoilt).filter, compiled);
  assert.ok(found(spoilt).written !== undefined);
});
