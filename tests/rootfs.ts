/** Root filesystems for tests: busybox with its applets, and what a test adds. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before } from "node:test";
import { atEnd, output } from "./harness.ts";

const PASSWD = `root:x:0:0:root:/root:/bin/sh
alice:x:1000:1000:Alice:/home/alice:/bin/sh
bob:x:1001:100:Bob:/:/bin/sh
`;
const GROUP = `root:x:0:
disk:x:6:alice
users:x:100:
staff:x:50:alice,bob
alice:x:1000:
`;

/** A path, and what is there: text, a program of the machine that is copied, or a directory when the path ends in "/". */
export type Files = Readonly<
  Record<string, string | { copyOf: string; mode?: number } | { text: string; mode: number }>
>;

/** Makes the usual root filesystem, with these files too, in an empty directory. */
export function fillRootfs(root: string, files: Files = {}): string {
  chmodSync(root, 0o755);
  for (const name of ["bin", "dev", "etc", "home/alice", "proc", "root", "run", "sys", "tmp", "usr", "var"])
    mkdirSync(join(root, name), { recursive: true });
  chmodSync(join(root, "tmp"), 0o1777);
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  for (const applet of applets()) if (applet !== "busybox") symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "etc/passwd"), PASSWD);
  writeFileSync(join(root, "etc/group"), GROUP);
  writeFileSync(join(root, "CONTAINER_ROOT_DIR"), "inside\n");
  for (const [path, what] of Object.entries(files)) {
    const target = join(root, path);
    mkdirSync(path.endsWith("/") ? target : dirname(target), { recursive: true });
    if (path.endsWith("/")) continue;
    if (typeof what === "string") writeFileSync(target, what);
    else if ("copyOf" in what) copyFileSync(what.copyOf, target);
    else writeFileSync(target, what.text);
    if (typeof what !== "string" && what.mode !== undefined) chmodSync(target, what.mode);
  }
  return root;
}

let known: string[] | undefined;
function applets(): string[] {
  known ??= output("/bin/busybox", "--list").trim().split("\n");
  return known;
}

/** A root filesystem for one test. */
export function makeRootfs(files: Files = {}): string {
  const root = mkdtempSync(join(tmpdir(), "tupper-rootfs-"));
  atEnd(() => rmSync(root, { recursive: true, force: true }));
  return fillRootfs(root, files);
}

/** A root filesystem for a suite whose tests do not write to it; that they did not is checked at its end. */
export function sharedRootfs(files: Files = {}): string {
  const root = mkdtempSync(join(tmpdir(), "tupper-rootfs-"));
  const listing = () => output("find", root, "-printf", "%p %y %m %U %G %s\\n").split("\n").sort().join("\n");
  let made = "";
  before(() => {
    fillRootfs(root, files);
    made = listing();
  });
  after(() => {
    const found = listing();
    rmSync(root, { recursive: true, force: true });
    if (found !== made) {
      const before = new Set(made.split("\n"));
      const changed = found.split("\n").filter((line) => !before.has(line));
      throw new Error(`a run with an overlay changed the directory it was given:\n${changed.join("\n")}`);
    }
  });
  return root;
}
