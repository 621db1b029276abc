/** `tupper inspect`: everything on record about a running container, and of one that has ended how. */
import { ContainerError } from "../../error.ts";
import { rootKind } from "../../plan/rootfs.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import type { Config } from "../../spec/config.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";
import type { End } from "./ends.ts";
import { type ContainerState, loadState } from "./state.ts";
import { KNOWN, loadEnd } from "./wait.ts";

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

/** All that is left of a container that has ended. */
export interface InspectionOfEnded {
  id: string;
  status: "stopped";
  created: string;
  command?: string[];
  end: Omit<End, "id" | "created" | "command">;
}

/** Of the one that runs, if there is one of that name. Throws CONTAINER_UNKNOWN. */
export function inspectContainer(id: string): Inspection | InspectionOfEnded {
  let state: ContainerState;
  try {
    state = loadState(id, KNOWN);
  } catch (error) {
    const ended = error instanceof ContainerError && error.code === "CONTAINER_UNKNOWN" ? loadEnd(id) : undefined;
    if (ended === undefined) throw error;
    const { id: _id, created, command, ...end } = ended;
    return { id, status: "stopped", created, ...(command === undefined ? {} : { command }), end };
  }
  return inspectState(state);
}

function inspectState({ id, pid, startTime, created, config, cgroups }: ContainerState): Inspection {
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
