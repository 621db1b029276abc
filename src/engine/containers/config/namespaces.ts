/**
 * `--pid`, `--ipc`, `--uts`, `--network`, `--cgroupns`, `--userns`, `--timens`: each namespace is the container's own,
 * the machine's, another container's, or the one behind a file. namespaces(7).
 */
import type { KeptIds } from "../../../plan/id-maps.ts";
import type { IdMapping, IdMaps, Linux, Namespace, NamespaceType } from "../../../spec/config.ts";
import type { RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, nearestOrAll, parseInteger, parseKeyValue } from "./flag-value.ts";
import { idMaps, parseKeepId } from "./id-maps.ts";

export type NamespaceMode =
  | { kind: "host" }
  | { kind: "private"; kept?: KeptIds }
  | { kind: "join"; path: string; container?: string };

/** The mode of each namespace, and the maps of the user namespace as far as they are known. */
export interface Namespaces {
  modes: Record<NamespaceType, NamespaceMode>;
  /** Of a new user namespace: what the config asks for. */
  maps: IdMaps | undefined;
  /** Ids that the container can name: those of a new user namespace, or of a joined one. Undefined: all. */
  mapped: IdMaps | undefined;
}

const FLAG: Record<NamespaceType, string> = {
  mount: "--mntns",
  pid: "--pid",
  ipc: "--ipc",
  uts: "--uts",
  network: "--network",
  cgroup: "--cgroupns",
  user: "--userns",
  time: "--timens",
};

/** Names below /proc/PID/ns. */
const FILE: Record<NamespaceType, string> = {
  mount: "mnt",
  pid: "pid",
  ipc: "ipc",
  uts: "uts",
  network: "net",
  cgroup: "cgroup",
  user: "user",
  time: "time",
};

const PRIVATE: NamespaceMode = { kind: "private" };
const HOST: NamespaceMode = { kind: "host" };

export function namespacesOf(options: RunOptions, root: RootFacts): Namespaces {
  const mode = (type: NamespaceType, value: string | undefined, fallback: NamespaceMode): NamespaceMode =>
    value === undefined ? fallback : parseMode(type, value, root);
  const modes = {
    mount: PRIVATE,
    pid: mode("pid", options.pid, PRIVATE),
    network: mode("network", options.network === "none" ? "private" : options.network, PRIVATE),
    ipc: mode("ipc", options.ipc, PRIVATE),
    uts: mode("uts", options.uts, PRIVATE),
    cgroup: mode("cgroup", options.cgroupns, PRIVATE),
    time: mode("time", options.timens, options.timeOffset === undefined ? HOST : PRIVATE),
    user: HOST,
  } satisfies Record<NamespaceType, NamespaceMode>;
  const user = mode("user", options.userns, defaultUser(options, root, Object.values(modes)));
  checkUser(user, options, root);
  const maps = user.kind === "private" ? idMaps(options, root.host, user.kept) : undefined;
  const mapped = user.kind === "join" ? mapsOf(user.path, root) : maps;
  return { modes: { ...modes, user }, maps, mapped };
}

function parseMode(type: NamespaceType, value: string, root: RootFacts): NamespaceMode {
  const flag = FLAG[type];
  if (value === "host") return HOST;
  if (value === "private") return PRIVATE;
  const kept = type === "user" ? parseKeepId(value, root.host) : undefined;
  if (kept !== undefined) return { kind: "private", kept };
  if (value.startsWith("/")) return { kind: "join", path: value };
  if (value.startsWith("ns:/")) return { kind: "join", path: value.slice(3) };
  if (value.startsWith("container:")) {
    const container = value.slice("container:".length);
    const pid = root.pidOf(container);
    if (pid === undefined) {
      throw flagError(
        "CONTAINER_NOT_RUNNING",
        flag,
        `${flag} "${value}": no container of the name "${container}" is running`,
        "tupper ps lists those that are",
      );
    }
    return { kind: "join", path: `/proc/${pid}/ns/${FILE[type]}`, container };
  }
  if (type === "network" && value === "bridge") {
    throw flagError(
      "NETWORK_UNSUPPORTED",
      flag,
      "bridge networks are not there yet",
      "--network private (loopback alone), host, container:NAME, or a path",
    );
  }
  const words = [
    "host",
    "private",
    ...(type === "network" ? ["none"] : type === "user" ? ["keep-id"] : []),
    "container:NAME",
    `/proc/PID/ns/${FILE[type]}`,
  ];
  throw flagError("BAD_NAMESPACE", flag, `${flag} cannot be "${value}"`, nearestOrAll(value, words));
}

