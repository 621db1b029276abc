import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ContainerError } from "../error.ts";
import { FULL_CONFIG } from "./full-config.ts";
import { parseConfig, parseProcess, parseResources } from "./parse-config.ts";

type Path = readonly (string | number)[];

/** The paths of all values in a value, its own too. */
function pathsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, member]) => pathsIn(member, [...path, key]))];
}

/** A copy with the value at a path replaced, or left out where it is undefined. */
function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by;
  const copy: unknown = Array.isArray(value) ? [...value] : { ...(value as object) };
  const members = copy as Record<string | number, unknown>;
  members[key] = replaced(members[key], rest, by);
  return copy;
}

/** Nothing but a ContainerError with code and field may come out. */
function takesOrRefuses(parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    assert.ok(error instanceof ContainerError, error instanceof Error ? error.stack : String(error));
    assert.match(error.code, /^CONFIG_/);
    assert.notEqual(error.field, undefined);
    assert.ok(error.message.startsWith(`${error.field} is `), error.message);
  }
}

/** Values that are near to being right, and values that are not. */
const anything = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    ...[undefined, null, "", "/", "\0", "/a\0b", 0, -1, 1.5, 1e300, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 64, true, [], {}],
    ...[[null], [[]], [""], [{}], { path: "/a" }, { type: "pid" }, "a/b", "..", "CAP_X", "SCHED_RR", "bind", "1.0.0"],
  ),
);

for (const [name, valid, parse] of [
  ["parseConfig", FULL_CONFIG, parseConfig],
  ["parseProcess", FULL_CONFIG.process, parseProcess],
  ["parseResources", FULL_CONFIG.linux.resources, parseResources],
] as const) {
  test(`${name}: whatever is changed in a good text, it is taken or refused with the field`, () => {
    const paths = pathsIn(valid);
    const change = fc.tuple(fc.constantFrom(...paths), anything);
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const changed = changes.reduce<unknown>((value, [path, by]) => {
          // An earlier change may have taken away what this path leads through.
          try {
            return replaced(value, path, by);
          } catch {
            return value;
          }
        }, valid);
        takesOrRefuses(() => parse(JSON.stringify(changed) ?? "null"));
      }),
      { numRuns: 3000 },
    );
  });

  test(`${name}: whatever is cut out of a good text or put into it, it is taken or refused with the place`, () => {
    const text = JSON.stringify(valid);
    fc.assert(
      fc.property(fc.nat(text.length), fc.nat(30), fc.string({ maxLength: 5 }), (at, length, insert) => {
        takesOrRefuses(() => parse(text.slice(0, at) + insert + text.slice(at + length)));
      }),
      { numRuns: 2000 },
    );
  });
}

test("parseConfig: each value of a config that is made null is as if it were not there", () => {
  for (const path of pathsIn(FULL_CONFIG).filter(
    (path) => path.length > 0 && !path.some((key) => /^\d+$/.test(String(key))),
  )) {
    const outcome = (by: unknown): unknown => {
      try {
        return parseConfig(JSON.stringify(replaced(FULL_CONFIG, path, by)));
      } catch (error) {
        return error instanceof ContainerError ? error.message : error;
      }
    };
    const isName = ["annotations", "sysctl", "unified", "rdma", "netDevices", "timeOffsets"].includes(
      String(path.at(-2)),
    );
    if (!isName) assert.deepEqual(outcome(null), outcome(undefined), path.join("."));
  }
});
