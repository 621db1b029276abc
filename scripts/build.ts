/**
 * Builds `build/tupper` (and `build/tupper-runtime`, the same file) and, with `--sanitize`, `build/tupper-sanitize`; with
 * `--weakened`, `build/weakened/tupper`, which attacks are first tried on (tests/weaknesses.ts).
 *
 * 1. sys glue from host/sys.table; 2. the TypeScript bundled by esbuild; 3. QuickJS and the host by musl-gcc, static
 * and non-PIE; 4. a training build that shows which parts of the heap commands need (placement.ts); 5. the binary run
 * once to evaluate the bundle into places that follow from that; 6. the heap it ends with put into .snap and, what is
 * rarely used, compressed into .cold.
 * The result depends on nothing but the sources and the tools: two builds are byte-identical (tests/host.test.ts).
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { resolve } from "node:path";
import type { EncodedSourceMap } from "@jridgewell/trace-mapping";
import { build as esbuild, type Plugin } from "esbuild";
import { defaultSeccompProgram } from "../src/plan/seccomp/default-program.ts";
import { NAMES, NUMBERS } from "../src/plan/seccomp/syscall-numbers.ts";
import { compress, writeNoBlocks } from "./cold.ts";
import { generate } from "./generate.ts";
import { lineMapOf } from "./line-map.ts";
import {
  buildInit,
  compileQuickjs,
  freezeHeap,
  linkHost,
  makeHeap,
  QUICKJS_FLAGS,
  quickjs,
  root,
  run,
} from "./link-host.ts";
import { placeBlocks } from "./placement.ts";
import { coveredQuickjs, LEFT_OUT_NAME } from "./quickjs-source.ts";
import { target } from "./target.ts";
import { weakened } from "./weakened.ts";

/** The bundle and its map of lines. */
async function bundle(outfile: string, plugins: Plugin[] = []): Promise<void> {
  await esbuild({
    entryPoints: [`${root}/src/main.ts`],
    outfile,
    absWorkingDir: root,
    // node_modules may be a link; what it leads to is no part of the result.
    preserveSymlinks: true,
    bundle: true,
    format: "iife",
    target: "es2023",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    alias: Object.fromEntries(
      ["child_process", "events", "fs", "path", "process", "util"].map((name) => [
        `node:${name}`,
        `${root}/src/cli/node-shims/${name}.ts`,
      ]),
    ),
    sourcemap: "external",
    sourcesContent: false,
    legalComments: "none",
    minifySyntax: true,
    // Every name of a variable would be an atom in the snapshot. Lines stay, for stack traces.
    minifyIdentifiers: true,
    keepNames: false,
    logLevel: "warning",
    plugins: [
      ...plugins,
      {
        name: "evaluated-modules",
        setup: (build) => {
          build.onLoad({ filter: /seccomp\/default-program\.ts$/ }, () => ({
            contents: `export const defaultSeccompProgram = new Uint8Array([${defaultSeccompProgram.join()}]);`,
          }));
          build.onLoad({ filter: /seccomp\/compiler-version\.ts$/ }, () => ({
            contents: `export const COMPILER_VERSION = "${seccompCompilerVersion()}";`,
          }));
          build.onLoad({ filter: /seccomp\/syscall-numbers\.ts$/ }, () => ({ contents: syscallNumbersModule() }));
        },
      },
    ],
    define: {
      __ARCH__: JSON.stringify(target.arch),
      __VERSION__: JSON.stringify(version()),
      __COMMIT__: JSON.stringify(commit()),
    },
  });
  const missing = LEFT_OUT_NAME.exec(readFileSync(outfile, "utf8"))?.[0];
  if (missing !== undefined)
    throw new Error(`${missing}: not all of Math is in this QuickJS: scripts/quickjs-source.ts`);
  const map = `${outfile}.map`;
  writeFileSync(map, JSON.stringify(lineMapOf(JSON.parse(readFileSync(map, "utf8")) as EncodedSourceMap)));
}

/**
 * The two command lines take two thirds of the evaluation. The sanitizer build evaluates at each start, so there an
 * object stands in their place that evaluates them when it is first used.
 */
