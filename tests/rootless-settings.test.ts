/**
 * What an administrator can set against user namespaces: only in a virtual machine, because it is set for all of it.
 *
 * Needs: root, systemd, apparmor
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { atEnd, binary, fails, prints, temporaryDirectory, type User, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const skip =
  (process.env.TUPPER_PLACE === undefined && "only in a virtual machine") ||
  missing("root", "file:/sys/kernel/security/apparmor", "file:/proc/sys/kernel/unprivileged_userns_clone");
const user: User = { name: "tupper", uid: 1000, gid: 1000, home: "/home/tupper" };

const refused = async () => {
  const { code, message, details } = await fails(["run", root, "true"], { user });
  return { code, message: message.replace("the kernel makes no new user namespaces: ", ""), hint: details.hint ?? "" };
};

test("run where kernel.unprivileged_userns_clone is 0: it is named, with how to set it", { skip }, async () => {
  const set = (value: number) => execFileSync("sysctl", ["-q", "-w", `kernel.unprivileged_userns_clone=${value}`]);
  set(0);
  atEnd(() => set(1));
  const { code, message, hint } = await refused();
  assert.equal(code, "NAMESPACE_REFUSED");
  assert.equal(message, "kernel.unprivileged_userns_clone is 0: ordinary users may not");
  assert.match(hint, /sysctl -w kernel\.unprivileged_userns_clone=1/);
});

test("run where user.max_user_namespaces is 0 for the whole machine: it is named", { skip }, async () => {
  const before = execFileSync("sysctl", ["-n", "user.max_user_namespaces"], { encoding: "utf8" }).trim();
  const set = (value: string) => execFileSync("sysctl", ["-q", "-w", `user.max_user_namespaces=${value}`]);
  set("0");
  atEnd(() => set(before));
  const { code, message } = await refused();
  assert.deepEqual([code, message], ["NAMESPACE_REFUSED", "user.max_user_namespaces is 0"]);
});

test("run under an AppArmor profile without the rule userns: the profile is named, and with the rule it works", {
  skip,
}, async () => {
  const file = join(temporaryDirectory(), "profile");
  const load = (rule: string) => {
    writeFileSync(
      file,
      `abi <abi/4.0>,
profile tupper_test ${binary} flags=(attach_disconnected) {
  / r, /** rwlixmk, capability, mount, umount, pivot_root, signal, ptrace, network, unix, dbus, ${rule}
}
`,
    );
    execFileSync("apparmor_parser", ["-r", file]);
  };
  load("");
  atEnd(() => spawnSync("apparmor_parser", ["-R", file]));
  const { code, message } = await refused();
  assert.equal(code, "NAMESPACE_REFUSED");
  assert.equal(message, 'the AppArmor profile tupper_test, under which tupper runs, has no rule "userns,"');
  load("userns,");
  await prints(["run", root, "true"], { user });
});
