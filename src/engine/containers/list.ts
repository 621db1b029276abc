/** `tupper ps`: the containers that are running. */
import { rootKind } from "../../plan/rootfs.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import { loadStates } from "./state.ts";

export interface ContainerSummary {
  id: string;
  pid: number;
  status: "creating" | "running" | "stopped";
  /** ISO 8601. */
  created: string;
  command: string[];
  rootPath: string;
  rootKind: "overlay" | "bind" | "copy";
}

/** `warn` hears of those whose record cannot be read. */
export function listContainers(warn: (text: string) => void): ContainerSummary[] {
  return loadStates(warn).map(({ id, pid, startTime, created, config }) => ({
    id,
    pid,
    status: pid === 0 ? "creating" : startTimeOf(pid) === startTime ? "running" : "stopped",
    created,
    command: config.process.args,
    rootPath: config.root.path,
    rootKind: rootKind(config),
  }));
}
