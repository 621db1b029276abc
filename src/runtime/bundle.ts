/** A bundle: a directory with config.json in it. bundle.md. */
import { ContainerError } from "../error.ts";
import { cleanPath } from "../plan/proc-files.ts";
import type { Config, IdMaps } from "../spec/config.ts";
import { parseConfig } from "../spec/parse-config.ts";
import { readFile } from "../sys/files.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import type { Container } from "./container.ts";
import { giveIdMaps, missingIdMaps } from "./default-id-maps.ts";
import { mountNotify } from "./notify.ts";
import { refuseAnnotations } from "./refused-annotations.ts";
import { annotateSeccomp } from "./seccomp-annotations.ts";

export interface Bundle {
  /** Absolute. */
  path: string;
  /** The bytes of the config. */
  configText: string;
  config: Config;
  /** What the config leaves to us and has got. */
  idMaps: IdMaps | undefined;
  warnings: string[];
}

/**
 * Reads and checks a bundle. `configPath`: another file than its config.json. Throws BUNDLE_UNREADABLE, CONFIG_SYNTAX, CONFIG_INVALID …
 * The section `linux.seccomp` is not checked: that is for whoever has no filter of it yet (seccomp-cache.ts).
 */
export function loadBundle(directory: string, configPath?: string): Bundle {
  const path = absolute(directory);
  const file = configPath === undefined ? within(path, "config.json") : absolute(configPath);
  const configText = readConfig(file, configPath === undefined ? "--bundle" : "--config");
  const { config, warnings } = parseConfig(configText, { seccomp: "unchecked" });
  if (config.annotations !== undefined) refuseAnnotations(config.annotations);
  annotateSeccomp(config, true);
  const idMaps = missingIdMaps(config);
  giveIdMaps(config, idMaps);
  if (!config.root.path.startsWith("/")) config.root = { ...config.root, path: within(path, config.root.path) };
  // As under runc: a destination may be named as the caller sees it, below the root filesystem.
  const root = `${cleanPath(config.root.path)}/`;
  for (const mount of config.mounts ?? [])
    if (mount.destination.startsWith(root)) mount.destination = mount.destination.slice(root.length - 1);
  return { path, configText, config, idMaps, warnings };
}

/** The config that a container was made from, with what it got beside. `starts`: another process of it is to have its filter. */
export function recordedConfig({ path, record }: Container, starts = false): Config {
  const { config } = parseConfig(readFile(`${path}/config.json`), { seccomp: "unchecked" });
  annotateSeccomp(config, starts);
  giveIdMaps(config, record.idMaps);
  if (record.notify) mountNotify(config, path);
  if (record.timeNamespace) config.linux.namespaces = [...(config.linux.namespaces ?? []), { type: "time" }];
  return config;
}

function readConfig(file: string, field: "--bundle" | "--config"): string {
  try {
    return readFile(file);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new ContainerError("BUNDLE_UNREADABLE", `cannot read the config ${file}`, {
      field,
      cause: error,
      hint:
        error.code === "EACCES"
          ? "this user may not read it: look at its mode, and at those of the directories on the way"
          : field === "--config"
            ? "--config names a file in place of the bundle's config.json; `tupper-runtime spec` writes one"
            : "a bundle is a directory with a config.json; `tupper-runtime spec` writes one",
    });
  }
}

/** A path of the command line, from the caller's working directory. */
export function absolute(path: string): string {
  const bare = (path.startsWith("/") ? path : path.replace(/^(\.\/+)+/, "")).replace(/(.)\/+$/, "$1");
  if (bare.startsWith("/")) return bare;
  const buffer = new ArrayBuffer(4096);
  const length = sys.getcwd(buffer);
  const cwd = raw.decodeText(buffer, 0, length - 1) as string;
  return bare === "." || bare === "" ? cwd : within(cwd, bare);
}

/** A name in a directory, which may be the root. */
export const within = (directory: string, name: string): string => `${directory === "/" ? "" : directory}/${name}`;
