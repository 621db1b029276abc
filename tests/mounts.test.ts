import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  atEnd,
  background,
  eventually,
  fails,
  output,
  prints,
  sees as seesIn,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const sees = (flags: string[], script: string, options = {}) => seesIn(root, flags, script, options);
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };

/** A directory of the machine with a file in it. */
function source(): string {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "file"), "outside\n");
  return directory;
}

/** The options of a mount, as the container sees them. */
const optionsOf = (target: string) => `awk '$2 == "${target}" { print $4 }' /proc/mounts | tail -n 1`;

test("run --volume: a directory of the machine, read and written", needs, async () => {
  const directory = source();
  assert.equal(await sees(["-v", `${directory}:/data`], "cat /data/file; echo inside >/data/made"), "outside\n");
  assert.equal(readFileSync(join(directory, "made"), "utf8"), "inside\n");
});

test("run --volume SRC:DST:ro: EROFS for writes", needs, async () => {
  const directory = source();
  const { stdout, stderr } = await tupper([
    "run",
    "-v",
    `${directory}:/data:ro`,
    root,
    "sh",
    "-c",
    "cat /data/file; touch /data/x",
  ]);
  assert.deepEqual({ stdout, stderr }, { stdout: "outside\n", stderr: "touch: /data/x: Read-only file system\n" });
});

test("run --volume: a file over a file, and where there is none", needs, async () => {
  const file = join(source(), "file");
  const flags = ["-v", `${file}:/etc/passwd`, "-v", `${file}:/new/place/file:ro`];
  assert.equal(await sees(flags, "cat /etc/passwd /new/place/file"), "outside\noutside\n");
});

test("run --volume: a relative source is the caller's", needs, async () => {
  const directory = source();
  assert.equal(await sees(["-v", "./:/data"], "cat /data/file", { cwd: directory }), "outside\n");
  assert.equal(await sees(["-v", "./file:/data"], "cat /data", { cwd: directory }), "outside\n");
});

test("run --volume: a name without a slash is no path, and volumes are refused clearly", needs, async () => {
  const { exitCode, message } = await fails(["run", "-v", "name:/data", root, "true"]);
  assert.equal(exitCode, 125);
  assert.match(message, /name/);
});

test("run --volume: mounts below the source come along, and ro holds for them too", asRoot, async () => {
  const directory = source();
  const below = join(directory, "below");
  mkdirSync(below);
  output("mount", "-t", "tmpfs", "none", below);
  atEnd(() => spawnSync("umount", ["-l", below]));
  writeFileSync(join(below, "file"), "below\n");
  assert.equal(await sees(["-v", `${directory}:/data`], "cat /data/below/file"), "below\n");
  assert.equal(
    await sees(["-v", `${directory}:/data:ro`], "(: >/data/below/x) 2>/dev/null || echo refused"),
    "refused\n",
  );
  assert.equal(
    await sees(["--mount", `type=bind,src=${directory},dst=/data,bind-recursive=disabled`], "ls /data/below"),
    "",
  );
});

test("run --volume: options nosuid, nodev, noexec", needs, async () => {
  const directory = source();
  const options = (await sees(["-v", `${directory}:/data:nosuid,nodev,noexec`], optionsOf("/data"))).trim().split(",");
  for (const option of ["rw", "nosuid", "nodev", "noexec"]) assert.ok(options.includes(option), options.join());
});

test("run --volume: flags of the machine's mount that are locked stay", asRoot, async () => {
  const directory = source();
  output("mount", "-t", "tmpfs", "-o", "noexec,nosuid", "none", directory);
  atEnd(() => spawnSync("umount", ["-l", directory]));
  const options = (await sees(["-v", `${directory}:/data:ro`], optionsOf("/data"))).trim().split(",");
  for (const option of ["ro", "nosuid", "noexec"]) assert.ok(options.includes(option), options.join());
});

test("run --volume: private unless asked otherwise; rslave follows what the machine mounts", asRoot, async () => {
  const directory = source();
  output("mount", "--bind", directory, directory);
  atEnd(() => spawnSync("umount", ["-R", "-l", directory]));
  output("mount", "--make-rshared", directory);
  mkdirSync(join(directory, "later"));
  const apart = await background(root, ["-v", `${directory}:/data`]);
  const following = await background(root, ["-v", `${directory}:/data:rslave`]);
  output("mount", "-t", "tmpfs", "none", join(directory, "later"));
  writeFileSync(join(directory, "later/file"), "");
  assert.equal(await prints(["exec", apart.name, "ls", "/data/later"]), "");
  assert.equal(await prints(["exec", following.name, "ls", "/data/later"]), "file\n");
});

