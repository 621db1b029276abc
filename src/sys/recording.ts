/**
 * Two tables that take the host's place (`replaceSys`): one that only records, for tests of error paths under Node
 * without root, and one that passes every call on and reports it, for `tupper run --trace syscalls`.
 *
 * The recording double knows nothing of the kernel: a call answers 0 unless the script says otherwise. Only text
 * conversion is real, because the code under test could not build its buffers without it.
 */
import { CALL_NAMES, type RawSys } from "./generated.ts";

type Call = keyof RawSys;
type Answer<K extends Call> = ReturnType<RawSys[K]> | ((...args: Parameters<RawSys[K]>) => ReturnType<RawSys[K]>);

/**
 * What calls answer: a value (`-13` is EACCES), a function of the arguments, or an array of those, used up one by
 * one and followed by the default. A result that is itself an array needs a function.
 */
export type Script = { [K in Call]?: Answer<K> | readonly Answer<K>[] };

export interface RecordedCall {
  name: Call;
  /** As they were at the time of the call: buffers are copies. */
  args: readonly unknown[];
}

/** A table of calls that reach no kernel, and the list of what was asked of it. */
export interface RecordingSys extends RawSys {
  readonly calls: RecordedCall[];
}

const DEFAULTS: { [K in Call]?: RawSys[K] } = {
  readText: () => "",
  readlinkText: () => "",
  sourceMap: () => "",
  environment: () => [],
  receiveMessage: () => ({ text: "", fds: [] }),
  encodeText,
  decodeText: (buffer, start, end) => decodeText(buffer, Number(start), Number(end)),
};

const CALLS = Object.keys(CALL_NAMES) as Call[];

/**
 * A {@link RawSys} that records every call and answers from `script`, else with 0.
 *
 * ```ts
 * const recorder = recordingSys({ openat: 5, mount: [0, -16] }); // the second mount says EBUSY
 * const before = replaceSys(recorder);
 * ```
 */
export function recordingSys(script: Script = {}): RecordingSys {
  const calls: RecordedCall[] = [];
  const queues = new Map<Call, unknown[]>();
  const answerTo = (name: Call, args: unknown[]): unknown => {
    let answer: unknown = script[name];
    if (Array.isArray(answer)) {
      const queue = queues.get(name) ?? [...answer];
      queues.set(name, queue);
      answer = queue.shift();
    }
    answer ??= DEFAULTS[name] ?? 0;
    return typeof answer === "function" ? answer(...args) : answer;
  };
  const table = CALLS.map((name) => [
    name,
    (...given: unknown[]) => {
      const args = withoutTrailingUndefined(given);
      calls.push({ name, args: args.map(frozen) });
      return answerTo(name, args);
    },
  ]);
  return { ...Object.fromEntries(table), calls } as RecordingSys;
}

/** `sys` always passes six arguments; a call has as many as are not undefined. */
export function withoutTrailingUndefined(args: readonly unknown[]): unknown[] {
  let length = args.length;
  while (length > 0 && args[length - 1] === undefined) length--;
  return args.slice(0, length);
}

const frozen = (value: unknown): unknown => (value instanceof ArrayBuffer ? value.slice(0) : value);

/** One call that went through {@link tracingSys}. */
export interface TracedCall {
  name: Call;
  /** The kernel's name of it, or the host's for what is no single system call. */
  syscall: string;
  args: readonly unknown[];
  /** Undefined for a call that does not return when it succeeds and is about to be made: execve, exit_group. */
  result: unknown;
  microseconds: number;
}

const NO_RETURN: ReadonlySet<Call> = new Set(["execve", "execveat", "exitGroup"]);

/**
 * `inner` with every call reported after it returned; execve and exit_group also before, since nobody is left after.
 * Calls made by `report` itself go straight to `inner`, so it may write with `sys`.
 */
export function tracingSys(inner: RawSys, report: (call: TracedCall) => void): RawSys {
  let reporting = false;
  const tell = (call: TracedCall) => {
    reporting = true;
    try {
      report(call);
    } finally {
      reporting = false;
    }
  };
  const table = CALLS.map((name) => {
    const call = inner[name] as (...args: unknown[]) => unknown;
    const syscall = CALL_NAMES[name];
    const traced = (...given: unknown[]) => {
      const args = withoutTrailingUndefined(given);
      if (reporting) return call(...args);
      if (NO_RETURN.has(name)) tell({ name, syscall, args, result: undefined, microseconds: 0 });
      const start = Number(inner.monotonicUs());
      const result = call(...args);
      tell({ name, syscall, args, result, microseconds: Number(inner.monotonicUs()) - start });
      return result;
    };
    return [name, name === "monotonicUs" ? call : traced];
  });
  return Object.fromEntries(table) as unknown as RawSys;
}

/** As host/native.h does it: a lone U+DC80…U+DCFF is the byte it was made from. */
function encodeText(text: string): ArrayBuffer {
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return new Uint8Array(bytes).buffer;
}

function decodeText(buffer: ArrayBuffer, start: number, end: number): string {
  const bytes = new Uint8Array(buffer).subarray(start, end);
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at] ?? 0;
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    const rest = bytes.subarray(at + 1, at + length);
    let code = length === 1 ? first : first & (0x7f >> length);
    for (const byte of rest) code = (code << 6) | (byte & 63);
    const smallest = [0, 0, 0x80, 0x800, 0x10000][length] ?? 0;
    const valid =
      (first < 0x80 || first >= 0xc0) &&
      rest.length === length - 1 &&
      rest.every((byte) => byte >> 6 === 2) &&
      code >= smallest &&
      code <= 0x10ffff &&
      (code < 0xd800 || code > 0xdfff);
    text += valid ? String.fromCodePoint(code) : String.fromCharCode(0xdc00 + first);
    at += valid ? length : 1;
  }
  return text;
}
