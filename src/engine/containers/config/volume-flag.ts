/** `--volume SOURCE:DESTINATION[:OPTION,…]`: a file or directory of the machine, shown in the container. */

import { nearest } from "../../../nearest.ts";
import type { Mount } from "../../../spec/config.ts";
import type { RootFacts } from "../root-facts.ts";
import { flagError, parseContainerPath } from "./flag-value.ts";
import { absolute } from "./mounts.ts";

export const PROPAGATIONS = [
  "private",
  "rprivate",
  "shared",
  "rshared",
  "slave",
  "rslave",
  "unbindable",
  "runbindable",
] as const;
const FLAGS = ["nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime", "rro"];
/** What other engines understand and has no meaning here: SELinux labels, copying into new volumes, macOS caches. */
const IGNORED = ["z", "Z", "nocopy", "consistent", "cached", "delegated"];

export function parseVolume(value: string, root: Pick<RootFacts, "cwd">): Mount {
  const [source = "", target, optionText, ...rest] = value.split(":");
  if (source === "" || rest.length > 0) {
    throw flagError(
      "BAD_VOLUME",
      "--volume",
      `--volume "${value}" is not of the form SOURCE:DESTINATION[:OPTIONS]`,
      "for example /srv/data:/data:ro",
    );
  }
  if (target === undefined) throw noVolumes("--volume", value, "an anonymous volume");
  if (!source.includes("/") && source !== "." && source !== "..")
    throw noVolumes("--volume", value, `the volume "${source}"`);
  return {
    destination: parseContainerPath("--volume", target, value),
    type: "bind",
    source: absolute(source, root.cwd),
    options: bindOptions(
      "--volume",
      value,
      (optionText ?? "").split(",").filter((option) => option !== ""),
    ),
  };
}

/** Options of a bind mount: recursive and private unless they say otherwise. */
export function bindOptions(flag: string, value: string, words: readonly string[]): string[] {
  let bind = "rbind";
  let propagation = "rprivate";
  const flags: string[] = [];
  for (const word of words) {
    if (word === "bind" || word === "rbind") bind = word;
    else if (word === "ro")
      flags.push("rro"); // with all mounts below it
    else if (word === "rw" || IGNORED.includes(word)) continue;
    else if (FLAGS.includes(word)) flags.push(word);
    else if (PROPAGATIONS.some((mode) => mode === word)) propagation = word;
    else {
      const near = nearest(word, ["ro", "rw", "bind", "rbind", ...FLAGS, ...PROPAGATIONS]);
      throw flagError(
        "BAD_MOUNT_OPTION",
        flag,
        `${flag} "${value}": there is no option "${word}"`,
        near === undefined ? "ro, rw, nosuid, nodev, noexec, a propagation such as rslave" : `did you mean ${near}?`,
      );
    }
  }
  return [bind, propagation, ...flags];
}

export function noVolumes(flag: string, value: string, what: string) {
  return flagError(
    "VOLUME_UNSUPPORTED",
    flag,
    `${flag} "${value}": ${what} cannot be made: volumes are not there yet`,
    flag === "--mount"
      ? "show a directory of the machine: type=bind,src=/DIRECTORY,dst=/DESTINATION"
      : value.startsWith("/") && !value.includes(":")
        ? `the machine's directory at the same place is --volume ${value}:${value}; --tmpfs ${value} is an empty one in memory`
        : "name a directory, with a slash in it: ./NAME:/DESTINATION",
  );
}
