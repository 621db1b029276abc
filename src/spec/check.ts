/**
 * A small language for what a JSON document must look like: `object`, `list`, `record`, `text`, `integer`, `oneOf` …
 *
 * Each makes a function that looks at a value and answers with undefined or with the one thing that is wrong. Only
 * properties that are there are looked at, so what a config leaves out costs nothing; paths are put together only when
 * something is wrong. Values are checked in place and not copied: why not a library, see docs/adr/0014-config-checks-of-our-own.md.
 *
 * What surprises: `null` and `""` are taken for "not there", and a property that holds one is removed, because Go
 * writes unset lists as null, and unset strings as "" where they have no `omitempty`.
 */

import { ContainerError } from "../error.ts";
import type { ErrorCode } from "../error-codes.ts";
import { didYouMean, nearest } from "../nearest.ts";
import { stringifyExactly } from "./json-text.ts";

export interface Problem {
  /** From the value that was looked at: `.options[1]`; empty when it is that value itself. */
  path: string;
  /** undefined is a value that is missing. */
  value: unknown;
  /** Ends the sentence "FIELD is VALUE: ". */
  says: string;
  hint?: string;
  /** CONFIG_INVALID where it is not given. */
  code?: ErrorCode;
}

/** What is known of the whole text while it is checked. */
export interface Pass {
  /** JSON.parse gave a number beyond 2^53 to a field that may have one: digits were lost. Set by the checks. */
  rounded: boolean;
  /** Some string may contain NUL. */
  nul: boolean;
  /** What is left out though it was asked for: whole sentences. */
  warnings: string[];
}

export type Check = (value: unknown, pass: Pass) => Problem | undefined;

export type JsonObject = Record<string, unknown>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A value that is wrong whatever the rest says. */
export const wrong = (value: unknown, expected: string, hint?: string): Problem => ({
  path: "",
  value,
  says: `it must be ${expected}`,
  ...(hint === undefined ? {} : { hint }),
});

/** A value that would be good if others were different. `path` is where it is, from the object or list that the rule is about. */
export const clash = (path: string, value: unknown, says: string, hint?: string): Problem => ({
  path,
  value,
  says,
  code: "CONFIG_CONFLICT",
  ...(hint === undefined ? {} : { hint }),
});

/** The same problem, seen from one step further up. */
export function within(segment: string | number, problem: Problem): Problem {
  problem.path = step(segment) + problem.path;
  return problem;
}

/** `.limit`, `[3]`, `["net.ipv4.ip_forward"]`. */
function step(segment: string | number): string {
  if (typeof segment === "number") return `[${segment}]`;
  return /^[A-Za-z_]\w*$/.test(segment) ? `.${segment}` : `[${JSON.stringify(segment)}]`;
}

/** One check for each field of the type. */
type Fields<T> = { readonly [Name in keyof T]-?: Check };

/**
 * Properties that `fields` does not name are left alone, unless the case of letters is all that differs. `rule` is about
 * several properties together; it sees only good ones, and may mend them.
 */
export function object<T extends object>(
  fields: Fields<T>,
  required: readonly (keyof T & string)[] = [],
  rule?: (value: T, pass: Pass) => Problem | undefined,
): Check {
  const checks = table<Check>(fields);
  return (value, pass) => {
    if (!isObject(value)) return wrong(value, "an object");
    for (const key in value) {
      const name = checks[key] === undefined ? nameInOtherCase(value, key, checks, pass) : key;
      const check = checks[name];
      if (check === undefined) continue;
      const member = value[name];
      if (member === null || member === "") {
        delete value[name];
        continue;
      }
      const problem = check(member, pass);
      if (problem !== undefined) return within(name, problem);
    }
    for (let i = 0; i < required.length; i++) {
      const name = required[i] as string;
      if (value[name] !== undefined) continue;
      const problem = checks[name]?.(undefined, pass);
      if (problem !== undefined) return within(name, { ...misspelled(name, value, checks), ...problem });
    }
    // Every field of T has been checked.
    return rule?.(value as T, pass);
  };
}

/** A hint for what is missing: another property, which no config has, may be meant for it. */
function misspelled(name: string, value: JsonObject, known: Readonly<Record<string, unknown>>): { hint?: string } {
  const key = nearest(
    name,
    Object.keys(value).filter((other) => known[other] === undefined),
  );
  return key === undefined ? {} : { hint: `there is ${JSON.stringify(key)}: did you mean ${name}?` };
}

/**
 * Go's decoder takes `pagesize` for `pageSize`, and so runc does: a `readOnly` that is ignored would be a root that is
 * writable. The property gets its right name; its own stays where that one is there too, or none is near.
 */
function nameInOtherCase(value: JsonObject, key: string, known: Readonly<Record<string, unknown>>, pass: Pass): string {
  for (const name in known) {
    if (name.length !== key.length || name in value || name.toLowerCase() !== key.toLowerCase()) continue;
    value[name] = value[key];
    delete value[key];
    const warning = `the property ${key} is taken for ${name}`;
    if (!pass.warnings.includes(warning)) pass.warnings.push(warning);
    return name;
  }
  return key;
}

