/** `--ulimit NAME=SOFT[:HARD]`. getrlimit(2). */

import { didYouMean } from "../../../nearest.ts";
import type { Rlimit } from "../../../spec/config.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, parseKeyValue } from "./flag-value.ts";

const NAMES = [
  "as",
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
];
const FLAG = "--ulimit";
const UNLIMITED = -1;

export function rlimits({ ulimit }: RunOptions): Rlimit[] {
  const limits = new Map<string, Rlimit>();
  for (const text of ulimit ?? []) {
    const [word, value] = parseKeyValue(FLAG, text);
    const name = word.toLowerCase().replace(/^rlimit_/, "");
    if (!NAMES.includes(name))
      throw flagError(
        "UNKNOWN_ULIMIT",
        FLAG,
        `there is no limit "${word}"`,
        didYouMean(name, NAMES) ?? `one of ${NAMES.join(", ")}`,
      );
    const [softText = "", hardText = softText, ...rest] = value.split(":");
    const soft = parseLimit(softText);
    const hard = parseLimit(hardText);
    if (soft === undefined || hard === undefined || rest.length > 0) {
      throw flagError(
        "BAD_ULIMIT",
        FLAG,
        `${FLAG} "${text}" is not of the form NAME=SOFT[:HARD]`,
        "numbers or unlimited, such as nofile=1024:4096",
      );
    }
    if (hard !== UNLIMITED && (soft === UNLIMITED || soft > hard)) {
      throw flagError(
        "BAD_ULIMIT",
        FLAG,
        `${FLAG} "${text}": the soft limit is above the hard one`,
        "the soft limit comes first",
      );
    }
    limits.set(name, { type: `RLIMIT_${name.toUpperCase()}`, soft, hard });
  }
  return [...limits.values()];
}

function parseLimit(text: string): number | undefined {
  if (text === "unlimited" || text === "-1") return UNLIMITED;
  const number = Number(text);
  return /^\d+$/.test(text) && Number.isSafeInteger(number) ? number : undefined;
}
