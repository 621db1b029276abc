import assert from "node:assert/strict";
import { test } from "node:test";
import { ROOT_HOST, USER_HOST } from "../engine/containers/config/test-facts.ts";
import { ContainerError } from "../error.ts";
import type { Config, IdMapping, Linux, Mount, NamespaceType } from "../spec/config.ts";
import type { ControlGroup } from "./cgroup/limits.ts";
import { planDevices } from "./devices.ts";
import type { Host } from "./host.ts";
import { planMounts } from "./mounts.ts";
import { planPropagation } from "./propagation.ts";
import type { Step } from "./step.ts";

const MAPPINGS: IdMapping[] = [{ containerID: 0, hostID: 1000, size: 10 }];

const V1_HOST: Host = {
  ...ROOT_HOST,
  cgroups: {
    mode: "v1",
    hierarchies: [
      { controllers: ["cpu", "cpuacct"], mountPoint: "/sys/fs/cgroup/cpu,cpuacct", ownPath: "/" },
      { controllers: ["name=systemd"], mountPoint: "/sys/fs/cgroup/systemd", ownPath: "/user" },
    ],
    writable: true,
  },
};

const GROUPS: ControlGroup[] = [{ controller: "cpu,cpuacct", path: "/sys/fs/cgroup/cpu,cpuacct/box" }];

function configOf(mounts: Mount[], types: NamespaceType[] = ["mount"], linux: Partial<Linux> = {}): Config {
  return {
    ociVersion: "1.3.0",
    root: { path: "/srv/root" },
    mounts,
    process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
    linux: { namespaces: types.map((type) => ({ type })), ...linux },
  };
}

/** Steps without who, why and field: what reviewers compare. */
const bare = (steps: readonly Step[]): unknown[] =>
  steps.map((step) => {
    const { by: _by, because: _because, field: _field, ...rest } = step;
    return rest;
  });

function planned(config: Config, host = ROOT_HOST, groups: ControlGroup[] = []): Record<string, unknown[]> {
  const { before, take, place, seal } = planMounts(config, host, groups);
  return { before: bare(before), take: bare(take), place: bare(place), seal: bare(seal) };
}

test("planMounts: a bind mount's flags are changed where it is taken, and of its propagation what is left when it stands", () => {
  const mount = {
    destination: "data/",
    source: "/srv",
    options: ["rbind", "rw", "nosuid", "rexec", "rslave", "rshared"],
  };
  assert.deepEqual(planned(configOf([mount])), {
    before: [],
    take: [
      {
        op: "takeTree",
        source: "/srv",
        recursive: true,
        flags: ["nosuid"],
        clear: ["ro"],
        recursiveFlags: [],
        recursiveClear: ["noexec"],
        propagation: "rslave",
        tree: { slot: "tree.0" },
      },
    ],
    place: [
      { op: "placeTree", tree: { slot: "tree.0" }, target: "/data", again: true },
      { op: "propagation", target: "/data", mode: "rshared" },
    ],
    seal: [],
  });
});

test("planMounts: a read-only tmpfs, and whatever is on /dev, is sealed at the end", () => {
  const { place, seal } = planned(
    configOf([
      { destination: "/dev", type: "devtmpfs", options: ["ro", "nosuid"] },
      { destination: "/cache", type: "tmpfs", options: ["ro"] },
      { destination: "/sys", type: "sysfs", options: ["ro"] },
    ]),
  );
  assert.deepEqual(place, [
    { op: "mount", source: "devtmpfs", fstype: "devtmpfs", flags: ["nosuid"], data: "", target: "/dev" },
    { op: "mount", source: "tmpfs", fstype: "tmpfs", flags: [], data: "", target: "/cache", like: "mode" },
    { op: "mount", source: "sysfs", fstype: "sysfs", flags: ["ro"], data: "", target: "/sys" },
  ]);
  assert.deepEqual(seal, [
    { op: "setMountFlags", target: "/dev", flags: ["ro"], recursive: false },
    { op: "setMountFlags", target: "/cache", flags: ["ro"], recursive: false },
  ]);
});