test("run --mount bind-propagation=rshared: what the container mounts appears on the machine", asRoot, async () => {
  const directory = source();
  output("mount", "--bind", directory, directory);
  atEnd(() => spawnSync("umount", ["-R", "-l", directory]));
  output("mount", "--make-rshared", directory);
  mkdirSync(join(directory, "made"));
  const flags = ["--privileged", "--mount", `type=bind,src=${directory},dst=/data,bind-propagation=rshared`];
  await background(root, flags, { script: "mount -t tmpfs from-inside /data/made" });
  assert.match(readFileSync("/proc/self/mountinfo", "utf8"), /from-inside/);
});

test("run --volume: a source that is not there is one sentence with the kernel's answer", needs, async () => {
  for (const [flag, value] of [
    ["--volume", "/no/such/source:/data"],
    ["--mount", "type=bind,src=/no/such/source,dst=/data"],
  ] as const) {
    const { code, exitCode, message, details } = await fails(["run", flag, value, root, "true"]);
    assert.deepEqual({ code, exitCode }, { code: "MOUNT_SOURCE_MISSING", exitCode: 125 });
    assert.match(message, /\/no\/such\/source/);
    assert.match(details.flag ?? "", /^--\S+ \S+ \(mounts\[\d+\]\.source\)$/);
    assert.ok(details.flag?.startsWith(`${flag} ${value} (`), details.flag);
    assert.match(details.kernel ?? "", /^open_tree\w*\(AT_FDCWD, .*OPEN_TREE_CLONE\|.* = ENOENT /);
    assert.ok(details.hint);
    assert.equal(existsSync("/no"), false);
  }
});

test("run --volume: a file over a directory and a directory over a file are refused clearly", needs, async () => {
  const directory = source();
  for (const volume of [`${directory}:/etc/passwd`, `${directory}/file:/etc`]) {
    const { exitCode, message } = await fails(["run", "-v", volume, root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(message, /director/);
  }
});

test("run --volume: what is no volume is refused with the flag named", needs, async () => {
  for (const volume of [
    "",
    ":",
    "/a:",
    ":/b",
    "/etc:relative",
    "/etc:/",
    "/etc:/data:rx",
    "/etc:/data:ro:extra:more",
  ]) {
    const { exitCode, details } = await fails(["run", "-v", volume, root, "true"]);
    assert.deepEqual({ exitCode, flag: details.flag }, { exitCode: 125, flag: "--volume" }, volume);
  }
});

test("run --volume: two at the same place are refused", needs, async () => {
  const { code, exitCode } = await fails(["run", "-v", "/etc:/data", "-v", "/usr:/data/", root, "true"]);
  assert.deepEqual({ code, exitCode }, { code: "MOUNT_TWICE", exitCode: 125 });
});

test("run --volume: mounts are made from the outside in, whatever their order", needs, async () => {
  const directory = source();
  assert.equal(
    await sees(["-v", `${directory}:/a/b/c`, "--tmpfs", "/a", "--tmpfs", "/a/b"], "cat /a/b/c/file"),
    "outside\n",
  );
});

test(
  "run: symlinks in ROOT lead inside it and nowhere else, whatever is made or mounted behind them",
  needs,
  async () => {
    const target = temporaryDirectory();
    const name = `tupper-test-escape-${process.pid}`;
    atEnd(() => spawnSync("rm", ["-rf", `/${name}`]));
    const directory = makeRootfs({ "srv/": "" });
    symlinkSync(target, join(directory, "absolute"));
    symlinkSync("../../../../../../../..", join(directory, "srv/up"));
    symlinkSync("/proc/1/root", join(directory, "srv/magic"));
    symlinkSync("/srv", join(directory, "good"));
    const from = source();
    assert.equal(
      await prints(["run", "-v", `${from}:/good/data`, directory, "cat", "/good/data/file", "/srv/data/file"]),
      "outside\noutside\n",
    );
    const escaped: string[] = [];
    for (const kind of ["overlay", "bind", "copy"]) {
      for (const way of ["/absolute", "/srv/up", "/srv/magic"]) {
        const place = `${way}/${name}`;
        for (const flags of [
          ["-v", `${from}:${place}`],
          ["-v", `${from}/file:${place}`],
          ["--tmpfs", place],
          ["--workdir", place],
          ["--device", `/dev/null:${place}`],
        ]) {
          await tupper(["run", "--root-kind", kind, ...flags, directory, "true"]);
          if (output("ls", "-A", target) !== "" || existsSync(`/${name}`)) escaped.push([kind, ...flags].join(" "));
          spawnSync("rm", ["-rf", `/${name}`, join(target, name)]);
        }
      }
    }
    assert.deepEqual(escaped, [], "these made something outside of ROOT");
  },
);

test("run --volume: a symlink at the place of /proc or in its way does not take /proc elsewhere", needs, async () => {
  const directory = makeRootfs();
  output("rm", "-r", join(directory, "proc"));
  symlinkSync("tmp", join(directory, "proc"));
  const { stdout, stderr, code } = await tupper([
    "run",
    directory,
    "sh",
    "-c",
    "ls -d /proc/self/; awk '$3 == \"proc\" { print $2; exit }' /proc/mounts",
  ]);
  if (code === 0) assert.match(stdout, /^\/proc\/self\/\n\/(proc|tmp)\n$/);
  else assert.match(stderr, /^error: .*proc.* \([A-Z_]+\)$/m);
});

test("run --tmpfs: empty, in memory, with size and mode", needs, async () => {
  const flags = ["--tmpfs", "/etc:size=4m,mode=0700", "--tmpfs", "/plain"];
  const script = `ls -A /etc; stat -c %a /etc; df -k /etc | awk 'NR == 2 { print $2 }'; ${optionsOf("/plain")}; stat -c %a /plain`;
  const [mode, size, options = "", plainMode] = (await sees(flags, script)).trim().split("\n");
  assert.deepEqual([mode, size, plainMode], ["700", "4096", "1777"]);
  for (const option of ["rw", "nosuid", "nodev", "noexec"]) assert.ok(options.split(",").includes(option), options);
});

test("run --tmpfs: ENOSPC at its size; exec where it is asked for", needs, async () => {
  const { stderr, code } = await tupper([
    "run",
    "--tmpfs",
    "/t:size=1m",
    root,
    "dd",
    "if=/dev/zero",
    "of=/t/x",
    "bs=1M",
    "count=2",
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /No space left on device/);
  assert.equal(await sees(["--tmpfs", "/t:exec"], "cp /bin/busybox /t/echo && /t/echo runs"), "runs\n");
});

test("run --tmpfs: a bad option or a relative place is refused", needs, async () => {
  for (const value of ["relative", "/t:size=huge", "/t:no-such-option", ""]) {
    const { exitCode, details } = await fails(["run", "--tmpfs", value, root, "true"]);
    assert.equal(exitCode, 125, value);
    assert.match(
      details.flag ?? "",
      value.startsWith("/") ? /^--tmpfs \/t:\S+ \(mounts\[\d+\]\)$/ : /^--tmpfs$/,
      value,
    );
  }
});

test("run --mount: bind and tmpfs, spelled out", needs, async () => {
  const directory = source();
  const flags = [
    "--mount",
    `type=bind,source=${directory},target=/data,readonly`,
    "--mount",
    "type=tmpfs,destination=/t,tmpfs-size=2m,tmpfs-mode=0711",
  ];
  const script = `cat /data/file; (: >/data/x) 2>/dev/null || echo refused; df -k /t | awk 'NR == 2 { print $2 }'; stat -c %a /t`;
  assert.equal(await sees(flags, script), "outside\nrefused\n2048\n711\n");
});

test("run --mount: a quoted source with a comma, as Docker's CSV has it", needs, async () => {
  const directory = join(temporaryDirectory(), "a,b");
  mkdirSync(directory);
  writeFileSync(join(directory, "file"), "comma\n");
  assert.equal(await sees(["--mount", `type=bind,"src=${directory}",dst=/data`], "cat /data/file"), "comma\n");
});

test("run --mount: unknown keys and types are refused with the nearest right one", needs, async () => {
  for (const [value, hint] of [
    ["type=bnd,src=/etc,dst=/data", /bind/],
    ["type=bind,sorce=/etc,dst=/data", /source/],
    ["type=bind,src=/etc", /dst=/],
    ["type=bind,dst=/data", /src=/],
  ] as const) {
    const { exitCode, details } = await fails(["run", "--mount", value, root, "true"]);
    assert.deepEqual({ exitCode, flag: details.flag }, { exitCode: 125, flag: "--mount" }, value);
    assert.match(details.hint ?? "", hint);
  }
});

test("run --mount: sockets and FIFOs can be bound as well", needs, async () => {
  const directory = temporaryDirectory();
  output("mkfifo", join(directory, "fifo"));
  chmodSync(join(directory, "fifo"), 0o666);
  const running = await background(root, ["-v", `${join(directory, "fifo")}:/fifo`], {
    script: "(read word </fifo; echo got $word) &",
  });
  writeFileSync(join(directory, "fifo"), "word\n");
  await eventually("the word arrives", () => running.stdout().includes("got word"));
});

test("run: remount inside, with the capability for it: from read-only to writable", {
  skip: missing("subuid", "cap:SYS_ADMIN"),
}, async () => {
  const script = "(: >/x) 2>&1; mount -o remount,rw / && touch /x && ls /x";
  assert.equal(await sees(["--privileged", "--read-only"], script), "sh: can't create /x: Read-only file system\n/x\n");
});

test("run: umount inside, lazily and of what is busy", { skip: missing("subuid", "cap:SYS_ADMIN") }, async () => {
  const script = `mkdir /t; mount -t tmpfs thing /t; cd /t; umount /t 2>&1; umount -l /t && grep -c thing /proc/mounts; true`;
  assert.equal(await sees(["--privileged"], script), "umount: can't unmount /t: Device or resource busy\n0\n");
});
