/**
 * The host seen from outside: what the built file is, and what small programs of our own see inside it
 * (tests/host-programs.ts, put into a copy of the host as scripts/build.ts does with src/main.ts). The programs run
 * twice: from a snapshot, and under AddressSanitizer where `build/tupper-sanitize` has been built.
 *
 * Needs: checkout
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { lineMapOf } from "../scripts/line-map.ts";
import { LEFT_OUT_NAME } from "../scripts/quickjs-source.ts";
import { language } from "./host-language.ts";

const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
const built = join(root, "build/tupper");
const binary = resolve(process.env.TUPPER_BINARY ?? built);
const sanitized = join(root, "build/tupper-sanitize");
const work = mkdtempSync(join(tmpdir(), "tupper-host-"));
const elsewhere = binary === built ? false : "TUPPER_BINARY is not this checkout's build";

after(() => rmSync(work, { recursive: true, force: true }));

before(async () => {
  const { outputFiles } = await build({
    entryPoints: [join(root, "tests/host-programs.ts")],
    outfile: join(root, "build/bundle.js"), // what the paths in the source map are relative to
    write: false,
    absWorkingDir: root,
    bundle: true,
    format: "iife",
    target: "es2023",
    platform: "neutral",
    mainFields: ["module", "main"],
    sourcemap: "external",
    sourcesContent: false,
    logLevel: "warning",
  });
  for (const { path, contents } of outputFiles) writeFileSync(join(work, basename(path)), contents);
  const map = join(work, "bundle.js.map");
  writeFileSync(map, JSON.stringify(lineMapOf(JSON.parse(readFileSync(map, "utf8")))));
  const [host, hot, cold] = [join(root, "build/host"), join(work, "hot"), join(work, "cold")];
  if (!existsSync(host)) return;
  const bytecode = join(work, "bytecode");
  execFileSync(join(root, "build/training/host"), ["--compile", join(work, "bundle.js"), bytecode]);
  execFileSync("setarch", ["-R", host, "--snapshot", bytecode, join(work, "bundle.js.map"), hot, cold]);
  execFileSync("objcopy", ["--update-section", `.snap=${hot}`, host, join(work, "programs")]);
});

interface Result {
  stdout: Buffer;
  stderr: string;
  status: number | null;
}

/** Runs a program of tests/host-programs.ts. */
function program(file: string, env: NodeJS.ProcessEnv, args: readonly string[]): Result {
  const { stdout, stderr, status, error } = spawnSync(file, args, {
    env: { ...process.env, ...env },
    timeout: 120_000,
  });
  if (error) throw error;
  return { stdout, stderr: stderr.toString(), status };
}

const BUILDS = {
  snapshot: {
    missing: () => (existsSync(join(root, "build/host")) ? false : "build/host is missing: npm run build"),
    run: (...args: string[]) => program(join(work, "programs"), {}, args),
  },
  sanitizer: {
    missing: () =>
      existsSync(sanitized) ? false : "build/tupper-sanitize is missing: tsx scripts/build.ts --sanitize",
    run: (...args: string[]) =>
      program(
        sanitized,
        {
          TUPPER_BYTECODE: join(work, "bytecode"),
          TUPPER_SOURCE_MAP: join(work, "bundle.js.map"),
          ASAN_OPTIONS: "detect_leaks=0",
        },
        args,
      ),
  },
};

/* ---- the file ------------------------------------------------------------------------------ */

test("host: the binary is smaller than 3.3 MB", { skip: elsewhere }, () => {
  assert.ok(readFileSync(binary).length < 3_300_000);
});

