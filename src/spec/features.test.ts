import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMountOptions } from "../plan/mount-options.ts";
import { features } from "./features.ts";
import { parseConfig } from "./parse-config.ts";

const implemented = {
  systemd: true,
  apparmor: true,
  selinux: false,
  intelRdt: true,
  memoryPolicy: true,
  idmap: true,
  netDevices: false,
};

test("features has the properties of features.md and features-linux.md", () => {
  const { hooks, mountOptions, linux, ...rest } = features("1.2.3", implemented);
  assert.deepEqual(rest, {
    ociVersionMin: "1.0.0",
    ociVersionMax: "1.3.0",
    annotations: { "tupper.version": "1.2.3", "org.opencontainers.runc.checkpoint.enabled": "true" },
    potentiallyUnsafeConfigAnnotations: ["tupper.", "org.systemd.property.", "run.oci.", "org.criu.config"],
  });
  assert.deepEqual(hooks, ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]);
  assert.equal(mountOptions.length, 65);
  const { capabilities, seccomp, ...flags } = linux;
  assert.deepEqual(
    [capabilities.length, capabilities[0], capabilities.at(-1)],
    [41, "CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"],
  );
  assert.deepEqual(
    Object.entries(seccomp).map(([name, value]) => [name, Array.isArray(value) ? value.length : value]),
    [
      ["enabled", true],
      ["actions", 9],
      ["operators", 7],
      ["archs", 23],
      ["knownFlags", 4],
      ["supportedFlags", 4],
    ],
  );
  assert.deepEqual(flags, {
    namespaces: ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
    cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
    apparmor: { enabled: true },
    selinux: { enabled: false },
    intelRdt: { enabled: true, schemata: true, monitoring: true },
    memoryPolicy: {
      modes: [
        "MPOL_DEFAULT",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_WEIGHTED_INTERLEAVE",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_LOCAL",
      ],
      flags: ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
    },
    mountExtensions: { idmap: { enabled: true } },
    netDevices: { enabled: false },
  });
});

test("features names nothing that is not there yet", () => {
  const nothing = Object.fromEntries(Object.keys(implemented).map((name) => [name, false])) as typeof implemented;
  const { mountOptions, linux } = features("1.2.3", nothing);
  assert.deepEqual(
    mountOptions.filter((option) => option.includes("idmap")),
    [],
  );
  assert.deepEqual(
    [linux.cgroup, linux.intelRdt, linux.memoryPolicy],
    [
      { v1: true, v2: true, systemd: false, systemdUser: false, rdma: true },
      { enabled: false, schemata: false, monitoring: false },
      { modes: [], flags: [] },
    ],
  );
});

test("features: the plan takes none of the mount options for data of the filesystem", () => {
  const { mountOptions } = features("1.2.3", { ...implemented, idmap: false });
  assert.equal(parseMountOptions(mountOptions).data, "");
});

test("features: the versions that it names are accepted", () => {
  const { ociVersionMin, ociVersionMax } = features("1.2.3", implemented);
  for (const ociVersion of [ociVersionMin, ociVersionMax])
    parseConfig(JSON.stringify({ ociVersion, root: { path: "r" }, process: { args: ["a"], cwd: "/" } }));
});
