import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../error.ts";
import { FULL_CONFIG } from "./full-config.ts";
import { parseConfig, parseProcess, parseResources, parseSeccomp } from "./parse-config.ts";

type Json = Record<string, unknown>;

/** The least config that can be started. */
const minimal = (): Json => ({
  ociVersion: "1.0.0",
  root: { path: "rootfs" },
  process: { cwd: "/", args: ["sh"], user: { uid: 0, gid: 0 } },
});

const accept = (config: Json) => parseConfig(JSON.stringify(config));

/** `linux` with all namespaces, and what is given. */
const inLinux = (linux: Json, config: Json = {}): Json => ({
  ...minimal(),
  ...config,
  linux: {
    namespaces: ["mount", "pid", "network", "ipc", "uts", "cgroup", "time"].map((type) => ({ type })),
    ...linux,
  },
});

test("parseConfig: a config without linux, user and mounts gets an empty linux and root as user", () => {
  assert.deepEqual(accept({ ociVersion: "1.3.0", root: { path: "r" }, process: { cwd: "/", args: ["a"] } }), {
    config: {
      ociVersion: "1.3.0",
      root: { path: "r" },
      process: { cwd: "/", args: ["a"], user: { uid: 0, gid: 0 } },
      linux: {},
    },
    warnings: [],
  });
});

test("parseConfig: a config with every field is taken as it is", () => {
  assert.deepEqual(accept(FULL_CONFIG), { config: FULL_CONFIG, warnings: [] });
});

test("parseConfig: every version 1.x is taken, other versions are not", () => {
  const versions = ["1.0.0", "1.0.0-rc1", "1.0.2-dev", "1.3.0+build.5", "1.99.0"];
  assert.deepEqual(
    versions.map((ociVersion) => accept({ ...minimal(), ociVersion }).config.ociVersion),
    versions,
  );
});

test("parseConfig: null and empty strings are what Go writes for things that are not set", () => {
  const { config, warnings } = accept({
    ...minimal(),
    hostname: "",
    mounts: null,
    hooks: null,
    annotations: null,
    process: { cwd: "/", args: ["sh"], apparmorProfile: "", capabilities: null, rlimits: null },
    linux: {
      cgroupsPath: "",
      rootfsPropagation: "",
      seccomp: null,
      uidMappings: [],
      resources: {
        pids: {},
        memory: null,
        devices: [{ allow: false, type: "", major: -1, minor: null, access: "rwm" }],
      },
      namespaces: [{ type: "mount", path: "" }],
    },
  });
  assert.deepEqual(
    { config, warnings },
    {
      config: {
        ociVersion: "1.0.0",
        root: { path: "rootfs" },
        process: { cwd: "/", args: ["sh"], user: { uid: 0, gid: 0 } },
        linux: { resources: { devices: [{ allow: false, access: "rwm" }] }, namespaces: [{ type: "mount" }] },
      },
      warnings: [],
    },
  );
});

test("parseConfig: what Go leaves out but the spec wants becomes a value, and modes lose the kind of the file", () => {
  const { config } = accept(
    inLinux(
      {
        devices: [
          { path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o20666 },
          { path: "/run/fifo", type: "p" },
        ],
        resources: { devices: [{}] },
      },
      { process: { cwd: "/", args: ["sh"], user: { uid: 5 }, ioPriority: { class: "IOPRIO_CLASS_IDLE" } } },
    ),
  );
  assert.deepEqual(
    [config.linux.devices, config.linux.resources, config.process.user, config.process.ioPriority],
    [
      [
        { path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o666 },
        { path: "/run/fifo", type: "p" },
      ],
      { devices: [{ allow: false }] },
      { uid: 5, gid: 0 },
      { class: "IOPRIO_CLASS_IDLE", priority: 0 },
    ],
  );
});

test("parseConfig: a config without a process has one without a command, whatever ids the user namespace has", () => {
  const mappings = [{ containerID: 5, hostID: 100_000, size: 1 }];
  const linux = { namespaces: [{ type: "user" }], uidMappings: mappings, gidMappings: mappings };
  for (const more of [{}, { process: null }, { linux }]) {
    const { config } = accept({ ociVersion: "1.3.0", root: { path: "r" }, ...more });
    assert.deepEqual(config.process, { user: { uid: 0, gid: 0 }, args: [], cwd: "/" });
  }
});

test("parseConfig: an empty seccomp section is none", () => {
  assert.deepEqual(accept(inLinux({ namespaces: [], seccomp: { syscalls: [] } })).config.linux, { namespaces: [] });
});

