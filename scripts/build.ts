/**
 * Builds `build/tupper` (and `build/tupper-runtime`, the same file) and, with `--sanitize`, `build/tupper-sanitize`.
 *
 * 1. sys glue from host/sys.table; 2. the TypeScript bundled by esbuild; 3. QuickJS and the host by musl-gcc, static
 * and non-PIE; 4. the binary run once to evaluate the bundle; 5. the heap it ends with put back into section .snap.
 * The result depends on nothing but the sources and the tools: two builds are byte-identical (tests/build.test.ts).
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type DecodedSourceMap,
  decodedMappings,
  type EncodedSourceMap,
  encodedMap,
  TraceMap,
} from "@jridgewell/trace-mapping";
import { build as esbuild } from "esbuild";
import { defaultSeccompProgram } from "../src/plan/seccomp/default-program.ts";
import { generate } from "./generate.ts";

const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
const quickjs = `${root}/build/quickjs/src`;
/** quickjs_frames.c is ours: it includes quickjs.c. */
const FRAMES = `${root}/host/quickjs_frames.c`;
const QUICKJS_FILES = [FRAMES, ...["libregexp", "libunicode", "cutils", "dtoa"].map((name) => `${quickjs}/${name}.c`)];
/** No unwind tables, and only the functions that are called. */
const LEAN = ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-ffunction-sections", "-fdata-sections"];
const QUICKJS_FLAGS = ["-O2", "-D_GNU_SOURCE", '-DCONFIG_VERSION="2025-04-26"', "-w", "-fwrapv", "-fno-ident", ...LEAN];
/** Size of section .snap while its real size is not known yet. */
/** Where the checkout lies is in no message of the binary. */
const PLACELESS = `-ffile-prefix-map=${root}=.`;
const GENEROUS_POOL_KIB = 16384;
const HOST = `${root}/build/host`;

const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { stdio: ["ignore", "pipe", "inherit"], cwd: root });

const runAsync = (command: string, args: string[]) =>
  new Promise<void>((resolve, reject) => {
    spawn(command, args, { stdio: "inherit", cwd: root }).on("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ${args.join(" ")}: exit ${code}`)),
    );
  });

/** The kernel's headers beside musl's, and nothing else of glibc's. */
function kernelHeaders(): string {
  const dir = `${root}/build/kernel-headers`;
  if (!existsSync(dir)) {
    const multiarch = run("gcc", "-print-multiarch").toString().trim();
    mkdirSync(dir);
    symlinkSync("/usr/include/linux", `${dir}/linux`);
    symlinkSync("/usr/include/asm-generic", `${dir}/asm-generic`);
    symlinkSync(`/usr/include/${multiarch}/asm`, `${dir}/asm`);
  }
  return dir;
}

/** QuickJS as objects, compiled once per compiler and flags. */
async function compileQuickjs(compiler: string, flags: string[]): Promise<string[]> {
  const key = createHash("sha256")
    .update([compiler, ...flags, readFileSync(FRAMES, "utf8")].join("\0"))
    .digest("hex")
    .slice(0, 12);
  const dir = `${root}/build/quickjs/${key}`;
  mkdirSync(dir, { recursive: true });
  const objects = QUICKJS_FILES.map((file) => `${dir}/${basename(file, ".c")}.o`);
  const compile = async (file: string, i: number) => {
    const object = objects[i] ?? "";
    if (existsSync(object)) return;
    await runAsync(compiler, [...flags, PLACELESS, `-I${quickjs}`, "-c", file, "-o", `${object}.new`]);
    renameSync(`${object}.new`, object);
  };
  await Promise.all(QUICKJS_FILES.map(compile));
  return objects;
}

/** The bundle, its source map, and the size of the bundle in bytes. */
async function bundle(): Promise<void> {
  await esbuild({
    entryPoints: [`${root}/src/main.ts`],
    outfile: `${root}/build/bundle.js`,
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
      {
        name: "default-seccomp-program",
        setup: (build) =>
          build.onLoad({ filter: /seccomp\/default-program\.ts$/ }, () => ({
            contents: `export const defaultSeccompProgram = new Uint8Array([${defaultSeccompProgram.join()}]);`,
          })),
      },
    ],
    define: { __VERSION__: JSON.stringify(version()) },
  });
  thinSourceMap(`${root}/build/bundle.js.map`);
}

