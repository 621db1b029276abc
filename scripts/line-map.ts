/**
 * A source map by lines, as it is part of the binary: which line of which file each line of the bundle comes from. Stack
 * traces need no more, and it is a quarter of the usual format's size and wants no library. src/sys/line-map.ts reads it.
 */
import { decodedMappings, type EncodedSourceMap, TraceMap } from "@jridgewell/trace-mapping";
import { ELSEWHERE, type LineMap, NOWHERE, SAME_LINE } from "../src/sys/line-map.ts";

const LEAST = -20;
const MOST = 69;

/** From the map that esbuild writes. */
export function lineMapOf(map: EncodedSourceMap): LineMap {
  let [source, line] = [-1, 0];
  const lines = decodedMappings(new TraceMap(map)).map(([first]) => {
    const [, newSource, newLine] = first ?? [];
    if (newSource === undefined || newLine === undefined) return NOWHERE;
    const distance = newLine + 1 - line;
    const isNear = newSource === source && distance >= LEAST && distance <= MOST;
    [source, line] = [newSource, newLine + 1];
    return isNear ? String.fromCharCode(SAME_LINE + distance) : `${ELSEWHERE}${source},${line};`;
  });
  return { sources: map.sources.map((path) => (path ?? "").replace(/^(\.\.\/)+/, "")), lines: lines.join("") };
}
