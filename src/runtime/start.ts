/** `start`: the command of a created container. runtime.md, "Start". */
import { ContainerError } from "../error.ts";
import { runHooks } from "../execute/run-hooks.ts";
import { awaitCommand, sendStart } from "../execute/start-socket.ts";
import { killedBeforeStart } from "../explain-failure/end.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { raw, sys } from "../sys/sys.ts";
import { type Container, loadContainer, lockContainer, statusOf, unlock } from "./container.ts";
import { destroyFailed } from "./delete.ts";
import { withHookFiles } from "./hook-files.ts";
import { processMissing } from "./launch.ts";
import { awaitReady, openNotify } from "./notify.ts";
import { hookStateOf } from "./state.ts";

/** Returns when the command runs, with NOTIFY_SOCKET when it is ready. Throws CONTAINER_NOT_CREATED, and what its last steps throw, execve among them. */
export function startContainer(root: string, id: string, warn: (text: string) => void): void {
  const lock = lockContainer(root, id);
  let container: Container;
  let notify: number | undefined;
  try {
    container = loadContainer(root, id);
    const status = statusOf(container);
    const { cgroups } = container.record;
    // Its socket goes when it is started.
    const hasWaited = status === "stopped" && raw.faccessat(AT_FDCWD, `${container.path}/start`, 0) >= 0;
    const forMemory = hasWaited ? killedBeforeStart(cgroups) : undefined;
    if (forMemory !== undefined) throw forMemory;
    if (status !== "created")
      throw new ContainerError("CONTAINER_NOT_CREATED", `cannot start a container in the ${status} state`, {
        hint: status === "stopped" ? "delete it and create it anew" : "it has been started already",
      });
    if (container.record.noProcess) throw processMissing();
    notify = container.record.notify ? openNotify(container.path) : undefined;
    try {
      letGo(container, warn);
    } catch (error) {
      // A startContainer hook that fails is the end of the container too. runtime.md, "Lifecycle", step 7.
      if (error instanceof ContainerError && error.code === "HOOK_FAILED") destroyFailed(container, lock, warn);
      throw (error instanceof ContainerError && error.code === "INIT_DIED" && killedBeforeStart(cgroups)) || error;
    }
    runPoststartHooks(container, () => destroyFailed(container, lock, warn));
  } finally {
    unlock(lock);
  }
  if (notify !== undefined) awaitReady(notify, container, warn);
}

/** The command of a container that waits runs, or never will: it waits no more. */
function letGo({ path, record, init }: Container, warn: (text: string) => void): void {
  const state = () => ({ ...hookStateOf(record), status: "created" as const, pid: init?.pid ?? 0 });
  const answers = sendStart(`${path}/start`);
  try {
    awaitCommand(answers, state, warn);
  } finally {
    sys.unlinkat(AT_FDCWD, `${path}/start`, 0);
  }
}

/** A poststart hook that fails is the end of the container. runtime.md (1.3), "Lifecycle", step 9. */
export function runPoststartHooks({ record, init }: Container, undo: () => void): void {
  const { poststart = [] } = record;
  if (poststart.length === 0) return;
  try {
    withHookFiles(record, (streams) =>
      runHooks("poststart", poststart, hookStateOf(record), init?.pid ?? 0, { streams }),
    );
  } catch (error) {
    undo();
    throw error;
  }
}
