/** `info`: the machine that containers run on, as far as it decides what they can have. youki's command; the runtime-spec has none. */
import { probeHost } from "../execute/probe.ts";
import { CAPABILITIES, capabilityNames } from "../spec/capabilities.ts";
import type { NamespaceType } from "../spec/config.ts";
import { NAMESPACE_TYPES } from "../spec/names.ts";
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
  capabilities: { bounding: string[]; missing: string[] };
}

export function machineInfo(): MachineInfo {
  const { architecture, cgroups } = probeHost();
  const operatingSystem = nameOfSystem(textOf("/etc/os-release") || textOf("/usr/lib/os-release"));
  const status = textOf("/proc/self/status");
  const bounding = capabilityNames(BigInt(`0x${/^CapBnd:\s*(\w+)$/m.exec(status)?.[1] ?? "0"}`));
  const known = Number(textOf("/proc/sys/kernel/cap_last_cap") || CAPABILITIES.length - 1);
  const mounts: Record<string, string> = {};
  for (const each of [...cgroups.hierarchies, cgroups.systemdV1, cgroups.unified])
    if (each !== undefined) mounts[each === cgroups.unified ? "unified" : each.controllers.join(",")] = each.mountPoint;
  return {
    kernel: { release: textOf("/proc/sys/kernel/osrelease"), version: textOf("/proc/sys/kernel/version") },
    architecture,
    ...(operatingSystem === undefined ? {} : { operatingSystem }),
    processors: [...textOf("/proc/cpuinfo").matchAll(/^processor\s*:/gm)].length,
    memoryBytes: Number(/^MemTotal:\s*(\d+)/m.exec(textOf("/proc/meminfo"))?.[1] ?? 0) * 1024,
    cgroups: { setup: cgroups.mode, mounts, controllers: cgroups.unified?.controllers ?? [] },
    namespaces: NAMESPACE_TYPES.filter((type) => raw.faccessat(AT_FDCWD, `/proc/self/ns/${fileOf(type)}`, 0) >= 0),
    unprivilegedUserNamespaces: ["unprivileged_userns_clone", "../user/max_user_namespaces"].every(
      (file) => textOf(`/proc/sys/kernel/${file}`) !== "0",
    ),
    capabilities: {
      bounding,
      missing: CAPABILITIES.filter((name, number) => number <= known && !bounding.includes(name)),
    },
  };
}

/** Where the kernel has such namespaces. namespaces(7) */
const fileOf = (type: NamespaceType): string => (type === "mount" ? "mnt" : type === "network" ? "net" : type);

/** Without the end of its last line; empty where it cannot be read. */
const textOf = (path: string): string => (readFileIfThere(path) ?? "").trimEnd();

const nameOfSystem = (text: string): string | undefined => /^PRETTY_NAME=["']?(.*?)["']?$/m.exec(text)?.[1];
