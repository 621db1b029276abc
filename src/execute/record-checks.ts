/**
 * What must be true of a record of a container before anybody believes it. Nobody but its owner writes there, but disks and
 * people do what they do: a record of another shape must be an error with a name, and no hindrance to the containers beside it.
 */
import { absolutePath, type Check, list, object, text } from "../spec/check.ts";
import type { ControlGroup } from "./cgroup-processes.ts";

export const PATHS = list<string>(absolutePath);

export const GROUPS = list<ControlGroup>(
  object<ControlGroup>({ controller: text, path: absolutePath }, ["controller", "path"]),
);

export const fits = (check: Check, value: unknown): boolean =>
  check(value, { rounded: false, nul: true, warnings: [] }) === undefined;
