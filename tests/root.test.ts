import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  atEnd,
  background,
  binary,
  compiled,
  fails,
  output,
  prints,
  sees as seesIn,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs({ "etc/file": "from below\n", "srv/directory/inner": "inner\n" });
const sees = (flags: string[], script: string, options = {}) => seesIn(root, flags, script, options);
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
const KINDS = ["overlay", "bind", "copy"] as const;

/** A mount for the test, taken away before the machine is looked at. */
function mount(...args: string[]): void {
  output("mount", ...args);
  const target = args.at(-1) ?? "";
  atEnd(() => spawnSync("umount", ["-R", "-l", target]));
}

// What the container has as its root

for (const kind of KINDS) {
  test(`run --root-kind ${kind}: / is ROOT, and CONTAINER_ROOT_DIR proves it`, needs, async () => {
    const directory = makeRootfs();
    const listing = (await prints(["run", "--root-kind", kind, directory, "ls", "-A", "/"])).trim().split("\n");
    assert.deepEqual(listing.sort(), readdirSync(directory).sort());
    assert.ok(listing.includes("CONTAINER_ROOT_DIR") && !listing.includes("oldroot"));
  });

  test(`run --root-kind ${kind}: mount shows nothing of the host`, needs, async () => {
    const lines = (await sees(["--root-kind", kind], "cat /proc/self/mountinfo")).trim().split("\n");
    const targets = lines.map((line) => line.split(" ")[4] ?? "");
    for (const target of targets) assert.match(target, /^\/($|(proc|sys|dev)($|\/))/);
    for (const target of ["/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"])
      assert.equal(targets.filter((candidate) => candidate === target).length, 1, target);
    // No propagation from or to the host: neither "shared:N" nor "master:N".
    for (const line of lines) assert.doesNotMatch(line, /shared:|master:/);
    assert.ok(!lines.join().includes(root) || kind === "bind", lines.join("\n"));
  });

  test(
    `run --root-kind ${kind}: no way leads out: .., chroot tricks and /proc/1/root end in the container`,
    needs,
    async () => {
      const script = "cat /../../../CONTAINER_ROOT_DIR /proc/1/root/CONTAINER_ROOT_DIR /proc/1/cwd/CONTAINER_ROOT_DIR";
      assert.equal(await sees(["--root-kind", kind], script), "inside\ninside\ninside\n");
      const directory = makeRootfs();
      const program = `${compiled("chroot_escape")}:/escape`;
      assert.equal(await prints(["run", "--root-kind", kind, "-v", program, directory, "/escape"]), "inside\n");
    },
  );

  test(`run --root-kind ${kind}: the root is not writable with --read-only, mounts over it are`, needs, async () => {
    const script = `for place in /x /etc/x /dev/shm/x /dev/x /tmp/x; do
        (: >$place) 2>/dev/null && echo $place; done; true`;
    assert.equal(
      await sees(["--root-kind", kind, "--read-only", "--tmpfs", "/tmp"], script),
      "/dev/shm/x\n/dev/x\n/tmp/x\n",
    );
    const { stderr, code } = await tupper(["run", "--root-kind", kind, "--read-only", root, "touch", "/x"]);
    assert.deepEqual({ stderr, code }, { stderr: "touch: /x: Read-only file system\n", code: 1 });
  });
}

test("run --root-kind overlay: writes are seen inside, vanish at the end and never reach ROOT", needs, async () => {
  const script = "echo new >/etc/file; rm /srv/directory/inner; touch /test; cat /etc/file; ls /srv/directory /test";
  assert.equal(await sees([], script), "new\n/test\n\n/srv/directory:\n");
  assert.equal(await sees([], "cat /etc/file /srv/directory/inner; ls /test 2>&-; true"), "from below\ninner\n");
});

test("run: overlay is the kind unless another is named", needs, async () => {
  assert.equal(await sees([], "awk '$2 == \"/\" { print $3 }' /proc/mounts"), "overlay\n");
});

test(
  "run --root-kind overlay: deleted and replaced directories, renames and hard links behave as on one filesystem",
  needs,
  async () => {
    const script = `rm -r /srv/directory && mkdir /srv/directory && ls -A /srv/directory
    mv /etc/file /etc/moved && cat /etc/moved && ln /etc/moved /etc/linked && stat -c %h /etc/linked
    mv /home /house && ls /house`;
    assert.equal(await sees([], script), "from below\n2\nalice\n");
  },
);

