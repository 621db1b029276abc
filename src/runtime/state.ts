/** `state`: what callers are told of a container. runtime.md, "State"; `owner` and `rootfs` as runc has them. */
import { type EndSeen, endSeen } from "../explain-failure/end.ts";
import type { HookState } from "../plan/step.ts";
import {
  type ContainerRecord,
  groupsOf,
  type ListedContainer,
  loadContainer,
  type Status,
  statusOf,
} from "./container.ts";

export interface ContainerState {
  ociVersion: string;
  id: string;
  /** 0 when the container has stopped. */
  pid: number;
  status: Status;
  bundle: string;
  rootfs: string;
  created: string;
  owner: string;
  annotations?: Record<string, string>;
  /** Of a stopped one: what is left to be seen of its end. */
  end?: EndSeen;
}

/** Throws CONTAINER_UNKNOWN. */
export const stateOfContainer = (root: string, id: string): ContainerState => describeState(loadContainer(root, id));

export function describeState(container: ListedContainer): ContainerState {
  const { ociVersion, id, bundle, rootfs, created, owner, annotations } = container.record;
  const status = statusOf(container);
  const end = status === "stopped" ? endSeen(container.init, groupsOf(container)) : undefined;
  const pid = shownPid(container, status);
  const state: ContainerState = { ociVersion, id, pid, status, bundle, rootfs, created, owner };
  if (annotations !== undefined) state.annotations = annotations;
  if (end !== undefined) state.end = end;
  return state;
}

/** 0 where there is no process, or none any more. */
export const shownPid = ({ init }: ListedContainer, status: Status): number =>
  status === "stopped" ? 0 : (init?.pid ?? 0);

/** The part of a record that hooks are told. */
export function hookStateOf({ ociVersion, id, bundle, annotations }: ContainerRecord): HookState {
  return { ociVersion, id, bundle, ...(annotations === undefined ? {} : { annotations }) };
}
