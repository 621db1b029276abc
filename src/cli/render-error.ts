/**
 * How an error looks to people: one sentence with its code, then where it came from, what the kernel said, what to do.
 *
 *     error: cannot mount /srv/data at /data: the source does not exist (MOUNT_SOURCE_MISSING)
 *       config: mounts[3].source
 *       kernel: open_tree("/srv/data", OPEN_TREE_CLONE) = ENOENT
 *       found:  /srv has no data
 *       hint:   create it on the host first; a bind mount never creates its source
 */
import { ContainerError, isOutOfMemory, outOfMemory } from "../error.ts";
import type { KernelCode } from "../error-codes.ts";
import { printable, printableLines } from "../printable.ts";
import { errnoText } from "../sys/errno.ts";
import { mapStack } from "../sys/stack.ts";
import { SysError } from "../sys/sys.ts";
import type { Colors } from "./terminal.ts";

/** The lines for any error, with a line feed at the end. `map` turns a stack of the bundle into one of the sources. */
export function renderError(error: unknown, colors: Colors, map: (stack: string) => string = mapStack): string {
  const known = errorOfCall(error);
  if (known !== undefined) return renderContainerError(known, colors);
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  const code = error instanceof SysError ? error.code : "INTERNAL";
  const trace = stack === undefined ? "" : map(stack).replace(`${String(error)}\n`, "");
  return (
    `${headline(message, code, colors)}\n` +
    `${detail("hint", "this is a fault of tupper; the lines below say where", colors)}\n` +
    colors.dim(trace === "" || trace.endsWith("\n") ? trace : `${trace}\n`)
  );
}

/** A failed call that belongs to no step is one of the machine's errors; undefined for a fault of tupper. */
export function errorOfCall(error: unknown): ContainerError | undefined {
  if (error instanceof ContainerError) return error;
  if (isOutOfMemory(error)) return outOfMemory(error);
  if (!(error instanceof SysError) || OURS.has(error.code)) return undefined;
  const [because, hint] = MACHINE[error.code] ?? [errnoText(error.errno).toLowerCase(), undefined];
  const isOfSys = error.args.some((arg) => typeof arg === "string" && arg.startsWith("/sys/"));
  return new ContainerError(error.code as KernelCode, `${error.syscall} failed: ${because}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint: isOfSys ? hint.replace("/proc", "/sys/fs/cgroup") : hint }),
  });
}

/** What the kernel says to a program that hands it nonsense. Anything else may come from any machine at any time. */
const OURS = new Set(["EBADF", "EFAULT"]);

/** What a system call that serves no single step says of the machine, not of tupper: [because, hint]. */
const MACHINE: Readonly<Record<string, readonly [string, string?]>> = {
  EMFILE: ["too many files are open"],
  ENFILE: ["too many files are open on the machine"],
  ENOMEM: ["there is no memory left"],
  ENOSPC: ["there is no space left on the device"],
  EDQUOT: ["the disk quota is used up"],
  EROFS: ["the filesystem is read-only"],
  EIO: ["the device failed", "see dmesg"],
  EPIPE: ["nobody reads the output any more", "the reader of the pipe ended first"],
  ENOENT: ["there is no such file or directory", "is /proc mounted?"],
  EINVAL: [
    "the kernel takes no such value",
    "an older kernel may not know it: docs/kernel.md says what each is used for",
  ],
  ENOSYS: ["this kernel does not have it, or a seccomp filter hides it", "docs/kernel.md says what tupper needs"],
  EACCES: ["access is denied", "run as root, or look at the modes of the directories on the way"],
};

/** What kind of thing is behind an error: `--memory`, `ROOT`, `mounts[3].source`. */
export const fieldLabel = (field: string): "flag" | "arg" | "config" =>
  field.startsWith("-") ? "flag" : /^[A-Z]+$/.test(field) ? "arg" : "config";

function renderContainerError(error: ContainerError, colors: Colors): string {
  const { field, kernel, evidence, hint } = error;
  const lines = [headline(error.message, error.code, colors)];
  if (field !== undefined) lines.push(detail(fieldLabel(field), field, colors));
  if (kernel !== undefined) lines.push(detail("kernel", kernel, colors));
  if (evidence !== undefined) lines.push(detail("found", evidence, colors));
  if (hint !== undefined) lines.push(detail("hint", hint, colors));
  return `${lines.join("\n")}\n`;
}

// A fault of ours has its stack in the message; a line feed in any other is part of somebody's name.
const headline = (message: string, code: string, colors: Colors): string =>
  `${colors.bold(colors.red("error:"))} ${code === "INTERNAL" ? printableLines(message) : printable(message)} ${colors.dim(`(${code})`)}`;

const detail = (label: string, text: string, colors: Colors): string =>
  `  ${colors.dim(`${label}:`.padEnd(8))}${printable(text)}`;