test("run --root-kind bind: writes reach the directory and stay", needs, async () => {
  const directory = makeRootfs({ "etc/old": "x" });
  await prints(["run", "--root-kind", "bind", directory, "sh", "-c", "echo kept >/test; rm /etc/old; mkdir /made"]);
  assert.equal(readFileSync(join(directory, "test"), "utf8"), "kept\n");
  assert.deepEqual(readdirSync(join(directory, "made")), []);
  assert.equal(readdirSync(join(directory, "etc")).includes("old"), false);
});

test("run --root-kind bind: no stray file or directory in ROOT afterwards", needs, async () => {
  const directory = makeRootfs();
  const before = output("find", directory);
  await prints(["run", "--root-kind", "bind", directory, "true"]);
  assert.equal(output("find", directory), before);
});

test("run: mount points that ROOT lacks are made inside and not left in ROOT, but with bind", needs, async () => {
  const directory = makeRootfs();
  for (const name of ["dev", "proc", "sys"]) rmSync(join(directory, name), { recursive: true });
  const before = output("find", directory);
  for (const kind of ["overlay", "copy"])
    assert.equal(
      await prints(["run", "--root-kind", kind, directory, "sh", "-c", "ls -d /dev/null /proc/1 /sys/class"]),
      "/dev/null\n/proc/1\n/sys/class\n",
    );
  assert.equal(output("find", directory), before);
});

test("run --root-kind copy: a tmpfs of its own, whose writes never reach ROOT", needs, async () => {
  const script = `awk '$2 == "/" { print $3 }' /proc/mounts; echo new >/etc/file; touch /test`;
  assert.equal(await sees(["--root-kind", "copy"], script), "tmpfs\n");
  assert.equal(await sees(["--root-kind", "copy"], "cat /etc/file; ls /test 2>&-; true"), "from below\n");
});

test("run --root-kind copy: modes, owners, times, links, hard links, devices, FIFOs and attributes are kept", {
  skip: missing("subuid", "package:busybox-static", "package:python3", "cap:MKNOD"),
}, async () => {
  const directory = makeRootfs();
  const make = `cd "$0" && mkdir -m 2751 odd && cd odd
    echo x >plain && chown 1000:50 plain && chmod 4640 plain && touch -d '2001-02-03 04:05:06.123456789' plain
    ln plain hard && ln -s ../etc/passwd relative && ln -s /nowhere dangling && touch -h -d 2002-02-02 dangling
    mknod -m 640 null c 1 3 && mknod loop b 7 0 && mkfifo -m 600 fifo && chown 1000 fifo
    truncate -s 64M hole && mkdir -m 1777 sticky && mkdir -m 000 closed && : >"name with
line feed" && printf x >"$(printf 'not-\\377-utf8')"
    python3 -c 'import os; os.setxattr("plain", "trusted.a", b"1\\0\\x80"); os.setxattr("sticky", "security.b", b"2")'
    touch -d 2003-03-03 sticky .`;
  output("bash", "-ec", make, directory);
  const probe = `import os, sys, hashlib
os.chdir(sys.argv[1] + "/odd")
links = {}
for name in sorted(os.listdir(b".")) + [b"."]:
    s = os.lstat(name)
    what = os.readlink(name) if os.path.islink(name) else open(name, "rb").read() if os.path.isfile(name) else b""
    xattrs = {n: os.getxattr(name, n, follow_symlinks=False) for n in os.listxattr(name, follow_symlinks=False) if not n.startswith("system.")}
    # tmpfs counts directories' links and sizes in its own way.
    print(name, oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev, s.st_mtime_ns, os.path.isdir(name) or (s.st_nlink, s.st_size),
        links.setdefault(s.st_ino, name), hashlib.md5(what).hexdigest(), xattrs)`;
  const outside = output("python3", "-c", probe, directory);
  assert.equal(outside.trim().split("\n").length, 13);
  // Python is not in the container: the copy is looked at from outside, through /proc/PID/root.
  const running = await background(directory, ["--root-kind", "copy"]);
  const [found] = JSON.parse(await prints(["inspect", running.name])) as { pid: number }[];
  assert.equal(output("python3", "-c", probe, `/proc/${found?.pid}/root`), outside);
});

