/** The command's environment: `process.env`, in which the last one of a name counts, and HOME. */
import type { Process } from "../spec/config.ts";

/** `homeOf`: HOME is missing or empty, and is what the container's /etc/passwd says of this user. */
export function commandEnvironment({ env = [], user }: Process): { env: string[]; homeOf?: number } {
  const names = new Map(env.map((entry) => [nameOf(entry), entry]));
  const unique = names.size === env.length ? env : [...names.values()];
  return (names.get("HOME")?.length ?? 0) > "HOME=".length ? { env: unique } : { env: unique, homeOf: user.uid };
}

function nameOf(entry: string): string {
  const end = entry.indexOf("=");
  return end < 0 ? entry : entry.slice(0, end);
}
