/** The program under test: what lies in inside/ as bytecode, and a process of the sanitizer build that runs it. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { EncodedSourceMap } from "@jridgewell/trace-mapping";
import { build } from "esbuild";
import { lineMapOf } from "../../scripts/line-map.ts";
import { root } from "../../scripts/link-host.ts";

const directory = `${root}/build/fuzz`;

/** As the binary's own bundle is made (scripts/build.ts). */
export async function buildProgram(): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await build({
    entryPoints: [`${root}/tests/fuzz/inside/main.ts`],
    outfile: `${directory}/bundle.js`,
    absWorkingDir: root,
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
    logLevel: "warning",
    define: { __ARCH__: '"x86_64"', __VERSION__: '"0.0.0"', __COMMIT__: '"fuzz"' },
  });
  const map = `${directory}/bundle.js.map`;
  writeFileSync(map, JSON.stringify(lineMapOf(JSON.parse(readFileSync(map, "utf8")) as EncodedSourceMap)));
  execFileSync(`${root}/build/training/host`, ["--compile", `${directory}/bundle.js`, `${directory}/bundle.bytecode`]);
}

/** What became of one input. */
export interface Answer {
  /** Edges that no input before had taken. */
  edges: number;
  /** Edges that no input before had taken so often. */
  counts: number;
  outcome?: string;
  /** The promise that was broken. */
  fault?: string;
}

/** Several times what the slowest input takes on a busy machine under the sanitizers. */
const PATIENCE_MS = 60_000;

/** A process that takes inputs one after the other. */
export class Program {
  readonly #child = spawn(`${root}/build/tupper-sanitize`, [], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      TUPPER_BYTECODE: `${directory}/bundle.bytecode`,
      TUPPER_SOURCE_MAP: `${directory}/bundle.js.map`,
      // Where a block was made is not told in full: that would be most of the work.
      ASAN_OPTIONS:
        "abort_on_error=1:detect_leaks=0:allocator_may_return_null=1:malloc_context_size=3:quarantine_size_mb=16",
    },
  });
  /** The first of them is at work. */
  readonly #waiting: ((answer: Answer) => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #line = "";
  #complaints = "";
  #hangs = false;
  readonly ended: Promise<void>;
  constructor() {
    this.#child.stdin.on("error", () => {}); // its end is told below
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => this.#take(text));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-20_000);
    });
    this.ended = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        const why = this.#hangs ? `no answer within ${PATIENCE_MS} ms` : `the process ended with ${code ?? signal}`;
        clearTimeout(this.#timer);
        this.#waiting.shift()?.({ edges: 0, counts: 0, fault: `${why}\n${this.#complaints}` });
        for (const answer of this.#waiting.splice(0)) answer({ edges: 0, counts: 0, outcome: "not begun" });
        resolve();
      });
    });
  }

  /** Whether it still takes inputs. */
  get lives(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** One input for the target of this number. */
  feed(target: number, bytes: Uint8Array): Promise<Answer> {
    const head = Buffer.alloc(8);
    head.writeInt32LE(target, 0);
    head.writeUInt32LE(bytes.length, 4);
    return new Promise((answer) => {
      this.#waiting.push(answer);
      if (this.#waiting.length === 1) this.#watch();
      this.#child.stdin.write(Buffer.concat([head, bytes]));
    });
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.ended;
  }

  #take(text: string): void {
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) {
      this.#waiting.shift()?.(JSON.parse(line) as Answer);
      this.#watch();
    }
  }

  /** Begins to wait for the answer to the first of those that wait. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#waiting.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#hangs = true;
      this.#child.kill("SIGKILL");
    }, PATIENCE_MS);
  }
}
