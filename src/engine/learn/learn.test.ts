import assert from "node:assert/strict";
import { test } from "node:test";
import { neededCapabilities } from "./learn.ts";
import { profileOf } from "./profile.ts";
import type { Seen, Tally } from "./recording.ts";

const tally = (times: number, denied: Record<string, number> = {}): Tally => ({
  times,
  denied: new Map(Object.entries(denied)),
});
const seen = (times: number, denied: Record<string, number> = {}, byArgument: [number, Tally][] = []): Seen => ({
  ...tally(times, denied),
  archs: new Set(["SCMP_ARCH_X86_64"]),
  byArgument: new Map(byArgument),
});

test("profileOf: allows what was more than denied, by argument where that counts, and answers ENOSYS where that was the answer", () => {
  const { used, probed, unnamed, profile } = profileOf(
    new Map([
      ["write", seen(3)],
      ["mount", seen(2, { EPERM: 2 })],
      ["clone3", seen(1, { ENOSYS: 1 })],
      ["chown", seen(2, { EPERM: 1 })],
      [
        "socket",
        seen(2, { EPERM: 1 }, [
          [1, tally(1)],
          [17, tally(1, { EPERM: 1 })],
        ]),
      ],
      ["syscall_999", seen(1)],
    ]),
    "x86_64",
  );
  assert.deepEqual(used, ["chown", "socket", "write"]);
  assert.deepEqual(probed, [
    { name: "clone3", errno: "ENOSYS" },
    { name: "mount", errno: "EPERM" },
  ]);
  assert.deepEqual(unnamed, ["syscall_999"]);
  const [plain, socket, absent] = profile.syscalls;
  assert.deepEqual(plain?.names, ["chown", "write"]);
  assert.deepEqual([socket?.names, socket?.args], [["socket"], [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }]]);
  assert.deepEqual([absent?.names, absent?.errnoRet], [["clone3"], 38]);
  assert.equal(profile.syscalls.length, 4);
});

test("neededCapabilities: the smallest set by what denials name, else by taking each away", () => {
  const given = ["A", "B", "C", "D"];
  const tried: string[] = [];
  const attempt = (needed: readonly string[], named: string[]) => (kept: readonly string[]) => {
    tried.push(kept.join(""));
    const works = needed.every((name) => kept.includes(name));
    return { works, lacking: works ? [] : named };
  };
  assert.deepEqual(neededCapabilities(given, attempt([], [])), []);
  assert.deepEqual(tried.splice(0), [""]);
  assert.deepEqual(neededCapabilities(given, attempt(["B"], ["B", "C"])), ["B"]);
  assert.deepEqual(tried.splice(0), ["", "BC", "C", "B"]);
  assert.deepEqual(neededCapabilities(given, attempt(["B", "D"], ["B"])), ["B", "D"]);
  assert.deepEqual(neededCapabilities(given, attempt(["A"], [])), ["A"]);
  assert.deepEqual(neededCapabilities([], attempt([], [])), []);
});
