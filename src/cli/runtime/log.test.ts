import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import { SysError } from "../../sys/sys.ts";
import { oneLine } from "./log.ts";

test("oneLine: the kernel's words begin with a small letter, as Docker looks for them", () => {
  const cause = new SysError("execve", 13, ["/etc/passwd"]);
  const error = new ContainerError("COMMAND_NOT_EXECUTABLE", "cannot execute /etc/passwd", { field: "process", cause });
  assert.equal(
    oneLine(error),
    'cannot execute /etc/passwd: execve("/etc/passwd") = EACCES (permission denied) (config: process; COMMAND_NOT_EXECUTABLE)',
  );
});