const lazyPrograms: Plugin = {
  name: "lazy-programs",
  setup: (build) => {
    build.onResolve({ filter: /\/program\.ts$/ }, ({ path, resolveDir, kind }) =>
      kind === "import-statement" ? { path: resolve(resolveDir, path), namespace: "lazy" } : undefined,
    );
    build.onLoad({ filter: /./, namespace: "lazy" }, ({ path }) => {
      const name = path.includes("/runtime/") ? "runtimeProgram" : "program";
      const contents = `export const ${name} = new Proxy({}, {
        get(_, key) {
          const program = require(${JSON.stringify(path)}).${name};
          return typeof program[key] === "function" ? program[key].bind(program) : program[key];
        },
      });`;
      return { contents, resolveDir: root };
    });
  },
};

/** A digest of what decides which program a profile becomes, and which profiles are refused. */
function seccompCompilerVersion(): string {
  const directory = `${root}/src/plan/seccomp`;
  const sources = readdirSync(directory).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  const paths = [...sources.map((name) => `${directory}/${name}`), `${root}/src/spec/seccomp-schema.ts`];
  const digest = createHash("sha256");
  for (const path of paths.sort()) digest.update(readFileSync(path));
  return digest.digest("hex").slice(0, 16);
}

function syscallNumbersModule(): string {
  const arrays = Object.entries(NUMBERS).map(([arch, numbers]) => `${arch}:Int32Array.of(${numbers.join()})`);
  return `export const NAMES = ${JSON.stringify(NAMES)}; export const NUMBERS = {${arrays.join()}};`;
}

