/**
 * Why the kernel makes no namespaces: its answer, and the setting that explains it, read from the machine after it was given.
 * user_namespaces(7), namespaces(7), "The /proc/sys/user directory".
 */
import type { NamespaceType } from "../spec/config.ts";
import { raw } from "../sys/sys.ts";
import { effectiveCapabilities, read } from "./machine.ts";

/** What is asked of the machine; a test answers in its place. */
export interface Evidence {
  uid: number;
  /** Names of the effective capabilities, where they can be asked for. */
  capabilities?: readonly string[];
  read(path: string): string | undefined;
}

export interface NamespaceRefusal {
  code: "NAMESPACE_REFUSED";
  message: string;
  hint: string;
}

const machine: Evidence = {
  get uid() {
    return raw.geteuid() as number;
  },
  get capabilities() {
    return effectiveCapabilities();
  },
  read,
};

const LIMIT: Readonly<Record<NamespaceType, string>> = {
  user: "max_user_namespaces",
  mount: "max_mnt_namespaces",
  pid: "max_pid_namespaces",
  network: "max_net_namespaces",
  ipc: "max_ipc_namespaces",
  uts: "max_uts_namespaces",
  cgroup: "max_cgroup_namespaces",
  time: "max_time_namespaces",
};

/** Undefined where nothing on the machine explains the errno. `errno` is a name such as `EPERM`. */
export function explainNamespaceRefusal(
  types: readonly NamespaceType[],
  errno: string,
  evidence: Evidence = machine,
): NamespaceRefusal | undefined {
  const [why, hint] = whyRefused(types, errno, evidence) ?? [];
  if (why === undefined || hint === undefined) return undefined;
  const what = types.includes("user") ? "user namespaces" : "namespaces";
  return { code: "NAMESPACE_REFUSED", message: `the kernel makes no new ${what}: ${why}`, hint };
}

type Reason = readonly [why: string, hint: string] | undefined;

function whyRefused(types: readonly NamespaceType[], errno: string, evidence: Evidence): Reason {
  switch (errno) {
    case "ENOSPC":
    case "EUSERS": // before Linux 4.9
      return whyTooMany(types, evidence);
    case "ENOSYS":
      return filtered(evidence);
    case "EINVAL":
      return types.includes("user") && evidence.read("/proc/self/uid_map") === undefined
        ? ["this kernel has none", "it must be built with CONFIG_USER_NS"]
        : undefined;
    case "EPERM":
    case "EACCES":
      return types.includes("user")
        ? (whyForbidden(errno, evidence) ?? filtered(evidence))
        : (powerless(evidence) ?? filtered(evidence));
    default:
      return undefined;
  }
}

const setting = ({ read }: Evidence, name: string): string | undefined =>
  read(`/proc/sys/${name.replace(/\./g, "/")}`)?.trim();

/** A limit counts for each user, in this user namespace and in every one around it. */
function whyTooMany(types: readonly NamespaceType[], evidence: Evidence): Reason {
  const limits = types.flatMap((type) => {
    const value = setting(evidence, `user.${LIMIT[type]}`);
    return value === undefined ? [] : [{ name: `user.${LIMIT[type]}`, value }];
  });
  const nested = isNested(evidence);
  const where = nested ? " in this user namespace" : "";
  const none = limits.find(({ value }) => value === "0");
  if (none !== undefined) return [`${none.name} is 0${where}`, `as root${where}: sysctl -w ${none.name}=15000`];
  const all = limits.map(({ name, value }) => `${name} ${value}`).join(", ");
  return [
    `a limit is reached${nested ? `; those in this user namespace are ${all}, one around it may have lower ones, and 32 can be nested in each other` : ` (${all})`}`,
    nested
      ? "start it in fewer namespaces within each other, or raise the limits outside"
      : "end what needs them no more (lsns shows them), or raise the limit",
  ];
}

function whyForbidden(errno: string, evidence: Evidence): Reason {
  if (evidence.uid !== 0 && setting(evidence, "kernel.unprivileged_userns_clone") === "0")
    return [
      "kernel.unprivileged_userns_clone is 0: ordinary users may not",
      "as root: sysctl -w kernel.unprivileged_userns_clone=1 (for good: a file in /etc/sysctl.d)",
    ];
  if (evidence.uid !== 0 && setting(evidence, APPARMOR) === "1") return [`${APPARMOR} is 1`, APPARMOR_HINT];
  const [, profile] = /^(.*) \((?:enforce|kill)\)$/m.exec(evidence.read("/proc/self/attr/current") ?? "") ?? [];
  if (errno === "EACCES" && profile !== undefined)
    return [
      `the AppArmor profile ${profile}, under which tupper runs, has no rule "userns,"`,
      "add that rule to the profile, or run tupper outside of it",
    ];
  const map = evidence.read("/proc/self/uid_map");
  if (map?.trim() === "")
    return [
      "we are in a user namespace that maps no ids (/proc/self/uid_map is empty)",
      "whoever has made it must write its maps first",
    ];
  if (!/^\S+ \S+ \S+ \S+ \/ /m.test(evidence.read("/proc/self/mountinfo") ?? "x x x x / "))
    return [
      "we are in a chroot: / is no mount in /proc/self/mountinfo",
      "enter the directory with pivot_root (unshare --mount, or a container) instead, or mount it on itself first",
    ];
  return undefined;
}

const APPARMOR = "kernel.apparmor_restrict_unprivileged_userns";
const APPARMOR_HINT = `give tupper a profile with the rule "userns," (docs/rootless.md), or as root: sysctl -w ${APPARMOR}=0`;

/**
 * Ubuntu's AppArmor lets an ordinary user have a user namespace, but no capabilities in it: then a later step fails. The
 * remedy, when the machine is set so.
 */
export const apparmorHint = (evidence: Evidence = machine): string | undefined =>
  setting(evidence, APPARMOR) === "1" ? `${APPARMOR} is 1: ${APPARMOR_HINT}` : undefined;

/** A filter around tupper itself: [why, hint]. */
export const outerFilter = (): Reason => filtered(machine);

function powerless({ uid, capabilities }: Evidence): Reason {
  if (capabilities === undefined || capabilities.includes("CAP_SYS_ADMIN")) return undefined;
  return [
    `it needs CAP_SYS_ADMIN, which uid ${uid} does not have here`,
    "run tupper as root, or give the container a user namespace; a container around tupper needs --cap-add SYS_ADMIN or --privileged",
  ];
}

function filtered({ read }: Evidence): Reason {
  if (!/^Seccomp:\s2$/m.test(read("/proc/self/status") ?? "")) return undefined;
  return [
    "a seccomp filter around tupper forbids it (Seccomp is 2 in /proc/self/status)",
    "in a container: start that one with --privileged or --security-opt seccomp=unconfined; in a unit of systemd: RestrictNamespaces= and SystemCallFilter= make such filters",
  ];
}

const isNested = ({ read }: Evidence): boolean =>
  !/^\s*0\s+0\s+4294967295\s*$/.test(read("/proc/self/uid_map") ?? "0 0 4294967295");
