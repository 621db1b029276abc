/** An error for programs: one JSON object on one line of stderr, the last one there. docs/errors.md lists the codes. */
import type { ContainerError } from "../error.ts";
import { printableJson } from "../printable.ts";
import { mapStack } from "../sys/stack.ts";
import { SysError } from "../sys/sys.ts";
import { errorOfCall } from "./render-error.ts";

export interface ErrorObject {
  code: string;
  message: string;
  /** The config field (`mounts[3].source`) or flag (`--memory`) behind it. */
  field?: string | undefined;
  /** The system call that failed, as `strace` writes it, and its errno by name. */
  kernel?: string | undefined;
  syscall?: string;
  errno?: string;
  /** What was read from the machine after the failure. */
  evidence?: string | undefined;
  hint?: string | undefined;
  /** Of faults of tupper: where. */
  stack?: string;
}

/** What is not known is left out. */
export function errorObject(error: unknown): ErrorObject {
  const known = errorOfCall(error);
  if (known !== undefined) return describe(known);
  if (!(error instanceof Error)) return { code: "INTERNAL", message: String(error) };
  return { code: "INTERNAL", message: error.message, stack: mapStack(error.stack ?? "") };
}

function describe({ code, message, field, kernel, evidence, hint, cause }: ContainerError): ErrorObject {
  const call = cause instanceof SysError ? { syscall: cause.syscall, errno: cause.code } : {};
  return { code, message, field, kernel, ...call, evidence, hint };
}

/** With a line feed at the end. */
export const errorLine = (error: unknown): string => `${printableJson(JSON.stringify(errorObject(error)))}\n`;
