/**
 * Why a program could not be executed. The kernel's answers are few and mean many things: ENOENT is also a missing
 * interpreter, EACCES also a mount flag, ENOEXEC also a wrong architecture. The evidence is read from the file itself.
 */
import { ContainerError, EXIT } from "../error.ts";
import type { ErrorCode } from "../error-codes.ts";
import { didYouMean, nearest } from "../nearest.ts";
import { CAPABILITIES, capabilityNames } from "../spec/capabilities.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY, S_IFMT, S_IFREG } from "../sys/constants.ts";
import type { Statx } from "../sys/structs.ts";
import { raw, type SysError, sys } from "../sys/sys.ts";
import {
  followPath,
  isDirectory,
  isMounted,
  isThere,
  machineOfThis,
  modeAndOwner,
  namesIn,
  ourselves,
  type PathTrouble,
  read,
  ST_NOEXEC,
  statAt,
} from "./machine.ts";
import { filterAnswer, type LoadedFilter, mayLook } from "./seccomp.ts";

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
  // Of thousands of names only those are compared that could be a slip of the finger.
  const meant = nearest(
    name,
    path
      .split(":")
      .flatMap(namesIn)
      .filter((other) => Math.abs(other.length - name.length) < 3 && other[0] === name[0]),
  );
  // Docker and Podman look for these words, to end with 127.
  return new ContainerError("COMMAND_NOT_FOUND", `the command ${name || '""'}: executable file not found in $PATH`, {
    field: "process.args[0]",
    hint:
      name === ""
        ? "it is an empty string, a variable of a shell perhaps that is not set: name the program"
        : name.startsWith("-")
          ? "what follows ROOT, or the container of exec, is the command: flags stand before that"
          : `${meant === undefined ? "" : `did you mean ${meant}? `}PATH is ${path}; give the program's full path, or set PATH with --env (process.env)`,
    exitCode: EXIT.notFound,
  });
}

/**
 * The same for a hook, whose sentence says already what the kernel said. `isOurs`: it runs as we do, so no setting of the
 * container's process is the remedy.
 */
export function whyHookFails(path: string, error: SysError, isOurs: boolean): { hint?: string; evidence?: string } {
  const { message, hint = "", evidence } = explainExecFailure(path, error);
  const found = evidence === undefined ? message : `${message} (${evidence})`;
  const fits = !isOurs || !/process\.|linux\.|root filesystem/.test(hint);
  const remedy = fits ? hint : (OURS[error.code] ?? "look at hooks[].path, and at the program there");
  return { evidence: found.replace("in the container", "there"), ...(remedy === "" ? {} : { hint: remedy }) };
}

const OURS: Readonly<Record<string, string>> = {
  ENOMEM: "free memory, or raise the limit of the control group that tupper runs in",
  EAGAIN: "raise the limit of processes that tupper runs under: ulimit -u",
};

/** What was handed to execve, and the filter of the profile that was loaded before it. */
export interface Execution {
  args: readonly string[];
  env: readonly string[];
  filter?: LoadedFilter | undefined;
}

type Answer = (code: ErrorCode, why: string, hint?: string, evidence?: string) => ContainerError;

