import assert from "node:assert/strict";
import { test } from "node:test";
import { recordingSys } from "../sys/recording.ts";
import { replaceSys } from "../sys/sys.ts";
import { Following } from "./ptrace.ts";

const ECHILD = -10;
const NO_SIGNAL = 0;
const [EXECUTED, STOPPED, CONTINUED, TERMINATED, KILLED] = [0x4057f, 0x80137f, 0x80057f, 0x0f7f, 9];
const NAMES: Readonly<Record<number, string>> = { 7: "CONT", 24: "SYSCALL", 16896: "SETOPTIONS", 16904: "LISTEN" };

/** What is done about these wait statuses of process 7, of which there is nothing more to hear then; and what it is said to have come to. */
function followed(statuses: number[], act: (following: Following) => number | undefined) {
  const queue = [...statuses];
  const wait4 = (_pid: unknown, buffer: ArrayBuffer): number => {
    const status = queue.shift();
    if (status === undefined) return ECHILD;
    new Int32Array(buffer)[0] = status;
    return 7;
  };
  const recorder = recordingSys({ wait4, ppoll: [0, NO_SIGNAL, 1] });
  const before = replaceSys(recorder);
  try {
    const end = act(new Following({}));
    const done = recorder.calls.filter(({ name }) => name === "ptrace").map(({ args }) => NAMES[Number(args[0])]);
    return { end, done };
  } finally {
    replaceSys(before);
  }
}

test("Following: an init process that is held by a signal while its parent waits for a message goes on", () => {
  const act = (following: Following) => {
    following.awaitMessage(7, 3);
    return undefined;
  };
  assert.deepEqual(followed([STOPPED, CONTINUED, TERMINATED], act), {
    end: undefined,
    done: ["LISTEN", "CONT", "CONT"],
  });
});

test("Following: an end that is seen before anybody asks for it is told whenever somebody does", () => {
  const act = (following: Following) => {
    following.awaitMessage(7, 3);
    return following.handleStops(7);
  };
  assert.deepEqual(followed([KILLED], act), { end: KILLED, done: [] });
  assert.deepEqual(followed([EXECUTED, KILLED], act), { end: KILLED, done: ["SETOPTIONS", "SYSCALL"] });
});
