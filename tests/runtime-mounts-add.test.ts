/** `tupper-runtime mounts add` and `remove`: what a running container sees, and what a hostile one cannot do with it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, running, runtime, runtimeFails, runtimePrints } from "./bundle.ts";
import { pointsOf, withKill } from "./fault-points.ts";
import { atEnd, binary, isSanitizer, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { inUserNamespace } from "./runtime-config.ts";

watchForLeftovers();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });

/** A running container with a root of its own, that it may write to. */
async function container(change: (config: ReturnType<typeof makeConfig>) => void = () => {}) {
  const root = makeRootfs();
  const config = makeConfig(root, { root: { readonly: false } });
  change(config);
  const id = await running(config);
  const input = (mounts: unknown) => ({ input: JSON.stringify(mounts) });
  return {
    id,
    root,
    add: async (...mounts: unknown[]) =>
      assert.equal(await runtimePrints(["mounts", "add", id, "-"], input(mounts)), ""),
    remove: async (...paths: string[]) => {
      const mounts = paths.map((destination) => ({ destination }));
      assert.equal(await runtimePrints(["mounts", "remove", id, "-"], input(mounts)), "");
    },
    refuses: (command: "add" | "remove", ...mounts: unknown[]) =>
      runtimeFails(["mounts", command, id, "-"], input(mounts)),
    sees: (script: string) => runtimePrints(["exec", id, "sh", "-c", script]),
    /** What is mounted below /new of the container, and with which flags. */
    mounted: () => runtimePrints(["exec", id, "awk", '$5 ~ "^/new" { print $5, $6 }', "/proc/self/mountinfo"]),
  };
}

function source(directory = temporaryDirectory()): string {
  writeFileSync(join(directory, "file"), "of the machine");
  return directory;
}

/** With the flags that a mount has by itself; those of /tmp, which a bind mount has from there, are the machine's. */
function mountedSource(): string {
  const directory = temporaryDirectory();
  output("mount", "-t", "tmpfs", "source", directory);
  atEnd(() => spawnSync("umount", ["--lazy", directory]));
  return source(directory);
}

const bind = (from: string, destination: string, ...options: string[]) => ({
  type: "bind",
  source: from,
  destination,
  options: ["bind", ...options],
});

test("mounts add: a directory and a file, their places are made; remove: they are gone", asRoot(), async () => {
  const { add, remove, sees, mounted } = await container();
  const from = mountedSource();
  await add(bind(from, "/new/deep/directory", "ro", "nosuid"), bind(`${from}/file`, "/new/file"));
  assert.equal(await mounted(), "/new/deep/directory ro,nosuid,relatime\n/new/file rw,relatime\n");
  assert.equal(await sees("cat /new/deep/directory/file; cat /new/file"), "of the machineof the machine");
  assert.match(await sees("touch /new/deep/directory/x 2>&1; true"), /Read-only file system/);
  await remove("/new/file", "/new/deep/directory/");
  assert.equal(await mounted(), "");
  assert.equal(await sees("ls /new/deep/directory"), "");
});

test("mounts add: a tmpfs with flags and options, an object with mounts, a file", needs(), async () => {
  const { id, mounted, sees, remove } = await container();
  const file = join(temporaryDirectory(), "mounts.json");
  const tmpfs = {
    type: "tmpfs",
    source: "t",
    destination: "/new",
    options: ["nosuid", "noexec", "size=64k", "mode=700"],
  };
  writeFileSync(file, JSON.stringify({ mounts: [tmpfs] }));
  assert.equal(await runtimePrints(["mounts", "add", id, file]), "");
  assert.equal(await mounted(), "/new rw,nosuid,noexec,relatime\n");
  assert.equal(await sees("stat -c %a /new; df /new | awk 'END { print $2 }'"), "700\n64\n");
  await remove("/new");
  assert.equal(await mounted(), "");
});

test("mounts add: a tmpfs with owners mapped", { skip: asRoot().skip || missing("kernel:6.3") }, async () => {
  const { add, sees } = await container();
  await add({ type: "tmpfs", destination: "/new", options: ["idmap=uids=0-7-1;gids=0-8-1", "mode=711"] });
  assert.equal(await sees("stat -c '%u:%g %a' /new; grep -c idmapped /proc/self/mountinfo"), "7:8 711\n1\n");
});

