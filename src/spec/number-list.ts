/** Lists of CPUs and memory nodes, such as `0-3,7`. cpuset(7), "List format". */
import { textLike } from "./check.ts";

/** No machine has that many; a mask for it would be large. runc has the same limit. */
const MAX_NUMBER = 65_536;

/** The ranges of a list; undefined when it is none. Spaces and empty parts are allowed, as runc and the kernel allow them. */
export function parseNumberList(text: string): [first: number, last: number][] | undefined {
  const ranges: [number, number][] = [];
  for (const part of text.split(",")) {
    if (part.trim() === "") continue;
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    if (last < first || last > MAX_NUMBER) return undefined;
    ranges.push([first, last]);
  }
  return ranges.length === 0 ? undefined : ranges;
}

export const numberList = textLike(
  "a list of numbers and ranges such as 0-3,7",
  (text) => parseNumberList(text) !== undefined,
);

/** How many numbers a list names, those of overlapping ranges twice. */
export const countNumbers = (text: string): number =>
  (parseNumberList(text) ?? []).reduce((sum, [first, last]) => sum + last - first + 1, 0);
