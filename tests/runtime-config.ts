/** A bundle with a config.json in which a test changes what it is about, run by tupper-runtime. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config, Mount } from "../src/spec/config.ts";
import { asUser } from "./bundle.ts";
import { atEnd, binary, isRoot, output, temporaryDirectory } from "./harness.ts";
import { makeRootfs } from "./rootfs.ts";

export const DEFAULT_MOUNTS: readonly Mount[] = [
  { destination: "/proc", type: "proc", source: "proc" },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
  },
  { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
];

const CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_FSETID"];

/** A config whose command is this script. */
export function configOf(script: string, change: (config: Config) => void = () => {}): Config {
  const config: Config = {
    ociVersion: "1.3.0",
    root: { path: makeRootfs() },
    mounts: structuredClone([...DEFAULT_MOUNTS]),
    process: {
      user: { uid: 0, gid: 0 },
      args: ["sh", "-c", script],
      env: ["PATH=/bin"],
      cwd: "/",
      capabilities: {
        bounding: CAPABILITIES,
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
        inheritable: CAPABILITIES,
      },
    },
    linux: { namespaces: (["mount", "pid", "network", "ipc", "uts", "cgroup"] as const).map((type) => ({ type })) },
  };
  if (!isRoot) asUser(config);
  change(config);
  return config;
}

let count = 0;

/** Runs a bundle with this config as `tupper-runtime run` does. */
export function run(config: Config, ...flags: string[]) {
  const bundle = temporaryDirectory();
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  writeFileSync(join(bundle, "of-the-bundle"), "bundle\n");
  const id = `mounts-${process.pid}-${count++}`;
  const args = ["--root", join(bundle, "state"), "run", ...flags, "--bundle", bundle, id];
  const { stdout, stderr, status } = spawnSync(binary, args, {
    argv0: "tupper-runtime",
    encoding: "utf8",
    timeout: 60_000,
    cwd: "/",
  });
  return { stdout, stderr, code: status };
}

/** What the script of a container prints. */
export function sees(script: string, change?: (config: Config) => void, ...flags: string[]): string {
  const { stdout, stderr, code } = run(configOf(script, change), ...flags);
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
  return stdout;
}

/** The code of the error that a config is refused with. */
export function refused(change: (config: Config) => void, ...flags: string[]): string {
  const { stdout, stderr, code } = run(configOf("echo runs", change), ...flags);
  assert.deepEqual({ stdout, code }, { stdout: "", code: 1 });
  return /\(([A-Z_]+)\)/.exec(stderr)?.[1] ?? stderr;
}

/** A mount more. */
export const mounted =
  (...mounts: Mount[]) =>
  (config: Config): void => {
    config.mounts?.push(...mounts);
  };

export const bind = (source: string, destination: string, ...options: string[]): Mount => ({
  destination,
  type: "bind",
  source,
  options,
});

/** Flags and propagation of the mounts at and below a path, a line each: `/data rw,nosuid,relatime master`. */
export const mountsAt = (path: string): string =>
  `awk '$5 == "${path}" || index($5, "${path}/") == 1 { o = ""; for (i = 7; $i != "-"; i++) { sub(/:.*/, "", $i); o = o " " $i }; print $5, $6 o }' /proc/self/mountinfo`;

/** A mount of the machine for a test, with another one below it. */
export function machineMount(options: string, below = ""): string {
  const directory = temporaryDirectory();
  output("mount", "-t", "tmpfs", "-o", options, "source", directory);
  atEnd(() => spawnSync("umount", ["-R", "-l", directory]));
  mkdirSync(join(directory, "below"));
  if (below !== "") output("mount", "-t", "tmpfs", "-o", below, "below", join(directory, "below"));
  writeFileSync(join(directory, "file"), "outside\n");
  output("mount", "--make-rshared", directory);
  return directory;
}

/** A user namespace in which root is 100000 outside. */
export function inUserNamespace(config: Config): void {
  const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  config.linux.namespaces?.push({ type: "user" });
  Object.assign(config.linux, { uidMappings: mappings, gidMappings: mappings });
  output("chown", "-hR", "100000:100000", config.root.path);
}
