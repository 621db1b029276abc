/**
 * A part of the control group tree for an ordinary user who has none: a scope of the own systemd manager, with us in it.
 * It ends with its last process.
 */
import { ContainerError } from "../error.ts";
import { CALLERS } from "../plan/cgroup/hand-down.ts";
import type { Host } from "../plan/host.ts";
import { sys } from "../sys/sys.ts";
import { probeHost } from "./probe.ts";
import { Systemd } from "./systemd.ts";

/**
 * For a new container with limits. What lies beside units is systemd's: it takes controllers away again that no unit of its own
 * needs, and with them the limits; so nothing is made there while there is a manager that makes a scope.
 */
export function hostForLimits(host: Host, name: string, warn: (text: string) => void): Host {
  const { writable, unified } = host.cgroups;
  const isOurs = unified?.base === unified?.ownPath || unified?.ownPath.endsWith(CALLERS);
  return writable && isOurs ? host : hostInUserScope(host, name, writable ? () => {} : warn);
}

/** For one more process of a container with these groups: a process moves only within the part of the tree that is its user's. */
export function hostForJoining(groups: readonly unknown[], warn: (text: string) => void): Host {
  const host = probeHost();
  if (groups.length === 0 || host.uid === 0 || host.cgroups.writable) return host;
  return hostInUserScope(host, `exec-${sys.getpid()}`, warn);
}

/** What the machine offers from there on. The same as before, and a warning, where the user has no manager, or it does not want. */
export function hostInUserScope(host: Host, name: string, warn: (text: string) => void): Host {
  if (host.uid === 0 || host.cgroups.mode !== "v2") return host;
  try {
    const systemd = Systemd.open(true);
    try {
      systemd.startScope(
        `tupper-${name.replace(/[^\w.-]/g, "_")}.scope`,
        [
          ["Description", { type: "s", value: `tupper ${name}` }],
          ["Delegate", { type: "b", value: true }],
          ["CollectMode", { type: "s", value: "inactive-or-failed" }],
        ],
        sys.getpid(),
      );
    } finally {
      systemd.close();
    }
    return probeHost();
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    warn(`no control group by systemd: ${error.message}`);
    return host;
  }
}
