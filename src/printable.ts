/** Text of others in what people read: no control character of theirs reaches the terminal, and no line of theirs looks like one of ours. */

/** In one line. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cs}]/gu, "?");

/** The same for the cells of a table; few have any, so all are looked at in one go. */
export const printableRows = (rows: string[][]): string[][] =>
  needsNoEscape(rows.join()) ? rows : rows.map((row) => row.map(printable));

/** Whether all are characters that a URI may have. A quarter of the time that a regular expression takes. */
const needsNoEscape = (text: string): boolean => text.isWellFormed() && encodeURI(text).length === text.length;

/** In text of ours that has several lines: others who can put a name into it can forge one. */
export const printableLines = (text: string): string => text.replace(/[^\P{Cc}\n\t]|\p{Cs}/gu, "?");

/** JSON in which they are escapes too: JSON.stringify leaves DEL and those of 0x80 to 0x9f as they are. */
export const printableJson = (text: string): string =>
  text.replace(/[\u007f-\u009f]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