/** Two builds of one commit are equal; a checkout with changes is marked. Sources without git can be told theirs. */
function commit(): string {
  const { TUPPER_COMMIT: told } = process.env;
  if (told !== undefined) return told;
  const git = (...args: string[]) => execFileSync("git", args, { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
  try {
    return git("describe", "--always", "--dirty", "--abbrev=12", "--match", "v[0-9]*").toString().trim();
  } catch {
    return "unknown"; // not a checkout, or no git
  }
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  if (typeof manifest === "object" && manifest !== null && "version" in manifest) return String(manifest.version);
  throw new Error("package.json has no version");
}

async function buildTupper(): Promise<void> {
  const [objects, observed] = await Promise.all([
    compileQuickjs(target.muslGcc, QUICKJS_FLAGS),
    // Not -O0: what a call is given by value would be read unseen.
    compileQuickjs(target.muslGcc, [...QUICKJS_FLAGS, "-O1", "-fsanitize=thread"]),
  ]);
  const init = buildInit();
  const { placement, hotBytes, coldBytes, order } = await placeBlocks({ objects: observed, init });
  const pool = { hotKiB: Math.ceil(hotBytes / 4096) * 4, coldKiB: Math.ceil(coldBytes / 4096) * 4 };
  const host = `${root}/build/host`;
  const out = `${root}/build/${target.directory}`;
  mkdirSync(out, { recursive: true });
  const [tupper, runtime] = [`${out}tupper`, `${out}tupper-runtime`];
  const compressed = `${host}.cold.lz4`;
  writeNoBlocks(compressed);
  linkHost({ objects, init, output: host, pool, cold: compressed, order });
  const { hot, cold } = makeHeap(host, placement);
  // Linked once more: nothing else moves by it, so the heap stays true.
  writeFileSync(compressed, compress(readFileSync(cold)));
  linkHost({ objects, init, output: host, pool, cold: compressed, hotBytes: statSync(hot).size, order });
  const frozen = `${host}.frozen`;
  freezeHeap(host, hot, frozen);
  for (const path of [tupper, runtime]) rmSync(path, { force: true });
  writeInPages(tupper, readFileSync(frozen));
  for (const path of [frozen, hot, cold, compressed]) rmSync(path);
  linkSync(tupper, runtime);
  const size = (name: string) => `${Math.round(statSync(`${root}/build/${name}`).size / 1024)} KiB`;
  console.error(
    `build/${target.directory}tupper: ${size(`${target.directory}tupper`)}; bundle ${size("bundle.js")}; heap ${pool.hotKiB} KiB hot, ${pool.coldKiB} KiB cold`,
  );
}

/**
 * The page cache keeps what one call wrote as one piece, and since Linux 6.18 a fault maps the whole piece, up to 2 MB,
 * cold parts and all. Written by pages, a fault maps 64 KiB, as it does after the file was read from the disk.
 */
function writeInPages(path: string, bytes: Buffer): void {
  const fd = openSync(path, "wx", 0o755);
  for (let at = 0; at < bytes.length; at += 4096) writeSync(fd, bytes, at, Math.min(4096, bytes.length - at));
  closeSync(fd);
}

/** The same sources without snapshot, with libc's allocator, under AddressSanitizer and UndefinedBehaviorSanitizer. */
async function buildSanitized(): Promise<void> {
  // QuickJS shifts and casts in ways that UBSan dislikes by design: address checks for it, both for our own code.
  const objects = await compileQuickjs("gcc", [
    "-O1",
    "-g",
    "-D_GNU_SOURCE",
    '-DCONFIG_VERSION="2025-04-26"',
    "-w",
    "-fwrapv",
    "-fsanitize=address",
    `-DQUICKJS_SOURCE="${coveredQuickjs()}"`,
  ]);
  await bundle(`${root}/build/bundle-sanitize.js`, [lazyPrograms]);
  run(
    `${root}/build/training/host`,
    "--compile",
    `${root}/build/bundle-sanitize.js`,
    `${root}/build/bundle-sanitize.bytecode`,
  );
  run(
    "gcc",
    "-std=gnu11",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-DHOST_PLAIN",
    `-DHOST_BYTECODE="${root}/build/bundle-sanitize.bytecode"`,
    `-DHOST_SOURCE_MAP="${root}/build/bundle-sanitize.js.map"`,
    `-DINIT_PROGRAM="${buildInit()}"`,
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fsanitize-coverage=trace-pc",
    "-isystem",
    quickjs,
    `-I${root}/build/gen`,
    `${root}/host/host.c`,
    ...objects,
    "-lm",
    "-o",
    `${root}/build/tupper-sanitize`,
  );
  rmSync(`${root}/build/tupper-sanitize-runtime`, { force: true });
  linkSync(`${root}/build/tupper-sanitize`, `${root}/build/tupper-sanitize-runtime`);
}

/** Edited sources without snapshot. Only tests run it. */
async function buildWeakened(): Promise<void> {
  const out = `${root}/build/weakened`;
  mkdirSync(out, { recursive: true });
  const [source, bytecode] = [`${out}/bundle.js`, `${out}/bundle.bytecode`];
  await bundle(source, [lazyPrograms, weakened]);
  run(`${root}/build/training/host`, "--compile", source, bytecode);
  linkHost({
    objects: await compileQuickjs(target.muslGcc, QUICKJS_FLAGS),
    init: buildInit(),
    output: `${out}/tupper`,
    plain: { bytecode, map: `${source}.map` },
  });
  rmSync(`${out}/tupper-runtime`, { force: true });
  linkSync(`${out}/tupper`, `${out}/tupper-runtime`);
}

generate(false);
await bundle(`${root}/build/bundle.js`);
const isWanted = (flag: string) => process.argv.includes(`--${flag}`);
if (!isWanted("only")) await buildTupper();
if (isWanted("sanitize")) await buildSanitized();
if (isWanted("weakened")) await buildWeakened();
if (target.suffix === "") {
  // Builds for tests, of older sources than build/tupper: they may not know its records, or the tests' own bundles.
  const stale = [
    ...(isWanted("sanitize") ? [] : ["tupper-sanitize", "tupper-sanitize-runtime"]),
    ...(isWanted("weakened") ? [] : ["weakened"]),
  ];
  for (const name of isWanted("only") ? [] : stale) rmSync(`${root}/build/${name}`, { recursive: true, force: true });
  writeFileSync(`${root}/build/.stamp`, "");
}
