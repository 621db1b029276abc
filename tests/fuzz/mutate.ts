/**
 * Inputs from other inputs. JSON is changed as a value (a member gone, doubled, of another type, with a name that it should not
 * have) or as text; everything else as words, lines and bytes, with words of the sources in between.
 */
import { readdirSync, readFileSync } from "node:fs";
import { root } from "../../scripts/link-host.ts";

/** Numbers that look random and follow from the seed. */
export class Chance {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 up to, but not, `below`. Mulberry32. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % Math.max(1, below);
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }
}

const SOURCES = [
  "src/spec",
  "src/plan",
  "src/plan/cgroup",
  "src/cli",
  "src/cli/runtime",
  "src/dbus",
  "src/engine/containers/config",
];

/** Every short string and property name of the sources that look at inputs. */
export const WORDS: readonly string[] = [
  ...new Set(
    SOURCES.flatMap((directory) =>
      readdirSync(`${root}/${directory}`)
        .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
        .sort()
        .flatMap((name) => {
          const text = readFileSync(`${root}/${directory}/${name}`, "utf8").replace(/^import .*$/gm, "");
          const strings = Array.from(text.matchAll(/"([^"\n ]{1,40})"/g), ([, word = ""]) => word);
          const names = Array.from(text.matchAll(/\b([a-z][A-Za-z]{2,24})\??:/g), ([, word = ""]) => word);
          const flags = Array.from(text.matchAll(/--[a-z][a-z-]+/g), ([word]) => word);
          // An error that says "undefined" is one that nobody wrote: inputs do not say it.
          return [...strings, ...names, ...flags].filter((word) => word !== "undefined");
        }),
    ),
  ),
];

const NUMBERS = [
  ...[0, -0, 1, -1, 2, 3, 1.5, 100, 255, 256, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53],
  ...[2 ** 53 + 2, 2 ** 63, 2 ** 64, -(2 ** 63), 1e300, 1e-7, 4096, 1000, 268_435_456],
];

const TEXTS = [
  ...[
    "",
    "/",
    "//",
    "/..",
    "../../..",
    "/a/../../b",
    "/.",
    "a\0b",
    "/a\0",
    "\ud800",
    "\udcff",
    "é",
    "\u202e",
    "a\nb",
    "a b",
    "'",
    '"',
    "$(x)",
    "`",
  ],
  ...[
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "length",
    "/proc",
    "/proc/self/exe",
    "/proc/1/root",
    "/sys",
  ],
  ...[
    "/dev/null",
    "/sys/fs/cgroup",
    "/etc/passwd",
    "rbind",
    "mode=755",
    "uid=0,gid=0",
    "a:b:c",
    "0:0:1",
    "0-3",
    "0-0-0",
    "1,2,",
    "-1",
  ],
  ...[
    "system.slice:tupper:box",
    "/a/b",
    "..",
    ".",
    "%s%n",
    "x".repeat(300),
    "\\",
    "{}",
    "@as []",
    "uint64 5",
    "<1>",
    "1.0.0",
    "C.UTF-8",
  ],
];

/** Texts that JSON.stringify never writes. */
const RAW = [
  "1e400",
  "-1e400",
  "18446744073709551615",
  "9007199254740993",
  "-0",
  "1E5",
  "nul",
  "NaN",
  "\\ud800",
  "\\u0000",
  '"__proto__":{}',
  "[[[[[[",
  '{"a":',
  "\u00a0",
  "//",
  ",,",
];

type Members = Record<string | number, unknown>;

const isMembers = (value: unknown): value is Members => typeof value === "object" && value !== null;

/** Objects and lists in a value, itself first. */
function containers(value: unknown, found: Members[] = []): Members[] {
  if (!isMembers(value) || found.length > 2000) return found;
  found.push(value);
  for (const member of Object.values(value)) containers(member, found);
  return found;
}

function someValue(chance: Chance, depth = 0): unknown {
  switch (chance.below(depth > 3 ? 5 : 8)) {
    case 0:
      return chance.of(NUMBERS);
    case 1:
      return chance.of(TEXTS);
    case 2:
    case 3:
      return chance.of(WORDS);
    case 4:
      return chance.of([true, false, null]);
    case 5:
      return Array.from({ length: chance.below(4) }, () => someValue(chance, depth + 1));
    case 6:
      return Object.fromEntries(
        Array.from({ length: chance.below(4) }, () => [chance.of(WORDS), someValue(chance, depth + 1)]),
      );
    default: {
      let deep: unknown = chance.of(TEXTS);
      for (let i = chance.below(60); i > 0; i--) deep = chance.below(2) === 0 ? [deep] : { [chance.of(WORDS)]: deep };
      return deep;
    }
  }
}

