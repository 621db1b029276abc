/**
 * What a virtual machine gets to see of the repository, as a disk image: the binary under both its names, the suites bundled
 * to plain JavaScript (the guest has node, but neither tsx nor patience), compiled test programs, golden files, and the job.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";
import { PAYLOAD_BYTES } from "./machine.ts";
import { makeTemporary } from "./temporary.ts";

export const repository = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const binary = () => process.env.TUPPER_BINARY ?? join(repository, "build/tupper");

export interface Payload {
  image: string;
  remove(): void;
}

export interface PayloadOptions {
  /** Paths of suites in the repository. */
  suites: readonly string[];
  /** The shell script that runs in the guest, as root. */
  job: string;
  /** Files and directories of this machine that appear under their name in /tupper/files. */
  files?: readonly string[];
}

export async function makePayload({ suites, job, files = [] }: PayloadOptions): Promise<Payload> {
  const { path: directory, remove } = makeTemporary("tupper-vm-payload-");
  const tree = join(directory, "tree");
  for (const name of ["bin", "build", "tests", "files"]) mkdirSync(join(tree, name), { recursive: true });
  cpSync(binary(), join(tree, "build/tupper"));
  symlinkSync("tupper", join(tree, "build/tupper-runtime"));
  for (const name of ["tupper", "tupper-runtime"]) symlinkSync("../build/tupper", join(tree, "bin", name));
  for (const path of files)
    cpSync(path, join(tree, "files", basename(path)), { recursive: true, verbatimSymlinks: true });
  if (suites.length > 0) {
    await bundleSuites(suites, tree);
    cpSync(join(repository, "tests/golden"), join(tree, "tests/golden"), { recursive: true });
    compilePrograms(join(tree, "programs"));
  }
  cpSync(join(import.meta.dirname, "guest/reporter.mjs"), join(tree, "reporter.mjs"));
  writeFileSync(join(tree, "job"), job);
  // Tests run as other users too.
  execFileSync("chmod", ["-R", "a+rX", tree]);
  const image = join(directory, "payload.ext4");
  const options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", tree, image];
  execFileSync("mke2fs", [...options, `${PAYLOAD_BYTES >> 20}M`], { stdio: ["ignore", "ignore", "inherit"] });
  rmSync(tree, { recursive: true });
  return { image, remove };
}

async function bundleSuites(suites: readonly string[], tree: string): Promise<void> {
  await build({
    absWorkingDir: repository,
    entryPoints: suites.map((path) => relative(repository, join(repository, path))),
    outdir: tree,
    outbase: ".",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "error",
    plugins: [keepsPaths],
    // What is bundled of CommonJS asks for these.
    banner: {
      js: 'import { createRequire as bundledRequire } from "node:module"; const require = bundledRequire("/tupper/tests/");',
    },
  });
}

/** A module finds files beside it where they are in the guest, although it has become part of a bundle. */
const keepsPaths: Plugin = {
  name: "keeps-paths",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const inGuest = join("/tupper", relative(repository, path));
      const contents = (await readFile(path, "utf8"))
        .replaceAll("import.meta.url", JSON.stringify(`file://${inGuest}`))
        .replaceAll("import.meta.dirname", JSON.stringify(dirname(inGuest)));
      return { contents, loader: "ts" };
    });
  },
};

/** All of tests/programs, statically, as `compiled()` of tests/harness.ts would. */
function compilePrograms(target: string): void {
  const source = join(repository, "tests/programs");
  mkdirSync(target);
  for (const name of readdirSync(source).filter((file) => file.endsWith(".c"))) {
    const program = join(target, name.slice(0, -2));
    const headers = join(repository, "build/kernel-headers");
    execFileSync("musl-gcc", ["-static", "-O1", "-idirafter", headers, "-o", program, join(source, name)]);
    chmodSync(program, 0o755);
  }
}
