/** Roots and bundles: what `crun spec` gives, the same for all, and variations of it. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { DEFAULT_CAPABILITIES } from "../src/plan/seccomp/default-profile.ts";
import { DEFAULT_PROFILE } from "../src/plan/seccomp/profile-program.ts";
import { find, output } from "./machine.ts";

export interface BundleConfig {
  hostname: string;
  process: { terminal: boolean; args: string[]; capabilities: Record<string, readonly string[]> };
  root: { path: string; readonly: boolean };
  mounts: { destination: string; type?: string; source?: string; options?: string[] }[];
  linux: {
    seccomp?: unknown;
    resources?: unknown;
    cgroupsPath?: string;
    namespaces: { type: string; path?: string }[];
    maskedPaths: string[];
    devices?: { path: string; type: string; major: number; minor: number; fileMode: number }[];
    uidMappings?: IdMapping[];
    gidMappings?: IdMapping[];
  };
}

interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** busybox alone, and directories and files to mount on and to hide. */
export function makeRootfs(path: string): string {
  for (const name of ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "hidden"])
    mkdirSync(`${path}/${name}`, { recursive: true });
  copyFileSync(find("busybox"), `${path}/bin/busybox`);
  for (const applet of ["sh", "sleep", "true"]) symlinkSync("busybox", `${path}/bin/${applet}`);
  writeFileSync(`${path}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
  for (let i = 0; i < MOUNTS; i++) mkdirSync(`${path}/mnt/${i}`, { recursive: true });
  for (let i = 0; i < THOUSAND; i++) writeFileSync(`${path}/hidden/${i}`, "");
  return path;
}

export const MOUNTS = 100;
export const THOUSAND = 1000;

/**
 * What `crun spec` gives, with what tupper does by default where that costs time: the 14 capabilities, a root that can be
 * written, a cgroup namespace. Returns the bundle's directory.
 */
export function makeBundle(
  path: string,
  root: string,
  args: readonly string[],
  change: (config: BundleConfig) => void = () => {},
): string {
  mkdirSync(path);
  const made = output([find("crun") || find("runc"), "spec"], path);
  if (made.code !== 0) throw new Error(`spec: ${made.stderr}`);
  const config = JSON.parse(output(["cat", "config.json"], path).stdout) as BundleConfig;
  config.process.terminal = false;
  config.process.args = [...args];
  for (const set of ["bounding", "effective", "permitted"]) config.process.capabilities[set] = DEFAULT_CAPABILITIES;
  for (const set of ["inheritable", "ambient"]) config.process.capabilities[set] = [];
  config.root = { path: root, readonly: false };
  if (!config.linux.namespaces.some(({ type }) => type === "cgroup")) config.linux.namespaces.push({ type: "cgroup" });
  change(config);
  writeFileSync(`${path}/config.json`, JSON.stringify(config));
  return path;
}

export const withSeccomp = ({ linux }: BundleConfig): void => {
  linux.seccomp = DEFAULT_PROFILE;
};

export const withoutNetwork = ({ linux }: BundleConfig): void => {
  linux.namespaces = linux.namespaces.filter(({ type }) => type !== "network");
};

export const inNetwork =
  (file: string) =>
  ({ linux }: BundleConfig): void => {
    for (const namespace of linux.namespaces) if (namespace.type === "network") namespace.path = file;
  };

/** Ids 0 to 65535 of the container are `first` and up of the machine. */
export const withUserNamespace =
  (first: number, size: number) =>
  ({ linux }: BundleConfig): void => {
    linux.namespaces.push({ type: "user" });
    linux.uidMappings = [{ containerID: 0, hostID: first, size }];
    linux.gidMappings = [{ containerID: 0, hostID: first, size }];
  };

/** For a user who has a single id and no control groups: no network to configure, no gid 5 for terminals, the machine's sysfs. */
export const rootless =
  (uid: number) =>
  (config: BundleConfig): void => {
    withUserNamespace(uid, 1)(config);
    delete config.linux.resources;
    for (const mount of config.mounts) mount.options = (mount.options ?? []).filter((option) => option !== "gid=5");
    config.mounts = config.mounts.filter(({ destination }) => destination !== "/sys/fs/cgroup");
  };

export const withMounts = (config: BundleConfig): void => {
  for (let i = 0; i < MOUNTS; i++)
    config.mounts.push({ destination: `/mnt/${i}`, type: "bind", source: "/usr", options: ["bind", "ro"] });
};

export const withDevices = ({ linux }: BundleConfig): void => {
  linux.devices = Array.from({ length: THOUSAND }, (_, i) => ({
    ...{ path: `/dev/some${i}`, type: "c", major: 1, minor: 3, fileMode: 0o666 },
  }));
};

export const withMaskedPaths = ({ linux }: BundleConfig): void => {
  for (let i = 0; i < THOUSAND; i++) linux.maskedPaths.push(`/hidden/${i}`);
};
