/** Lists of processors and memory nodes as masks for the kernel. */
import { parseNumberList } from "../spec/number-list.ts";

/** `0-3,7` as a mask in whole words of 64 bits; undefined when it is no such list. */
export function packNumberList(list: string): ArrayBuffer | undefined {
  const ranges = parseNumberList(list);
  if (ranges === undefined) return undefined;
  const highest = ranges.reduce((most, [, last]) => Math.max(most, last), 0);
  const mask = new Uint8Array((Math.floor(highest / 64) + 1) * 8);
  for (const [first, last] of ranges)
    for (let number = first; number <= last; number++)
      mask[number >> 3] = (mask[number >> 3] ?? 0) | (1 << (number & 7));
  return mask.buffer;
}
