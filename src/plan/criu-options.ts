/**
 * What CRIU is asked for, to write a container down and to bring it back: flags as runc and crun have them, and from the
 * config what the two must agree on. A mount of the machine is `external`: known by its destination in the images, and given
 * again from its source. Network devices are an engine's, so a network namespace of the container's own comes back empty.
 */
import { ContainerError } from "../error.ts";
import type { Config, Mount } from "../spec/config.ts";
import { isNew, namespaceOf } from "./namespaces.ts";
import { cleanPath } from "./proc-files.ts";
import type { Step } from "./step.ts";

/** Message `criu_opts` of CRIU's images/rpc.proto, by its names. */
export interface CriuOptions {
  imagesDirFd?: number;
  pid?: number;
  leaveRunning?: boolean | undefined;
  extUnixSk?: boolean | undefined;
  tcpEstablished?: boolean | undefined;
  evasiveDevices?: boolean;
  shellJob?: boolean | undefined;
  fileLocks?: boolean | undefined;
  logLevel: number;
  logFile: string;
  ps?: readonly (readonly [address: string, port: number])[];
  notifyScripts: boolean;
  root: string;
  parentImg?: string | undefined;
  trackMem?: boolean;
  autoDedup?: boolean | undefined;
  workDirFd?: number;
  linkRemap?: boolean | undefined;
  cgRoot?: readonly (readonly [controller: string, path: string])[];
  rstSibling?: boolean;
  inheritFd?: readonly (readonly [key: string, fd: number])[];
  manageCgroupsMode: number;
  external: readonly string[];
  emptyNs: number;
  joinNs?: readonly (readonly [type: string, path: string])[];
  freezeCgroup?: string | undefined;
  tcpSkipInFlight?: boolean | undefined;
  lazyPages?: boolean | undefined;
  orphanPtsMaster: boolean;
  configFile?: string | undefined;
  tcpClose?: boolean | undefined;
  lsmProfile?: string | undefined;
  lsmMountContext?: string | undefined;
  networkLock?: number | undefined;
}

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
  networkLock?: keyof typeof NETWORK_LOCKS;
  manageCgroupsMode?: keyof typeof CGROUP_MODES;
}

/** `criu_network_lock_method` and `criu_cg_mode` of rpc.proto. */
export const NETWORK_LOCKS = { iptables: 1, nftables: 2, skip: 3 } as const;
export const CGROUP_MODES = { soft: 3, full: 4, strict: 5, ignore: 0 } as const;

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

/** A mount that is not in the images. */
export interface ExternalMount {
  destination: string;
  source: string;
}

interface Facts {
  /** `org.criu.config`: further options, which CRIU takes over ours. */
  configFile: string | undefined;
  /** Bind mounts and devices of the config, see {@link externalMounts}, and directories of control groups that are bound. */
  mounts: readonly ExternalMount[];
}

export interface DumpFacts extends Facts {
  pid: number;
  /** Of the container; CRIU stops the processes through it. */
  freezer: string | undefined;
  /** Of the container. A masked file has /dev/null on it; a masked directory something empty, which is in the images. */
  isFile: (path: string) => boolean;
  /** Inode numbers of the namespaces that the config joins by path. */
  inodeOf: (path: string) => number;
}

export const DUMP_LOG = "dump.log";
export const RESTORE_LOG = "restore.log";
/** What standard input, output and error of the container were, in the image directory, as runc writes it. */
export const DESCRIPTORS = "descriptors.json";

/** Namespaces that stay outside of the images when the config joins them. */
const EXTERNAL = { network: ["net", "extRootNetNS"], pid: ["pid", "extRootPidNS"] } as const;

export function dumpOptions(config: Config, flags: CheckpointFlags, facts: DumpFacts): CriuOptions {
  const { preDump = false, parentPath, pageServer, leaveRunning, tcpSkipInFlight, linkRemap } = flags;
  const namespaces = (["network", "pid"] as const).flatMap((type) => {
    const path = namespaceOf(config, type)?.path;
    const [name, key] = EXTERNAL[type];
    return path === undefined ? [] : [`${name}[${facts.inodeOf(path)}]:${key}`];
  });
  const masked = (config.linux.maskedPaths ?? []).filter(facts.isFile).map((path) => `mnt[${path}]:/dev/null`);
  const mounts = facts.mounts.map(({ destination }) => `mnt[${destination}]:${destination}`);
  return {
    ...common(config, flags, facts),
    logFile: DUMP_LOG,
    root: config.root.path,
    pid: facts.pid,
    external: preDump ? namespaces : [...namespaces, ...masked, ...mounts],
    freezeCgroup: facts.freezer,
    leaveRunning,
    tcpSkipInFlight,
    linkRemap,
    parentImg: parentPath,
    trackMem: parentPath !== undefined || preDump,
    ...(pageServer === undefined ? {} : { ps: [[pageServer.address, pageServer.port]] }),
  };
}

