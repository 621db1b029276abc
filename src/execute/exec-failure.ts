/**
 * Why a program could not be executed. The kernel's answers are few and mean many things: ENOENT is also a missing
 * interpreter, EACCES also a mount flag, ENOEXEC also a wrong architecture. The evidence is read from the file itself.
 */
import { ContainerError, EXIT } from "../error.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY, S_IFDIR, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { raw, type SysError, sys } from "../sys/sys.ts";

/** e_machine of the ELF header. elf(5) */
const MACHINES: Readonly<Record<number, string>> = {
  3: "i386",
  8: "mips",
  20: "powerpc",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "x86_64",
  183: "arm64",
  243: "riscv64",
  258: "loongarch64",
};

export function commandNotFound(name: string, path: string): ContainerError {
  // Docker and Podman look for these words, to end with 127.
  return new ContainerError("COMMAND_NOT_FOUND", `the command ${name || '""'}: executable file not found in $PATH`, {
    field: "process.args[0]",
    hint: `PATH is ${path}; give the program's full path, or set PATH with --env`,
    exitCode: EXIT.notFound,
  });
}

/** Turns a failed execve of `file` into what is wrong with it. Never throws. */
export function explainExecFailure(file: string, error: SysError): ContainerError {
  const details = (exitCode: number, hint?: string) => ({
    field: "process.args[0]",
    cause: error,
    exitCode,
    ...(hint === undefined ? {} : { hint }),
  });
  const notExecutable = (code: string, why: string, hint?: string) =>
    new ContainerError(code, `cannot execute ${file}: ${why}`, details(EXIT.notExecutable, hint));
  const mode = modeOf(file);
  if (mode === undefined) {
    if (error.code === "EACCES")
      return notExecutable(
        "COMMAND_NOT_REACHABLE",
        "a directory on the way may not be entered by this user",
        "check the modes of its directories, or choose another --user",
      );
    return new ContainerError(
      "COMMAND_NOT_FOUND",
      `the command ${file} does not exist in the container`,
      details(EXIT.notFound, "the path is one inside the root filesystem"),
    );
  }
  if ((mode & S_IFMT) === S_IFDIR) return notExecutable("COMMAND_IS_A_DIRECTORY", "it is a directory");
  if ((mode & S_IFMT) !== S_IFREG) return notExecutable("COMMAND_NOT_A_FILE", "it is not a regular file");

  const head = readHead(file);
  switch (error.code) {
    case "EACCES":
      if ((mode & 0o111) === 0)
        return notExecutable(
          "COMMAND_NOT_EXECUTABLE",
          `its mode ${(mode & 0o7777).toString(8).padStart(4, "0")} has no x bit`,
          `chmod +x ${file}`,
        );
      if (isNoexec(file))
        return notExecutable("COMMAND_ON_NOEXEC", "its filesystem is mounted noexec", "mount it without noexec");
      return notExecutable(
        "COMMAND_NOT_PERMITTED",
        `its mode ${(mode & 0o7777).toString(8).padStart(4, "0")} and owner do not let this user execute it`,
        "choose another --user, or change its mode",
      );
    case "ENOENT":
    case "ENOEXEC":
    case "ELIBBAD":
      return explainContent(head, error, notExecutable);
    case "ETXTBSY":
      return notExecutable("COMMAND_BUSY", "the file is open for writing");
    case "E2BIG":
      return notExecutable(
        "ARGUMENTS_TOO_LONG",
        "arguments and environment are larger than the kernel takes",
        'see execve(2), "Limits on size of arguments and environment"',
      );
    case "EPERM":
      return notExecutable(
        "COMMAND_NOT_PERMITTED",
        "the kernel forbids it: file capabilities that the bounding set does not have, or a seccomp filter",
        "give the capability with --cap-add, or remove it from the file with setcap -r",
      );
    default:
      return notExecutable("COMMAND_FAILED", `the kernel says ${error.code}`);
  }
}

function explainContent(
  head: string | undefined,
  error: SysError,
  notExecutable: (code: string, why: string, hint?: string) => ContainerError,
): ContainerError {
  if (head === undefined)
    return notExecutable("COMMAND_UNREADABLE", `the kernel says ${error.code}, and the file cannot be read to see why`);
  if (head.startsWith("#!")) return explainScript(head, notExecutable);
  if (head.startsWith("\x7fELF")) return explainElf(head, notExecutable, error);
  if (head === "") return notExecutable("COMMAND_EMPTY", "it is empty");
  return notExecutable(
    "COMMAND_FORMAT",
    "it is neither an ELF program nor a script that begins with #!",
    "start a script with a line such as #!/bin/sh",
  );
}

