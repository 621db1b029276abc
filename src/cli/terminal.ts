/** Standard output and error as commands see them: text, width, colours. Nothing is looked at before it is asked for. */
import "./node-shims/process.ts";
import picocolors from "picocolors";
import { environmentValue } from "../execute/probe.ts";
import { printable } from "../printable.ts";
import { TCGETS, TIOCGWINSZ } from "../sys/constants.ts";
import { writeAll, writeErr } from "../sys/files.ts";
import { parseWinsize, TERMIOS_SIZE } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";

export { writeErr };

export type Colors = ReturnType<typeof picocolors.createColors>;

const DEFAULT_COLUMNS = 80;

export const writeOut = (text: string): void => writeAll(1, text);
export const writeWarning = (text: string): void => writeErr(`warning: ${printable(text)}\n`);

export const isTerminal = (fd: number): boolean => raw.ioctl(fd, TCGETS, new ArrayBuffer(TERMIOS_SIZE)) === 0;

/** Characters in a line; 80 where nobody says. */
export function columnsOf(fd: number): number {
  const size = new ArrayBuffer(8);
  return (raw.ioctl(fd, TIOCGWINSZ, size) === 0 && parseWinsize(size).columns) || DEFAULT_COLUMNS;
}

/** Only on a terminal, and not where NO_COLOR is set and not empty. no-color.org. */
export const wantsColor = (fd: number): boolean => !environmentValue("NO_COLOR") && isTerminal(fd);

/** The colours of a descriptor, or functions that change nothing. */
export const colorsOf = (fd: number): Colors => picocolors.createColors(wantsColor(fd));
