/**
 * crun's annotations about `linux.seccomp`: the agent of a filter (`run.oci.seccomp.receiver`), and a filter that was compiled by
 * somebody else (`run.oci.seccomp_bpf_data`). crun(1).
 */
import { ContainerError } from "../error.ts";
import { environmentValue } from "../execute/probe.ts";
import type { Host } from "../plan/host.ts";
import { MAX_INSTRUCTIONS } from "../plan/seccomp/compile.ts";
import { SECCOMP_DATA } from "../plan/seccomp/plan-seccomp.ts";
import { compileProfile, type SeccompFilter } from "../plan/seccomp/profile-program.ts";
import { ANNOTATION, type Config, SECCOMP_RECEIVER } from "../spec/config.ts";
import { parseSeccomp } from "../spec/parse-config.ts";
import type { LinuxSeccomp } from "../spec/seccomp.ts";
import { seccompFilter } from "./seccomp-cache.ts";

/**
 * What the annotations say becomes the section. `starts`: a process gets the filter, and the caller's environment may name
 * its agent where the config does not. Throws CONFIG_INVALID.
 */
export function annotateSeccomp({ annotations = {}, linux }: Config, starts: boolean): void {
  const hasData = (annotations[ANNOTATION.seccompData] ?? "") !== "";
  if (hasData) {
    // What kind of filter it is nobody can say but the kernel: with an agent it may ask it.
    const { flags, listenerPath, listenerMetadata } = linux.seccomp ?? {};
    linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW" };
    Object.assign(linux.seccomp, flags && { flags }, listenerPath && { listenerPath, listenerMetadata });
  }
  if (linux.seccomp === undefined) return;
  if (!linux.seccomp.listenerPath) {
    const annotated = annotations[ANNOTATION.seccompReceiver] ?? "";
    const receiver = annotated === "" && starts ? (environmentValue(SECCOMP_RECEIVER) ?? "") : annotated;
    if (receiver !== "" && !receiver.startsWith("/")) {
      const field = annotated === "" ? SECCOMP_RECEIVER : `annotations["${ANNOTATION.seccompReceiver}"]`;
      throw invalid(field, receiver, "an absolute path");
    }
    if (receiver !== "") linux.seccomp.listenerPath = receiver;
  }
  if (hasData && linux.seccomp.listenerPath) linux.seccomp.defaultAction = "SCMP_ACT_NOTIFY";
}

/** The filter of a config with a section that {@link annotateSeccomp} has seen. Throws a {@link ContainerError}. */
export function filterOf(
  annotations: Config["annotations"],
  section: LinuxSeccomp,
  architecture: Host["architecture"],
): SeccompFilter {
  const program = givenProgram(annotations);
  return program === undefined
    ? seccompFilter(section, architecture)
    : { ...compileProfile(parseSeccomp(section), architecture), program };
}

/** The filter that no section says anything of. Throws CONFIG_INVALID. */
export function givenProgram(annotations: Config["annotations"]): Uint8Array | undefined {
  const data = annotations?.[ANNOTATION.seccompData] ?? "";
  return data === "" ? undefined : parseProgram(data);
}

function parseProgram(data: string): Uint8Array {
  const program = decode(data);
  if (
    program === undefined ||
    program.length === 0 ||
    program.length % 8 !== 0 ||
    program.length > 8 * MAX_INSTRUCTIONS
  )
    throw invalid(SECCOMP_DATA, data, `base64 of a BPF program: 1 to ${MAX_INSTRUCTIONS} instructions of 8 bytes`);
  return program;
}

function invalid(field: string, value: string, expected: string): ContainerError {
  const shown = value.length > 64 ? `${value.slice(0, 64)}…` : value;
  return new ContainerError("CONFIG_INVALID", `${field} is ${JSON.stringify(shown)}: it must be ${expected}`, {
    field,
  });
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** RFC 4648. Undefined where it is none. */
function decode(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const bytes: number[] = [];
  let bits = 0;
  for (const [i, letter] of [...text.replace(/=+$/, "")].entries()) {
    bits = ((bits << 6) | LETTERS.indexOf(letter)) & 0xffff;
    const left = (6 * i + 6) % 8;
    if (left < 6) bytes.push((bits >> left) & 0xff);
  }
  return new Uint8Array(bytes);
}
