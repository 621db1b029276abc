/** The config.json files on the make-believe machine: what an engine asks for, all common fields in it. */
import { DEFAULT_CAPABILITIES } from "../../src/plan/seccomp/default-profile.ts";
import { DEFAULT_PROFILE } from "../../src/plan/seccomp/profile-program.ts";
import { defaultConfig } from "../../src/spec/default-config.ts";

/** `mounts`: so many that filesystems are made apart from their places. */
export type Kind = "usual" | "mounts" | "user";

export function bundleConfig(cgroup2: boolean, kind: Kind = "usual"): string {
  const config = defaultConfig({ cgroup2 });
  const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
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
      ...Array.from({ length: kind === "mounts" ? 16 : 0 }, (_, i) => {
        return { destination: `/srv/${i}`, type: "bind", source: "/srv", options: ["bind", "ro"] };
      }),
    ],
    linux: {
      ...config.linux,
      ...(kind === "user"
        ? {
            namespaces: [...(config.linux.namespaces ?? []), { type: "user" }],
            uidMappings: ids,
            gidMappings: ids,
          }
        : {}),
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