test("parseConfig: properties that it does not know are left alone, even those with the names of what objects inherit", () => {
  const text = `{"__proto__": 1, "toString": 2, "windows": {"cpu": "x"}, ${JSON.stringify(minimal()).slice(1)}`;
  assert.deepEqual(Object.keys(parseConfig(text).config), [
    "__proto__",
    "toString",
    "windows",
    "ociVersion",
    "root",
    "process",
    "linux",
  ]);
});

test("parseConfig: consoleSize without a terminal is ignored, also one that is no size", () => {
  const process = { cwd: "/", args: ["sh"], consoleSize: { height: 25, width: 80 } };
  const sizes = [process, { ...process, terminal: true }].map(
    (process) => accept({ ...minimal(), process }).config.process.consoleSize,
  );
  assert.deepEqual(sizes, [undefined, { height: 25, width: 80 }]);
  for (const consoleSize of [{ height: -4 }, { height: 70000, width: "x" }, 5, "80x25"])
    assert.equal(accept({ ...minimal(), process: { ...process, consoleSize } }).config.process.consoleSize, undefined);
});

test("parseConfig: numbers of 64 bits keep their digits, and RLIM_INFINITY is -1", () => {
  const digits = "9007199254740993";
  const text = JSON.stringify(
    inLinux(
      {
        resources: {
          memory: { limit: "@9223372036854775807", swap: "@9223372036854771712", reservation: "@1000000000000000" },
          hugepageLimits: [{ pageSize: "2MB", limit: "@18446744073709551615" }],
        },
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [
            {
              names: ["clone"],
              action: "SCMP_ACT_ERRNO",
              args: [{ index: 0, value: "@18446744073709551614", valueTwo: `@${digits}`, op: "SCMP_CMP_MASKED_EQ" }],
            },
          ],
        },
      },
      {
        annotations: { digits, nul: "\0n5", escaped: `"${digits}` },
        process: {
          cwd: "/",
          args: ["sh", digits],
          rlimits: [{ type: "RLIMIT_CORE", soft: `@${digits}`, hard: "@18446744073709551615" }],
        },
      },
    ),
  ).replaceAll(/"@(\d+)"/g, "$1");
  const { process, annotations, linux } = parseConfig(text).config;
  assert.deepEqual(
    {
      rlimits: process.rlimits,
      args: process.args,
      annotations,
      memory: linux.resources?.memory,
      hugepages: linux.resources?.hugepageLimits,
      arg: linux.seccomp?.syscalls?.[0]?.args,
    },
    {
      rlimits: [{ type: "RLIMIT_CORE", soft: 9007199254740993n, hard: -1 }],
      args: ["sh", digits],
      annotations: { digits, nul: "\0n5", escaped: `"${digits}` },
      memory: { limit: 9223372036854775807n, swap: 9223372036854771712n, reservation: 1_000_000_000_000_000 },
      hugepages: [{ pageSize: "2MB", limit: 18446744073709551615n }],
      arg: [{ index: 0, value: 18446744073709551614n, valueTwo: 9007199254740993n, op: "SCMP_CMP_MASKED_EQ" }],
    },
  );
  assert.deepEqual(parseConfig(text, { seccomp: "unchecked" }).config.linux.seccomp, linux.seccomp);
});

test("parseConfig: seccomp that is left unchecked is as it stands in the text, and parseSeccomp checks it", () => {
  const seccomp = { defaultAction: "SCMP_ACT_ALOW", more: 1 };
  const { config } = parseConfig(JSON.stringify(inLinux({ seccomp })), { seccomp: "unchecked" });
  assert.deepEqual(config.linux.seccomp, seccomp);
  assert.deepEqual(
    errorOf(() => parseSeccomp(config.linux.seccomp)),
    [
      "CONFIG_INVALID",
      "linux.seccomp.defaultAction",
      'linux.seccomp.defaultAction is "SCMP_ACT_ALOW": it must be one of the actions SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, ' +
        "SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY",
      "did you mean SCMP_ACT_ALLOW?",
    ],
  );
  const good = { defaultAction: "SCMP_ACT_LOG" };
  assert.equal(parseSeccomp(good), good);
});