test("planMounts: owners are mapped by the parent: through mappings, the container's, or the namespace that is joined", () => {
  const map = (change: Partial<Mount>, types: NamespaceType[] = ["mount"], linux: Partial<Linux> = {}) => {
    const config = configOf([{ destination: "/data", source: "/srv", options: ["bind"], ...change }], types, linux);
    const { before, take } = planMounts(config, ROOT_HOST, []);
    assert.deepEqual(take, []);
    const [step] = before;
    if (step?.op !== "takeIdMappedTree") throw new Error("no takeIdMappedTree");
    const { uidMappings, gidMappings, userns, all } = step;
    return { uidMappings, gidMappings, userns, all };
  };
  const both = { uidMappings: MAPPINGS, gidMappings: MAPPINGS, userns: undefined };
  assert.deepEqual(map({ uidMappings: MAPPINGS, gidMappings: MAPPINGS }), { ...both, all: false });
  assert.deepEqual(map({ options: ["bind", "ridmap"], uidMappings: MAPPINGS, gidMappings: MAPPINGS }), {
    ...both,
    all: true,
  });
  const own = { uidMappings: MAPPINGS, gidMappings: MAPPINGS };
  assert.deepEqual(map({ options: ["rbind", "idmap"] }, ["mount", "user"], own), { ...both, all: false });
  const joined = { namespaces: [{ type: "mount" as const }, { type: "user" as const, path: "/proc/7/ns/user" }] };
  assert.deepEqual(map({ options: ["rbind", "idmap"] }, [], joined), {
    uidMappings: [],
    gidMappings: [],
    userns: "/proc/7/ns/user",
    all: false,
  });
  // crun: @ is relative to the container's mapping.
  assert.deepEqual(map({ options: ["bind", "idmap=uids=@2-3-4#50-60-1;gids=0-5-1"] }, ["mount", "user"], own), {
    uidMappings: [
      { containerID: 2, hostID: 1003, size: 4 },
      { containerID: 50, hostID: 60, size: 1 },
    ],
    gidMappings: [{ containerID: 0, hostID: 5, size: 1 }],
    userns: undefined,
    all: false,
  });
});

test("planMounts: cgroup on v1: a mount of each hierarchy in a cgroup namespace, without one the container's group, bound", () => {
  const mount = { destination: "/sys/fs/cgroup", type: "cgroup", options: ["ro"] };
  const flags = ["ro", "nosuid", "nodev", "noexec"];
  const tmpfs = {
    op: "mount",
    source: "tmpfs",
    target: "/sys/fs/cgroup",
    fstype: "tmpfs",
    flags: ["nosuid", "nodev", "noexec"],
    data: "mode=755,size=1m",
  };
  const links = ["cpu", "cpuacct"].map((name) => ({
    op: "makeLink",
    target: "cpu,cpuacct",
    path: `/sys/fs/cgroup/${name}`,
  }));
  const seal = { op: "setMountFlags", target: "/sys/fs/cgroup", flags: ["ro"], recursive: false };
  const inNamespace = planned(configOf([mount], ["mount", "cgroup"]), V1_HOST, GROUPS);
  const at = (name: string, data: string) => ({
    op: "mount",
    source: "cgroup",
    target: `/sys/fs/cgroup/${name}`,
    fstype: "cgroup",
    flags,
    data,
  });
  assert.deepEqual(inNamespace.take, []);
  assert.deepEqual(inNamespace.place, [
    tmpfs,
    at("cpu,cpuacct", "cpu,cpuacct"),
    ...links,
    at("systemd", "name=systemd"),
    seal,
  ]);

  const shared = planned(configOf([mount]), V1_HOST, GROUPS);
  const take = (source: string, name: string) => ({
    op: "takeTree",
    source,
    recursive: false,
    flags,
    recursiveFlags: [],
    propagation: "rprivate",
    tree: { slot: `tree.0.${name}` },
  });
  const place = (name: string) => ({
    op: "placeTree",
    tree: { slot: `tree.0.${name}` },
    target: `/sys/fs/cgroup/${name}`,
  });
  assert.deepEqual(shared.take, [
    take("/sys/fs/cgroup/cpu,cpuacct/box", "cpu,cpuacct"),
    take("/sys/fs/cgroup/systemd/user", "systemd"),
  ]);
  assert.deepEqual(shared.place, [tmpfs, place("cpu,cpuacct"), ...links, place("systemd"), seal]);
});

