/**
 * What criu(8) is called with to write a container down and to bring it back: flags as runc and crun have them, and from the
 * config what the two must agree on. A mount of the machine is `external`: known by its destination in the images, and given
 * again from its source. Network devices are an engine's, so a network namespace of the container's own comes back empty.
 */
import type { Config } from "../spec/config.ts";
import { isNew, namespaceOf } from "./namespaces.ts";
import { cleanPath } from "./proc-files.ts";

/** Flags of both commands. */
export interface CriuFlags {
  imagePath: string;
  workPath?: string;
  tcpEstablished?: boolean;
  extUnixSk?: boolean;
  shellJob?: boolean;
  fileLocks?: boolean;
  lazyPages?: boolean;
  autoDedup?: boolean;
  emptyNs?: readonly string[];
  networkLock?: string;
  manageCgroupsMode?: string;
}

export interface CheckpointFlags extends CriuFlags {
  /** Of an earlier checkpoint, from the image path. */
  parentPath?: string;
  leaveRunning?: boolean;
  preDump?: boolean;
  tcpSkipInFlight?: boolean;
  linkRemap?: boolean;
  statusFd?: number;
  pageServer?: { address: string; port: number };
}

export interface RestoreFlags extends CriuFlags {
  tcpClose?: boolean;
  lsmProfile?: string;
  lsmMountContext?: string;
}

export interface DumpFacts {
  pid: number;
  /** Of the container; CRIU stops the processes through it. */
  freezer: string | undefined;
  /** `--config`: further options. */
  configFile: string | undefined;
  /** Inode numbers of the namespaces that the config joins by path. */
  inodeOf: (path: string) => number;
}

export const DUMP_LOG = "dump.log";
export const RESTORE_LOG = "restore.log";
/** What standard input, output and error of the container were, in the image directory, as runc writes it. */
export const DESCRIPTORS = "descriptors.json";

/** Namespaces that stay outside of the images when the config joins them. */
const EXTERNAL = { network: ["net", "extRootNetNS"], pid: ["pid", "extRootPidNS"] } as const;

export function dumpArguments(config: Config, flags: CheckpointFlags, facts: DumpFacts): string[] {
  const { preDump = false, parentPath, pageServer } = flags;
  const args = [preDump ? "pre-dump" : "dump", "--tree", String(facts.pid), ...common(config, flags, DUMP_LOG)];
  args.push("--root", config.root.path);
  if (facts.configFile !== undefined) args.push("--config", facts.configFile);
  if (facts.freezer !== undefined) args.push("--freeze-cgroup", facts.freezer);
  for (const type of ["network", "pid"] as const) {
    const path = namespaceOf(config, type)?.path;
    const [name, key] = EXTERNAL[type];
    if (path !== undefined) args.push("--external", `${name}[${facts.inodeOf(path)}]:${key}`);
  }
  if (flags.leaveRunning) args.push("--leave-running");
  if (flags.tcpSkipInFlight) args.push("--skip-in-flight");
  if (flags.linkRemap) args.push("--link-remap");
  if (flags.statusFd !== undefined) args.push("--status-fd", String(flags.statusFd));
  if (pageServer !== undefined)
    args.push("--page-server", "--address", pageServer.address, "--port", String(pageServer.port));
  if (parentPath !== undefined) args.push("--prev-images-dir", parentPath);
  if (parentPath !== undefined || preDump) args.push("--track-mem");
  if (preDump) return args;
  for (const path of config.linux.maskedPaths ?? []) args.push("--external", `mnt[${path}]:/dev/null`);
  for (const { destination } of externalMounts(config)) args.push("--external", `mnt[${destination}]:${destination}`);
  return args;
}

export interface RestoreFacts {
  /** The root filesystem, as a mount point. */
  root: string;
  pidFile: string;
  configFile: string | undefined;
  /** Descriptors that criu has: of a namespace or a pipe, by the key of the images. */
  inherited: readonly { fd: number; key: string }[];
  /** Where the container's groups are from the root of each hierarchy. */
  cgroups: readonly { controller: string; path: string }[];
}