function explainScript(
  head: string,
  notExecutable: (code: string, why: string, hint?: string) => ContainerError,
): ContainerError {
  const [line = ""] = head.slice(2).split("\n");
  const [interpreter = ""] = line.trim().split(/[ \t]/);
  if (line.endsWith("\r"))
    return notExecutable(
      "SHEBANG_CRLF",
      `its first line ends in a carriage return, so the kernel looks for "${interpreter}\\r"`,
      "it has DOS line ends: dos2unix, or git config core.autocrlf input",
    );
  if (interpreter === "") return notExecutable("SHEBANG_EMPTY", "its first line names no interpreter after #!");
  if (modeOf(interpreter) === undefined)
    return notExecutable(
      "SHEBANG_MISSING",
      `its interpreter ${interpreter} does not exist in the container`,
      `install ${interpreter} in the root filesystem, or name one that is there`,
    );
  return notExecutable(
    "SHEBANG_FAILED",
    `its interpreter ${interpreter} cannot be executed`,
    `try ${interpreter} itself`,
  );
}

/** Positions of the ELF header are those of 64-bit; a 32-bit program header table lies elsewhere. elf(5) */
function explainElf(
  head: string,
  notExecutable: (code: string, why: string, hint?: string) => ContainerError,
  error: SysError,
): ContainerError {
  const byte = (at: number) => head.charCodeAt(at) & 0xff;
  const half = (at: number) => byte(at) | (byte(at + 1) << 8);
  const word = (at: number) => half(at) + half(at + 2) * 65536;
  const wide = byte(4) === 2;
  const machine = byte(5) === 2 ? (byte(18) << 8) | byte(19) : half(18);
  const own = machineOfThis();
  const name = MACHINES[machine] ?? `machine ${machine}`;
  if (name !== own && !(own === "x86_64" && name === "i386") && !(own === "arm64" && name === "arm")) {
    return notExecutable(
      "WRONG_ARCHITECTURE",
      `it is a program for ${name}, and this machine is ${own}`,
      `use a root filesystem for ${own}, or install qemu-user-static with binfmt on the machine`,
    );
  }
  const tableAt = wide ? word(32) : word(28);
  const size = wide ? half(54) : half(42);
  const count = wide ? half(56) : half(44);
  const PT_INTERP = 3;
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * size;
    if (at + size > head.length || word(at) !== PT_INTERP) continue;
    const start = wide ? word(at + 8) : word(at + 4);
    const length = wide ? word(at + 32) : word(at + 16);
    const interpreter = head.slice(start, start + length - 1);
    if (interpreter !== "" && modeOf(interpreter) === undefined) {
      return notExecutable(
        "LOADER_MISSING",
        `it needs the loader ${interpreter}, which does not exist in the container`,
        loaderHint(interpreter),
      );
    }
  }
  return notExecutable("COMMAND_FORMAT", `it is a program for ${name}, but the kernel says ${error.code}`);
}

function loaderHint(interpreter: string): string {
  if (interpreter.includes("musl"))
    return "it was linked with musl (Alpine): install musl there, or use a build for glibc";
  return "it was linked dynamically: install its C library in the root filesystem, or link it statically";
}

function machineOfThis(): string {
  const buffer = new ArrayBuffer(390);
  sys.uname(buffer);
  const field = new Uint8Array(buffer, 260, 65);
  const machine = String.fromCharCode(...field.subarray(0, field.indexOf(0)));
  return machine === "aarch64" ? "arm64" : machine;
}

function modeOf(path: string): number | undefined {
  const buffer = new ArrayBuffer(256);
  const STATX_MODE_AND_TYPE = 3;
  return raw.statx(AT_FDCWD, path, 0, STATX_MODE_AND_TYPE, buffer) < 0
    ? undefined
    : new DataView(buffer).getUint16(28, true);
}

/** The first bytes as a string of char codes 0–255; undefined when the file cannot be read. */
function readHead(path: string): string | undefined {
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const buffer = new ArrayBuffer(4096);
  const length = raw.read(fd, buffer);
  raw.close(fd);
  if (length < 0) return undefined;
  return Array.from(new Uint8Array(buffer, 0, length), (code) => String.fromCharCode(code)).join("");
}

function isNoexec(path: string): boolean {
  const buffer = new ArrayBuffer(120);
  if (raw.statfs(path, buffer) < 0) return false;
  const ST_NOEXEC = 8;
  return (Number(new DataView(buffer).getBigInt64(80, true)) & ST_NOEXEC) !== 0;
}
