/** From C to a host: QuickJS compiled once per compiler and flags, tupper-init, and the link of all of it by musl-gcc. */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { quickjsSource } from "./quickjs-source.ts";
import { target } from "./target.ts";

export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
export const quickjs = quickjsSource();
/** quickjs_frames.c is ours: it includes quickjs.c. */
const FRAMES = `${root}/host/quickjs_frames.c`;
const QUICKJS_FILES = [FRAMES, ...["libregexp", "libunicode", "cutils", "dtoa"].map((name) => `${quickjs}/${name}.c`)];
/** No unwind tables, and only the functions that are called. */
const LEAN = ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-ffunction-sections", "-fdata-sections"];
export const QUICKJS_FLAGS = [
  "-O2",
  "-D_GNU_SOURCE",
  '-DCONFIG_VERSION="2025-04-26"',
  "-w",
  "-fwrapv",
  "-fno-ident",
  ...LEAN,
];
/** Where the checkout lies is in no message of the binary. */
const PLACELESS = `-ffile-prefix-map=${root}=.`;
/** Room for the heap where no placement says yet how much it takes. */
const TRAINING_POOL_KIB = 16384;
/** The compressed part of the heap begins here, far behind everything else: its size moves nothing. */
const COLD_SECTION = 0x2000000;
/** And here is where it is used: below 2 GiB, as code wants it, and behind what brk(2) may get. */
const COLD_ADDRESS = "0x10000000";
/** Behind both parts of the heap: new blocks. */
const ROOM_ADDRESS = "0x10800000";

export const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { stdio: ["ignore", "pipe", "inherit"], cwd: root });

const runAsync = (command: string, args: string[]) =>
  new Promise<void>((resolve, reject) => {
    spawn(command, args, { stdio: "inherit", cwd: root }).on("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ${args.join(" ")}: exit ${code}`)),
    );
  });

/** The kernel's headers beside musl's, and nothing else of glibc's. */
function kernelHeaders(): string {
  const dir = `${root}/build/kernel-headers${target.suffix}`;
  if (!existsSync(dir)) {
    const multiarch = run("gcc", "-print-multiarch").toString().trim();
    mkdirSync(dir);
    symlinkSync(target.headers.linux, `${dir}/linux`);
    symlinkSync(target.headers.asmGeneric, `${dir}/asm-generic`);
    symlinkSync(target.headers.asm(multiarch), `${dir}/asm`);
  }
  return dir;
}

/** QuickJS as objects, compiled once per compiler and flags. */
export async function compileQuickjs(compiler: string, flags: string[]): Promise<string[]> {
  const key = createHash("sha256")
    .update([compiler, ...flags, basename(quickjs), readFileSync(FRAMES, "utf8")].join("\0"))
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

/** tupper-init, and where it lies. */
export function buildInit(): string {
  const out = `${root}/build/gen/init${target.suffix}`;
  run(
    target.gcc,
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

export interface HostLink {
  objects: readonly string[];
  init: string;
  output: string;
  /** KiB of the heap's two parts. */
  pool?: { hotKiB: number; coldKiB: number };
  /** The cold part as scripts/cold.ts compresses it; none where there is no heap. */
  cold?: string;
  /** How many bytes the hot part has in the end. */
  hotBytes?: number;
  /** A linker script with the order of functions (scripts/text-order.ts). */
  order?: string;
  /** The build whose accesses are counted (host/training.h). */
  training?: boolean;
  /** Without a heap of its own: the bytecode that is evaluated at each start, and its map of lines. */
  plain?: { bytecode: string; map: string };
}

/** Where in a page the hot part ends in the file, there the cold one begins in memory: then none of the file is left empty between them. */
const coldSection = (hotBytes: number): string => `0x${(COLD_SECTION + ((hotBytes + 7) & 0xff8)).toString(16)}`;

export function linkHost({
  objects,
  init,
  output,
  pool,
  cold,
  hotBytes = 0,
  order,
  training = false,
  plain,
}: HostLink): void {
  const wraps =
    plain !== undefined
      ? []
      : ["gettimeofday", ...(training ? ["memcpy", "memmove", "memset", "memcmp", "strlen"] : [])];
  run(
    target.muslGcc,
    ...["-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-no-pie", "-fno-pie", "-fno-ident", ...LEAN, PLACELESS],
    ...[`-DPOOL_KIB=${pool?.hotKiB ?? TRAINING_POOL_KIB}`, `-DPOOL_COLD_KIB=${pool?.coldKiB ?? 4}`],
    ...[
      `-DINIT_PROGRAM="${init}"`,
      ...(cold === undefined ? [] : [`-DCOLD_FILE="${cold}"`]),
      "-isystem",
      quickjs,
      `-I${root}/build/gen`,
      "-idirafter",
      kernelHeaders(),
    ],
    // What QuickJS's atomics would call in the training build is never called.
    ...(plain === undefined
      ? []
      : ["-DHOST_PLAIN", `-DHOST_BYTECODE="${plain.bytecode}"`, `-DHOST_SOURCE_MAP="${plain.map}"`]),
    ...(training ? ["-DHOST_TRAINING", "-Wl,--unresolved-symbols=ignore-all"] : ["-s"]),
    `${root}/host/host.c`,
    ...objects,
    ...["-lm", "-Wl,--gc-sections", "-Wl,--build-id=none", `-Wl,--section-start=.cold=${coldSection(hotBytes)}`],
    ...[`-Wl,--section-start=.cold_heap=${COLD_ADDRESS}`, `-Wl,--section-start=.room=${ROOM_ADDRESS}`],
    ...(order === undefined ? [] : [`-Wl,-T,${order}`]),
    ...wraps.map((name) => `-Wl,--wrap=${name}`),
    ...["-o", output],
  );
}

/**
 * Runs a host once, so that it makes the heap. `blocks`: where each block of the heap goes; in the training build the
 * file that says which block begins where.
 */
export function makeHeap(host: string, blocks: string): { hot: string; cold: string } {
  const [hot, cold] = [`${host}.hot`, `${host}.cold`];
  // -R: no address randomisation while the heap is made, so that it is the same each time.
  const files = ["build/bundle.bytecode", "build/bundle.js.map", hot, cold, blocks];
  run("setarch", "-R", ...target.runner, host, "--snapshot", ...files);
  return { hot, cold };
}

/** A host with the heap that it begins with. */
export function freezeHeap(host: string, hot: string, output: string): void {
  run(target.objcopy, "--update-section", `.snap=${hot}`, host, output);
}