export function restoreArguments(config: Config, flags: RestoreFlags, facts: RestoreFacts): string[] {
  // Detached and as our child: as if we had cloned it.
  const args = ["restore", "--restore-detached", "--restore-sibling", ...common(config, flags, RESTORE_LOG)];
  args.push("--root", facts.root, "--pidfile", facts.pidFile, "--evasive-devices");
  if (facts.configFile !== undefined) args.push("--config", facts.configFile);
  for (const { fd, key } of facts.inherited) args.push("--inherit-fd", `fd[${fd}]:${key}`);
  for (const { type, path } of config.linux.namespaces ?? [])
    if (path !== undefined && JOINED[type] !== undefined) args.push("--join-ns", `${JOINED[type]}:${path}`);
  if (flags.manageCgroupsMode !== "ignore")
    for (const { controller, path } of facts.cgroups)
      args.push("--cgroup-root", controller === "" ? path : `${controller}:${path}`);
  if (flags.tcpClose) args.push("--tcp-close");
  if (flags.lsmProfile !== undefined) args.push("--lsm-profile", flags.lsmProfile);
  if (flags.lsmMountContext !== undefined) args.push("--lsm-mount-context", flags.lsmMountContext);
  for (const { destination, source } of externalMounts(config))
    args.push("--external", `mnt[${destination}]:${source}`);
  if ((config.linux.maskedPaths ?? []).length > 0) args.push("--external", "mnt[/dev/null]:/dev/null");
  return args;
}

/** Namespaces of the config that criu opens for itself. */
const JOINED: Readonly<Record<string, string>> = { ipc: "ipc", uts: "uts", time: "time", user: "user", mount: "mnt" };

/** Those that we open for criu: their path and their key. */
export function inheritedNamespaces(config: Config): { path: string; key: string }[] {
  return (["network", "pid"] as const).flatMap((type) => {
    const path = namespaceOf(config, type)?.path;
    return path === undefined ? [] : [{ path, key: EXTERNAL[type][1] }];
  });
}

function common(config: Config, flags: CriuFlags, log: string): string[] {
  const args = ["--images-dir", flags.imagePath, "--log-file", log, "-v4"];
  args.push(`--manage-cgroups=${flags.manageCgroupsMode ?? "soft"}`);
  if (flags.workPath !== undefined) args.push("--work-dir", flags.workPath);
  if (flags.tcpEstablished) args.push("--tcp-established");
  if (flags.extUnixSk) args.push("--ext-unix-sk");
  if (flags.shellJob) args.push("--shell-job");
  if (flags.fileLocks) args.push("--file-locks");
  if (flags.lazyPages) args.push("--lazy-pages");
  if (flags.autoDedup) args.push("--auto-dedup");
  if (flags.networkLock !== undefined) args.push("--network-lock", flags.networkLock);
  if (isNew(config, "network") || flags.emptyNs?.includes("network")) args.push("--empty-ns", "net");
  return args;
}

/** Bind mounts, and devices that are bound from the machine. */
export function externalMounts(config: Config): { destination: string; source: string }[] {
  const binds = (config.mounts ?? []).flatMap(({ type, options = [], source, destination }) =>
    source !== undefined && (type === "bind" || options.includes("bind") || options.includes("rbind"))
      ? [{ destination: cleanPath(destination), source }]
      : [],
  );
  return [...binds, ...(config.linux.devices ?? []).map(({ path }) => ({ destination: path, source: path }))];
}

/** The lines of a log, or of what a program said, that tell of errors: without times, each once. */
export function errorLines(log: string): string[] {
  const lines = log
    .split("\n")
    .flatMap((line) => /^(?:\(\d+\.\d+\) )?(?:\s*\d+: )?(Error .*|.*\bError\b.*)$/.exec(line)?.[1] ?? []);
  return [...new Set(lines)];
}