export function list<T>(item: Check, rule?: (value: T[], pass: Pass) => Problem | undefined): Check {
  return (value, pass) => {
    if (!Array.isArray(value)) return wrong(value, "a list");
    for (let i = 0; i < value.length; i++) {
      const problem = item(value[i], pass);
      if (problem !== undefined) return within(i, problem);
    }
    return rule?.(value, pass);
  };
}

/** An object whose property names are names of something: of devices, files, settings. */
export function record(item: Check, name: Check = text): Check {
  return (value, pass) => {
    if (!isObject(value)) return wrong(value, "an object");
    for (const key in value) {
      const problem = name(key, pass) ?? item(value[key], pass);
      if (problem !== undefined) return within(key, problem);
    }
    return undefined;
  };
}

/** A string that may go to the kernel, which would take a NUL for its end. */
export const text: Check = (value, { nul }) =>
  typeof value !== "string"
    ? wrong(value, "a string")
    : nul && value.includes("\0")
      ? wrong(value, "a string without NUL characters")
      : undefined;

/** A string with a form of its own. */
export function textLike(expected: string, fits: (value: string) => boolean): Check {
  return (value, pass) => (typeof value === "string" && fits(value) ? text(value, pass) : wrong(value, expected));
}

export const absolutePath: Check = textLike("an absolute path", (value) => value.charCodeAt(0) === 47);

export const boolean: Check = (value) => (typeof value === "boolean" ? undefined : wrong(value, "true or false"));

export function integer(
  min: number,
  max: number,
  expected = `a whole number from ${min} to ${max}`,
  hint?: (value: unknown) => string | undefined,
): Check {
  return (value) =>
    typeof value === "number" && value >= min && value <= max && Number.isInteger(value)
      ? undefined
      : wrong(value, expected, hint?.(value));
}

export const uint16 = integer(0, 65_535);
export const uint32 = integer(0, 4_294_967_295);
/**
 * Of a user or group. (uid_t) -1 is none: setresuid(2) and chown(2) take it for "leave it as it is", so who asked for it would
 * be root (as CVE-2024-40635).
 */
export const accountId = integer(0, 4_294_967_294, undefined, noIdHint);

/** For who has asked for (uid_t) -1. */
export function noIdHint(value: unknown): string | undefined {
  return value === -1 || value === 4_294_967_295
    ? '4294967295, which is -1, is no id: system calls take it for "leave it as it is"; 65534 is nobody'
    : undefined;
}

/** A whole number that may pass 2^53 and then is a bigint. See `parseJsonExactly`. */
export function wideInteger(min: bigint, max: bigint, expected: string): Check {
  const [low, high] = [Number(min), Number(max)];
  return (value, pass) => {
    if (typeof value === "bigint") return value >= min && value <= max ? undefined : wrong(value, expected);
    if (typeof value !== "number" || value < low || value > high || !Number.isInteger(value))
      return wrong(value, expected);
    if (!Number.isSafeInteger(value)) pass.rounded = true;
    return undefined;
  };
}

// The text in full: QuickJS cannot be relied on to write a bigint from 2^63 up, see decimal() in json-text.ts.
export const uint64 = wideInteger(0n, 2n ** 64n - 1n, "a whole number from 0 to 18446744073709551615");
/** -1 is no limit. */
export const limit64 = wideInteger(-1n, 2n ** 63n - 1n, "a whole number from 0 to 9223372036854775807, or -1 for none");

/** One of some names. `fit` is what they are, where they are too many to list. */
export function oneOf(names: readonly string[], fit = listOf(names)): Check {
  const known = table(Object.fromEntries(names.map((name) => [name, true])));
  return (value) =>
    typeof value === "string" && known[value] === true
      ? undefined
      : wrong(value, fit, typeof value === "string" ? didYouMean(value, names) : undefined);
}

const listOf = (names: readonly string[]): string =>
  names.length === 1 ? String(names[0]) : `one of ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;

/** Without the names that every object inherits: `toString` is no field. */
export const table = <Value>(entries: Readonly<Record<string, Value>>): Record<string, Value | undefined> =>
  Object.assign(Object.create(null), entries);

/** `root` names the document: `process`, or nothing for a whole config. */
export function configError(
  root: string,
  { path, value, says, hint, code = "CONFIG_INVALID" }: Problem,
): ContainerError {
  const field = (root + path).replace(/^\./, "") || "config.json";
  const state = value === undefined ? "is missing" : `is ${shown(value)}`;
  return new ContainerError(code, `${field} ${state}: ${says}`, {
    field,
    ...(hint === undefined ? {} : { hint }),
  });
}

const MAX_SHOWN = 64;

function shown(value: unknown): string {
  const text = stringifyExactly(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