test("parseConfig: what cannot be granted but need not stop a container is a warning", () => {
  const { config, warnings } = accept(
    inLinux(
      {
        personality: { domain: "LINUX32", flags: ["ADDR_NO_RANDOMIZE"] },
        resources: {
          devices: [
            { allow: true, access: "rwa" },
            { allow: false, access: "rwa" },
          ],
        },
      },
      {
        mounts: [{ destination: "data", type: "tmpfs" }],
        process: {
          cwd: "/",
          args: ["sh"],
          capabilities: {
            bounding: ["CAP_CHOWN", "CAP_FLY", "CAP_KILL", "CAP_SWIM"],
            effective: ["CAP_FLY"],
          },
        },
      },
    ),
  );
  assert.deepEqual(
    {
      capabilities: config.process.capabilities,
      personality: config.linux.personality,
      devices: config.linux.resources?.devices,
      warnings,
    },
    {
      capabilities: { bounding: ["CAP_CHOWN", "CAP_KILL"], effective: [] },
      personality: { domain: "LINUX32" },
      devices: [
        { allow: true, access: "rw" },
        { allow: false, access: "rw" },
      ],
      warnings: [
        "process.capabilities names CAP_FLY, which is no capability: it is left out",
        "process.capabilities names CAP_SWIM, which is no capability: it is left out",
        "the mount destination data is relative, which is deprecated: it is taken from /",
        'linux.personality.flags is ["ADDR_NO_RANDOMIZE"]: the spec has no such flags yet, they are left out',
        'a device rule has the access "rwa": only r, w and m are known, it is read as "rw"',
      ],
    },
  );
});

test("parseConfig: the case of letters in a property's name does not matter, as to Go's decoder, but is told", () => {
  const { config, warnings } = accept({
    ociVersion: "1.3.0",
    Root: { path: "rootfs", readOnly: true },
    process: {
      cwd: "/",
      args: ["sh"],
      noNewPrivileges: false,
      nonewprivileges: true,
      Name: "unknown",
      env: ["a=b"],
      ENV: ["a=c"],
    },
    linux: {
      resources: {
        hugepageLimits: [
          { pagesize: "2MB", limit: 1 },
          { pagesize: "1GB", limit: 1 },
        ],
      },
    },
    annotations: { Process: "x" },
  });
  assert.deepEqual(
    { config, warnings },
    {
      config: {
        ociVersion: "1.3.0",
        root: { path: "rootfs", readonly: true },
        process: {
          cwd: "/",
          args: ["sh"],
          noNewPrivileges: false,
          nonewprivileges: true,
          Name: "unknown",
          env: ["a=b"],
          ENV: ["a=c"],
          user: { uid: 0, gid: 0 },
        },
        linux: {
          resources: {
            hugepageLimits: [
              { pageSize: "2MB", limit: 1 },
              { pageSize: "1GB", limit: 1 },
            ],
          },
        },
        annotations: { Process: "x" },
      },
      warnings: [
        "the property Root is taken for root",
        "the property readOnly is taken for readonly",
        "the property pagesize is taken for pageSize",
      ],
    },
  );
});

test("parseConfig: names of sysctls with slashes get dots", () => {
  const { config } = accept(
    inLinux({ sysctl: { "net/ipv4/conf/eth0.1/rp_filter": "1", "net.core.somaxconn": "2", "kernel.domainname": "x" } }),
  );
  assert.deepEqual(config.linux.sysctl, {
    "net.core.somaxconn": "2",
    "kernel.domainname": "x",
    "net.ipv4.conf.eth0/1.rp_filter": "1",
  });
});

test("parseResources: docker's way to leave swappiness alone", () => {
  const text = '{"memory": {"limit": 9223372036854775807, "swappiness": 18446744073709551615}}';
  assert.deepEqual(parseResources(text).value, { memory: { limit: 9223372036854775807n } });
  assert.deepEqual(parseResources('{"memory": {"swappiness": 18446744073709551615}}').value, { memory: {} });
});

test("parseProcess and parseResources take their part alone, and name fields as they are called in a config", () => {
  assert.deepEqual(parseProcess('{"args": ["id"], "cwd": "/"}'), {
    value: { args: ["id"], cwd: "/", user: { uid: 0, gid: 0 } },
    warnings: [],
  });
  assert.deepEqual(parseResources('{"pids": {"limit": 5}}'), { value: { pids: { limit: 5 } }, warnings: [] });
  assert.deepEqual(
    [
      errorOf(() => parseProcess('{"args": [], "cwd": "/"}')),
      errorOf(() => parseResources('{"memory": {"limit": "1g"}}')),
      errorOf(() => parseResources("[]")),
      errorOf(() => parseProcess('{"args"')),
    ],
    [
      ["CONFIG_INVALID", "process.args", "process.args is []: it must be a list that begins with the program to run"],
      [
        "CONFIG_INVALID",
        "linux.resources.memory.limit",
        'linux.resources.memory.limit is "1g": it must be a whole number from 0 to 9223372036854775807, or -1 for none',
      ],
      ["CONFIG_INVALID", "linux.resources", "linux.resources is []: it must be an object"],
      ["CONFIG_SYNTAX", "the process", "the process is not JSON: line 1, column 8: : is missing, the text ends there"],
    ],
  );
});

/** Code, field, message and, where there is one, hint. */
function errorOf(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof ContainerError, String(error));
    const { code, field, message, hint } = error;
    return [code, field, message, hint].filter((part) => part !== undefined);
  }
  throw new Error("nothing was refused");
}
