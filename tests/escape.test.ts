/** Published ways out of containers, tried. Each attack is first shown to have something to reach. */
import assert from "node:assert/strict";
import { readdirSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { background, isSanitizer, sees, temporaryDirectory, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = { skip: missing("subuid", "package:busybox-static") };

test(
  "run: a working directory that leads through an open descriptor to the machine is refused (CVE-2024-21626)",
  needs,
  async () => {
    const secret = temporaryDirectory();
    writeFileSync(join(secret, "marker"), "the machine's\n");
    for (let fd = 3; fd <= 12; fd++) {
      const root = makeRootfs();
      symlinkSync(`/proc/self/fd/${fd}`, join(root, "app"));
      // A caller that leaves a directory of the machine open: the shell hands it on as this very descriptor.
      const caller = ["sh", "-c", `exec ${fd > 9 ? `9<"$0"` : `${fd}<"$0"`}; exec "$@"`, secret];
      const { stdout, code } = await tupper(
        ["run", "--workdir", "/app", root, "sh", "-c", "cat marker ../marker; ls ../../../../.."],
        { prefix: caller },
      );
      assert.equal(stdout, "");
      assert.equal(code, 125);
    }
  },
);

test("exec: a working directory that leads through an open descriptor to the machine is refused", needs, async () => {
  const root = makeRootfs();
  const { name } = await background(root);
  for (let fd = 3; fd <= 9; fd++) {
    const { stdout, code } = await tupper(["exec", "--workdir", `/proc/self/fd/${fd}`, name, "ls"]);
    assert.equal(stdout, "");
    assert.equal(code, 125);
  }
});

test("run: descriptors that the caller leaves open are not the container's", needs, async () => {
  const root = makeRootfs();
  const caller = ["sh", "-c", 'exec 7</etc/hostname 9</; exec "$@"', "sh"];
  const { stdout } = await tupper(["run", root, "sh", "-c", "ls /proc/self/fd"], { prefix: caller });
  // 3 is the directory that ls reads.
  assert.equal(stdout, "0\n1\n2\n3\n");
});

test("run: a /proc or /sys that is a link is refused (CVE-2019-16884, CVE-2023-27561)", needs, async () => {
  for (const path of ["proc", "sys"]) {
    const root = makeRootfs();
    rmdirSync(join(root, path));
    symlinkSync("/tmp", join(root, path));
    const { code, stderr } = await tupper(["run", root, "true"]);
    assert.match(stderr, /\(MOUNT_TARGET_IS_A_LINK\)/);
    assert.equal(code, 125);
  }
});

test("run: a link in ROOT leads no mount out of it (CVE-2021-30465)", needs, async () => {
  const outside = temporaryDirectory();
  const source = temporaryDirectory();
  writeFileSync(join(source, "planted"), "");
  const root = makeRootfs();
  symlinkSync(outside, join(root, "data"));
  symlinkSync("../../../../../../../..", join(root, "up"));
  assert.equal(
    await sees(root, ["--volume", `${source}:/data/x`, "--volume", `${source}:/up${outside}/y`], "ls /data/x"),
    "planted\n",
  );
  assert.deepEqual(readdirSync(outside), []);
});

test("run: the machine's processes, mounts and disks cannot be reached from a default container", needs, async () => {
  const root = makeRootfs();
  const attempts = [
    // another process's root
    "ls /proc/1/root/work /proc/1/cwd/../../work",
    // a node for the machine's disk
    "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk",
    // a new mount, and the end of a mask
    "mount -t proc proc /tmp",
    "umount /proc/kcore",
    // the kernel's settings
    "echo x > /proc/sys/kernel/core_pattern",
    "echo b > /proc/sysrq-trigger",
    // limits of one's own (CVE-2022-0492)
    "echo /x > /sys/fs/cgroup/memory/release_agent",
    "echo max > /sys/fs/cgroup/pids/pids.max",
    // new privileges by way of a user namespace
    "unshare -U -r true",
    // the old root by chroot's well-known hole
    "mkdir -p /tmp/a && chroot /tmp/a /bin/true",
  ];
  for (const attempt of attempts) {
    const { code, stdout } = await tupper(["run", root, "sh", "-c", `${attempt} 2>/dev/null && echo reached`]);
    assert.doesNotMatch(stdout, /reached/, attempt);
    assert.notEqual(code, 0, attempt);
  }
});

test("run: the runtime's binary cannot be written from inside (CVE-2019-5736)", {
  skip: isSanitizer ? "the sanitizer build is not what is installed" : missing("root") || needs.skip,
}, async () => {
  const root = makeRootfs();
  // --pid host and --privileged: the weakest container there is still meets ETXTBSY, for the runner executes the file.
  const script = `for exe in /proc/[0-9]*/exe; do case "$(readlink $exe)" in *tupper*) (: >> $exe) 2>&1 ;; esac; done`;
  const { stdout } = await tupper(["run", "--privileged", "--pid", "host", root, "sh", "-c", script]);
  assert.match(stdout, /Text file busy/);
  // With --init, PID 1 is a sealed copy of another program.
  const { code, stderr } = await tupper(["run", "--init", root, "sh", "-c", "echo > /proc/1/exe"]);
  assert.match(stderr, /Text file busy|Operation not permitted|Permission denied/);
  assert.notEqual(code, 0);
});
