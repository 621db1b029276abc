/** The plugin of the weakened build: puts the naive code of tests/weaknesses.ts into the sources, behind its switches. */
import { readFileSync } from "node:fs";
import type { Plugin } from "esbuild";
import { EDITS } from "../tests/weaknesses.ts";
import { root } from "./link-host.ts";

/** `isWeak("name")`, in every edited module: whether TUPPER_WEAK has that name among those with commas between them. */
const SWITCH = `const isWeak = (name) => globalThis.__sys.environment().some((text) =>
  text.startsWith("TUPPER_WEAK=") && text.slice("TUPPER_WEAK=".length).split(",").includes(name));`;

/** Every edit must find its place, once: a test that shows nothing any more fails in the build. */
export const weakened: Plugin = {
  name: "weakened",
  setup: (build) => {
    const left = new Set(EDITS);
    build.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const edits = EDITS.filter(({ file }) => path === `${root}/${file}`);
      if (edits.length === 0) return undefined;
      let contents = readFileSync(path, "utf8");
      for (const edit of edits) {
        const parts = contents.split(edit.find);
        if (parts.length !== 2)
          throw new Error(
            `tests/weaknesses.ts: this is in ${edit.file} ${parts.length - 1} times, not once:\n${edit.find}`,
          );
        contents = parts.join(edit.replace);
        left.delete(edit);
      }
      return { contents: `${contents}\n${SWITCH}\n`, loader: "ts" };
    });
    build.onEnd(() => {
      for (const { file } of left) throw new Error(`tests/weaknesses.ts: ${file} is no part of the bundle`);
    });
  },
};
