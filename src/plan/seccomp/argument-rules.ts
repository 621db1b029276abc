/**
 * The rules on one system call that look at its arguments: which of them applies, and that decision as BPF.
 *
 * BPF compares 32 bits at a time, so a 64-bit comparison is one of the high words and one of the low words. On the
 * 32-bit architectures, x32 among them, the low words alone count, as in libseccomp: the kernel hands over 32-bit
 * registers, and -1 is written as 64 bits in some profiles and as 32 in others.
 */

import type { LinuxSeccompArg, SeccompOperator } from "../../spec/seccomp.ts";
import type { BpfWriter, Label } from "./bpf-writer.ts";
import { emitRanges, type Outcome, type Range, returns } from "./ranges.ts";

/** One comparison of one argument, in words. For MASKED_EQ `mask` counts, and the value is masked already. */
export interface Condition {
  index: number;
  op: SeccompOperator;
  high: number;
  low: number;
  maskHigh: number;
  maskLow: number;
  /** Whether the high words count. */
  wide: boolean;
}

/** An action and what must all hold for it. */
export interface ArgumentRule {
  conditions: Condition[];
  action: number;
}

/** The condition in words; `undefined` where it always holds: a mask without a bit. */
export function toCondition(arg: LinuxSeccompArg, wide: boolean): Condition | undefined {
  if (!Object.hasOwn(OPERATOR_RANKS, arg.op)) throw new RangeError(`unknown seccomp operator ${arg.op}`);
  const masked = arg.op === "SCMP_CMP_MASKED_EQ";
  const mask = masked ? arg.value : 0xffffffffffffffffn;
  const value = masked ? (arg.valueTwo ?? 0) : arg.value;
  const maskHigh = wide ? highWord(mask) : 0;
  const maskLow = lowWord(mask);
  if (maskHigh === 0 && maskLow === 0) return undefined;
  const high = (highWord(value) & maskHigh) >>> 0;
  const low = (lowWord(value) & maskLow) >>> 0;
  return { index: arg.index, op: arg.op, high, low, maskHigh, maskLow, wide };
}

/**
 * What becomes of a system call under these rules, of which none is unconditional; `otherwise` where none applies.
 *
 * Where several apply, libseccomp's order decides and not the profile's: see `compareRules`.
 */
export function argumentOutcome(rules: readonly ArgumentRule[], otherwise: number): Outcome {
  const ordered = rules.map(sortConditions).sort(compareRules);
  const key = JSON.stringify([ordered, otherwise]);
  const index = onlyArgument(ordered);
  if (index === undefined) return { key, emit: (writer) => emitRules(writer, ordered, otherwise) };
  return { key, emit: (writer) => emitArgument(writer, index, ordered, otherwise) };
}

function sortConditions({ conditions, action }: ArgumentRule): ArgumentRule {
  return { conditions: conditions.toSorted((a, b) => a.index - b.index), action };
}

/**
 * Which rule libseccomp tries first. It merges the rules into a tree of comparisons, argument by argument, high word
 * before low word; on one level the later argument stands first, then equality before "less" before "greater", then
 * the value that is the narrower bound. What is equal so far keeps the profile's order, and the shorter rule wins.
 *
 * That matters only where rules of different actions apply to one call. Not imitated: for two NE on one argument
 * libseccomp may take one rule's action for the high word and the other's for the low one, and it refuses (EEXIST) some
 * profiles that contradict themselves.
 */
function compareRules(a: ArgumentRule, b: ArgumentRule): number {
  for (const [at, left] of a.conditions.entries()) {
    const right = b.conditions[at];
    if (right === undefined) return 1;
    const order =
      right.index - left.index ||
      OPERATOR_RANKS[right.op] - OPERATOR_RANKS[left.op] ||
      valueOrder(left.op) * (right.high - left.high || right.low - left.low);
    if (order !== 0) return order;
  }
  return a.conditions.length - b.conditions.length;
}

const OPERATOR_RANKS: Readonly<Record<SeccompOperator, number>> = {
  SCMP_CMP_EQ: 3,
  SCMP_CMP_NE: 3,
  SCMP_CMP_MASKED_EQ: 3,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 2,
  SCMP_CMP_GT: 1,
  SCMP_CMP_GE: 1,
};

function valueOrder(op: SeccompOperator): number {
  return op === "SCMP_CMP_LT" || op === "SCMP_CMP_LE" ? -1 : 1;
}

/** The argument that is the only one looked at, by rules of one unmasked comparison each. */
function onlyArgument(rules: readonly ArgumentRule[]): number | undefined {
  const index = rules[0]?.conditions[0]?.index;
  const simple = rules.every(
    ({ conditions: [first, ...rest] }) =>
      first?.index === index && first?.op !== "SCMP_CMP_MASKED_EQ" && rest.length === 0,
  );
  return simple ? index : undefined;
}

