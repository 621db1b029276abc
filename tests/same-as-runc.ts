/** The same scenario with runc and with tupper below an engine: both must show the client what is expected. */
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Box } from "./engine-box.ts";
import { binary, eventually, output, type Result } from "./harness.ts";

export type RuntimeName = "runc" | "tupper";

/** What a client shows, apart from what differs from run to run: ids, and the runtime's name that container names end with. */
export interface Seen {
  stdout: string;
  stderr: string;
  code: number | null;
}

/**
 * Performs the scenario with both runtimes, at the same time, and compares what each of them showed with `expected`.
 * That runc is held to it too says that the expectation is the engine's and not ours.
 */
export function sameAsRunc<T>(
  name: string,
  skip: string | false,
  scenario: (runtime: RuntimeName) => Promise<T>,
  expected: T,
): void {
  test(name, { skip }, async () => {
    const [runc, tupper] = await Promise.allSettled([scenario("runc"), scenario("tupper")]);
    assert.deepEqual(settled(runc), expected, "runc");
    assert.deepEqual(settled(tupper), expected, "tupper");
  });
}

/** The last test of a suite: of all its containers nothing is left in the box. */
export function leavesNothing(skip: string | false, box: Box): void {
  test("nothing is left of the containers above: records, control groups, mounts", { skip }, async () => {
    const isNothing = async () => (await box.leftovers()).length === 0;
    await eventually("nothing is left", isNothing).catch(async () => assert.deepEqual(await box.leftovers(), []));
  });
}

function settled<T>(result: PromiseSettledResult<T>): T {
  if (result.status === "rejected") throw result.reason;
  return result.value;
}

export function seen({ stdout, stderr, code }: Result): Seen {
  return { stdout: normalised(stdout), stderr: normalised(stderr), code };
}

/** What a command printed that must have gone well. */
export function printed(result: Result): string {
  const { stdout, stderr, code } = seen(result);
  assert.equal(code, 0, `${stderr}${stdout}`);
  return stdout.trimEnd();
}

/** A failure by its exit code and those words of its message that callers go by. */
export function failure({ code, stdout, stderr }: Result, pattern: RegExp): { code: number | null; says: string } {
  const text = stdout + stderr; // docker exec tells its failures on stdout
  return { code, says: pattern.exec(text.toLowerCase())?.[0] ?? text };
}

function normalised(text: string): string {
  return text.replace(/\b[0-9a-f]{64}\b/g, "ID").replace(/-(runc|tupper)\b/g, "");
}

/** Where the runtime is: tupper goes by the name of its runtime command line. */
export function runtimePath(runtime: RuntimeName, directory: string): string {
  if (runtime === "runc") return output("sh", "-c", "command -v runc").trim();
  const path = join(directory, "tupper-runtime");
  if (!known.has(path)) copyFileSync(binary, path); // the checkout may be closed to ordinary users
  known.add(path);
  return path;
}

const known = new Set<string>();
