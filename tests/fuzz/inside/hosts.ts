/** Machines for which configs are planned. */
import { LONELY_HOST, ROOT_HOST, USER_HOST } from "../../../src/engine/containers/config/test-facts.ts";
import type { Host } from "../../../src/plan/host.ts";

const HYBRID_HOST: Host = {
  ...ROOT_HOST,
  kernel: [4, 19],
  cgroups: {
    mode: "hybrid",
    hierarchies: ["name=systemd", "pids", "memory", "devices", "cpuset", "cpu,cpuacct", "blkio", "freezer"].map(
      (name) => ({
        controllers: name.split(","),
        mountPoint: `/sys/fs/cgroup/${name.replace("name=", "")}`,
        ownPath: "/",
      }),
    ),
    unified: { mountPoint: "/sys/fs/cgroup/unified", ownPath: "/", controllers: [] },
    writable: true,
  },
};

export const HOSTS: readonly Host[] = [ROOT_HOST, HYBRID_HOST, USER_HOST, LONELY_HOST];

export const groupRootsOf = ({ cgroups: { hierarchies, unified } }: Host): string[] => [
  ...hierarchies.map(({ mountPoint }) => mountPoint),
  ...(unified === undefined ? [] : [unified.mountPoint]),
];
