/**
 * What the init process and its parent say to each other, over a pair of SOCK_SEQPACKET sockets.
 *
 * Where both share their memory (CLONE_VM) this is also the baton: one side runs while the other waits for a message.
 * The last word of the init process is `exec`; end of file after it means that the command runs.
 */

import { ContainerError } from "../error.ts";
import type { ErrorCode } from "../error-codes.ts";
import { isObject, type JsonObject } from "../spec/check.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET } from "../sys/constants.ts";
import { errnoNumber } from "../sys/errno.ts";
import { raw, SysError, sys } from "../sys/sys.ts";
import type { TreeRequest } from "./take-for-init.ts";

export type Message =
  | /** The parent is to write the id maps. */ { kind: "map" }
  | /** The parent is to put this process into its control groups. */ { kind: "place" }
  | /** They are written; the descriptors with the message are trees for these slots. */ {
      kind: "mapped";
      trees: string[];
    }
  | /** The master of the container's terminal, as a descriptor with the message. */ { kind: "pty" }
  | /** The parent is to run the hooks that run on its side. */ { kind: "hooks" }
  | /** The parent is to put this process into the group that is delegated to it. */ { kind: "delegate" }
  | /** The parent is to put the container on record: it can live on its own. */ { kind: "created" }
  | /** Before a mount is placed in a running container: to be put on record. */ {
      kind: "placing";
      mount: { target: string; mountId: string };
    }
  | /** What was asked for in a running container is done. */ { kind: "placed" }
  | /** What was asked for is done. */ { kind: "done" }
  | /** From `start`, with the socket for the answers. */ { kind: "start" }
  | /** The descriptor `fd` of the init process will be the listener of its seccomp filter, for the agent at `path`. */ {
      kind: "listener";
      fd: number;
      path: string;
      metadata: string | undefined;
    }
  | /** The filter may be loaded. */ { kind: "listening" }
  | /** The parent is to set a limit of the init process, which may not do it itself. */ {
      kind: "rlimit";
      resource: number;
      soft: string;
      hard: string;
    }
  | { kind: "oomScore"; score: number; mayStay?: true | undefined }
  | /** The parent is to take a tree that the init process may not reach. */ {
      kind: "take";
      request: TreeRequest;
    }
  | /** The parent is to hand over a null device that cannot be changed. */ { kind: "null" }
  | /** It is the descriptor with the message. */ { kind: "taken" }
  | /** What the kernel said to the parent. */ { kind: "answered"; result: number; args: (string | number)[] }
  | /** Before anything else, where the command is to be followed: the parent is to seize this process. */ {
      kind: "watch";
    }
  | { kind: "warning"; text: string }
  | /** For whoever follows the steps in the parent (lessons); answered with `done`. */ { kind: "aside"; text: string }
  | /** From the process between parent and init: init's number. */ { kind: "spawned"; pid: number }
  | /** Set-up is complete; execve is next. */ { kind: "exec" }
  | { kind: "error"; error: SentError };

interface SentError {
  code: ErrorCode;
  message: string;
  field: string | undefined;
  hint: string | undefined;
  evidence: string | undefined;
  exitCode: number;
  kernel: { syscall: string; errno: number; args: (string | number | null)[] } | undefined;
}

/** Both ends: [parent's, child's]. */
export function openChannel(): [number, number] {
  const fds = new ArrayBuffer(8);
  sys.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
  const [parent = -1, child = -1] = new Int32Array(fds);
  return [parent, child];
}

/** Throws {@link SysError} EPIPE when the other side is gone. */
export function send(channel: number, message: Message, fds: readonly number[] = []): void {
  sys.sendMessage(channel, JSON.stringify(message), fds);
}

/** The next message and the descriptors that came with it; undefined when the other side is gone. Throws MESSAGE_BROKEN. */
export function receive(channel: number): { message: Message; fds: number[] } | undefined {
  const got = raw.receiveMessage(channel);
  if (typeof got === "number") {
    if (got === -104) return undefined; // ECONNRESET: gone with a message of ours unread
    throw new SysError("recvmsg", -got, [channel]);
  }
  const { text, fds } = got as { text: string; fds: number[] };
  if (text === "") return undefined;
  const message = parseMessage(text);
  if (message !== undefined) return { message, fds };
  for (const fd of fds) raw.close(fd);
  throw new ContainerError(
    "MESSAGE_BROKEN",
    `what came over a socket is no message: ${JSON.stringify(text.slice(0, 80))}`,
  );
}

/** Undefined for what is none: a socket with a name takes messages of anybody who may write to it. */
function parseMessage(text: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(text);
    if (
      isObject(message) &&
      typeof message.kind === "string" &&
      (message.kind !== "error" || isSentError(message.error)) &&
      (message.kind !== "listener" || isListener(message)) &&
      (message.kind !== "warning" || typeof message.text === "string")
    )
      return message as Message;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return undefined;
}

const isSentError = (error: unknown): boolean =>
  isObject(error) &&
  typeof error.code === "string" &&
  typeof error.message === "string" &&
  (error.kernel === undefined || (isObject(error.kernel) && Array.isArray(error.kernel.args)));

const isListener = ({ fd, path, metadata }: JsonObject): boolean =>
  Number.isInteger(fd) &&
  typeof path === "string" &&
  path.startsWith("/") &&
  (metadata === undefined || typeof metadata === "string");

export function packError(error: unknown): Message {
  const known = error instanceof ContainerError ? error : undefined;
  const cause = known === undefined ? error : known.cause;
  return {
    kind: "error",
    error: {
      code: known?.code ?? "INTERNAL",
      message: clip(known?.message ?? (error instanceof Error ? `${error.message}\n${error.stack}` : String(error))),
      field: known?.field,
      hint: known?.hint,
      evidence: known?.evidence,
      exitCode: known?.exitCode ?? 125,
      kernel:
        cause instanceof SysError
          ? {
              syscall: cause.syscall,
              errno: errnoNumber(cause.code) ?? cause.errno,
              args: cause.args.map((arg) =>
                typeof arg === "number" || arg === null ? arg : typeof arg === "string" ? clip(arg) : nameOf(arg),
              ),
            }
          : undefined,
    },
  };
}

/** A structure travels by its size alone. */
const nameOf = (arg: unknown): string => (arg instanceof ArrayBuffer ? `[${arg.byteLength} bytes]` : clip(String(arg)));

/** One message holds some 200 KB, and an argument of the command may be as long as that. */
const clip = (text: string): string => (text.length > 10_000 ? `${text.slice(0, 10_000)}…` : text);

export function unpackError({ code, message, field, hint, evidence, exitCode, kernel }: SentError): ContainerError {
  return new ContainerError(code, message, {
    ...(field === undefined ? {} : { field }),
    ...(hint === undefined ? {} : { hint }),
    evidence,
    exitCode,
    cause: kernel === undefined ? undefined : new SysError(kernel.syscall, kernel.errno, kernel.args),
  });
}
