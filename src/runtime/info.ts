/** `info`: the machine that containers run on, as far as it decides what they can have. youki's command; the runtime-spec has none. */
import { probeHost } from "../execute/probe.ts";
import { CAPABILITIES, capabilityNames } from "../spec/capabilities.ts";
import type { NamespaceType } from "../spec/config.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";

export interface MachineInfo {
  kernel: { release: string; version: string };
  architecture: string;
  /** As os-release(5) calls it. */
  operatingSystem?: string;
  processors: number;
  memoryBytes: number;
  cgroups: {
    setup: "v1" | "hybrid" | "v2" | "none";
    /** Where each hierarchy is mounted, `unified` among them. */
    mounts: Record<string, string>;
    /** Of the unified hierarchy. */
    controllers: readonly string[];
  };
  namespaces: NamespaceType[];
  /** Whether users may make user namespaces. */
  unprivilegedUserNamespaces: boolean;
  /** The modules of the kernel that see to security, as far as securityfs tells. */
  securityModules: string[];
  capabilities: { bounding: string[]; missing: string[] };
}

export function machineInfo(): MachineInfo {
  const { architecture, cgroups } = probeHost();
  const operatingSystem = nameOfSystem(textOf("/etc/os-release") || textOf("/usr/lib/os-release"));
  const status = textOf("/proc/self/status");
  const bounding = capabilityNames(BigInt(`0x${/^CapBnd:\s*(\w+)$/m.exec(status)?.[1] ?? "0"}`));
  const known = Number(textOf("/proc/sys/kernel/cap_last_cap") || CAPABILITIES.length - 1);
  const namespaces = NAMESPACES.filter(([file]) => raw.faccessat(AT_FDCWD, `/proc/self/ns/${file}`, 0) >= 0);
  return {
    kernel: { release: textOf("/proc/sys/kernel/osrelease"), version: textOf("/proc/sys/kernel/version") },
    architecture,
    ...(operatingSystem === undefined ? {} : { operatingSystem }),
    processors: [...textOf("/proc/cpuinfo").matchAll(/^processor\s*:/gm)].length,
    memoryBytes: Number(/^MemTotal:\s*(\d+)/m.exec(textOf("/proc/meminfo"))?.[1] ?? 0) * 1024,
    cgroups: {
      setup: cgroups.mode,
      mounts: Object.fromEntries([
        ...[...cgroups.hierarchies, ...(cgroups.systemdV1 === undefined ? [] : [cgroups.systemdV1])].map(
          ({ controllers, mountPoint }) => [controllers.join(","), mountPoint] as const,
        ),
        ...(cgroups.unified === undefined ? [] : [["unified", cgroups.unified.mountPoint] as const]),
      ]),
      controllers: cgroups.unified?.controllers ?? [],
    },
    namespaces: namespaces.map(([, type]) => type),
    unprivilegedUserNamespaces: ["unprivileged_userns_clone", "../user/max_user_namespaces"].every(
      (file) => textOf(`/proc/sys/kernel/${file}`) !== "0",
    ),
    securityModules: textOf("/sys/kernel/security/lsm").split(",").filter(Boolean),
    capabilities: {
      bounding,
      missing: CAPABILITIES.filter((name, number) => number <= known && !bounding.includes(name)),
    },
  };
}

/** Files of /proc/PID/ns, where the kernel has such namespaces. namespaces(7) */
const NAMESPACES: readonly (readonly [file: string, type: NamespaceType])[] = [
  ["cgroup", "cgroup"],
  ["ipc", "ipc"],
  ["mnt", "mount"],
  ["net", "network"],
  ["pid", "pid"],
  ["time", "time"],
  ["user", "user"],
  ["uts", "uts"],
];

/** Without the end of its last line; empty where it cannot be read. */
const textOf = (path: string): string => (readFileIfThere(path) ?? "").trimEnd();

function nameOfSystem(text: string): string | undefined {
  const value = (name: string) => new RegExp(`^${name}=["']?(.*?)["']?$`, "m").exec(text)?.[1];
  return value("PRETTY_NAME") ?? ([value("NAME"), value("VERSION")].filter(Boolean).join(" ") || undefined);
}
