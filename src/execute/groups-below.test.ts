import assert from "node:assert/strict";
import { test } from "node:test";
import { recordingSys } from "../sys/recording.ts";
import { replaceSys, SysError } from "../sys/sys.ts";
import { walkGroups } from "./groups-below.ts";

const DT_DIR = 4;
const [EACCES, ENOENT] = [-13, -2];

/** struct linux_dirent64 of a directory with this name. getdents64(2) */
function fillEntry(buffer: ArrayBuffer, name: string): number {
  const size = 19 + name.length + 1;
  new DataView(buffer).setUint16(16, size, true);
  new DataView(buffer).setUint8(18, DT_DIR);
  new Uint8Array(buffer).set(new TextEncoder().encode(`${name}\0`), 19);
  return size;
}

/** What a walk of /g does, with one group in it that answers so when it is opened. */
function walk(answer: number, left?: (above: number, name: string) => void): number[] {
  const visited: number[] = [];
  const before = replaceSys(
    recordingSys({
      openat: (_directory, name) => (name === "/g" ? 7 : answer),
      getdents64: [(_fd, buffer) => fillEntry(buffer, "below"), 0],
    }),
  );
  try {
    walkGroups("/g", (group) => visited.push(group), left);
  } finally {
    replaceSys(before);
  }
  return visited;
}

test("walkGroups: a group that is closed to us is left without a visit, and removed so; else it is an error", () => {
  const left: unknown[] = [];
  assert.deepEqual([walk(EACCES, (...group) => left.push(group)), left], [[7], [[7, "below"]]]);
  assert.throws(
    () => walk(EACCES),
    (error) => error instanceof SysError && error.code === "EACCES",
  );
});

test("walkGroups: a group that is gone meanwhile is left out", () => {
  const left: unknown[] = [];
  assert.deepEqual([walk(ENOENT, (...group) => left.push(group)), left], [[7], []]);
});
