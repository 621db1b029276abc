/**
 * The ids of a user namespace for which no map is named: what the caller may have. user_namespaces(7), subuid(5).
 *
 * An ordinary user may map one id without help: the own one. newuidmap and newgidmap, which are set-user-id programs of the
 * machine, map the subordinate ids too: the ranges of /etc/subuid in their order, around the caller.
 */
import type { IdMapping, IdMaps } from "../spec/config.ts";
import type { Host } from "./host.ts";

/** What of the machine these maps are made of. */
export type IdFacts = Pick<Host, "uid" | "gid" | "idMapHelpers" | "subuids" | "subgids" | "ownIds">;

/** Who an ordinary user is in the container; without it its root. */
export interface KeptIds {
  uid: number;
  gid: number;
}

/** For anybody but the machine's own root. */
export function defaultIdMaps(facts: IdFacts, { uid, gid }: KeptIds = { uid: 0, gid: 0 }): IdMaps {
  if (facts.ownIds !== undefined) return facts.ownIds;
  const helped = whySingleId(facts) === undefined;
  return {
    uidMappings: around(uid, facts.uid, helped ? facts.subuids : []),
    gidMappings: around(gid, facts.gid, helped ? facts.subgids : []),
  };
}

/** What an ordinary user lacks to have more ids than the own one; undefined for who lacks nothing. */
export function whySingleId({ subuids, subgids, idMapHelpers }: IdFacts): string | undefined {
  const file = subuids.length === 0 ? "/etc/subuid" : subgids.length === 0 ? "/etc/subgid" : undefined;
  if (file !== undefined)
    return `${file} has no range for you (root adds one: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME)`;
  return idMapHelpers ? undefined : "newuidmap and newgidmap are not installed (Debian: apt install uidmap)";
}

/** The ranges from 0 up in their order, with one id in its place given to the caller. */
function around(id: number, own: number, ranges: Host["subuids"]): IdMapping[] {
  const mappings: IdMapping[] = [];
  let next = 0;
  const map = (hostID: number, size: number) => {
    mappings.push({ containerID: next, hostID, size });
    next += size;
  };
  for (const { start, count } of ranges) {
    const below = Math.min(count, Math.max(0, id - next));
    if (below > 0) map(start, below);
    if (next === id) map(own, 1);
    if (count > below) map(start + below, count - below);
  }
  if (next <= id) mappings.push({ containerID: id, hostID: own, size: 1 });
  return mappings;
}
