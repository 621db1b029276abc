/**
 * `--log FILE` and what goes into it: callers read its last line to tell people what went wrong, so a line holds the whole
 * sentence. Without the flag warnings go to stderr.
 *
 * The file is opened for each line, so a command that has nothing to say pays nothing for it. runc and crun open it first, and
 * fail where they cannot. Here that is a warning, and what should have been in the file goes to stderr. `file:PATH`, `syslog:NAME` and
 * `journald:NAME` are crun's; another name with a colon is a file's, as under runc.
 */
import { ContainerError } from "../../error.ts";
import { printable, printableJson } from "../../printable.ts";
import { absolute } from "../../runtime/bundle.ts";
import { AT_FDCWD, O_APPEND, O_CLOEXEC, O_CREAT, O_NONBLOCK, O_WRONLY } from "../../sys/constants.ts";
import { writeAll } from "../../sys/files.ts";
import { raw, SysError, sys } from "../../sys/sys.ts";
import { type ErrorObject, errorObject } from "../error-json.ts";
import { fieldLabel } from "../render-error.ts";
import { writeErr } from "../terminal.ts";
import { logService, patience, sendToService } from "./log-socket.ts";

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
    if (hasLogFile(options)) append(options, "warning", text);
    else writeWarning(text);
  };

/** What `--log` names, of the caller's directory: `create` and `run` go to that of the bundle. */
export const logDestination = (value: string): string =>
  value === "" || logService(value) !== undefined ? value : absolute(value.replace(/^file:/, ""));

/** An empty name is none, as for runc. */
export const hasLogFile = ({ log }: LogOptions): boolean => log !== undefined && log !== "";

const writeWarning = (text: string): void => writeErr(`warning: ${printable(text)}\n`);

/** With `--debug`: what is done, a line each, in the form of the log file also on stderr. */
export const debugTo = (options: LogOptions): ((text: string) => void) | undefined =>
  options.debug || options.logLevel === "debug" ? (text) => append(options, "debug", text) : undefined;

/**
 * The sentence of an error, with the kernel's answer and the field behind it; in JSON also all that is known of it. Without
 * a log file JSON goes to stderr.
 */
export function logError(options: LogOptions, error: unknown): void {
  if (hasLogFile(options) || options.logFormat === "json") append(options, "error", oneLine(error), errorObject(error));
}

/** What the file does not take goes to stderr: errors do anyway. */
function append(options: LogOptions, level: Level, msg: string, more: Partial<ErrorObject> = {}): void {
  const { log = "", logFormat } = options;
  const time = new Date().toISOString();
  const text =
    logFormat === "json"
      ? JSON.stringify({ level, msg, time, ...more, message: undefined })
      : `time="${time}" level=${level} msg=${JSON.stringify(msg)}`;
  const line = `${printableJson(text)}\n`;
  if (!hasLogFile(options)) return writeErr(line);
  const failure = logLine(log, level, line, logFormat === "json" ? text : msg);
  if (failure === undefined) return;
  tellOnce(log, failure);
  if (level === "warning") writeWarning(msg);
  else if (level === "debug") writeErr(line);
}

/** `bare`: without what a service adds by itself. */
function logLine(log: string, level: Level, line: string, bare: string): SysError | undefined {
  let fd = -1;
  try {
    const service = logService(log);
    if (service !== undefined) {
      sendToService(service, level, printable(bare));
      return undefined;
    }
    // O_NONBLOCK: the open of a FIFO that nobody has open fails, and does not wait; nor does who writes to one that is full.
    fd = sys.openat(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0o644);
    writeAll(fd, line, patience.ms);
    return undefined;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.code === "EAGAIN") patience.ms = 0;
    return error;
  } finally {
    if (fd >= 0) raw.close(fd);
  }
}

let isTold = false;

function tellOnce(log: string, cause: SysError): void {
  if (isTold) return;
  isTold = true;
  const error = new ContainerError("LOG_FILE", `cannot write the log file ${log}`, { field: "--log", cause });
  writeWarning(oneLine(error));
}

/** An error as one line of text. */
export function oneLine(error: unknown): string {
  if (!(error instanceof ContainerError)) return error instanceof Error ? error.message : String(error);
  const { message, kernel, field, hint, evidence, code } = error;
  const more = [
    ...(field === undefined ? [] : [`${fieldLabel(field)}: ${field}`]),
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