/** Turns a failed execve of `file` into what is wrong with it. Never throws. */
export function explainExecFailure(file: string, error: SysError, execution?: Execution): ContainerError {
  const answer =
    (exitCode: number, says: string): Answer =>
    (code, why, hint, evidence) =>
      new ContainerError(code, `${says}${why}`, {
        field: "process.args[0]",
        cause: error,
        exitCode,
        evidence,
        ...(hint === undefined ? {} : { hint }),
      });
  const notExecutable = answer(EXIT.notExecutable, `cannot execute ${file}: `);
  const filtered = filterAnswer(execution?.filter, error);
  if (filtered !== undefined) return notExecutable("SECCOMP_FORBIDS", filtered.why, filtered.hint, filtered.evidence);
  if (!mayLook(execution?.filter))
    return notExecutable(
      "COMMAND_FAILED",
      `the kernel says ${error.code}, and the container's own seccomp profile does not let tupper look why`,
      "try it with --security-opt seccomp=unconfined (without linux.seccomp)",
    );
  const trouble = followPath(file);
  if (trouble !== undefined) return explainPath(file, trouble, notExecutable, answer(EXIT.notFound, ""));
  const stat = statAt(file);
  if (typeof stat === "number")
    return notExecutable(
      "COMMAND_NOT_REACHABLE",
      `the kernel says ${error.code}`,
      "check the modes of its directories",
    );
  const { mode } = stat;
  const another = "name the program in process.args";
  if (isDirectory(stat))
    return notExecutable("COMMAND_IS_A_DIRECTORY", "it is a directory", `${another}, with its whole path`);
  if ((mode & S_IFMT) !== S_IFREG) return notExecutable("COMMAND_NOT_A_FILE", "it is not a regular file", another);

  switch (error.code) {
    case "EACCES": {
      const why = whyNotPermitted(file, stat);
      if (why !== undefined) return notExecutable(...why);
      const interpreter = interpreterOf(readHead(file));
      const inner = interpreter === undefined ? undefined : whyInterpreterFails(interpreter, error);
      if (inner !== undefined)
        return notExecutable(
          "SHEBANG_FAILED",
          `its interpreter ${interpreter} cannot be executed: ${inner.why}`,
          inner.hint,
          inner.evidence,
        );
      return notExecutable(
        "COMMAND_NOT_PERMITTED",
        `${octal(mode)} and owner do not let this user execute it`,
        "choose another --user (process.user), or change its mode",
        `${file}: ${modeAndOwner(stat)}; the command runs as ${ourselves()}`,
      );
    }
    case "ENOENT":
    case "ENOEXEC":
    case "ELIBBAD":
    case "ELOOP":
    case "ENOTDIR":
      return explainContent(file, error, notExecutable);
    case "ETXTBSY":
      return notExecutable(
        "COMMAND_BUSY",
        "the file is open for writing",
        "whoever writes it must close it first: fuser, lsof",
      );
    case "E2BIG":
      return explainLength(execution, notExecutable);
    case "EPERM":
      return explainForbidden(file, notExecutable);
    case "ENOMEM":
    case "EAGAIN":
      return notExecutable(
        "COMMAND_FAILED",
        error.code === "ENOMEM" ? "there is no memory for it" : "its user may have no more processes",
        error.code === "ENOMEM"
          ? "raise linux.resources.memory.limit (--memory)"
          : "raise RLIMIT_NPROC (process.rlimits, --ulimit nproc=)",
      );
    default:
      return notExecutable("COMMAND_FAILED", `the kernel says ${error.code}`, "see execve(2)");
  }
}

const octal = (mode: number): string => `its mode ${(mode & 0o7777).toString(8).padStart(4, "0")}`;

function explainPath(file: string, trouble: PathTrouble, notExecutable: Answer, notFound: Answer): ContainerError {
  const { kind, at, why, evidence } = trouble;
  switch (kind) {
    case "closed":
      return notExecutable(
        "COMMAND_NOT_REACHABLE",
        `a directory on the way may not be entered by this user: ${why}`,
        `chmod o+x ${at}, or choose another --user (process.user)`,
        evidence,
      );
    case "file":
    case "loop":
      return notFound(
        "COMMAND_NOT_FOUND",
        `the command ${file} does not exist in the container: ${why}`,
        kind === "file" ? "name another path, through directories only" : "make the link anew: ln -sf TARGET LINK",
        evidence,
      );
    default: {
      const above = at.slice(0, at.lastIndexOf("/")) || "/";
      const place = above === "." ? "the working directory" : above;
      const meant = didYouMean(at.slice(at.lastIndexOf("/") + 1), namesIn(above));
      const hint =
        kind === "dangling"
          ? `make ${at} in the root filesystem, or the link anew`
          : (meant ??
            `the path is one inside the root filesystem: install the program in ${place}, or name another path`);
      return notFound(
        "COMMAND_NOT_FOUND",
        `the command ${file} does not exist in the container${at === file ? "" : `: ${why}`}`,
        hint,
        evidence,
      );
    }
  }
}

