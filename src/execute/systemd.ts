/**
 * systemd's manager, as far as control groups need it: scopes made, changed and ended. org.freedesktop.systemd1(5).
 *
 * Root speaks to systemd itself, over /run/systemd/private, as systemctl does: that works without a bus, and spares a
 * process in between. A user speaks to the own manager.
 */
import { socketsOf } from "../dbus/address.ts";
import type { Value } from "../dbus/marshal.ts";
import type { MethodCall } from "../dbus/message.ts";
import { ContainerError } from "../error.ts";
import type { SystemdTarget, UnitProperty } from "../plan/cgroup/systemd.ts";
import { readFileIfThere } from "../sys/files.ts";
import { nowMs, sleepMs } from "../sys/sleep.ts";
import { SysError } from "../sys/sys.ts";
import { Bus, BusError, BusGone, BusSlow, type Peer } from "./bus.ts";
import { environmentValue } from "./probe.ts";

const DEFAULT_LIMIT_MS = 30_000;
/** How long systemd may be silent before it is asked how things are: a signal may have been lost when it was restarted. */
const SILENCE_MS = 1000;
const RETRY_MS = 20;

const MANAGER = {
  destination: "org.freedesktop.systemd1",
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.systemd1.Manager",
};

/** While systemd is executed anew, the bus has nobody to hand a call to. */
const RESTARTING = /\.(NoReply|Disconnected|TimedOut)$/;
const UNKNOWN = /\.(ServiceUnknown|NameHasNoOwner)$/;

/** What happens to a unit, for errors. */
type Purpose = "start" | "stop" | "change";

export class Systemd {
  readonly user: boolean;
  readonly #peers: Peer[];
  readonly #limitMs: number;
  #bus: Bus | undefined;

  private constructor(user: boolean) {
    this.user = user;
    this.#peers = peersOf(user);
    this.#limitMs = timeLimitMs(environmentValue("SYSTEMD_BUS_TIMEOUT"));
  }

  /** Throws SYSTEMD_MISSING, SYSTEMD_SLOW. */
  static open(user: boolean): Systemd {
    const systemd = new Systemd(user);
    try {
      systemd.#bus = systemd.#connect(nowMs() + systemd.#limitMs);
    } catch (error) {
      throw systemd.#explain(error, "start", "a unit");
    }
    return systemd;
  }

  close(): void {
    this.#bus?.close();
    this.#bus = undefined;
  }