/** Changes one thing in a value that JSON.parse made. `donor` is another such value: parts of it may move in. */
function changeValue(value: unknown, donor: unknown, chance: Chance): void {
  const members = chance.of(containers(value));
  if (members === undefined) return;
  const keys = Object.keys(members);
  const key = chance.of(keys);
  const set = (name: string, to: unknown) =>
    Object.defineProperty(members, name, { value: to, enumerable: true, configurable: true, writable: true });
  switch (chance.below(10)) {
    case 0:
      if (Array.isArray(members)) members.splice(chance.below(members.length), 1);
      else if (key !== undefined) delete members[key];
      return;
    case 1:
      if (Array.isArray(members)) members.push(structuredClone(chance.of(members)));
      else if (key !== undefined) set(chance.of(WORDS), members[key]);
      return;
    case 2:
    case 3:
      if (key !== undefined) set(key, someValue(chance));
      return;
    case 4:
      set(
        Array.isArray(members) ? String(members.length) : chance.of(chance.below(9) === 0 ? TEXTS : WORDS),
        someValue(chance),
      );
      return;
    case 5:
      if (key !== undefined && typeof members[key] === "string") set(key, changeText(members[key], chance));
      return;
    case 6: {
      const from = chance.of(containers(donor));
      const name = from === undefined ? undefined : chance.of(Object.keys(from));
      if (from !== undefined && name !== undefined)
        set(Array.isArray(members) ? String(members.length) : name, structuredClone(from[name]));
      return;
    }
    case 7:
      if (key !== undefined && typeof members[key] === "number")
        set(key, members[key] + chance.of([1, -1, 0.5, 2 ** 32]));
      return;
    case 8:
      if (Array.isArray(members)) members.reverse();
      else if (key !== undefined) set(key, chance.of(["", null, [], {}]));
      return;
    default:
      if (Array.isArray(members) && members.length > 0 && members.length < 50)
        for (let i = chance.below(40); i > 0; i--) members.push(structuredClone(members[0]));
  }
}

function changeText(text: string, chance: Chance): string {
  const at = chance.below(text.length + 1);
  switch (chance.below(4)) {
    case 0:
      return text.slice(0, at) + chance.of(TEXTS) + text.slice(at);
    case 1:
      return text.slice(0, at);
    case 2:
      return text.slice(0, at) + chance.of(WORDS) + text.slice(at + chance.below(8));
    default:
      return text.slice(0, at) + String.fromCharCode(chance.below(256)) + text.slice(at + 1);
  }
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

const MAX_BYTES = 40_000;

/** One to four changes of bytes as bytes. */
function changeBytes(bytes: Uint8Array, other: Uint8Array, chance: Chance): Buffer {
  let result = Buffer.from(bytes);
  for (let i = 1 + chance.below(4); i > 0; i--) {
    const at = chance.below(result.length + 1);
    const insert = (piece: Uint8Array, over: number) => {
      result = Buffer.concat([result.subarray(0, at), piece, result.subarray(at + over)]);
    };
    switch (chance.below(9)) {
      case 0:
        if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << chance.below(8));
        break;
      case 1:
        if (at < result.length) result[at] = chance.below(256);
        break;
      case 2:
        insert(Buffer.alloc(0), chance.below(32));
        break;
      case 3:
        insert(Buffer.from(chance.of(WORDS)), chance.below(2) * chance.below(12));
        break;
      case 4:
        insert(Buffer.from(chance.of([...TEXTS, ...RAW])), chance.below(3));
        break;
      case 5: {
        const from = chance.below(result.length);
        insert(result.subarray(from, from + chance.below(64)), 0);
        break;
      }
      case 6: {
        const from = chance.below(other.length);
        insert(other.subarray(from, from + chance.below(200)), chance.below(64));
        break;
      }
      case 7:
        insert(
          Buffer.from([chance.of([0, 10, 32, 44, 45, 58, 61, 0x27, 0x22, 0x5b, 0x7b, 0x28, 0x3c, 0xff, 0xc3])]),
          0,
        );
        break;
      default:
        insert(Buffer.from(String(chance.of(NUMBERS))), chance.below(6));
    }
  }
  return result;
}

/** What stands between the parts of an input. */
export type Form = "json" | "bytes" | "words" | "lines" | "parts";

const SEPARATORS: Partial<Record<Form, string>> = { words: "\0", lines: "\n", parts: "\n---\n" };

export function mutate(form: Form, bytes: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  const changed = form === "bytes" ? changeBytes(bytes, other, chance) : changeForm(form, bytes, other, chance);
  return changed.subarray(0, MAX_BYTES);
}

function changeForm(form: Form, bytes: Uint8Array, other: Uint8Array, chance: Chance): Buffer {
  if (chance.below(form === "json" ? 12 : 4) === 0) return changeBytes(bytes, other, chance);
  const separator = SEPARATORS[form];
  if (separator === undefined) {
    const value = parsed(bytes);
    if (!isMembers(value)) return changeBytes(bytes, other, chance);
    const donor = parsed(other);
    for (let i = 1 + chance.below(chance.of([1, 2, 4, 8])); i > 0; i--) changeValue(value, donor, chance);
    return Buffer.from(JSON.stringify(value));
  }
  const pieces = Buffer.from(bytes).toString("latin1").split(separator);
  const theirs = Buffer.from(other).toString("latin1").split(separator);
  for (let i = 1 + chance.below(3); i > 0; i--) {
    const at = chance.below(pieces.length);
    const piece = pieces[at] ?? "";
    switch (chance.below(7)) {
      case 0:
        pieces.splice(at, form === "parts" ? 0 : 1);
        break;
      case 1:
        pieces.splice(at, 0, chance.of(theirs));
        break;
      case 2:
        pieces.splice(at, 0, chance.of(chance.below(3) === 0 ? TEXTS : WORDS));
        break;
      case 3:
        pieces[at] = `${piece.replace(/=.*$/s, "")}=${chance.of(chance.below(2) === 0 ? TEXTS : WORDS)}`;
        break;
      case 4:
        pieces[at] = String(chance.of(NUMBERS));
        break;
      default: {
        const within = /^\s*[[{]/.test(piece) ? "json" : "bytes";
        const changed = mutate(within, Buffer.from(piece, "latin1"), Buffer.from(chance.of(theirs), "latin1"), chance);
        pieces[at] = Buffer.from(changed).toString("latin1");
      }
    }
  }
  return Buffer.from(pieces.join(separator), "latin1");
}
