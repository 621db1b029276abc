/** Where a line of the bundle comes from. scripts/line-map.ts writes the map. */

/** A character of `lines` for each line of the bundle. */
export interface LineMap {
  sources: string[];
  /** {@link NOWHERE}; {@link ELSEWHERE} with `source,line;`; else as many lines further as its code is above {@link SAME_LINE}. */
  lines: string;
}

export const NOWHERE = " ";
export const ELSEWHERE = "}";
export const SAME_LINE = 55;

/** `src/….ts:LINE`, or undefined for a line that comes from no file. Lines count from 1. */
export function sourceOf({ sources, lines }: LineMap, wanted: number): string | undefined {
  let [source, line] = [0, 0];
  for (let at = 0, bundleLine = 1; at < lines.length; at++, bundleLine++) {
    const character = lines.charAt(at);
    if (character === ELSEWHERE) {
      const end = lines.indexOf(";", at);
      [source = 0, line = 0] = lines
        .slice(at + 1, end)
        .split(",")
        .map(Number);
      at = end;
    } else if (character !== NOWHERE) line += character.charCodeAt(0) - SAME_LINE;
    if (bundleLine === wanted) return character === NOWHERE ? undefined : `${sources[source]}:${line}`;
  }
  return undefined;
}
