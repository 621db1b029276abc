/** The program for a profile. The default profile's was compiled by the build and lies in the snapshot. */
import { ContainerError } from "../../error.ts";
import type { LinuxSeccomp } from "../../spec/seccomp.ts";
import type { Host } from "../host.ts";
import { compileSeccomp } from "./compile.ts";
import { DEFAULT_CAPABILITIES, defaultSeccompProfile } from "./default-profile.ts";
import { defaultSeccompProgram } from "./default-program.ts";

/** The default profile for Docker's 14 capabilities on x86_64: the one that most containers have. */
export const DEFAULT_PROFILE: LinuxSeccomp = defaultSeccompProfile({
  capabilities: DEFAULT_CAPABILITIES,
  arch: "SCMP_ARCH_X86_64",
  kernelVersion: "4.8",
});

/** As for every profile that names no flags: the filter is no reason to switch speculation off. seccomp(2). */
const SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4;

export const NATIVE_ARCH = { x86_64: "SCMP_ARCH_X86_64", aarch64: "SCMP_ARCH_AARCH64" } as const;

/** A profile as seccomp(2) takes it. */
export interface SeccompFilter {
  program: Uint8Array;
  flags: number;
  /** System calls and architectures of the profile that are not known here: their rules were left out. */
  ignored: string[];
}

const DEFAULT_FILTER: SeccompFilter = {
  program: defaultSeccompProgram,
  flags: SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  ignored: [],
};

/** Throws a {@link ContainerError} where the profile cannot be a filter. */
export function compileProfile(profile: LinuxSeccomp, architecture: Host["architecture"]): SeccompFilter {
  if (profile === DEFAULT_PROFILE) return DEFAULT_FILTER;
  try {
    const { program, flags, unknownSyscalls, unknownArchitectures } = compileSeccomp(profile, {
      nativeArch: NATIVE_ARCH[architecture],
    });
    return { program, flags, ignored: [...unknownSyscalls, ...unknownArchitectures] };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ContainerError("BAD_SECCOMP_PROFILE", `the seccomp profile cannot be loaded: ${error.message}`, {
      field: "linux.seccomp",
      cause: error,
    });
  }
}
