/**
 * The freezer: all processes of a group stopped at once, without a signal that they could see. freezer-subsystem.rst (v1),
 * cgroup-v2.rst "cgroup.freeze" (Linux 5.2).
 *
 * v1 has a race that the kernel leaves to its callers: a group in which processes are being made stays FREEZING until it
 * is written again. On v2 the kernel goes on by itself.
 */
import { ContainerError } from "../error.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFile, readFileIfThere, writeFile } from "../sys/files.ts";
import { sleepMs } from "../sys/sleep.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";
import { walkGroups } from "./groups-below.ts";

export interface Freezer {
  version: 1 | 2;
  path: string;
}

/** Where the container is frozen: the v1 freezer where there is one, else its v2 group. Undefined where neither can. */
export function freezerGroup(groups: readonly { controller: string; path: string }[]): Freezer | undefined {
  const v1 = groups.findLast(
    ({ controller }) => controller.includes("freezer") && controller.split(",").includes("freezer"),
  );
  if (v1 !== undefined) return { version: 1, path: v1.path };
  const v2 = groups.findLast(({ controller }) => controller === "unified");
  return v2 === undefined ? undefined : { version: 2, path: v2.path };
}

const TRIES = 1000;
/** As often as that the group is thawed and everyone given time: it helps when processes appear all the while. */
const THAW_EVERY = 50;
const PAUSE_MS = 10;
const V2_WAIT_MS = 10_000;

/** Returns when every process stands still. Thaws again and throws FREEZE_FAILED when that does not happen. */
export function freeze(freezer: Freezer): void {
  try {
    if (freezer.version === 1 ? freezeV1(freezer.path) : freezeV2(freezer.path)) return;
  } catch (error) {
    thaw(freezer);
    throw error;
  }
  thaw(freezer);
  throw new ContainerError("FREEZE_FAILED", `the control group ${freezer.path} does not freeze`, {
    hint: "a process in it sleeps in the kernel (state D) or makes new ones all the time: try again",
  });
}

function freezeV1(path: string): boolean {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    if (attempt % THAW_EVERY === 0) {
      writeFile(`${path}/freezer.state`, "THAWED");
      sleepMs(PAUSE_MS);
    }
    writeFile(`${path}/freezer.state`, "FROZEN");
    if (readFile(`${path}/freezer.state`) === "FROZEN\n") return true;
    if (attempt % 10 === 0) sleepMs(1);
  }
  return false;
}

function freezeV2(path: string): boolean {
  writeFile(`${path}/cgroup.freeze`, "1");
  for (let waitedMs = 0; waitedMs < V2_WAIT_MS; waitedMs += 2) {
    if (/^frozen 1$/m.test(readFile(`${path}/cgroup.events`))) return true;
    sleepMs(2);
  }
  return false;
}

/** A group that is gone is thawed. */
export function thaw({ version, path }: Freezer): void {
  const [file, value] = version === 1 ? ["freezer.state", "THAWED"] : ["cgroup.freeze", "0"];
  if (readFileIfThere(`${path}/${file}`) !== undefined) writeFile(`${path}/${file}`, value);
}

/**
 * The same with all groups below, which the container may have made and frozen; those first, so that everybody comes back at
 * once, when the last one is thawed.
 */
export function thawTree({ version, path }: Freezer): void {
  const [file, value] = version === 1 ? ["freezer.state", "THAWED"] : ["cgroup.freeze", "0"];
  walkGroups(path, (group) => {
    if (readFileIfThere(file, group) !== undefined) writeFile(file, value, group);
  });
}

/** Thaws a group with those below it, whatever its version. */
export function thawGroup(path: string): void {
  thawTree({ version: raw.faccessat(AT_FDCWD, `${path}/freezer.state`, 0) < 0 ? 2 : 1, path });
}

/**
 * Whether a process of these groups may be frozen: the group is, or there are groups below it. Of those nobody knows how many
 * there are and who freezes them again.
 */
export const mayHoldFrozen = ({ path }: Freezer): boolean => isFrozen(path) || hasGroups(path);

/** A directory has a link for each directory in it. */
function hasGroups(path: string): boolean {
  const buffer = new ArrayBuffer(STATX_SIZE);
  return raw.statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, buffer) >= 0 && parseStatx(buffer).nlink > 2;
}

/**
 * Whether a group is frozen by itself, or about to be. One that is frozen with a group above it is not ours to thaw. Works
 * for any group: one without a freezer is never frozen.
 */
export function isFrozen(path: string): boolean {
  const self = readFileIfThere(`${path}/freezer.self_freezing`) ?? readFileIfThere(`${path}/cgroup.freeze`);
  return self?.trim() === "1";
}
