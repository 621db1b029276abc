/** `linux.resources.unified`: files of cgroup v2 by their own names. config-linux.md, "Unified". */
import { ContainerError } from "../../error.ts";
import { type CgroupWrite, invalid } from "./request.ts";

/**
 * One write per line of each value: files such as io.max take one line at a time.
 * `controllers` are those that the v2 tree offers; a file of another one throws a {@link ContainerError}, which says
 * so where a hierarchy of v1 has it.
 */
export function unifiedRequests(
  unified: Readonly<Record<string, string>> = {},
  controllers: readonly string[],
  hierarchies: ReadonlyMap<string, string> = new Map(),
): CgroupWrite[] {
  return Object.entries(unified).flatMap(([file, value]) => {
    const field = unifiedField(file);
    if (file.includes("/")) throw invalid(field, `${file} is not a file name`, "name a file of the group, not a path");
    const controller = unifiedController(file);
    if (controller !== "cgroup" && !controllers.includes(controller)) {
      throw new ContainerError("CGROUP_CONTROLLER_MISSING", `cgroup v2 offers no ${controller} controller here`, {
        field,
        hint:
          controllers.length === 0 || hierarchies.has(controller)
            ? "an invalid configuration for cgroup v1, which has the controllers of this machine: use the other fields of linux.resources"
            : `it offers ${controllers.join(", ")}`,
      });
    }
    const because = "the config names this file and its value itself";
    return value.split("\n").flatMap((line) => (line === "" ? [] : [{ file, value: line, field, because }]));
  });
}

/** `memory` of `memory.high`. */
export const unifiedController = (file: string): string => file.split(".", 1)[0] ?? file;

export const unifiedField = (file: string): string => `linux.resources.unified[${JSON.stringify(file)}]`;
