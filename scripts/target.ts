/**
 * What is built for: the machine that builds, or with TUPPER_ARCH=arm64 that architecture, by a cross compiler and with
 * qemu-user for what has to run (the heap is made by the program itself). scripts/setup-arm64.sh fetches what that takes.
 */
import { fileURLToPath } from "node:url";

const musl = fileURLToPath(new URL("../build/musl-arm64/gcc", import.meta.url));

interface Target {
  arch: string;
  /** Behind the names of what is built on the way. */
  suffix: string;
  /** Below build/, for the result. */
  directory: string;
  gcc: string;
  muslGcc: string;
  objcopy: string;
  nm: string;
  /** The kernel's headers. */
  headers: { linux: string; asmGeneric: string; asm: (multiarch: string) => string };
  /** Before a program of the target. */
  runner: readonly string[];
}

const NATIVE: Target = {
  arch: process.arch,
  suffix: "",
  directory: "",
  gcc: "gcc",
  muslGcc: "musl-gcc",
  objcopy: "objcopy",
  nm: "nm",
  headers: {
    linux: "/usr/include/linux",
    asmGeneric: "/usr/include/asm-generic",
    asm: (multiarch) => `/usr/include/${multiarch}/asm`,
  },
  runner: [],
};

const ARM64: Target = {
  arch: "arm64",
  suffix: "-arm64",
  directory: "arm64/",
  gcc: "aarch64-linux-gnu-gcc",
  muslGcc: musl,
  objcopy: "aarch64-linux-gnu-objcopy",
  nm: "aarch64-linux-gnu-nm",
  headers: {
    linux: "/usr/aarch64-linux-gnu/include/linux",
    asmGeneric: "/usr/aarch64-linux-gnu/include/asm-generic",
    asm: () => "/usr/aarch64-linux-gnu/include/asm",
  },
  runner: ["qemu-aarch64-static"],
};

export const target: Target = process.env.TUPPER_ARCH === "arm64" && process.arch !== "arm64" ? ARM64 : NATIVE;
