/** All planted faults, as the table has them. */
import { COMMAND_FAULTS } from "./commands.ts";
import type { Fault } from "./fault.ts";
import { LIMIT_FAULTS } from "./limits.ts";
import { MOUNT_FAULTS } from "./mounts.ts";
import { NAMESPACE_FAULTS } from "./namespaces.ts";
import { PROCESS_FAULTS } from "./process.ts";

export const FAULT_GROUPS: Readonly<Record<string, readonly Fault[]>> = {
  "the command": COMMAND_FAULTS,
  "root filesystem and mounts": MOUNT_FAULTS,
  "namespaces and surroundings": NAMESPACE_FAULTS,
  "control groups and limits": LIMIT_FAULTS,
  "privileges, hooks, config, ends": PROCESS_FAULTS,
};

export const FAULTS: readonly Fault[] = Object.values(FAULT_GROUPS).flat();
