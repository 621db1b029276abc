import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  atEnd,
  background,
  eventually,
  fails,
  output,
  pidOf,
  prints,
  tupper,
  type User,
  watchForLeftovers,
  withoutCopyWarning,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";
import { single, withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);
const root = sharedRootfs();
// On some machines ordinary users may make no user namespaces: a setting of Debian's or Ubuntu's.
const forbidden = [
  "/proc/sys/kernel/unprivileged_userns_clone",
  "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
].some((path, i) => existsSync(path) && readFileSync(path, "utf8").trim() === String(i));
const needs = {
  skip:
    missing("root", "package:passwd", "package:busybox-static") ||
    (forbidden && "missing: user namespaces for ordinary users"),
};
const needsMap = { skip: needs.skip || missing("package:uidmap", "file:/etc/subuid") };
/** No delegated control group: a warning names each limit without effect, and there are none when none was asked for. */
const seesAs = async (user: User, flags: string[], script: string, of = root) =>
  prints(["run", ...own(user), ...flags, of, "sh", "-c", script], { user });
const own = (user: User): string[] => (user === users.bare ? single(user) : []);

/** What root inside may change is what the user owns outside: files of others belong to nobody there. */
function ownRootfs(user: User): string {
  const directory = makeRootfs();
  output("chown", "-R", `${user.uid}:${user.gid}`, directory);
  return directory;
}

/** What is on record there, but for how earlier ones ended. */
const containersIn = (state: string): string[] => readdirSync(state).filter((name) => !name.startsWith(".ended-"));