test(
  "run --root-kind copy: other filesystems below ROOT are not crossed, their mount points are kept",
  asRoot,
  async () => {
    const directory = makeRootfs({ "mnt/": "" });
    mount("-t", "tmpfs", "-o", "mode=711", "none", join(directory, "mnt"));
    writeFileSync(join(directory, "mnt/elsewhere"), "");
    assert.equal(await prints(["run", "--root-kind", "copy", directory, "ls", "-A", "/mnt"]), "");
  },
);

test("run --root-kind copy: a file's holes take no memory", needs, async () => {
  const directory = makeRootfs();
  output("truncate", "-s", "1G", join(directory, "var/lastlog"));
  const script = "stat -c '%s' /var/lastlog; [ $(stat -c %b /var/lastlog) -lt 100 ] && echo sparse";
  assert.equal(
    await prints(["run", "--root-kind", "copy", "--size", "100m", directory, "sh", "-c", script]),
    "1073741824\nsparse\n",
  );
});

// Size

for (const kind of ["overlay", "copy"] as const) {
  test(`run --root-kind ${kind} --size: df shows it, and writing more is ENOSPC`, needs, async () => {
    const flags = ["--root-kind", kind, "--size", "20m"];
    if (kind === "copy") assert.equal(await sees(flags, "df -k / | awk 'NR == 2 { print $2 }'"), "20480\n");
    const { stderr, code } = await tupper([
      "run",
      ...flags,
      root,
      "dd",
      "if=/dev/zero",
      "of=/big",
      "bs=1M",
      "count=21",
    ]);
    assert.match(stderr, /No space left on device/);
    assert.equal(code, 1);
    assert.match(await sees(flags, "dd if=/dev/zero of=/big bs=1M count=16 2>&1 && stat -c %s /big"), /16777216\n$/);
  });
}

test("run --size: 500m unless another is named", needs, async () => {
  assert.equal(await sees(["--root-kind", "copy"], "df -k / | awk 'NR == 2 { print $2 }'"), "512000\n");
});

test("run --root-kind copy --size: a ROOT that does not fit is one sentence", needs, async () => {
  const { code, exitCode, details } = await fails(["run", "--root-kind", "copy", "--size", "256k", root, "true"]);
  assert.deepEqual({ code, exitCode }, { code: "ROOT_TOO_LARGE", exitCode: 125 });
  assert.match(details.hint ?? "", /--size/);
});

// Filesystems below

test(
  "run: mounts below ROOT are seen inside with overlay and bind, and kept from being written with overlay",
  asRoot,
  async () => {
    const directory = makeRootfs({ "mnt/": "", "srv/": "" });
    mount("-t", "tmpfs", "none", join(directory, "mnt"));
    writeFileSync(join(directory, "mnt/file"), "below\n");
    const script = "cat /mnt/file; echo changed 2>/dev/null >/mnt/file; cat /mnt/file";
    assert.match(await prints(["run", directory, "sh", "-c", script]), /^below\n(below|changed)\n$/);
    assert.equal(readFileSync(join(directory, "mnt/file"), "utf8"), "below\n");
    assert.equal(await prints(["run", "--root-kind", "bind", directory, "sh", "-c", script]), "below\nchanged\n");
  },
);

test("run: ROOT that is an overlay itself can be the lower of another", asRoot, async () => {
  const directory = temporaryDirectory();
  for (const name of ["upper", "work", "merged"]) mkdirSync(join(directory, name));
  const options = `lowerdir=${root},upperdir=${directory}/upper,workdir=${directory}/work`;
  const merged = join(directory, "merged");
  mount("-t", "overlay", "-o", options, "none", merged);
  writeFileSync(join(merged, "of-the-outer"), "outer\n");
  const script = "cat /of-the-outer /etc/file; echo x >/of-the-outer; cat /of-the-outer; rm /etc/file";
  for (const kind of ["overlay", "copy"])
    assert.equal(await prints(["run", "--root-kind", kind, merged, "sh", "-c", script]), "outer\nfrom below\nx\n");
  assert.equal(readFileSync(join(merged, "of-the-outer"), "utf8"), "outer\n");
  assert.equal(await prints(["run", "--root-kind", "bind", merged, "cat", "/of-the-outer"]), "outer\n");
});

