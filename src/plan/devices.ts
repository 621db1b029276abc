/**
 * /dev: the devices that config-linux.md ("Default Devices") promises, those that the config adds, and the links that
 * programs expect. In a user namespace mknod is forbidden: the machine's own nodes are bound in place of new ones.
 */
import type { Config, Device } from "../spec/config.ts";
import { isolates } from "./namespaces.ts";
import type { InitStep } from "./step.ts";

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

export function planDevices(config: Config): { take: InitStep[]; place: InitStep[] } {
  const take: InitStep[] = [];
  const place: InitStep[] = [];
  // Without a /dev of its own the container has what the rootfs has.
  if (!config.mounts?.some((mount) => mount.destination === "/dev")) return { take, place };
  const own = config.linux.devices ?? [];
  const devices = [
    ...DEFAULT_DEVICES.filter((device) => !own.some(({ path }) => path === device.path)).map((device) => ({
      device,
      field: undefined,
    })),
    ...own.map((device, i) => ({ device, field: `linux.devices[${i}]` })),
  ];
  const bound = isolates(config, "user");
  for (const { device, field } of devices) {
    const why = {
      ...(field === undefined ? {} : { field }),
      because:
        field === undefined
          ? "every container has this device (config-linux.md, Default Devices)"
          : "the config asks for this device",
    };
    if (bound) {
      const tree = { slot: `device.${device.path}` };
      take.push({
        op: "takeTree",
        by: "init",
        source: device.path,
        recursive: false,
        flags: [],
        recursiveFlags: [],
        tied: false,
        tree,
        ...why,
        because: `${why.because}; a user namespace cannot make device nodes`,
      });
      place.push({ op: "placeTree", by: "init", tree, target: device.path, ...why });
    } else {
      place.push({
        op: "makeNode",
        by: "init",
        path: device.path,
        type: device.type === "u" ? "c" : device.type,
        major: device.major ?? 0,
        minor: device.minor ?? 0,
        mode: device.fileMode ?? 0o666,
        uid: device.uid ?? 0,
        gid: device.gid ?? 0,
        ...why,
      });
    }
  }
  for (const [target, path] of LINKS) {
    place.push({
      op: "makeLink",
      by: "init",
      target,
      path,
      because: "programs expect it (config-linux.md, Default Devices)",
    });
  }
  return { take, place };
}