test("mounts add: all or nothing, and the error names the field", asRoot(), async () => {
  const { add, refuses, mounted } = await container();
  const from = mountedSource();
  assert.match(
    await refuses("add", bind(from, "/new/a"), bind("/no/such/source", "/new/b")),
    /^MOUNT_SOURCE_MISSING: cannot take \/no\/such\/source: the source does not exist$/,
  );
  // A file on a directory: found only when the first one is in place.
  const { stderr } = await runtime(["mounts", "add", (await container()).id, "-"], {
    input: JSON.stringify([bind(from, "/new/a"), bind(`${from}/file`, "/new/b"), bind(`${from}/file`, "/new/a")]),
  });
  assert.match(stderr, /PLACE_INSIDE_FAILED/);
  assert.match(stderr, /mounts\[2\]\.destination/);
  assert.match(await refuses("add", bind(from, "/new/a"), bind(`${from}/file`, "/new/a")), /^PLACE_INSIDE_FAILED: /);
  assert.equal(await mounted(), "");
  await add(bind(from, "/new/a"));
  assert.equal(await mounted(), "/new/a rw,relatime\n");
});

test("mounts add: what cannot be put on record is taken away again", asRoot(), async () => {
  const records = temporaryDirectory();
  output("mount", "-t", "tmpfs", "records", records);
  atEnd(() => spawnSync("umount", ["--lazy", records]));
  const [id, root] = [newId(), ["--root", records]];
  const config = makeConfig(makeRootfs(), { root: { readonly: false } });
  await runtimePrints([...root, "create", "--bundle", makeBundle(config), id]);
  atEnd(() => runtime([...root, "delete", "--force", id]));
  await runtimePrints([...root, "start", id]);
  output("mount", "-o", "remount,ro", records);
  const input = JSON.stringify([bind(source(), "/new/a"), bind(source(), "/new/b")]);
  const { stderr, code } = await runtime([...root, "mounts", "add", id, "-"], { input });
  assert.match(stderr, /EROFS/);
  assert.equal(code, 1);
  assert.equal(await runtimePrints([...root, "exec", id, "awk", '$5 ~ "^/new"', "/proc/self/mountinfo"]), "");
  output("mount", "-o", "remount,rw", records);
});

const traced = () => ({
  skip: asRoot("programs", "arch:x64").skip || (isSanitizer ? "what the sanitizer calls is not ours" : false),
});

/** SIGKILL to such a command before it puts the last on record, and to its process in the container, which would take back what it can. */
async function killedLate(id: string, verb: "add" | "remove", mount: object): Promise<void> {
  const directory = temporaryDirectory();
  const file = join(directory, "mounts.json");
  writeFileSync(file, JSON.stringify([mount]));
  const command = [`${binary}-runtime`, "mounts", verb, id, file];
  const { points } = await pointsOf(command, directory);
  if (verb === "add") await runtimePrints(["mounts", "remove", id, file]);
  else await runtimePrints(["mounts", "add", id, file]);
  const last = points.findLast(({ process, call }) => process === 0 && call === "renameat2");
  assert.ok(last !== undefined);
  assert.equal((await withKill(last, ["child", "parent"], command, directory)).code, 137);
}

test("mounts add: what was placed by a command that was killed can be removed", traced(), async () => {
  const { id, remove, mounted } = await container();
  await killedLate(id, "add", { type: "tmpfs", source: "t", destination: "/new" });
  assert.equal(await mounted(), "/new rw,relatime\n");
  await remove("/new");
  assert.equal(await mounted(), "");
});

test("mounts remove: what a command that was killed has taken away is in nobody's way", traced(), async () => {
  const { id, add, remove, refuses, mounted } = await container();
  const mount = { type: "tmpfs", source: "t", destination: "/new" };
  await add(mount);
  await add(mount);
  await killedLate(id, "remove", mount);
  assert.equal(await mounted(), "/new rw,relatime\n");
  await remove("/new");
  assert.equal(await mounted(), "");
  assert.match(await refuses("remove", mount), /^MOUNT_NOT_ADDED: /);
});

test("mounts remove: what its process may not look at is told as that", asRoot(), async () => {
  const { root, add, remove, refuses, mounted } = await container(inUserNamespace);
  mkdirSync(join(root, "new/a"), { recursive: true });
  await add(bind(source(), "/new/a", "ro"));
  chmodSync(join(root, "new"), 0o700);
  assert.match(await refuses("remove", { destination: "/new/a" }), /^UNMOUNT_INSIDE_FAILED: /);
  chmodSync(join(root, "new"), 0o755);
  await remove("/new/a");
  assert.equal(await mounted(), "");
});

