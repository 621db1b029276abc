/**
 * Steps of the init process: labels of security modules, and the session keyring.
 *
 * The files are those of the machine's /proc, held open as a directory: nothing that the container mounts can stand in their
 * place (CVE-2019-16884, CVE-2025-52881).
 */
import { ContainerError } from "../../error.ts";
import {
  AT_FDCWD,
  KEYCTL_DESCRIBE,
  KEYCTL_JOIN_SESSION_KEYRING,
  KEYCTL_SETPERM,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  PROC_SUPER_MAGIC,
} from "../../sys/constants.ts";
import { readFile, readFileIfThere, writeFile } from "../../sys/files.ts";
import { parseStatfs, STATFS_SIZE } from "../../sys/structs.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { send } from "../channel.ts";
import { EACCES, ENOENT, ENOSYS, type Performers, slotValue } from "./context.ts";

type Ops = "takeProc" | "setLabels" | "newKeyring";

export const labelSteps: Performers<Ops> = {
  takeProc({ proc }, context) {
    const fd = sys.openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    const statfs = new ArrayBuffer(STATFS_SIZE);
    sys.fstatfs(fd, statfs);
    if (parseStatfs(statfs).type !== PROC_SUPER_MAGIC)
      throw new ContainerError("PROC_MISSING", "the machine's /proc is no procfs: labels cannot be set");
    context.slots.set(proc.slot, fd);
    context.securityModules = securityModules();
  },

  setLabels({ apparmor, selinux, proc, stacked }, context) {
    const dirfd = slotValue(context.slots, proc);
    const modules = context.securityModules;
    if (apparmor !== undefined && modules?.apparmor) setProfile(dirfd, apparmor, stacked === true);
    if (selinux !== undefined && modules?.selinux) writeFile("self/attr/exec", selinux, dirfd);
    raw.close(dirfd);
  },

  newKeyring({ name, shared, label }, { slots, securityModules: modules, channel }) {
    const proc = label !== undefined && modules?.selinux ? slotValue(slots, label.proc) : undefined;
    if (proc !== undefined) writeFile("self/attr/keycreate", label?.selinux ?? "", proc);
    const keyring = raw.keyctlJoin(KEYCTL_JOIN_SESSION_KEYRING, name);
    const owner = keyring < 0 ? "" : ownerOf(keyring);
    const isOurs = owner === String(raw.geteuid());
    if (keyring >= 0 && !isOurs)
      check(raw.keyctlJoin(KEYCTL_JOIN_SESSION_KEYRING, null), "keyctl", "KEYCTL_JOIN_SESSION_KEYRING", null);
    // An empty line takes it back: keys that the container makes are its own affair.
    if (proc !== undefined) writeFile("self/attr/keycreate", "\n", proc);
    // A kernel without keys has none to leak; a seccomp filter around us (EPERM) keeps them from everyone.
    if (keyring === ENOSYS || keyring === EPERM) return;
    check(keyring, "keyctl", "KEYCTL_JOIN_SESSION_KEYRING", name);
    if (!isOurs) {
      const text = `another user (${owner}) has a keyring ${name}: the container gets one without a name, which exec does not join`;
      return send(channel, { kind: "warning", text });
    }
    if (!shared) return;
    const result = raw.keyctlSet(KEYCTL_SETPERM, keyring, FOUND_BY_OWNER);
    // It was there already, and who made it let it be found.
    if (result !== EACCES) check(result, "keyctl", "KEYCTL_SETPERM", keyring);
  },
};

/**
 * The uid of a keyring's owner. Any user of the machine can make one of any name that everybody finds, and would then have what is
 * put into it. KEYCTL_DESCRIBE: `keyring;UID;GID;PERMISSIONS;NAME`. What may not be looked at is not ours.
 */
function ownerOf(keyring: number): string {
  const buffer = new ArrayBuffer(512);
  const length = raw.keyctlDescribe(KEYCTL_DESCRIBE, keyring, buffer);
  if (length < 0 || length > 512) return "unknown";
  const [, uid = "unknown"] = (raw.decodeText(buffer, 0, length) as string).split(";", 2);
  return uid;
}

const EPERM = -1;

/** The possessor may do all; the owner may view, read, link as by default, and search: without that nobody finds it by name. keyrings(7). */
const FOUND_BY_OWNER = 0x3f1b0000;

const SELINUX = "/sys/fs/selinux/enforce";

/** What the kernel has, and has in use. */
export const securityModules = (): { apparmor: boolean; selinux: boolean } => ({
  apparmor: readFileIfThere("/sys/module/apparmor/parameters/enabled")?.startsWith("Y") === true,
  selinux: raw.faccessat(AT_FDCWD, SELINUX, 0) >= 0,
});

/**
 * With no_new_privs a process that is confined already may only confine itself further: the profile is stacked on its own
 * then, as crun does. aa_change_onexec(2), aa_stack_onexec(2).
 */
function setProfile(proc: number, profile: string, stacked: boolean): void {
  // A directory of its own since Linux 5.8, when two modules may be there at once.
  const directory = raw.faccessat(proc, "self/attr/apparmor/exec", 0) === ENOENT ? "self/attr" : "self/attr/apparmor";
  const confined = stacked && !/^unconfined\s*$/.test(readFile(`${directory}/current`, proc));
  try {
    writeFile(`${directory}/exec`, `${confined ? "stack" : "exec"} ${profile}`, proc);
  } catch (error) {
    if (!(error instanceof SysError) || error.code !== "ENOENT") throw error;
    throw new ContainerError("APPARMOR_PROFILE_MISSING", `the kernel has no AppArmor profile ${profile}`, {
      field: "process.apparmorProfile",
      hint: "apparmor_parser -r FILE loads it; aa-status lists what is loaded",
      cause: error,
    });
  }
}
