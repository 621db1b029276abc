/**
 * Each fault of tests/faults, planted for real: tupper names its cause and what would mend it. The table beside other runtimes is
 * docs/faults.md, by tests/faults/table.ts. Its faults are those of one machine.
 *
 * Needs: checkout
 */
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FAULT_GROUPS, FAULTS } from "./faults/all.ts";
import { ENGINE_WORDS } from "./faults/engine-words.ts";
import { meet, removeFaultGroups } from "./faults/fault.ts";
import { fillBrokenRootfs } from "./faults/rootfs.ts";
import { atEnd, binary, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";

watchForLeftovers();
const skip = missing("root", "package:busybox-static", "package:libcap2-bin", "package:util-linux");

test("there are at least 60 faults, each with a name of its own", () => {
  assert.ok(FAULTS.length >= 60, `${FAULTS.length}`);
  assert.equal(new Set(FAULTS.map(({ name }) => name)).size, FAULTS.length);
});

test("what engines are asked is asked for faults that there are, of 15 at least", () => {
  const known = new Set(FAULTS.map(({ name }) => name));
  assert.deepEqual(
    Object.keys(ENGINE_WORDS).filter((name) => !known.has(name)),
    [],
  );
  assert.ok(Object.keys(ENGINE_WORDS).length >= 15);
});

const base = mkdtempSync(join(tmpdir(), "tupper-faults-"));
const tupper = { name: "tupper", argv0: "tupper-runtime", file: join(base, "tupper") };
before(() => {
  chmodSync(base, 0o755); // ordinary users are among those who meet faults
  mkdirSync(join(base, "rootfs"));
  if (skip === false) fillBrokenRootfs(join(base, "rootfs"));
  copyFileSync(binary, tupper.file);
  chmodSync(tupper.file, 0o755);
});
after(() => rmSync(base, { recursive: true, force: true }));

for (const [what, faults] of Object.entries(FAULT_GROUPS))
  test(`tupper names cause and remedy: ${what}`, { skip, timeout: 300_000 }, () => {
    atEnd(removeFaultGroups);
    const wrong = faults.flatMap((fault) => {
      if (fault.skip) return [];
      const { text, code, cause, remedy } = meet(fault, tupper, base);
      const isClean = !/fault of tupper|INTERNAL|undefined/.test(text);
      if (cause && remedy && isClean) return [];
      const lacks = [...(cause ? [] : [`cause ${fault.cause}`]), ...(remedy ? [] : [`remedy ${fault.remedy}`])];
      return [`${fault.name} (exit code ${code}): without ${lacks.join(" and ")}:\n${text}`];
    });
    assert.deepEqual(wrong, []);
  });
