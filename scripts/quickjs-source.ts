/**
 * QuickJS as tupper compiles it: Debian's sources with a few places replaced. What is replaced has to be there as often
 * as is said, so a change of QuickJS is noticed by the build and not at run time.
 */
import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SHORTCUTS } from "./quickjs-shortcuts.ts";

const directory = fileURLToPath(new URL("../build/quickjs", import.meta.url));

export interface Replacement {
  from: string;
  to: string;
  times: number;
}

/**
 * References to what lies in the frozen heap are not counted: a count that changes is a page that is copied
 * (docs/adr/0027). js_frozen_end, which the host sets, is where new blocks begin, and 0 while the heap is made.
 */
const uncounted = (count: string, block: string, times: number): Replacement => ({
  from: `${count}++;`,
  to: `if (!JS_IS_FROZEN(${block})) ${count}++;`,
  times,
});
const kept = (from: string, block: string, times = 1): Replacement => ({
  from: `if (${from})`,
  to: `if (!JS_IS_FROZEN(${block}) && ${from})`,
  times,
});
const shared = (block: string, times: number): Replacement => ({
  from: `(${block}->header.ref_count != 1)`,
  to: `(JS_IS_FROZEN(${block}) || ${block}->header.ref_count != 1)`,
  times,
});

/** Functions of Math that nothing of tupper uses, and 24 KB of libc with them. The build fails where the bundle has one, or Math itself, which may be asked for any of them. */
const LEFT_OUT =
  "acos asin atan atan2 cos exp log sin tan cosh sinh tanh acosh asinh atanh expm1 log1p log10 cbrt".split(" ");
export const LEFT_OUT_NAME = new RegExp(`\\bMath\\b(?!\\.(?!(?:${LEFT_OUT.join("|")})\\b)[a-zA-Z]).{0,8}`);
const leftOut = (name: string): Replacement => {
  const [length, form] = name === "atan2" ? [2, "f_f_f"] : [1, "f_f"];
  return { from: `    JS_CFUNC_SPECIAL_DEF("${name}", ${length}, ${form}, ${name} ),\n`, to: "", times: 1 };
};

const HEADER: readonly Replacement[] = [
  {
    from: "#define JS_VALUE_HAS_REF_COUNT(v)",
    to: "extern uintptr_t js_frozen_end;\n#define JS_IS_FROZEN(p) ((uintptr_t)(p) < js_frozen_end)\n#define JS_VALUE_HAS_REF_COUNT(v)",
    times: 1,
  },
  uncounted("p->ref_count", "p", 2),
  kept("--p->ref_count <= 0", "p", 2),
];

const SOURCE: readonly Replacement[] = [
  ...SHORTCUTS,
  ...LEFT_OUT.map(leftOut),
  ...[
    uncounted("p->header.ref_count", "p", 4), // atoms
    kept("--str->header.ref_count <= 0", "str"),
    kept("__JS_AtomIsConst(i)", "str"),
    { from: "if (--p->header.ref_count > 0)", to: "if (JS_IS_FROZEN(p) || --p->header.ref_count > 0)", times: 1 },
  ],
  ...[uncounted("sh->header.ref_count", "sh", 1), kept("unlikely(--sh->header.ref_count <= 0)", "sh")],
  ...[
    uncounted("pr->u.var_ref->header.ref_count", "pr->u.var_ref", 1),
    uncounted(" var_ref->header.ref_count", "var_ref", 6),
    kept("--var_ref->header.ref_count == 0", "var_ref"),
  ],
  ...[
    uncounted("ctx->header.ref_count", "ctx", 1),
    { from: "if (--ctx->header.ref_count > 0)", to: "if (JS_IS_FROZEN(ctx) || --ctx->header.ref_count > 0)", times: 1 },
  ],
  uncounted(" b->header.ref_count", "b", 1),
  // Who is the only one to have it may change it; of what is frozen nobody knows.
  shared("p1", 1),
  shared("sh", 2),
];

function replaced(text: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((whole, { from, to, times }) => {
    const parts = whole.split(from);
    if (parts.length !== times + 1)
      throw new Error(`QuickJS has ${parts.length - 1} of ${JSON.stringify(from)}, not ${times}`);
    return parts.join(to);
  }, text);
}

/** The directory of the sources to compile, made anew where what is replaced has changed. */
export function quickjsSource(): string {
  const original = `${directory}/src`;
  const read = (name: string) => readFileSync(`${original}/${name}`, "utf8");
  const header = replaced(read("quickjs.h"), HEADER);
  const source = replaced(read("quickjs.c"), SOURCE);
  const digest = createHash("sha256").update(header).update(source).digest("hex").slice(0, 12);
  const path = `${directory}/source-${digest}`;
  if (existsSync(path)) return path;
  const unfinished = `${path}.${process.pid}`;
  cpSync(original, unfinished, { recursive: true });
  writeFileSync(`${unfinished}/quickjs.h`, header);
  writeFileSync(`${unfinished}/quickjs.c`, source);
  // Another build may have been as fast.
  if (existsSync(path)) rmSync(unfinished, { recursive: true });
  else renameSync(unfinished, path);
  return path;
}

/**
 * A copy of quickjs.c that calls host_edge (host/coverage.h) with the place in the bytecode where a function begins, and
 * after each jump: there the interpreter looks for interrupts anyway.
 */
export function coveredQuickjs(): string {
  const poll = "if (unlikely(js_poll_interrupts(ctx)))";
  const begin = " restart:\n    for(;;) {\n        int call_argc;";
  const covered = replaced(readFileSync(`${quickjsSource()}/quickjs.c`, "utf8"), [
    { from: poll, to: `host_edge(pc); ${poll}`, times: 7 },
    { from: begin, to: `    host_edge(pc);\n${begin}`, times: 1 },
  ]);
  const text = `void host_edge(const void *place);\n#line 1 "quickjs.c"\n${covered}`;
  const path = `${directory}/covered-${createHash("sha256").update(text).digest("hex").slice(0, 12)}.c`;
  writeFileSync(path, text);
  return path;
}
