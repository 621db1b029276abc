/** `--cap-add`, `--cap-drop`, `--privileged`: the capability sets. capabilities(7). */

import { didYouMean } from "../../../nearest.ts";
import { DEFAULT_CAPABILITIES } from "../../../plan/seccomp/default-profile.ts";
import { CAPABILITIES } from "../../../spec/capabilities.ts";
import type { Capabilities } from "../../../spec/config.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError } from "./flag-value.ts";

export interface ContainerCapabilities {
  bounding: string[];
  sets: Capabilities;
  warnings: string[];
}

/**
 * `available`: what the container could have at all: everything in a new user namespace, else what the caller has.
 * A user other than root gets the bounding set alone: it bounds what set-user-id programs can regain.
 */
export function containerCapabilities(
  options: Pick<RunOptions, "capAdd" | "capDrop" | "privileged">,
  uid: number,
  available: readonly string[],
): ContainerCapabilities {
  const add = (options.capAdd ?? []).flatMap((value) => parseCapabilityNames("--cap-add", value));
  const drop = (options.capDrop ?? []).flatMap((value) => parseCapabilityNames("--cap-drop", value));
  const start =
    options.privileged || add.includes("ALL") ? CAPABILITIES : drop.includes("ALL") ? [] : DEFAULT_CAPABILITIES;
  const wanted = CAPABILITIES.filter((name) => (start.includes(name) || add.includes(name)) && !drop.includes(name));
  const bounding = wanted.filter((name) => available.includes(name));
  const missing = add.filter((name) => name !== "ALL" && !available.includes(name));
  const own = uid === 0 ? bounding : [];
  return {
    bounding,
    // inheritable and ambient stay empty: what is inheritable comes back through a file's capabilities (CVE-2022-24769).
    sets: { bounding, effective: [...own], permitted: [...own], inheritable: [], ambient: [] },
    warnings: missing.map(
      (name) => `--cap-add ${name} has no effect: tupper itself does not have that capability here`,
    ),
  };
}

/** `CAP_CHOWN`, `chown`, `ALL`; several with commas. `warn`: what is no capability, ALL too, is told there and left out. */
export function parseCapabilityNames(flag: string, value: string, warn?: (text: string) => void): string[] {
  return value.split(",").flatMap((text) => {
    const word = text.trim().toUpperCase().replace(/^CAP_/, "");
    if (word === "ALL" && warn === undefined) return "ALL";
    if (CAPABILITIES.includes(`CAP_${word}`)) return `CAP_${word}`;
    if (warn !== undefined) {
      warn(`${flag} ${text} is no capability: it is left out`);
      return [];
    }
    const names = [...CAPABILITIES.map((name) => name.slice("CAP_".length)), "ALL"];
    throw flagError(
      "UNKNOWN_CAPABILITY",
      flag,
      `there is no capability "${text}"`,
      didYouMean(word, names) ?? "capabilities(7) lists them; ALL is all of them",
    );
  });
}
