/** Steps of the init process: terminal, session, limits, identity, privileges, and the command itself. */
import { ContainerError } from "../../error.ts";
import { CAPABILITIES, capabilityMask, capabilityNames } from "../../spec/capabilities.ts";
import type { Capabilities } from "../../spec/config.ts";
import {
  AT_EMPTY_PATH,
  CLOSE_RANGE_CLOEXEC,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
  S_IFIFO,
  S_IFMT,
  TIOCSCTTY,
} from "../../sys/constants.ts";
import { readFileIfThere } from "../../sys/files.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../../sys/structs.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { send } from "../channel.ts";
import { executeCommand } from "../exec-command.ts";
import { withHome } from "../home.ts";
import { replaceNull } from "../null-device.ts";
import { openPty } from "../pty.ts";
import { EINVAL, ENOSYS, type Performers } from "./context.ts";
import { closeOneByOne } from "./descriptors.ts";
import { becomeRoot } from "./namespaces.ts";
import { refuseUnreachable } from "./paths.ts";

type Ops =
  | "openPty"
  | "newSession"
  | "setUmask"
  | "limitBoundingSet"
  | "ownStdio"
  | "setUser"
  | "setCapabilities"
  | "noNewPrivileges"
  | "closeDescriptors"
  | "exec";

export const processSteps: Performers<Ops> = {
  openPty(step, context) {
    context.terminal = openPty(context.channel, step);
  },

  newSession({ controllingTerminal }, { terminal }) {
    sys.setsid();
    if (controllingTerminal && terminal !== undefined) sys.ioctlInt(terminal, TIOCSCTTY, 0);
  },

  setUmask({ mask }) {
    sys.umask(mask);
  },

  limitBoundingSet({ keep }) {
    for (let number = 0; number < 64; number++) {
      const name = CAPABILITIES[number];
      if (name !== undefined && keep.includes(name)) continue;
      const result = raw.prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
      if (result === EINVAL) return; // the kernel knows no more
      if (result < 0) throw new SysError("prctl", -result, ["PR_CAPBSET_DROP", name ?? number]);
    }
  },

  ownStdio({ uid }) {
    const stat = new ArrayBuffer(STATX_SIZE);
    for (const fd of [0, 1, 2]) {
      // Other kinds of files are somebody's, a redirection's target for one, and keep their owner.
      if (raw.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat) < 0) continue;
      const { mode, uid: owner } = parseStatx(stat);
      if ((mode & S_IFMT) !== S_IFIFO || owner === uid) continue;
      const result = raw.fchown(fd, uid, -1);
      // In a user namespace the pipe's owner may be one that has no number there.
      if (result !== EPERM) check(result, "fchown", fd, uid);
    }
  },

  setUser({ uid, gid, groups, otherwise }, { channel, laterDirectory }) {
    if (otherwise !== undefined) return becomeRoot(otherwise);
    if (groups !== undefined) setGroups(groups, channel);
    sys.setresgid(gid, gid, gid);
    // Leaving uid 0 clears the permitted set, and setCapabilities is still to come.
    if (uid !== 0) sys.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    sys.setresuid(uid, uid, uid);
    if (laterDirectory === undefined) return;
    const result = raw.chdir(laterDirectory);
    if (result < 0) {
      throw new ContainerError(
        "CHANGE_DIRECTORY_FAILED",
        `cannot change to the directory ${laterDirectory}: neither root nor uid ${uid} may enter it`,
        { field: "process.cwd", cause: new SysError("chdir", -result, [laterDirectory]) },
      );
    }
    refuseUnreachable(laterDirectory);
  },

  setCapabilities({ sets }, { channel }) {
    const warn = (text: string) => send(channel, { kind: "warning", text });
    for (const { why, names } of setCapabilities(sets)) warn(`${why}: ${names.join(", ")}`);
    sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    // Without an inheritable one there can be no ambient one. `podman build` before 5.3 asks for that at each RUN, and means nothing by it.
    if ((sets.inheritable ?? []).length === 0) return;
    const refused: string[] = [];
    for (const name of sets.ambient ?? []) {
      const number = CAPABILITIES.indexOf(name);
      if (number < 0) continue;
      const result = raw.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0);
      if (result === EPERM) refused.push(name);
      else check(result, "prctl", "PR_CAP_AMBIENT_RAISE", name);
    }
    const what = refused.length === 1 ? "capability" : "capabilities";
    if (refused.length > 0)
      warn(`can't raise ambient ${what} ${refused.join(", ")}: not both permitted and inheritable`);
  },

  noNewPrivileges() {
    sys.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  },

  closeDescriptors({ from }, context) {
    // Here, because a seccomp filter that comes next may not know dup3.
    if (context.terminal !== undefined) for (const fd of [0, 1, 2]) sys.dup3(context.terminal, fd, 0);
    else replaceNull(context.channel);
    context.terminal = undefined;
    const result = raw.closeRange(from, 0xffffffff, CLOSE_RANGE_CLOEXEC);
    if (result === ENOSYS || result === -22) closeOneByOne(from);
    else check(result, "close_range", from);
  },

  exec({ args, env, homeOf, awaited }, { channel, initIsReady, filter }) {
    if (initIsReady !== undefined) raw.read(initIsReady, new ArrayBuffer(1));
    executeCommand(args, homeOf === undefined ? env : withHome(env, homeOf), channel, { filter, awaited });
  },
};

