/** `mounts add` and `mounts remove`: mounts of a running container. crun(8). */
import { ContainerError } from "../error.ts";
import { blockSignals, execute } from "../execute/execute.ts";
import { ENDING_SIGNALS, endInit } from "../execute/give-up.ts";
import { probeHost } from "../execute/probe.ts";
import { makeTracer } from "../execute/tracer.ts";
import { CONTAINER } from "../plan/plan-exec.ts";
import { type AddedMount, findAdded, planMountsAdd, planMountsRemove } from "../plan/plan-mounts.ts";
import type { Plan } from "../plan/step.ts";
import type { Config, Mount } from "../spec/config.ts";
import { readFileIfThere, replaceFile } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";
import { recordedConfig } from "./bundle.ts";
import { type Container, loadContainer, lockContainer, statusOf, unlock } from "./container.ts";
import { openProcess } from "./signal.ts";
import { hookStateOf } from "./state.ts";
import { openSignals } from "./terminal.ts";

export interface MountsRequest {
  root: string;
  id: string;
  mounts: readonly Mount[];
  warn: (text: string) => void;
}

/** Places them in their order, all or none. Throws CONTAINER_NOT_RUNNING, MOUNT_NOT_LIVE, MOUNT_SOURCE_MISSING … */
export function addMounts(request: MountsRequest): void {
  inContainer(request, (config, added, run) => {
    const plan = planMountsAdd(config, probeHost(), request.id, request.mounts);
    let placed: AddedMount[] = [];
    run(plan, (mounts) => {
      placed = mounts;
      writeAdded(request, [...added, ...placed]);
    });
  });
}

/** Takes away what was added, the last one of the list first. Throws CONTAINER_NOT_RUNNING, MOUNT_NOT_ADDED, MOUNT_NOT_THERE. */
export function removeMounts(request: MountsRequest): void {
  inContainer(request, (config, added, run) => {
    const going = findAdded(added, request.mounts).reverse();
    run(planMountsRemove(config, request.id, going), () => {
      const gone = new Set(going.map(({ mountId }) => mountId));
      writeAdded(
        request,
        added.filter(({ mountId }) => !gone.has(mountId)),
      );
    });
  });
}

type Run = (plan: Plan, recordPlaced: (mounts: AddedMount[]) => void) => void;

/** The lock is held meanwhile. */
function inContainer(request: MountsRequest, act: (config: Config, added: AddedMount[], run: Run) => void): void {
  const { root, id, warn } = request;
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const pidfd = openInit(container);
    const config = recordedConfig(container);
    act(config, readAdded(container), (plan, recordPlaced) => {
      blockSignals();
      // It joins none of the container's control groups.
      const givesUp = { signals: openSignals(ENDING_SIGNALS), cgroups: [], container: pidfd };
      const { pid } = execute(plan, {
        tracer: makeTracer("off"),
        warn,
        recordState: () => {},
        recordPlaced,
        containerState: (initPid) => ({ ...hookStateOf(container.record), status: "running", pid: initPid }),
        slots: new Map([[CONTAINER.slot, pidfd]]),
        givesUp,
      });
      endInit(pid, givesUp);
    });
    raw.close(pidfd);
  } finally {
    unlock(lock);
  }
}

function openInit(container: Container): number {
  const status = statusOf(container);
  const { init, record } = container;
  const pidfd = init === undefined || status === "stopped" ? undefined : openProcess(init);
  if (pidfd !== undefined) return pidfd;
  throw new ContainerError(
    "CONTAINER_NOT_RUNNING",
    `the mounts of a container that is not running cannot be changed: ${record.id} is ${status}`,
  );
}

const fileOf = (path: string): string => `${path}/mounts.json`;

const readAdded = ({ path }: Container): AddedMount[] =>
  JSON.parse(readFileIfThere(fileOf(path)) ?? "[]") as AddedMount[];

const writeAdded = ({ root, id }: MountsRequest, mounts: AddedMount[]): void =>
  replaceFile(fileOf(`${root}/${id}`), JSON.stringify(mounts));
