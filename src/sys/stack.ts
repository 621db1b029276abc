/** Stack traces in terms of the TypeScript that was written, by the source map that the build put into the host. */
import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";
import { sys } from "./sys.ts";

/** Replaces each `bundle.js:LINE:COLUMN` of a QuickJS stack trace by `src/….ts:LINE:COLUMN`. */
export function mapStack(stack: string): string {
  let map: TraceMap | undefined;
  return stack.replace(/bundle\.js:(\d+)(?::(\d+))?/g, (whole, line: string, column?: string) => {
    map ??= new TraceMap(sys.sourceMap());
    const {
      source,
      line: originalLine,
      column: originalColumn,
    } = originalPositionFor(map, { line: Number(line), column: Number(column ?? 1) - 1 });
    if (source === null) return whole;
    return `${source.replace(/^(\.\.\/)+/, "")}:${originalLine}:${originalColumn + 1}`;
  });
}