  /** Where its units lie, for the plan. */
  target(): SystemdTarget {
    if (!this.user) return { user: false, root: managerGroup(readFileIfThere("/proc/1/cgroup") ?? "") };
    const root = this.#perform("start", "a unit", (bus, deadlineMs) => {
      const [variant] = bus.call(
        {
          ...MANAGER,
          interface: "org.freedesktop.DBus.Properties",
          member: "Get",
          signature: "ss",
          body: [MANAGER.interface, "ControlGroup"],
        },
        deadlineMs,
      );
      return String((variant as { value: Value }).value);
    });
    return { user: true, root };
  }

  /**
   * Makes a scope with this process in it; returns when the process is there. A failed one of the name, which somebody left, is
   * forgotten. Properties that this systemd does not know are left out. Throws SYSTEMD_REFUSED, SYSTEMD_FAILED, SYSTEMD_SLOW.
   */
  startScope(unit: string, properties: readonly UnitProperty[], pid: number): void {
    let [left, forgotten] = [properties, false];
    this.#perform("start", unit, (bus, deadlineMs, again) => {
      const isThere = () => this.#unitOf(bus, pid, deadlineMs) === unitPath(unit);
      if (again && isThere()) return;
      watchJobs(bus, unit);
      for (;;) {
        const body = [unit, "fail", [...left, ["PIDs", { type: "au", value: [pid] }]], []] as Value[];
        try {
          const [job] = bus.call(manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body), deadlineMs);
          const result = jobResult(bus, job, deadlineMs, isThere);
          if (result === "done") return;
          bus.send({ ...manager("ResetFailedUnit", "s", [unit]), noReply: true });
          throw new ContainerError("SYSTEMD_FAILED", `systemd could not start ${unit}: ${result}`, {
            hint: `journalctl ${this.user ? "--user " : ""}-u ${unit} says more`,
          });
        } catch (error) {
          if (!(error instanceof BusError)) throw error;
          const known = withoutUnknown(left, error);
          if (known !== undefined) left = known;
          else if (!error.errorName.endsWith(".UnitExists")) throw error;
          else if (forgotten || nowMs() + 10 * RETRY_MS > deadlineMs) throw error;
          else if (again) throw new BusGone("what was asked before the restart is still under way");
          else {
            bus.send({ ...manager("ResetFailedUnit", "s", [unit]), noReply: true });
            forgotten = true;
          }
        }
      }
    });
  }

  /** Ends a unit that may be gone already, and forgets it. Throws SYSTEMD_SLOW, SYSTEMD_MISSING. */
  stop(unit: string): void {
    this.#perform("stop", unit, (bus, deadlineMs) => {
      watchJobs(bus, unit);
      const isGone = () => {
        try {
          bus.call(manager("GetUnit", "s", [unit]), deadlineMs);
          return false;
        } catch (error) {
          return isNoSuchUnit(error);
        }
      };
      try {
        const [job] = bus.call(manager("StopUnit", "ss", [unit, "replace"]), deadlineMs);
        jobResult(bus, job, deadlineMs, isGone);
      } catch (error) {
        if (!isNoSuchUnit(error)) throw error;
      }
      bus.send({ ...manager("ResetFailedUnit", "s", [unit]), noReply: true });
      bus.flush(deadlineMs);
    });
  }

  /** The same, without waiting for it: systemd may be stuck. */
  abandon(unit: string): void {
    try {
      this.#bus?.send({ ...manager("StopUnit", "ss", [unit, "replace"]), noReply: true });
      this.#bus?.flush(nowMs());
    } catch (error) {
      if (!(error instanceof BusGone || error instanceof BusSlow)) throw error;
    }
  }

  /** Changes properties of a unit until it ends. All of them or none. Throws SYSTEMD_REFUSED, SYSTEMD_SLOW. */
  setProperties(unit: string, properties: readonly UnitProperty[]): void {
    let left = properties;
    this.#perform("change", unit, (bus, deadlineMs) => {
      while (left.length > 0) {
        try {
          bus.call(manager("SetUnitProperties", "sba(sv)", [unit, true, left]), deadlineMs);
          return;
        } catch (error) {
          const known = error instanceof BusError ? withoutUnknown(left, error) : undefined;
          if (known === undefined) throw error;
          left = known;
        }
      }
    });
  }

  /** Moves a process into a unit: what a user may not do from outside the own manager's groups. `group` is below the unit's. */
  attach(unit: string, group: string, pid: number): void {
    this.#perform("change", unit, (bus, deadlineMs) => {
      bus.call(manager("AttachProcessesToUnit", "ssau", [unit, group || "/", [pid]]), deadlineMs);
    });
  }

  /** Does it again where the connection was lost: systemd is executed anew, or the bus was restarted. */
  #perform<Result>(
    purpose: Purpose,
    unit: string,
    act: (bus: Bus, deadlineMs: number, again: boolean) => Result,
  ): Result {
    const deadlineMs = nowMs() + this.#limitMs;
    for (let again = false; ; again = true) {
      try {
        this.#bus ??= this.#connect(deadlineMs);
        return act(this.#bus, deadlineMs, again);
      } catch (error) {
        if (!isLost(error, again)) throw this.#explain(error, purpose, unit);
        if (nowMs() > deadlineMs) throw this.#explain(new BusSlow(), purpose, unit);
        this.close();
        sleepMs(RETRY_MS);
      }
    }
  }

  #connect(deadlineMs: number): Bus {
    let first: unknown;
    for (const peer of this.#peers) {
      try {
        return Bus.connect(peer, deadlineMs);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        first ??= error;
      }
    }
    throw first ?? new SysError("connect", 2, ["$XDG_RUNTIME_DIR/systemd/private"]);
  }

  /** The object path of the unit that a process is in. */
  #unitOf(bus: Bus, pid: number, deadlineMs: number): Value | undefined {
    try {
      return bus.call(manager("GetUnitByPID", "u", [pid]), deadlineMs)[0];
    } catch (error) {
      if (error instanceof BusError) return undefined;
      throw error;
    }
  }

  #explain(error: unknown, purpose: Purpose, unit: string): unknown {
    if (error instanceof BusSlow)
      return new ContainerError("SYSTEMD_SLOW", `systemd did not ${purpose} ${unit} within ${this.#limitMs / 1000} s`, {
        hint: "systemctl list-jobs shows what it is at; SYSTEMD_BUS_TIMEOUT sets another limit",
      });
    const where = this.#peers.map(({ socket }) => socket.replace("\0", "@")).join(" or ") || "$XDG_RUNTIME_DIR";
    if (error instanceof SysError || (error instanceof BusError && UNKNOWN.test(error.errorName)))
      return new ContainerError(
        "SYSTEMD_MISSING",
        `there is no systemd ${this.user ? "of this user " : ""}at ${where}`,
        {
          cause: error,
          hint: this.user
            ? "log in with PAM, or loginctl enable-linger, so that there is one, and set XDG_RUNTIME_DIR; or use cgroupfs"
            : "leave --systemd-cgroup out on machines without systemd (Docker: native.cgroupdriver=cgroupfs; Podman: --cgroup-manager=cgroupfs)",
        },
      );
    if (error instanceof BusError)
      return new ContainerError("SYSTEMD_REFUSED", `systemd refuses to ${purpose} ${unit}: ${error.message}`, {
        ...(error.errorName.endsWith(".UnitExists")
          ? { hint: "choose another name, or delete the container of it" }
          : {}),
      });
    return error;
  }
}

