import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ATIME_MODES, KNOWN_MOUNT_OPTIONS, parseMountOptions } from "./mount-options.ts";
import { mountsUnder } from "./mountinfo.ts";

/** The gate tries the same each time; FUZZ_SEED tries something else. */
const seed = Number(process.env.FUZZ_SEED ?? 1);
const options = fc.array(fc.oneof(fc.constantFrom(...KNOWN_MOUNT_OPTIONS), fc.string({ maxLength: 8 })), {
  maxLength: 10,
});

test("parseMountOptions: no flag is set and taken back, one access time mode at most, unknown words are the data", () => {
  fc.assert(
    fc.property(options, (list) => {
      const { flags, clear, recursiveFlags, recursiveClear, data } = parseMountOptions(list);
      for (const flag of flags) assert.ok(!clear.includes(flag), flag);
      for (const flag of recursiveFlags) assert.ok(!recursiveClear.includes(flag), flag);
      assert.ok(flags.filter((flag) => ATIME_MODES.includes(flag)).length <= 1);
      const unknown = list.filter((word) => !KNOWN_MOUNT_OPTIONS.includes(word) && !/^r?idmap=/.test(word));
      assert.equal(data, unknown.join(","));
    }),
    { numRuns: 3000, seed },
  );
});

test("parseMountOptions: what is said twice is said once", () => {
  fc.assert(
    fc.property(options, (list) => {
      const known = list.filter((word) => KNOWN_MOUNT_OPTIONS.includes(word));
      const { propagation: _, ...once } = parseMountOptions(known);
      const { propagation: __, ...twice } = parseMountOptions([...known, ...known]);
      const sorted = (value: object) =>
        Object.fromEntries(
          Object.entries(value).map(([key, member]) => [key, Array.isArray(member) ? member.toSorted() : member]),
        );
      assert.deepEqual(sorted(twice), sorted(once));
    }),
    { numRuns: 1000, seed },
  );
});

test("mountsUnder: paths with any characters come back from the kernel's way of writing them", () => {
  const names = fc.array(fc.constantFrom("a", " ", "\t", "\n", "\\", "040", "é", "-", "x"), {
    minLength: 1,
    maxLength: 6,
  });
  const escaped = (path: string) =>
    path.replace(/[ \t\n\\]/g, (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, "0")}`);
  fc.assert(
    fc.property(fc.array(names, { maxLength: 5 }), names, (list, directory) => {
      const prefix = `/${directory.join("")}/`;
      const paths = list.map((name) => `${prefix}${name.join("")}`);
      const mountinfo = ["/", "/other", ...paths]
        .map((path, i) => `${i} 1 0:${i} / ${escaped(path)} rw - tmpfs tmpfs rw\n`)
        .join("");
      assert.deepEqual(
        mountsUnder(prefix, mountinfo).map(({ mountPoint }) => mountPoint),
        paths,
      );
    }),
    { numRuns: 1000, seed },
  );
});