test(
  "run: overlay of an overlay of an overlay is more than the kernel stacks: a fallback or a clear refusal",
  asRoot,
  async () => {
    const directory = temporaryDirectory();
    let below = root;
    for (const level of ["1", "2"]) {
      const at = join(directory, level);
      for (const name of ["upper", "work", "merged"]) mkdirSync(join(at, name), { recursive: true });
      mount(
        "-t",
        "overlay",
        "-o",
        `lowerdir=${below},upperdir=${at}/upper,workdir=${at}/work`,
        "none",
        join(at, "merged"),
      );
      below = join(at, "merged");
    }
    const { stdout, stderr, code } = await tupper(["run", below, "cat", "/etc/file"]);
    if (code === 0) assert.equal(stdout, "from below\n");
    else {
      assert.equal(code, 125);
      assert.match(stderr, /^error: .*overlay.*\([A-Z_]+\)$/m);
      assert.match(stderr, /^ {2}hint: .*(copy|bind)/m);
    }
  },
);

test("run: ROOT on a tmpfs, a FAT filesystem image or /proc works or is refused clearly", asRoot, async () => {
  const directory = temporaryDirectory();
  mount("-t", "tmpfs", "none", directory);
  execFileSync("cp", ["-a", `${root}/.`, directory]);
  for (const kind of KINDS)
    assert.equal(await prints(["run", "--root-kind", kind, directory, "cat", "/CONTAINER_ROOT_DIR"]), "inside\n");
  for (const kind of KINDS) {
    const { code, stderr } = await tupper(["run", "--root-kind", kind, "/proc/self/", "true"]);
    assert.ok(code === 125 || code === 127, stderr);
    assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
  }
});

test("run: a ROOT that is mounted read-only can be written to as overlay and copy", asRoot, async () => {
  const directory = makeRootfs();
  mount("--bind", directory, directory);
  output("mount", "-o", "remount,bind,ro", directory);
  for (const kind of ["overlay", "copy"])
    assert.equal(await prints(["run", "--root-kind", kind, directory, "sh", "-c", "echo x >/x; cat /x"]), "x\n");
  const { stderr, code } = await tupper(["run", "--root-kind", "bind", directory, "touch", "/x"]);
  assert.deepEqual({ stderr, code }, { stderr: "touch: /x: Read-only file system\n", code: 1 });
});

test("run: a ROOT on a mount that is shared with others shows them nothing of the container", asRoot, async () => {
  const directory = makeRootfs({ "mnt/": "" });
  mount("--bind", directory, directory);
  output("mount", "--make-rshared", directory);
  const before = readFileSync("/proc/self/mountinfo", "utf8");
  for (const kind of KINDS) {
    const running = await background(directory, ["--root-kind", kind, "--privileged"], {
      script: "mount -t tmpfs none /mnt",
    });
    assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
    running.child.kill("SIGTERM");
    await running.ended;
  }
});

test("run: a mount made inside is absent outside", needs, async () => {
  const before = readFileSync("/proc/self/mountinfo", "utf8");
  const flags = ["--cap-add", "SYS_ADMIN"];
  const running = start(
    [
      "run",
      ...flags,
      root,
      "sh",
      "-c",
      "mount -t tmpfs thing /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs thing /mnt; grep -c thing /proc/mounts; read end",
    ],
    { input: { open: true } },
  );
  await running.until(/1\n/);
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
  running.child.stdin.end();
  assert.equal((await running.ended).stdout, "1\n");
});

test("run: the host's mount table is byte for byte what it was", needs, async () => {
  const before = readFileSync("/proc/self/mountinfo", "utf8");
  const directory = makeRootfs();
  for (const kind of KINDS)
    await prints(["run", "--root-kind", kind, "--tmpfs", "/x", "-v", "/etc:/y", directory, "true"]);
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
});

test("run: a mount made on the host later does not appear inside", asRoot, async () => {
  const running = await background("host", []);
  const directory = temporaryDirectory();
  mount("-t", "tmpfs", "later", directory);
  assert.equal((await tupper(["exec", running.name, "grep", "-c", "later", "/proc/mounts"])).stdout, "0\n");
});

test(
  "run host: programs of the machine work, its files are seen, and nothing that is written stays",
  needs,
  async () => {
    const mark = `/etc/tupper-test-${process.pid}`;
    const script = `. /etc/os-release; echo "$ID"; echo x >${mark} && cat ${mark}; rm -rf /etc/passwd; ls -d /root`;
    const id = /^ID=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
    assert.equal(await prints(["run", "host", "sh", "-c", script]), `${id}\nx\n/root\n`);
    assert.equal(spawnSync("test", ["-e", mark]).status, 1);
    assert.equal(spawnSync("test", ["-s", "/etc/passwd"]).status, 0);
  },
);

