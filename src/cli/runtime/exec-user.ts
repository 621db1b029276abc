/** `exec --user`: numbers are taken as they are, as runc does; a name is looked up in the container's own /etc/passwd. */
import { parseId } from "../../engine/containers/config/flag-value.ts";
import { containerUser } from "../../engine/containers/config/user.ts";
import { gatherRootFacts } from "../../engine/containers/root-facts.ts";
import { probeHost } from "../../execute/probe.ts";
import type { User } from "../../spec/config.ts";

/** What is not named stays as the container's own process has it. `root`: the container's root as the caller sees it. */
export function execUser(value: string, own: User, root: string): User {
  const [, uid, , gid] = /^(\d+)(:(\d+))?$/.exec(value) ?? [];
  const id = (digits: string) => parseId("--user", digits);
  if (uid !== undefined) return { ...own, uid: id(uid), gid: gid === undefined ? own.gid : id(gid) };
  const { user } = containerUser({ user: value }, gatherRootFacts(root, probeHost()), undefined);
  return { ...own, ...user, ...(own.umask === undefined ? {} : { umask: own.umask }) };
}
