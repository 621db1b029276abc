/** What a rootless container must not gain: nothing that its user could not do outside. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, runtime } from "./bundle.ts";
import {
  atEnd,
  background,
  binaryFor,
  environmentOf,
  fails,
  output,
  pidOf,
  prints,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { single, withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const root = sharedRootfs();
const needs = { skip: missing("root", "package:passwd", "package:busybox-static") };
const needsMap = { skip: needs.skip || missing("package:uidmap", "file:/etc/subuid") };

/** A group of cgroup v2 that is the user's, as systemd gives each one. */
function delegatedGroup(uid: number): string {
  const mountPoint = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].find((path) =>
    existsSync(`${path}/cgroup.controllers`),
  );
  const group = `${mountPoint}/tupper-test-${newId()}`;
  mkdirSync(group);
  // With the group for the callers in it, where tupper has made one.
  atEnd(() => output("find", group, "-depth", "-type", "d", "-delete"));
  for (const path of [group, ...["procs", "subtree_control"].map((name) => `${group}/cgroup.${name}`)])
    chownSync(path, uid, 0);
  return group;
}

/** Makes a group wherever it may, and says where; says then that it has ended. */
const MAKE_GROUPS = `find /sys/fs/cgroup -type d | while read -r group; do
  mkdir $group/mine 2>/dev/null && rmdir $group/mine && echo "writes $group"
done; echo ended`;

const PROC = { destination: "/proc", type: "proc", source: "proc" };
const DEV = { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] };
const SYS_TMPFS = { destination: "/sys", type: "tmpfs", source: "tmpfs" };
const SYS_BOUND = {
  destination: "/sys",
  type: "none",
  source: "/sys",
  options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
};

for (const { how, prefix, isOwn, sys } of [
  { how: "in a user namespace of the caller", prefix: ["unshare", "-U", "-r"], isOwn: false, sys: SYS_TMPFS },
  { how: "with a user namespace of its own", prefix: [], isOwn: true, sys: SYS_TMPFS },
  { how: "with a user namespace of its own and the machine's /sys", prefix: [], isOwn: true, sys: SYS_BOUND },
])
  test(`run ${how}: in the machine's cgroup namespace the user's groups are not the container's (CVE-2023-25809)`, {
    skip: needs.skip || missing("cgroup2", "package:util-linux"),
  }, () => {
    const { user } = users;
    const group = delegatedGroup(user.uid);
    const own = { containerID: 0, size: 1 };
    const says = (option: "ro" | "rw"): string => {
      const cgroup = ["nosuid", "noexec", "nodev", "relatime", option];
      const config = makeConfig(root, {
        args: ["sh", "-c", MAKE_GROUPS],
        process: { capabilities: {} },
        mounts: [PROC, DEV, sys, { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: cgroup }],
        linux: {
          namespaces: (["pid", "ipc", "uts", "mount"] as const).map((type) => ({ type })),
          ...(isOwn
            ? { uidMappings: [{ ...own, hostID: user.uid }], gidMappings: [{ ...own, hostID: user.gid }] }
            : {}),
        },
      });
      if (isOwn) config.linux.namespaces?.push({ type: "user" });
      delete config.linux.resources;
      const enter = 'echo $$ >"$0/cgroup.procs"; exec "$@"';
      const become = ["setpriv", "--reuid", String(user.uid), "--regid", String(user.gid), "--clear-groups"];
      const named = ["bash", "-c", 'exec -a tupper-runtime "$0" "$@"', binaryFor(user)];
      const command = [...become, ...prefix, ...named, "run", "--bundle", makeBundle(config), newId()];
      const env = { ...process.env, ...environmentOf(user) };
      const { stdout, stderr } = spawnSync("sh", ["-c", enter, group, ...command], { encoding: "utf8", env, cwd: "/" });
      return stdout + stderr;
    };
    // There is something to write to, and who asks for it has it.
    assert.match(says("rw"), /^writes /);
    assert.equal(says("ro"), "ended\n");
  });

