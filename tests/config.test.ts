/** What other runtimes write is what we read. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { defaultConfig } from "../src/spec/default-config.ts";
import { parseConfig } from "../src/spec/parse-config.ts";
import { temporaryDirectory } from "./harness.ts";
import { missing } from "./missing.ts";

for (const runtime of ["crun", "runc"]) {
  for (const flags of [[], ["--rootless"]]) {
    const command = [runtime, "spec", ...flags].join(" ");
    test(`parseConfig takes what ${command} writes, and changes nothing`, {
      skip: missing(`package:${runtime}`),
    }, () => {
      const bundle = temporaryDirectory();
      execFileSync(runtime, ["spec", ...flags], { cwd: bundle });
      const text = readFileSync(join(bundle, "config.json"), "utf8");
      assert.deepEqual(parseConfig(text), { config: JSON.parse(text), warnings: [] });
    });
  }
}

test("defaultConfig is what runc spec writes, but for the names", { skip: missing("package:runc") }, () => {
  for (const [flags, rootless] of [
    [[], undefined],
    [["--rootless"], { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }],
  ] as const) {
    const bundle = temporaryDirectory();
    execFileSync("runc", ["spec", ...flags], { cwd: bundle });
    const theirs = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8"));
    const ours = defaultConfig({ cgroup2: false, ...(rootless === undefined ? {} : { rootless }) });
    // Since runc 1.2 there are no ambient capabilities, and on cgroup v2 there is a cgroup namespace.
    delete theirs.process.capabilities.ambient;
    theirs.linux.namespaces = theirs.linux.namespaces.filter(({ type }: { type: string }) => type !== "cgroup");
    assert.deepEqual(ours, { ...theirs, hostname: "tupper", ociVersion: "1.3.0" });
  }
});
