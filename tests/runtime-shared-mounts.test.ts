/** Containers of the OCI runtime that share their mount namespace: with the machine, or with one that they join by path. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  type ConfigChange,
  created,
  makeBundle,
  makeConfig,
  newId,
  running,
  runtime,
  runtimeFails,
  runtimePrints,
  stateOf,
} from "./bundle.ts";
import { atEnd, compiled, eventually, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
/** Docs: adr/0021. */
const refused = missing("kernel:7.3") ? false : "Linux 7.3 takes the mounts of a tree away that nobody has open";
const asRoot = (...more: string[]) => ({ skip: missing("root") || refused || needs(...more).skip });

const mountsOf = (pid: number | "self"): string => readFileSync(`/proc/${pid}/mountinfo`, "utf8");
const namespaceOf = (pid: number | "self"): string => readlinkSync(`/proc/${pid}/ns/mnt`);

/** A config with all kinds of mounts; `path`: the mount namespace to join, else it is the machine's. */
function sharing(change: ConfigChange = {}, path?: string): Config {
  const config = makeConfig(makeRootfs({ "etc/name": "the container's\n", "volume/": "" }), change);
  const types = (["pid", "network", "ipc", "uts", "cgroup"] as const).map((type) => ({ type }));
  const mount = path === undefined ? [] : [{ type: "mount" as const, path }];
  config.linux = {
    ...config.linux,
    namespaces: [...types, ...mount],
    maskedPaths: ["/proc/keys"],
    readonlyPaths: ["/proc/sys"],
  };
  return config;
}