/** The rules as ranges of the argument's high word, and within the high words that rules name, of its low word. */
function emitArgument(writer: BpfWriter, index: number, rules: readonly ArgumentRule[], otherwise: number): Label {
  const conditions = rules.flatMap((rule) => rule.conditions);
  const actionAt = (high: number, low: number): Outcome =>
    returns(rules.find(({ conditions: [only] }) => only && holds(only, high, low))?.action ?? otherwise);
  const lowRanges = (high: number): Range[] =>
    boundaries(conditions.filter((condition) => condition.high === high).map(({ low }) => low)).map((start) => ({
      start,
      outcome: actionAt(high, start),
    }));
  const offset = argumentOffset(index);
  if (!conditions[0]?.wide) return writer.load(offset, emitRanges(writer, lowRanges(0)));

  const named = new Set(conditions.map(({ high }) => high));
  const byHigh = boundaries([...named]).map((start): Range => {
    if (!named.has(start)) return { start, outcome: actionAt(start, 0) };
    const ranges = lowRanges(start);
    const key = JSON.stringify(ranges.map((range) => [range.start, range.outcome.key]));
    const [first] = ranges;
    if (first && ranges.every(({ outcome }) => outcome.key === first.outcome.key))
      return { start, outcome: first.outcome };
    return { start, outcome: { key, emit: (inner) => inner.load(offset, emitRanges(inner, ranges)) } };
  });
  return writer.load(offset + 4, emitRanges(writer, byHigh));
}

/** Where the answer can change: at 0, at each value and behind it. */
function boundaries(values: readonly number[]): number[] {
  const starts = new Set([0, ...values, ...values.map((value) => value + 1)]);
  return [...starts].filter((start) => start <= 0xffffffff).sort((a, b) => a - b);
}

function holds({ op, high, low }: Condition, argHigh: number, argLow: number): boolean {
  const order = argHigh - high || argLow - low;
  switch (op) {
    case "SCMP_CMP_NE":
      return order !== 0;
    case "SCMP_CMP_LT":
      return order < 0;
    case "SCMP_CMP_LE":
      return order <= 0;
    case "SCMP_CMP_EQ":
    case "SCMP_CMP_MASKED_EQ":
      return order === 0;
    case "SCMP_CMP_GE":
      return order >= 0;
    case "SCMP_CMP_GT":
      return order > 0;
  }
}

/** The rules one after another: the first that applies decides. */
function emitRules(writer: BpfWriter, rules: readonly ArgumentRule[], otherwise: number): Label {
  let next = writer.ret(otherwise);
  for (const { conditions, action } of rules.toReversed()) {
    let matched = writer.ret(action);
    for (const condition of conditions.toReversed()) matched = emitCondition(writer, condition, matched, next);
    next = matched;
  }
  return next;
}

function emitCondition(writer: BpfWriter, condition: Condition, yes: Label, no: Label): Label {
  switch (condition.op) {
    case "SCMP_CMP_EQ":
    case "SCMP_CMP_MASKED_EQ":
      return emitEqual(writer, condition, yes, no);
    case "SCMP_CMP_NE":
      return emitEqual(writer, condition, no, yes);
    case "SCMP_CMP_GT":
      return emitGreater(writer, condition, ">", yes, no);
    case "SCMP_CMP_LE":
      return emitGreater(writer, condition, ">", no, yes);
    case "SCMP_CMP_GE":
      return emitGreater(writer, condition, ">=", yes, no);
    case "SCMP_CMP_LT":
      return emitGreater(writer, condition, ">=", no, yes);
  }
}

function emitEqual(writer: BpfWriter, condition: Condition, yes: Label, no: Label): Label {
  const offset = argumentOffset(condition.index);
  const word = (at: number, mask: number, value: number, equal: Label): Label =>
    mask === 0 ? equal : writer.load(at, writer.and(mask, writer.branch("==", value, equal, no)));
  return word(offset + 4, condition.maskHigh, condition.high, word(offset, condition.maskLow, condition.low, yes));
}

function emitGreater(writer: BpfWriter, condition: Condition, comparison: ">" | ">=", yes: Label, no: Label): Label {
  const { high, low, wide } = condition;
  const offset = argumentOffset(condition.index);
  const byLow = writer.load(offset, writer.branch(comparison, low, yes, no));
  if (!wide) return byLow;
  return writer.load(offset + 4, writer.branch(">", high, yes, writer.branch("==", high, byLow, no)));
}

/** Where an argument's low word stands in `struct seccomp_data`; the high word follows. */
function argumentOffset(index: number): number {
  return 16 + 8 * index;
}

function lowWord(value: number | bigint): number {
  return Number(BigInt.asUintN(32, BigInt(value)));
}

function highWord(value: number | bigint): number {
  return Number(BigInt.asUintN(32, BigInt(value) >> 32n));
}
