/** The ids of a user namespace: `--uidmap`, `--gidmap`, `--userns keep-id`, or what the caller may have. user_namespaces(7). */

import type { Host } from "../../../plan/host.ts";
import { defaultIdMaps, type KeptIds } from "../../../plan/id-maps.ts";
import type { IdMapping, IdMaps } from "../../../spec/config.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, MAX_ID, parseId } from "./flag-value.ts";

/** For root without a range in /etc/subuid: where useradd begins to give them out. */
const DEFAULT_RANGES = [{ start: 100_000, count: 65_536 }];

export function idMaps({ uidmap, gidmap }: Pick<RunOptions, "uidmap" | "gidmap">, host: Host, kept?: KeptIds): IdMaps {
  if (uidmap !== undefined || gidmap !== undefined) {
    const uidMappings = (uidmap ?? gidmap ?? []).map((value) => parseIdMap("--uidmap", value));
    const gidMappings = (gidmap ?? uidmap ?? []).map((value) => parseIdMap("--gidmap", value));
    checkOverlap("--uidmap", uidMappings);
    checkOverlap("--gidmap", gidMappings);
    return { uidMappings, gidMappings };
  }
  if (host.uid === 0 && host.privileged) {
    return {
      uidMappings: consecutive(orDefault(host.subuids)),
      gidMappings: consecutive(orDefault(host.subgids)),
    };
  }
  return defaultIdMaps(host, kept);
}

/** `keep-id`, `keep-id:uid=1000,gid=1000` as Podman has it; without numbers the caller's own. Undefined for other words. */
export function parseKeepId(value: string, host: Host): KeptIds | undefined {
  const [word, rest, more] = value.split(":");
  if (word !== "keep-id") return undefined;
  const kept = { uid: host.uid, gid: host.gid };
  for (const part of rest?.split(",") ?? []) {
    const [, name, id = ""] = /^(uid|gid)=(\d+)$/.exec(part) ?? [];
    if ((name !== "uid" && name !== "gid") || more !== undefined)
      throw flagError(
        "BAD_NAMESPACE",
        "--userns",
        `--userns cannot be "${value}"`,
        "keep-id or keep-id:uid=1000,gid=1000",
      );
    kept[name] = parseId("--userns", id);
  }
  if (host.uid !== 0) return kept;
  throw flagError(
    "KEEP_ID_AS_ROOT",
    "--userns",
    "--userns keep-id is for ordinary users: root is root in a container anyway",
    "leave it away, or say with --uidmap and --gidmap which ids are which",
  );
}

type Ranges = Host["subuids"];

const orDefault = (ranges: Ranges): Ranges => (ranges.length > 0 ? ranges : DEFAULT_RANGES);

function consecutive(ranges: Ranges): IdMapping[] {
  let containerID = 0;
  return ranges.map(({ start, count }) => {
    const mapping = { containerID, hostID: start, size: count };
    containerID += count;
    return mapping;
  });
}

/** `CONTAINER:HOST:SIZE`. */
function parseIdMap(flag: string, value: string): IdMapping {
  const [containerID = -1, hostID = -1, size = -1] = /^\d+:\d+:\d+$/.test(value) ? value.split(":").map(Number) : [];
  if (size < 1 || containerID + size - 1 > MAX_ID || hostID + size - 1 > MAX_ID) {
    throw flagError(
      "BAD_ID_MAP",
      flag,
      `${flag} "${value}" is not an id map`,
      "CONTAINER:HOST:SIZE, for example 0:100000:65536: ids from 0 in the container are ids from 100000 outside",
    );
  }
  return { containerID, hostID, size };
}

/** The kernel refuses maps in which an id stands twice, with a bare EINVAL. */
function checkOverlap(flag: string, mappings: readonly IdMapping[]): void {
  for (const side of ["containerID", "hostID"] as const) {
    const sorted = mappings.toSorted((a, b) => a[side] - b[side]);
    for (const [i, mapping] of sorted.entries()) {
      const next = sorted[i + 1];
      if (next === undefined || mapping[side] + mapping.size <= next[side]) continue;
      const where = side === "hostID" ? "outside" : "in the container";
      throw flagError("ID_MAP_OVERLAP", flag, `the ${flag} flags map id ${next[side]} ${where} twice`);
    }
  }
}

/** Whether an id of the container has a counterpart outside. No maps: every id is itself. */
export function isMapped(id: number, mappings: readonly IdMapping[] | undefined): boolean {
  return (
    mappings === undefined || mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size)
  );
}

/** Only the caller's own id is mapped: then the kernel allows no supplementary groups. user_namespaces(7), "setgroups". */
export const hasSingleId = (maps: IdMaps | undefined): boolean =>
  maps !== undefined && maps.gidMappings.length === 1 && maps.gidMappings[0]?.size === 1;
