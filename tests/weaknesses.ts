/**
 * The naive code that attacks are first tried on (docs/security.md). `scripts/build.ts --weakened` makes build/weakened/tupper of
 * the sources with these edits; `TUPPER_WEAK=drop:mask,path-mounts` switches some of them on in it. An edit whose text is not in
 * the source any more breaks that build. The binary that is shipped is made without this file (tests/weakened.test.ts).
 */

interface Edit {
  file: string;
  /** Text of the source, there once. */
  find: string;
  /** `isWeak("name")` says whether the switch is on. */
  replace: string;
}

export const EDITS: readonly Edit[] = [
  {
    // `drop:OP`: the plan without the steps of this name.
    file: "src/execute/init.ts",
    find: "  const perform = performers[step.op]",
    replace: "  if (isWeak('drop:' + step.op)) return;\n  const perform = performers[step.op]",
  },
  {
    file: "src/execute/parent.ts",
    find: "  const perform = performers[step.op]",
    replace: "  if (isWeak('drop:' + step.op)) return;\n  const perform = performers[step.op]",
  },
];