/** Keeps the first mapping of each line: stack traces need no more, and the map is part of the binary. */
function thinSourceMap(path: string): void {
  const map = JSON.parse(readFileSync(path, "utf8")) as EncodedSourceMap;
  const lines = decodedMappings(new TraceMap(map)).map((segments) => segments.slice(0, 1));
  const { version, sources } = map;
  const thin = { version, sources, names: [], mappings: lines } as unknown as DecodedSourceMap;
  writeFileSync(path, JSON.stringify(encodedMap(new TraceMap(thin))));
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  if (typeof manifest === "object" && manifest !== null && "version" in manifest) return String(manifest.version);
  throw new Error("package.json has no version");
}

function buildInit(): string {
  const out = `${root}/build/gen/init`;
  run(
    "gcc",
    "-Os",
    "-static",
    "-nostdlib",
    "-nostartfiles",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-pie",
    "-no-pie",
    "-fno-ident",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none",
    "-Wl,-z,norelro",
    "-Wl,-z,noseparate-code",
    "-s",
    `${root}/host/init.c`,
    "-o",
    out,
  );
  return out;
}

async function buildTupper(): Promise<void> {
  const objects = await compileQuickjs("musl-gcc", QUICKJS_FLAGS);
  const init = buildInit();
  // Once with room to spare, to see how much the heap needs; then with a section of that size.
  linkHost(objects, init, GENEROUS_POOL_KIB);
  const used = snapshot();
  const poolKib = Math.ceil(used / 65536) * 64;
  linkHost(objects, init, poolKib);
  snapshot();
  run("objcopy", "--update-section", `.snap=${root}/build/snapshot`, HOST, `${HOST}.new`);
  rmSync(`${root}/build/snapshot`);
  for (const name of ["tupper", "tupper-runtime"]) rmSync(`${root}/build/${name}`, { force: true });
  renameSync(`${HOST}.new`, `${root}/build/tupper`);
  linkSync(`${root}/build/tupper`, `${root}/build/tupper-runtime`);
  const size = (path: string) => `${Math.round(statSync(`${root}/build/${path}`).size / 1024)} KiB`;
  console.error(
    `build/tupper: ${size("tupper")}; bundle ${size("bundle.js")}; snapshot ${Math.round(used / 1024)} KiB`,
  );
}

function linkHost(objects: string[], init: string, poolKib: number): void {
  run(
    "musl-gcc",
    ...[
      "-std=gnu11",
      "-O2",
      "-Wall",
      "-Wextra",
      "-static",
      "-no-pie",
      "-fno-pie",
      "-fno-ident",
      "-Wl,--gc-sections",
      ...LEAN,
      PLACELESS,
    ],
    ...[`-DPOOL_KIB=${poolKib}`, `-DINIT_PROGRAM="${init}"`],
    ...["-isystem", quickjs, `-I${root}/build/gen`, "-idirafter", kernelHeaders()],
    `${root}/host/host.c`,
    ...objects,
    ...["-lm", "-Wl,--build-id=none", "-Wl,--wrap=gettimeofday", "-s", "-o", HOST],
  );
}

/** Makes build/snapshot and returns how many bytes of it are used. */
function snapshot(): number {
  // -R: no address randomisation while the heap is made, so that it is the same each time.
  return Number(run("setarch", "-R", HOST, "--snapshot", "build/bundle.js", "build/bundle.js.map", "build/snapshot"));
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
  ]);
  copyFileSync(`${root}/build/bundle.js`, `${root}/build/bundle-sanitize.js`);
  copyFileSync(`${root}/build/bundle.js.map`, `${root}/build/bundle-sanitize.js.map`);
  run(
    "gcc",
    "-std=gnu11",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-DHOST_PLAIN",
    `-DHOST_BUNDLE="${root}/build/bundle-sanitize.js"`,
    `-DHOST_SOURCE_MAP="${root}/build/bundle-sanitize.js.map"`,
    `-DINIT_PROGRAM="${buildInit()}"`,
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-isystem",
    quickjs,
    `-I${root}/build/gen`,
    `${root}/host/host.c`,
    ...objects,
    "-lm",
    "-o",
    `${root}/build/tupper-sanitize`,
  );
}

generate(false);
await bundle();
await buildTupper();
if (process.argv.includes("--sanitize")) await buildSanitized();
writeFileSync(`${root}/build/.stamp`, "");
