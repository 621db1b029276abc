import assert from "node:assert/strict";
import { test } from "node:test";
import { type Evidence, explainNamespaceRefusal } from "./namespace-refusal.ts";

const INITIAL = "         0          0 4294967295\n";
const on = (files: Record<string, string>, uid = 1000): Evidence => ({ uid, read: (path) => files[path] });
const why = (errno: string, evidence: Evidence, types: readonly ("user" | "network")[] = ["user"]) =>
  explainNamespaceRefusal(types, errno, evidence)?.message.replace(/^.*?: /, "");

test("explainNamespaceRefusal: each limit of zero is named, in a user namespace as that one's", () => {
  const files = { "/proc/self/uid_map": INITIAL, "/proc/sys/user/max_user_namespaces": "0\n" };
  assert.equal(why("ENOSPC", on(files)), "user.max_user_namespaces is 0");
  assert.equal(why("EUSERS", on(files)), "user.max_user_namespaces is 0");
  assert.equal(
    why("ENOSPC", on({ "/proc/self/uid_map": "0 1000 1", "/proc/sys/user/max_net_namespaces": "0" }), ["network"]),
    "user.max_net_namespaces is 0 in this user namespace",
  );
});

test("explainNamespaceRefusal: a limit above zero is reached, here or outside, or the nesting is too deep", () => {
  const limit = { "/proc/sys/user/max_user_namespaces": "7" };
  assert.equal(
    why("ENOSPC", on({ ...limit, "/proc/self/uid_map": INITIAL })),
    "a limit is reached (user.max_user_namespaces 7)",
  );
  assert.match(why("ENOSPC", on({ ...limit, "/proc/self/uid_map": "0 0 1" })) ?? "", /32 can be nested/);
});

test("explainNamespaceRefusal: settings that forbid it to ordinary users, not to root", () => {
  const debian = { "/proc/sys/kernel/unprivileged_userns_clone": "0\n" };
  const ubuntu = { "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n" };
  assert.equal(why("EPERM", on(debian)), "kernel.unprivileged_userns_clone is 0: ordinary users may not");
  assert.equal(why("EACCES", on(ubuntu)), "kernel.apparmor_restrict_unprivileged_userns is 1");
  assert.equal(why("EPERM", on({ ...debian, ...ubuntu }, 0)), undefined);
  const confined = on({ "/proc/self/attr/current": "docker-default (enforce)\n" });
  assert.match(why("EACCES", confined) ?? "", /^the AppArmor profile docker-default, .* has no rule "userns,"$/);
  assert.equal(why("EACCES", on({ "/proc/self/attr/current": "unconfined\n" })), undefined);
});

test("explainNamespaceRefusal: a seccomp filter, a chroot, a user namespace without maps, a kernel without any", () => {
  const filter = "Name:\ttupper\nSeccomp:\t2\nSeccomp_filters:\t1\n";
  for (const errno of ["EPERM", "ENOSYS"])
    assert.match(why(errno, on({ "/proc/self/status": filter })) ?? "", /^a seccomp filter/);
  assert.equal(why("EPERM", on({ "/proc/self/status": "Seccomp:\t0\n" })), undefined);
  assert.match(why("EPERM", on({ "/proc/self/mountinfo": "22 1 0:5 / /proc rw - proc proc rw\n" })) ?? "", /chroot/);
  assert.equal(why("EPERM", on({ "/proc/self/mountinfo": "22 1 0:5 / / rw - ext4 x rw\n" })), undefined);
  assert.match(why("EPERM", on({ "/proc/self/uid_map": "" })) ?? "", /maps no ids/);
  assert.equal(why("EINVAL", on({})), "this kernel has none");
});
