/** The config.json on the make-believe machine: what an engine asks for, all common fields in it. */
import { DEFAULT_CAPABILITIES } from "../../src/plan/seccomp/default-profile.ts";
import { DEFAULT_PROFILE } from "../../src/plan/seccomp/profile-program.ts";
import { defaultConfig } from "../../src/spec/default-config.ts";

export function bundleConfig(cgroup2: boolean): string {
  const config = defaultConfig({ cgroup2 });
  const sets = ["bounding", "effective", "permitted"].map((name) => [name, DEFAULT_CAPABILITIES]);
  return JSON.stringify({
    ...config,
    process: {
      ...config.process,
      terminal: false,
      args: ["true"],
      capabilities: Object.fromEntries(sets),
      oomScoreAdj: 0,
    },
    root: { path: "/rootfs" },
    mounts: [
      ...(config.mounts ?? []),
      { destination: "/etc/hosts", type: "bind", source: "/var/lib/hosts", options: ["rbind", "rprivate"] },
    ],
    linux: {
      ...config.linux,
      cgroupsPath: "/engine/box",
      sysctl: { "net.ipv4.ip_unprivileged_port_start": "0" },
      resources: {
        devices: [{ allow: false, access: "rwm" }],
        memory: { limit: 67_108_864, swap: 134_217_728 },
        cpu: { shares: 512, quota: 50_000, period: 100_000 },
        pids: { limit: 100 },
      },
      seccomp: DEFAULT_PROFILE,
    },
  });
}
