import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "../spec/config.ts";
import { boundGroups, dumpOptions, errorLines, externalMounts, restoreOptions } from "./criu-options.ts";
import type { Step } from "./step.ts";

const CONFIG: Config = {
  ociVersion: "1.3.0",
  root: { path: "/srv/root" },
  process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
  mounts: [
    { type: "proc", destination: "/proc" },
    { type: "bind", source: "/srv/data", destination: "/data/" },
  ],
  linux: {
    namespaces: [{ type: "mount" }, { type: "network", path: "/run/netns/a" }, { type: "uts", path: "/run/utsns/b" }],
    maskedPaths: ["/proc/kcore"],
  },
};

const MOUNTS = [{ destination: "/data", source: "/srv/data" }];
const ASKED = { logLevel: 4, notifyScripts: true, orphanPtsMaster: false, emptyNs: 0 };

/** Without what is not asked for. */
const given = (options: object): object => JSON.parse(JSON.stringify(options));

test("dumpOptions: what is outside of the images has a name, and flags are CRIU's", () => {
  const facts = {
    pid: 7,
    freezer: "/sys/fs/cgroup/freezer/box",
    configFile: "/etc/criu/box.conf",
    isFile: (path: string) => path === "/proc/kcore",
    inodeOf: () => 42,
    mounts: MOUNTS,
  };
  const flags = {
    imagePath: "/images",
    statusFd: 9,
    pageServer: { address: "::1", port: 27 },
    tcpSkipInFlight: true,
    manageCgroupsMode: "full",
  } as const;
  assert.deepEqual(given(dumpOptions(CONFIG, flags, facts)), {
    ...ASKED,
    pid: 7,
    logFile: "dump.log",
    manageCgroupsMode: 4,
    root: "/srv/root",
    configFile: "/etc/criu/box.conf",
    freezeCgroup: "/sys/fs/cgroup/freezer/box",
    external: ["net[42]:extRootNetNS", "mnt[/proc/kcore]:/dev/null", "mnt[/data]:/data"],
    tcpSkipInFlight: true,
    trackMem: false,
    ps: [["::1", 27]],
  });
  const { external, trackMem } = dumpOptions(CONFIG, { imagePath: "/images", preDump: true }, facts);
  assert.deepEqual({ external, trackMem }, { external: ["net[42]:extRootNetNS"], trackMem: true });
});

test("restoreOptions: namespaces that are there are joined or inherited, groups are the new ones", () => {
  const facts = {
    root: "/run/box/root",
    configFile: undefined,
    inherited: [{ fd: 100, key: "extRootNetNS" }],
    cgroups: [
      { controller: "memory", path: "/box" },
      { controller: "", path: "/box2" },
    ],
    mounts: MOUNTS,
  };
  const flags = { imagePath: "/images", workPath: "/work", tcpClose: true, lsmProfile: "apparmor:box" };
  assert.deepEqual(given(restoreOptions(CONFIG, flags, facts)), {
    ...ASKED,
    logFile: "restore.log",
    manageCgroupsMode: 3,
    root: "/run/box/root",
    rstSibling: true,
    evasiveDevices: true,
    inheritFd: [["extRootNetNS", 100]],
    joinNs: [["uts", "/run/utsns/b"]],
    cgRoot: [
      ["memory", "/box"],
      ["", "/box2"],
    ],
    tcpClose: true,
    lsmProfile: "apparmor:box",
    external: ["mnt[/data]:/srv/data", "mnt[/dev/null]:/dev/null"],
  });
  assert.deepEqual(restoreOptions(CONFIG, { imagePath: "/images", manageCgroupsMode: "ignore" }, facts).cgRoot, []);
});

test("dumpOptions, restoreOptions: a terminal is handed over, unless it is the caller's; an own network comes back empty", () => {
  const config: Config = {
    ...CONFIG,
    process: { ...CONFIG.process, terminal: true },
    linux: { namespaces: [{ type: "network" }] },
  };
  const facts = { root: "/", configFile: undefined, inherited: [], cgroups: [], mounts: [] };
  const options = (shellJob: boolean) => restoreOptions(config, { imagePath: "/images", shellJob }, facts);
  assert.deepEqual([options(false).orphanPtsMaster, options(true).orphanPtsMaster], [true, false]);
  assert.equal(options(false).emptyNs, 0x40000000);
});

test("externalMounts: binds by the name that the kernel has for them, from the bundle on", () => {
  const config: Config = {
    ...CONFIG,
    mounts: [
      { source: "data", destination: "/link/", options: ["rbind"] },
      { type: "tmpfs", source: "tmpfs", destination: "/tmp" },
    ],
    linux: { devices: [{ path: "/dev/fuse", type: "c" }] },
  };
  assert.deepEqual(
    externalMounts(config, "/bundle", (path) => (path === "/link" ? "/real" : path)),
    [
      { destination: "/real", source: "/bundle/data" },
      { destination: "/dev/fuse", source: "/dev/fuse" },
    ],
  );
});

test("boundGroups: directories of control groups that a plan shows below a mount of type cgroup", () => {
  const why = { by: "init", because: "" } as const;
  const take = (slot: string, source: string): Step => ({
    ...why,
    op: "takeTree",
    source,
    recursive: false,
    flags: [],
    recursiveFlags: [],
    propagation: "rprivate",
    tree: { slot },
  });
  const place = (slot: string, target: string): Step => ({ ...why, op: "placeTree", tree: { slot }, target });
  const steps = [
    take("tree.0", "/srv/data"),
    take("tree.1.memory", "/sys/fs/cgroup/memory/box"),
    place("tree.0", "/sys/fs/cgroups"),
    place("tree.1.memory", "/sys/fs/cgroup/memory"),
  ];
  const config: Config = { ...CONFIG, mounts: [{ type: "cgroup", destination: "/sys/fs/cgroup" }] };
  assert.deepEqual(boundGroups(steps, config), [
    { destination: "/sys/fs/cgroup/memory", source: "/sys/fs/cgroup/memory/box" },
  ]);
});

test("errorLines: errors without their times, each once", () => {
  const log = "(00.01) fine\n(00.000002) Error (criu/a.c:1): no\n(00.3)      7: Error (criu/a.c:1): no\nError (b): x\n";
  assert.deepEqual(errorLines(log), ["Error (criu/a.c:1): no", "Error (b): x"]);
});