test("run --userns keep-id: the command is the caller, inside and outside", needsMap, async () => {
  const { user } = users;
  const shown = await prints(["run", "--userns", "keep-id", root, "sh", "-c", "id -u; id -g; cat /proc/self/uid_map"], {
    user,
  });
  const [uid, gid, ...map] = shown.trim().split("\n");
  assert.deepEqual([uid, gid], [String(user.uid), String(user.gid)]);
  assert.ok(
    map.some((line) => new RegExp(`^ *${user.uid} +${user.uid} +1$`).test(line)),
    shown,
  );
  const running = await background(root, ["--userns", "keep-id:uid=1000,gid=100"], { user });
  const status = readFileSync(`/proc/${await pidOf(running.name, { user })}/status`, "utf8");
  assert.match(status, new RegExp(`^Uid:\t${user.uid}\t`, "m"));
  assert.match(status, new RegExp(`^Gid:\t${user.gid}\t`, "m"));
  assert.match(await prints(["exec", running.name, "id", "-u"], { user }), /^1000\n$/);
});

test("run --userns keep-id without subordinate ids: the one id keeps its number", needs, async () => {
  const { stdout } = await tupper(["run", "--userns", "keep-id", root, "sh", "-c", "id -u; cat /proc/self/uid_map"], {
    user: users.bare,
  });
  const { uid } = users.bare;
  assert.match(stdout, new RegExp(`^${uid}\n +${uid} +${uid} +1\n$`));
});

test("run --userns keep-id as root, or with other words: refused", needs, async () => {
  assert.equal((await fails(["run", "--userns", "keep-id", root, "true"])).code, "KEEP_ID_AS_ROOT");
  for (const value of ["keep-id:", "keep-id:uid=x", "keep-id:uid=1:gid=1"])
    assert.equal((await fails(["run", "--userns", value, root, "true"], { user: users.bare })).code, "BAD_NAMESPACE");
});

for (const flags of [["--userns", "keep-id"], ["--userns", "keep-id", "--user", "0"], [], ["--privileged"]])
  test(
    `run ${flags.join(" ")} with a bind mount of root's files: no more than the user may outside`,
    needsMap,
    async () => {
      const { user } = users;
      const directory = temporaryDirectory();
      writeFileSync(join(directory, "secret"), "secret", { mode: 0o600 });
      writeFileSync(join(directory, "program"), "#!/bin/sh\n", { mode: 0o700 });
      mkdirSync(join(directory, "closed"), { mode: 0o700 });
      writeFileSync(join(directory, "subordinate"), "x", { mode: 0o600 });
      // Another's subordinate id, which the map does not have.
      chownSync(join(directory, "subordinate"), 4_000_000, 4_000_000);
      const script = `cd /data
      for file in secret subordinate; do cat $file 2>/dev/null && echo READ; chmod 777 $file 2>/dev/null && echo CHMOD; chown 0 $file 2>/dev/null && echo CHOWN; done
      ls closed 2>/dev/null && echo LISTED; ./program 2>/dev/null && echo RUN; touch made 2>/dev/null && echo MADE; rm -f secret 2>/dev/null && echo REMOVED
      mount -o remount,rw /data 2>/dev/null; mknod /tmp/sda b 8 0 2>/dev/null && echo NODE
      echo end`;
      assert.equal(
        await prints(["run", ...flags, "-v", `${directory}:/data`, root, "sh", "-c", script], { user }),
        "end\n",
      );
      assert.equal(statSync(join(directory, "secret")).mode & 0o777, 0o600);
    },
  );

test(
  "run as an ordinary user: a set-user-id program made inside belongs to the user, not to root",
  needsMap,
  async () => {
    const { user } = users;
    const directory = join(user.home, "suid");
    mkdirSync(directory);
    chownSync(directory, user.uid, user.gid);
    const script = "cp /bin/busybox /data/b; chown 33 /data/b 2>/dev/null; chown 0:0 /data/b; chmod 6755 /data/b";
    await prints(["run", "-v", `${directory}:/data`, root, "sh", "-c", script], { user });
    const { uid, gid } = statSync(join(directory, "b"));
    assert.deepEqual([uid, gid], [user.uid, user.gid]);
  },
);

