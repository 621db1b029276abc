/**
 * The process itself: names, terminal, limits, then privileges and the command. The order of the second half is the
 * kernel's: see {@link planPrivileges}.
 */
import { ANNOTATION, type Config } from "../spec/config.ts";
import { commandEnvironment } from "./environment.ts";
import type { Host } from "./host.ts";
import { planKeyring } from "./labels.ts";
import { isNew } from "./namespaces.ts";
import { planRlimits, planScheduling } from "./scheduling.ts";
import { planSeccomp } from "./seccomp/plan-seccomp.ts";
import type { SeccompFilter } from "./seccomp/profile-program.ts";
import type { InitStep } from "./step.ts";

/** Names, network, session, limits: what needs privileges of the set-up. With --init everything from `forkInit` on is done by both processes. */
export function planIdentity(
  config: Config,
  ownView: boolean,
  { id, newKeyring, labels }: { id: string; newKeyring: boolean; labels: readonly InitStep[] },
): InitStep[] {
  const { process } = config;
  const steps: InitStep[] = [];
  if (config.hostname !== undefined) {
    steps.push({
      op: "setHostname",
      by: "init",
      name: config.hostname,
      field: "hostname",
      because: "the UTS namespace has a name of its own",
    });
  }
  if (config.domainname !== undefined) {
    steps.push({
      op: "setDomainname",
      by: "init",
      name: config.domainname,
      field: "domainname",
      because: "the UTS namespace has an NIS domain name of its own",
    });
  }
  if (isNew(config, "network")) {
    steps.push({
      op: "linkUp",
      by: "init",
      name: "lo",
      field: "linux.namespaces",
      because: "a new network namespace has only lo, and that is down",
    });
  }
  if (newKeyring) steps.push(planKeyring(config, id, { shared: true }));
  if (config.annotations?.[ANNOTATION.init] === "true") {
    steps.push({
      op: "forkInit",
      by: "init",
      field: `annotations["${ANNOTATION.init}"]`,
      because:
        "PID 1 must reap orphans and has no default signal actions: a small program does that, the command is its child",
    });
  }
  steps.push({
    op: "newSession",
    by: "init",
    controllingTerminal: process.terminal === true && ownView,
    because: process.terminal
      ? "signals of the terminal go to the container's session"
      : "the caller's terminal must not be the container's to control",
  });
  steps.push(...planRlimits(config), ...planScheduling(config), ...labels);
  return steps;
}

/** The container's terminal, once its devpts is there. */
export function planTerminal({ process }: Config, plainNewlines = false): InitStep[] {
  if (!process.terminal) return [];
  const size = process.consoleSize;
  return [
    {
      op: "openPty",
      by: "init",
      owner: process.user.uid,
      console: true,
      ...(size === undefined ? {} : { rows: size.height, columns: size.width }),
      ...(plainNewlines ? { plainNewlines } : {}),
      field: "process.terminal",
      because:
        "a terminal of the container's own devpts: job control, window size, and no way to push input into the caller's (TIOCSTI)",
    },
  ];
}

export interface PrivilegesOptions {
  diesWithParent?: boolean;
  lastHooks?: readonly InitStep[];
  makesCwd?: boolean;
  preservedFds?: number;
  /** What `linux.seccomp` becomes; compiled here when unset. */
  filter?: SeccompFilter;
}

/**
 * A seccomp filter needs CAP_SYS_ADMIN or no_new_privs: without the latter it is loaded while the set-up is still
 * privileged, and must let setresuid, capset and execve pass, as under runc. seccomp(2). What a filter might not know or
 * forbid (close_range, getcwd, umask) comes before it.
 */
export function planPrivileges(
  config: Config,
  { architecture }: Host,
  { diesWithParent = true, lastHooks = [], makesCwd = true, preservedFds = 0, filter }: PrivilegesOptions = {},
): InitStep[] {
  const { process } = config;
  // Without the field there are none, as under runc and crun.
  const { capabilities = {} } = process;
  const steps: InitStep[] = [];
  const confine: InitStep[] = [
    {
      op: "closeDescriptors",
      by: "init",
      from: 3 + preservedFds,
      because: "a descriptor of the set-up would be a way out (CVE-2024-21626)",
    },
    ...planSeccomp(config, architecture, filter),
  ];
  steps.push({
    op: "changeDirectory",
    by: "init",
    path: process.cwd,
    inside: true,
    ...(makesCwd ? {} : { mustExist: true }),
    field: "process.cwd",
    because: "the command starts here",
  });
  steps.push({
    op: "setUmask",
    by: "init",
    mask: process.user.umask ?? 0o022,
    field: "process.user.umask",
    because: "the permissions that new files do not get",
  });
  if (!process.noNewPrivileges) steps.push(...confine);
  steps.push({
    op: "limitBoundingSet",
    by: "init",
    keep: capabilities.bounding ?? [],
    field: "process.capabilities.bounding",
    because: "no program, not even a set-user-id one, can gain more than this",
  });
  if (process.user.uid !== 0 && !process.terminal) {
    steps.push({
      op: "ownStdio",
      by: "init",
      uid: process.user.uid,
      field: "process.user",
      because: "programs that write to /dev/stdout open it anew, and only the owner of a pipe may",
    });
  }
  steps.push({
    op: "setUser",
    by: "init",
    uid: process.user.uid,
    gid: process.user.gid,
    groups: groupsOf(config),
    field: "process.user",
    because: "who the command runs as",
  });
  steps.push({
    op: "setCapabilities",
    by: "init",
    sets: capabilities,
    field: "process.capabilities",
    because: "root without these is much less than root; inheritable stays empty (CVE-2022-24769)",
  });
  if (diesWithParent && (process.user.uid !== 0 || process.user.gid !== 0)) {
    steps.push({ op: "parentDeathSignal", by: "init", signal: "SIGKILL", because: "changing ids cleared it" });
  }
  if (process.noNewPrivileges) {
    steps.push(
      {
        op: "noNewPrivileges",
        by: "init",
        field: "process.noNewPrivileges",
        because: "set-user-id and file capabilities give nothing any more",
      },
      ...confine,
    );
  }
  // As under runc: what the container runs is under its filter.
  steps.push(...lastHooks);
  steps.push({
    op: "exec",
    by: "init",
    args: process.args,
    ...commandEnvironment(process),
    field: "process.args",
    because: "the set-up becomes the command",
  });
  return steps;
}

/** setgroups is forbidden in a user namespace whose gid map an ordinary user wrote (`deny`). user_namespaces(7). */
function groupsOf(config: Config): number[] | undefined {
  const groups = config.process.user.additionalGids;
  const gidMappings = config.linux.gidMappings;
  // `podman run --group-add keep-groups` counts on crun's annotation.
  const kept =
    (isNew(config, "user") && gidMappings?.length === 1 && gidMappings[0]?.size === 1) ||
    config.annotations?.["run.oci.keep_original_groups"] !== undefined;
  return kept ? undefined : [...new Set(groups)]; // Docker names some twice
}
