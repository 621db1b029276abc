/** `tupper inspect`: everything on record about a running container. */
import { rootKind } from "../../plan/rootfs.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import type { Config } from "../../spec/config.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";
import { loadState } from "./state.ts";

export interface Inspection {
  id: string;
  status: "creating" | "running" | "stopped";
  pid: number;
  created: string;
  rootPath: string;
  rootKind: string;
  cgroups: Record<string, string>;
  /** Identity of each namespace of the init process, such as `net:[4026532008]`. */
  namespaces: Record<string, string>;
  config: Config;
}

/** Throws CONTAINER_UNKNOWN. */
export function inspectContainer(id: string): Inspection {
  const { pid, startTime, created, config, cgroups } = loadState(id);
  const namespaces: Record<string, string> = {};
  for (const name of ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]) {
    const link = raw.readlinkText(AT_FDCWD, `/proc/${pid}/ns/${name}`);
    if (typeof link === "string") namespaces[name] = link;
  }
  return {
    id,
    status: pid === 0 ? "creating" : startTimeOf(pid) === startTime ? "running" : "stopped",
    pid,
    created,
    rootPath: config.root.path,
    rootKind: rootKind(config),
    cgroups: Object.fromEntries(cgroups.map(({ controller, path }) => [controller, path])),
    namespaces,
    config,
  };
}
