/**
 * crun's annotations about control groups (crun(1)), on a machine with cgroup v2 alone: a group that is delegated to the container, and
 * v1's hierarchy name=systemd.
 *
 * Needs: cgroup2, root
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
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
import { atEnd, eventually, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";
import { CGROUPS, groupOf, ownPath, read } from "./unified-groups.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "unified", "package:busybox-static", ...more) });

const cgroupMount = (...options: string[]) => ({
  destination: "/sys/fs/cgroup",
  type: "cgroup",
  source: "cgroup",
  options: ["nosuid", "noexec", "nodev", "relatime", ...options],
});

/** A copy of the root filesystem that belongs to the first id of the user namespace. */
function sharedTree(): string {
  const directory = output("mktemp", "-d").trim();
  atEnd(() => output("rm", "-rf", directory));
  output("cp", "-a", `${root}/.`, directory);
  output("chown", "-hR", "100000:100000", directory);
  assert.equal(statSync(directory).uid, 100_000);
  return directory;
}

/* run.oci.delegate-cgroup */

const FULL = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const DELEGATE = "run.oci.delegate-cgroup";

/** A container of a user namespace that lives in a delegated group, with a limit of 33 processes on its own. */
function delegated(path: string, name: string, args: string[], more: Partial<Config["linux"]> = {}): Config {
  const namespaces = (["user", "pid", "network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type }));
  const config = makeConfig(sharedTree(), {
    args,
    linux: { namespaces, uidMappings: FULL, gidMappings: FULL, cgroupsPath: path, ...more },
    resources: { pids: { limit: 33 } },
  });
  config.mounts?.push({ ...cgroupMount(), source: "none" });
  return { ...config, annotations: { [DELEGATE]: name } };
}

test(
  "run.oci.delegate-cgroup: the container's root does with its group what it likes, and cannot leave it",
  needs(),
  async () => {
    const script = `cat /proc/self/cgroup; cd /sys/fs/cgroup/deep/payload && cat cgroup.controllers && mkdir init sub && echo 1 >init/cgroup.procs &&
    echo +pids >cgroup.subtree_control && echo 5 >sub/pids.max && cat sub/pids.max; cd ../.. && cat pids.max
    mkdir out; mkdir deep/out; echo 1 >cgroup.procs; echo 1 >deep/cgroup.procs; echo 99 >pids.max; echo 99 >deep/payload/pids.max; echo -pids >cgroup.subtree_control; cat /proc/1/cgroup`;
    const path = ownPath();
    const config = delegated(path, "deep/payload", ["sh", "-c", script]);
    const { stdout, stderr, code } = await runtime(["run", "-b", makeBundle(config), newId()]);
    const controllers = read("/", "cgroup.controllers");
    assert.deepEqual(
      { stdout, code },
      { stdout: `0::/deep/payload\n${controllers}\n5\n33\n0::/deep/payload/init\n`, code: 0 },
      stderr,
    );
    assert.equal(stderr.match(/(Permission denied|Operation not permitted)$/gm)?.length, 7, stderr);
    assert.equal(existsSync(join(CGROUPS, path)), false);
  },
);

test(
  "run.oci.delegate-cgroup: exec goes where the container is; signals, pause and delete take all of it",
  needs(),
  async () => {
    const path = ownPath();
    const id = await running(delegated(path, "payload", ["sleep", "600"]));
    assert.equal(groupOf((await stateOf(id)).pid), `${path}/payload`);
    assert.equal(await runtimePrints(["exec", id, "cat", "/proc/self/cgroup"]), "0::/payload\n");
    assert.equal(statSync(join(CGROUPS, path)).uid, 0);
    for (const file of ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]) {
      const { uid, gid } = statSync(join(CGROUPS, path, "payload", file));
      assert.deepEqual([uid, gid], [100_000, 100_000], file);
    }
    assert.equal(statSync(join(CGROUPS, path, "payload/pids.max")).uid, 0);
    const inner =
      "mkdir /sys/fs/cgroup/payload/inner; echo $$ >/sys/fs/cgroup/payload/inner/cgroup.procs; exec sleep 600";
    await runtimePrints(["exec", "--detach", id, "sh", "-c", inner]);
    await eventually(
      "it is in the group below",
      () => existsSync(join(CGROUPS, path, "payload/inner")) && read(`${path}/payload/inner`, "cgroup.procs") !== "",
    );
    assert.equal(JSON.parse(await runtimePrints(["ps", "--format", "json", id])).length, 2);
    await runtimePrints(["pause", id]);
    assert.match(read(`${path}/payload/inner`, "cgroup.events"), /^frozen 1$/m);
    await runtimePrints(["resume", id]);
    await runtimePrints(["update", "--pids-limit", "44", id]);
    assert.equal(read(path, "pids.max"), "44");
    await runtimePrints(["delete", "--force", id]);
    assert.equal(existsSync(join(CGROUPS, path)), false);
  },
);

test("run.oci.delegate-cgroup: in the machine's cgroup namespace too", needs(), async () => {
  const path = ownPath();
  const linux = { cgroupsPath: path, namespaces: [{ type: "mount" as const }, { type: "pid" as const }] };
  const config = makeConfig(root, { args: ["cat", "/proc/self/cgroup"], linux });
  Reflect.deleteProperty(config, "hostname");
  const bundle = makeBundle({ ...config, annotations: { [DELEGATE]: "payload" } });
  assert.equal(await runtimePrints(["run", "-b", bundle, newId()]), `0::${path}/payload\n`);
});

test("run.oci.delegate-cgroup: belongs to root of a user namespace that is joined", needs(), async () => {
  const { pid } = await stateOf(await running(delegated(ownPath(), "payload", ["sleep", "600"])));
  const path = ownPath();
  const config = delegated(path, "payload", ["sleep", "600"]);
  for (const namespace of config.linux.namespaces ?? [])
    if (namespace.type === "user") namespace.path = `/proc/${pid}/ns/user`;
  delete config.linux.uidMappings;
  delete config.linux.gidMappings;
  await running(config);
  for (const file of ["", "cgroup.procs"]) {
    const { uid, gid } = statSync(join(CGROUPS, path, "payload", file));
    assert.deepEqual([uid, gid], [100_000, 100_000], file);
  }
});

test("run.oci.delegate-cgroup: of a process that was not born in its group", needs(), async () => {
  const path = ownPath();
  const config = makeConfig(root, { linux: { cgroupsPath: path }, resources: { pids: { limit: 0 } } });
  const { pid } = await stateOf(await created({ ...config, annotations: { [DELEGATE]: "payload" } }));
  assert.equal(groupOf(pid), `${path}/payload`);
  const id = await running(delegated(ownPath(), "payload", ["sleep", "600"], { resources: { cpu: { mems: "0" } } }));
  assert.equal(await runtimePrints(["exec", id, "cat", "/proc/1/cgroup"]), "0::/payload\n");
});

test("run.oci.delegate-cgroup: what cannot be made is an error, and nothing is left", needs(), async () => {
  const field = `annotations["${DELEGATE}"]`;
  for (const [name, code] of [
    ["../other", /^CONFIG_INVALID: /],
    ["/payload", /^CONFIG_INVALID: /],
    ["cgroup.procs", /^[A-Z_]+: cannot move the process into /],
    ["x".repeat(4096), /^[A-Z_]+: cannot move the process into /],
    ["a\nb", /^[A-Z_]+: cannot move the process into /],
  ] as const) {
    const path = ownPath();
    const bundle = makeBundle(delegated(path, name, ["true"]));
    const { stderr, code: exit } = await runtime(["create", "-b", bundle, newId()]);
    assert.equal(exit, 1);
    assert.ok(stderr.includes(`config: ${field}`), stderr);
    assert.match(await runtimeFails(["create", "-b", bundle, newId()]), code);
    assert.equal(existsSync(join(CGROUPS, path)), false);
  }
});

/* run.oci.systemd.force_cgroup_v1 */

const FORCE = "run.oci.systemd.force_cgroup_v1";

/** /proc/PID/cgroup without the numbers of hierarchies, which count up. */
const unnumbered = (text: string): string => text.replace(/^\d+:/gm, "0:");

/** The hierarchy name=systemd of v1, mounted for the test; it must be left as it was. */
function systemdV1(): string {
  const directory = temporaryDirectory();
  assert.equal(output("mount", "-t", "cgroup", "-o", "none,name=systemd,xattr", "cgroup", directory), "");
  atEnd(() => {
    assert.deepEqual(
      readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory()),
      [],
    );
    output("umount", directory);
  });
  return directory;
}

