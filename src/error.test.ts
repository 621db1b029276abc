import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "./error.ts";
import { SysError } from "./sys/sys.ts";

test("ContainerError: a quota is of space, or of keys", () => {
  const hint = (syscall: string) =>
    new ContainerError("NEW_KEYRING_FAILED", "no", { cause: new SysError(syscall, 122, []) }).hint;
  assert.equal(hint("mkdirat"), "free some space there");
  assert.match(hint("keyctl") ?? "", /\/proc\/sys\/kernel\/keys\/maxkeys/);
});