test("planMounts: cgroup on v2: the tree; in a user namespace without a cgroup namespace the machine's, bound", () => {
  const mount = { destination: "/sys/fs/cgroup", type: "cgroup", options: ["nosuid"] };
  const mounted = [
    { op: "mount", source: "cgroup", target: "/sys/fs/cgroup", fstype: "cgroup2", flags: ["nosuid"], data: "" },
  ];
  const v2: Host = {
    ...ROOT_HOST,
    cgroups: {
      mode: "v2",
      hierarchies: [],
      unified: { mountPoint: "/sys/fs/cgroup", ownPath: "/", controllers: [] },
      writable: true,
    },
  };
  assert.deepEqual(planned(configOf([mount], ["mount", "cgroup"]), v2).place, mounted);
  assert.deepEqual(planned(configOf([mount]), v2).place, mounted);
  const { unified } = v2.cgroups;
  assert.ok(unified !== undefined);
  const delegating = { ...v2, cgroups: { ...v2.cgroups, unified: { ...unified, mountedWith: "nsdelegate" } } };
  assert.deepEqual(planned(configOf([mount], ["mount", "cgroup"]), delegating).place, mounted);
  assert.deepEqual(planned(configOf([mount]), delegating).place, [{ ...mounted[0], data: "nsdelegate" }]);
  const { take, place } = planned(configOf([mount], ["mount", "user"]), v2);
  assert.deepEqual(
    [take?.length, place],
    [1, [{ op: "placeTree", tree: { slot: "tree.0.unified" }, target: "/sys/fs/cgroup", again: true }]],
  );
});

test("planMounts: a filesystem made of the machine's directories or devices is made before they are out of sight", () => {
  const data = "lowerdir=/srv/l,upperdir=/srv/u,workdir=/srv/w";
  const mount: Mount = {
    destination: "/copy",
    type: "overlay",
    source: "overlay",
    options: [...data.split(","), "ro"],
  };
  const { take, place } = planned(configOf([mount]));
  const tree = { slot: "filesystem.0" };
  assert.deepEqual(take, [{ op: "takeFilesystem", source: "overlay", fstype: "overlay", flags: ["ro"], data, tree }]);
  assert.deepEqual(place, [{ op: "placeTree", tree, target: "/copy", again: true }]);
});

const REFUSED: [code: string, mount: Mount, host?: Host][] = [
  ["MOUNT_INSIDE_PROC", { destination: "/proc", type: "tmpfs" }],
  ["MOUNT_INSIDE_PROC", { destination: "/proc/../proc/./sys", type: "tmpfs" }],
  ["MOUNT_INSIDE_PROC", { destination: "proc/self/attr", source: "/srv", options: ["bind"] }],
  ["MOUNT_ON_ROOT", { destination: "/.", type: "tmpfs" }],
  ["MOUNT_SOURCE_NEEDED", { destination: "/data", type: "bind" }],
  ["MOUNT_TYPE_NEEDED", { destination: "/data" }],
  ["MOUNT_TYPE_NEEDED", { destination: "/data", type: "none", source: "/srv" }],
  ["BAD_MOUNT_OPTION", { destination: "/data", source: "/srv", options: ["bind", "sync2"] }],
  ["BAD_MOUNT_OPTION", { destination: "/data", type: "ext4", options: ["tmpcopyup"] }],
  ["BAD_MOUNT_OPTION", { destination: "/data", source: "/srv", options: ["bind", "copy-symlink", "src-nofollow"] }],
  ["BAD_MOUNT_OPTION", { destination: "/data", source: "/srv", options: ["bind", "idmap=uids=1-2"] }],
  ["MOUNT_IDMAP_REFUSED", { destination: "/data", source: "/srv", options: ["bind", "idmap"] }],
  ["MOUNT_IDMAP_REFUSED", { destination: "/data", source: "/srv", options: ["bind"], uidMappings: MAPPINGS }],
  ["MOUNT_IDMAP_REFUSED", { destination: "/data", type: "tmpfs", options: ["idmap"] }],
  ["MOUNT_IDMAP_REFUSED", { destination: "/proc", type: "proc", uidMappings: MAPPINGS, gidMappings: MAPPINGS }],
  ["MOUNT_IDMAP_REFUSED", { destination: "/data", type: "cgroup", uidMappings: MAPPINGS, gidMappings: MAPPINGS }],
  [
    "MOUNT_IDMAP_REFUSED",
    { destination: "/data", source: "/srv", options: ["bind"], uidMappings: MAPPINGS, gidMappings: MAPPINGS },
    USER_HOST,
  ],
  [
    "MOUNT_IDMAP_REFUSED",
    { destination: "/data", source: "/srv", options: ["bind"], uidMappings: MAPPINGS, gidMappings: MAPPINGS },
    { ...ROOT_HOST, kernel: [5, 11] },
  ],
];