for (const [kind, user] of [
  ["single-id map", users.bare],
  ["newuidmap map", users.user],
] as const) {
  const needs_ = kind === "newuidmap map" ? needsMap : needs;

  test(`run as an ordinary user, ${kind}: root inside, oneself outside`, needs_, async () => {
    assert.equal(
      await seesAs(user, [], "id -u; id -g; hostname; echo $$; cat /CONTAINER_ROOT_DIR"),
      "0\n0\ntupperware\n1\ninside\n",
    );
    const running = await background(root, [], { user });
    const pid = await pidOf(running.name, { user });
    assert.match(readFileSync(`/proc/${pid}/status`, "utf8"), new RegExp(`^Uid:\t${user.uid}\t`, "m"));
  });

  test(`run as an ordinary user, ${kind}: the map`, needs_, async () => {
    const lines = (await seesAs(user, [], "cat /proc/self/uid_map"))
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/ +/).map(Number));
    assert.deepEqual(lines[0], [0, user.uid, 1]);
    if (kind === "single-id map") assert.equal(lines.length, 1);
    else assert.ok(lines.length === 2 && lines[1]?.[0] === 1 && (lines[1]?.[2] ?? 0) >= 65_535, JSON.stringify(lines));
  });

  test(`run as an ordinary user, ${kind}: all namespaces but time are the container's own`, needs_, async () => {
    const types = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"];
    const links = (await seesAs(user, [], `for type in ${types.join(" ")}; do readlink /proc/self/ns/$type; done`))
      .trim()
      .split("\n");
    assert.deepEqual(
      types.filter((type, i) => links[i] === readlinkSync(`/proc/self/ns/${type}`)),
      ["time"],
    );
  });

  for (const rootKind of ["overlay", "copy"]) {
    test(
      `run --root-kind ${rootKind} as an ordinary user, ${kind}: writes are possible and vanish`,
      needs_,
      async () => {
        const directory = ownRootfs(user);
        // A directory of the layer below is hidden by an attribute user.*, which tmpfs keeps since Linux 6.6.
        const removed = rootKind === "overlay" && missing("kernel:6.6") ? "" : "rm -r /home && ";
        const script = `echo x >/etc/passwd && ${removed}mkdir /made && cat /etc/passwd && ls -d /made`;
        const kind = ["--root-kind", rootKind];
        if (rootKind === "overlay" && missing("kernel:5.11")) {
          const { code, details } = await fails(["run", ...own(user), ...kind, directory, "true"], { user });
          assert.deepEqual([code, details.flag], ["OVERLAY_REFUSED", "--root-kind"]);
          const { stderr } = await tupper(["run", ...own(user), directory, "sh", "-c", script], { user });
          assert.match(
            stderr,
            /^warning: the root is copied to memory, which --size limits: Linux 5\.\d+ makes no .*\n$/,
          );
          kind.length = 0; // a copy by default
        }
        assert.equal(await seesAs(user, kind, script, directory), "x\n/made\n");
        assert.notEqual(readFileSync(join(directory, "etc/passwd"), "utf8"), "x\n");
        assert.equal(existsSync(join(directory, "made")), false);
      },
    );
  }

  test(`run --root-kind bind as an ordinary user, ${kind}: writes reach the directory`, needs_, async () => {
    const directory = ownRootfs(user);
    await seesAs(user, ["--root-kind", "bind"], "echo x >/made; chown 0 /made", directory);
    assert.equal(output("stat", "-c", "%u", join(directory, "made")), `${user.uid}\n`);
  });

  test(
    `run host as an ordinary user, ${kind}: the machine's programs, with nothing more than one may oneself`,
    needs_,
    async () => {
      const script =
        "id -u; ls /etc/passwd; cat /etc/shadow 2>/dev/null || echo closed; touch /home-made 2>/dev/null && echo written || echo not written";
      if (missing("kernel:5.11")) {
        const { code, details } = await fails(["run", "host", "true"], { user });
        assert.deepEqual([code, details.flag], ["OVERLAY_REFUSED", "--root-kind"]);
        assert.match(details.hint ?? "", /bind/);
      }
      const kind = missing("kernel:5.11") ? ["--root-kind", "bind"] : [];
      const { stdout, code, stderr } = await tupper(["run", ...kind, "host", "sh", "-c", script], { user });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^0\n\/etc\/passwd\nclosed\n(not )?written\n$/);
      assert.equal(existsSync("/home-made"), false);
    },
  );

  test(`run as an ordinary user, ${kind}: /proc, /sys, /dev, loopback and ps work`, needs_, async () => {
    const script =
      "ps -o pid; echo x >/dev/null; head -c 1 /dev/urandom | wc -c; ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 | grep -c '1 packets received'; ls -d /dev/pts/ptmx; :";
    assert.equal(await seesAs(user, [], script), "PID\n    1\n    2\n1\nlo\n1\n/dev/pts/ptmx\n");
  });

  test(`run, exec, ps, inspect, kill as an ordinary user, ${kind}`, needs_, async () => {
    const running = await background(root, ["--hostname", "box"], { user });
    assert.equal(await prints(["ps", "--quiet"], { user }), `${running.name}\n`);
    assert.equal(
      await prints(["exec", running.name, "sh", "-c", "hostname; id -u; cat /CONTAINER_ROOT_DIR"], { user }),
      "box\n0\ninside\n",
    );
    assert.equal((await tupper(["exec", running.name, "sh", "-c", "exit 4"], { user })).code, 4);
    assert.equal(await prints(["kill", running.name], { user }), `${running.name}\n`);
    assert.equal((await running.ended).code, 137);
  });

  test(`run as an ordinary user, ${kind}: exit codes and signals are passed on`, needs_, async () => {
    assert.equal((await tupper(["run", root, "sh", "-c", "exit 42"], { user })).code, 42);
    assert.equal((await tupper(["run", "--init", root, "sh", "-c", "kill -9 $$"], { user })).code, 137);
    assert.equal((await tupper(["run", root, "no-such-command"], { user })).code, 127);
  });

  test(`run as an ordinary user, ${kind}: after SIGKILL the next command leaves nothing`, needs_, async () => {
    const running = await background(root, [], { user });
    running.child.kill("SIGKILL");
    await running.ended;
    assert.equal(await prints(["ps", "-q"], { user }), "");
    const state = join(user.home, "tupper");
    assert.deepEqual(existsSync(state) ? containersIn(state) : [], []);
  });
}

test(
  "run --memory as an ordinary user: a clear warning that the limit has no effect, and the container runs",
  needs,
  async () => {
    const { stdout, stderr, code } = await tupper(
      ["run", ...single(users.bare), "--memory", "64m", "--pids-limit", "5", root, "echo", "x"],
      {
        user: users.bare,
      },
    );
    assert.deepEqual({ stdout, code }, { stdout: "x\n", code: 0 });
    // On cgroup v2 systemd was asked for a group first.
    assert.match(
      withoutCopyWarning(stderr),
      /^(warning: no control group by systemd: .*\n)?warning: .*memory.*processes.*\n$/,
    );
    assert.match(stderr, /delegat/);
  },
);

test(
  "run as an ordinary user: state is in XDG_RUNTIME_DIR, without it in /tmp, for nobody else to see",
  needs,
  async () => {
    const user = users.bare;
    const running = await background(root, [], { user });
    const env = { XDG_RUNTIME_DIR: undefined };
    atEnd(() => spawnSync("rm", ["-rf", `/tmp/tupper-${user.uid}`]));
    const other = await background(root, ["-e", "SECRET=x"], { user, env });
    for (const state of [join(user.home, "tupper"), `/tmp/tupper-${user.uid}`]) {
      // Others may pass, for a container's mapped root is one of them; they may neither list nor write.
      for (const path of [state, ...containersIn(state).map((name) => join(state, name))]) {
        const { uid, mode } = statSync(path);
        assert.deepEqual([uid, mode & 0o066], [user.uid, 0], path);
      }
    }
    assert.ok(existsSync(join(user.home, "tupper", running.name)));
    const secret = join(`/tmp/tupper-${user.uid}`, other.name, "state.json");
    assert.equal(spawnSync("cat", [secret], { uid: users.user.uid, gid: users.user.gid }).status, 1);
  },
);

