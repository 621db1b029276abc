/** Why something of a container could not be removed, and what is left: reached only when a clean-up has failed. */
import { ContainerError } from "../error.ts";
import { CGROUPS } from "../execute/require-cgroups.ts";
import { SysError } from "../sys/sys.ts";
import { isMounted, isThere, read, ST_RDONLY } from "./machine.ts";

/** The kernel's answer, and what to do about it. */
export function whyItStays(error: SysError | ContainerError): string {
  const call = error instanceof SysError ? error : error.cause;
  const words = error instanceof ContainerError && error.kernel !== undefined ? `: ${error.kernel}` : "";
  const hint = (call instanceof SysError ? hintFor(call) : undefined) ?? (error as Partial<ContainerError>).hint;
  return `${error.message}${words}${hint === undefined ? "" : ` (hint: ${hint})`}`;
}

function hintFor({ code, args }: SysError): string | undefined {
  const path = args.find((arg) => typeof arg === "string" && arg.startsWith("/"));
  if (typeof path !== "string") return undefined;
  if (code === "EROFS" || isMounted(path, ST_RDONLY)) return "it is mounted read-only here";
  if (code !== "EBUSY" || !path.startsWith(CGROUPS)) return undefined;
  const [pid] = (read(`${path}/cgroup.procs`) ?? "").split("\n");
  return pid === "" ? "something is mounted on it, or it has groups below it" : `process ${pid} in it does not end`;
}

/** Of these paths those that are still there. */
export const whatIsLeft = (paths: readonly string[]): string => paths.filter(isThere).join(", ");