/** [code, why, hint, evidence] of a file that the kernel does not let this user execute. */
function whyNotPermitted(file: string, stat: Statx): Parameters<Answer> | undefined {
  const { mode } = stat;
  if ((mode & 0o111) === 0) return ["COMMAND_NOT_EXECUTABLE", `${octal(mode)} has no x bit`, `chmod +x ${file}`];
  if (isMounted(file, ST_NOEXEC))
    return ["COMMAND_ON_NOEXEC", "its filesystem is mounted noexec", "mount it without noexec"];
  const bits = raw.geteuid() === stat.uid ? 0o100 : raw.getegid() === stat.gid ? 0o010 : 0o001;
  if (raw.geteuid() === 0 || (mode & bits) !== 0) return undefined;
  return [
    "COMMAND_NOT_PERMITTED",
    `${octal(mode)} and owner do not let this user execute it`,
    "choose another --user (process.user), or change its mode",
    `${file}: ${modeAndOwner(stat)}; the command runs as ${ourselves()}`,
  ];
}

/** execve(2), "Limits on size of arguments and environment". */
function explainLength(execution: Execution | undefined, notExecutable: Answer): ContainerError {
  const STRING = 131_072;
  const PAGE = 4096;
  const sizes = [...(execution?.args ?? []), ...(execution?.env ?? [])].map((text) => ({
    name: text.slice(0, Math.min(40, text.indexOf("=") > 0 ? text.indexOf("=") : 40)),
    bytes: (sys.encodeText(text) as ArrayBuffer).byteLength + 1,
  }));
  const long = sizes.find(({ bytes }) => bytes > STRING);
  if (long !== undefined)
    return notExecutable(
      "ARGUMENTS_TOO_LONG",
      `${long.name} is ${long.bytes} bytes long, and no argument or variable may be longer than ${STRING}`,
      "hand it over in a file or on stdin",
    );
  const total = sizes.reduce((sum, { bytes }) => sum + bytes + 8, 0);
  const limit = new ArrayBuffer(16);
  const RLIMIT_STACK = 3;
  const stack = raw.prlimit64(0, RLIMIT_STACK, null, limit) < 0 ? 0n : new BigUint64Array(limit)[0];
  return notExecutable(
    "ARGUMENTS_TOO_LONG",
    "arguments and environment are larger than the kernel takes",
    "raise RLIMIT_STACK (process.rlimits, --ulimit stack=), make them shorter, or hand them over in a file",
    `they are ${total} bytes; a quarter of RLIMIT_STACK (${stack}) may be used, at least ${32 * PAGE}`,
  );
}