test("run as an ordinary user: somebody else's directory at the place of the state is refused", needs, async () => {
  const user = users.bare;
  const place = `/tmp/tupper-${user.uid}`;
  atEnd(() => spawnSync("rm", ["-rf", place]));
  mkdirSync(place);
  chmodSync(place, 0o777);
  const { exitCode, message } = await fails(["run", root, "true"], { user, env: { XDG_RUNTIME_DIR: undefined } });
  assert.equal(exitCode, 125);
  assert.ok(message.includes(place), message);
});

test("run --userns host as an ordinary user: refused with what to do", needs, async () => {
  const { code, exitCode, details } = await fails(["run", "--userns", "host", root, "true"], { user: users.bare });
  assert.deepEqual({ code, exitCode }, { code: "USER_NAMESPACE_NEEDED", exitCode: 125 });
  assert.ok(details.hint);
});

test("run --user as an ordinary user: an id without a map is refused, one with a map is had", needsMap, async () => {
  const { exitCode, message } = await fails(["run", "--user", "alice", root, "true"], { user: users.bare });
  assert.equal(exitCode, 125);
  assert.match(message, /1000/);
  const script = "id -u; touch /tmp/x; stat -c %u /tmp/x";
  assert.equal(await seesAs(users.user, ["--user", "alice"], script, ownRootfs(users.user)), "1000\n1000\n");
});

test("run --uidmap as an ordinary user: other ids than the own ranges are refused", needsMap, async () => {
  for (const map of ["0:0:1", "0:1:1000"]) {
    const { exitCode } = await fails(["run", "--uidmap", map, "--gidmap", map, root, "true"], { user: users.user });
    assert.equal(exitCode, 125);
  }
});

test("run --device, --privileged as an ordinary user: no more power than outside", needs, async () => {
  const { stdout } = await tupper(
    [
      "run",
      "--privileged",
      root,
      "sh",
      "-c",
      "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; mknod /x c 1 3 2>/dev/null || echo no nodes",
    ],
    { user: users.bare },
  );
  assert.equal(stdout, "0\nno nodes\n");
});

test("run -v as an ordinary user: the own files, writable; others' as the modes say", needs, async () => {
  const user = users.bare;
  const directory = join(user.home, "data");
  mkdirSync(directory, { recursive: true });
  chownSync(directory, user.uid, user.gid);
  writeFileSync(join(directory, "others"), "x", { mode: 0o600 });
  const script = "touch /data/mine && stat -c %u /data/mine; cat /data/others 2>/dev/null || echo closed";
  assert.equal(await seesAs(user, ["-v", `${directory}:/data`], script), "0\nclosed\n");
  assert.equal(output("stat", "-c", "%u", join(directory, "mine")), `${user.uid}\n`);
});

test("run -t as an ordinary user: a terminal", { skip: needs.skip || missing("package:util-linux") }, async () => {
  const { stdout, code } = await tupper(["run", "-t", root, "sh", "-c", "tty; exit 3"], { user: users.bare });
  assert.match(stdout, /^\/dev\/(pts\/0|console)\r?\n$/);
  assert.equal(code, 3);
});

test("run --read-only, --tmpfs, --init, --security-opt as an ordinary user", needs, async () => {
  const flags = ["--read-only", "--tmpfs", "/tmp", "--init", "--security-opt", "no-new-privileges"];
  assert.equal(
    await seesAs(
      users.bare,
      flags,
      "(: >/x) 2>/dev/null || echo ro; : >/tmp/x && echo rw; echo $PPID; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status",
    ),
    "ro\nrw\n1\nNoNewPrivs:\t1\nSeccomp:\t2\n",
  );
});

test("ps: an ordinary user's containers are not root's, and the other way round", needs, async () => {
  const mine = await background(root);
  const theirs = await background(root, [], { user: users.bare });
  assert.equal(await prints(["ps", "-q"]), `${mine.name}\n`);
  assert.equal(await prints(["ps", "-q"], { user: users.bare }), `${theirs.name}\n`);
  await eventually("both run", () => mine.stdout().includes("ready") && theirs.stdout().includes("ready"));
});
