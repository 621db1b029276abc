/** Aligned columns for people. */
import type { Colors } from "./terminal.ts";

/** A head and rows, two spaces between columns, the last column not padded. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[], colors: Colors): string {
  const widths = head.map(({ length }) => length);
  // Loops: a list may be long.
  for (const row of rows)
    for (let column = 0; column < row.length; column++)
      widths[column] = Math.max(widths[column] ?? 0, row[column]?.length ?? 0);
  const line = (row: readonly string[]) => {
    let text = row[0] ?? "";
    for (let column = 1, width = 0; column < row.length; column++) {
      width += (widths[column - 1] ?? 0) + 2;
      text = text.padEnd(width) + (row[column] ?? "");
    }
    return text.trimEnd();
  };
  let text = `${colors.dim(line(head))}\n`;
  for (const row of rows) text += `${line(row)}\n`;
  return text;
}

/** Names and arguments come from others: no control character of theirs reaches the terminal. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cs}]/gu, "?");

/** The same for the cells of a table; few have any, so all are looked at in one go. */
export const printableRows = (rows: string[][]): string[][] =>
  needsNoEscape(rows.join()) ? rows : rows.map((row) => row.map(printable));

/** Whether all are characters that a URI may have. A quarter of the time that a regular expression takes. */
const needsNoEscape = (text: string): boolean => text.isWellFormed() && encodeURI(text).length === text.length;

/** The same for text of several lines. */
export const printableLines = (text: string): string => text.replace(/[^\P{Cc}\n\t]|\p{Cs}/gu, "?");

/** JSON in which they are escapes too: JSON.stringify leaves DEL and those of 0x80 to 0x9f as they are. */
export const printableJson = (text: string): string =>
  text.replace(/[\u007f-\u009f]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** At most so many characters, with a sign that something was left out. */
export function shorten(text: string, length: number): string {
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : text;
}
