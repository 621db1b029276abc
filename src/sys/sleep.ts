/** The clock, and a pause. */
import { packTimespec } from "./structs.ts";
import { raw } from "./sys.ts";

/** Of the monotonic clock, in milliseconds with parts. clock_gettime(2). */
export const nowMs = (): number => Number(raw.monotonicUs()) / 1000;

/** Sleeps, or less when a signal comes. ppoll(2). */
export function sleepMs(ms: number): void {
  raw.ppoll(new ArrayBuffer(0), 0, packTimespec(ms), null, 8);
}
