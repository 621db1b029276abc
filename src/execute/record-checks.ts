/**
 * What must be true of a record of a container before anybody believes it. Nobody but its owner writes there, but disks and
 * people do what they do: a record of another shape must be an error with a name, and no hindrance to the containers beside it.
 */
import { absolutePath, type Check, list, wrong } from "../spec/check.ts";

export const PATHS = list<string>(absolutePath);

/** Ten of them in every record, and `list` looks at all: a loop instead of the words of check.ts, which take four times as long. */
export const GROUPS: Check = (value, { nul }) => {
  if (!Array.isArray(value)) return wrong(value, "a list of control groups");
  for (let i = 0; i < value.length; i++) {
    const { controller, path }: { controller?: unknown; path?: unknown } = value[i] ?? {};
    const isGroup =
      typeof controller === "string" && controller !== "" && typeof path === "string" && path.charCodeAt(0) === SLASH;
    if (!isGroup || (nul && `${controller}${path}`.includes("\0"))) return wrong(value[i], "a control group");
  }
  return undefined;
};

const SLASH = 47;

/** `json`: the text that the value was read from, which says whether any string can have a NUL. */
export const fits = (check: Check, value: unknown, json?: string): boolean =>
  check(value, { rounded: false, nul: json?.includes("\\u0000") ?? true, warnings: [] }) === undefined;
