/** What forbids a user namespace or a map: each is set up for real where this machine can, and the error must name it. */
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  atEnd,
  binary,
  binaryFor,
  fails,
  type Options,
  output,
  prints,
  sees,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const root = sharedRootfs();
const needs = { skip: missing("root", "package:passwd", "package:busybox-static", "package:util-linux") };
const needsMap = { skip: needs.skip || missing("package:uidmap", "file:/etc/subuid") };

const refused = async (prefix: readonly string[], options: Options = {}) => {
  const { code, message, details } = await fails(["run", root, "true"], { user: users.bare, prefix, ...options });
  return { code, message: message.replace("the kernel makes no new user namespaces: ", ""), hint: details.hint ?? "" };
};

/** As root of a user namespace of the user's own, in which limits may be set. */
const inside = (script: string) => ["unshare", "-Ur", "sh", "-c", `${script}\nexec "$@"`, "sh"];

for (const name of ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"])
  test(`run where user.max_${name}_namespaces is 0: it is named, with how to raise it`, needs, async () => {
    const { code, message, hint } = await refused(inside(`echo 0 >/proc/sys/user/max_${name}_namespaces`));
    assert.equal(code, "NAMESPACE_REFUSED");
    assert.equal(message, `user.max_${name}_namespaces is 0 in this user namespace`);
    assert.match(hint, new RegExp(`sysctl -w user.max_${name}_namespaces=`));
  });

test("run where a limit on user namespaces is reached: the limits that are in force are told", needs, async () => {
  // One for a process that stays, none for tupper.
  const script = "echo 1 >/proc/sys/user/max_user_namespaces; unshare -U sleep 2 >/dev/null 2>&1 & sleep 0.2";
  const { code, message } = await refused(inside(script));
  assert.equal(code, "NAMESPACE_REFUSED");
  assert.match(message, /^a limit is reached; those in this user namespace are user\.max_user_namespaces 1, /);
});

test("run in the innermost of nested user namespaces: nesting is named", needs, async () => {
  const nest =
    'if [ "$1" -gt 0 ]; then n=$1; shift; exec unshare -Ur sh -c "$NEST" sh $((n-1)) "$@"; else shift; exec "$@"; fi';
  const { code, message } = await refused(["sh", "-c", 'exec sh -c "$NEST" sh 33 "$@"', "sh"], { env: { NEST: nest } });
  assert.equal(code, "NAMESPACE_REFUSED");
  assert.match(message, /32 can be nested in each other$/);
});

test("run under a seccomp filter that denies new namespaces: the filter is named", needs, async () => {
  const { code, details, message } = await fails(["run", "host", binaryFor(users.bare), "run", "host", "true"], {
    user: users.bare,
  });
  assert.equal(code, "NAMESPACE_REFUSED");
  assert.match(message, /a seccomp filter around tupper forbids it/);
  assert.match(details.hint ?? "", /--privileged/);
});

test("run in a chroot: the chroot is named", needs, async () => {
  const place = temporaryDirectory();
  for (const directory of ["proc", "tmp", dirname(binary)]) mkdirSync(join(place, directory), { recursive: true });
  chmodSync(join(place, "tmp"), 0o777);
  copyFileSync(binary, join(place, binary));
  output("mount", "--bind", "/proc", join(place, "proc"));
  atEnd(() => output("umount", join(place, "proc")));
  const { stderr } = await tupper(["run", "host", "true"], {
    prefix: ["chroot", `--userspec=${users.bare.uid}:${users.bare.gid}`, place],
    env: { XDG_RUNTIME_DIR: undefined },
  });
  assert.match(
    stderr,
    /^error: the kernel makes no new user namespaces: we are in a chroot: .* \(NAMESPACE_REFUSED\)$/m,
  );
});

test("run of a directory in a namespace whose /proc is covered in part: what covers it is named", needs, async () => {
  const prefix = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs t /proc/acpi && exec "$@"', "sh"];
  const { code, hint } = await refused(prefix);
  assert.equal(code, "MOUNT_FAILED");
  assert.match(
    hint,
    /^in a user namespace a new proc is made only where a whole one is in sight, and here \/proc\/acpi is mounted over/,
  );
  // Its processes shared, the /proc that there is will do.
  await prints(["run", "--pid", "host", root, "true"], {
    user: users.bare,
    prefix,
  });
});

/** The user's command in a mount namespace where root has done something to newuidmap or the files. */
const withMachine = (script: string, before = ""): readonly string[] => [
  "unshare",
  "-m",
  "sh",
  "-c",
  `set -e; ${script}\nexec ${before} setpriv --reuid ${users.user.uid} --regid ${users.user.gid} --clear-groups "$@"`,
  "sh",
];

const asUser = (): Options => ({
  env: { HOME: users.user.home, USER: users.user.name, XDG_RUNTIME_DIR: users.user.home },
});

for (const [what, script, before, pattern, remedy] of [
  [
    "is not set-user-id",
    'd=$(mktemp -d); cp /usr/bin/newuidmap "$d/n"; mount --bind "$d/n" /usr/bin/newuidmap; rm -r "$d"',
    "",
    /\/usr\/bin\/newuidmap is neither set-user-id root nor has file capabilities$/,
    /chmod u\+s \/usr\/bin\/newuidmap, or setcap cap_setuid\+ep/,
  ],
  [
    "lies on a filesystem mounted nosuid",
    "mount --bind /usr/bin/newuidmap /usr/bin/newuidmap; mount -o remount,bind,nosuid /usr/bin/newuidmap",
    "",
    /lies on a filesystem that is mounted nosuid$/,
    /without nosuid/,
  ],
  ["may gain nothing", ":", "setpriv --no-new-privs", /no_new_privs/, /NoNewPrivileges=/],
] as const)
  test(`run as an ordinary user: newuidmap ${what}`, needsMap, async () => {
    const { code, message, details } = await fails(["run", root, "true"], {
      ...asUser(),
      prefix: [...withMachine(script, before), binaryFor(users.user)].slice(0, -1),
    });
    assert.equal(code, "ID_MAP_REFUSED");
    assert.match(message, pattern);
    assert.match(details.hint ?? "", remedy);
  });

test("run as an ordinary user: newuidmap is not installed: one id, and a warning that says so", needsMap, async () => {
  const { stdout, stderr, code } = await tupper(["run", root, "sh", "-c", "wc -l </proc/self/uid_map"], {
    ...asUser(),
    prefix: withMachine("mount --bind /dev/null /usr/bin/newuidmap"),
  });
  assert.deepEqual({ stdout, code }, { stdout: "1\n", code: 0 }, stderr);
  assert.match(stderr, /^warning: .*single user and group.*newuidmap and newgidmap are not installed.*\n$/);
});

test(
  "run as an ordinary user: no range in /etc/subuid: one id, and a warning that says so and how to get one",
  needs,
  async () => {
    const { stdout, stderr, code } = await tupper(["run", root, "id", "-u"], { user: users.bare });
    assert.deepEqual({ stdout, code }, { stdout: "0\n", code: 0 });
    assert.match(stderr, /^warning: .*\/etc\/subuid has no range for you \(root adds one: usermod --add-subuids .*\n$/);
    // Who names the map knows.
    const own = `0:${users.bare.uid}:1`;
    await prints(["run", "--uidmap", own, "--gidmap", `0:${users.bare.gid}:1`, root, "true"], { user: users.bare });
  },
);

test("run --uidmap as an ordinary user: ids that are not the own ones: the own ones are told", needsMap, async () => {
  const { code, message, details } = await fails(["run", "--uidmap", "0:7:2", root, "true"], { user: users.user });
  assert.equal(code, "ID_MAP_REFUSED");
  assert.match(message, /; \/etc\/subuid gives you \d+-\d+, not 7-8$/);
  assert.match(details.hint ?? "", /usermod --add-subuids/);
});

test("run as an ordinary user on a kernel below 5.11: the root is copied, and that is said", needs, async () => {
  const directory = makeRootfs();
  output("chown", "-R", `${users.bare.uid}:${users.bare.gid}`, directory);
  const old: Options = { user: users.bare, prefix: ["setarch", "--uname-2.6"] };
  const own = ["--uidmap", `0:${users.bare.uid}:1`, "--gidmap", `0:${users.bare.gid}:1`];
  const { stdout, stderr } = await tupper(
    ["run", ...own, directory, "sh", "-c", "echo x >/made && cat /made && grep -c ' / / .*tmpfs' /proc/self/mountinfo"],
    old,
  );
  assert.equal(stdout, "x\n1\n");
  assert.match(
    stderr,
    /^warning: the root is copied to memory, .*Linux 2\.6 makes no overlay in a user namespace \(5\.11 does\)\n$/,
  );
  for (const args of [["--root-kind", "overlay", directory], ["host"]])
    assert.equal((await fails(["run", ...own, ...args, "true"], old)).code, "OVERLAY_REFUSED");
  assert.equal(await sees(directory, [...own, "--root-kind", "copy"], "echo y", old), "y\n");
});

test("run as root of a user namespace: its ids are kept, the state lies where it may be", needsMap, async () => {
  const prefix = ["unshare", "-Ur", "--map-auto"];
  const map = await prints(["run", root, "cat", "/proc/self/uid_map"], { user: users.user, prefix });
  assert.match(map, /^ +0 +0 +1\n +1 +1 +\d+\n$/);
});
