/**
 * Generates what follows from `host/sys.table`: the C glue (`build/gen/sys_glue.h`, not committed)
 * and the typed face with the list of calls (`src/sys/generated.ts`, committed so that it can be read).
 *
 *     tsx scripts/generate.ts            write both
 *     tsx scripts/generate.ts --check    fail when the committed file is stale
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface Argument {
  name: string;
  kind: string;
}

interface Call {
  /** The name in the table: the kernel's, or an alias of ours. */
  name: string;
  syscall: string;
  native: boolean;
  args: Argument[];
  result: string;
  /** The first version of Linux that has it. */
  since: string | undefined;
  /** Whether host/old_kernels.h does it on older ones. */
  standIn: boolean;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const TYPES: Record<string, string> = {
  int: "number | bigint",
  str: "string",
  "str?": "string | null",
  ptr: "ArrayBuffer",
  "ptr?": "ArrayBuffer | null",
  buf: "ArrayBuffer",
  data: "string | ArrayBuffer",
  strs: "readonly string[]",
  fn: "() => void",
  object: "unknown",
};
const RESULTS: Record<string, string> = { int: "number", text: "string | number", object: "unknown" };

const camel = (name: string) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

export function parseTable(text: string): Call[] {
  const calls: Call[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const match = /^(native )?(?:(\w+) = )?(\w+)\(([^)]*)\)(?: (?!since)(\w+))?(?: since (\d+\.\d+)( else)?)?$/.exec(
      line,
    );
    if (!match) throw new Error(`host/sys.table:${index + 1}: cannot read "${line}"`);
    const [, native, alias, syscall = "", args = "", result = "int", since, standIn] = match;
    if (!RESULTS[result]) throw new Error(`host/sys.table:${index + 1}: unknown result "${result}"`);
    calls.push({
      name: alias ?? syscall,
      syscall,
      native: native !== undefined,
      args: parseArguments(args, index),
      result,
      since,
      standIn: standIn !== undefined,
    });
  }
  return calls;
}

function parseArguments(text: string, index: number): Argument[] {
  return text
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const [name = "", kind = ""] = part.trim().split(" ");
      if (!TYPES[kind]) throw new Error(`host/sys.table:${index + 1}: unknown kind "${kind}"`);
      return { name, kind };
    });
}

function typescript(calls: Call[]): string {
  const args = (call: Call) => call.args.map((arg) => `${arg.name}: ${TYPES[arg.kind]}`).join(", ");
  const raw = calls.map((call) => `  ${camel(call.name)}(${args(call)}): ${RESULTS[call.result]};`);
  const names = calls.map((call) => `  ${camel(call.name)}: "${call.native ? call.name : call.syscall}",`);
  const since = calls.filter((call) => call.since !== undefined).map((call) => `  ${call.syscall}: "${call.since}",`);
  return [
    "// Generated from host/sys.table by scripts/generate.ts: do not edit.",
    "",
    "/** The host's calls as they are: a negative result is -errno. */",
    "export interface RawSys {",
    ...raw,
    "}",
    "",
    "/** The kernel's name of each call. */",
    "export const CALL_NAMES = {",
    ...names,
    "} as const satisfies Record<keyof RawSys, string>;",
    "",
    "/** The first Linux that has a call. */",
    "export const SINCE: Readonly<Record<string, string>> = {",
    ...since,
    "};",
    "",
  ].join("\n");
}

/** One C function per plain syscall: take the arguments, call, give back what was taken, return the result or -errno. */
function glue(call: Call): string {
  const take: string[] = [];
  const pass: string[] = [];
  const give: string[] = [];
  for (const [i, { kind }] of call.args.entries()) {
    const value = `a${i}`;
    if (kind === "int") {
      take.push(`int64_t ${value}; if (take_int(ctx, argv[${i}], &${value})) return JS_EXCEPTION;`);
      pass.push(value);
    } else if (kind === "str" || kind === "str?") {
      take.push(
        `struct text ${value}; if (take_text(ctx, argv[${i}], &${value}, ${kind === "str?" ? 1 : 0})) return JS_EXCEPTION;`,
      );
      pass.push(`${value}.bytes`);
      give.push(`give_text(ctx, &${value});`);
    } else if (kind === "strs") {
      take.push(`char **${value} = take_strings(ctx, argv[${i}]); if (!${value}) return JS_EXCEPTION;`);
      pass.push(value);
      give.push(`give_strings(ctx, ${value});`);
    } else if (kind === "data") {
      take.push(`struct text ${value}; if (take_data(ctx, argv[${i}], &${value})) return JS_EXCEPTION;`);
      pass.push(`${value}.bytes`, `${value}.length`);
      give.push(`give_text(ctx, &${value});`);
    } else {
      take.push(
        `struct span ${value}; if (take_span(ctx, argv[${i}], &${value}, ${kind === "ptr?" ? 1 : 0})) return JS_EXCEPTION;`,
      );
      pass.push(`${value}.bytes`);
      if (kind === "buf") pass.push(`${value}.length`);
    }
  }
  const otherwise = call.standIn
    ? [`  if (r < 0) r = old_${call.syscall}(${["r", ...pass].join(", ")});`]
    : call.since === undefined
      ? []
      : [`  if (r < 0) r = absent_is_enosys(SYS_${call.syscall}, r);`];
  return [
    `static JSValue glue_${call.name}(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {`,
    "  (void)self; (void)argc; (void)argv;",
    ...take.map((line) => `  ${line}`),
    `  long r = syscall(${[`SYS_${call.syscall}`, ...pass].join(", ")});`,
    "  if (r < 0) r = -errno;",
    ...otherwise,
    ...give.map((line) => `  ${line}`),
    "  return JS_NewInt64(ctx, r);",
    "}",
  ].join("\n");
}

function cGlue(calls: Call[]): string {
  const entries = calls.map(
    (call) =>
      `  JS_CFUNC_DEF("${camel(call.name)}", ${call.args.length}, ${call.native ? "native" : "glue"}_${call.name}),`,
  );
  return [
    "/* Generated from host/sys.table by scripts/generate.ts: do not edit. */",
    ...calls.filter((call) => !call.native).map(glue),
    "static const JSCFunctionListEntry sys_calls[] = {",
    ...entries,
    "};",
    "",
  ].join("\n");
}

export function generate(check: boolean): void {
  const calls = parseTable(readFileSync(`${root}/host/sys.table`, "utf8"));
  mkdirSync(`${root}/build/gen`, { recursive: true });
  writeFileSync(`${root}/build/gen/sys_glue.h`, cGlue(calls));
  const path = `${root}/src/sys/generated.ts`;
  const wanted = typescript(calls);
  if (!check) writeFileSync(path, wanted);
  else if (readFileSync(path, "utf8") !== wanted)
    throw new Error("src/sys/generated.ts is stale: run npm run generate");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  generate(process.argv.includes("--check"));
}
