/** What QuickJS lacks or must not keep from the build: imported first by main.ts. */
import { raw } from "./sys.ts";

// esbuild lowers `using` to code that wants these two symbols.
const symbols = Symbol as unknown as Record<string, symbol>;
symbols.dispose ??= Symbol.for("Symbol.dispose");
symbols.asyncDispose ??= Symbol.for("Symbol.asyncDispose");

// The snapshot froze QuickJS's own seed: every process would draw the same numbers.
Math.random = () => {
  const buffer = new ArrayBuffer(4);
  raw.getrandom(buffer, 0);
  return (new Uint32Array(buffer)[0] ?? 0) / 2 ** 32;
};
