/**
 * libseccomp as a compiler to compare with: builds libseccomp_compile.c into a temporary folder and talks to it.
 */

import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ACTION_VALUES, AUDIT_ARCHES } from "../../src/plan/seccomp/compile.ts";
import { isSyscallArch, type SyscallArch } from "../../src/plan/seccomp/syscalls.ts";
import type { LinuxSeccomp, SeccompAction, SeccompOperator } from "../../src/spec/seccomp.ts";

/** `enum scmp_compare`. */
const OPERATORS: Record<SeccompOperator, number> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

/** x32 is AUDIT_ARCH_X86_64 to the kernel; libseccomp made up a token for it. */
const TOKENS: Record<SyscallArch, number> = { ...AUDIT_ARCHES, SCMP_ARCH_X32: 0x4000003e };

/** Why libseccomp cannot be compared with here, for a test's `skip`; `false` where it can. */
export function missingLibseccomp(): string | false {
  try {
    execFileSync("gcc", ["-E", "-x", "c", "-"], {
      input: "#include <seccomp.h>\n",
      stdio: ["pipe", "ignore", "ignore"],
    });
    return false;
  } catch {
    return "needs gcc and seccomp.h (Debian: gcc, libseccomp-dev)";
  }
}

export class Libseccomp implements AsyncDisposable {
  readonly #folder: string;
  readonly #process: ChildProcessWithoutNullStreams;
  #received = Buffer.alloc(0);
  #wake: () => void = () => {};

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "libseccomp-"));
    const binary = join(this.#folder, "compile");
    const source = fileURLToPath(new URL("libseccomp_compile.c", import.meta.url));
    execFileSync("gcc", ["-O1", "-o", binary, source, "-lseccomp"]);
    this.#process = spawn(binary);
    this.#process.stdout.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    this.#process.on("exit", () => this.#wake());
  }

  /** Those of the names that this version of libseccomp knows. */
  async known(names: readonly string[]): Promise<string[]> {
    this.#process.stdin.write(names.map((name) => `known ${name}\n`).join(""));
    const known: string[] = [];
    for (const name of names) if ((await this.#line()) === "1") known.push(name);
    return known;
  }

  /**
   * The profile as runc and crun hand it to libseccomp; `undefined` where libseccomp refuses it as contradictory.
   *
   * `optimize` 2 is libseccomp's binary tree, which crun asks for. 1 leaves out a load of the call number where the
   * first call of i386 exists only through ipc or socketcall (libseccomp 2.5.4), and the whole table fails.
   */
  async compile(
    profile: LinuxSeccomp,
    { nativeArch, optimize = 2 }: { nativeArch: SyscallArch; optimize?: 1 | 2 },
  ): Promise<Uint8Array | undefined> {
    this.#process.stdin.write(`${protocolLines(profile, nativeArch, optimize).join("\n")}\n`);
    const [status, number] = (await this.#line()).split(" ");
    if (status === "ok") return await this.#bytes(Number(number));
    const EEXIST = 17;
    if (Number(number) === EEXIST) return undefined;
    throw new Error(`libseccomp refuses the profile with errno ${number}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end();
    if (this.#process.exitCode === null && this.#process.signalCode === null)
      await new Promise((resolve) => this.#process.once("exit", resolve));
    rmSync(this.#folder, { recursive: true });
  }

  async #line(): Promise<string> {
    let end = this.#received.indexOf(10);
    for (; end < 0; end = this.#received.indexOf(10)) await this.#more();
    return (await this.#bytes(end + 1)).subarray(0, end).toString();
  }

  async #bytes(count: number): Promise<Buffer> {
    while (this.#received.length < count) await this.#more();
    const bytes = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return bytes;
  }

  async #more(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null)
      throw new Error(`libseccomp_compile ended: ${signalCode ?? exitCode}`);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** Rules with the default action, which libseccomp refuses, and repeated arguments go the way runc and crun treat them. */
function protocolLines(profile: LinuxSeccomp, nativeArch: SyscallArch, optimize: number): string[] {
  const byDefault = action(profile.defaultAction, profile.defaultErrnoRet);
  const archs = new Set([nativeArch, ...(profile.architectures ?? [])]);
  const lines = [`begin ${byDefault}`, `optimize ${optimize}`];
  for (const arch of archs) if (isSyscallArch(arch)) lines.push(`arch ${TOKENS[arch]}`);
  for (const { names, action: name, errnoRet, args = [] } of profile.syscalls ?? []) {
    const value = action(name, errnoRet);
    if (value === byDefault) continue;
    const words = args.map(({ index, op, value: a, valueTwo = 0 }) => `${index} ${OPERATORS[op]} ${a} ${valueTwo}`);
    const repeated = new Set(args.map(({ index }) => index)).size < args.length;
    const conjunctions = repeated ? words.map((word) => [word]) : [words];
    for (const call of names) {
      for (const all of conjunctions) lines.push(`rule ${value} ${call} ${all.length} ${all.join(" ")}`);
    }
  }
  return [...lines, "end"];
}

function action(name: SeccompAction, errnoRet = 1): number {
  return ACTION_VALUES[name] + (name === "SCMP_ACT_ERRNO" || name === "SCMP_ACT_TRACE" ? errnoRet : 0);
}
