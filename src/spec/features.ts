/**
 * What `tupper-runtime features` prints: features.md and features-linux.md of the runtime-spec. It says what the program
 * knows, not what the machine can do, so it is the same everywhere.
 */
import { CAPABILITIES } from "./capabilities.ts";
import { HOOK_NAMES, MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES, MOUNT_OPTIONS, NAMESPACE_TYPES } from "./names.ts";
import { SECCOMP_ACTIONS, SECCOMP_ARCHES, SECCOMP_FLAGS, SECCOMP_OPERATORS } from "./seccomp.ts";
import { OLDEST_SPEC_VERSION, SPEC_VERSION } from "./version.ts";

export interface Features {
  ociVersionMin: string;
  ociVersionMax: string;
  hooks: readonly string[];
  mountOptions: readonly string[];
  linux: LinuxFeatures;
  annotations: Readonly<Record<string, string>>;
  /** Names, or with a dot at the end their beginnings, of annotations that images should not be able to set. */
  potentiallyUnsafeConfigAnnotations: readonly string[];
}

interface Enabled {
  enabled: boolean;
}

export interface LinuxFeatures {
  namespaces: readonly string[];
  capabilities: readonly string[];
  cgroup: { v1: boolean; v2: boolean; systemd: boolean; systemdUser: boolean; rdma: boolean };
  seccomp: Enabled & {
    actions: readonly string[];
    operators: readonly string[];
    archs: readonly string[];
    knownFlags: readonly string[];
    supportedFlags: readonly string[];
  };
  apparmor: Enabled;
  selinux: Enabled;
  intelRdt: Enabled & { schemata: boolean; monitoring: boolean };
  memoryPolicy: { modes: readonly string[]; flags: readonly string[] };
  mountExtensions: { idmap: Enabled };
  netDevices: Enabled;
}

/** What depends on how far the runtime has come: whoever finishes a subject says so where this is called. */
export interface Implemented {
  systemd: boolean;
  apparmor: boolean;
  selinux: boolean;
  intelRdt: boolean;
  memoryPolicy: boolean;
  idmap: boolean;
  netDevices: boolean;
}

export function features(version: string, implemented: Implemented): Features {
  const sorted = (names: readonly string[]) => [...names].sort();
  return {
    ociVersionMin: OLDEST_SPEC_VERSION,
    ociVersionMax: SPEC_VERSION,
    hooks: HOOK_NAMES,
    mountOptions: MOUNT_OPTIONS.filter((option) => implemented.idmap || !option.endsWith("idmap")),
    linux: {
      namespaces: sorted(NAMESPACE_TYPES),
      capabilities: CAPABILITIES,
      cgroup: {
        v1: true,
        v2: true,
        systemd: implemented.systemd,
        systemdUser: implemented.systemd,
        rdma: true,
      },
      seccomp: {
        enabled: true,
        actions: sorted(SECCOMP_ACTIONS),
        operators: sorted(SECCOMP_OPERATORS),
        archs: sorted(SECCOMP_ARCHES),
        knownFlags: SECCOMP_FLAGS,
        supportedFlags: SECCOMP_FLAGS,
      },
      apparmor: { enabled: implemented.apparmor },
      selinux: { enabled: implemented.selinux },
      intelRdt: {
        enabled: implemented.intelRdt,
        schemata: implemented.intelRdt,
        monitoring: implemented.intelRdt,
      },
      memoryPolicy: implemented.memoryPolicy
        ? { modes: MEMORY_POLICY_MODES, flags: MEMORY_POLICY_FLAGS }
        : { modes: [], flags: [] },
      mountExtensions: { idmap: { enabled: implemented.idmap } },
      netDevices: { enabled: implemented.netDevices },
    },
    // The second is runc's, which crun has too: by it callers know what checkpoints.
    annotations: { "tupper.version": version, "org.opencontainers.runc.checkpoint.enabled": "true" },
    // tupper.root.kind and its like say how the root filesystem is made, systemd's properties of the unit, crun's files and filters.
    potentiallyUnsafeConfigAnnotations: ["tupper.", "org.systemd.property.", "run.oci.", "org.criu.config"],
  };
}
