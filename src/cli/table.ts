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

/** At most so many characters, with a sign that something was left out. */
export function shorten(text: string, length: number): string {
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : text;
}
