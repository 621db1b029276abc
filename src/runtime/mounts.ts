/** `mounts add` and `mounts remove`: mounts of a running container. crun(8). */
import { ContainerError } from "../error.ts";
import { blockSignals, execute } from "../execute/execute.ts";
import { ENDING_SIGNALS, endInit } from "../execute/give-up.ts";
import { mountIdOf, openInRoot } from "../execute/init/live-mounts.ts";
import { probeHost } from "../execute/probe.ts";
import { makeTracer } from "../execute/tracer.ts";
import { CONTAINER } from "../plan/plan-exec.ts";
import { type AddedMount, findAdded, planMountsAdd, planMountsRemove } from "../plan/plan-mounts.ts";
import type { Plan } from "../plan/step.ts";
import type { Config, Mount } from "../spec/config.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../sys/constants.ts";
import { readFileIfThere, replaceFile } from "../sys/files.ts";
import { raw, sys } from "../sys/sys.ts";
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
    const placed: AddedMount[] = [];
    run(plan, (mount) => {
      if (mount === undefined) return writeAdded(request, [...added, ...placed]);
      placed.push(mount);
      writeAdded(request, [...added, ...placed.map(unsure)]);
    });
  });
}

/** Takes away what was added, the last one of the list first. Throws CONTAINER_NOT_RUNNING, MOUNT_NOT_ADDED, MOUNT_NOT_THERE. */
export function removeMounts(request: MountsRequest): void {
  inContainer(request, (config, added, run) => {
    const going = findAdded(added, request.mounts).reverse();
    const isGoing = ({ mountId }: AddedMount) => going.some((mount) => mount.mountId === mountId);
    const plan = planMountsRemove(config, request.id, going);
    writeAdded(
      request,
      added.map((mount) => (isGoing(mount) ? unsure(mount) : mount)),
    );
    try {
      run(plan, () =>
        writeAdded(
          request,
          added.filter((mount) => !isGoing(mount)),
        ),
      );
    } catch (error) {
      if (error instanceof ContainerError && error.code === "MOUNT_NOT_THERE") writeAdded(request, added);
      throw error;
    }
  });
}

const unsure = (mount: AddedMount): AddedMount => ({ ...mount, unsure: true });

type Run = (plan: Plan, recordPlaced: (mount?: AddedMount) => void) => void;

/** The lock is held meanwhile. */
function inContainer(request: MountsRequest, act: (config: Config, added: AddedMount[], run: Run) => void): void {
  const { root, id, warn } = request;
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const pidfd = openInit(container);
    const config = recordedConfig(container);
    act(config, settle(readAdded(container), container), (plan, recordPlaced) => {
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

/** What a command that was killed had begun is there, or is not. */
function settle(added: AddedMount[], { init }: Container): AddedMount[] {
  if (init === undefined || !added.some((mount) => mount.unsure)) return added;
  const root = sys.openat(AT_FDCWD, `/proc/${init.pid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  const isThere = ({ target, mountId }: AddedMount) => {
    const fd = openInRoot(target, O_PATH | O_CLOEXEC, root);
    return fd >= 0 && mountIdOf(fd) === mountId;
  };
  return added.flatMap(({ unsure, ...mount }) => (!unsure || isThere(mount) ? [mount] : []));
}

const writeAdded = ({ root, id }: MountsRequest, mounts: AddedMount[]): void =>
  replaceFile(fileOf(`${root}/${id}`), JSON.stringify(mounts));