for (const [i, [code, mount, host = ROOT_HOST]] of REFUSED.entries()) {
  test(`planMounts: refuses with ${code}: ${JSON.stringify(mount)} (${i})`, () => {
    assert.throws(
      () => planMounts(configOf([mount]), host, []),
      (error) => error instanceof ContainerError && error.code === code && (error.field ?? "").startsWith("mounts[0]"),
    );
  });
}

test("planMounts: mountLabel is an option of filesystems, an attribute of mqueue, and nothing of proc, sysfs and bind mounts", () => {
  const mounts: Mount[] = [
    { destination: "/proc", type: "proc" },
    { destination: "/cache", type: "tmpfs", options: ["mode=755"] },
    { destination: "/dev/mqueue", type: "mqueue" },
    { destination: "/data", source: "/srv", options: ["bind"] },
  ];
  const config = configOf(mounts, ["mount"], { mountLabel: "u:object_r:t:s0:c1,c2" });
  const labelsOf = (labelled: Config) =>
    (planned(labelled).place ?? []).map((step) => (step as { label?: unknown }).label);
  const text = "u:object_r:t:s0:c1,c2";
  assert.deepEqual(labelsOf(config), [undefined, { text, as: "context" }, { text, as: "attribute" }, undefined]);
  const annotated = { ...config, annotations: { "run.oci.mount_context_type": "rootcontext" } };
  assert.deepEqual(labelsOf(annotated)[1], { text, as: "rootcontext" });
});

test("planMounts: what lxcfs stands in for may be mounted on", () => {
  const mount = { destination: "/proc/meminfo", source: "/lxcfs/meminfo", options: ["bind"] };
  assert.deepEqual(planned(configOf([mount])).place, [
    { op: "placeTree", tree: { slot: "tree.0" }, target: "/proc/meminfo", again: true },
  ]);
});

test("planPropagation: what rootfsPropagation leaves of the machine's ties, then the options in their order", () => {
  const at = (root: string | undefined, ...propagation: string[]) => {
    const { taken, later } = planPropagation({ propagation, recursiveBind: true }, root);
    return [taken, ...later];
  };
  assert.deepEqual(at(undefined), ["rslave"]);
  assert.deepEqual(at("rprivate"), ["rprivate"]);
  assert.deepEqual(at("shared"), [undefined]);
  assert.deepEqual(at(undefined, "rprivate"), ["rprivate"]);
  assert.deepEqual(at(undefined, "private"), ["rslave", "private"]);
  assert.deepEqual(at("rshared", "rslave"), ["rslave"]);
  assert.deepEqual(at("rprivate", "rslave"), ["rprivate"]);
  assert.deepEqual(at(undefined, "rslave", "rshared"), ["rslave", "rshared"]);
  assert.deepEqual(planPropagation({ propagation: ["private"], recursiveBind: false }, undefined), {
    taken: "rprivate",
    later: [],
  });
});

test("planDevices: none in a bound /dev; ptmx is a link whatever the config says; a mode may be a whole st_mode", () => {
  const bound = configOf([{ destination: "/dev/", source: "/dev", options: ["rbind"] }]);
  assert.deepEqual(planDevices(bound, ROOT_HOST), { before: [], take: [], place: [] });
  const devices = [
    { path: "/dev/ptmx", type: "c", major: 5, minor: 2 },
    { path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o20640, gid: 6 },
  ] as const;
  const { take, place } = planDevices(configOf([], ["mount"], { devices: [...devices] }), ROOT_HOST);
  const steps = bare(place).filter((step) => /fuse|ptmx/.test(JSON.stringify(step)));
  assert.deepEqual(take, []);
  assert.deepEqual(steps, [
    { op: "makeNode", path: "/dev/fuse", type: "c", major: 10, minor: 229, mode: 0o640, uid: 0, gid: 6, exact: true },
    { op: "makeLink", target: "pts/ptmx", path: "/dev/ptmx", replace: true },
  ]);
});

