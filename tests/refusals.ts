/** What a command of the OCI runtime says when the machine refuses it something. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type RuntimeOptions, type RuntimeResult, runtime, runtimePrints } from "./bundle.ts";
import { output } from "./harness.ts";

export interface Refusal {
  code: string;
  message: string;
  /** The lines below it. */
  field: string | undefined;
  kernel: string | undefined;
  hint: string | undefined;
}

/** One error in the house's form and nothing else, with the exit code of a failure; not one of tupper's own faults. */
export function refusalOf({ stdout, stderr, code }: RuntimeResult, verb = "create"): Refusal {
  const lines = stderr.replace(/^(warning: .*\n)+/, "").split("\n");
  const match = /^error: (.+) \(([A-Z][A-Z0-9_]*)\)$/.exec(lines[0] ?? "");
  assert.ok(match, `exit ${code}, no error in the house's form: ${stderr}`);
  assert.deepEqual({ stdout, code }, { stdout: "", code: verb === "exec" ? 255 : 1 }, stderr);
  const [, message = "", name = ""] = match;
  assert.notEqual(name, "INTERNAL", stderr);
  assert.ok(message.length < 2000, `a sentence of ${message.length} letters`);
  const detail = (label: RegExp) => lines.map((line) => label.exec(line)?.[1]).find((text) => text !== undefined);
  for (const line of lines.slice(1)) assert.match(line, /^( {2}(config|flag|arg|kernel|found|hint): +\S.*)?$/, stderr);
  const [field, kernel, hint] = [/^ {2}(?:config|flag|arg): +(.+)$/, /^ {2}kernel: +(.+)$/, /^ {2}hint: +(.+)$/].map(
    detail,
  );
  return { code: name, message, field, kernel, hint };
}

/** Nothing of a container is there, and its ID can be used. */
export async function assertFree(id: string, bundle: string, options: RuntimeOptions = {}): Promise<void> {
  assert.equal(existsSync(join("/run/tupper-runtime", id)), false, "its record is left");
  assert.equal(output("find", "/sys/fs/cgroup", "-type", "d", "-name", `tupper-${id}`), "", "its groups are left");
  await runtimePrints(["create", "--bundle", bundle, id], options);
  await runtimePrints(["delete", id], options);
}

/** What is tried at each step of a limit: it succeeds, or is refused and leaves nothing. */
export async function createdOrRefused(
  id: string,
  bundle: string,
  options: RuntimeOptions,
): Promise<Refusal | undefined> {
  const result = await runtime(["create", "--bundle", bundle, id], options);
  if (result.code === 0) {
    assert.equal(result.stderr, "");
    await runtimePrints(["delete", id]);
    return undefined;
  }
  const refusal = refusalOf(result);
  assert.equal(existsSync(join("/run/tupper-runtime", id)), false, "its record is left");
  return refusal;
}
