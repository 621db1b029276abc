/** CLONE_NEW* by the runtime-spec's names of namespaces. */

import type { NamespaceType } from "../spec/config.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "../sys/constants.ts";

const FLAGS: Readonly<Record<NamespaceType, number>> = {
  mount: CLONE_NEWNS,
  pid: CLONE_NEWPID,
  network: CLONE_NEWNET,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
  user: CLONE_NEWUSER,
  cgroup: CLONE_NEWCGROUP,
  time: CLONE_NEWTIME,
};

export const namespaceFlag = (type: NamespaceType): number => FLAGS[type];

/** Their sum, which may pass 31 bits with other clone flags: `+`, not `|`. */
export const namespaceFlags = (types: readonly NamespaceType[]): number =>
  types.reduce((sum, type) => sum + FLAGS[type], 0);
