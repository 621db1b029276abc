/** `state`: what callers are told of a container. runtime.md, "State"; `owner` and `rootfs` as runc has them. */
import { type EndSeen, endSeen } from "../explain-failure/end.ts";
import type { HookState } from "../plan/step.ts";
import { type Container, type ContainerRecord, loadContainer, type Status, statusOf } from "./container.ts";

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

export function describeState(container: Container): ContainerState {
  const { ociVersion, id, bundle, rootfs, created, owner, annotations } = container.record;
  const status = statusOf(container);
  const end = status === "stopped" ? endSeen(container.init, container.record.cgroups) : undefined;
  return {
    ociVersion,
    id,
    pid: status === "stopped" ? 0 : (container.init?.pid ?? 0),
    status,
    bundle,
    rootfs,
    created,
    owner,
    ...(annotations === undefined ? {} : { annotations }),
    ...(end === undefined ? {} : { end }),
  };
}

/** The part of a record that hooks are told. */
export function hookStateOf({ ociVersion, id, bundle, annotations }: ContainerRecord): HookState {
  return { ociVersion, id, bundle, ...(annotations === undefined ? {} : { annotations }) };
}
