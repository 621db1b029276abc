/** `--trace`: each step, and with `syscalls` each system call, as it happens: result and microseconds, on stderr. */
import { describeStep } from "../explain/describe.ts";
import type { Step } from "../plan/step.ts";
import { printable } from "../printable.ts";
import { errnoName } from "../sys/errno.ts";
import { tracingSys } from "../sys/recording.ts";
import { raw, replaceSys } from "../sys/sys.ts";

export type TraceLevel = "off" | "steps" | "syscalls";

export interface Tracer {
  /** Performs a step. `channel`: to the parent, where the init process performs it. */
  step(step: Step, perform: () => void, channel?: number): void;
}

/** Undefined for `off`. */
export function makeTracer(level: TraceLevel): Tracer | undefined {
  if (level === "off") return undefined;
  const now = raw.monotonicUs as () => number;
  const write = raw.write;
  const print = (line: string) => write(2, `${printable(line)}\n`);
  if (level === "syscalls") traceCalls(print);
  return {
    step(step, perform) {
      const start = now();
      const took = () => `${(now() - start).toFixed(0).padStart(6)} µs`;
      if (step.op === "exec") print(`${took()}  init    ${describeStep(step)}`);
      try {
        perform();
      } catch (error) {
        print(
          `${took()}  ${step.by.padEnd(6)}  ${describeStep(step)}: ${error instanceof Error ? error.message : String(error)}`,
        );
        throw error;
      }
      print(`${took()}  ${step.by.padEnd(6)}  ${describeStep(step)}`);
    },
  };
}

/** Puts a table in place that prints every call and its result. */
function traceCalls(print: (line: string) => void): void {
  replaceSys(
    tracingSys(raw, ({ syscall, args, result, microseconds }) => {
      if (result === undefined) return print(`           ${syscall}(${showArguments(args)})`);
      const answer = typeof result !== "number" ? "…" : result < 0 ? errnoName(-result) : String(result);
      print(`${microseconds.toFixed(0).padStart(6)} µs    ${syscall}(${showArguments(args)}) = ${answer}`);
    }),
  );
}

/** The arguments of a call. */
export function showArguments(args: readonly unknown[]): string {
  return args
    .map((arg) => {
      if (typeof arg === "string") return JSON.stringify(arg.length > 80 ? `${arg.slice(0, 80)}…` : arg);
      if (arg instanceof ArrayBuffer) return `[${arg.byteLength} bytes]`;
      if (Array.isArray(arg)) return `[${arg.length}]`;
      return arg === null ? "NULL" : typeof arg === "function" ? "…" : String(arg);
    })
    .join(", ");
}
