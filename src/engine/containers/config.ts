/**
 * The flags of `tupper run` as an OCI config: the same config that a bundle would bring, with docker's defaults.
 *
 * Pure: what must be read from the machine comes in as {@link RootFacts}. A flag that asks for what cannot be is an
 * error that names it; one that cannot be honoured here, but does no harm, is a warning.
 */
import { whySingleId } from "../../plan/id-maps.ts";
import { DEFAULT_CAPABILITIES, defaultSeccompProfile } from "../../plan/seccomp/default-profile.ts";
import { DEFAULT_PROFILE, NATIVE_ARCH } from "../../plan/seccomp/profile-program.ts";
import { CAPABILITIES } from "../../spec/capabilities.ts";
import { ANNOTATION, type Config, type Mount, type Resources } from "../../spec/config.ts";
import type { LinuxSeccomp } from "../../spec/seccomp.ts";
import { SPEC_VERSION } from "../../spec/version.ts";
import { containerCapabilities } from "./config/capabilities.ts";
import { containerDevices } from "./config/devices.ts";
import { environment } from "./config/environment.ts";
import {
  flagError,
  parseBytes,
  parseChoice,
  parseContainerPath,
  parseInteger,
  parseKeyValues,
} from "./config/flag-value.ts";
import { containerMounts } from "./config/mounts.ts";
import { type Namespaces, namespaceList, namespacesOf, timeOffsets } from "./config/namespaces.ts";
import { limits } from "./config/resources.ts";
import { rlimits } from "./config/rlimits.ts";
import { parseSeccompFile } from "./config/seccomp-file.ts";
import { labelWarnings, securityOptions } from "./config/security-opt.ts";
import { sysctls } from "./config/sysctls.ts";
import { containerUser } from "./config/user.ts";
import type { RootFacts } from "./root-facts.ts";
import type { RunOptions } from "./run-options.ts";

const DEFAULT_HOSTNAME = "tupperware";
const DEFAULT_COMMAND: readonly string[] = ["sh"];
const DEFAULT_ROOT_SIZE = "500m";
const HOSTNAME_MAX = 64;