test(
  "run.oci.systemd.force_cgroup_v1: the mount is the container's group of name=systemd and no more",
  needs(),
  async () => {
    const hierarchy = systemdV1();
    const script = `cat /proc/self/cgroup; ls /sys/fs/cgroup; cd /sys/fs/cgroup/systemd && mkdir -p init.scope &&
    echo 1 >init.scope/cgroup.procs && cat /proc/1/cgroup; ls release_agent`;
    for (const isMapped of [true, false]) {
      for (const type of ["cgroup", "bind"]) {
        const config = isMapped
          ? delegated(ownPath(), "", ["sh", "-c", script])
          : makeConfig(root, { args: ["sh", "-c", script], linux: { cgroupsPath: ownPath() } });
        config.mounts = (config.mounts ?? []).filter(({ destination }) => destination !== "/sys/fs/cgroup");
        config.mounts.push(
          type === "cgroup"
            ? cgroupMount()
            : { destination: "/sys/fs/cgroup/", type: "bind", source: "/nowhere", options: ["rbind"] },
        );
        config.annotations = { [FORCE]: "/sys/fs/cgroup" };
        const { stdout, stderr } = await runtime(["run", "-b", makeBundle(config), newId()]);
        assert.equal(unnumbered(stdout), "0:name=systemd:/\n0::/\nsystemd\n0:name=systemd:/init.scope\n0::/\n", stderr);
        assert.equal(stderr, "ls: release_agent: No such file or directory\n");
        const left = readdirSync(hierarchy, { withFileTypes: true }).filter((entry) => entry.isDirectory());
        assert.deepEqual(left, []);
      }
    }
  },
);

