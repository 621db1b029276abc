import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "./config.ts";
import { defaultConfig } from "./default-config.ts";
import { parseConfig } from "./parse-config.ts";

const types = ({ linux }: Config) => linux.namespaces?.map(({ type }) => type);

test("defaultConfig is a config that is taken as it is, and a new one each time", () => {
  for (const options of [{ cgroup2: false }, { cgroup2: true }, { cgroup2: true, rootless: { uid: 1000, gid: 100 } }]) {
    const config = defaultConfig(options);
    assert.deepEqual(parseConfig(JSON.stringify(config)), { config, warnings: [] });
    config.process.args.push("-c");
    config.process.capabilities?.bounding?.push("CAP_CHOWN");
    assert.notDeepEqual(defaultConfig(options), config);
  }
});

test("defaultConfig has a cgroup namespace where the machine has only cgroup v2", () => {
  assert.deepEqual(types(defaultConfig({ cgroup2: false })), ["pid", "network", "ipc", "uts", "mount"]);
  assert.deepEqual(types(defaultConfig({ cgroup2: true })), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
});

test("defaultConfig: what an ordinary user cannot have is not in the rootless one", () => {
  const root = defaultConfig({ cgroup2: true });
  const rootless = defaultConfig({ cgroup2: true, rootless: { uid: 1000, gid: 100 } });
  const { maskedPaths, readonlyPaths } = root.linux;
  assert.deepEqual(rootless, {
    ...root,
    mounts: root.mounts?.map((mount) =>
      mount.destination === "/sys"
        ? {
            destination: "/sys",
            type: "none",
            source: "/sys",
            options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
          }
        : mount.destination === "/dev/pts"
          ? { ...mount, options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }
          : mount,
    ),
    linux: {
      uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
      gidMappings: [{ containerID: 0, hostID: 100, size: 1 }],
      namespaces: ["pid", "ipc", "uts", "mount", "cgroup", "user"].map((type) => ({ type })),
      maskedPaths,
      readonlyPaths,
    },
  });
});
