/** Values of flags: sizes, numbers, `KEY=VALUE`. Each error names the flag, the value and what was expected. */

import { ContainerError } from "../../../error.ts";
import type { ErrorCode } from "../../../error-codes.ts";
import { didYouMean } from "../../../nearest.ts";
import { noIdHint } from "../../../spec/check.ts";

/** An error about one flag. */
export function flagError(code: ErrorCode, flag: string, message: string, hint?: string): ContainerError {
  return new ContainerError(code, message, { field: flag, ...(hint === undefined ? {} : { hint }) });
}

/** `did you mean X?` where something is near, else all the names there are. */
export function nearestOrAll(word: string, names: readonly string[]): string {
  return didYouMean(word, names) ?? `one of ${names.join(", ")}`;
}

/** One of a few words. */
export function parseChoice<const T extends string>(flag: string, value: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === value);
  if (choice !== undefined) return choice;
  throw flagError("BAD_CHOICE", flag, `${flag} cannot be "${value}"`, nearestOrAll(value, choices));
}

const UNITS = "bkmgtp";

/** `500m`, `1.5g`, `65536`: bytes, with the binary units that docker and mount(8) use. */
export function parseBytes(flag: string, value: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([bkmgtp]?)(?:i?b)?$/i.exec(value);
  const bytes = Math.floor(Number(match?.[1]) * 1024 ** Math.max(0, UNITS.indexOf((match?.[2] || "b").toLowerCase())));
  if (match === null || !Number.isSafeInteger(bytes)) {
    throw flagError(
      "BAD_SIZE",
      flag,
      `${flag} "${value}" is not a size`,
      "a number of bytes with an optional unit, such as 512m or 2g",
    );
  }
  return bytes;
}

/** A whole number within bounds, decimal. */
export function parseInteger(flag: string, value: string, min: number, max: number, hint?: string): number {
  const number = Number(value);
  if (/^[+-]?\d+$/.test(value) && number >= min && number <= max) return number;
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  throw flagError("BAD_NUMBER", flag, `${flag} "${value}" is not a whole number ${bounds}`, hint);
}

/** 4294967295 is -1, which setresuid(2) takes for "as it is". */
export const MAX_ID = 4294967294;

/** The number of a user or group. */
export const parseId = (flag: string, value: string): number =>
  parseInteger(flag, value, 0, MAX_ID, noIdHint(Number(value)));

/** `KEY=VALUE` split at the first `=`. */
const EXAMPLES: Readonly<Record<string, string>> = {
  "--sysctl": "net.ipv4.ip_forward=1",
  "--time-offset": "monotonic=86400",
  "--ulimit": "nofile=1024:4096",
};

export function parseKeyValue(flag: string, value: string): [key: string, value: string] {
  const at = value.indexOf("=");
  if (at > 0) return [value.slice(0, at), value.slice(at + 1)];
  throw flagError(
    "BAD_KEY_VALUE",
    flag,
    `${flag} "${value}" is not of the form KEY=VALUE`,
    `for example ${EXAMPLES[flag] ?? "org.example.owner=me"}`,
  );
}

/** The flags as an object whose later values replace earlier ones. */
export function parseKeyValues(flag: string, values: readonly string[] | undefined): Record<string, string> {
  return Object.fromEntries((values ?? []).map((value) => parseKeyValue(flag, value)));
}

/** A path that a container sees. */
export function parseContainerPath(flag: string, path: string, value = path): string {
  if (!path.startsWith("/")) {
    throw flagError(
      "BAD_DESTINATION",
      flag,
      `${flag} "${value}": "${path}" is not an absolute path`,
      "paths in the container begin with /",
    );
  }
  const clean = normalize(path);
  if (clean === "/" && flag !== "--workdir") {
    throw flagError(
      "BAD_DESTINATION",
      flag,
      `${flag} "${value}": nothing can be mounted over the root itself`,
      "ROOT is what becomes /",
    );
  }
  return clean;
}

/** Without `.`, `..`, doubled and trailing slashes; for absolute paths. */
export function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
