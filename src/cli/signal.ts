/** Signals as people name them. */

import { ContainerError } from "../error.ts";
import { didYouMean } from "../nearest.ts";
import { SIGNALS } from "../sys/constants.ts";

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** `TERM`, `SIGTERM`, `15`, `RTMIN+3`. signal(7). `field`: the flag or argument that it comes from; `meant`: a better hint, looked for where there is no such signal. */
export function parseSignal(text: string, field = "--signal", meant?: () => string | undefined): number {
  const number = numberOf(text);
  if (number !== undefined) return number;
  throw new ContainerError("UNKNOWN_SIGNAL", `there is no signal "${text}"`, {
    field,
    hint:
      meant?.() ??
      didYouMean(wordOf(text), Object.keys(SIGNALS)) ??
      "a name such as TERM, or a number from 1 to 64; signal(7)",
  });
}

export const isSignal = (text: string): boolean => numberOf(text) !== undefined;

const wordOf = (text: string): string => text.toUpperCase().replace(/^SIG/, "");

function numberOf(text: string): number | undefined {
  const word = wordOf(text);
  const realtime = /^RT(MIN|MAX)([+-]\d+)?$/.exec(word);
  const number = /^\d+$/.test(word)
    ? Number(word)
    : realtime
      ? (realtime[1] === "MIN" ? SIGRTMIN : SIGRTMAX) + Number(realtime[2] ?? 0)
      : SIGNALS[word];
  return number !== undefined && number >= 1 && number <= SIGRTMAX ? number : undefined;
}