/** An ordinary user gets all other namespaces only inside a user namespace: an own one, or that of whom it joins. */
function defaultUser(options: RunOptions, { host }: RootFacts, others: readonly NamespaceMode[]): NamespaceMode {
  if (options.uidmap !== undefined || options.gidmap !== undefined) return PRIVATE;
  if (host.privileged) return HOST;
  const joined = others.find((mode) => mode.kind === "join" && mode.container !== undefined);
  return joined?.kind === "join" ? { ...joined, path: joined.path.replace(/[^/]+$/, "user") } : PRIVATE;
}

function checkUser(user: NamespaceMode, { uidmap, gidmap }: RunOptions, { host }: RootFacts): void {
  if (user.kind === "host" && !host.privileged) {
    throw flagError(
      "USER_NAMESPACE_NEEDED",
      "--userns",
      "an ordinary user cannot make a container in the machine's user namespace",
      "leave --userns away: root in the container is then you outside; or run tupper as root",
    );
  }
  if (user.kind !== "private" && (uidmap !== undefined || gidmap !== undefined)) {
    const flag = uidmap === undefined ? "--gidmap" : "--uidmap";
    throw flagError(
      "ID_MAP_WITHOUT_NAMESPACE",
      flag,
      `${flag} needs a user namespace of the container's own`,
      "--userns private",
    );
  }
}

/** Which ids a user namespace that is joined has. Only the inside of the maps counts, so the reader's view does not matter. */
function mapsOf(path: string, root: RootFacts): IdMaps | undefined {
  const process = /^(\/proc\/[^/]+)\/ns\/user$/.exec(path)?.[1];
  if (process === undefined) return undefined;
  const read = (file: string): IdMapping[] =>
    root
      .readFile(`${process}/${file}`, "--userns")
      .split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number))
      .filter((fields) => fields.length === 3)
      .map(([containerID = 0, hostID = 0, size = 0]) => ({ containerID, hostID, size }));
  return { uidMappings: read("uid_map"), gidMappings: read("gid_map") };
}

const ORDER: readonly NamespaceType[] = ["mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time"];

/** `linux.namespaces`: a host's namespace is one that is not named. */
export function namespaceList({ modes }: Namespaces): Namespace[] {
  return ORDER.flatMap((type) => {
    const mode = modes[type];
    if (mode.kind === "host") return [];
    return [mode.kind === "join" ? { type, path: mode.path } : { type }];
  });
}

/** `linux.timeOffsets` from `--time-offset monotonic=SECONDS` and `boottime=SECONDS`. time_namespaces(7). */
export function timeOffsets({ timeOffset }: RunOptions, { modes }: Namespaces): Linux["timeOffsets"] {
  if (timeOffset === undefined) return undefined;
  const flag = "--time-offset";
  if (modes.time.kind !== "private") {
    throw flagError(
      "TIME_NAMESPACE_NEEDED",
      flag,
      `${flag} needs a time namespace of the container's own`,
      "--timens private",
    );
  }
  const offsets: NonNullable<Linux["timeOffsets"]> = {};
  for (const value of timeOffset) {
    const [clock, seconds] = parseKeyValue(flag, value);
    if (clock !== "monotonic" && clock !== "boottime") {
      throw flagError(
        "BAD_CLOCK",
        flag,
        `${flag} "${value}": there is no clock "${clock}" that can be shifted`,
        nearestOrAll(clock, ["monotonic", "boottime"]),
      );
    }
    offsets[clock] = { secs: parseInteger(flag, seconds, -(2 ** 32), 2 ** 32), nanosecs: 0 };
  }
  return offsets;
}
