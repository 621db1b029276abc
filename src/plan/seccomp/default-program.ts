/**
 * The default profile's program for Docker's 14 capabilities on x86_64 and Linux 4.8 or later: the usual container's.
 * The build compiles it: scripts/build.ts puts the result in place of this module, so that neither the compiler's
 * work nor its leftovers are in the binary.
 */
import { compileSeccomp } from "./compile.ts";
import { DEFAULT_CAPABILITIES, defaultSeccompProfile } from "./default-profile.ts";

export const defaultSeccompProgram: Uint8Array = compileSeccomp(
  defaultSeccompProfile({ capabilities: DEFAULT_CAPABILITIES, arch: "SCMP_ARCH_X86_64", kernelVersion: "4.8" }),
  { nativeArch: "SCMP_ARCH_X86_64" },
).program;
