/**
 * Text for POSIX sh: words, comments, here-documents, names of variables.
 *
 * Only `word` may put a value that came from outside into a script. POSIX.1-2024, Shell Command Language, 2.2 "Quoting".
 */

/** Characters that no shell gives a meaning to, wherever they stand in a word. A leading `-` is the command's business. */
const PLAIN = /^[A-Za-z0-9_@%+:,./-]+$/;

/** One word that the shell expands to exactly `text`. Throws for NUL, which no argument of a program can hold. */
export function word(text: string): string {
  if (text.includes("\0")) throw new Error("a shell word cannot hold a NUL character");
  // Within single quotes nothing has a meaning but the closing quote, newlines included.
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A command line: each argument a word. */
export function command(...args: readonly string[]): string {
  return args.map(word).join(" ");
}

/** A comment, wrapped; newlines and control characters of `text` cannot end it. */
export function comment(text: string, width = 100): string[] {
  return wrap(oneLine(text), width - 2).map((line) => `# ${line}`.trimEnd());
}

/** A here-document that the shell does not expand. Its end mark occurs nowhere in the body. */
export function hereDocument(before: string, mark: string, body: readonly string[]): string[] {
  const lines = body.flatMap((part) => part.split("\n"));
  let end = mark;
  while (lines.includes(end)) end += "_";
  return [`${before} <<'${end}'`, ...lines, end];
}

/** A name for the shell variable that stands for a slot. */
export function variable(slot: string): string {
  return slot.replaceAll(/[^A-Za-z0-9_]/g, "_").replace(/^(?=[0-9])/, "_");
}

/** Words of a text put into lines of at most `width` characters; a longer word stands alone. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const part of text.split(" ")) {
    if (line !== "" && line.length + 1 + part.length > width) {
      lines.push(line);
      line = part;
    } else {
      line = line === "" ? part : `${line} ${part}`;
    }
  }
  return [...lines, line];
}

/** Control characters as `\x..`, so that a value can be shown on one line of a comment or a terminal. */
export function oneLine(text: string): string {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const control = code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029;
    out += control ? `\\x${code.toString(16).padStart(2, "0")}` : character;
  }
  return out;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** RFC 4648, in lines of 76 characters. QuickJS has no `btoa`. */
export function base64(bytes: Uint8Array): string[] {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b, c] = bytes.subarray(i, i + 3);
    text += BASE64.charAt(a >> 2) + BASE64.charAt(((a & 3) << 4) | ((b ?? 0) >> 4));
    text += b === undefined ? "=" : BASE64.charAt(((b & 15) << 2) | ((c ?? 0) >> 6));
    text += c === undefined ? "=" : BASE64.charAt(c & 63);
  }
  return text.match(/.{1,76}/g) ?? [];
}