export interface RestoreFacts extends Facts {
  /** The root filesystem, as a mount point. */
  root: string;
  /** Descriptors that CRIU has: of a namespace or a pipe, by the key of the images. */
  inherited: readonly { fd: number; key: string }[];
  /** Where the container's groups are from the root of each hierarchy; `controller` is empty for v2. */
  cgroups: readonly { controller: string; path: string }[];
}

export function restoreOptions(config: Config, flags: RestoreFlags, facts: RestoreFacts): CriuOptions {
  const { tcpClose, lsmProfile, lsmMountContext } = flags;
  const mounts = facts.mounts.map(({ destination, source }) => `mnt[${destination}]:${source}`);
  const masks = (config.linux.maskedPaths ?? []).length > 0 ? ["mnt[/dev/null]:/dev/null"] : [];
  return {
    ...common(config, flags, facts),
    logFile: RESTORE_LOG,
    root: facts.root,
    // As our child: as if we had cloned it.
    rstSibling: true,
    evasiveDevices: true,
    inheritFd: facts.inherited.map(({ fd, key }) => [key, fd]),
    joinNs: (config.linux.namespaces ?? []).flatMap(({ type, path }) => {
      const name = JOINED[type];
      return path === undefined || name === undefined ? [] : [[name, path] as const];
    }),
    cgRoot: flags.manageCgroupsMode === "ignore" ? [] : facts.cgroups.map(({ controller, path }) => [controller, path]),
    external: [...mounts, ...masks],
    tcpClose,
    lsmProfile,
    lsmMountContext,
  };
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

/** Whose terminal it is: with `--shell-job` the caller's, else one whose master CRIU hands over. */
const hasOwnTerminal = ({ process }: Config, { shellJob = false }: CriuFlags): boolean =>
  process.terminal === true && !shellJob;

function common(
  config: Config,
  flags: CriuFlags,
  { configFile }: Facts,
): Omit<CriuOptions, "logFile" | "root" | "external"> {
  const { tcpEstablished, extUnixSk, shellJob, fileLocks, lazyPages, autoDedup, networkLock, emptyNs } = flags;
  return {
    tcpEstablished,
    extUnixSk,
    shellJob,
    fileLocks,
    lazyPages,
    autoDedup,
    configFile,
    logLevel: 4,
    notifyScripts: true,
    orphanPtsMaster: hasOwnTerminal(config, flags),
    manageCgroupsMode: CGROUP_MODES[flags.manageCgroupsMode ?? "soft"],
    networkLock: networkLock === undefined ? undefined : NETWORK_LOCKS[networkLock],
    emptyNs: isNew(config, "network") || emptyNs?.includes("network") ? CLONE_NEWNET : 0,
  };
}

const CLONE_NEWNET = 0x40000000;

/**
 * Bind mounts, and devices that are bound from the machine. `bundle`: where sources begin that are not absolute; `resolve`: a path of
 * the container past its symbolic links.
 */
export function externalMounts(config: Config, bundle: string, resolve: (path: string) => string): ExternalMount[] {
  const binds = (config.mounts ?? []).filter(isBind).flatMap(({ source, destination }) =>
    source !== undefined
      ? [
          {
            destination: resolve(cleanPath(destination)),
            source: source.startsWith("/") ? source : `${bundle}/${source}`,
          },
        ]
      : [],
  );
  return [...binds, ...(config.linux.devices ?? []).map(({ path }) => ({ destination: path, source: path }))];
}

export const isBind = ({ type, options = [] }: Mount): boolean =>
  type === "bind" || options.includes("bind") || options.includes("rbind");

/** CRIU is told of one root, `root.path`, and brings that back. Throws MOUNT_ON_ROOT. */
export function requireUncovered({ mounts = [] }: Config): void {
  const at = mounts.findIndex(
    ({ destination, options = [] }) => cleanPath(destination) === "/" && !options.includes("remount"),
  );
  if (at < 0) return;
  throw new ContainerError("MOUNT_ON_ROOT", "CRIU brings root.path back, and the container's root is a mount on it", {
    field: `mounts[${at}].destination`,
    hint: "make root.path what the mount shows",
  });
}

/** Where a plan shows the container its own control groups: without a cgroup namespace, directories of the machine's. */
export function boundGroups(steps: readonly Step[], config: Config): ExternalMount[] {
  const shown = (config.mounts ?? []).filter(({ type }) => type === "cgroup").map(({ destination }) => destination);
  const sources = new Map(steps.flatMap((step) => (step.op === "takeTree" ? [[step.tree.slot, step.source]] : [])));
  return steps.flatMap((step) => {
    if (step.op !== "placeTree" || !shown.some((path) => `${step.target}/`.startsWith(`${path}/`))) return [];
    const source = sources.get(step.tree.slot);
    return source === undefined ? [] : [{ destination: step.target, source }];
  });
}

/** The lines of a log, or of what a program said, that tell of errors: without times, each once. */
export function errorLines(log: string): string[] {
  const lines = log
    .split("\n")
    .flatMap((line) => /^(?:\(\d+\.\d+\) )?(?:\s*\d+: )?(Error .*|.*\bError\b.*)$/.exec(line)?.[1] ?? []);
  return [...new Set(lines)];
}
