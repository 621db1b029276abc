import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ContainerError } from "../../../error.ts";
import { homeIn } from "../../../execute/home.ts";
import { containerUser } from "./user.ts";

/** The gate tries the same each time; FUZZ_SEED tries something else. */
const seed = Number(process.env.FUZZ_SEED ?? 1);
const field = fc.oneof(
  fc.constantFrom(
    "root",
    "alice",
    "audio",
    "0",
    "1000",
    "-1",
    "4294967295",
    "99999999999999999999",
    "",
    "1e3",
    "0x10",
    " 5",
    "a,b",
    "__proto__",
  ),
  fc.string({ maxLength: 6 }),
);
const line = fc.array(field, { maxLength: 8 }).map((fields) => fields.join(":"));
const good = fc.constantFrom("root:x:0:0::/root:/bin/sh", "alice:x:1000:100::/home/a:/bin/sh", "audio:x:29:alice,root");
const file = fc.array(fc.oneof(line, good), { maxLength: 8 }).map((lines) => lines.join("\n"));

test("containerUser: whatever the files of the image say, ids are ids, or there is an error", () => {
  let found = 0;
  fc.assert(
    fc.property(
      file,
      file,
      fc.array(field, { maxLength: 2 }),
      fc.array(field, { maxLength: 2 }),
      (passwd, group, user, groupAdd) => {
        try {
          const { user: ids, home } = containerUser({ user: user.join(":"), groupAdd }, { passwd, group }, undefined);
          for (const id of [ids.uid, ids.gid, ...(ids.additionalGids ?? [])])
            assert.ok(Number.isInteger(id) && Number(id) >= 0 && Number(id) < 2 ** 32 - 1, `${id}`);
          assert.equal(typeof home, "string");
          found++;
        } catch (error) {
          assert.ok(error instanceof ContainerError, error instanceof Error ? error.stack : String(error));
          assert.match(error.field ?? "", /^--/);
        }
      },
    ),
    { numRuns: 3000, seed },
  );
  assert.ok(found > 20, `only ${found} users were found`);
});

test("homeIn: a home of the file, or /", () => {
  fc.assert(
    fc.property(file, fc.nat(2000), (passwd, uid) => {
      const home = homeIn(passwd, uid);
      assert.ok(home === "/" || (home !== "" && passwd.includes(home)), home);
    }),
    { numRuns: 1000, seed },
  );
});
