/** The manager of systemd that the caller's containers belong to. */
import { Systemd } from "../execute/systemd.ts";
import type { SystemdTarget } from "../plan/cgroup/systemd.ts";
import type { Host } from "../plan/host.ts";
import { readFileIfThere } from "../sys/files.ts";
import { raw } from "../sys/sys.ts";
import { isRootOfUserNamespace } from "./container.ts";

/** Root's is the machine's; an ordinary user has one of the own, and root of a user namespace has that of the user. */
export const openSystemd = (): Systemd => Systemd.open(raw.geteuid() !== 0 || isRootOfUserNamespace());

/** What the plan must know of it. */
export function systemdTarget(systemd: Systemd, { cgroups: { unified } }: Host): SystemdTarget {
  const target = systemd.target();
  if (!target.user || unified === undefined) return target;
  const controllers = readFileIfThere(`${unified.mountPoint}${target.root}/cgroup.controllers`) ?? "";
  return { ...target, controllers: controllers.split(/\s/).filter((name) => name !== "") };
}
