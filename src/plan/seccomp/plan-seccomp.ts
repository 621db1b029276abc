/** The step that loads the filter of `linux.seccomp`. config-linux.md, "Seccomp". */
import { ContainerError } from "../../error.ts";
import { ANNOTATION, type Config } from "../../spec/config.ts";
import type { LinuxSeccomp } from "../../spec/seccomp.ts";
import type { Host } from "../host.ts";
import type { InitStep } from "../step.ts";
import { NEW_LISTENER } from "./compile.ts";
import { compileProfile, DEFAULT_PROFILE, type SeccompFilter } from "./profile-program.ts";

/** The field of a filter that is not compiled from the section. */
export const SECCOMP_DATA = `annotations["${ANNOTATION.seccompData}"]`;

/** `filter`: what the profile becomes, where the caller has it already. Throws a {@link ContainerError}. */
export function planSeccomp(config: Config, architecture: Host["architecture"], filter?: SeccompFilter): InitStep[] {
  const profile = config.linux.seccomp;
  if (profile === undefined) return [];
  const { program, flags, ignored } = filter ?? compileProfile(profile, architecture);
  if (ignored.length > 0) checkIgnored(ignored, config);
  const listener = flags & NEW_LISTENER ? listenerOf(profile, config) : undefined;
  return [
    {
      op: "seccomp",
      by: "init",
      program,
      flags,
      profile: profile === DEFAULT_PROFILE ? "default" : "from the config",
      ...(listener === undefined ? {} : { listener }),
      ...(ignored.length === 0 ? {} : { ignored }),
      field: config.annotations?.[ANNOTATION.seccompData] ? SECCOMP_DATA : "linux.seccomp",
      because: "system calls that a container has no use for are the largest attack surface of the shared kernel",
    },
  ];
}

/** What is unknown here is left out, unless crun's annotation forbids it for system calls. */
function checkIgnored(ignored: readonly string[], { annotations }: Config): void {
  const forbidden = annotations?.[ANNOTATION.failUnknownSyscall];
  const syscall = ignored.find((name) => !name.startsWith("SCMP_ARCH_"));
  if (forbidden === undefined || forbidden === "0" || syscall === undefined) return;
  throw new ContainerError("SECCOMP_SYSCALL_UNKNOWN", `the seccomp profile names an unknown system call: ${syscall}`, {
    field: "linux.seccomp.syscalls",
    hint: `without the annotation ${ANNOTATION.failUnknownSyscall} it is left out`,
  });
}

/** Where no action is NOTIFY, the path means nothing. */
function listenerOf(
  { listenerPath: path, listenerMetadata: metadata }: LinuxSeccomp,
  { annotations }: Config,
): { path: string; metadata?: string } {
  if (path === undefined || path === "") {
    throw new ContainerError(
      "SECCOMP_LISTENER_MISSING",
      "SCMP_ACT_NOTIFY needs an agent to ask, and no listenerPath is set",
      { field: "linux.seccomp.listenerPath", hint: "the path of the agent's socket on the host" },
    );
  }
  if (annotations?.[ANNOTATION.init] === "true") {
    throw new ContainerError("SECCOMP_LISTENER_WITH_INIT", "SCMP_ACT_NOTIFY does not go together with --init", {
      field: "linux.seccomp.listenerPath",
      hint: "both PID 1 and the command would have a filter, and an agent takes one",
    });
  }
  return { path, ...(metadata === undefined ? {} : { metadata }) };
}
