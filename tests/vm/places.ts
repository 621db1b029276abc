/** Where suites can run: machines (a kernel and an init), and on them who runs the tests. */

export interface Machine {
  /** The Debian suite whose cloud kernel it boots. */
  kernel: "bullseye" | "bookworm" | "trixie" | "trixie-backports";
  /** `plain`: nothing but the tests, cgroup v2 without manager. `systemd`: Debian as it is. */
  init: "plain" | "systemd";
}

export interface Place {
  name: string;
  machine: Machine;
  /** The ordinary user is logged in: has a user manager, a session bus and a delegated control group. */
  user: "root" | "tupper";
  /** What a suite's header can ask for by `Needs:`. */
  offers: readonly string[];
}

const plain = (name: string, kernel: Machine["kernel"]): Place => ({
  name,
  machine: { kernel, init: "plain" },
  user: "root",
  offers: ["cgroup2", "root", "plain"],
});

const systemd: Machine = { kernel: "trixie", init: "systemd" };

export const PLACES: readonly Place[] = [
  plain("v2-root", "trixie"),
  { name: "systemd-root", machine: systemd, user: "root", offers: ["cgroup2", "root", "systemd", "apparmor"] },
  { name: "systemd-user", machine: systemd, user: "tupper", offers: ["cgroup2", "user", "systemd", "apparmor"] },
  plain("kernel-5.10", "bullseye"),
  plain("kernel-6.1", "bookworm"),
  plain("kernel-newest", "trixie-backports"),
];

/** The machine itself, where scripts/lanes.ts runs the suites: a development machine with control groups of version 1. */
export const HOST_PLACES: readonly Pick<Place, "name" | "offers">[] = [
  { name: "host-root", offers: ["root", "engine", "checkout"] },
  { name: "host-user", offers: ["user"] },
];

const OTHER_NAMES: Readonly<Record<string, string>> = { "kernel-6.12": "v2-root", systemd: "systemd-root" };

export function placeNamed(name: string): Place {
  const place = PLACES.find((candidate) => candidate.name === (OTHER_NAMES[name] ?? name));
  if (place === undefined)
    throw new Error(`no place is called ${name}; there are: ${PLACES.map((known) => known.name).join(", ")}`);
  return place;
}
