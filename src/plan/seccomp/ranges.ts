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
  if (spans.length === 0) throw new RangeError("ranges must cover the word");
  return emitTree(writer, spans, 0, spans.length);
}

function emitTree(writer: BpfWriter, spans: readonly Span[], from: number, to: number): Label {
  const middle = (from + to) >> 1;
  const span = spans[middle] as Span;
  if (to - from === 1) return emitSpan(writer, span);
  const above = emitTree(writer, spans, middle, to);
  return writer.branch(">=", span.start, above, emitTree(writer, spans, from, middle));
}

/** A range with single values of other outcomes in it. */
interface Span extends Range {
  exceptions: Range[] | undefined;
}

/** Exceptions are tried one after another; from here on another level of the tree is shorter. */
const MAX_EXCEPTIONS = 3;

function emitSpan(writer: BpfWriter, { outcome, exceptions }: Span): Label {
  let next = outcome.emit(writer);
  if (exceptions === undefined) return next;
  for (const exception of exceptions.reverse()) {
    next = writer.branch("==", exception.start, exception.outcome.emit(writer), next);
  }
  return next;
}

function merge(ranges: readonly Range[]): Range[] {
  const merged: Range[] = [];
  let last: string | undefined;
  for (const range of ranges) {
    if (range.outcome.key === last) continue;
    last = range.outcome.key;
    merged.push(range);
  }
  return merged;
}

function toSpans(ranges: readonly Range[]): Span[] {
  const spans: Span[] = [];
  let span: Span | undefined;
  for (let at = 0; at < ranges.length; at += 1) {
    const range = ranges[at] as Range;
    const next = ranges[at + 1];
    const single = next?.start === range.start + 1 && next.outcome.key === span?.outcome.key;
    if (span === undefined || !single) {
      span = { start: range.start, outcome: range.outcome, exceptions: undefined };
      spans.push(span);
      continue;
    }
    if (span.exceptions === undefined) span.exceptions = [range];
    else if (span.exceptions.length < MAX_EXCEPTIONS) span.exceptions.push(range);
    else {
      span = { start: range.start, outcome: span.outcome, exceptions: [range] };
      spans.push(span);
    }
    at += 1; // the range behind the single value is the span again
  }
  return spans;
}
