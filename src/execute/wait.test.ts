import assert from "node:assert/strict";
import { test } from "node:test";
import { recordingSys } from "../sys/recording.ts";
import { replaceSys } from "../sys/sys.ts";
import { reap, waitFor } from "./wait.ts";

const [EINTR, ECHILD, EINVAL] = [-4, -10, -22];

/** What `act` makes of these answers of the kernel, one for each call; a status is that of exit(3). */
function answered<T>(answers: number[], act: () => T): T {
  const queue = [...answers];
  const before = replaceSys(
    recordingSys({
      wait4: (_pid, status) => {
        const answer = queue.shift() ?? 0;
        if (answer > 0) new Int32Array(status)[0] = 3 << 8;
        return answer;
      },
    }),
  );
  try {
    return act();
  } finally {
    replaceSys(before);
    assert.deepEqual(queue, []);
  }
}

test("waitFor, reap: how a child ended, past interruptions", () => {
  for (const wait of [waitFor, reap])
    assert.deepEqual(
      answered([EINTR, EINTR, 7], () => wait(7)),
      { state: "exited", code: 3 },
    );
});

test("waitFor: a child of whose end nobody knows has not ended well", () => {
  assert.throws(() => answered([ECHILD], () => waitFor(7)), { name: "SysError", code: "ECHILD", syscall: "wait4" });
  assert.equal(
    answered([EINTR, ECHILD], () => reap(7)),
    undefined,
  );
});

test("waitFor, reap: another failure is thrown", () => {
  for (const wait of [waitFor, reap])
    assert.throws(() => answered([EINVAL], () => wait(7)), { name: "SysError", code: "EINVAL" });
});
