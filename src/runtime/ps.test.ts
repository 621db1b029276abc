import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../error.ts";
import { selectProcesses } from "./ps.ts";

test("selectProcesses: the head, and the lines of these processes, wherever the column is", () => {
  const output =
    "UID          PID    PPID CMD\nroot           1       0 init\nroot          12       1 sh -c 13\nroot         123       1 x\n";
  assert.equal(selectProcesses(output, [12]), "UID          PID    PPID CMD\nroot          12       1 sh -c 13\n");
  assert.equal(selectProcesses("CMD   PID\nsh     7\ncat    8\n", [8, 9]), "CMD   PID\ncat    8\n");
  assert.equal(selectProcesses("PID\n", []), "PID\n");
});

test("selectProcesses: without a column of pids nothing can be chosen", () => {
  assert.throws(
    () => selectProcesses("CMD\nsh\n", [1]),
    (error: unknown) => error instanceof ContainerError && error.code === "PS_WITHOUT_PID",
  );
});
