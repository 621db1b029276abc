/** `--security-opt`: seccomp, no-new-privileges, AppArmor, SELinux labels, the masked paths. */
import { didYouMean } from "../../../nearest.ts";
import type { RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError } from "./flag-value.ts";

export interface SecurityOptions {
  /** `default`, `unconfined`, or the path of a profile. */
  seccomp: string | undefined;
  noNewPrivileges: boolean;
  apparmorProfile: string | undefined;
  selinuxLabel: string | undefined;
  /** Whether paths are masked and read-only as usual. */
  protectsPaths: boolean;
}

const FLAG = "--security-opt";
const NAMES = ["seccomp", "no-new-privileges", "apparmor", "label", "systempaths"];

export function securityOptions({ securityOpt, privileged }: RunOptions): SecurityOptions {
  const result: SecurityOptions = {
    seccomp: undefined,
    noNewPrivileges: false,
    apparmorProfile: undefined,
    selinuxLabel: undefined,
    protectsPaths: !privileged,
  };
  const label = new Map<string, string>();
  for (const option of securityOpt ?? []) {
    const [, name = "", value = ""] = /^([^=:]*)[=:]?(.*)$/s.exec(option) ?? [];
    if (name === "seccomp" && value !== "") result.seccomp = value;
    else if (name === "no-new-privileges") result.noNewPrivileges = parseSwitch(option, value);
    else if (name === "apparmor" && value !== "") result.apparmorProfile = value === "unconfined" ? undefined : value;
    else if (name === "label" && value !== "") setLabel(label, option, value);
    else if (name === "systempaths" && value === "unconfined") result.protectsPaths = false;
    else if (NAMES.includes(name))
      throw flagError("BAD_SECURITY_OPT", FLAG, `${FLAG} "${option}": ${name} cannot be "${value}"`, EXPECTED[name]);
    else
      throw flagError(
        "BAD_SECURITY_OPT",
        FLAG,
        `there is no ${FLAG} "${name}"`,
        didYouMean(name, NAMES) ?? `one of ${NAMES.join(", ")}`,
      );
  }
  if (label.size > 0) result.selinuxLabel = selinuxLabel(label);
  return result;
}

/** An engine's config is not warned about: it asks for labels wherever it runs. Who writes the flag thinks of a machine that has them. */
export function labelWarnings(
  { apparmorProfile, selinuxLabel }: SecurityOptions,
  root: Pick<RootFacts, "securityModules">,
): string[] {
  if (apparmorProfile === undefined && selinuxLabel === undefined) return [];
  const { apparmor, selinux } = root.securityModules();
  return [
    ...(apparmorProfile === undefined || apparmor
      ? []
      : [`${FLAG} apparmor has no effect: AppArmor is not in use here`]),
    ...(selinuxLabel === undefined || selinux ? [] : [`${FLAG} label has no effect: SELinux is not in use here`]),
  ];
}

const EXPECTED: Readonly<Record<string, string>> = {
  seccomp: "seccomp=default, seccomp=unconfined, or seccomp=FILE",
  apparmor: "apparmor=PROFILE or apparmor=unconfined",
  label: "label=disable, or label=type:TYPE, level:LEVEL, user:USER, role:ROLE",
  systempaths: "systempaths=unconfined",
};

function parseSwitch(option: string, value: string): boolean {
  if (value === "" || value === "true") return true;
  if (value === "false") return false;
  throw flagError(
    "BAD_SECURITY_OPT",
    FLAG,
    `${FLAG} "${option}": no-new-privileges cannot be "${value}"`,
    "true or false",
  );
}

function setLabel(label: Map<string, string>, option: string, value: string): void {
  if (value === "disable") return;
  const [, part, text] = /^(user|role|type|level|filetype):(.+)$/.exec(value) ?? [];
  if (part === undefined || text === undefined)
    throw flagError("BAD_SECURITY_OPT", FLAG, `${FLAG} "${option}": "${value}" is not a label`, EXPECTED.label);
  label.set(part, text);
}

/** user:role:type:level, with the parts that docker's policy has where none is given. selinux(8). */
function selinuxLabel(label: Map<string, string>): string {
  return [
    label.get("user") ?? "system_u",
    label.get("role") ?? "system_r",
    label.get("type") ?? "container_t",
    label.get("level") ?? "s0",
  ].join(":");
}
