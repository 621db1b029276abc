/** Stack traces in terms of the TypeScript that was written, by the map of lines that the build put into the host. */
import { type LineMap, sourceOf } from "./line-map.ts";
import { sys } from "./sys.ts";

/** Replaces each `bundle.js:LINE:COLUMN` of a QuickJS stack trace by `src/….ts:LINE`. */
export function mapStack(stack: string): string {
  let map: LineMap | undefined;
  return stack.replace(/bundle\.js:(\d+)(?::\d+)?/g, (whole, line: string) => {
    map ??= JSON.parse(sys.sourceMap()) as LineMap;
    return sourceOf(map, Number(line)) ?? whole;
  });
}
