/**
 * JSON text to values: with the place of a mistake, and, where it matters, with all digits of large numbers.
 *
 * JSON.parse is native and fast, but says little about where a text is wrong and rounds whole numbers beyond 2^53.
 * Both are made good by a second look at the text, which only those texts get that need it.
 */
import { ContainerError, isOutOfMemory } from "../error.ts";

/** `name` is what people call the document. Throws a {@link ContainerError} with line, column and the text there. */
export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (isOutOfMemory(cause)) throw cause;
    const { offset, expected } = findMistake(text);
    if (expected === SHALLOWER)
      throw new ContainerError("CONFIG_SYNTAX", `${name} is nested too deeply`, { field: name, cause });
    const before = text.slice(0, offset).split("\n");
    const place = `line ${before.length}, column ${(before.at(-1) ?? "").length + 1}`;
    const hint = usualMistake(text, offset);
    throw new ContainerError(
      "CONFIG_SYNTAX",
      `${name} is not JSON: ${place}: ${expected} is missing, ${found(text, offset)}`,
      { field: name, cause, ...(hint === undefined ? {} : { hint }) },
    );
  }
}

/** What people write who know the JSON of editors and of JavaScript. RFC 8259 has none of it. */
function usualMistake(text: string, offset: number): string | undefined {
  const here = text[offset];
  if (here === "\ufeff") return "the file begins with a byte order mark, which JSON does not have: save it without";
  if (here === "/" || here === "#") return "JSON has no comments";
  if (here === "'") return 'strings of JSON stand in double quotes: "…"';
  if ((here === "]" || here === "}") && text.slice(0, offset).trimEnd().endsWith(","))
    return "a comma stands only between two members: the last one before this is too much";
  return undefined;
}

function found(text: string, offset: number): string {
  const rest = text.slice(offset);
  if (rest === "") return "the text ends there";
  const line = rest.split("\n", 1)[0] ?? "";
  return `found ${JSON.stringify(line === "" ? "\n" : line.length > 40 ? `${line.slice(0, 40)}…` : line)}`;
}

/** Numbers, strings (which may hold digits), and the colon that makes a string a name. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LARGE = /^-?\d{16,}$/;
const IS_NUMBER = "n";
const IS_STRING = "s";

/**
 * The same value, but whole numbers beyond 2^53 are bigints. For texts that JSON.parse has taken.
 *
 * Large numbers become strings that begin with NUL for a moment, and strings that begin with NUL get a mark of their own.
 */
export function parseJsonExactly(text: string): unknown {
  const marked = text.replace(STRING_OR_NUMBER, (token: string, colon: string | undefined) => {
    if (colon !== undefined) return token;
    if (LARGE.test(token)) return `"\\u0000${IS_NUMBER}${token}"`;
    return token.startsWith('"\\u0000') ? `"\\u0000${IS_STRING}${token.slice(1)}` : token;
  });
  return JSON.parse(marked, (_, value: unknown) => {
    if (typeof value !== "string" || value[0] !== "\0") return value;
    if (value[1] === IS_STRING) return value.slice(2);
    const exact = BigInt(value.slice(2));
    const rounded = Number(exact);
    return Number.isSafeInteger(rounded) ? rounded : exact;
  });
}

/** The other way: JSON on one line, with bigints as the numbers that they are. */
export function stringifyExactly(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "bigint" ? `\0${IS_NUMBER}${decimal(inner)}` : inner,
  ).replace(/"\\u0000n(-?\d+)"/g, "$1");
}

/**
 * A bigint as text. QuickJS 2025-04-26 counts the leading zeros of a limb that is 0 when it writes a number whose highest
 * limb is 0, such as 2^64 - 1; what comes of it depends on the compiler.
 */
export function decimal(value: bigint): string {
  const HALF = 10_000_000_000n;
  if (value < 2n ** 63n) return String(value);
  return `${value / HALF}${String(value % HALF).padStart(10, "0")}`;
}

interface Mistake {
  offset: number;
  /** Is missing there. */
  expected: string;
}

/** There is nothing wrong but that. JSON.parse gives up somewhere below a depth of so many. */
const SHALLOWER = "a text less deep";
const DEEP = 20_000;

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|[\x7f-\x9f])*"/uy;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** RFC 8259, without recursion: a text may be nested deeper than the stack is. */
function findMistake(text: string): Mistake {
  const open: string[] = [];
  let at = 0;
  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const missing = (expected: string): Mistake => ({ offset: at, expected });

  for (;;) {
    skip(SPACE);
    // A value, or the end of an object or list that has just begun.
    const opening = text[at];
    if (opening === "{" || opening === "[") {
      at++;
      skip(SPACE);
      const closing = opening === "{" ? "}" : "]";
      if (text[at] === closing) at++;
      else {
        if (open.push(closing) > DEEP) return missing(SHALLOWER);
        if (opening === "{") {
          const mistake = skipName();
          if (mistake !== undefined) return mistake;
        }
        continue;
      }
    } else if (opening === '"') {
      if (!skip(STRING)) return unfinishedString(text, at);
    } else if (!skip(SCALAR)) return missing("a value");

    // What follows a value: the ends of what it is in, a comma, the end of the text.
    for (;;) {
      skip(SPACE);
      const closing = open.at(-1);
      if (closing === undefined) {
        return missing(at < text.length ? "the end of the text" : SHALLOWER);
      }
      if (text[at] === closing) {
        at++;
        open.pop();
        continue;
      }
      if (text[at] !== ",") return missing(`, or ${closing}`);
      at++;
      if (closing === "}") {
        const mistake = skipName();
        if (mistake !== undefined) return mistake;
      }
      break;
    }
  }

  function skipName(): Mistake | undefined {
    skip(SPACE);
    if (text[at] !== '"') return missing('a name in "quotes"');
    if (!skip(STRING)) return unfinishedString(text, at);
    skip(SPACE);
    if (text[at] !== ":") return missing(":");
    at++;
    return undefined;
  }
}

const STRING_SO_FAR = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|[\x7f-\x9f])*/uy;

function unfinishedString(text: string, from: number): Mistake {
  STRING_SO_FAR.lastIndex = from;
  STRING_SO_FAR.test(text);
  const offset = STRING_SO_FAR.lastIndex;
  return { offset, expected: text[offset] === "\\" ? "a valid escape" : 'the closing " of a string' };
}
