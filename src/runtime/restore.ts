/** `restore`: a container made of a bundle and of what `checkpoint` has written. Not in the runtime-spec; as runc and crun have it. */
import { ContainerError } from "../error.ts";
import { cleanUp } from "../execute/clean-up.ts";
import { findCriu } from "../execute/criu.ts";
import { blockSignals } from "../execute/execute.ts";
import { type RestoreFlags, requireUncovered } from "../plan/criu-options.ts";
import { PR_SET_CHILD_SUBREAPER } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { sys } from "../sys/sys.ts";
import { absolute, type Bundle, loadBundle } from "./bundle.ts";
import { makeDirectory } from "./checkpoint.ts";
import { claimContainer, unlock } from "./container.ts";
import { deleteContainer, destroyFailed, leftOf } from "./delete.ts";
import { type CgroupManager, checkConsole, withManager } from "./launch.ts";
import { writePidFile } from "./pid-file.ts";
import { restoreBundle } from "./restore-bundle.ts";
import { runPoststartHooks } from "./start.ts";
import { supervise } from "./supervise.ts";
import { openSignals } from "./terminal.ts";

export interface RestoreRequest {
  root: string;
  id: string;
  bundle: string;
  criu?: string;
  /** Paths are absolute. */
  flags: RestoreFlags;
  detach: boolean;
  subreaper: boolean;
  pidFile?: string;
  /** The socket that gets the master of the container's terminal. */
  consoleSocket?: string;
  cgroupManager: CgroupManager;
  warn: (text: string) => void;
}

/**
 * Returns the exit code of the container's first process; 0 at once when it is detached. Throws CRIU_MISSING, RESTORE_IMAGES,
 * RESTORE_FAILED; then nothing is left of it.
 */
export function restoreContainer(request: RestoreRequest): number {
  const { root, id, detach, subreaper, flags, warn } = request;
  const program = findCriu(request.criu);
  const bundle = loadBundle(request.bundle);
  for (const text of bundle.warnings) warn(text);
  check(bundle, request);
  const pidFile = request.pidFile === undefined ? undefined : absolute(request.pidFile);
  const consoleSocket = request.consoleSocket === undefined ? undefined : absolute(request.consoleSocket);
  if (flags.workPath !== undefined) makeDirectory(flags.workPath, "--work-path");
  if (!detach && subreaper) sys.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  blockSignals();
  const signals = detach ? -1 : openSignals();
  const lock = claimContainer(root, id);
  const restored = withManager(request, lock, (systemd, keepRecord) =>
    restoreBundle({
      ...{ id, program, bundle, lock, flags, consoleSocket, keepRecord, warn },
      manager: systemd ?? (request.cgroupManager === "disabled" ? "disabled" : "cgroupfs"),
    }),
  );
  const { container } = restored;
  const undo = () => destroyFailed(container, lock, warn);
  try {
    if (pidFile !== undefined) writePidFile(pidFile, restored.pid);
  } catch (error) {
    undo();
    throw error;
  }
  runPoststartHooks(container, undo);
  unlock(lock);
  if (detach) return 0;
  const end = () => deleteContainer(root, id, true, warn, container.record);
  try {
    return supervise(restored, signals);
  } finally {
    cleanUp("delete the container", end, () => leftOf(container), warn);
  }
}

function check(bundle: Bundle, { flags, detach, consoleSocket, warn }: RestoreRequest): void {
  if (!flags.shellJob) checkConsole(bundle, consoleSocket, !detach);
  else if (consoleSocket !== undefined)
    throw new ContainerError("CONSOLE_SOCKET_UNUSED", "with --shell-job the container has the caller's terminal", {
      field: "--console-socket",
      hint: "leave one of the two out",
    });
  if (readFileIfThere(`${flags.imagePath}/inventory.img`) === undefined)
    throw new ContainerError("RESTORE_IMAGES", `there is no checkpoint in ${flags.imagePath}`, {
      field: "--image-path",
      hint: "`checkpoint --image-path` writes one",
    });
  requireUncovered(bundle.config);
  // They belong between the mounts and pivot_root. CRIU stops before the first ("setup-namespaces") and after the second
  // ("post-setup-namespaces"), and mounts what they mounted at create itself.
  if ((bundle.config.hooks?.createContainer ?? []).length > 0)
    warn("restore does not run the hooks createContainer: what they mounted at create comes back with the checkpoint");
}
