/** What other runtimes write is what we read. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { defaultConfig } from "../src/spec/default-config.ts";
import { parseConfig } from "../src/spec/parse-config.ts";
import { binary, temporaryDirectory } from "./harness.ts";
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

const runtime = (args: readonly string[], cwd: string) =>
  spawnSync(binary, args, { argv0: "tupper-runtime", cwd, encoding: "utf8" });

test("spec: writes a config that is taken, and no other over one that is there", () => {
  const bundle = temporaryDirectory();
  const { status, stdout, stderr } = runtime(["spec"], bundle);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "", stderr: "" });
  const text = readFileSync(join(bundle, "config.json"), "utf8");
  assert.match(text, /^\{\n\t"ociVersion": "1\.3\.0",\n\t"process": \{\n\t\t"terminal": true,/);
  const cgroup2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
  assert.deepEqual(parseConfig(text), { config: defaultConfig({ cgroup2 }), warnings: [] });
  const again = runtime(["spec", "--rootless", "--bundle", bundle], "/");
  assert.equal(again.status, 1);
  assert.ok(again.stderr.startsWith(`error: ${bundle}/config.json exists: remove it first (SPEC_UNWRITABLE)\n`));
  assert.equal(readFileSync(join(bundle, "config.json"), "utf8"), text);
});

test("spec --rootless: the caller is root in it", () => {
  const bundle = temporaryDirectory();
  assert.equal(runtime(["spec", "--rootless", "--bundle", bundle], "/").status, 0);
  const { linux } = parseConfig(readFileSync(join(bundle, "config.json"), "utf8")).config;
  assert.deepEqual(linux.uidMappings, [{ containerID: 0, hostID: process.geteuid?.(), size: 1 }]);
});

test("features: JSON with two spaces, the same that the function says", () => {
  const { status, stdout, stderr } = runtime(["features"], "/");
  assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
  const printed = JSON.parse(stdout);
  assert.equal(stdout, `${JSON.stringify(printed, null, 2)}\n`);
  assert.deepEqual(
    [printed.ociVersionMin, printed.ociVersionMax, printed.linux.seccomp.enabled, printed.linux.cgroup.v2],
    ["1.0.0", "1.3.0", true, true],
  );
});