test("mounts add: what cannot be given to a running container is refused", needs(), async () => {
  const { refuses } = await container();
  const refusal = async (mount: unknown) => (await refuses("add", mount)).replace(/: .*/, "");
  assert.equal(await refusal({ type: "proc", source: "proc", destination: "/new" }), "MOUNT_NOT_LIVE");
  assert.equal(await refusal({ type: "tmpfs", destination: "/new", options: ["tmpcopyup"] }), "MOUNT_NOT_LIVE");
  assert.equal(
    await refusal({ type: "bind", source: "/", destination: "/new", options: ["remount", "ro"] }),
    "MOUNT_NOT_LIVE",
  );
  assert.equal(await refusal(bind("/etc", "/proc/sys")), "MOUNT_INSIDE_PROC");
  assert.equal(await refusal(bind("/etc", "/")), "MOUNT_ON_ROOT");
  assert.equal(await refusal({ type: "bind" }), "CONFIG_INVALID");
});

test("mounts add: links of the container lead to its own files only, links into /proc nowhere", asRoot(), async () => {
  const { root, add, refuses, mounted } = await container();
  const from = source();
  const outside = temporaryDirectory();
  mkdirSync(join(root, "elsewhere"));
  symlinkSync("../../../../../elsewhere", join(root, "climbs"));
  symlinkSync(`../../../../../..${outside}`, join(root, "out"));
  symlinkSync("/proc/1/root/elsewhere", join(root, "magic"));
  symlinkSync("/proc/sys", join(root, "kernel"));
  await add(bind(from, "/climbs/new"));
  assert.deepEqual(readdirSync(join(root, "elsewhere")), ["new"]);
  assert.match(await refuses("add", bind(from, "/out")), /^PLACE_INSIDE_FAILED: /);
  assert.equal(existsSync(join(outside, "file")), false);
  assert.match(await refuses("add", bind(from, "/magic")), /^PLACE_INSIDE_FAILED: .*symbolic links/);
  assert.match(await refuses("add", bind(from, "/kernel")), /^MOUNT_INSIDE_PROC: /);
  assert.equal(await mounted(), "");
});

test("mounts remove: only what was added, and not what the container has put in its place", asRoot(), async () => {
  const { add, remove, refuses, sees, mounted } = await container((config) => {
    config.linux.maskedPaths = ["/new/masked"];
    mkdirSync(join(config.root.path, "new/masked"), { recursive: true });
    writeFileSync(join(config.root.path, "new/masked/secret"), "");
  });
  assert.equal(
    await refuses("remove", { destination: "/new/masked" }),
    "MOUNT_NOT_ADDED: no mount was added at /new/masked",
  );
  await add(bind(source(), "/new/over/there"));
  // The container moves what is above it, and shows something masked in its place.
  await sees("mv /new/over /new/away; mkdir /new/over; ln -s ../masked /new/over/there");
  assert.match(await refuses("remove", { destination: "/new/over/there" }), /^MOUNT_NOT_THERE: /);
  assert.equal(await sees("ls /new/masked"), "");
  await sees("rm -r /new/over; mv /new/away /new/over");
  await remove("/new/over/there");
  assert.match(await mounted(), /^\/new\/masked [a-z,]+\n$/);
});

test("mounts add: in a user namespace a tmpfs and the places belong to the container's root", asRoot(), async () => {
  const { add, remove, sees, mounted } = await container(inUserNamespace);
  const from = source();
  await add({ type: "tmpfs", source: "tmpfs", destination: "/new/tmp" }, bind(from, "/new/bind"));
  assert.equal(await sees("stat -c %u /new /new/tmp; cat /new/bind/file"), "0\n0\nof the machine");
  await remove("/new/bind", "/new/tmp");
  assert.equal(await mounted(), "");
});

test("mounts add: with owners mapped, which needs Linux 5.12", asRoot(), async () => {
  const { add, sees, refuses } = await container();
  const from = source();
  output("chown", "7:8", join(from, "file"));
  const map = [{ containerID: 7, hostID: 1007, size: 2 }];
  const mapped = { ...bind(from, "/new/bind"), uidMappings: map, gidMappings: map };
  if (missing("kernel:5.12")) return assert.match(await refuses("add", mapped), /^MOUNT_IDMAP_REFUSED: /);
  await add(mapped);
  assert.equal(await sees("stat -c %u:%g /new/bind/file"), "1007:1008\n");
});

test("mounts add: not for a container that has ended", needs(), async () => {
  const { id, refuses } = await container();
  assert.equal(await runtimePrints(["kill", id, "KILL"]), "");
  while (!(await runtimePrints(["state", id])).includes('"stopped"'));
  assert.match(await refuses("add", bind(source(), "/new")), /^CONTAINER_NOT_RUNNING: /);
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8").includes("/new"), false);
});