const manager = (member: string, signature: string, body: Value[]): MethodCall => ({
  ...MANAGER,
  member,
  signature,
  body,
});

const isNoSuchUnit = (error: unknown): boolean => error instanceof BusError && error.errorName.endsWith(".NoSuchUnit");

function isLost(error: unknown, again: boolean): boolean {
  if (error instanceof BusGone) return true;
  if (error instanceof BusError) return RESTARTING.test(error.errorName) || (again && UNKNOWN.test(error.errorName));
  return again && error instanceof SysError;
}

const watchJobs = (bus: Bus, unit: string): void =>
  bus.watch(
    "JobRemoved",
    `type='signal',sender='${MANAGER.destination}',interface='${MANAGER.interface}',member='JobRemoved',path='${MANAGER.path}',arg2='${unit}'`,
  );

/** `done`, or how else a job ended. */
function jobResult(bus: Bus, job: Value | undefined, deadlineMs: number, isOver: () => boolean): string {
  for (;;) {
    try {
      const [, path, , result] = bus.signal("JobRemoved", Math.min(deadlineMs, nowMs() + SILENCE_MS));
      if (path === job) return String(result);
    } catch (error) {
      if (!(error instanceof BusSlow) || nowMs() >= deadlineMs) throw error;
      if (isOver()) return "done";
    }
  }
}

/** Properties that come with a version of systemd, and go with one. What annotations ask for is not left out. */
const OF_A_VERSION = /^(CPU|Memory|IO|BlockIO|Tasks|Allowed|OOM)/;

/**
 * Without the property that an older systemd does not know, or does not take this value of; the file says the same. Undefined
 * where it is something else. "Cannot set property AllowedCPUs, or unknown property."
 */
function withoutUnknown(properties: readonly UnitProperty[], error: BusError): UnitProperty[] | undefined {
  const { errorName, message } = error;
  const isUnknown = errorName.endsWith(".PropertyReadOnly");
  const found = properties.findLastIndex(
    ([name, { value }]) =>
      new RegExp(`\\b${name}\\b`).test(message) &&
      OF_A_VERSION.test(name) &&
      (isUnknown || (name === "CPUWeight" && value === 0n)),
  );
  return found < 0 ? undefined : properties.filter((_, i) => i !== found);
}

/** The object path of a unit: bytes that are neither letters nor digits are written as `_2e`. */
const unitPath = (unit: string): string =>
  `/org/freedesktop/systemd1/unit/${unit.replace(/^\d|[^a-zA-Z\d]/g, (c) => `_${c.charCodeAt(0).toString(16)}`)}`;

/** Where the slices of the manager lie whose first process is in this group: systemd itself is in init.scope. */
export function managerGroup(procCgroup: string): string {
  const [, path = ""] = /^(?:0:|\d+:name=systemd):(.*)$/m.exec(procCgroup) ?? [];
  return path.replace(/(^|\/)init\.scope$/, "").replace(/\/$/, "");
}

/** As sd-bus reads it: seconds, unless a unit stands there; 0 is the default. */
export function timeLimitMs(text: string | undefined): number {
  const [, number = "0", unit = "s"] = /^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|sec|min|h)?\s*$/.exec(text ?? "") ?? [];
  const ms = Number(number) * ({ us: 0.001, ms: 1, min: 60_000, h: 3_600_000 }[unit] ?? 1000);
  return ms === 0 ? DEFAULT_LIMIT_MS : ms;
}

function peersOf(user: boolean): Peer[] {
  const direct = (socket: string): Peer => ({ socket, bus: false });
  const buses = (address: string | undefined): Peer[] =>
    socketsOf(address ?? "").map((socket) => ({ socket, bus: true }));
  if (!user) {
    // Whoever names a bus means it.
    const named = buses(environmentValue("DBUS_SYSTEM_BUS_ADDRESS"));
    return named.length > 0
      ? named
      : [direct("/run/systemd/private"), { socket: "/run/dbus/system_bus_socket", bus: true }];
  }
  const runtime = environmentValue("XDG_RUNTIME_DIR");
  return [
    ...(runtime?.startsWith("/") ? [direct(`${runtime}/systemd/private`)] : []),
    ...buses(environmentValue("DBUS_SESSION_BUS_ADDRESS")),
    ...(runtime?.startsWith("/") ? [{ socket: `${runtime}/bus`, bus: true }] : []),
  ];
}