test(
  "run with a single id: setgroups is denied, so no group is dropped to pass a file that is closed to it (CVE-2014-8989)",
  needs,
  async () => {
    const { bare } = users;
    // Closed to the user's group, open to all others: who gives the group up could read it.
    const file = join(temporaryDirectory(), "not-for-the-group");
    writeFileSync(file, "for others");
    chownSync(file, 0, bare.gid);
    chmodSync(file, 0o604);
    const script = "cat /proc/self/setgroups; cat /file 2>/dev/null || echo closed";
    const flags = [...single(bare), "-v", `${file}:/file`];
    assert.equal(await prints(["run", ...flags, root, "sh", "-c", script], { user: bare }), "deny\nclosed\n");
    for (const more of [
      ["--group-add", "0"],
      ["--user", "0:0"],
    ]) {
      const { stdout } = await tupper(["run", ...flags, ...more, root, "sh", "-c", script], { user: bare });
      assert.equal(stdout, "deny\nclosed\n");
    }
    const own = {
      uidMappings: [{ containerID: 0, hostID: bare.uid, size: 1 }],
      gidMappings: [{ containerID: 0, hostID: bare.gid, size: 1 }],
    };
    const config = makeConfig(root, {
      args: ["sh", "-c", script],
      linux: { ...own, namespaces: (["mount", "user", "pid", "uts"] as const).map((type) => ({ type })) },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] },
        { destination: "/tmp", type: "bind", source: file.slice(0, file.lastIndexOf("/")), options: ["bind"] },
      ],
    });
    delete config.linux.resources;
    config.process.args = ["sh", "-c", script.replace("/file", "/tmp/not-for-the-group")];
    const { stdout, stderr } = await runtime(["run", "--bundle", makeBundle(config), newId()], { user: bare });
    assert.equal(stdout, "deny\nclosed\n", stderr);
  },
);

test("run with a single id under groups of the caller's: they stay, and none can be taken", needs, async () => {
  const { bare } = users;
  const { stdout } = await tupper(["run", ...single(bare), root, "sh", "-c", "grep Groups /proc/self/status; id -G"], {
    prefix: ["setpriv", "--reuid", String(bare.uid), "--regid", String(bare.gid), "--groups", `${bare.gid},60`],
    env: { XDG_RUNTIME_DIR: bare.home },
  });
  // Unmapped ones show as the overflow group, 65534.
  assert.match(stdout, /^Groups:\t(0 65534|65534 0) *\n/);
});

test("run as an ordinary user: no map can be written a second time, none of ids of others", needsMap, async () => {
  const script =
    "echo 0 0 4294967295 2>/dev/null >/proc/self/uid_map && echo WRITTEN; unshare -U sh -c 'echo 0 0 4294967295 2>/dev/null >/proc/self/uid_map && echo WRITTEN'; echo end";
  assert.equal(
    await prints(["run", "--security-opt", "seccomp=unconfined", root, "sh", "-c", script], { user: users.user }),
    "end\n",
  );
});

test(
  "run as an ordinary user: the state directory of another user's container cannot be entered by id",
  needsMap,
  async () => {
    const running = await background(root, [], { user: users.user });
    const { stderr, code } = await tupper(["exec", running.name, "true"], {
      user: users.bare,
      env: { XDG_RUNTIME_DIR: users.user.home },
    });
    assert.notEqual(code, 0, stderr);
  },
);

test(
  "run as an ordinary user of a root that others own: owners that nothing maps are nobody's, and stay",
  needsMap,
  async () => {
    const directory = makeRootfs();
    const script =
      "stat -c %u /etc/passwd; chown 0 /etc/passwd 2>/dev/null || echo kept; rm /etc/passwd 2>/dev/null || echo kept";
    assert.equal(
      await prints(["run", "--root-kind", "bind", directory, "sh", "-c", script], { user: users.user }),
      "65534\nkept\nkept\n",
    );
    assert.equal(output("stat", "-c", "%u", join(directory, "etc/passwd")), "0\n");
  },
);

test("ps, kill as an ordinary user: records that somebody else has put into /tmp are not believed", needs, async () => {
  const { user, bare } = users;
  const place = `/tmp/tupper-${bare.uid}`;
  mkdirSync(join(place, "planted"), { recursive: true });
  const victim = spawn("sleep", ["60"], { uid: bare.uid, gid: bare.gid });
  atEnd(() => {
    victim.kill();
    rmSync(place, { recursive: true, force: true });
  });
  const stat = readFileSync(`/proc/${victim.pid}/stat`, "utf8");
  const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  const record = { version: 1, id: "planted", created: "", config: {}, cgroups: [] };
  writeFileSync(join(place, "planted/state.json"), JSON.stringify(record));
  writeFileSync(join(place, "planted/init"), `${victim.pid} ${started}`);
  output("chown", "-R", `${user.uid}:${user.gid}`, place);
  for (const args of [["ps"], ["kill", "planted"], ["run", ...single(bare), root, "true"]]) {
    const { code } = await fails(args, { user: bare, env: { XDG_RUNTIME_DIR: undefined } });
    assert.equal(code, "STATE_ROOT", args.join(" "));
  }
  assert.equal(victim.exitCode ?? victim.signalCode, null);
});
