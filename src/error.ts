/** The one error that people see. Made where the purpose of a failed call is known, reported once, in main. */
import type { ErrorCode } from "./error-codes.ts";
import { callText } from "./sys/call-text.ts";
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

/** A sentence may have a path of some thousand letters in it. */
const LONG = 1000;
const shortened = (word: string): string => `${word.slice(0, 200)}…${word.slice(-60)}`;

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
    super(message.length > LONG ? message.replace(/\S{300,}/g, shortened) : message, { cause });
    this.code = code;
    this.field = field;
    this.hint = hint ?? (cause instanceof SysError ? scarcity(cause) : undefined);
    this.evidence = evidence;
    this.exitCode = exitCode;
  }

  /** The kernel's answer, when a system call failed underneath. */
  get kernel(): string | undefined {
    return this.cause instanceof SysError ? callText(this.cause) : undefined;
  }
}

/** What is scarce is scarce for every step, whatever its purpose. */
function scarcity({ code, syscall }: SysError): string | undefined {
  switch (code) {
    case "EMFILE":
      return "raise the limit: ulimit -n";
    case "ENFILE":
      return "raise /proc/sys/fs/file-max";
    case "ENOMEM":
      return "free some, or raise the limit of the control group that tupper runs in, or ulimit -v";
    case "ENOSPC":
      return /mount|tree|pivot/.test(syscall)
        ? "there are as many mounts as /proc/sys/fs/mount-max lets a mount namespace have, or no space for one"
        : "free space there, or inodes (df -i)";
    case "EDQUOT":
      return syscall === "keyctl"
        ? "the user has as many keys as /proc/sys/kernel/keys/maxkeys lets one have (/proc/key-users): raise it"
        : "free some space there";
    case "EROFS":
      return "tupper writes its records below /run/tupper, /run/tupper-runtime (--root) or $XDG_RUNTIME_DIR";
    case "EAGAIN":
      return /^clone/.test(syscall)
        ? "a limit of processes is reached: ulimit -u, or pids.max of the control group of tupper or of the container"
        : undefined;
    default:
      return undefined;
  }
}

/** What QuickJS throws when an allocation fails. */
export const isOutOfMemory = (error: unknown): boolean => error instanceof Error && error.message === "out of memory";

/** For the reader of a sentence that would otherwise call it a fault of ours. */
export const outOfMemory = (cause: unknown, doing = ""): ContainerError =>
  new ContainerError("OUT_OF_MEMORY", `${doing === "" ? "" : `${doing}: `}there is no memory left for tupper`, {
    cause,
    hint: "raise the limit that tupper itself runs under: ulimit -v, ulimit -d, or that of its control group",
  });
