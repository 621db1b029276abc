/**
 * A seccomp profile from a file, as `linux.seccomp`: the runtime-spec's own form, or docker's, which adds conditions on
 * capability, architecture and kernel version (moby/profiles, seccomp/seccomp.go).
 */
import * as v from "valibot";
import type { Host } from "../../../plan/host.ts";
import type { LinuxSeccomp, LinuxSyscall, SeccompArch } from "../../../spec/seccomp.ts";
import { flagError } from "./flag-value.ts";

/** What the conditions of docker's form are about. */
export interface ProfileConditions {
  capabilities: readonly string[];
  host: Pick<Host, "architecture" | "kernel">;
}

const ARCHES = (
  "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE " +
  "S390 S390X PARISC PARISC64 RISCV64 SH SHEB"
)
  .split(" ")
  .map((name) => `SCMP_ARCH_${name}`) as SeccompArch[];

const arch = v.picklist(ARCHES);
const action = v.picklist([
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
  "SCMP_ACT_NOTIFY",
]);
const operator = v.picklist([
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
]);
const flag = v.picklist([
  "SECCOMP_FILTER_FLAG_TSYNC",
  "SECCOMP_FILTER_FLAG_LOG",
  "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
  "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]);
// JSON.parse has lost digits beyond 2^53: such a number must not pass for another one.
const uint = v.pipe(v.number(), v.safeInteger("must be a whole number below 2^53"), v.minValue(0));
/** Go writes an empty list as null. */
const list = <T extends v.GenericSchema>(item: T) => v.nullish(v.array(item));
const condition = v.nullish(
  v.object({ arches: list(v.string()), caps: list(v.string()), minKernel: v.nullish(v.string()) }),
);

const PROFILE = v.object({
  defaultAction: action,
  defaultErrnoRet: v.nullish(uint),
  architectures: list(arch),
  archMap: list(v.object({ architecture: arch, subArchitectures: list(arch) })),
  flags: list(flag),
  listenerPath: v.nullish(v.string()),
  listenerMetadata: v.nullish(v.string()),
  syscalls: list(
    v.object({
      name: v.nullish(v.string()),
      names: list(v.string()),
      action,
      errnoRet: v.nullish(uint),
      args: list(
        v.object({ index: v.pipe(uint, v.maxValue(5)), value: uint, valueTwo: v.nullish(uint), op: operator }),
      ),
      includes: condition,
      excludes: condition,
    }),
  ),
});
type Profile = v.InferOutput<typeof PROFILE>;
type Condition = v.InferOutput<typeof condition>;

const NATIVE = {
  x86_64: { scmp: "SCMP_ARCH_X86_64", go: "amd64" },
  aarch64: { scmp: "SCMP_ARCH_AARCH64", go: "arm64" },
} as const;

/** Throws a ContainerError that names the wrong field. */
export function parseSeccompFile(path: string, text: string, conditions: ProfileConditions): LinuxSeccomp {
  const parsed = v.safeParse(PROFILE, parseJson(path, text));
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw badProfile(path, `${v.getDotPath(issue) ?? "the profile"}: ${issue.message}`);
  }
  const profile = parsed.output;
  const architectures = architecturesOf(profile, conditions);
  return {
    defaultAction: profile.defaultAction,
    ...given("defaultErrnoRet", profile.defaultErrnoRet),
    ...given("architectures", architectures),
    ...given("flags", profile.flags),
    ...given("listenerPath", profile.listenerPath),
    ...given("listenerMetadata", profile.listenerMetadata),
    syscalls: (profile.syscalls ?? []).flatMap((rule) => ruleOf(rule, conditions)),
  };
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badProfile(path, error instanceof Error ? error.message : String(error));
  }
}

const badProfile = (path: string, what: string) =>
  flagError(
    "BAD_SECCOMP_PROFILE",
    "--security-opt",
    `${path} is not a seccomp profile: ${what}`,
    "the form is that of linux.seccomp in the OCI runtime-spec, or docker's",
  );

/** docker's `archMap` lists for each native architecture those that run on it too. */
function architecturesOf({ architectures, archMap }: Profile, { host }: ProfileConditions): SeccompArch[] | undefined {
  if (archMap === null || archMap === undefined) return architectures ?? undefined;
  const native = NATIVE[host.architecture].scmp;
  const entry = archMap.find(({ architecture }) => architecture === native);
  return entry === undefined ? [native] : [native, ...(entry.subArchitectures ?? [])];
}

function ruleOf(rule: NonNullable<Profile["syscalls"]>[number], conditions: ProfileConditions): LinuxSyscall[] {
  if (!includes(rule.includes, conditions) || excludes(rule.excludes, conditions)) return [];
  return [
    {
      names: [...(rule.names ?? []), ...(rule.name ? [rule.name] : [])],
      action: rule.action,
      ...given("errnoRet", rule.errnoRet),
      ...(rule.args && rule.args.length > 0
        ? {
            args: rule.args.map(({ index, value, valueTwo, op }) => ({
              index,
              value,
              ...given("valueTwo", valueTwo),
              op,
            })),
          }
        : {}),
    },
  ];
}

/** Of the architectures one must fit, of the capabilities all. */
function includes(when: Condition, { capabilities, host }: ProfileConditions): boolean {
  const { arches, caps, minKernel } = when ?? {};
  if (arches && arches.length > 0 && !arches.includes(NATIVE[host.architecture].go)) return false;
  if (caps?.some((name) => !capabilities.includes(name))) return false;
  return !minKernel || isAtLeast(host.kernel, minKernel);
}

function excludes(when: Condition, { capabilities, host }: ProfileConditions): boolean {
  const { arches, caps, minKernel } = when ?? {};
  if (arches?.includes(NATIVE[host.architecture].go)) return true;
  if (caps?.some((name) => capabilities.includes(name))) return true;
  return Boolean(minKernel) && isAtLeast(host.kernel, minKernel ?? "");
}

function isAtLeast([major, minor]: Host["kernel"], version: string): boolean {
  const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** The property, unless there is nothing to put into it. */
function given<K extends string, T>(key: K, value: T | null | undefined): { [P in K]?: T } {
  return (value === null || value === undefined ? {} : { [key]: value }) as { [P in K]?: T };
}
