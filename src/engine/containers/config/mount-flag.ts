/** `--mount type=bind,src=…,dst=…`: the same as `--volume` and `--tmpfs`, spelled out. */

import { didYouMean } from "../../../nearest.ts";
import { table } from "../../../spec/check.ts";
import type { Mount } from "../../../spec/config.ts";
import type { RootFacts } from "../root-facts.ts";
import { flagError, nearestOrAll, parseBytes, parseChoice, parseContainerPath } from "./flag-value.ts";
import { absolute } from "./mounts.ts";
import { bindOptions, noVolumes, PROPAGATIONS } from "./volume-flag.ts";

const FLAG = "--mount";
const TYPES = ["bind", "tmpfs", "devpts", "mqueue", "proc", "sysfs"] as const;

/** Other engines' spellings of a key. */
const SYNONYMS = table<string>({
  src: "source",
  dst: "destination",
  target: "destination",
  ro: "readonly",
  "bind-nonrecursive": "nonrecursive",
});
const KEYS = [
  "type",
  "source",
  "destination",
  "readonly",
  "bind-propagation",
  "bind-recursive",
  "nonrecursive",
  "tmpfs-size",
  "tmpfs-mode",
  "options",
  "consistency",
];

export function parseMountFlag(value: string, root: Pick<RootFacts, "cwd">): Mount {
  const keys = parseKeys(value);
  const type = keys.get("type") ?? "volume";
  if (type === "volume")
    throw noVolumes(FLAG, value, keys.has("type") ? "a volume" : "a volume (the type when none is named)");
  const kind = TYPES.find((candidate) => candidate === type);
  if (kind === undefined)
    throw flagError(
      "BAD_MOUNT_TYPE",
      FLAG,
      `${FLAG} "${value}": there is no type "${type}"`,
      nearestOrAll(type, TYPES),
    );
  const target = keys.get("destination");
  if (target === undefined)
    throw flagError(
      "MOUNT_DESTINATION_NEEDED",
      FLAG,
      `${FLAG} "${value}" has no destination`,
      "add dst=/path/in/the/container",
    );
  const destination = parseContainerPath(FLAG, target, value);
  const extra = (keys.get("options") ?? "").split(":").filter((option) => option !== "");
  const readonly = isSet(keys, "readonly", value);
  checkKeys(kind, keys, value);
  if (kind === "bind")
    return {
      destination,
      type: "bind",
      ...bindSource(keys, value, root),
      options: bindMountOptions(keys, value, readonly, extra),
    };
  if (kind === "tmpfs")
    return {
      destination,
      type: "tmpfs",
      source: "tmpfs",
      options: [...tmpfsOptions(keys, value), ...(readonly ? ["ro"] : []), ...extra],
    };
  return {
    destination,
    type: kind,
    source: kind,
    options: [
      "nosuid",
      "noexec",
      ...(kind === "devpts" ? ["newinstance"] : ["nodev"]),
      ...(readonly ? ["ro"] : []),
      ...extra,
    ],
  };
}

function parseKeys(value: string): Map<string, string> {
  const keys = new Map<string, string>();
  for (const part of splitFields(value)) {
    const at = part.indexOf("=");
    const word = (at < 0 ? part : part.slice(0, at)).toLowerCase();
    const key = SYNONYMS[word] ?? word;
    if (!KEYS.includes(key)) {
      throw flagError(
        "BAD_MOUNT_OPTION",
        FLAG,
        `${FLAG} "${value}": there is no key "${word}"`,
        didYouMean(word, [...KEYS, ...Object.keys(SYNONYMS)]) ?? `keys are ${KEYS.join(", ")}`,
      );
    }
    keys.set(key, at < 0 ? "" : part.slice(at + 1));
  }
  return keys;
}

/** Fields between commas, as docker reads them: one in double quotes may have commas, and `""` for a quote. RFC 4180. */
function splitFields(value: string): string[] {
  return (value.match(/(?:"(?:[^"]|"")*"|[^,"])+|(?<=^|,)(?=,|$)/g) ?? []).map((field) =>
    field.replace(/"((?:[^"]|"")*)"/g, (_, quoted: string) => quoted.replaceAll('""', '"')),
  );
}

/** `readonly`, `readonly=true`, `readonly=1`. */
function isSet(keys: Map<string, string>, key: string, value: string): boolean {
  const text = keys.get(key);
  if (text === undefined || text === "false" || text === "0") return false;
  if (text === "" || text === "true" || text === "1") return true;
  throw flagError("BAD_MOUNT_OPTION", FLAG, `${FLAG} "${value}": ${key} cannot be "${text}"`, "true or false");
}

function checkKeys(kind: (typeof TYPES)[number], keys: Map<string, string>, value: string): void {
  for (const key of keys.keys()) {
    const owner =
      key.startsWith("bind-") || key === "nonrecursive" ? "bind" : key.startsWith("tmpfs-") ? "tmpfs" : undefined;
    if (owner !== undefined && owner !== kind) {
      throw flagError(
        "BAD_MOUNT_OPTION",
        FLAG,
        `${FLAG} "${value}": ${key} is for type=${owner}, not for type=${kind}`,
      );
    }
  }
}

function bindSource(keys: Map<string, string>, value: string, { cwd }: Pick<RootFacts, "cwd">): { source: string } {
  const source = keys.get("source");
  if (source === undefined || source === "")
    throw flagError("MOUNT_SOURCE_NEEDED", FLAG, `${FLAG} "${value}" has no source`, "add src=/path/on/the/machine");
  return { source: absolute(source, cwd) };
}

function bindMountOptions(keys: Map<string, string>, value: string, readonly: boolean, extra: string[]): string[] {
  const recursive = parseChoice(FLAG, keys.get("bind-recursive") ?? "enabled", [
    "enabled",
    "disabled",
    "writable",
    "readonly",
  ]);
  const words = [...extra];
  if (recursive === "disabled" || isSet(keys, "nonrecursive", value)) words.push("bind");
  const propagation = keys.get("bind-propagation");
  if (propagation !== undefined) words.push(parseChoice(FLAG, propagation, PROPAGATIONS));
  const options = bindOptions(FLAG, value, words);
  // `writable`: the mount itself read-only, those below it as they are.
  if (readonly) options.push(recursive === "writable" ? "ro" : "rro");
  return options;
}

function tmpfsOptions(keys: Map<string, string>, value: string): string[] {
  const options = ["nosuid", "nodev", "noexec"];
  const size = keys.get("tmpfs-size");
  const mode = keys.get("tmpfs-mode");
  if (size !== undefined) options.push(`size=${parseBytes(FLAG, size)}`);
  if (mode !== undefined) {
    if (!/^[0-7]{3,5}$/.test(mode))
      throw flagError(
        "BAD_MODE",
        FLAG,
        `${FLAG} "${value}": tmpfs-mode "${mode}" is not a mode`,
        "octal digits, such as 1777",
      );
    options.push(`mode=${mode}`);
  }
  return options;
}