test("host: the binary is static, at fixed addresses, and needs no loader", { skip: elsewhere }, () => {
  const elf = readFileSync(binary);
  assert.equal(elf.toString("latin1", 0, 4), "\x7fELF");
  const ET_EXEC = 2;
  assert.equal(elf.readUInt16LE(16), ET_EXEC);
  const [offset, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  const types = Array.from({ length: count }, (_, i) => elf.readUInt32LE(offset + i * size));
  const [PT_DYNAMIC, PT_INTERP] = [2, 3];
  assert.deepEqual(
    types.filter((type) => type === PT_DYNAMIC || type === PT_INTERP),
    [],
  );
});

test("host: the build sees what QuickJS has not of Math, by whatever name it is asked for", () => {
  const isSeen = (text: string) => LEFT_OUT_NAME.test(text);
  const missing = [
    "Math.log(2)",
    "Math.atan2",
    "{ log } = Math;",
    'Math["log"]',
    "Math?.log",
    "f(Math)",
    'global["Math"]',
  ];
  assert.deepEqual(missing.filter(isSeen), missing);
  const there = ["Math.log2(2)", "Math.floor(Math.max(1, 2))", "Mathematics", "myMath.log"];
  assert.deepEqual(there.filter(isSeen), []);
});

test("host: two builds of the same sources are byte-identical, wherever they lie", { skip: elsewhere }, () => {
  const tree = join(work, "a/longer/path");
  mkdirSync(join(tree, "build"), { recursive: true });
  for (const part of ["host", "scripts", "src", "tests/weaknesses.ts", "package.json", "tsconfig.json"])
    cpSync(join(root, part), join(tree, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  symlinkSync(join(root, "build/quickjs"), join(tree, "build/quickjs"));
  const version = execFileSync(built, ["--version"], { encoding: "utf8" });
  const env = { ...process.env, TUPPER_COMMIT: /^commit: (.+)$/m.exec(version)?.[1] };
  execFileSync("node", ["--import", "tsx", "scripts/build.ts"], { cwd: tree, env, stdio: "pipe" });
  const isEqual = readFileSync(join(tree, "build/tupper")).equals(readFileSync(built));
  assert.ok(isEqual, "build/tupper is not what these sources give; is it older than they are?");
});

/* ---- inside it ----------------------------------------------------------------------------- */

for (const [name, { run, missing }] of Object.entries(BUILDS)) {
  const inside = (title: string, body: () => void | Promise<void>, skip: string | false = false) =>
    test(`host (${name}): ${title}`, { skip: missing() || skip }, body);
  const onlySnapshot = name === "snapshot" ? false : "the sanitizer needs memory and threads of its own";

  inside("an uncaught exception is printed with the TypeScript file and line, and exits with 70", () => {
    const { status, stderr } = run("crash");
    const source = readFileSync(join(root, "tests/host-programs.ts"), "utf8").split("\n");
    const line = source.findIndex((text) => text.includes("it broke")) + 1;
    assert.equal(status, 70);
    assert.match(stderr, /^fatal: Error: it broke, é\n/);
    assert.match(stderr.split("\n")[1] ?? "", new RegExp(`^    at inner \\(tests/host-programs\\.ts:${line}\\)$`));
  });

  inside("an exception that reaches the host itself exits with 70, also when it is no Error", () => {
    assert.deepEqual(run("crashWithText"), { status: 70, stdout: Buffer.alloc(0), stderr: "fatal: only text\n" });
  });

  inside(
    "the process has one thread",
    () => {
      assert.match(run("status").stdout.toString(), /^Threads:\t1$/m);
    },
    onlySnapshot,
  );

  inside("a string with a NUL byte is refused, and the message says which string", () => {
    assert.equal(
      run("nul").stdout.toString(),
      'TypeError: sys: "/etc/passwd\\0…" has a NUL byte and cannot be handed to the kernel\n' +
        'TypeError: sys: "a\\0…" has a NUL byte and cannot be handed to the kernel\n',
    );
  });

  inside("argument bytes that are not UTF-8 reach the kernel unchanged, and come back from it", () => {
    const directory = mkdtempSync(join(work, "bytes-"));
    // Stray continuation, cut sequence, encoded surrogate, overlong slash, four bytes, and what is fine. By a shell,
    // because Node's spawn takes only text.
    const octal = "a\\377\\303\\251\\355\\262\\200\\360\\237\\230\\200\\300\\257\\303";
    const bytes = Buffer.from("61ffc3a9edb280f09f9880c0afc3", "hex");
    const env = name === "sanitizer" ? `TUPPER_BYTECODE=${work}/bytecode TUPPER_SOURCE_MAP=${work}/bundle.js.map` : "";
    const file = name === "sanitizer" ? sanitized : join(work, "programs");
    const shell = spawnSync("sh", ["-c", `${env} ${file} bytes ${directory} "$(printf '${octal}')"`]);
    assert.equal(shell.stderr.toString(), "");
    assert.deepEqual(shell.stdout, Buffer.concat([bytes, Buffer.from("\n")]));
    assert.deepEqual(readdirSync(directory, { encoding: "buffer" }), [bytes]);
  });

  const prints = (what: string, title: string, skip: string | false = false, expected = "done\n") =>
    inside(
      title,
      () => {
        const { status, stdout, stderr } = run(what);
        assert.deepEqual({ status, stdout: stdout.toString(), stderr }, { status: 0, stdout: expected, stderr: "" });
      },
      skip,
    );

  const onlyPool = name === "snapshot" ? false : "there the allocator is libc's";
  prints("large", "a string of 50 MB, arrays of a million, a buffer of 60 MB", onlyPool);
  prints("churn", "memory that is freed and grown in any order keeps its content", onlyPool);
  prints("reuse", "freed memory of every size is used again", onlyPool);
  prints("texts", "text that goes to the kernel and comes back is the same, wherever a letter is not ASCII");
  prints("frozen", "what was made with the heap keeps its worth, whoever refers to it, gives it up or extends a copy");
  prints("json", "JSON nested 100,000 deep is an exception", false, "stack overflow\nstack overflow\ndone\n");
  prints("spawn", "1,000 children that share the heap talk with their parent, and leave nothing open", onlySnapshot);
  prints("spawnEnds", "children that are killed, that exec, that overlap: the parent goes on");

  inside("an exception that a child does not catch is told, and ends it with 127", () => {
    const { status, stdout, stderr } = run("spawnThrows");
    assert.deepEqual(
      { status, stdout: stdout.toString(), stderr },
      { status: 0, stdout: "done\n", stderr: "fatal, in the child: Error: it threw\n" },
    );
  });

  inside("where QuickJS takes a shortcut, it comes to what Node comes to", () => {
    const { status, stdout, stderr } = run("language");
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
    assert.deepEqual(stdout.toString().trimEnd().split("\n"), language());
  });

  const copies = name === "sanitizer" ? false : "there the children share the heap";
  prints("spawnSome", "30 children with a heap of their own talk with their parent", copies);
}
