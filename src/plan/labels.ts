/**
 * `process.apparmorProfile`, `process.selinuxLabel` and the session keyring, which has a label too.
 *
 * Labels are written to files of /proc about the process itself. Those of the machine's /proc are used, which is held
 * open from before the container's view is entered: what is mounted over the container's /proc, or that it has none, makes no
 * difference (CVE-2019-16884, CVE-2025-52881). Hooks inside the container are under the label already, as with runc.
 */
import type { Config } from "../spec/config.ts";
import type { InitStep, Slot } from "./step.ts";

const PROC: Slot = { slot: "machine.proc" };

interface LabelsPlan {
  /** While the machine's files are in sight. */
  take: InitStep[];
  /** When nothing but the command and its hooks will be executed. */
  set: InitStep[];
}

export function planLabels({ process, linux }: Config): LabelsPlan {
  const { apparmorProfile: apparmor, selinuxLabel: selinux } = process;
  if (!apparmor && !selinux && !linux.mountLabel) return { take: [], set: [] };
  const take: InitStep[] = [
    {
      op: "takeProc",
      by: "init",
      proc: PROC,
      field: apparmor || selinux ? field(apparmor).field : "linux.mountLabel",
      because: "the files that labels are written to must be the kernel's, whatever the container has at /proc",
    },
  ];
  // Of mounts only the filesystems have it; whether the kernel has SELinux is looked up with the files.
  if (!apparmor && !selinux) return { take, set: [] };
  return {
    take,
    set: [
      {
        op: "setLabels",
        by: "init",
        ...(apparmor ? { apparmor, stacked: process.noNewPrivileges === true } : {}),
        ...(selinux ? { selinux } : {}),
        proc: PROC,
        ...field(apparmor),
        because: "the kernel's security module confines the command, root or not",
      },
    ],
  };
}

const field = (apparmor: string | undefined): { field: string } => ({
  field: apparmor ? "process.apparmorProfile" : "process.selinuxLabel",
});

/** Processes of `exec` join the keyring of the container's name, as under runc. */
export function planKeyring({ process }: Config, id: string, { shared }: { shared: boolean }): InitStep {
  return {
    op: "newKeyring",
    by: "init",
    name: `_ses.${id}`,
    shared,
    ...(process.selinuxLabel ? { label: { selinux: process.selinuxLabel, proc: PROC } } : {}),
    because: "keys of the caller's session must not be reachable from inside",
  };
}
