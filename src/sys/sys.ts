/**
 * The typed face of the host's calls.
 *
 * `raw` gives what the kernel gave: a negative number is -errno. It is for hot paths that expect a failure.
 * `sys` throws a {@link SysError} instead. Both go through one replaceable table, so that `--trace` can watch
 * every call and tests can record them (recording.ts).
 */
import { errnoName, errnoText } from "./errno.ts";
import { CALL_NAMES, type RawSys } from "./generated.ts";

declare const __sys: RawSys | undefined;

/** Answers of raw calls that are no failure: -errno. */
export const EINTR = -4;
export const EAGAIN = -11;

type Call = keyof RawSys;
type Checked<R> = R extends string | number ? (string extends R ? string : number) : R;

/** Like {@link RawSys}, but a failure is thrown: what comes back is a result. */
export type Sys = {
  [K in Call]: (
    ...args: Parameters<RawSys[K]>
  ) => ReturnType<RawSys[K]> extends string | number
    ? string extends ReturnType<RawSys[K]>
      ? string
      : Checked<Exclude<ReturnType<RawSys[K]>, string>>
    : ReturnType<RawSys[K]>;
};

/** A failed system call: which, why, and with what. Made only here. */
export class SysError extends Error {
  override readonly name = "SysError";
  readonly syscall: string;
  /** The errno as a positive number. */
  readonly errno: number;
  /** The errno's name, such as `ENOENT`. */
  readonly code: string;
  readonly args: readonly unknown[];

  constructor(syscall: string, errno: number, args: readonly unknown[]) {
    super(`${syscall}(${args.map(showArgument).join(", ")}) = ${errnoName(errno)} (${errnoText(errno)})`);
    this.syscall = syscall;
    this.errno = errno;
    this.code = errnoName(errno);
    this.args = args;
  }
}

export function showArgument(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 256 ? `${value.slice(0, 256)}…` : value);
  if (value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return `[${value.map(showArgument).join(", ")}]`;
  if (value === null || value === undefined) return "NULL";
  return typeof value === "function" ? "…" : String(value);
}

/** For tests under Node. The host has no Proxy. */
const missingHost = (): RawSys =>
  new Proxy({} as RawSys, {
    get: (_target, name) => () => {
      throw new Error(`sys.${String(name)} was called, but this is not the host binary`);
    },
  });

/** The calls as they are; negative results are -errno. Replaced by {@link replaceSys}. */
export let raw: RawSys = typeof __sys === "undefined" ? missingHost() : __sys;

/** Puts another table in place of the host's and returns the one that was there. */
export function replaceSys(table: RawSys): RawSys {
  const before = raw;
  raw = table;
  return before;
}

type AnyCall = (a: unknown, b: unknown, c: unknown, d: unknown, e: unknown, f: unknown) => unknown;

/** Six parameters, which no call exceeds, instead of a rest array: this is the hottest function of all. */
function checked(name: Call): AnyCall {
  return (a, b, c, d, e, f) => {
    const result = (raw[name] as AnyCall)(a, b, c, d, e, f);
    if (typeof result === "number" && result < 0) {
      throw new SysError(
        CALL_NAMES[name],
        -result,
        [a, b, c, d, e, f].filter((argument) => argument !== undefined),
      );
    }
    return result;
  };
}

/** The calls, throwing {@link SysError} when the kernel says no. */
export const sys = Object.fromEntries(
  (Object.keys(CALL_NAMES) as Call[]).map((name) => [name, checked(name)]),
) as unknown as Sys;

/** The result of a raw call, or a {@link SysError} for it: `check(raw.mkdirat(d, p, m), "mkdirat", d, p, m)`. */
export function check(result: number, syscall: string, ...args: unknown[]): number {
  if (result < 0) throw new SysError(syscall, -result, args);
  return result;
}
