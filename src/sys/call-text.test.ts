import assert from "node:assert/strict";
import { test } from "node:test";
import { callText } from "./call-text.ts";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_PATH, O_WRONLY } from "./constants.ts";
import { SysError } from "./sys.ts";

const ENOENT = 2;
const textOf = (syscall: string, ...args: unknown[]): string =>
  callText(new SysError(syscall, ENOENT, args)).replace(/ = ENOENT \(No such file or directory\)$/, "");

test("callText: flags of open by their names; the mode only where a file may be made", () => {
  assert.equal(
    textOf("openat", AT_FDCWD, "/srv", O_PATH | O_DIRECTORY | O_CLOEXEC, 0),
    'openat(AT_FDCWD, "/srv", O_PATH|O_DIRECTORY|O_CLOEXEC)',
  );
  assert.equal(textOf("openat", 5, "file", O_CLOEXEC, 0), 'openat(5, "file", O_RDONLY|O_CLOEXEC)');
  assert.equal(
    textOf("openat", AT_FDCWD, "/srv/file", O_WRONLY | O_CREAT, 0o644),
    'openat(AT_FDCWD, "/srv/file", O_WRONLY|O_CREAT, 0644)',
  );
});

test("callText: flags of mount and open_tree, bits without a name in hexadecimal", () => {
  assert.equal(
    textOf("mount", "/srv", "/mnt", null, 4096 | 16384, null),
    'mount("/srv", "/mnt", NULL, MS_BIND|MS_REC, NULL)',
  );
  assert.equal(textOf("mount", "x", "/mnt", "tmpfs", 0, "size=5m"), 'mount("x", "/mnt", "tmpfs", 0, "size=5m")');
  assert.equal(
    textOf("mount", "x", "/mnt", "tmpfs", 2 | (1 << 30), null),
    'mount("x", "/mnt", "tmpfs", MS_NOSUID|0x40000000, NULL)',
  );
  assert.equal(
    textOf("open_tree", AT_FDCWD, "/srv", 0x8000 | 1 | O_CLOEXEC),
    'open_tree(AT_FDCWD, "/srv", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE)',
  );
});

test("callText: modes in octal, other numbers as they are", () => {
  assert.equal(textOf("mkdirat", AT_FDCWD, "/run/x", 0o711), 'mkdirat(AT_FDCWD, "/run/x", 0711)');
  assert.equal(textOf("mkdirat", "/run/x", 0o711), 'mkdirat("/run/x", 0711)');
  assert.equal(textOf("kill", 12, 9), "kill(12, 9)");
});
