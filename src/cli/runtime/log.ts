/**
 * `--log FILE` and what goes into it: callers read its last line to tell people what went wrong, so a line holds the whole
 * sentence. Without the flag warnings go to stderr.
 */
import { ContainerError } from "../../error.ts";
import { AT_FDCWD, O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY } from "../../sys/constants.ts";
import { raw, SysError } from "../../sys/sys.ts";
import { type ErrorObject, errorObject } from "../error-json.ts";
import { printableLines } from "../table.ts";
import { writeErr } from "../terminal.ts";

export interface LogOptions {
  log?: string;
  logFormat?: "text" | "json";
  logLevel?: string;
  debug?: boolean;
}

type Level = "error" | "warning" | "debug";

export const warnTo =
  (options: LogOptions) =>
  (text: string): void => {
    if (options.log === undefined) writeErr(`warning: ${printableLines(text)}\n`);
    else append(options, "warning", text);
  };

/** With `--debug`: what is done, a line each, in the form of the log file also on stderr. */
export const debugTo = (options: LogOptions): ((text: string) => void) | undefined =>
  options.debug || options.logLevel === "debug" ? (text) => append(options, "debug", text) : undefined;

/**
 * The sentence of an error, with the kernel's answer and the field behind it; in JSON also all that is known of it. Without
 * a log file JSON goes to stderr.
 */
export function logError(options: LogOptions, error: unknown): void {
  if (options.log !== undefined || options.logFormat === "json")
    append(options, "error", oneLine(error), errorObject(error));
}

function append({ log, logFormat }: LogOptions, level: Level, msg: string, more: Partial<ErrorObject> = {}): void {
  const time = new Date().toISOString();
  const line =
    logFormat === "json"
      ? JSON.stringify({ level, msg, time, ...more, message: undefined })
      : `time="${time}" level=${level} msg=${JSON.stringify(msg)}`;
  if (log === undefined) return writeErr(`${line}\n`);
  const fd = raw.openat(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644);
  if (fd < 0)
    throw new ContainerError("LOG_FILE", `cannot write the log file ${log}`, {
      field: "--log",
      cause: new SysError("openat", -fd, [log]),
    });
  raw.write(fd, `${line}\n`);
  raw.close(fd);
}

/** An error as one line of text. */
export function oneLine(error: unknown): string {
  if (!(error instanceof ContainerError)) return error instanceof Error ? error.message : String(error);
  const { message, kernel, field, hint, evidence, code } = error;
  const more = [
    ...(field === undefined ? [] : [`config: ${field}`]),
    ...(evidence === undefined ? [] : [`found: ${evidence}`]),
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
    code,
  ];
  return `${message}${kernel === undefined ? "" : `: ${inSmallLetters(kernel)}`} (${more.join("; ")})`;
}

/**
 * The kernel's answer with its words as Go writes them: Docker takes "permission denied" for exit code 126, "no such file or
 * directory" for 127, and looks at the case of the letters.
 */
function inSmallLetters(kernel: string): string {
  return kernel.replace(/\([A-Z][^()]*\)$/, (words) => words.toLowerCase());
}