/** EPERM of execve: file capabilities with the effective bit that cannot be had, or a filter around us. capabilities(7). */
function explainForbidden(file: string, notExecutable: Answer): ContainerError {
  const fd = raw.openat(AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
  const value = new ArrayBuffer(24);
  const length = fd < 0 ? -1 : raw.fgetxattr(fd, "security.capability", value);
  if (fd >= 0) raw.close(fd);
  const view = new DataView(value);
  const wanted =
    length < 12 ? 0n : BigInt(view.getUint32(4, true)) | (length < 20 ? 0n : BigInt(view.getUint32(12, true)) << 32n);
  const PR_CAPBSET_READ = 23;
  const lacking = capabilityNames(wanted).filter(
    (name) => raw.prctl(PR_CAPBSET_READ, CAPABILITIES.indexOf(name), 0, 0, 0) !== 1,
  );
  if (lacking.length > 0)
    return notExecutable(
      "COMMAND_NOT_PERMITTED",
      `the file asks for ${lacking.join(", ")}, which the bounding set of the container lacks`,
      `add it to process.capabilities.bounding (--cap-add ${lacking[0]?.slice(4)}), or take it from the file: setcap -r ${file}`,
      `security.capability of ${file}: ${capabilityNames(wanted).join(", ")}`,
    );
  return notExecutable(
    "COMMAND_NOT_PERMITTED",
    "the kernel forbids it",
    /^Seccomp:\s2$/m.test(read("/proc/self/status") ?? "")
      ? "a seccomp filter around tupper may forbid execve: start the container around it with --security-opt seccomp=unconfined"
      : "a security module of the kernel may forbid it: see dmesg",
  );
}

function explainContent(file: string, error: SysError, notExecutable: Answer): ContainerError {
  const head = readHead(file);
  if (head === undefined)
    return notExecutable(
      "COMMAND_UNREADABLE",
      `the kernel says ${error.code}, and the file cannot be read to see why`,
      `chmod +r ${file}`,
    );
  if (head.startsWith("#!")) return explainScript(file, head, error, notExecutable);
  if (head.startsWith("\x7fELF")) return explainElf(file, head, notExecutable, error);
  if (head === "") return notExecutable("COMMAND_EMPTY", "it is empty", "copy or build the program again");
  return notExecutable(
    "COMMAND_FORMAT",
    "it is neither an ELF program nor a script that begins with #!",
    "start a script with a line such as #!/bin/sh",
    `its first bytes are ${JSON.stringify(head.slice(0, 16))}`,
  );
}

/** The kernel reads so many bytes of a file to see how it is executed. binfmts.h, BINPRM_BUF_SIZE: since Linux 5.1. */
const HEAD_BYTES = 256;

/** The program behind `#!`, as the kernel reads it. execve(2), "Interpreter scripts". */
const interpreterOf = (head: string | undefined): string | undefined =>
  head?.startsWith("#!") ? /^#![ \t]*([^ \t\n]*)/.exec(head)?.[1] || undefined : undefined;

function explainScript(file: string, head: string, error: SysError, notExecutable: Answer): ContainerError {
  const [line = ""] = head.split("\n");
  const interpreter = interpreterOf(head)?.replace(/\r$/, "");
  if (line.endsWith("\r"))
    return notExecutable(
      "SHEBANG_CRLF",
      `its first line ends in a carriage return, so the kernel looks for "${interpreter}\\r"`,
      "it has DOS line ends: dos2unix, or git config core.autocrlf input",
    );
  if (interpreter === undefined)
    return notExecutable(
      "SHEBANG_EMPTY",
      "its first line names no interpreter after #!",
      "write one there, such as #!/bin/sh",
    );
  if (line.length >= HEAD_BYTES && interpreter.length + 2 >= HEAD_BYTES)
    return notExecutable(
      "SHEBANG_TOO_LONG",
      `its first line is longer than the ${HEAD_BYTES - 1} bytes that the kernel reads`,
      "use a shorter path: a symbolic link to the interpreter, or #!/usr/bin/env NAME",
      `the first line has ${line.length} bytes`,
    );
  const inner = whyInterpreterFails(interpreter, error);
  if (inner?.missing)
    return notExecutable(
      "SHEBANG_MISSING",
      `its interpreter ${interpreter} does not exist in the container`,
      `install ${interpreter} in the root filesystem, or name one that is there`,
      inner.evidence,
    );
  if (inner?.loader !== undefined)
    return notExecutable("LOADER_MISSING", `its interpreter ${interpreter} ${inner.why}`, inner.hint, inner.evidence);
  return notExecutable(
    "SHEBANG_FAILED",
    `its interpreter ${interpreter} cannot be executed${inner === undefined ? "" : `: ${inner.why}`}`,
    inner?.hint ?? `try ${interpreter} itself`,
    inner?.evidence ?? (interpreter === file ? undefined : `${interpreter} is there`),
  );
}

interface InterpreterTrouble {
  why: string;
  hint: string | undefined;
  evidence: string | undefined;
  missing?: boolean;
  loader?: string;
}

function whyInterpreterFails(interpreter: string, error: SysError): InterpreterTrouble | undefined {
  const trouble = followPath(interpreter);
  if (trouble !== undefined)
    return {
      why: trouble.why,
      evidence: trouble.evidence,
      hint: `chmod o+x ${trouble.at}`,
      missing: trouble.kind !== "closed",
    };
  const stat = statAt(interpreter);
  if (typeof stat === "number") return undefined;
  const refused = whyNotPermitted(interpreter, stat);
  if (refused !== undefined) return { why: refused[1], hint: refused[2], evidence: refused[3] };
  const head = readHead(interpreter) ?? "";
  if (error.code === "ELOOP" && head.startsWith("#!"))
    return {
      why: "it is a script whose interpreter is a script again, more than four times, or itself in a circle",
      hint: "name a program there, such as #!/bin/sh",
      evidence: `the first line of ${interpreter} is ${JSON.stringify(head.split("\n")[0]?.slice(0, 80))}`,
    };
  const loader = loaderOf(head);
  if (loader === undefined || isThere(loader)) return undefined;
  return { why: needsLoader(loader), hint: loaderHint(loader), evidence: undefined, loader };
}

const needsLoader = (loader: string): string => `needs the loader ${loader}, which does not exist in the container`;

/** Positions of the ELF header are those of 64-bit; a 32-bit program header table lies elsewhere. elf(5) */
function explainElf(file: string, head: string, notExecutable: Answer, error: SysError): ContainerError {
  const { half, byte } = readerOf(head);
  const machine = byte(5) === 2 ? (byte(18) << 8) | byte(19) : half(18);
  const own = machineOfThis();
  const name = MACHINES[machine] ?? `machine ${machine}`;
  if (name !== own && !(own === "x86_64" && name === "i386") && !(own === "arm64" && name === "arm")) {
    return notExecutable(
      "WRONG_ARCHITECTURE",
      `it is a program for ${name}, and this machine is ${own}`,
      `use a root filesystem for ${own}, or install qemu-user-static with binfmt on the machine`,
      `e_machine of its ELF header is ${machine}`,
    );
  }
  const loader = loaderOf(head);
  if (loader !== undefined && !isThere(loader))
    return notExecutable("LOADER_MISSING", `it ${needsLoader(loader)}`, loaderHint(loader));
  const stat = statAt(file);
  const { tableAt, size, count } = programHeaders(head);
  if (typeof stat !== "number" && (head.length < 52 || tableAt + size * count > stat.size))
    return notExecutable(
      "COMMAND_FORMAT",
      `it is a program for ${name} that is cut off: its headers lie behind its end`,
      "copy it again, or build it anew",
      `it has ${stat.size} bytes, and its program headers end at ${tableAt + size * count}`,
    );
  const SHARED = 3;
  return notExecutable(
    "COMMAND_FORMAT",
    `it is ${half(16) === 1 ? "an object file" : half(16) === SHARED && loader === undefined ? "a library" : "a program"} for ${name}, but the kernel says ${error.code}`,
    `see file ${file} and readelf -l ${file}`,
  );
}

function readerOf(head: string) {
  const byte = (at: number) => head.charCodeAt(at) & 0xff;
  const half = (at: number) => byte(at) | (byte(at + 1) << 8);
  const word = (at: number) => half(at) + half(at + 2) * 65536;
  return { byte, half, word, wide: byte(4) === 2 };
}

function programHeaders(head: string) {
  const { half, word, wide } = readerOf(head);
  return { tableAt: wide ? word(32) : word(28), size: wide ? half(54) : half(42), count: wide ? half(56) : half(44) };
}

/** The loader that an ELF program names (PT_INTERP); undefined for a static one, or for another kind of file. */
function loaderOf(head: string): string | undefined {
  if (!head.startsWith("\x7fELF")) return undefined;
  const { word, wide } = readerOf(head);
  const { tableAt, size, count } = programHeaders(head);
  const PT_INTERP = 3;
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * size;
    if (at + size > head.length || word(at) !== PT_INTERP) continue;
    const start = wide ? word(at + 8) : word(at + 4);
    const length = wide ? word(at + 32) : word(at + 16);
    return head.slice(start, start + length - 1) || undefined;
  }
  return undefined;
}

function loaderHint(interpreter: string): string {
  if (interpreter.includes("musl"))
    return "it was linked with musl (Alpine): install musl there, or use a build for glibc";
  return "it was linked dynamically: install its C library in the root filesystem, or link it statically";
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
