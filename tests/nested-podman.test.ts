/**
 * tupper inside `podman run --privileged`: what a machine looks like that another engine made. The root filesystem is a
 * directory (`--rootfs`), so no image and no network is needed; what podman keeps lies in a directory of the suite's own.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { binary, isSanitizer, type Result, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";

watchForLeftovers();

const skip =
  (isSanitizer && "the sanitizer build is linked dynamically") ||
  missing("root", "package:podman", "package:runc", "package:busybox-static");
const work = mkdtempSync(join(tmpdir(), "nested-podman-"));
const cgroupParent = `nested-podman-${process.pid}`;

/** Podman writes into a root that it is given, so each test has its own. `/inner` is one for tupper. */
const makeRoot = (): string =>
  makeRootfs({
    "usr/bin/tupper": { copyOf: binary, mode: 0o755 },
    "inner/bin/sh": { copyOf: "/bin/busybox", mode: 0o755 },
    ...Object.fromEntries(["dev", "etc", "proc", "sys", "tmp"].map((name) => [`inner/${name}/`, ""])),
  });

after(() => {
  rmSync(work, { recursive: true, force: true });
  for (const hierarchy of readdirSync("/sys/fs/cgroup")) removeGroups(join("/sys/fs/cgroup", hierarchy, cgroupParent));
  removeGroups(join("/sys/fs/cgroup", cgroupParent));
});

/** Podman does not remove the group that it was told to work below. */
function removeGroups(path: string): void {
  try {
    for (const entry of readdirSync(path, { withFileTypes: true }))
      if (entry.isDirectory()) removeGroups(join(path, entry.name));
    rmdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" && (error as NodeJS.ErrnoException).code !== "ENOTDIR")
      throw error;
  }
}

/** A shell script in a container of podman's. */
function podman(flags: readonly string[], script: string): Promise<Result> {
  const own = ["root", "runroot", "tmpdir"].flatMap((name) => {
    mkdirSync(join(work, name), { recursive: true });
    return [`--${name}`, join(work, name)];
  });
  const engine = [
    "--storage-driver",
    "vfs",
    "--cgroup-manager",
    "cgroupfs",
    "--events-backend",
    "none",
    "--runtime",
    "runc",
  ];
  const container = [
    "--rm",
    "--network",
    "none",
    "--cgroup-parent",
    cgroupParent,
    "--rootfs",
    makeRoot(),
    "sh",
    "-c",
    script,
  ];
  const child = spawn("podman", [...own, ...engine, "run", ...flags, ...container], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => {
    stdout += data;
  });
  child.stderr.on("data", (data: Buffer) => {
    stderr += data;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ stdout, stderr, code, signal }));
  });
}

for (const cgroups of ["private", "host"]) {
  const where = `inside podman run --privileged --cgroupns=${cgroups}`;
  const inside = async (script: string): Promise<string> => {
    const { stdout, stderr, code } = await podman(["--privileged", `--cgroupns=${cgroups}`], script);
    assert.deepEqual({ stderr, code }, { stderr: "", code: 0 }, stdout);
    return stdout;
  };

  test(`run host: hostname, processes, user, ${where}`, { skip }, async () => {
    assert.equal(
      await inside("tupper run host sh -c 'hostname; ps -o pid,comm; id -u; echo $$; cat /CONTAINER_ROOT_DIR'"),
      "tupperware\nPID   COMMAND\n    1 sh\n    3 ps\n0\n1\ninside\n",
    );
  });

  for (const kind of ["overlay", "bind", "copy"])
    test(`run --root-kind ${kind}: writes go where they belong, ${where}`, { skip }, async () => {
      const listing = await inside(`tupper run --root-kind ${kind} /inner sh -c 'echo x >/written'; ls /inner`);
      const kept = kind === "bind" ? "written\n" : "";
      assert.equal(listing, `bin\ndev\netc\nproc\nsys\ntmp\n${kept}`);
    });

  test(`run: limits are what the container reads, ${where}`, {
    skip: skip || missing("cgroup:memory", "cgroup:pids"),
  }, async () => {
    const script =
      "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max 2>/dev/null || cat memory.max pids.max";
    assert.equal(await inside(`tupper run --memory 32m --pids-limit 20 host sh -c '${script}'`), "33554432\n20\n");
  });

  test(`run, exec, ps, stats, kill: all words work ${where}`, { skip }, async () => {
    const script = `tupper run --name inner host sh -c 'trap "exit 7" TERM; sleep 100 & wait' & pid=$!
      until tupper exec inner echo from exec 2>/dev/null; do sleep 0.05; done
      tupper exec inner hostname; tupper ps -q; tupper stats --format json inner | grep -c '"id": "inner"'
      tupper kill -s TERM inner; wait $pid; echo code $?`;
    assert.equal(await inside(script), "from exec\ntupperware\ninner\n1\ninner\ncode 7\n");
  });

  test(`run: tupper in tupper, ${where}`, { skip }, async () => {
    assert.equal(
      await inside("tupper run --privileged host tupper run --root-kind copy host cat /CONTAINER_ROOT_DIR"),
      "inside\n",
    );
  });

  test(`run: nothing is left, ${where}`, { skip }, async () => {
    const script = `before=$(cat /proc/self/mountinfo)
      tupper run --memory 32m host true; tupper run --name x --root-kind bind host sh -c 'exit 3'; echo $?
      find /sys/fs/cgroup -name 'tupper*'; ls /run/tupper; [ "$before" = "$(cat /proc/self/mountinfo)" ] && echo same mounts`;
    assert.equal(await inside(script), "3\nsame mounts\n");
  });
}

test("run: inside podman run without --privileged it says what is missing", { skip }, async () => {
  const { stderr, code } = await podman([], "tupper run host true");
  assert.equal(code, 125);
  assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
  assert.match(stderr, /^ {2}hint: /m);
  assert.doesNotMatch(stderr, /fault of tupper|INTERNAL/);
});
