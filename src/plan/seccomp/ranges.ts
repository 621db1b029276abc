/**
 * A decision by ranges of one 32-bit word, as a balanced tree of comparisons.
 *
 * Neighbours with one outcome merge, so a run of allowed system calls costs as much as one. A single value inside a
 * range of another outcome costs one comparison and not two.
 */

import type { BpfWriter, Label } from "./bpf-writer.ts";

/** What is decided in the end. Equal keys mean equal code. */
export interface Outcome {
  key: string;
  emit(writer: BpfWriter): Label;
}

/** An outcome from `start` on, up to the next range. */
export interface Range {
  start: number;
  outcome: Outcome;
}

/** The outcome that returns an action. */
export function returns(action: number): Outcome {
  return { key: `${action}`, emit: (writer) => writer.ret(action) };
}

/** Writes the decision about the loaded word. The ranges are in ascending order, and the first starts at 0. */
export function emitRanges(writer: BpfWriter, ranges: readonly Range[]): Label {
  const spans = toSpans(merge(ranges));
  const tree = (from: number, to: number): Label => {
    const middle = (from + to) >> 1;
    const [span, last] = [spans[middle], spans[to - 1]];
    if (span === undefined || last === undefined) throw new RangeError("ranges must cover the word");
    if (to - from === 1) return emitSpan(writer, span);
    const above = tree(middle, to);
    return writer.branch(">=", span.start, above, tree(from, middle));
  };
  return tree(0, spans.length);
}

/** A range with single values of other outcomes in it. */
interface Span extends Range {
  exceptions: Range[];
}

/** Exceptions are tried one after another; from here on another level of the tree is shorter. */
const MAX_EXCEPTIONS = 3;

function emitSpan(writer: BpfWriter, { outcome, exceptions }: Span): Label {
  let next = outcome.emit(writer);
  for (const exception of exceptions.toReversed()) {
    next = writer.branch("==", exception.start, exception.outcome.emit(writer), next);
  }
  return next;
}

function merge(ranges: readonly Range[]): Range[] {
  return ranges.filter((range, at) => range.outcome.key !== ranges[at - 1]?.outcome.key);
}

function toSpans(ranges: readonly Range[]): Span[] {
  const spans: Span[] = [];
  for (let at = 0; at < ranges.length; at += 1) {
    const [range, next] = [ranges[at], ranges[at + 1]];
    if (range === undefined) break;
    const span = spans.at(-1);
    const single = next?.start === range.start + 1 && next.outcome.key === span?.outcome.key;
    if (!single || span === undefined) spans.push({ ...range, exceptions: [] });
    else {
      if (span.exceptions.length < MAX_EXCEPTIONS) span.exceptions.push(range);
      else spans.push({ start: range.start, outcome: span.outcome, exceptions: [range] });
      at += 1;
    }
  }
  return spans;
}
