/** Steps of the init process: namespaces, control groups, id maps, names, the loopback interface. */
import { ContainerError } from "../../error.ts";
import {
  AF_INET,
  AT_EMPTY_PATH,
  AT_FDCWD,
  IFF_UP,
  O_CLOEXEC,
  O_RDONLY,
  PR_SET_DUMPABLE,
  PR_SET_PDEATHSIG,
  SIGNALS,
  SIOCSIFFLAGS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from "../../sys/constants.ts";
import { writeFile } from "../../sys/files.ts";
import { check, raw, sys } from "../../sys/sys.ts";
import { receive, send } from "../channel.ts";
import { joinProcess } from "../join-process.ts";
import { namespaceFlag, namespaceFlags } from "../namespace-flags.ts";
import { EINVAL, type InitContext, type Performers, slotValue } from "./context.ts";
import { statOf } from "./paths.ts";

type Ops =
  | "parentDeathSignal"
  | "joinCgroup"
  | "joinNamespace"
  | "joinProcess"
  | "refuseTracing"
  | "becomeMappedRoot"
  | "awaitScope"
  | "awaitDelegation"
  | "awaitParent"
  | "unshare"
  | "timeOffset"
  | "linkUp"
  | "setHostname"
  | "setDomainname";

export const namespaceSteps: Performers<Ops> = {
  parentDeathSignal({ signal }) {
    const number = signal === "none" ? 0 : (SIGNALS[signal.replace(/^SIG/, "")] ?? 9);
    sys.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0);
  },

  joinCgroup({ controller, path }) {
    // "0" is the writer. On v1 `tasks`, not cgroup.procs: that takes a global lock and waits for a grace period (7 ms).
    writeFile(`${path}/${controller === "unified" ? "cgroup.procs" : "tasks"}`, "0");
  },

  joinNamespace({ type, path }) {
    const fd = sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    const result = raw.setns(fd, namespaceFlag(type));
    // The kernel refuses to join the user namespace that one is in already. setns(2)
    const joined =
      result === EINVAL &&
      type === "user" &&
      statOf(fd, "", AT_EMPTY_PATH).ino === statOf(AT_FDCWD, "/proc/self/ns/user", 0).ino;
    raw.close(fd);
    if (!joined) check(result, "setns", path, type);
  },

  joinProcess({ process, namespaces }, { slots }) {
    joinProcess(slotValue(slots, process), namespaces);
  },

  refuseTracing() {
    sys.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  },

  becomeMappedRoot({ otherwise }, context) {
    awaitParent(context);
    becomeRoot(otherwise);
    // Changing ids cleared it. prctl(2)
    sys.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0);
  },

  awaitScope(_step, { channel }) {
    askParent(channel, "place");
  },

  awaitDelegation(_step, { channel }) {
    askParent(channel, "delegate");
  },

  awaitParent(_step, context) {
    awaitParent(context);
  },

  unshare({ namespaces }) {
    sys.unshare(namespaceFlags(namespaces));
  },

  timeOffset({ clock, secs, nanosecs }) {
    shiftClock(clock, secs, nanosecs);
  },

  linkUp({ name }) {
    const socket = sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    // struct ifreq: the name in 16 bytes, then the flags. netdevice(7)
    const request = new ArrayBuffer(40);
    new Uint8Array(request).set([...name].map((letter) => letter.charCodeAt(0)));
    new DataView(request).setInt16(16, IFF_UP, true);
    const result = raw.ioctl(socket, SIOCSIFFLAGS, request);
    raw.close(socket);
    check(result, "ioctl", "SIOCSIFFLAGS", name, "IFF_UP");
  },

  setHostname({ name }) {
    sys.sethostname(name);
  },

  setDomainname({ name }) {
    sys.setdomainname(name);
  },
};

function askParent(channel: number, kind: "place" | "delegate"): void {
  send(channel, { kind });
  if (receive(channel)?.message.kind !== "done")
    throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
}

/** uid and gid 0, or `otherwise` where the user namespace does not map both (EINVAL). Capabilities stay either way. */
export function becomeRoot(otherwise: { uid: number; gid: number } | undefined): void {
  if (otherwise !== undefined && raw.setresgid(0, 0, 0) >= 0 && raw.setresuid(0, 0, 0) >= 0) return;
  const { uid, gid } = otherwise ?? { uid: 0, gid: 0 };
  sys.setresgid(gid, gid, gid);
  sys.setresuid(uid, uid, uid);
}

/** The parent performs its steps after the clone; what it has opened for later steps comes with the answer. */
function awaitParent({ channel, slots }: InitContext): void {
  send(channel, { kind: "map" });
  const answer = receive(channel);
  if (answer?.message.kind !== "mapped") throw new ContainerError("PARENT_GONE", "the parent went away during set-up");
  for (const [i, slot] of answer.message.trees.entries()) slots.set(slot, answer.fds[i] ?? -1);
}

/** Of the time namespace that is for children, before the first is in it. time_namespaces(7). */
export function shiftClock(clock: string, secs: number, nanosecs: number): void {
  writeFile("/proc/self/timens_offsets", `${clock} ${secs} ${nanosecs}`);
}
