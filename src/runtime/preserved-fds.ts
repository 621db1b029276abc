/**
 * Descriptors that a command keeps beside stdio: those of `--preserve-fds N`, and those of socket activation, which come
 * before them. sd_listen_fds(3); runc and crun count alike.
 */
import { ContainerError } from "../error.ts";
import { missingDescriptor } from "../execute/init/descriptors.ts";
import { environmentValue } from "../execute/probe.ts";

export interface PreservedFds {
  /** From 3 up. */
  count: number;
  /** Of them, sockets of socket activation. */
  listening: number;
}

/**
 * To be asked before anything is opened: a number that the caller left free would be taken by a descriptor of ours, which
 * the command would get. Throws PRESERVED_FD_MISSING.
 */
export function preservedFds(asked: number): PreservedFds {
  const variable = environmentValue("LISTEN_FDS");
  if (asked === 0 && variable === undefined) return { count: 0, listening: 0 };
  const announced = Number(variable ?? 0);
  // Some programs pass the variable on to children, and the sockets not.
  const listening =
    Number.isInteger(announced) && announced > 0 && missingDescriptor(announced) === undefined ? announced : 0;
  const count = asked + listening;
  const missing = missingDescriptor(count);
  if (missing !== undefined) {
    throw new ContainerError(
      "PRESERVED_FD_MISSING",
      `the descriptor ${missing} of --preserve-fds ${asked} is not open`,
      {
        field: "--preserve-fds",
      },
    );
  }
  return { count, listening };
}

/** The variables that tell the command of its sockets; what the config says itself stays. */
export function listenVariables(env: readonly string[], listening: number): string[] {
  if (listening === 0) return [...env];
  const missing = [`LISTEN_FDS=${listening}`, "LISTEN_PID=1"].filter((entry) => {
    const name = entry.slice(0, entry.indexOf("=") + 1);
    return !env.some((other) => other.startsWith(name));
  });
  return [...env, ...missing];
}