test("planDevices: in a user namespace root has made what the machine may have otherwise; an id without a map is the machine's root", () => {
  const devices = [
    { path: "/dev/fuse", type: "u", major: 10, minor: 229, fileMode: 0o640, uid: 5, gid: 70_000 },
    { path: "/dev/nothing", type: "c" },
    { path: "/fifo", type: "p" },
  ] as const;
  const maps = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  const more = { devices: [...devices], uidMappings: maps, gidMappings: maps };
  const config = configOf([], ["mount", "user"], more);
  const tree = { slot: "device./dev/fuse" };
  const field = "linux.devices[0]";
  const asked = { ...devices[0], type: "c" as const };
  assert.deepEqual(bare(planDevices(config, ROOT_HOST).before), [
    { op: "makeNodes", nodes: [{ asked, uid: 100_005, gid: 0, tree, field }] },
  ]);
  const joined = configOf([], ["mount"], { devices: [devices[0]] });
  joined.linux.namespaces?.push({ type: "user", path: "/proc/7/ns/user" });
  const [step] = planDevices(joined, ROOT_HOST).before;
  assert.deepEqual(step?.op === "makeNodes" && step.nodes, [{ asked, uid: 0, gid: 0, tree, field }]);
  assert.deepEqual(planDevices(config, { ...ROOT_HOST, privileged: false }).before, []);
});

const since = (minor: number): Host => ({ ...ROOT_HOST, kernel: [6, minor] });
const BIND: Mount = { destination: "/b", source: "/srv", options: ["bind"] };
const TMPFS: Mount = { destination: "/t", type: "tmpfs", options: ["mode=755"] };

/** What is placed, in order; `again` as a star. */
const placed = (config: Config, host: Host): string =>
  planMounts(config, host, [])
    .place.map((step) => `${step.op}${"again" in step ? "*" : ""}`)
    .join(" ");

test("planMounts: what was taken before mounts that the config lists before it is made again in its turn, from Linux 6.15 on", () => {
  const mounts = [BIND, TMPFS, BIND, TMPFS, BIND];
  assert.equal(placed(configOf(mounts), since(15)), "placeTree* mount placeTree* mount placeTree*");
  assert.equal(placed(configOf(mounts), since(14)), "placeTree mount placeTree mount placeTree");
  const proc = { destination: "/proc", type: "proc" };
  const sysfs = { destination: "/sys", type: "sysfs", options: ["ro"] };
  const types: NamespaceType[] = ["mount", "user", "pid", "network"];
  assert.equal(placed(configOf([proc, sysfs, BIND], types), since(15)), "placeTree* placeTree* placeTree*");
});

test("planMounts: of many mounts filesystems are made in their turn too, apart from their places, and nothing again", () => {
  const many = (first: Mount[]): Config => configOf([...first, ...Array.from({ length: 15 }, () => BIND)]);
  const { take, place } = planned(many([TMPFS]), since(8));
  const tree = { slot: "filesystem.0" };
  assert.deepEqual(take?.[0], {
    op: "takeFilesystem",
    source: "tmpfs",
    fstype: "tmpfs",
    flags: [],
    data: "mode=755",
    tree,
  });
  assert.deepEqual(place?.[0], { op: "placeTree", tree, target: "/t", fstype: "tmpfs" });
  assert.equal(placed(many([TMPFS]), since(15)), "placeTree ".repeat(16).trim());
  assert.match(placed(configOf([TMPFS, BIND]), since(15)), /^mount /);
  assert.match(placed(many([TMPFS]), since(7)), /^mount /);
  const { place: kernels = [] } = planned(many([{ destination: "/sys", type: "sysfs" }]), since(8));
  assert.deepEqual(kernels[0], { op: "placeTree", tree, target: "/sys", exact: true, fstype: "sysfs" });
});

test("planMounts: a filesystem that depends on its place, or whose options are one text, is mounted there among many too", () => {
  for (const options of [
    [],
    ["mode=755", "tmpcopyup"],
    ["mode=755", "mpol=bind:0,2"],
    ['context="a:b,c"', "mode=755"],
  ]) {
    const mounts = [{ ...TMPFS, options }, ...Array.from({ length: 15 }, () => BIND)];
    assert.equal(placed(configOf(mounts), since(15)), `mount ${"placeTree* ".repeat(15).trim()}`);
  }
});
