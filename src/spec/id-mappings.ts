/** `uidMappings` and `gidMappings`, of a user namespace and of a mount. user_namespaces(7), "Defining user and group ID mappings". */
import { accountId, clash, integer, list, object, type Problem, within, wrong } from "./check.ts";
import type { IdMapping } from "./config.ts";

/** 4294967295 is no id, and the kernel refuses a range that has it: EINVAL. */
const ID_COUNT = 2 ** 32 - 1;

export const idMappings = list<IdMapping>(
  object<IdMapping>(
    { containerID: accountId, hostID: accountId, size: integer(1, ID_COUNT, "a number of ids, at least 1") },
    ["containerID", "hostID", "size"],
  ),
  (mappings) => {
    for (let i = 0; i < mappings.length; i++) {
      const problem = checkMapping(mappings, i);
      if (problem !== undefined) return within(i, problem);
    }
    return undefined;
  },
);

/** The kernel answers EINVAL to ranges that overlap, inside or outside, and to one that goes beyond the last id. */
function checkMapping(mappings: readonly IdMapping[], index: number): Problem | undefined {
  const mapping = mappings[index];
  if (mapping === undefined) return undefined;
  for (const side of ["containerID", "hostID"] as const) {
    const first = mapping[side];
    if (first + mapping.size > ID_COUNT)
      return within("size", wrong(mapping.size, `at most ${ID_COUNT - first}, as the last id is ${ID_COUNT - 1}`));
    for (let i = 0; i < index; i++) {
      const other = mappings[i];
      if (other !== undefined && first < other[side] + other.size && other[side] < first + mapping.size)
        return clash(`.${side}`, first, `the range overlaps that of entry ${i}`);
    }
  }
  return undefined;
}

export const isMapped = (mappings: readonly IdMapping[], id: number): boolean =>
  mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size);
