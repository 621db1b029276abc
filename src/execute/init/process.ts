/** Steps of the init process: terminal, session, limits, identity, privileges, and the command itself. */
import { CAPABILITIES, capabilityMask } from "../../spec/capabilities.ts";
import {
  CLOSE_RANGE_CLOEXEC,
  KEYCTL_JOIN_SESSION_KEYRING,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
  TIOCSCTTY,
} from "../../sys/constants.ts";
import { check, raw, SysError, sys } from "../../sys/sys.ts";
import { send } from "../channel.ts";
import { executeCommand } from "../exec-command.ts";
import { openPty } from "../pty.ts";
import { EINVAL, ENOSYS, type Performers } from "./context.ts";
import { closeOneByOne } from "./descriptors.ts";

type Ops =
  | "openPty"
  | "newSession"
  | "newKeyring"
  | "setRlimit"
  | "setUmask"
  | "limitBoundingSet"
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

  newKeyring({ name }) {
    const result = raw.keyctlJoin(KEYCTL_JOIN_SESSION_KEYRING, name);
    // A kernel without keys has none to leak; a seccomp filter around us (EPERM) keeps them from everyone.
    if (result !== ENOSYS && result !== -1) check(result, "keyctl", "KEYCTL_JOIN_SESSION_KEYRING", name);
  },

  setRlimit({ type, soft, hard }) {
    const number = RLIMITS.indexOf(type);
    const limit = new BigInt64Array([BigInt(soft), BigInt(hard)]).buffer as ArrayBuffer;
    check(raw.prlimit64(0, number, limit, null), "prlimit64", type, soft, hard);
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

  setUser({ uid, gid, groups }) {
    if (groups !== undefined) sys.setgroups(groups.length, new Uint32Array(groups).buffer as ArrayBuffer);
    sys.setresgid(gid, gid, gid);
    // Leaving uid 0 clears the permitted set, and setCapabilities is still to come.
    if (uid !== 0) sys.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    sys.setresuid(uid, uid, uid);
  },

  setCapabilities({ sets }, { channel }) {
    const missing = setCapabilities(sets.effective ?? [], sets.permitted ?? [], sets.inheritable ?? []);
    if (missing.length > 0)
      send(channel, {
        kind: "warning",
        text: `not given, because tupper does not have them itself: ${missing.join(", ")}`,
      });
    const ambient = sets.ambient ?? [];
    sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    const refused = ambient.filter(
      (name) => raw.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAPABILITIES.indexOf(name), 0, 0) < 0,
    );
    if (refused.length > 0)
      send(channel, {
        kind: "warning",
        text: `not ambient, because they are not permitted and inheritable: ${refused.join(", ")}`,
      });
  },

  noNewPrivileges() {
    sys.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  },

  closeDescriptors({ from }) {
    const result = raw.closeRange(from, 0xffffffff, CLOSE_RANGE_CLOEXEC);
    if (result === ENOSYS || result === -22) closeOneByOne(from);
    else check(result, "close_range", from);
  },

  exec({ args, env }, { channel, terminal, initIsReady }) {
    if (initIsReady !== undefined) raw.read(initIsReady, new ArrayBuffer(1));
    executeCommand(args, env, channel, terminal);
  },
};

const RLIMITS = [
  "RLIMIT_CPU",
  "RLIMIT_FSIZE",
  "RLIMIT_DATA",
  "RLIMIT_STACK",
  "RLIMIT_CORE",
  "RLIMIT_RSS",
  "RLIMIT_NPROC",
  "RLIMIT_NOFILE",
  "RLIMIT_MEMLOCK",
  "RLIMIT_AS",
  "RLIMIT_LOCKS",
  "RLIMIT_SIGPENDING",
  "RLIMIT_MSGQUEUE",
  "RLIMIT_NICE",
  "RLIMIT_RTPRIO",
  "RLIMIT_RTTIME",
];

/**
 * capset(2), as far as this process may: a capability that it does not have itself cannot be given. The runtime-spec
 * (1.1) wants a warning then, not a failure. Returns the names that could not be given.
 */
function setCapabilities(
  effective: readonly string[],
  permitted: readonly string[],
  inheritable: readonly string[],
): string[] {
  const wanted = [capabilityMask(effective), capabilityMask(permitted), capabilityMask(inheritable)] as const;
  if (raw.capset(capabilityHeader(), capabilityData(...wanted)) >= 0) return [];
  const data = new ArrayBuffer(24);
  sys.capget(capabilityHeader(), data);
  const view = new DataView(data);
  const have = BigInt(view.getUint32(4, true)) | (BigInt(view.getUint32(16, true)) << 32n);
  const [e, p, i] = wanted;
  sys.capset(capabilityHeader(), capabilityData(e & have, p & have, i & have));
  return [...new Set([...permitted, ...effective, ...inheritable])].filter(
    (name) => (capabilityMask([name]) & have) === 0n,
  );
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
