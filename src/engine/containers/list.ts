/** `tupper ps`: the containers that are running, and with `--all` those whose end is still on record. */
import { rootKind } from "../../plan/rootfs.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import { type End, lastEnds } from "./ends.ts";
import { loadStates, ownStateRoot, stateNames } from "./state.ts";

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

/** As {@link inspectContainer} tells it. */
export interface EndedContainer {
  id: string;
  pid: 0;
  status: "stopped";
  /** ISO 8601. */
  created: string;
  /** Its first 60 characters; none in the records of older versions. */
  command?: string[];
  end: Omit<End, "id" | "created" | "command">;
}

/** How the containers of these names ended last, the newest first, as far as it is on record; not of a name that is `running`. */
export function listEnded(running: readonly ContainerSummary[]): EndedContainer[] {
  const root = ownStateRoot();
  const names = new Set(running.map(({ id }) => id));
  return lastEnds(root, stateNames(root)).flatMap(({ id, created, command, ...end }) =>
    names.has(id)
      ? []
      : [{ id, pid: 0, status: "stopped", created, ...(command === undefined ? {} : { command }), end }],
  );
}
