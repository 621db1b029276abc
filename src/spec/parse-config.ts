/**
 * config.json from text to {@link Config}: config.md. Unknown properties are ignored (not for the case of their letters), wrong values are errors with the path
 * of the field; what cannot be granted but need not stop a container is a warning.
 *
 * The result is what JSON.parse made, checked in place and mended: `null` and `""` are gone, `linux`, `process` and `process.user` are
 * there, RLIM_INFINITY is -1, names of sysctls have dots.
 */
import { type Check, configError, isObject, object, type Pass, type Problem, within, wrong } from "./check.ts";
import type { Config, Mount, Process, Resources } from "./config.ts";
import { CONFIG, MOUNTS } from "./config-schema.ts";
import { parseJson, parseJsonExactly } from "./json-text.ts";
import { PROCESS } from "./process-schema.ts";
import { RESOURCES } from "./resources-schema.ts";
import type { LinuxSeccomp } from "./seccomp.ts";
import { hasLargeNumber, isNoSeccomp, SECCOMP } from "./seccomp-schema.ts";

export interface Parsed<T> {
  value: T;
  /** What is left out though it was asked for: whole sentences. */
  warnings: string[];
}

/**
 * A whole config. Throws a {@link ContainerError} for the first thing that is wrong: CONFIG_SYNTAX, CONFIG_VERSION,
 * CONFIG_INVALID or CONFIG_CONFLICT.
 *
 * With `seccomp: "unchecked"` the section `linux.seccomp` is as the text has it (large numbers are exact): for callers that
 * know what becomes of the section, and call {@link parseSeccomp} when they find that they do not.
 */
export function parseConfig(
  text: string,
  { seccomp = "checked" }: { seccomp?: "checked" | "unchecked" } = {},
): { config: Config; warnings: string[] } {
  const { value: config, warnings } = parse<Config>(text, "", "config.json", (value, pass) => {
    const problem = versionOf(value) ?? CONFIG(value, pass);
    if (problem !== undefined || !isObject(value)) return problem;
    const { linux } = value as { linux?: { seccomp?: Partial<LinuxSeccomp> } };
    if (linux?.seccomp === undefined) return undefined;
    if (isNoSeccomp(linux.seccomp)) {
      delete linux.seccomp;
      return undefined;
    }
    if (seccomp === "unchecked") {
      pass.rounded ||= hasLargeNumber(linux.seccomp);
      return undefined;
    }
    const inside = SECCOMP(linux.seccomp, pass);
    return inside === undefined ? undefined : within("linux", within("seccomp", inside));
  });
  return { config, warnings };
}

/** `process` alone, as `exec --process` gets it. */
export const parseProcess = (text: string): Parsed<Process> => parse(text, "process", "the process", PROCESS);

/** `linux.resources` alone, as `update --resources` gets it. */
export const parseResources = (text: string): Parsed<Resources> =>
  parse(text, "linux.resources", "the text of the resources", RESOURCES);

/** `mounts` alone, as `mounts add` gets them: a list, or an object that has it as a config has. */
export function parseMounts(text: string): Parsed<Mount[]> {
  const { value, warnings } = parse<Mount[] | { mounts: Mount[] }>(text, "", "the list of mounts", (found, pass) => {
    if (!Array.isArray(found)) return WITH_MOUNTS(found, pass);
    const problem = MOUNTS(found, pass);
    return problem === undefined ? undefined : within("mounts", problem);
  });
  return { value: Array.isArray(value) ? value : value.mounts, warnings };
}

const WITH_MOUNTS = object<{ mounts: Mount[] }>({ mounts: MOUNTS }, ["mounts"]);

/** Checks the section `linux.seccomp` of a config that was parsed with `seccomp: "unchecked"`. */
export function parseSeccomp(section: unknown): LinuxSeccomp {
  const problem = SECCOMP(section, { rounded: false, nul: true, warnings: [] });
  if (problem !== undefined) throw configError("linux.seccomp", problem);
  return section as LinuxSeccomp;
}

function parse<T>(text: string, root: string, name: string, check: Check): Parsed<T> {
  const pass: Pass = { rounded: false, nul: text.includes("\\u0000"), warnings: [] };
  let value = parseJson(text, name);
  let problem = check(value, pass);
  if (problem === undefined && pass.rounded) {
    pass.warnings = [];
    value = parseJsonExactly(text);
    problem = check(value, pass);
  }
  if (problem !== undefined) throw configError(root, problem);
  // The check went through every field of T.
  return { value: value as T, warnings: pass.warnings };
}

/** First of all: a config of another major version may look quite different. */
function versionOf(value: unknown): Problem | undefined {
  if (!isObject(value)) return wrong(value, "an object");
  const version = value.ociVersion ?? undefined;
  if (typeof version !== "string" || !SEMVER.test(version))
    return within("ociVersion", wrong(version, "a version of the runtime-spec, such as 1.3.0"));
  if (!version.startsWith("1."))
    return {
      path: ".ociVersion",
      value: version,
      says: "only versions 1.x of the runtime-spec are known",
      code: "CONFIG_VERSION",
    };
  return undefined;
}

const SEMVER = /^\d+\.\d+\.\d+(?:-[\w.-]+)?(?:\+[\w.-]+)?$/;