const EPERM = -1;

/** Where setgroups(2) is forbidden in the user namespace (`deny`) there are none to set, as under runc. user_namespaces(7). */
function setGroups(groups: readonly number[], channel: number): void {
  const result = raw.setgroups(groups.length, new Uint32Array(groups).buffer);
  if (result !== EPERM || readFileIfThere("/proc/self/setgroups")?.trim() !== "deny") {
    check(result, "setgroups", ...groups.slice(0, 16)); // there may be more than a function takes arguments
  } else if (groups.length > 0) {
    const text = `not in the groups ${groups.join(", ")}: the user namespace does not allow to set any`;
    send(channel, { kind: "warning", text });
  }
}

/**
 * capset(2), as far as this process may: a capability that it does not have itself cannot be given, nor one be effective
 * that is not permitted, or inheritable that is not in the bounding set. The runtime-spec (1.1) wants a warning then, not a failure.
 * Returns what could not be given.
 */
function setCapabilities({
  effective,
  permitted,
  inheritable,
  bounding,
}: Capabilities): { why: string; names: string[] }[] {
  const [e, p, i] = [capabilityMask(effective), capabilityMask(permitted), capabilityMask(inheritable)];
  if (raw.capset(capabilityHeader(), capabilityData(e, p, i)) >= 0) return [];
  const data = new ArrayBuffer(24);
  sys.capget(capabilityHeader(), data);
  const view = new DataView(data);
  const have = BigInt(view.getUint32(4, true)) | (BigInt(view.getUint32(16, true)) << 32n);
  const given = [e & p & have, p & have, i & have & capabilityMask(bounding)] as const;
  sys.capset(capabilityHeader(), capabilityData(...given));
  return [
    { why: "not given, because tupper does not have them itself", names: capabilityNames((e | p | i) & ~have) },
    { why: "not effective, because they are not permitted", names: capabilityNames(e & have & ~p) },
    { why: "not inheritable, because the bounding set lacks them", names: capabilityNames(i & have & ~given[2]) },
  ].filter(({ names }) => names.length > 0);
}

/** struct __user_cap_header_struct of version 3, for this thread. */
const capabilityHeader = (): ArrayBuffer => new Uint32Array([0x20080522, 0]).buffer as ArrayBuffer;

/** Two of struct __user_cap_data_struct: low halves, then high halves. */
function capabilityData(effective: bigint, permitted: bigint, inheritable: bigint): ArrayBuffer {
  const sets = [effective, permitted, inheritable];
  const low = sets.map((set) => Number(set & 0xffffffffn));
  const high = sets.map((set) => Number(set >> 32n));
  return new Uint32Array([...low, ...high]).buffer as ArrayBuffer;
}
