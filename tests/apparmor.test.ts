/**
 * AppArmor profiles: loaded into the kernel, given to containers, and felt by them.
 *
 * Needs: apparmor, root
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeBundle, makeConfig, newId, running, runtime, runtimeFails, runtimePrints, stateOf } from "./bundle.ts";
import { atEnd, background, fails, pidOf, prints, temporaryDirectory, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const ENABLED = "/sys/module/apparmor/parameters/enabled";
const lacking =
  missing("root", "package:busybox-static", "package:apparmor") ||
  (existsSync(ENABLED) && readFileSync(ENABLED, "utf8").startsWith("Y") ? false : "missing: a kernel with AppArmor");
const needs = { skip: lacking };
const root = lacking ? "" : sharedRootfs({ "srv/": "" });

/** Whose denials are seen: a file that must not be written, another that must not be read. */
const profile = (name: string, denied: string) => `
profile ${name} flags=(attach_disconnected,mediate_deleted) {
  file, capability, mount, umount, pivot_root, signal, network, ptrace, unix, dbus,
  change_profile -> &tupper-a,
  deny ${denied},
}
`;
const file = (): string => {
  const path = join(temporaryDirectory(), "profiles");
  writeFileSync(path, profile("tupper-a", "/tmp/secret w") + profile("tupper-b", "/etc/group r"));
  return path;
};
const parser = (flag: string) => {
  const { status, stderr } = spawnSync("apparmor_parser", [flag, file()], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
};
before(() => lacking || parser("--replace"));
after(() => lacking || parser("--remove"));

const LOOK =
  "cat /proc/self/attr/current; echo x >/tmp/secret && echo wrote; head -n 1 /etc/group >/dev/null && echo read";
const A = {
  stdout: "tupper-a (enforce)\nread\n",
  stderr: "sh: can't create /tmp/secret: Permission denied\n",
  code: 0,
};

const seen = async (flags: readonly string[], script: string, prefix: readonly string[] = []) => {
  const { stdout, stderr, code } = await tupper(["run", ...flags, root, "sh", "-c", script], { prefix });
  return { stdout, stderr, code };
};

test(
  "run --security-opt apparmor=: the command is under the profile, and what it denies is denied",
  needs,
  async () => {
    assert.deepEqual(await seen(["--security-opt", "apparmor=tupper-a"], LOOK), A);
    const free = { stdout: "unconfined\nwrote\nread\n", stderr: "", code: 0 };
    assert.deepEqual(await seen([], LOOK), free);
    assert.deepEqual(await seen(["--security-opt", "apparmor=unconfined"], LOOK), free);
  },
);

test(
  "run --security-opt apparmor=: with no_new_privs, in a user namespace, with --init and for an ordinary user",
  needs,
  async () => {
    for (const more of [
      ["--security-opt", "no-new-privileges"],
      ["--userns", "private"],
      ["--init"],
      ["--user", "1000"],
      ["--read-only", "--tmpfs", "/tmp"],
    ])
      assert.deepEqual(await seen(["--security-opt", "apparmor=tupper-a", ...more], LOOK), A, more.join(" "));
  },
);

test("run: under a profile of the caller the container's is stacked on it with no_new_privs", needs, async () => {
  const flags = ["--security-opt", "apparmor=tupper-a", "--security-opt", "no-new-privileges"];
  const { stdout, stderr } = await seen(flags, LOOK, ["aa-exec", "-p", "tupper-b"]);
  assert.deepEqual(stdout, "tupper-a//&tupper-b (enforce)\n");
  assert.match(stderr, /secret: Permission denied\n.*\/etc\/group: Permission denied\n$/s);
  // Its own takes no other in its place.
  const prefix = ["aa-exec", "-p", "tupper-b"];
  const refused = await fails(["run", "--security-opt", "apparmor=tupper-a", root, "true"], { prefix });
  assert.deepEqual([refused.code, refused.details.config], ["SET_LABELS_FAILED", "process.apparmorProfile"]);
  assert.match(refused.details.hint ?? "", /change_profile/);
});

test("run, create: a profile that is not loaded is named, and nothing is started", needs, async () => {
  const { code, details } = await fails(["run", "--security-opt", "apparmor=tupper-none", root, "true"]);
  assert.deepEqual([code, details.config], ["APPARMOR_PROFILE_MISSING", "process.apparmorProfile"]);
  assert.match(details.hint ?? "", /apparmor_parser/);
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  const bundle = makeBundle(makeConfig(root, { process: { apparmorProfile: "tupper-none" } }));
  assert.match(await runtimeFails(["run", "--bundle", bundle, id]), /^APPARMOR_PROFILE_MISSING: /);
});

test("exec: under the container's profile", needs, async () => {
  const { name } = await background(root, ["--security-opt", "apparmor=tupper-a"]);
  const { stdout, stderr } = await tupper(["exec", name, "sh", "-c", LOOK]);
  assert.deepEqual({ stdout, stderr, code: 0 }, A);
  assert.equal(readFileSync(`/proc/${await pidOf(name)}/attr/current`, "utf8"), "tupper-a (enforce)\n");
  assert.equal(await prints(["exec", name, "cat", "/proc/1/attr/current"]), "tupper-a (enforce)\n");
});

test("tupper-runtime: process.apparmorProfile; exec --apparmor takes another", needs, async () => {
  const id = await running(makeConfig(root, { process: { apparmorProfile: "tupper-a" } }));
  assert.equal(readFileSync(`/proc/${(await stateOf(id)).pid}/attr/current`, "utf8"), "tupper-a (enforce)\n");
  const current = ["cat", "/proc/self/attr/current"];
  assert.equal(await runtimePrints(["exec", id, ...current]), "tupper-a (enforce)\n");
  assert.equal(await runtimePrints(["exec", "--apparmor", "tupper-b", id, ...current]), "tupper-b (enforce)\n");
  assert.match(await runtimeFails(["exec", "--apparmor", "tupper-none", id, "true"]), /^APPARMOR_PROFILE_MISSING: /);
  const features = JSON.parse(await runtimePrints(["features"])) as { linux: { apparmor: { enabled: boolean } } };
  assert.equal(features.linux.apparmor.enabled, true);
});