test(
  "run.oci.systemd.force_cgroup_v1: exec goes to the same groups, beside a delegated one too; create without it is as ever",
  needs(),
  async () => {
    const hierarchy = systemdV1();
    const path = ownPath();
    const config = delegated(path, "payload", ["sleep", "600"]);
    const id = await running({ ...config, annotations: { ...config.annotations, [FORCE]: "/sys/fs/cgroup" } });
    assert.equal(
      unnumbered(await runtimePrints(["exec", id, "cat", "/proc/self/cgroup"])),
      "0:name=systemd:/\n0::/payload\n",
    );
    assert.equal(statSync(join(hierarchy, path)).uid, 100_000);
    const { pid } = await stateOf(id);
    assert.equal(
      unnumbered(readFileSync(`/proc/${pid}/cgroup`, "utf8")),
      `0:name=systemd:${path}\n0::${path}/payload\n`,
    );
    await runtimePrints(["pause", id]);
    await runtimePrints(["resume", id]);
    await runtimePrints(["delete", "--force", id]);
    assert.deepEqual([existsSync(join(hierarchy, path)), existsSync(join(CGROUPS, path))], [false, false]);

    const other = makeConfig(root, { args: ["sh", "-c", "cat /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs"] });
    other.mounts?.push(cgroupMount());
    const plain = await runtimePrints(["run", "-b", makeBundle(other), newId()]);
    assert.equal(unnumbered(plain), "0:name=systemd:/\n0::/\n/sys/fs/cgroup/cgroup.procs\n");
  },
);

test(
  "run.oci.systemd.force_cgroup_v1: without the hierarchy it is an error, without the mount nothing",
  needs(),
  async () => {
    const config = makeConfig(root, { args: ["cat", "/proc/self/cgroup"] });
    config.annotations = { [FORCE]: "/sys/fs/cgroup" };
    assert.equal(await runtimePrints(["run", "-b", makeBundle(config), newId()]), "0::/\n");
    config.mounts?.push(cgroupMount());
    assert.equal(
      await runtimeFails(["create", "-b", makeBundle(config), newId()]),
      "CGROUP_CONTROLLER_MISSING: no control group hierarchy name=systemd is mounted on this machine",
    );
  },
);
