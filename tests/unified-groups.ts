/** Control groups of cgroup v2, for suites that need it. */
import { existsSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { newId } from "./bundle.ts";
import { atEnd, output } from "./harness.ts";

export const CGROUPS = "/sys/fs/cgroup";

export const read = (path: string, file: string): string => readFileSync(join(CGROUPS, path, file), "utf8").trim();
export const groupOf = (pid: number | "self"): string =>
  readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().replace("0::", "");

/** A path of a group; it and those below are removed at the end of the test. */
export function ownPath(): string {
  const path = `/tupper-test-${newId()}`;
  atEnd(() => {
    if (!existsSync(join(CGROUPS, path))) return;
    const found = output("find", join(CGROUPS, path), "-depth", "-type", "d").trim().split("\n");
    for (const directory of found) rmdirSync(directory);
  });
  return path;
}
