/** `--device`, `--device-cgroup-rule`: nodes in the container's /dev, and what the devices control group lets pass. */
import type { Device, DeviceRule, Mount } from "../../../spec/config.ts";
import type { HostDevice, RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, parseContainerPath } from "./flag-value.ts";
import { absolute } from "./mounts.ts";
import type { Namespaces } from "./namespaces.ts";

export interface Devices {
  devices: Device[];
  rules: DeviceRule[];
  /** A node under another name: what a user namespace, which cannot make nodes, has instead. */
  mounts: Mount[];
}

const char = (major: number, minor?: number, access = "rwm"): DeviceRule => ({
  allow: true,
  type: "c",
  major,
  ...(minor === undefined ? {} : { minor }),
  access,
});

/** docker's list: any node may be made, these may be opened. */
const DEFAULT_RULES: readonly DeviceRule[] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  char(1, 3), // null
  char(1, 5), // zero
  char(1, 7), // full
  char(1, 8), // random
  char(1, 9), // urandom
  char(5, 0), // tty
  char(5, 1), // console
  char(5, 2), // ptmx
  char(136), // pts/*
];

const ALL_RULES: readonly DeviceRule[] = [{ allow: true, access: "rwm" }];

export function containerDevices(options: RunOptions, root: RootFacts, { modes }: Namespaces): Devices {
  const named = (options.device ?? []).map((value) => parseDevice(value, root));
  const rules = (options.deviceCgroupRule ?? []).map(parseRule);
  const bindsNodes = modes.user.kind !== "host";
  const renamed = named.filter(({ source, device }) => bindsNodes && source !== device.path);
  const made = named.filter((entry) => !renamed.includes(entry)).map(({ device }) => device);
  const all = options.privileged ? root.hostDevices().map((device) => specDevice(device, device.path)) : [];
  const others = all.filter(({ path }) => !made.some((device) => device.path === path));
  return {
    devices: [...others, ...made],
    rules: options.privileged ? [...ALL_RULES] : [...DEFAULT_RULES, ...named.map(({ rule }) => rule), ...rules],
    mounts: renamed.map(({ source, device }) => ({
      destination: device.path,
      type: "bind",
      source,
      options: ["bind", "nosuid", "noexec"],
    })),
  };
}

/** `SOURCE[:DESTINATION[:rwm]]`; the second part may be the access too. */
function parseDevice(value: string, root: RootFacts): { source: string; device: Device; rule: DeviceRule } {
  const flag = "--device";
  const [sourceText = "", second, third, ...rest] = value.split(":");
  if (sourceText === "" || rest.length > 0)
    throw flagError(
      "BAD_DEVICE",
      flag,
      `${flag} "${value}" is not of the form SOURCE[:DESTINATION[:ACCESS]]`,
      "for example /dev/fuse or /dev/sda:/dev/xvda:r",
    );
  const source = absolute(sourceText, root.cwd);
  const secondIsAccess = third === undefined && second !== undefined && isAccess(second);
  const access = (secondIsAccess ? second : third) ?? "rwm";
  const path = second === undefined || secondIsAccess ? source : parseContainerPath(flag, second, value);
  if (!isAccess(access))
    throw flagError(
      "BAD_DEVICE_ACCESS",
      flag,
      `${flag} "${value}": "${access}" is not an access`,
      "letters of rwm: read, write, make the node",
    );
  const device = root.deviceAt(source);
  if (device === undefined)
    throw flagError(
      "NOT_A_DEVICE",
      flag,
      `${flag} "${value}": there is no device ${source}`,
      "ls -l shows c or b in front of one",
    );
  const { type, major, minor } = device;
  return { source, device: specDevice(device, path), rule: { allow: true, type, major, minor, access } };
}

function specDevice({ type, major, minor, mode, uid, gid }: HostDevice, path: string): Device {
  return { path, type, major, minor, fileMode: mode, uid, gid };
}

const isAccess = (text: string): boolean => /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;

/** `c 42:* rwm`. */
function parseRule(value: string): DeviceRule {
  const [, type, major, minor, access = ""] = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(value) ?? [];
  if (type === undefined || !isAccess(access)) {
    throw flagError(
      "BAD_DEVICE_RULE",
      "--device-cgroup-rule",
      `--device-cgroup-rule "${value}" is not a rule`,
      'TYPE MAJOR:MINOR ACCESS, such as "c 42:* rwm"; TYPE is a, b or c',
    );
  }
  return {
    allow: true,
    type: type === "b" ? "b" : type === "c" ? "c" : "a",
    ...(major === "*" ? {} : { major: Number(major) }),
    ...(minor === "*" ? {} : { minor: Number(minor) }),
    access,
  };
}
