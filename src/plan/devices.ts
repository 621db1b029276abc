/**
 * /dev: the devices that config-linux.md ("Default Devices") promises, those that the config adds, and the links that
 * programs expect. In a user namespace mknod is forbidden: the machine's own nodes are bound in place of new ones, and what root
 * of the machine is asked for that it does not have is made outside.
 */
import { ContainerError } from "../error.ts";
import { ANNOTATION, type Config, type Device, type IdMapping, type Mount } from "../spec/config.ts";
import { hostId } from "./cgroup/delegation.ts";
import type { Host } from "./host.ts";
import { labelOf } from "./mounts.ts";
import { isolates } from "./namespaces.ts";
import { cleanPath } from "./proc-files.ts";
import type { InitStep, MountFlag, NodeApart, ParentStep } from "./step.ts";

const DEFAULT_DEVICES: readonly Device[] = (
  [
    ["/dev/null", 1, 3],
    ["/dev/zero", 1, 5],
    ["/dev/full", 1, 7],
    ["/dev/random", 1, 8],
    ["/dev/urandom", 1, 9],
    ["/dev/tty", 5, 0],
  ] as const
).map(([path, major, minor]) => ({ path, type: "c", major, minor, fileMode: 0o666 }));

const LINKS: readonly (readonly [target: string, path: string])[] = [
  ["/proc/self/fd", "/dev/fd"],
  ["/proc/self/fd/0", "/dev/stdin"],
  ["/proc/self/fd/1", "/dev/stdout"],
  ["/proc/self/fd/2", "/dev/stderr"],
  ["pts/ptmx", "/dev/ptmx"],
];

const NO_FLAGS: MountFlag[] = [];
/** As under crun. Devices of the config stay as they are: some are to be mapped executable, such as /dev/sgx_enclave. */
const FLAGS_OF_DEFAULT: MountFlag[] = ["nosuid", "noexec"];

interface DevicesPlan {
  /** Nodes that only the parent may make. */
  before: ParentStep[];
  take: InitStep[];
  place: InitStep[];
}

export function planDevices(config: Config, host: Host): DevicesPlan {
  const take: InitStep[] = [];
  const place: InitStep[] = [];
  const apart: NodeApart[] = [];
  // A /dev of the machine has what it has.
  if (config.mounts?.some(isDevBind)) return { before: [], take, place };
  const own = (config.linux.devices ?? []).map((device, i) => ({
    device: { ...device, path: cleanPath(device.path) },
    field: `linux.devices[${i}]`,
  }));
  const devices = [
    ...DEFAULT_DEVICES.filter((device) => !own.some(({ device: { path } }) => path === device.path)).map((device) => ({
      device,
      field: undefined,
    })),
    // That one is a link to the container's own devpts.
    ...own.filter(({ device: { path } }) => path !== "/dev/ptmx"),
  ];
  const taken = new Set<string>();
  const bound = isolates(config, "user") || !host.privileged;
  // What `tupper run` names is what the machine has.
  const mayMake = host.privileged && config.annotations?.[ANNOTATION.rootKind] === undefined;
  for (const { device, field } of devices) {
    const why = {
      ...(field === undefined ? {} : { field }),
      because:
        field === undefined
          ? "every container has this device (config-linux.md, Default Devices)"
          : "the config asks for this device",
    };
    // A FIFO is no device: everybody may make one.
    if (bound && device.type !== "p") {
      // Named twice, it is bound once.
      if (taken.has(device.path)) continue;
      taken.add(device.path);
      const tree = { slot: `device.${device.path}` };
      if (field !== undefined && mayMake) apart.push(...nodeApart(config, device, { tree, field }));
      take.push({
        op: "takeTree",
        by: "init",
        source: device.path,
        recursive: false,
        flags: NO_FLAGS,
        // Beside those that it has on the machine, which may be locked.
        recursiveFlags: field === undefined ? FLAGS_OF_DEFAULT : NO_FLAGS,
        propagation: "rprivate",
        tree,
        ...why,
        because: `${why.because}; a user namespace cannot make device nodes`,
      });
      place.push({
        op: "placeTree",
        by: "init",
        tree,
        target: device.path,
        file: true,
        // What a link of the root filesystem leads to is not where the device was asked for.
        ...(field === undefined ? {} : { nofollow: true }),
        ...why,
      });
    } else place.push({ op: "makeNode", by: "init", ...node(device, field), ...why });
  }
  for (const [target, path] of LINKS) {
    place.push({
      op: "makeLink",
      by: "init",
      target,
      path,
      ...(path === "/dev/ptmx" ? { replace: true } : {}),
      because: "programs expect it (config-linux.md, Default Devices)",
    });
  }
  return { before: planApart(config, apart), take, place };
}

/** None where the config does not say which device it is: then it can only be the machine's. */
function nodeApart({ linux }: Config, device: Device, more: Pick<NodeApart, "tree" | "field">): NodeApart[] {
  const { type, major, minor, uid = 0, gid = 0 } = device;
  if (type === "p" || major === undefined || minor === undefined) return [];
  // An id that the container does not have stays that of the machine's root, as far as maps are known.
  const owner = (id: number, maps: readonly IdMapping[] = []) => (maps.length === 0 ? 0 : (hostId(id, maps) ?? 0));
  return [
    {
      asked: { ...device, type: type === "u" ? "c" : type, major, minor },
      uid: owner(uid, linux.uidMappings),
      gid: owner(gid, linux.gidMappings),
      ...more,
    },
  ];
}

function planApart(config: Config, nodes: NodeApart[]): ParentStep[] {
  if (nodes.length === 0) return [];
  return [
    {
      op: "makeNodes",
      by: "parent",
      nodes,
      ...labelOf(config, "tmpfs"),
      field: nodes.length === 1 ? nodes.map(({ field }) => field).join() : "linux.devices",
      because:
        "a user namespace cannot make device nodes: those that the machine has otherwise, or not at all, are made outside",
    },
  ];
}

/** A `/dev` that is bound from elsewhere: nothing is made in it. */
const isDevBind = (mount: Mount): boolean => mount.destination.includes("dev") && isBindOn("/dev", mount);

const isBindOn = (path: string, { destination, type, options = [] }: Mount): boolean =>
  cleanPath(destination) === path && (type === "bind" || options.includes("bind") || options.includes("rbind"));

/** Whether a file that is there already must be this device: the spec says so of those that the config names. */
function node(device: Device, field: string | undefined): Node {
  const { path, type, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
  if (field !== undefined && type !== "p" && (device.major === undefined || device.minor === undefined))
    throw new ContainerError("DEVICE_NUMBER_MISSING", `the device ${path} has no major and minor number`, { field });
  return {
    path,
    type: type === "u" ? "c" : type,
    major,
    minor,
    // Some callers write the whole st_mode.
    mode: fileMode & 0o7777,
    uid,
    gid,
    ...(field === undefined ? {} : { exact: true }),
  };
}

type Node = Omit<Extract<InitStep, { op: "makeNode" }>, "op" | "by" | "field" | "because">;
