/** A pause. */
import { packTimespec } from "./structs.ts";
import { raw } from "./sys.ts";

/** Sleeps, or less when a signal comes. ppoll(2). */
export function sleepMs(ms: number): void {
  raw.ppoll(new ArrayBuffer(0), 0, packTimespec(ms), null, 8);
}