test("run host: other filesystems of the machine are seen too, and not written to", asRoot, async () => {
  const directory = mkdtempSync("/mnt/tupper-test-");
  atEnd(() => rmSync(directory, { recursive: true }));
  // Where /tmp is a tmpfs of the machine, that is none of them.
  const other = temporaryDirectory("/var/tmp");
  mount("--bind", other, directory);
  writeFileSync(join(directory, "file"), "there\n");
  const { stdout, stderr, code } = await tupper([
    "run",
    "host",
    "sh",
    "-c",
    `cat ${directory}/file; echo x >${directory}/file`,
  ]);
  assert.equal(readFileSync(join(directory, "file"), "utf8"), "there\n", `exit ${code}: ${stderr}`);
  assert.equal(stdout, "there\n", stderr);
});

test("run host: a mount under another one, which no path leads to, is passed over", asRoot, async () => {
  const directory = mkdtempSync("/mnt/tupper-test-");
  atEnd(() => rmSync(directory, { recursive: true }));
  const [below, above] = [temporaryDirectory("/var/tmp"), temporaryDirectory("/var/tmp")];
  mkdirSync(join(directory, "hidden"));
  mount("--bind", below, join(directory, "hidden"));
  mount("--bind", above, directory);
  writeFileSync(join(above, "file"), "there\n");
  assert.equal(await prints(["run", "host", "sh", "-c", `cd ${directory} && echo * && cat file`]), "file\nthere\n");
});

test("run host: where a mount lies over the machine's root its filesystems are seen all the same", asRoot, async () => {
  const directory = mkdtempSync("/mnt/tupper-test-");
  atEnd(() => rmSync(directory, { recursive: true }));
  const other = temporaryDirectory("/var/tmp");
  mount("--bind", other, directory);
  writeFileSync(join(other, "file"), "there\n");
  const prefix = ["unshare", "-m", "sh", "-c", 'mount --bind / / && exec "$@"', "sh"];
  const { stdout, stderr } = await tupper(["run", "host", "cat", join(directory, "file")], { prefix });
  assert.equal(stdout, "there\n", stderr);
});

test("run host --root-kind bind: needs no asking twice, and is the machine itself", needs, async () => {
  const directory = temporaryDirectory();
  await prints(["run", "--root-kind", "bind", "host", "touch", join(directory, "made")]);
  assert.deepEqual(readdirSync(directory), ["made"]);
});

test("run: a ROOT of 300 characters and 12 levels is one like any other", needs, async () => {
  const deep = join(temporaryDirectory(), ...Array.from({ length: 12 }, (_, i) => `${i}`.repeat(25)));
  mkdirSync(deep, { recursive: true });
  execFileSync("cp", ["-a", `${root}/.`, deep]);
  for (const kind of KINDS)
    assert.equal(await prints(["run", "--root-kind", kind, deep, "cat", "/CONTAINER_ROOT_DIR"]), "inside\n");
});

test("run: symlinks in ROOT named proc, dev, sys do not lead set-up out of it", needs, async () => {
  const directory = makeRootfs();
  const target = temporaryDirectory();
  for (const name of ["proc", "sys", "dev"]) {
    rmSync(join(directory, name), { recursive: true });
    output("ln", "-s", target, join(directory, name));
  }
  for (const kind of KINDS) {
    const { code, stderr } = await tupper(["run", "--root-kind", kind, directory, "true"]);
    if (code !== 0) assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
    assert.deepEqual(readdirSync(target), []);
  }
});

test("run: programs in the root can be compiled and run there", {
  skip: missing("subuid", "package:g++"),
}, async () => {
  const script = `cd /tmp && printf '#include <iostream>\\nint main() { std::cout << "hello, cpp\\\\n"; }\\n' >hello.cpp && g++ hello.cpp && ./a.out`;
  assert.equal(await prints(["run", "--size", "1g", "host", "sh", "-c", script]), "hello, cpp\n");
});

test(
  "run: tupper may be called through a symlink, with a relative path and from a directory that is gone",
  needs,
  () => {
    const directory = temporaryDirectory();
    output("ln", "-s", binary, join(directory, "link"));
    assert.equal(output("sh", "-c", `cd ${directory} && ./link run ${root} echo x`), "x\n");
    assert.equal(
      output(
        "sh",
        "-c",
        `mkdir ${directory}/gone && cd ${directory}/gone && rmdir ${directory}/gone && ${binary} run ${root} echo y`,
      ),
      "y\n",
    );
  },
);
