/** Maps for a config with a new user namespace but without any, as `crun spec --rootless` writes it; crun chooses the same. */
import type { Config, IdMapping } from "../spec/config.ts";
import { readFile } from "../sys/files.ts";
import { sys } from "../sys/sys.ts";

/** An ordinary user becomes root in it; root keeps the ids that it has. user_namespaces(7). */
export function giveIdMaps({ linux }: Config): void {
  const user = linux.namespaces?.find(({ type }) => type === "user");
  if (user === undefined || user.path !== undefined || linux.uidMappings !== undefined) return;
  const uid = sys.geteuid();
  linux.uidMappings = uid === 0 ? sameIds("uid_map") : [{ containerID: 0, hostID: uid, size: 1 }];
  linux.gidMappings = uid === 0 ? sameIds("gid_map") : [{ containerID: 0, hostID: sys.getegid(), size: 1 }];
}

function sameIds(file: "uid_map" | "gid_map"): IdMapping[] {
  const lines = readFile(`/proc/self/${file}`).trim().split("\n");
  return lines.map((line) => {
    const [first = 0, , size = 0] = line.trim().split(/\s+/).map(Number);
    return { containerID: first, hostID: first, size };
  });
}
