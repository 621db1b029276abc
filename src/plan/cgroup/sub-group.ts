/**
 * `exec --cgroup [CONTROLLER[,CONTROLLER…]:]PATH`: the process goes into a group that the container has made below its own.
 * As in runc: one path for all hierarchies, or one for each controller of cgroup v1.
 */
import { ContainerError } from "../../error.ts";
import type { ControlGroup } from "./limits.ts";

/** Whether it names a group below another. */
export const isBelow = (name: string): boolean => !name.split("/").some((part) => /^\.{0,2}$/.test(part));

/** The container's groups with those that are asked for in their place. Throws CGROUP_FLAG_INVALID. */
export function subGroups(groups: readonly ControlGroup[], flags: readonly string[]): ControlGroup[] {
  const paths = new Map<string, string>();
  for (const flag of flags) {
    const colon = flag.indexOf(":");
    if (colon < 0 && flags.length > 1) throw invalidFlag(flag, "with several, each names its controllers");
    for (const controller of colon < 0 ? [ALL] : flag.slice(0, colon).split(",")) {
      if (controller === "" && colon >= 0) throw invalidFlag(flag, "a controller has no name");
      if (paths.has(controller)) throw invalidFlag(flag, `the controller ${controller} is named twice`);
      if (controller !== ALL && !groups.some((group) => has(group, controller)))
        throw invalidFlag(flag, `the container has no group of the controller ${controller}`);
      paths.set(controller, below(flag, flag.slice(colon + 1)));
    }
  }
  return groups.map((group) => {
    const asked = [...paths].find(([controller]) => controller === ALL || has(group, controller));
    return asked === undefined ? group : { ...group, path: `${group.path}${asked[1]}` };
  });
}

const ALL = "";

const has = ({ controller }: ControlGroup, name: string): boolean => controller.split(",").includes(name);

/** `/a/b` of `a//b/`. A path that leads out of the container's group is an error, not the group itself. */
function below(flag: string, path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw invalidFlag(flag, "it leads out of the container's control group");
  }
  return parts.map((part) => `/${part}`).join("");
}

const invalidFlag = (flag: string, why: string): ContainerError =>
  new ContainerError("CGROUP_FLAG_INVALID", `invalid --cgroup argument ${JSON.stringify(flag)}: ${why}`, {
    field: "--cgroup",
    hint: "[CONTROLLER[,CONTROLLER…]:]PATH, below the container's own group",
  });
