import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../error.ts";
import type { CriuOptions } from "../plan/criu-options.ts";
import { recordingSys } from "../sys/recording.ts";
import { replaceSys, SysError } from "../sys/sys.ts";
import { askCriu, type CriuAnswer, type Notification } from "./criu-rpc.ts";

const OPTIONS: CriuOptions = {
  pid: 300,
  leaveRunning: undefined,
  shellJob: false,
  logLevel: 4,
  logFile: "é",
  notifyScripts: true,
  root: "/r",
  manageCgroupsMode: 3,
  external: ["a", "b"],
  emptyNs: 0x40000000,
  orphanPtsMaster: true,
  cgRoot: [["memory", "/x"]],
};

/** A request by hand: the number of a field times eight, and 2 more for what has a length. */
const PACKED = [
  [0x08, 1],
  [0x12, 53],
  [0x10, 0xac, 0x02],
  [0x38, 0],
  [0x48, 4],
  [0x52, 2, 0xc3, 0xa9],
  [0x60, 1],
  [0x6a, 2, ..."/r"],
  [0xca, 0x01, 12, 0x0a, 6, ..."memory", 0x12, 2, ..."/x"],
  [0x90, 0x02, 3],
  [0xaa, 0x02, 1, "a", 0xaa, 0x02, 1, "b"],
  [0xb0, 0x02, 0x80, 0x80, 0x80, 0x80, 0x04],
  [0x90, 0x03, 1],
].flat();

const bytes = (...parts: (number | string)[]): number[] =>
  parts.map((part) => (typeof part === "number" ? part : part.charCodeAt(0)));
/** As the host gives them: what is not UTF-8 as a lone surrogate. */
const text = (...parts: (number | string)[]): string =>
  String.fromCharCode(...bytes(...parts).map((byte) => (byte < 0x80 ? byte : 0xdc00 + byte)));

interface Asked {
  answer?: CriuAnswer;
  error?: unknown;
  sent: number[][];
}

function ask(answers: ({ text: string; fds: number[] } | number)[], notified: (told: Notification) => void): Asked {
  const queue = [...answers];
  const recorder = recordingSys({ receiveMessage: () => queue.shift() ?? { text: "", fds: [] } });
  const before = replaceSys(recorder);
  const asked: Asked = { sent: [] };
  try {
    asked.answer = askCriu(9, "dump", OPTIONS, notified);
  } catch (error) {
    asked.error = error;
  } finally {
    replaceSys(before);
  }
  asked.sent = recorder.calls
    .filter(({ name }) => name === "sendto")
    .map(({ args: [, data] }) => [...new Uint8Array(data as ArrayBuffer)]);
  return asked;
}

const notice = (script: string, pid: number, fds: number[] = []) => ({
  text: text(
    0x08,
    6,
    0x10,
    1,
    0x2a,
    script.length + 5,
    0x0a,
    script.length,
    ...script,
    0x10,
    0x80 | (pid & 127),
    pid >> 7,
  ),
  fds,
});
const DONE = { text: text(0x08, 2, 0x10, 1, 0x22, 3, 0x08, 0xac, 0x02), fds: [] };
const [WELL, BADLY] = [
  [0x08, 6, 0x18, 1],
  [0x08, 6, 0x18, 0],
];

test("askCriu: the request as rpc.proto has it, each notification answered, the pid of the result", () => {
  const told: Notification[] = [];
  const { answer, sent } = ask([notice("setup-namespaces", 300), notice("orphan-pts-master", 0, [5]), DONE], (one) => {
    told.push(one);
  });
  assert.deepEqual(sent, [bytes(...PACKED), WELL, WELL]);
  assert.deepEqual(told, [
    { script: "setup-namespaces", pid: 300, fds: [] },
    { script: "orphan-pts-master", pid: 0, fds: [5] },
  ]);
  assert.deepEqual(answer, { success: true, pid: 300, message: "" });
});

test("askCriu: what fails on a notification ends the request, and is thrown when CRIU is done", () => {
  const failure = new ContainerError("HOOK_FAILED", "no");
  let heard = 0;
  const { error, sent } = ask([notice("setup-namespaces", 3), notice("post-restore", 3), DONE], () => {
    heard++;
    throw failure;
  });
  assert.equal(error, failure);
  assert.deepEqual(sent.slice(1), [BADLY, BADLY]);
  assert.equal(heard, 1);
});

test("askCriu: a refusal with CRIU's words, a CRIU that is gone, and what is no message", () => {
  const nobody = () => assert.fail("nothing was notified");
  const refused = { text: text(0x08, 0, 0x10, 0, 0x4a, 2, "n", "o", 0x38, 0xff, 0xff, 0xff, 0xff, 0x0f), fds: [] };
  assert.deepEqual(ask([refused], nobody).answer, { success: false, pid: 0, message: "no" });
  assert.deepEqual(ask([-104], nobody).answer, { success: false, pid: 0, message: "" });
  assert.deepEqual(ask([], nobody).answer, { success: false, pid: 0, message: "" });
  for (const broken of [text(0x08), text(0x4a, 9, "n"), text(0x0b, 1)]) {
    const { error } = ask([{ text: broken, fds: [] }], nobody);
    assert.equal(error instanceof ContainerError && error.code, "CRIU_FAILED");
  }
});

test("askCriu: a request that the kernel does not take is an error, not a wait", () => {
  const recorder = recordingSys({ sendto: -90 });
  const before = replaceSys(recorder);
  try {
    assert.throws(
      () => askCriu(9, "dump", OPTIONS, () => {}),
      (error) => error instanceof SysError && error.errno === 90,
    );
  } finally {
    replaceSys(before);
  }
});
