/** `update`: new limits for a container, in force when this returns. config-linux.md, "Control groups". */
import { ContainerError } from "../error.ts";
import { groupOf } from "../execute/cgroup-processes.ts";
import { freeze, freezerGroup, isFrozen, thaw } from "../execute/freezer.ts";
import { kernelVersion } from "../execute/probe.ts";
import { requireCgroups } from "../execute/require-cgroups.ts";
import { Systemd } from "../execute/systemd.ts";
import { writeLimits } from "../execute/write-limits.ts";
import { parseDeviceRules } from "../plan/cgroup/devices.ts";
import { unlessZero } from "../plan/cgroup/request.ts";
import { deviceProperties, limitProperties, type UnitProperty } from "../plan/cgroup/systemd.ts";
import { planUpdate } from "../plan/cgroup/update.ts";
import type { MemoryResources, Resources } from "../spec/config.ts";
import { stringifyExactly } from "../spec/json-text.ts";
import { parseConfig, parseResources } from "../spec/parse-config.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFile, readFileIfThere } from "../sys/files.ts";
import { raw, sys } from "../sys/sys.ts";
import {
  type Container,
  type ContainerRecord,
  inRecord,
  loadContainer,
  lockContainer,
  recordFile,
  statusOf,
  unlock,
} from "./container.ts";
import { requireGroups } from "./processes.ts";

/**
 * Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING, and errors that name the field and the file; then the limits are as they
 * were.
 */
export function updateContainer(root: string, id: string, asked: Resources, warn: (text: string) => void): void {
  const lock = lockContainer(root, id);
  try {
    const container = loadContainer(root, id);
    const status = statusOf(container);
    if (status === "stopped" || status === "creating")
      throw new ContainerError("CONTAINER_NOT_RUNNING", `container not running: ${id} is ${status}`);
    requireGroups(container.record, "limited");
    const { cgroups, unit } = container.record;
    const { resources, warnings, apply } = planLimits(
      { cgroups, resources: recordedResources(container), unit },
      asked,
    );
    // First, so that a disk which is full leaves the limits as they are.
    recordFile(lock, NEXT, stringifyExactly(resources));
    const file = (name: string) => `${container.path}/${name}`;
    try {
      apply();
    } catch (error) {
      raw.unlinkat(AT_FDCWD, file(NEXT), 0);
      throw error;
    }
    inRecord(container.path, () => sys.renameat2(AT_FDCWD, file(NEXT), AT_FDCWD, file(RESOURCES), 0));
    for (const text of warnings) warn(text);
  } finally {
    unlock(lock);
  }
}

/** In the container's directory once it was updated: in place of linux.resources in its config. */
const RESOURCES = "resources.json";
const NEXT = "resources.json.next";

function recordedResources({ path }: Container): Resources {
  const updated = readFileIfThere(`${path}/${RESOURCES}`);
  if (updated !== undefined) return parseResources(updated).value;
  return parseConfig(readFile(`${path}/config.json`), { seccomp: "unchecked" }).config.linux.resources ?? {};
}

interface UpdateTarget {
  cgroups: readonly { controller: string; path: string }[];
  /** What is on record. */
  resources: Resources;
  /** The unit of systemd that the groups belong to. */
  unit: ContainerRecord["unit"];
}

interface Update {
  /** For the record. */
  resources: Resources;
  warnings: string[];
  /** Throws a ContainerError that names the field and the file; then the limits are as they were. */
  apply: () => void;
}

/** Throws CGROUPS_HIDDEN, MEMORY_IN_USE. */
function planLimits({ cgroups, resources: recorded, unit }: UpdateTarget, asked: Resources): Update {
  const unified = groupOf(cgroups, "unified");
  const offered = unified === undefined ? "" : readFileIfThere(`${unified}/cgroup.controllers`);
  if (offered === undefined) requireCgroups();
  const places = {
    kernel: kernelVersion(),
    groups: cgroups,
    offered: (offered ?? "").split(/\s/).filter((name) => name !== ""),
  };
  const { writes, resources, warnings } = planUpdate(recorded, asked, places);
  if (resources.memory?.checkBeforeUpdate && groupOf(cgroups, "memory") === undefined && unified !== undefined) {
    refuseBelowUse(asked.memory ?? {}, unified);
  }
  const apply = () => {
    if (unit === undefined) return writeLimits(writes);
    const before = limitProperties(
      planUpdate({}, { ...recorded, devices: [] }, places).writes.map(({ request }) => request),
    );
    const rules = writes.some(({ request }) => request.file.startsWith("devices.")) ? asked.devices : undefined;
    changeUnit(unit, cgroups, writes, before, rules);
  };
  return { resources, warnings, apply };
}

type Writes = Parameters<typeof writeLimits>[0];

/** systemd first: it writes the files that it knows of. When a file of the rest takes no value, it hears what was `before`. */
function changeUnit(
  { name, user }: NonNullable<ContainerRecord["unit"]>,
  cgroups: UpdateTarget["cgroups"],
  writes: Writes,
  before: readonly UnitProperty[],
  rules: Resources["devices"],
): void {
  const properties = limitProperties(writes.map(({ request }) => request));
  // A list is added to the one that is there; an empty one takes that away.
  if (rules !== undefined)
    properties.push(
      ["DeviceAllow", { type: "a(ss)", value: [] }],
      ...deviceProperties(parseDeviceRules(rules, { tun: true })),
    );
  const systemd = Systemd.open(user);
  // systemd denies all devices for a moment when it writes their rules on v1: nobody is to see that.
  const freezer = freezerGroup(cgroups);
  const held = freezer?.version === 1 && !isFrozen(freezer.path) ? freezer : undefined;
  try {
    if (held !== undefined) freeze(held);
    systemd.setProperties(name, properties);
    try {
      writeLimits(writes);
    } catch (error) {
      const changed = new Set(properties.map(([property]) => property));
      systemd.setProperties(
        name,
        before.filter(([property]) => changed.has(property)),
      );
      throw error;
    }
  } finally {
    if (held !== undefined) thaw(held);
    systemd.close();
  }
}

/** On v2 a limit below what is in use kills; on v1 the kernel refuses it by itself. `checkBeforeUpdate`. */
function refuseBelowUse({ limit, swap }: MemoryResources, group: string): void {
  const memory = BigInt(readFileIfThere(`${group}/memory.current`)?.trim() ?? "0");
  const swapped = BigInt(readFileIfThere(`${group}/memory.swap.current`)?.trim() ?? "0");
  for (const [name, asked, used] of [
    ["limit", limit, memory],
    ["swap", swap, memory + swapped],
  ] as const) {
    const value = unlessZero(asked);
    if (value === undefined || value < 0 || value > used) continue;
    throw new ContainerError("MEMORY_IN_USE", `the new limit of ${value} bytes is below the ${used} bytes in use`, {
      field: `linux.resources.memory.${name}`,
      hint: "linux.resources.memory.checkBeforeUpdate asks for this check",
    });
  }
}
