import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import { recordingSys, type Script } from "../../sys/recording.ts";
import { replaceSys } from "../../sys/sys.ts";
import { makeTracer } from "../tracer.ts";
import type { InitContext } from "./context.ts";
import { fileSteps } from "./files.ts";
import { processSteps } from "./process.ts";

/** What is called when the process goes to /data and becomes uid 7. */
function calls(script: Script): string[] {
  const recorder = recordingSys({
    getcwd: (buffer) => new Uint8Array(buffer).set([47, 0]) ?? 2, // "/" and NUL
    ...script,
  });
  const before = replaceSys(recorder);
  const why = { by: "init", because: "" } as const;
  const context: InitContext = { channel: 9, tracer: makeTracer("off"), slots: new Map(), freshMounts: new Set() };
  try {
    fileSteps.changeDirectory({ op: "changeDirectory", path: "/data", inside: true, ...why }, context);
    processSteps.setUser({ op: "setUser", uid: 7, gid: 7, groups: [], ...why }, context);
  } finally {
    replaceSys(before);
  }
  return recorder.calls.map(({ name }) => name).filter((name) => name === "chdir" || name === "setresuid");
}

test("changeDirectory: what only the command's user may enter is entered when the process is that user", () => {
  assert.deepEqual(calls({}), ["chdir", "setresuid"]);
  assert.deepEqual(calls({ chdir: [-13, 0] }), ["chdir", "setresuid", "chdir"]);
});

test("changeDirectory: what neither may enter is an error of the directory", () => {
  assert.throws(
    () => calls({ chdir: [-13, -13] }),
    (error) => error instanceof ContainerError && error.code === "CHANGE_DIRECTORY_FAILED",
  );
});
