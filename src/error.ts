/** The one error that people see. Made where the purpose of a failed call is known, reported once, in main. */
import type { ErrorCode } from "./error-codes.ts";
import { SysError } from "./sys/sys.ts";

/** Exit codes as `docker run` gives them: 125 is tupper's own failure, 126 and 127 are the command's. */
export const EXIT = { failure: 125, notExecutable: 126, notFound: 127, usage: 125 } as const;

export interface ErrorDetails {
  /** The config field (`mounts[3].source`) or flag (`--memory`) behind it. */
  field?: string;
  /** What to do about it. */
  hint?: string;
  /** What was read from the machine after the failure, and shows why. */
  evidence?: string | undefined;
  cause?: unknown;
  exitCode?: number;
}

export class ContainerError extends Error {
  override readonly name = "ContainerError";
  /** Stable, in capitals, for programs: `MOUNT_SOURCE_MISSING`. */
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly hint: string | undefined;
  readonly evidence: string | undefined;
  readonly exitCode: number;

  constructor(
    code: ErrorCode,
    message: string,
    { field, hint, evidence, cause, exitCode = EXIT.failure }: ErrorDetails = {},
  ) {
    super(message, { cause });
    this.code = code;
    this.field = field;
    this.hint = hint;
    this.evidence = evidence;
    this.exitCode = exitCode;
  }

  /** The kernel's answer, when a system call failed underneath. */
  get kernel(): string | undefined {
    return this.cause instanceof SysError ? this.cause.message : undefined;
  }
}