/** What shows or changes the machine and no namespace hides; docker's lists. */
const MASKED_PATHS: readonly string[] = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const READONLY_PATHS: readonly string[] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Throws a {@link ContainerError} whose `field` is the flag. */
export function configFromOptions(options: RunOptions, root: RootFacts): { config: Config; warnings: string[] } {
  const namespaces = namespacesOf(options, root);
  const security = securityOptions(options);
  const {
    user,
    home,
    warnings: userWarnings,
  } = containerUser(withKeptUser(options, namespaces), root, namespaces.mapped);
  const available = namespaces.modes.user.kind === "host" ? root.capabilities : CAPABILITIES;
  const capabilities = containerCapabilities(options, user.uid, available);
  const devices = containerDevices(options, root, namespaces);
  const cgroup = controlGroup(options, root, devices.rules);
  const names = containerNames(options, namespaces);
  const terminal = options.tty ?? (root.isTerminal.stdin && root.isTerminal.stdout);
  const seccomp = seccompProfile(security.seccomp, options, root, capabilities.bounding);
  const sysctl = sysctls(options, namespaces);
  const offsets = timeOffsets(options, namespaces);

  const mounts = [...containerMounts(options, root, namespaces), ...devices.mounts];

  const rootKind = kindOfRoot(options, root, namespaces);

  const config: Config = {
    ociVersion: SPEC_VERSION,
    root: { path: root.path, readonly: options.readOnly ?? false },
    mounts,
    process: {
      terminal,
      user,
      args: [...(options.command.length > 0 ? options.command : DEFAULT_COMMAND)],
      env: environment(options, root, { hostname: names.hostname, home, terminal }),
      cwd: options.workdir === undefined ? "/" : parseContainerPath("--workdir", options.workdir),
      capabilities: capabilities.sets,
      rlimits: rlimits(options),
      noNewPrivileges: security.noNewPrivileges,
      ...(options.oomScoreAdj === undefined
        ? {}
        : { oomScoreAdj: parseInteger("--oom-score-adj", options.oomScoreAdj, -1000, 1000) }),
      ...(security.apparmorProfile === undefined ? {} : { apparmorProfile: security.apparmorProfile }),
      ...(security.selinuxLabel === undefined ? {} : { selinuxLabel: security.selinuxLabel }),
    },
    ...names,
    annotations: annotations(options, rootKind.kind),
    linux: {
      namespaces: namespaceList(namespaces),
      ...namespaces.maps,
      ...(offsets === undefined ? {} : { timeOffsets: offsets }),
      devices: devices.devices,
      ...cgroup.linux,
      ...rootPropagation(mounts),
      maskedPaths: security.protectsPaths ? [...MASKED_PATHS] : [],
      readonlyPaths: security.protectsPaths ? [...READONLY_PATHS] : [],
      sysctl,
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  };
  const warnings = [
    ...singleId(options, root, namespaces),
    ...rootKind.warnings,
    ...userWarnings,
    ...capabilities.warnings,
    ...cgroup.warnings,
    ...sharedMemory(namespaces),
    ...labelWarnings(security, root),
  ];
  return { config, warnings };
}

/** With `--userns keep-id` the command runs as the caller. */
function withKeptUser(options: RunOptions, { modes: { user } }: Namespaces): RunOptions {
  const kept = user.kind === "private" ? user.kept : undefined;
  return kept === undefined || options.user !== undefined ? options : { ...options, user: `${kept.uid}:${kept.gid}` };
}

/** An ordinary user who could have more ids is told what is missing; who names the map knows. */
function singleId({ uidmap, gidmap }: RunOptions, { host }: RootFacts, { modes }: Namespaces): string[] {
  if (host.uid === 0 || modes.user.kind !== "private" || uidmap !== undefined || gidmap !== undefined) return [];
  const why = whySingleId(host);
  return why === undefined ? [] : [`the container has a single user and group, which are your own: ${why}`];
}

/** Mounts of the container can spread to the machine only from a root that is not cut off: docker says so too. */
const rootPropagation = (mounts: readonly Mount[]): { rootfsPropagation?: string } =>
  mounts.some(({ options }) => options?.some((option) => option === "shared" || option === "rshared"))
    ? { rootfsPropagation: "shared" }
    : {};

/** What an IPC namespace joined by its file does not bring: /dev/shm is a directory of some container, nobody knows whose. */
function sharedMemory({ modes }: Namespaces): string[] {
  if (modes.ipc.kind !== "join" || modes.ipc.container !== undefined) return [];
  return [
    "--ipc shares System V IPC and message queues, but not /dev/shm: name the container (container:NAME), or give both a directory (--volume DIR:/dev/shm)",
  ];
}

/** A UTS namespace of the container's own has names; one that is shared keeps those that it has. */
function containerNames(options: RunOptions, { modes }: Namespaces): Pick<Config, "hostname" | "domainname"> {
  for (const [flag, name] of [
    ["--hostname", options.hostname],
    ["--domainname", options.domainname],
  ] as const) {
    if (name === undefined) continue;
    if (modes.uts.kind !== "private") {
      throw flagError(
        "NAME_OF_SHARED_NAMESPACE",
        flag,
        `${flag} "${name}" would rename whoever shares the UTS namespace`,
        "leave --uts away",
      );
    }
    if (name === "" || name.length > HOSTNAME_MAX || /[\s/\0]/.test(name)) {
      throw flagError(
        "BAD_HOSTNAME",
        flag,
        `${flag} "${name}" is not a host name`,
        `1 to ${HOSTNAME_MAX} letters, digits, dots and dashes`,
      );
    }
  }
  if (modes.uts.kind !== "private") return {};
  const { hostname = DEFAULT_HOSTNAME, domainname } = options;
  return { hostname, ...(domainname === undefined ? {} : { domainname }) };
}

/**
 * A copy-on-write view. In a user namespace the kernel makes one since Linux 5.11; before, the root is copied. The machine's
 * own is too large for that.
 */
function kindOfRoot(
  { rootKind }: RunOptions,
  { path, host }: RootFacts,
  { modes }: Namespaces,
): { kind: string; warnings: string[] } {
  const [major, minor] = host.kernel;
  const asked = rootKind === undefined ? undefined : parseChoice("--root-kind", rootKind, ["overlay", "bind", "copy"]);
  const hasOverlay = modes.user.kind === "host" || major > 5 || (major === 5 && minor >= 11);
  if (hasOverlay || (asked !== undefined && asked !== "overlay")) return { kind: asked ?? "overlay", warnings: [] };
  const why = `Linux ${major}.${minor} makes no overlay in a user namespace (5.11 does)`;
  if (asked !== undefined || path === "/")
    throw flagError(
      "OVERLAY_REFUSED",
      "--root-kind",
      why,
      "copy (in memory, limited by --size), or bind (writes reach ROOT)",
    );
  return { kind: "copy", warnings: [`the root is copied to memory, which --size limits: ${why}`] };
}

function annotations(options: RunOptions, rootKind: string): Record<string, string> {
  return {
    ...parseKeyValues("--label", options.label),
    ...parseKeyValues("--annotation", options.annotation),
    [ANNOTATION.rootKind]: rootKind,
    [ANNOTATION.rootSize]: String(parseBytes("--size", options.size ?? DEFAULT_ROOT_SIZE)),
    ...(options.init ? { [ANNOTATION.init]: "true" } : {}),
  };
}

/** The container's control group. An ordinary user without a group of the own has none, and so no limits. */
function controlGroup(options: RunOptions, root: RootFacts, devices: Resources["devices"] & object) {
  const { host } = root;
  const { cgroups, uid } = host;
  const resources = limits(options, root);
  if (!cgroups.writable) {
    const wanted = Object.keys(resources).map((name) => LIMIT_NAMES[name] ?? name);
    const because =
      cgroups.mode === "none"
        ? "no control groups are mounted here"
        : uid === 0
          ? "the control groups are read-only here"
          : "no control group is delegated to you (systemd does it: systemd-run --user --scope -p Delegate=yes tupper …); root can set them";
    return {
      linux: {},
      warnings: wanted.length === 0 ? [] : [`the limits on ${wanted.join(", ")} have no effect: ${because}`],
    };
  }
  const parent = options.cgroupParent === undefined ? "" : `/${options.cgroupParent.replace(/^\/+|\/+$/g, "")}`;
  if (parent.split("/").includes("..")) {
    throw flagError(
      "BAD_CGROUP_PARENT",
      "--cgroup-parent",
      `--cgroup-parent "${options.cgroupParent}" leads upwards`,
      "a path below the control group that tupper runs in",
    );
  }
  return {
    // To an ordinary user a part of the tree is delegated: the path begins there.
    linux: {
      cgroupsPath: `${parent}/tupper-${options.id}`.slice(host.privileged ? 0 : 1),
      resources: { devices, ...resources },
    },
    warnings: [],
  };
}

/** Whether a flag is for a control group. */
export const asksForLimits = (options: RunOptions): boolean =>
  Object.keys(options).some((name) => /^(memory|oomKill|cpu|pids|blkio|device(Read|Write))/.test(name));

const LIMIT_NAMES: Readonly<Record<string, string>> = {
  memory: "memory",
  cpu: "CPU",
  pids: "processes",
  blockIO: "block devices",
};

/**
 * The usual profile is one object, made in the build with its program: `plan` knows it by identity. Capabilities that
 * are added open system calls, those that are dropped close them.
 */
function seccompProfile(
  choice: string | undefined,
  options: RunOptions,
  root: RootFacts,
  bounding: string[],
): LinuxSeccomp | undefined {
  if (choice === "unconfined" || (choice === undefined && options.privileged)) return undefined;
  const { host } = root;
  if (choice !== undefined && choice !== "default" && choice !== "builtin") {
    return parseSeccompFile(choice, root.readFile(choice, "--security-opt"), { capabilities: bounding, host });
  }
  const usual =
    host.architecture === "x86_64" &&
    bounding.length === DEFAULT_CAPABILITIES.length &&
    bounding.every((name) => DEFAULT_CAPABILITIES.includes(name));
  if (usual) return DEFAULT_PROFILE;
  return defaultSeccompProfile({
    capabilities: bounding,
    arch: NATIVE_ARCH[host.architecture],
    kernelVersion: host.kernel.join("."),
  });
}
