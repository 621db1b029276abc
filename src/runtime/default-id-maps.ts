/** What config.json leaves to the runtime of its user namespace; crun chooses the same. user_namespaces(7). */
import { idFacts } from "../execute/probe.ts";
import { ownIdMaps } from "../execute/user-namespace.ts";
import { defaultIdMaps } from "../plan/id-maps.ts";
import type { Config, IdMaps } from "../spec/config.ts";
import { sys } from "../sys/sys.ts";

/**
 * Maps for a new user namespace without any, and for an ordinary user, who can make no container otherwise, the namespace too.
 * Root keeps the ids that it has. Undefined where the config says all.
 */
export function missingIdMaps({ linux }: Config): IdMaps | undefined {
  const uid = sys.geteuid();
  const user = linux.namespaces?.find(({ type }) => type === "user");
  if (user === undefined ? uid === 0 : user.path !== undefined || linux.uidMappings !== undefined) return undefined;
  return uid === 0 ? ownIdMaps() : defaultIdMaps({ uid, gid: sys.getegid(), ...idFacts(uid, false) });
}

export function giveIdMaps({ linux }: Config, maps: IdMaps | undefined): void {
  if (maps === undefined) return;
  Object.assign(linux, maps);
  linux.namespaces ??= [];
  if (!linux.namespaces.some(({ type }) => type === "user")) linux.namespaces.push({ type: "user" });
}
