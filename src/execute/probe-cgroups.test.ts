import assert from "node:assert/strict";
import { test } from "node:test";
import { matchMounts, parseCgroupMounts, parseSelfCgroup, pathBelow } from "./probe-cgroups.ts";

const HYBRID = `9:name=systemd:/
8:pids:/
4:memory:/process_api/1a41
1:cpu:/
0::/
`;

const HYBRID_MOUNTS = `22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:3 - cgroup cgroup rw,cpu
34 30 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 30 0:34 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
39 30 0:35 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
40 30 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;

test("parseSelfCgroup: a hybrid machine", () => {
  assert.deepEqual(parseSelfCgroup(HYBRID), {
    hierarchies: [
      { controllers: ["name=systemd"], ownPath: "/" },
      { controllers: ["pids"], ownPath: "/" },
      { controllers: ["memory"], ownPath: "/process_api/1a41" },
      { controllers: ["cpu"], ownPath: "/" },
    ],
    unifiedPath: "/",
  });
});

test("parseSelfCgroup: cgroup v2 under systemd, with a colon in the path", () => {
  const text = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-p1:2.scope\n";
  assert.deepEqual(parseSelfCgroup(text), {
    hierarchies: [],
    unifiedPath: "/user.slice/user-1000.slice/user@1000.service/app.slice/run-p1:2.scope",
  });
});

test("parseSelfCgroup: Docker on cgroup v1 has no v2 line where the kernel is old, and joint controllers", () => {
  assert.deepEqual(parseSelfCgroup("11:cpu,cpuacct:/docker/ab\n3:freezer:/docker/ab\n"), {
    hierarchies: [
      { controllers: ["cpu", "cpuacct"], ownPath: "/docker/ab" },
      { controllers: ["freezer"], ownPath: "/docker/ab" },
    ],
  });
});

test("parseSelfCgroup: a path outside of the cgroup namespace is as good as its root", () => {
  assert.deepEqual(parseSelfCgroup("0::/../../init.scope\n"), { hierarchies: [], unifiedPath: "/" });
});

test("parseCgroupMounts: only control group filesystems, with octal escapes undone", () => {
  const text = `${HYBRID_MOUNTS}50 22 0:40 /docker/a\\040b /mnt/c\\040d ro,nosuid - cgroup2 cgroup rw,nsdelegate`;
  assert.deepEqual(parseCgroupMounts(text).slice(3), [
    {
      fstype: "cgroup",
      mountPoint: "/sys/fs/cgroup/systemd",
      root: "/",
      readonly: false,
      options: ["rw", "xattr", "name=systemd"],
    },
    { fstype: "cgroup2", mountPoint: "/sys/fs/cgroup/unified", root: "/", readonly: false, options: ["rw"] },
    {
      fstype: "cgroup2",
      mountPoint: "/mnt/c d",
      root: "/docker/a b",
      readonly: true,
      options: ["rw", "nsdelegate"],
    },
  ]);
});

test("matchMounts: hierarchies where they are mounted, and not those that are mounted nowhere", () => {
  const membership = parseSelfCgroup(`12:rdma:/\n${HYBRID}`);
  assert.deepEqual(matchMounts(membership, parseCgroupMounts(HYBRID_MOUNTS)), {
    hierarchies: [
      { controllers: ["name=systemd"], mountPoint: "/sys/fs/cgroup/systemd", ownPath: "/" },
      { controllers: ["pids"], mountPoint: "/sys/fs/cgroup/pids", ownPath: "/" },
      { controllers: ["memory"], mountPoint: "/sys/fs/cgroup/memory", ownPath: "/process_api/1a41" },
      { controllers: ["cpu"], mountPoint: "/sys/fs/cgroup/cpu", ownPath: "/" },
    ],
    unified: { mountPoint: "/sys/fs/cgroup/unified", ownPath: "/" },
    readonly: false,
  });
});

test("matchMounts: the options of the v2 tree, which a mount of it sets anew", () => {
  const mounts = "24 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
  assert.deepEqual(matchMounts(parseSelfCgroup("0::/a\n"), parseCgroupMounts(mounts)), {
    hierarchies: [],
    unified: { mountPoint: "/sys/fs/cgroup", ownPath: "/a", mountedWith: "nsdelegate,memory_recursiveprot" },
    readonly: false,
  });
});

test("matchMounts: v2 at /sys/fs/cgroup stays v2 alone beside hierarchies of v1 without controllers", () => {
  const V2 = "24 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
  const named = (name: string, flags = "rw") =>
    `41 24 0:40 / /sys/fs/cgroup/${name} ${flags} - cgroup cgroup rw,xattr,name=${name}\n`;
  const found = (membership: string, mounts: string) =>
    matchMounts(parseSelfCgroup(membership), parseCgroupMounts(mounts));
  const unified = { mountPoint: "/sys/fs/cgroup", ownPath: "/a" };
  const systemdV1 = { controllers: ["name=systemd"], mountPoint: "/sys/fs/cgroup/systemd", ownPath: "/b" };
  assert.deepEqual(
    found("2:name=elogind:/\n1:name=systemd:/b\n0::/a\n", `${V2}${named("elogind")}${named("systemd", "ro")}`),
    {
      hierarchies: [],
      unified,
      systemdV1,
      readonly: false,
    },
  );
  assert.deepEqual(found("2:name=elogind:/\n0::/a\n", `${V2}${named("elogind")}`), {
    hierarchies: [],
    unified,
    readonly: false,
  });
  const { hierarchies, systemdV1: none } = found(
    "3:pids:/\n1:name=systemd:/b\n0::/a\n",
    `${V2}${named("systemd")}${named("pids").replace("name=", "")}`,
  );
  assert.deepEqual([hierarchies.length, none], [2, undefined]);
});

test("matchMounts: in a Docker container without a cgroup namespace paths count from the mounted group", () => {
  const mounts =
    "1 2 0:30 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec - cgroup cgroup rw,cpu,cpuacct\n";
  assert.deepEqual(matchMounts(parseSelfCgroup("3:cpu,cpuacct:/docker/ab/x\n"), parseCgroupMounts(mounts)), {
    hierarchies: [{ controllers: ["cpu", "cpuacct"], mountPoint: "/sys/fs/cgroup/cpu,cpuacct", ownPath: "/x" }],
    readonly: true,
  });
});

test("pathBelow: the mounted group, groups in it, and groups outside", () => {
  assert.deepEqual(
    [
      ["/", "/a/b"],
      ["/a", "/a"],
      ["/a", "/a/b"],
      ["/a", "/ab"],
      ["/../..", "/x"],
    ].map(([root = "", path = ""]) => pathBelow(root, path)),
    ["/a/b", "/", "/b", "/", "/x"],
  );
});