/** A process in a mount namespace of its own. */
async function otherNamespace(script = ""): Promise<number> {
  const other = spawn("unshare", ["--mount", "sh", "-c", `${script}\nexec sleep 600`], { stdio: "ignore" });
  atEnd(() => other.kill("SIGKILL"));
  const { pid = 0 } = other;
  await eventually("it sleeps there", () => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n");
  return pid;
}

/** What holds whoever the namespace is shared with. */
async function isLeftAlone(config: Config, pid: number | "self"): Promise<void> {
  const before = mountsOf(pid);
  const source = temporaryDirectory();
  writeFileSync(join(source, "file"), "the volume's\n");
  config.mounts?.push({ destination: "/volume", source, options: ["rbind", "ro"] });
  const id = await running(config);
  assert.equal(namespaceOf((await stateOf(id)).pid), namespaceOf(pid));
  assert.equal(mountsOf(pid), before);
  const sees = (script: string) => runtimePrints(["exec", id, "sh", "-c", script]);
  assert.equal(await sees("cat /etc/name /volume/file; pwd"), "the container's\nthe volume's\n/\n");
  assert.equal(await sees("cat /proc/1/comm /proc/keys; cat /../../etc/name"), "sleep\nthe container's\n");
  for (const path of ["/proc/sys/kernel/x", "/volume/x", "/x"])
    assert.equal(await sees(`touch ${path} 2>/dev/null || echo no`), "no\n", path);
  await runtimePrints(["delete", "--force", id]);
  assert.equal(mountsOf(pid), before);
}

test("linux.namespaces without mount: refused where its mounts would be gone", {
  skip: missing("root", "kernel:7.3", "package:busybox-static"),
}, async () => {
  const { code, stderr } = await runtime(["run", "--bundle", makeBundle(sharing()), newId()]);
  assert.equal(code, 1);
  assert.match(stderr, /\(SHARED_MOUNTS_UNAVAILABLE\)/);
});

test(
  "linux.namespaces without mount: the machine's mount namespace, and none of the container's mounts in it",
  asRoot(),
  () => isLeftAlone(sharing(), "self"),
);

test(
  "linux.namespaces mount by path: the namespace that is named, and none of the container's mounts in it",
  asRoot(),
  async () => {
    const pid = await otherNamespace();
    await isLeftAlone(sharing({}, `/proc/${pid}/ns/mnt`), pid);
  },
);

test(
  "linux.namespaces mount by path: root and sources are what is there, relative ones the bundle's",
  asRoot(),
  async () => {
    const [own, theirs] = [temporaryDirectory(), temporaryDirectory()];
    const config = sharing({ args: ["cat", "/volume/file", "/relative/file"] });
    const bundle = makeBundle(config);
    mkdirSync(join(bundle, "here"));
    writeFileSync(join(bundle, "here/file"), "of the bundle\n");
    writeFileSync(join(theirs, "file"), "theirs\n");
    const pid = await otherNamespace(`mount --bind ${theirs} ${own}`);
    config.linux.namespaces?.push({ type: "mount", path: `/proc/${pid}/ns/mnt` });
    config.mounts?.push(
      { destination: "/volume", source: own, options: ["bind"] },
      { destination: "/relative", source: "here", options: ["bind"] },
    );
    writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
    assert.equal(await runtimePrints(["run", "--bundle", bundle, newId()]), "theirs\nof the bundle\n");
  },
);

test("linux.namespaces without mount: with a terminal, and with no namespace at all", asRoot(), async () => {
  const config = sharing({ args: ["sh", "-c", "tty; cat /etc/name"], process: { terminal: true } });
  config.mounts?.push({ destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance"] });
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "/dev/pts/0\nthe container's\n");
  const { hostname: _, ...bare } = sharing({ args: ["readlink", "/proc/self/ns/pid"] });
  bare.linux = { resources: bare.linux.resources ?? {} };
  assert.equal(
    (await runtime(["run", "--bundle", makeBundle(bare), newId()])).stdout,
    `${readlinkSync("/proc/self/ns/pid")}\n`,
  );
  const id = await running({ ...bare, process: { ...bare.process, args: ["sleep", "600"] } });
  assert.equal(await runtimePrints(["exec", id, "cat", "/etc/name"]), "the container's\n");
});

test("linux.namespaces without mount: hooks of all kinds run, and see nothing of the mounts", asRoot(), async () => {
  const out = join(temporaryDirectory(), "out");
  const config = sharing({ args: ["true"] });
  const before = mountsOf("self");
  const say = (kind: string) => [
    { path: "/bin/sh", args: ["sh", "-c", `echo ${kind} $(ls ${config.root.path}/proc | wc -l) >>${out}`] },
  ];
  const kinds = ["createRuntime", "createContainer", "poststart", "poststop"] as const;
  config.hooks = Object.fromEntries(kinds.map((kind) => [kind, say(kind)]));
  await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
  assert.equal(readFileSync(out, "utf8"), kinds.map((kind) => `${kind} 0\n`).join(""));
  assert.equal(mountsOf("self"), before);
});

test("linux.namespaces without mount: a root with links that would lead mounts out of it", asRoot(), async () => {
  const outside = temporaryDirectory();
  const config = sharing({ args: ["sh", "-c", `ls /data ${outside}`] });
  symlinkSync(outside, join(config.root.path, "data"));
  const source = temporaryDirectory();
  writeFileSync(join(source, "file"), "");
  config.mounts?.push({ destination: "/data", source, options: ["bind"] });
  const listed = await runtimePrints(["run", "--bundle", makeBundle(config), newId()]);
  assert.equal(listed, `/data:\nfile\n\n${outside}:\nfile\n`);
  assert.equal(existsSync(join(outside, "file")), false);
});

test(
  "linux.namespaces without mount: root with CAP_SYS_CHROOT cannot climb out of the chroot",
  asRoot("programs"),
  async () => {
    const config = sharing({
      args: ["escape"],
      root: { readonly: false },
      process: {
        capabilities: { bounding: ["CAP_SYS_CHROOT"], effective: ["CAP_SYS_CHROOT"], permitted: ["CAP_SYS_CHROOT"] },
      },
    });
    const { path } = config.root;
    writeFileSync(join(path, "CONTAINER_ROOT_DIR"), "still inside\n");
    mkdirSync(join(path, "tmp"), { recursive: true });
    config.mounts?.push({ destination: "/bin/escape", source: compiled("chroot_escape"), options: ["bind"] });
    assert.equal(await runtimePrints(["run", "--bundle", makeBundle(config), newId()]), "still inside\n");
  },
);

test(
  "a user namespace without a mount namespace, and mounts that are added to a shared one, are refused",
  asRoot(),
  async () => {
    const config = sharing();
    const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    Object.assign(config.linux, { uidMappings: mappings, gidMappings: mappings });
    config.linux.namespaces?.push({ type: "user" });
    assert.match(await runtimeFails(["run", "--bundle", makeBundle(config), newId()]), /^MOUNT_NAMESPACE_NEEDED: /);
    const id = await created(sharing());
    const mount = JSON.stringify([{ destination: "/volume", type: "tmpfs", source: "tmpfs" }]);
    const file = join(temporaryDirectory(), "mounts.json");
    writeFileSync(file, mount);
    assert.match(await runtimeFails(["mounts", "add", id, file]), /^MOUNT_NAMESPACE_SHARED: /);
  },
);
