/** `linux.netDevices`: network devices of the machine that become the container's. config-linux.md, "Network Devices". */
import { ContainerError } from "../error.ts";
import type { Config } from "../spec/config.ts";
import { namespaceOf } from "./namespaces.ts";
import type { ParentStep } from "./step.ts";

/** In the config's order. Throws NETWORK_NAMESPACE_NEEDED: moving a device to where it is would only rename it. */
export function planNetDevices(config: Config): ParentStep[] {
  const devices = Object.entries(config.linux.netDevices ?? {});
  if (devices.length === 0) return [];
  const namespace = namespaceOf(config, "network");
  if (namespace === undefined) {
    throw new ContainerError("NETWORK_NAMESPACE_NEEDED", "network devices need a network namespace to move to", {
      field: "linux.netDevices",
      hint: 'add {"type": "network"} to linux.namespaces',
    });
  }
  return devices.map(([device, { name }]) => ({
    op: "moveNetDevice",
    by: "parent",
    device,
    as: name || device,
    pid: { slot: "init.pid" },
    ...(namespace.path === undefined ? {} : { path: namespace.path }),
    field: `linux.netDevices.${device}`,
    because: "the config gives this device of the machine to the container",
  }));
}
