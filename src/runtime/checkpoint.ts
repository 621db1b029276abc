/** `checkpoint`: the processes of a container, written into files by CRIU. Not in the runtime-spec; as runc and crun have it. */
import { ContainerError } from "../error.ts";
import { findCriu, requestCriu } from "../execute/criu.ts";
import { resolveInRoot } from "../execute/criu-root.ts";
import { freezerGroup } from "../execute/freezer.ts";
import { openInRoot } from "../execute/init/live-mounts.ts";
import { statOf } from "../execute/init/paths.ts";
import {
  type CheckpointFlags,
  DESCRIPTORS,
  dumpOptions,
  type ExternalMount,
  externalMounts,
  requireUncovered,
} from "../plan/criu-options.ts";
import { mountsUnder } from "../plan/mountinfo.ts";
import { isolates } from "../plan/namespaces.ts";
import type { Config } from "../spec/config.ts";
import { AT_EMPTY_PATH, AT_FDCWD, F_GETFD, O_CLOEXEC, O_DIRECTORY, O_PATH, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { readFile, replaceFile } from "../sys/files.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import { recordedConfig } from "./bundle.ts";
import { type Container, loadContainer, lockContainer, statusOf, unlock } from "./container.ts";
import { destroy } from "./delete.ts";

export interface CheckpointRequest {
  root: string;
  id: string;
  /** The program, where it is not the machine's usual one. */
  criu?: string;
  /** Paths are absolute, but for `parentPath`. */
  flags: CheckpointFlags;
  warn: (text: string) => void;
}

/**
 * Unless its processes are left running, the container is gone afterwards, as with runc: `restore` makes a new one of the
 * bundle and the images. Throws CRIU_MISSING, CONTAINER_NOT_RUNNING, CHECKPOINT_FAILED; then it runs on.
 */
export function checkpointContainer({ root, id, criu, flags, warn }: CheckpointRequest): void {
  const program = findCriu(criu);
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const pid = pidOf(container);
    const config = recordedConfig(container);
    requireUncovered(config);
    config.root = { ...config.root, path: container.record.rootfs };
    prepareDirectories(flags);
    if (!flags.preDump) replaceFile(`${flags.imagePath}/${DESCRIPTORS}`, JSON.stringify(standardDescriptors(pid)));
    const { imagePath, workPath, statusFd } = flags;
    const options = dumpOptions(config, flags, {
      pid,
      freezer: freezerGroup(container.record.cgroups)?.path,
      configFile: criuConfigFile(config),
      isFile: (path) => isFile(pid, path),
      inodeOf: (path) => statOf(AT_FDCWD, path, 0).ino,
      mounts: [...bindsOf(config, container.record.bundle), ...shownGroups(config, pid)],
    });
    requestCriu(
      { program },
      {
        kind: flags.preDump ? "pre-dump" : "dump",
        imagePath,
        workPath,
        options: () => options,
        notified: ({ script }) => {
          if (script === "status-ready" && statusFd !== undefined) tellReady(statusFd);
        },
      },
    );
    if (!flags.leaveRunning && !flags.preDump) destroy(container, lock, warn);
  } finally {
    unlock(lock);
  }
}

function pidOf(container: Container): number {
  const status = statusOf(container);
  const { init, record } = container;
  if (init !== undefined && (status === "running" || status === "paused")) return init.pid;
  throw new ContainerError(
    "CONTAINER_NOT_RUNNING",
    `cannot checkpoint a container that is not running: ${record.id} is ${status}`,
  );
}

/** Of the container's root as the container sees it. */
function isFile(pid: number, path: string): boolean {
  const top = sys.openat(AT_FDCWD, `/proc/${pid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  const place = openInRoot(path, O_PATH | O_CLOEXEC, top);
  raw.close(top);
  if (place < 0) return false;
  const { mode } = statOf(place, "", AT_EMPTY_PATH);
  raw.close(place);
  return (mode & S_IFMT) !== S_IFDIR;
}

export const bindsOf = (config: Config, bundle: string): ExternalMount[] =>
  externalMounts(config, bundle, (path) => resolveInRoot(config.root.path, path));

/** Directories of the machine's cgroupfs that the container has in sight: without a cgroup namespace these are bound. */
function shownGroups(config: Config, pid: number): ExternalMount[] {
  if (isolates(config, "cgroup")) return [];
  const mountinfo = readFile(`/proc/${pid}/mountinfo`);
  return (config.mounts ?? [])
    .filter(({ type }) => type === "cgroup")
    .flatMap(({ destination }) => mountsUnder(destination, mountinfo))
    .filter(({ fstype, root }) => fstype.startsWith("cgroup") && root !== "/")
    .map(({ mountPoint, root }) => ({ destination: mountPoint, source: root }));
}

/** criu serves memory to who asks for it. */
function tellReady(statusFd: number): void {
  raw.write(statusFd, new ArrayBuffer(1));
  raw.close(statusFd);
}

/** Options that the container's author wants for CRIU: an annotation, else the file that runc reads. "" is none. */
export function criuConfigFile({ annotations }: Config): string | undefined {
  const named = annotations?.["org.criu.config"];
  if (named !== undefined) return named === "" ? undefined : named;
  return raw.faccessat(AT_FDCWD, DEFAULT_CONFIG, 0) < 0 ? undefined : DEFAULT_CONFIG;
}

const DEFAULT_CONFIG = "/etc/criu/runc.conf";
const EEXIST = -17;

function prepareDirectories({ imagePath, workPath, parentPath, statusFd }: CheckpointFlags): void {
  makeDirectory(imagePath, "--image-path");
  if (workPath !== undefined) makeDirectory(workPath, "--work-path");
  if (parentPath !== undefined && raw.faccessat(AT_FDCWD, `${imagePath}/${parentPath}/.`, 0) < 0)
    throw new ContainerError("CHECKPOINT_PARENT", `there is no earlier checkpoint in ${imagePath}/${parentPath}`, {
      field: "--parent-path",
      hint: "it is a directory, named from the image path",
    });
  if (statusFd !== undefined && raw.fcntl(statusFd, F_GETFD, 0) < 0)
    throw new ContainerError("STATUS_FD", `the descriptor ${statusFd} is not open`, { field: "--status-fd" });
}

/** Of these, only the last one is made. */
export function makeDirectory(path: string, field: string): void {
  const made = raw.mkdirat(AT_FDCWD, path, 0o700);
  if (made >= 0 || made === EEXIST) return;
  const cause = new SysError("mkdirat", -made, [path, 0o700]);
  throw new ContainerError("CHECKPOINT_DIRECTORY", `cannot make the directory ${path}`, { field, cause });
}

/** What standard input, output and error are: pipes are given anew by `restore`. */
const standardDescriptors = (pid: number): string[] =>
  [0, 1, 2].map((fd) => {
    const target = raw.readlinkText(AT_FDCWD, `/proc/${pid}/fd/${fd}`);
    return typeof target === "string" ? target : "/dev/null";
  });
