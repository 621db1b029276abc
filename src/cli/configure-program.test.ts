import assert from "node:assert/strict";
import { test } from "node:test";
import { runtimeProgram } from "./runtime/program.ts";

const command = (name: string) => runtimeProgram.commands.find((one) => one.name() === name);

test("configureProgram: a flag that is only there as --no-NAME is true without it", () => {
  const { newKeyring, pivot, subreaper } = command("run")?.opts() ?? {};
  assert.deepEqual({ newKeyring, pivot, subreaper }, { newKeyring: true, pivot: true, subreaper: true });
  assert.equal(command("exec")?.opts().newPrivs, true);
});
