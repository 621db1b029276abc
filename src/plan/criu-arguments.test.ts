import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "../spec/config.ts";
import { dumpArguments, errorLines, restoreArguments } from "./criu-arguments.ts";

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

test("dumpArguments: what is outside of the images has a name, and flags are criu's", () => {
  const facts = { pid: 7, freezer: "/sys/fs/cgroup/freezer/box", configFile: "/etc/criu/box.conf", inodeOf: () => 42 };
  const flags = {
    imagePath: "/images",
    statusFd: 9,
    pageServer: { address: "::1", port: 27 },
    tcpSkipInFlight: true,
    manageCgroupsMode: "full",
  };
  assert.deepEqual(dumpArguments(CONFIG, flags, facts).join(" ").split(" --"), [
    "dump",
    "tree 7",
    "images-dir /images",
    "log-file dump.log -v4",
    "manage-cgroups=full",
    "root /srv/root",
    "config /etc/criu/box.conf",
    "freeze-cgroup /sys/fs/cgroup/freezer/box",
    "external net[42]:extRootNetNS",
    "skip-in-flight",
    "status-fd 9",
    "page-server",
    "address ::1",
    "port 27",
    "external mnt[/proc/kcore]:/dev/null",
    "external mnt[/data]:/data",
  ]);
});

test("restoreArguments: namespaces that are there are joined or inherited, groups are the new ones", () => {
  const facts = {
    root: "/run/box/root",
    pidFile: "/run/box/pid",
    configFile: undefined,
    inherited: [{ fd: 100, key: "extRootNetNS" }],
    cgroups: [
      { controller: "memory", path: "/box" },
      { controller: "", path: "/box2" },
    ],
  };
  const flags = { imagePath: "/images", workPath: "/work", tcpClose: true, lsmProfile: "apparmor:box" };
  assert.deepEqual(restoreArguments(CONFIG, flags, facts).join(" ").split(" --"), [
    "restore",
    "restore-detached",
    "restore-sibling",
    "images-dir /images",
    "log-file restore.log -v4",
    "manage-cgroups=soft",
    "work-dir /work",
    "root /run/box/root",
    "pidfile /run/box/pid",
    "evasive-devices",
    "inherit-fd fd[100]:extRootNetNS",
    "join-ns uts:/run/utsns/b",
    "cgroup-root memory:/box",
    "cgroup-root /box2",
    "tcp-close",
    "lsm-profile apparmor:box",
    "external mnt[/data]:/srv/data",
    "external mnt[/dev/null]:/dev/null",
  ]);
});

test("errorLines: errors without their times, each once", () => {
  const log = "(00.01) fine\n(00.000002) Error (criu/a.c:1): no\n(00.3)      7: Error (criu/a.c:1): no\nError (b): x\n";
  assert.deepEqual(errorLines(log), ["Error (criu/a.c:1): no", "Error (b): x"]);
});
