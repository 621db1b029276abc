import assert from "node:assert/strict";
import { test } from "node:test";
import { recordingSys } from "../sys/recording.ts";
import { replaceSys } from "../sys/sys.ts";
import { homeIn, withHome } from "./home.ts";

const PASSWD =
  "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\nnobody:x:65534:65534:::\n";

test("homeIn: the user's directory; / for who is not there or has none", () => {
  assert.deepEqual(
    [0, 1000, 65534, 7].map((uid) => homeIn(PASSWD, uid)),
    ["/root", "/home/alice", "/", "/"],
  );
});

test("withHome: an empty HOME is none", () => {
  const before = replaceSys(recordingSys({ openat: -2 }));
  try {
    assert.deepEqual(withHome(["A=b", "HOME="], 0), ["A=b", "HOME=/"]);
  } finally {
    replaceSys(before);
  }
});

test("withHome: a passwd that is no regular file is not read", () => {
  const recorder = recordingSys({ openat: 5 });
  const before = replaceSys(recorder);
  try {
    assert.deepEqual(withHome([], 0), ["HOME=/"]);
    assert.deepEqual(
      recorder.calls.map(({ name }) => name),
      ["openat", "statx", "close"],
    );
  } finally {
    replaceSys(before);
  }
});
