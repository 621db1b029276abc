import assert from "node:assert/strict";
import { test } from "node:test";
import { visibleMountsUnder } from "./mountinfo.ts";

/** Lines of mountinfo: `ID PARENT MOUNTPOINT`. */
const visible = (prefix: string, ...mounts: string[]): string[] =>
  visibleMountsUnder(
    prefix,
    mounts
      .map((mount) => {
        const [id, parent, mountPoint] = mount.split(" ");
        return `${id} ${parent} 0:${id} / ${mountPoint} rw - ext4 /dev/vda rw\n`;
      })
      .join(""),
  ).map(({ id, mountPoint }) => `${id} ${mountPoint}`);

test("visibleMountsUnder: a mount over a directory above hides, one beside it or below does not", () => {
  assert.deepEqual(visible("/", "1 0 /", "2 1 /tmp/a/b", "3 1 /tmp", "4 3 /tmp/c"), ["1 /", "3 /tmp", "4 /tmp/c"]);
  assert.deepEqual(visible("/tmp/", "1 0 /", "2 1 /tmp/a", "3 1 /tmp/ab", "4 2 /tmp/a/x"), [
    "2 /tmp/a",
    "3 /tmp/ab",
    "4 /tmp/a/x",
  ]);
});

test("visibleMountsUnder: what was mounted on a hidden mount is hidden, what is mounted on the one over it is not", () => {
  assert.deepEqual(visible("/a/", "1 0 /", "2 1 /a/b", "3 2 /a/b/c", "4 1 /a", "5 4 /a/b", "6 5 /a/b/c"), [
    "5 /a/b",
    "6 /a/b/c",
  ]);
});

test("visibleMountsUnder: of mounts at one place the last, and a hidden mount hides nothing", () => {
  assert.deepEqual(visible("/a/", "1 0 /", "2 1 /a/b", "3 2 /a/b", "4 3 /a/b/c"), ["3 /a/b", "4 /a/b/c"]);
  // 2 was there before 3, whose directory has the same name.
  assert.deepEqual(visible("/a/", "1 0 /", "2 1 /a/b/c", "3 1 /a/b", "4 3 /a/b/c"), ["3 /a/b", "4 /a/b/c"]);
});

test("visibleMountsUnder: a root that is mounted on itself, as the kernel's first one", () => {
  assert.deepEqual(visible("/a/", "1 1 /", "2 1 /a/b"), ["2 /a/b"]);
});

test("visibleMountsUnder: what is mounted over our root hides nothing, and no path leads to it", () => {
  assert.deepEqual(visible("/", "1 0 /", "2 1 /a", "3 1 /", "4 3 /a", "5 3 /b"), ["1 /", "2 /a"]);
});

test("visibleMountsUnder: where our root is no mount, the mount that it lies in is not listed", () => {
  assert.deepEqual(visible("/", "2 1 /a/b", "3 1 /a", "4 1 /ab"), ["3 /a", "4 /ab"]);
});

test("visibleMountsUnder: many mounts take no time that grows with their square", () => {
  const many = Array.from({ length: 20_000 }, (_, i) => `${i + 2} 1 /a/${i}/b`);
  const start = performance.now();
  assert.equal(visible("/", "1 0 /", ...many).length, 20_001);
  assert.ok(performance.now() - start < 30_000); // a second; by the square more than a minute
});
